"""Export a trained parser: `python -m plainsql.training.parser_export CHECKPOINT OUT_DIR`.

Two graphs, quantized to int8 (dynamic, per channel), and the word embeddings as a table
of int8 rows beside them: looked up by numpy, memory-mapped, shared with linking. Every
file is opened in onnxruntime and compared with torch before the manifest is written.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plainsql.training.encoder_files import encoder_tokenizer
from plainsql.training.parser_model import Encoded, ParserModel
from plainsql.training.word_table import write_words
from plainsql.translators.parser.runtime import (
    ENCODER,
    ENCODER_OUTPUTS,
    FORMAT_VERSION,
    MANIFEST,
    SCALES,
    STEP,
    TOKENIZER,
    WORDS,
    Manifest,
    open_session,
    sha256,
)

MAX_ERROR = 1e-3  # greatest absolute difference between torch and the float32 graphs
MAX_BYTES = 40_000_000  # the whole folder
STEP_OUTPUTS = ("logits", "present_keys", "present_values")


class ExportError(RuntimeError):
    """The exported files do not do what the torch model does."""


class EncoderGraph(nn.Module):
    """The part that runs once a question; batch 1, outputs without the batch dimension."""

    def __init__(self, model: ParserModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        embeddings: Tensor,  # (1, T, D)
        token_types: Tensor,  # (1, T)
        features: Tensor,  # (1, T, F)
        pool: Tensor,  # (1, N, T)
        kinds: Tensor,  # (1, N)
    ) -> tuple[Tensor, ...]:
        """Tensors in the order of `ENCODER_OUTPUTS`."""
        encoded = self.model.encode_embedded(embeddings, token_types, features, pool, kinds, None)
        return (
            torch.cat(encoded.keys),
            torch.cat(encoded.values),
            encoded.pointer_keys[0],
            encoded.node_inputs[0],
            encoded.used_logits[0],
        )


class StepGraph(nn.Module):
    """One step of W beams; the memory is shared by all of them."""

    def __init__(self, model: ParserModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        memory_keys: Tensor,  # (layers, H, M, d)
        memory_values: Tensor,  # (layers, H, M, d)
        pointer_keys: Tensor,  # (N, D)
        node_inputs: Tensor,  # (N, D)
        previous: Tensor,  # (W,)
        states: Tensor,  # (W,)
        depths: Tensor,  # (W,)
        past_keys: Tensor,  # (layers, W, H, P, d)
        past_values: Tensor,  # (layers, W, H, P, d)
        relations: Tensor,  # (W, N, R)
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tensors in the order of `STEP_OUTPUTS`."""
        encoded = Encoded(
            keys=tuple(memory_keys[:, None].unbind(0)),
            values=tuple(memory_values[:, None].unbind(0)),
            mask=None,
            pointer_keys=pointer_keys[None],
            node_inputs=node_inputs[None],
            used_logits=pointer_keys[None, :, 0],
        )
        return self.model.step(  # type: ignore[no-any-return]
            encoded, previous, states, depths, past_keys, past_values, relations
        )


@dataclass(frozen=True, slots=True)
class Report:
    """How the exported files compare with torch."""

    encoder_error: float  # greatest absolute difference, float32
    step_error: float
    encoder_cosine: float  # int8: of the memory keys
    step_cosine: float  # int8: of the logits
    sizes: dict[str, int]  # bytes by file name

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in self.sizes.items())
        return (
            f"float32 error: encoder {self.encoder_error:.1e}, step {self.step_error:.1e}; "
            f"int8 cosine: encoder {self.encoder_cosine:.4f}, step {self.step_cosine:.4f}; {sizes}"
        )


Arrays = dict[str, NDArray[Any]]


