"""What each way to quantize a model costs and saves, measured side by side.

model ─▶ quantized by each method ─▶ asked the same questions, each in a fresh process
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plainsql.errors import DataError, MissingExtra, ModelError, PlainsqlError, UsageError
from plainsql.quantization.files import weight_bytes
from plainsql.quantization.measure import LANGUAGE_MODEL, PARSER, Job, Measured, measure_apart
from plainsql.quantization.methods import LANGUAGE_MODEL_METHODS, find_method
from plainsql.quantization.parser import export_parser, is_parser, open_parser
from plainsql.quantization.quantize import quantize_plain
from plainsql.quantization.sources import Plain, plain_model
from plainsql.records import SCHEMA_VERSION
from plainsql.training.data.prepared import load_prepared
from plainsql.translators.language_model.gguf_file import LAYOUTS

ORIGINAL = "none"  # the method of the row that the others are compared with
PARSER_METHODS = ("onnx-fp32", "onnx-int8")
# llama.cpp itself keeps the blocks: there memory is about the size, and time less.
DEQUANTIZED = "measured dequantized"
MEGABYTE = 1_000_000
Progress = Callable[[str, int, int], None]  # what is done next, its number, how many there are


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of each model."""

    data: str  # a prepared folder
    databases: str = ""  # "": those the data was prepared with
    limit: int = 0  # questions, 0: all
    seed: int = 0  # which ones
    device: str = "auto"
    keep: Path | None = None  # a folder for the quantized models; None: they are deleted


@dataclass(frozen=True, slots=True)
class Row:
    """One method. `measured` is None where it failed; `remark` then says why."""

    method: str
    size: int = 0  # bytes of the weight files
    error: float | None = None  # of the logits, relative; None where it isn't measured
    measured: Measured | None = None
    remark: str = ""

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None where there is none."""
        if self.measured is None or not self.measured.total:
            return None
        return self.measured.right / self.measured.total


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table: `rule` says what counts as right, the same for all rows."""

    source: str
    data: str
    rule: str
    questions: int
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The head of the table."""
        short = "EX" if self.rule == "execution accuracy" else self.rule
        return ("method", "size MB", "peak MB", "of it model MB", "ms/question", short, "note")

    def cells(self) -> list[tuple[str | float | None, ...]]:
        """The table's rows, for people."""
        return [_cells(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """The table for machines; sizes in bytes."""
        return {"schema_version": SCHEMA_VERSION} | asdict(self) | {
            "rows": [{**asdict(row), "accuracy": row.accuracy} for row in self.rows]
        }  # fmt: skip


def _cells(row: Row) -> tuple[str | float | None, ...]:
    size = round(row.size / MEGABYTE, 1) if row.size else None
    found = row.measured
    if found is None:
        return (row.method, size, None, None, None, None, row.remark)
    memory = found.memory / MEGABYTE
    model = (found.memory - found.libraries) / MEGABYTE
    accuracy = f"{found.right}/{found.total}"
    off = "" if row.error is None else f"logits off by {100 * row.error:.2g} %"
    note = "; ".join(part for part in (off, row.remark) if part)
    return (row.method, size, round(memory), round(model), round(found.ms, 1), accuracy, note)


def compare(
    source: str,
    options: Options,
    methods: Sequence[str] = (),
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Quantize the model at `source` by `methods` (default: all that apply) and ask each.

    A method that fails is a row that says why. Raises `UsageError` for methods that don't
    exist or don't go with the model, `DataError` where `options.data` has no questions.
    """
    load_prepared(options.data)
    with _workplace(options.keep) as work:
        if is_parser(source):
            rows = _parser_rows(source, _known(methods, PARSER_METHODS), options, work, progress)
        else:
            with plain_model(source, work) as plain:
                chosen = _known(methods, _applicable(plain))
                rows = _model_rows(plain, chosen, options, work, progress)
    measured = [row.measured for row in rows if row.measured]
    rule = measured[0].rule if measured else ""
    questions = max((found.total for found in measured), default=0)
    return Comparison(source, options.data, rule, questions, tuple(rows))


@contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with TemporaryDirectory(prefix="plainsql-compare-") as place:
        yield Path(place)


def _applicable(plain: Plain) -> tuple[str, ...]:
    """The methods that may be asked for; those that apply only to some models where they do."""
    gguf = plain.info.family == "causal" and plain.config.model_type in LAYOUTS
    found = (m for m in LANGUAGE_MODEL_METHODS if gguf or find_method(m).library != "gguf")
    return (ORIGINAL, *found)


def _known(methods: Sequence[str], applicable: Sequence[str]) -> tuple[str, ...]:
    """The methods to compare, the original first. Raises `UsageError`."""
    for name in methods:
        if name not in applicable:
            raise UsageError(
                f"{name!r} is no way to quantize this model.",
                hint=f"Methods: {', '.join(applicable)}.",
            )
    return tuple(dict.fromkeys([applicable[0], *methods])) if methods else tuple(applicable)


def _model_rows(
    plain: Plain, methods: Sequence[str], options: Options, work: Path, progress: Progress
) -> list[Row]:
    # A model that wasn't tuned has no prompt of its own: all get that of the data.
    tuned = plain.info.kind != "base"
    prompt = plain.info.prompt if tuned else load_prepared(options.data).prompt

    def row(method: str) -> Row:
        if method == ORIGINAL:
            folder, size, error = plain.folder, weight_bytes(plain.folder), None
        else:
            folder = work / method
            made = quantize_plain(plain, folder, find_method(method), device=options.device)
            size, error = made.bytes_after, made.error
        found = measure_apart(_job(folder, LANGUAGE_MODEL, options, asdict(prompt)))
        return Row(method, size, error, found, DEQUANTIZED * method.startswith("gguf"))

    return [_guarded(row, method, work, options, progress, methods) for method in methods]


def _parser_rows(
    source: str, methods: Sequence[str], options: Options, work: Path, progress: Progress
) -> list[Row]:
    parser = open_parser(source)
    # Weights read from int8 graphs stay the numbers they are: then float32 shows what
    # rounding the *inputs* of layers costs, no more.
    remark = "weights rounded to int8 before" if parser.int8 else ""

    def row(method: str) -> Row:
        folder = export_parser(parser, work / method, int8=method == "onnx-int8")
        found = measure_apart(_job(folder, PARSER, options, {}))
        return Row(method, weight_bytes(folder), None, found, remark * (method == "onnx-fp32"))

    return [_guarded(row, method, work, options, progress, methods) for method in methods]


def _guarded(
    make: Callable[[str], Row],
    method: str,
    work: Path,
    options: Options,
    progress: Progress,
    methods: Sequence[str],
) -> Row:
    """One row; an error of plainsql's tree is a row, as the other methods may do."""
    progress(method, methods.index(method), len(methods))
    try:
        return make(method)
    except (DataError, MissingExtra):
        raise  # no method can be measured
    except PlainsqlError as error:
        if method == methods[0] and isinstance(error, ModelError):
            raise
        return Row(method, remark=error.message)
    finally:
        if options.keep is None:
            shutil.rmtree(work / method, ignore_errors=True)


def _job(folder: Path, kind: str, options: Options, prompt: dict[str, Any]) -> Job:
    return Job(
        model=str(folder),
        kind=kind,
        data=str(options.data),
        databases=options.databases,
        limit=options.limit,
        seed=options.seed,
        device=options.device,
        prompt=prompt,
    )


def write_json(comparison: Comparison, path: Path) -> None:
    """The table as a file. Raises `UsageError` where it can't be written."""
    text = json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error}") from error
