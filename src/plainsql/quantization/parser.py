"""The parser as ONNX graphs, in float32 or int8: what it is used as."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from plainsql.errors import TrainingError, UsageError
from plainsql.quantization.files import weight_bytes
from plainsql.quantization.report import QuantizeReport
from plainsql.ranking import RANKER
from plainsql.training.parser_export import (
    ExportError,
    StepGraph,
    export,
    sample_inputs,
    seal,
)
from plainsql.training.parser_from_onnx import load_parser
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_refill import is_int8, refill
from plainsql.training.parser_tuning.folders import (
    ADAPTER_FOLDER,
    BEST_FOLDER,
    TORCH_FOLDER,
    load_adapted,
)
from plainsql.training.parser_tuning.network import dense
from plainsql.training.tuning.config import PARSER
from plainsql.training.tuning.methods import atomic_folder
from plainsql.translators.language_model.model_info import FILE, ModelInfo
from plainsql.translators.parser.runtime import MANIFEST, STEP, TOKENIZER, open_session
from plainsql.translators.parser.weights import SHIPPED
from plainsql.translators.parser.weights import is_parser as holds_parser


@dataclass(frozen=True, slots=True)
class ParserSource:
    """A parser in float, adapters merged."""

    name: str  # as the user gave it
    model: ParserModel
    graphs: Path | None  # an export of the same sizes; None: they have to be traced
    int8: bool = False  # the weights were int8 before they were read

    @property
    def files(self) -> Path:
        """Where tokenizer and re-ranker are: a lone checkpoint has the shipped parser's."""
        return self.graphs or SHIPPED


def is_parser(name: str) -> bool:
    """Whether `name` is the shipped parser's, or a folder that holds one."""
    return name == PARSER or holds_parser(name)


def open_parser(name: str) -> ParserSource:
    """`parser`, an exported folder, a torch checkpoint, or the output of `plainsql train`.

    Of the latter the weights in float are taken: its best/ holds int8 graphs. Raises
    `ModelError` where none of these can be read.
    """
    folder = _folder(name)
    if _is_adapter(folder):
        with TemporaryDirectory(prefix="plainsql-") as work:
            adapted = load_adapted(folder, Path(work))
            graphs = adapted.base.folder
            kept = None if graphs.is_relative_to(work) else graphs
            return ParserSource(name, dense(adapted.parser), kept)
    place = _place(folder)
    exports = (p for p in (place, folder / BEST_FOLDER) if (p / MANIFEST).is_file())
    return ParserSource(name, load_parser(place), next(exports, None), _is_int8(place))


def _folder(name: str) -> Path:
    return SHIPPED if name == PARSER else Path(name).expanduser()


def _is_adapter(folder: Path) -> bool:
    if (folder / ADAPTER_FOLDER).is_dir():
        return True
    return (folder / FILE).is_file() and ModelInfo.read(folder).kind == "adapter"


def _place(folder: Path) -> Path:
    """Where in `folder` the weights are, the most exact ones first."""
    inside = (folder / TORCH_FOLDER, folder, folder / BEST_FOLDER)
    files = ("config.json", MANIFEST)
    return next((p for p in inside if any((p / name).is_file() for name in files)), folder)


def _is_int8(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and is_int8(folder)


def quantize_parser(name: str, out: Path) -> QuantizeReport:
    """The parser called `name` as int8 graphs in `out`; what lies there is replaced.

    Raises `UsageError` where it is int8 already, `ModelError` where it can't be loaded,
    `TrainingError` where the graphs can't be written or don't do what they should.
    """
    folder = _folder(name)
    if not _is_adapter(folder) and _is_int8(_place(folder)):
        raise UsageError(
            f"{name} is quantized already (int8): rounding it again would change nothing.",
            hint="Quantize a parser in float: a run of plainsql train, or an onnx-fp32 export.",
        )
    source = open_parser(name)
    began = time.perf_counter()
    export_parser(source, out, int8=True)
    return QuantizeReport(
        source=name,
        out=out,
        method="onnx-int8",
        bytes_before=4 * sum(weight.numel() for weight in source.model.parameters()),
        bytes_after=weight_bytes(out),
        error=_error(source.model, out),
        agreement=None,
        seconds=time.perf_counter() - began,
    )


def export_parser(source: ParserSource, out: Path, *, int8: bool) -> Path:
    """Write a parser as graphs to `out`, with its tokenizer and re-ranker.

    Raises `TrainingError` where they can't be written or don't do what torch does.
    """
    with atomic_folder(out) as place:
        try:
            _write_graphs(source, place, int8=int8)
        except ExportError as error:
            raise TrainingError(
                f"{source.name} can't be exported: {error}", hint="Its weights may have diverged."
            ) from error
        if (source.files / RANKER).is_file():
            shutil.copyfile(source.files / RANKER, place / RANKER)
            seal(place, RANKER)
        ModelInfo(
            "quantized" if int8 else "full",
            "parser",
            base=source.name,
            method="onnx-int8" if int8 else "onnx-fp32",
            quantization="int8" if int8 else "",
        ).write(place)
    return out


def _write_graphs(source: ParserSource, place: Path, *, int8: bool) -> None:
    if source.graphs is not None and is_int8(source.graphs) == int8:
        refill(source.model, source.graphs, place)  # 0.5 s where tracing takes 12
    else:
        export(source.model, place, source.files / TOKENIZER, int8=int8)


@torch.inference_mode()
def _error(model: ParserModel, folder: Path) -> float:
    """Relative error of one step's logits, on random inputs."""
    _, step = sample_inputs(model)
    expected = StepGraph(model)(*(torch.from_numpy(array) for array in step.values()))[0].numpy()
    found = open_session(folder / STEP, threads=1).run(None, step)[0]
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
