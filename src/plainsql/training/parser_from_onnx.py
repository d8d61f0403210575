"""The exported parser back as a torch model, to be tuned: `load_parser(folder)`.

The graphs keep the names of all parameters but those of the matrices, which the exporter
transposes, renames and (int8) quantizes. A matrix is found by what follows its product:
its own bias, whose name survives. `feature_input` alone has no bias; it is the one that
multiplies the graph input `features`. Loading is strict: a parameter without a source, or
one of another shape, is an error. (The exporter keeps constants of equal values once, so
that only networks whose parameters all differ can be read; any trained one is.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from plainsql.errors import ModelError
from plainsql.training.parser_model import ParserConfig, ParserModel
from plainsql.translators.parser.runtime import ENCODER, MANIFEST, SCALES, STEP, WORDS, Manifest
from plainsql.translators.parser.weights import SHIPPED

Array = NDArray[Any]
Weights = dict[str, NDArray[np.float32]]

_PREFIX = "model."  # the wrappers that are exported hold the parser under this name
_WORDS = "encoder.embeddings.word_embeddings.weight"
_FEATURES, _FEATURE_INPUT = "features", "feature_input.weight"
_QUERY = "encoder.encoder.layer.0.attention.self.query"
QUANTIZED = "_quantized"  # what onnxruntime's quantizer appends to a matrix' name
_PRODUCTS = ("MatMul", "MatMulInteger")
_BETWEEN = ("Cast", "Mul")  # from an integer product to its bias: back to float, times the scale
_HINT = "Give a folder written by `plainsql train`, `plainsql export` or the parser's recipe."


@dataclass(slots=True)
class Graph:
    """An ONNX file with its constants and who reads each value."""

    model: ModelProto
    constants: dict[str, Array]
    nodes: list[NodeProto]
    readers: dict[str, list[NodeProto]] = field(default_factory=dict)
    writers: dict[str, NodeProto] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Graph:
        """Parse a file. Raises `ModelError` when it is none."""
        try:
            return cls.of(onnx.load(str(path)))
        except Exception as error:  # protobuf's own errors share no narrower base
            raise ModelError(f"{path} can't be read: {error}", hint=_HINT) from error

    @classmethod
    def of(cls, model: ModelProto) -> Graph:
        """Index a graph."""
        constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        graph = cls(model, constants, list(model.graph.node))
        for node in graph.nodes:
            graph.writers.update(dict.fromkeys(node.output, node))
            for name in node.input:
                graph.readers.setdefault(name, []).append(node)
        return graph

    def weights(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Every parameter in the graph under its torch name, in torch's orientation."""
        for name in self.parameters():
            yield name, self.constants[_PREFIX + name]
        for name, stored in self.matrices().items():
            yield name, np.ascontiguousarray(self._dequantized(stored).T)

    def parameters(self) -> list[str]:
        """Torch names of the parameters that are stored as they are."""
        return [
            name.removeprefix(_PREFIX)
            for name, value in self.constants.items()
            if name.startswith(_PREFIX) and value.dtype == np.float32
        ]

    def matrices(self) -> dict[str, str]:
        """The constant (in, out) that holds each matrix, by the matrix' torch name."""
        found = {}
        for node in self.nodes:
            constant = node.op_type in _PRODUCTS and node.input[1] in self.constants
            if constant and (name := self._name_of(node)):
                found[name] = node.input[1]
        return found

    def heads(self, bias: str) -> int:
        """Attention heads, from the reshape behind the projection whose bias this is."""
        for added in self.readers.get(_PREFIX + bias, []):
            for reader in self.readers.get(added.output[0], []):
                if reader.op_type == "Reshape" and reader.input[1] in self.constants:
                    return int(self.constants[reader.input[1]][-2])
        raise ModelError("The graph doesn't show its attention heads.", hint=_HINT)

    def _dequantized(self, name: str) -> NDArray[np.float32]:
        """A constant matrix (in, out) in float32."""
        stored = self.constants[name].astype(np.float32)
        if not name.endswith(QUANTIZED):
            return stored
        scale, zero = scale_and_zero(name)
        return (stored - self.constants[zero].astype(np.float32)) * self.constants[scale]  # type: ignore[no-any-return]

    def _name_of(self, product: NodeProto) -> str:
        """The torch name of a product's matrix, "" for none."""
        found = self._bias_after(product)
        if found:
            return found.removeprefix(_PREFIX).removesuffix("bias") + "weight"
        source = self.writers.get(product.input[0])
        inputs = source.input if source is not None else product.input
        return _FEATURE_INPUT if inputs[0] == _FEATURES else ""

    def _bias_after(self, node: NodeProto) -> str:
        """The bias that is added to a product, past casts and scales; "" when there is none."""
        for reader in self.readers.get(node.output[0], []):
            if reader.op_type in _BETWEEN and (found := self._bias_after(reader)):
                return found
            if reader.op_type == "Add":
                named = (name for name in reader.input if name.startswith(_PREFIX))
                return next((name for name in named if name.endswith("bias")), "")
        return ""