def export(
    model: ParserModel,
    folder: str | Path,
    tokenizer: str | Path | None = None,
    *,
    int8: bool = True,
) -> Report:
    """Write the model folder that `ParserRuntime.load` reads.

    `tokenizer` is the tokenizer.json to copy, by default the pretrained encoder's.
    `int8=False` keeps both graphs in float32, to measure what int8 costs.
    Raises `ExportError` when a graph differs from torch or the folder is too large.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().eval()
    encoder_inputs, step_inputs = sample_inputs(model)
    with tempfile.TemporaryDirectory() as work:
        write = quantize if int8 else shutil.copyfile
        encoder = _export_graph(
            EncoderGraph(model),
            encoder_inputs,
            ENCODER_OUTPUTS,
            Path(work) / ENCODER,
            folder,
            write,
        )
        step = _export_graph(
            StepGraph(model), step_inputs, STEP_OUTPUTS, Path(work) / STEP, folder, write
        )
    table = model.get_input_embeddings().weight.detach().float().numpy()
    write_words(table, folder)
    shutil.copyfile(tokenizer or encoder_tokenizer(), folder / TOKENIZER)
    sizes = write_manifest(model, folder)
    if int8 and sum(sizes.values()) > MAX_BYTES:
        raise ExportError(f"{sum(sizes.values()) / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:.0f}")
    return Report(encoder[0], step[0], encoder[1], step[1], sizes)


def sample_inputs(model: ParserModel) -> tuple[Arrays, Arrays]:
    """Random inputs of both graphs: 23 wordpieces, 7 nodes, 3 beams, 2 earlier steps."""
    rng, config = np.random.default_rng(0), model.config
    width, layers, heads = config.hidden_size, config.decoder_layers, config.decoder_heads
    tokens, nodes, beams = 23, 7, 3
    table = model.get_input_embeddings().weight.detach().numpy()
    pool = rng.random((1, nodes, tokens), np.float32)
    encoder: Arrays = {
        "embeddings": table[rng.integers(0, len(table), (1, tokens))],
        "token_types": (np.arange(tokens) > 9).astype(np.int64)[None],
        "features": rng.integers(0, 2, (1, tokens, len(config.names("features")))).astype("f4"),
        "pool": pool / pool.sum(-1, keepdims=True),
        "kinds": rng.integers(0, 3, (1, nodes)),
    }
    symbols, relations = len(config.names("symbols")), len(config.names("relations"))
    past = (layers, beams, heads, 2, width // heads)
    with torch.inference_mode():
        encoded = EncoderGraph(model)(*_tensors(encoder))
    step: Arrays = {
        name: tensor.numpy() for name, tensor in zip(ENCODER_OUTPUTS[:4], encoded, strict=False)
    } | {
        "previous": np.array([0, symbols, symbols + nodes - 1]),
        "states": rng.integers(0, len(config.names("states")), beams),
        "depths": np.array([0, 1, 0]),
        "past_keys": rng.standard_normal(past, np.float32),
        "past_values": rng.standard_normal(past, np.float32),
        "relations": rng.integers(0, 2, (beams, nodes, relations)).astype("f4"),
    }
    return encoder, step


FREE_AXES: dict[str, tuple[int, ...]] = {
    "embeddings": (1,),  # T
    "token_types": (1,),  # T
    "features": (1,),  # T
    "pool": (1, 2),  # N, T
    "kinds": (1,),  # N
    "memory_keys": (2,),  # M
    "memory_values": (2,),  # M
    "pointer_keys": (0,),  # N
    "node_inputs": (0,),  # N
    "previous": (0,),  # W
    "states": (0,),  # W
    "depths": (0,),  # W
    "past_keys": (1, 3),  # W, P
    "past_values": (1, 3),  # W, P
    "relations": (0, 1),  # W, N
}


def _export_graph(
    graph: nn.Module,
    inputs: Arrays,
    outputs: Sequence[str],
    float_path: Path,
    folder: Path,
    write: Callable[[Path, Path], object],
) -> tuple[float, float]:
    """Export, compare, write (quantized) into `folder`, compare; the error and the cosine."""
    graph = graph.eval()  # also the wrapper: the exporter restores its mode, model included
    with torch.inference_mode():
        expected = [tensor.numpy() for tensor in graph(*_tensors(inputs))]
    to_onnx(graph, inputs, outputs, float_path)
    error = max(
        float(np.abs(got - want).max())
        for got, want in zip(_run(float_path, inputs), expected, strict=True)
    )
    if error > MAX_ERROR:
        raise ExportError(f"{float_path.name} differs from torch by {error:.1e}")
    write(float_path, folder / float_path.name)
    return error, cosine(_run(folder / float_path.name, inputs)[0], expected[0])


def to_onnx(graph: nn.Module, inputs: Arrays, outputs: Sequence[str], path: Path) -> None:
    """Write a float32 graph whose lengths are free."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision aloud
    free = tuple(dict.fromkeys(FREE_AXES[name], torch.export.Dim.AUTO) for name in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            graph,
            _tensors(inputs),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=free,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def quantize(source: Path, target: Path) -> None:
    """Dynamic int8 of every MatMul with a constant, a scale per output channel.

    Per tensor the cosine of MiniLM's output falls from 0.993 to 0.961.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it asks for a pre-processing step by warning
    quantize_dynamic(
        str(source),
        str(target),
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def _tensors(arrays: Arrays) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays.values())


def _run(path: Path, inputs: Arrays) -> list[NDArray[Any]]:
    return list(open_session(path, threads=1).run(None, inputs))


def cosine(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Cosine of two arrays read as vectors."""
    a, b = left.ravel().astype(np.float64), right.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def write_manifest(model: ParserModel, folder: Path) -> dict[str, int]:
    """Write names, sizes and checksums; the bytes by file."""
    config = model.config
    files = (ENCODER, STEP, WORDS, SCALES, TOKENIZER)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        symbols=tuple(config.names("symbols")),
        states=tuple(config.names("states")),
        relations=tuple(config.names("relations")),
        features=tuple(config.names("features")),
        decoder_layers=config.decoder_layers,
        decoder_heads=config.decoder_heads,
        head_size=config.hidden_size // config.decoder_heads,
        max_depth=config.max_depth,
        max_actions=config.max_actions,
        files={name: sha256(folder / name) for name in files},
    )
    text = json.dumps(asdict(manifest), indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return {name: (folder / name).stat().st_size for name in files}


def seal(folder: Path, name: str) -> None:
    """Add a file of the folder, or its new content, to the checksums of the manifest."""
    manifest = Manifest.read(folder)
    files = {**manifest.files, name: sha256(folder / name)}
    text = json.dumps(asdict(replace(manifest, files=files)), indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="folder written by the recipe: best/ or final/")
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--tokenizer", help="a tokenizer.json, by default the encoder's")
    parser.add_argument("--float32", action="store_true", help="don't quantize")
    options = parser.parse_args(arguments)
    model = ParserModel.from_pretrained(options.checkpoint)
    print(export(model, options.out, options.tokenizer, int8=not options.float32))


if __name__ == "__main__":
    main()
