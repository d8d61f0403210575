"""New weights in the graphs of an exported parser: `refill(model, base, folder)`.

Tuning changes weights, never the network, so the base's graphs can be kept. Tracing a
parser anew (`parser_export`) takes 12 seconds on an idle core, filling its graphs half a
second; both give the same integers.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from plainsql.training.parser_export import (
    EncoderGraph,
    ExportError,
    StepGraph,
    cosine,
    sample_inputs,
    write_manifest,
)
from plainsql.training.parser_from_onnx import QUANTIZED, Graph, scale_and_zero
from plainsql.training.parser_model import ParserModel
from plainsql.training.word_table import write_words
from plainsql.translators.parser.runtime import ENCODER, STEP, TOKENIZER, open_session

MOST_LEVEL = 127  # int8, symmetric
# Of an output to torch's. The shipped files have 0.999, weights in the wrong place about 0.
_LEAST_COSINE = 0.9
Constants = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Refilled:
    """How the files compare with torch: the cosines of the first outputs, and their bytes."""

    encoder_cosine: float
    step_cosine: float
    sizes: dict[str, int]

    def __str__(self) -> str:
        total = sum(self.sizes.values()) / 1e6
        return (
            f"int8 cosine: encoder {self.encoder_cosine:.4f}, step {self.step_cosine:.4f};"
            f" {total:.1f} MB"
        )


def is_int8(base: Path) -> bool:
    """Whether the graphs of an exported parser are quantized."""
    return any(name.endswith(QUANTIZED) for name in Graph.read(base / ENCODER).constants)


def refill(model: ParserModel, base: Path, folder: Path) -> Refilled:
    """Write `model` as the export in `base` is written (int8 or float32) to `folder`.

    `base` is an export of a parser of the same sizes; its tokenizer is copied. Raises
    `ExportError` when the graphs don't fit the model or don't compute what it does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().eval()
    for name in (ENCODER, STEP):
        _fill(Graph.read(base / name), model, folder / name)
    write_words(model.get_input_embeddings().weight.detach().numpy(), folder)
    shutil.copyfile(base / TOKENIZER, folder / TOKENIZER)
    encoder, step = _compared(model, folder)
    if not min(encoder, step) > _LEAST_COSINE:  # NaN is none either
        raise ExportError(f"the graphs differ from torch: cosines {encoder:.4f}, {step:.4f}")
    return Refilled(encoder, step, write_manifest(model, folder))


def _fill(graph: Graph, model: ParserModel, path: Path) -> None:
    """Write a graph with the model's weights in place of its own."""
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    new: Constants = {f"model.{name}": weights[name] for name in graph.parameters()}
    for name, stored in graph.matrices().items():
        new |= matrix_constants(weights[name].T, stored)
    for item in graph.model.graph.initializer:
        if item.name in new:
            value = np.ascontiguousarray(new[item.name])
            if value.shape != tuple(item.dims):
                raise ExportError(f"{item.name} is {value.shape}, the graph has {item.dims}")
            item.CopyFrom(numpy_helper.from_array(value, item.name))
    onnx.save(graph.model, str(path))


def matrix_constants(matrix: NDArray[np.float32], stored: str) -> Constants:
    """A matrix (in, out) as the constants that stand for it: itself, or int8 with its scales.

    The rule is onnxruntime's (symmetric, one scale an output channel).
    """
    if not stored.endswith(QUANTIZED):
        return {stored: matrix}
    most = np.abs(matrix).max(axis=0)
    scale = np.where(most > 0, most / MOST_LEVEL, 1).astype(np.float32)
    levels = np.clip(np.rint(matrix / scale), -MOST_LEVEL, MOST_LEVEL).astype(np.int8)
    scale_name, zero_name = scale_and_zero(stored)
    return {stored: levels, scale_name: scale, zero_name: np.zeros(len(scale), np.int8)}


@torch.inference_mode()
def _compared(model: ParserModel, folder: Path) -> tuple[float, float]:
    """Cosines of the files' first outputs to torch's: memory keys, and logits."""
    files: dict[str, Any] = {ENCODER: EncoderGraph(model), STEP: StepGraph(model)}
    found = []
    for (name, graph), inputs in zip(files.items(), sample_inputs(model), strict=True):
        expected = graph(*map(torch.from_numpy, inputs.values()))[0].numpy()
        session = open_session(folder / name, threads=1)
        found.append(cosine(session.run(None, inputs)[0], expected))
    return found[0], found[1]