def scale_and_zero(name: str) -> tuple[str, str]:
    """The constants beside a quantized matrix, as onnxruntime's quantizer names them."""
    stem = name.removesuffix(QUANTIZED)
    return f"{stem}_scale", f"{stem}_zero_point"


def load_parser(folder: Path | None = None) -> ParserModel:
    """The parser in `folder`, by default the shipped one, as a torch model in evaluation mode.

    `folder` holds either an export (int8 or float32 graphs, dequantized here) or a torch
    checkpoint (`save_pretrained`). An int8 export comes back as the very weights it computes
    with: exported again it gives the same integers. Raises `ModelError` when the folder is
    neither, or incomplete.
    """
    folder = SHIPPED if folder is None else Path(folder)
    if not (folder / MANIFEST).is_file():
        return _checkpoint(folder)
    manifest = Manifest.read(folder)
    manifest.check(folder)
    encoder, step = Graph.read(folder / ENCODER), Graph.read(folder / STEP)
    weights = {**dict(encoder.weights()), **dict(step.weights()), _WORDS: words(folder)}
    heads = encoder.heads(f"{_QUERY}.bias")
    try:
        model = ParserModel(network_of(manifest, weights, heads))
    except KeyError as error:
        raise ModelError(f"{folder} lacks {error.args[0]}.", hint=_HINT) from error
    _fill(model, weights, folder)
    return model.eval()


def words(folder: Path) -> NDArray[np.float32]:
    """The word embeddings (V, D) of an export, dequantized."""
    table = np.load(folder / WORDS).astype(np.float32)
    return table * np.load(folder / SCALES).astype(np.float32)[:, None]  # type: ignore[no-any-return]


def network_of(manifest: Manifest, weights: Weights, encoder_heads: int) -> ParserConfig:
    """The sizes of a network, from its names and the shapes of its weights.

    Raises KeyError with the name of a weight that is missing.
    """
    vocabulary, width = weights[_WORDS].shape
    return ParserConfig(
        symbols=list(manifest.symbols),
        states=list(manifest.states),
        relations=list(manifest.relations),
        features=list(manifest.features),
        max_depth=manifest.max_depth,
        max_actions=manifest.max_actions,
        vocab_size=vocabulary,
        hidden_size=width,
        max_position_embeddings=len(weights["encoder.embeddings.position_embeddings.weight"]),
        encoder_layers=sum(name.endswith("attention.self.query.bias") for name in weights),
        encoder_heads=encoder_heads,
        decoder_layers=manifest.decoder_layers,
        decoder_heads=manifest.decoder_heads,
        decoder_ffn=len(weights["layers.0.up.bias"]),
    )


def _fill(model: ParserModel, weights: Weights, folder: Path) -> None:
    """Put the weights into a model. Raises `ModelError` when they don't fit."""
    tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    wanted = dict(model.named_parameters())
    if missing := sorted(set(wanted) - set(tensors)):
        raise ModelError(f"{folder} lacks {missing[0]} ({len(missing)} in all).", hint=_HINT)
    try:
        model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    except RuntimeError as error:  # torch's only word for a wrong shape
        raise ModelError(f"The weights in {folder} don't fit: {error}", hint=_HINT) from error


def _checkpoint(folder: Path) -> ParserModel:
    """A torch checkpoint. Raises `ModelError` when the folder holds none."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"There is no parser in {folder}.", hint=_HINT)
    try:
        return ParserModel.from_pretrained(folder).eval()  # type: ignore[no-any-return]
    except Exception as error:  # transformers raises many kinds for a damaged folder
        raise ModelError(f"The parser in {folder} can't be loaded: {error}", hint=_HINT) from error
