"""The shipped parser network: int8 ONNX files driven by numpy.

Notation: T wordpieces, N nodes, W beams, D width, V vocabulary, S grammar symbols.
A model folder holds `manifest.json` (names, sizes, checksums), `encoder.onnx`,
`step.onnx`, `word_embeddings.npy` (V, D) int8, `word_scales.npy` (V,) float32 and
`tokenizer.json`; `training/parser_export.py` writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plainsql.errors import ModelError
from plainsql.translators.parser.arrays import ModelInput
from plainsql.translators.parser.beam import Floats, Past, StepInput

if TYPE_CHECKING:
    import onnxruntime

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ENCODER, STEP = "encoder.onnx", "step.onnx"
WORDS, SCALES, TOKENIZER = "word_embeddings.npy", "word_scales.npy", "tokenizer.json"
_REINSTALL = "Install plainsql again, or point PLAINSQL_MODEL at a folder written by the export."
ENCODER_OUTPUTS = ("memory_keys", "memory_values", "pointer_keys", "node_inputs", "used_logits")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model folder says about itself."""

    format_version: int
    symbols: tuple[str, ...]
    states: tuple[str, ...]
    relations: tuple[str, ...]
    features: tuple[str, ...]
    decoder_layers: int
    decoder_heads: int
    head_size: int
    max_depth: int
    max_actions: int
    files: dict[str, str]  # name -> sha256

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `manifest.json`. Raises `ModelError` when it can't be used."""
        try:
            found = json.loads((folder / MANIFEST).read_text("utf-8"))
            version = found["format_version"]
            if version != FORMAT_VERSION:
                raise ModelError(
                    f"The model in {folder} has format {version}, this version reads "
                    f"{FORMAT_VERSION}.",
                    hint=_REINSTALL,
                )
            lists = {name: tuple(value) for name, value in found.items() if type(value) is list}
            return cls(**{**found, **lists})
        except FileNotFoundError as error:
            raise ModelError(f"There are no weights in {folder}.", hint=_REINSTALL) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"No usable model in {folder}: {error}", hint=_REINSTALL) from error

    def check(self, folder: Path, names: Sequence[str] | None = None) -> None:
        """Compare `names`, by default every file, with their checksums (25 ms for 30 MB).

        Raises `ModelError`.
        """
        for name in self.files if names is None else names:
            if not (folder / name).is_file():
                raise ModelError(f"{folder / name} is missing.", hint=_REINSTALL)
            if sha256(folder / name) != self.files.get(name):
                raise ModelError(f"{folder / name} is corrupt.", hint=_REINSTALL)


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pool_matrix(item: ModelInput) -> Floats:
    """The (N, T) matrix whose product with token states averages each node's tokens."""
    pool = np.zeros((len(item.node_tokens), len(item.token_ids)), np.float32)
    for node, tokens in enumerate(item.node_tokens):
        if len(tokens):
            pool[node, tokens] = 1.0 / len(tokens)
    return pool


@dataclass(frozen=True, slots=True)
class Memory:
    """What the decoder reads of one question."""

    keys: Floats  # (layers, H, T + N, d)
    values: Floats  # (layers, H, T + N, d)
    pointer_keys: Floats  # (N, D)
    node_inputs: Floats  # (N, D)
    used_logits: Floats  # (N,) whether the query uses the node


class ParserRuntime:
    """Encodes questions and predicts steps; fits `beam.StepModel`."""

    def __init__(
        self,
        manifest: Manifest,
        encoder: onnxruntime.InferenceSession,
        step: onnxruntime.InferenceSession,
        words: NDArray[np.int8],  # (V, D)
        scales: Floats,  # (V,)
    ) -> None:
        self.manifest = manifest
        self._encoder, self._step = encoder, step
        self._words, self._scales = words, scales

    @classmethod
    def load(cls, folder: str | Path, threads: int = 2) -> ParserRuntime:
        """Open a model folder. Raises `ModelError` when a file is missing or changed.

        The word embeddings stay on disk and are mapped into memory.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        manifest.check(folder)
        return cls(
            manifest,
            open_session(folder / ENCODER, threads),
            open_session(folder / STEP, threads),
            np.load(folder / WORDS, mmap_mode="r"),
            np.load(folder / SCALES).astype(np.float32),
        )

    def encode(self, model_input: ModelInput) -> Memory:
        """Read question and schema."""
        inputs = encoder_inputs(model_input, self._embed(model_input.token_ids))
        return Memory(*_run(self._encoder, ENCODER_OUTPUTS, inputs))

    def _embed(self, token_ids: NDArray[np.int64]) -> Floats:
        """Word embeddings (T, D)."""
        rows = self._words[token_ids].astype(np.float32)
        return rows * self._scales[token_ids, None]

    def empty_past(self) -> Past:
        """The past before the first step."""
        sizes = self.manifest
        shape = (sizes.decoder_layers, 1, sizes.decoder_heads, 0, sizes.head_size)
        return Past(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def step(self, memory: Memory, past: Past, inputs: StepInput) -> tuple[Floats, Past]:
        """Unmasked logits (W, S + N) of the next action, and the longer past."""
        logits, keys, values = _run(self._step, None, step_inputs(memory, past, inputs))
        return logits, Past(keys, values)


def _run(
    session: onnxruntime.InferenceSession, outputs: Sequence[str] | None, inputs: dict[str, Any]
) -> Any:
    """The outputs of a graph. Raises `ModelError` when the inputs don't fit it."""
    try:
        return session.run(outputs, inputs)
    except Exception as error:  # onnxruntime's own errors share no narrower base
        raise ModelError(f"The parser's network can't be run: {error}", hint=_REINSTALL) from error


def encoder_inputs(model_input: ModelInput, embedded: Floats) -> dict[str, NDArray[Any]]:
    """The encoder graph's inputs: a batch of one."""
    return {
        "embeddings": embedded[None],
        "token_types": model_input.token_types[None],
        "features": model_input.features[None].astype(np.float32),
        "pool": pool_matrix(model_input)[None],
        "kinds": model_input.node_kinds[None],
    }


def step_inputs(memory: Memory, past: Past, inputs: StepInput) -> dict[str, NDArray[Any]]:
    """The step graph's inputs."""
    return {
        "memory_keys": memory.keys,
        "memory_values": memory.values,
        "pointer_keys": memory.pointer_keys,
        "node_inputs": memory.node_inputs,
        "previous": inputs.previous,
        "states": inputs.states,
        "depths": inputs.depths,
        "past_keys": past.keys,
        "past_values": past.values,
        "relations": inputs.relations,
    }


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """An onnxruntime session. Raises `ModelError` when the file is not a usable graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads burn a core between steps and stall when another process wants it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no narrower base
        raise ModelError(f"{path} can't be opened: {error}", hint=_REINSTALL) from error
