"""One row of the parser's benchmark: tune, measure, write what was found. A process of its own.

    python parser_rows.py task.json result.json

`prepare` makes what all rows share: the parser to start from, the questions to tune on,
those to test on.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from plainsql.translators.language_model.libraries import quiet

quiet()  # before the libraries are imported: some speak while they are

# ruff: noqa: E402
import torch

from plainsql.evaluation.datasets import Example, database_paths, load_dataset, select
from plainsql.schema.spider import load_tables_json
from plainsql.training.data.prepared import FORMAT_VERSION
from plainsql.training.parser_export import write_manifest
from plainsql.training.parser_from_onnx import load_parser
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_pairs import VALIDATION_DATABASES, normalised
from plainsql.training.parser_stepper import TorchStepper
from plainsql.training.parser_tuning import train_parser
from plainsql.training.parser_tuning.measuring import measure
from plainsql.training.parser_tuning.network import to_nf4
from plainsql.training.tuning.checkpoints import RunFolder
from plainsql.training.tuning.config import load_train_config
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.parser.beam import StepModel
from plainsql.translators.parser.runtime import SCALES, TOKENIZER, WORDS, ParserRuntime
from plainsql.translators.parser.translator import ParserTranslator
from plainsql.translators.parser.weights import SHIPPED

NO_ROWS = "wta_1"  # a database of the development set that came without its rows


@dataclass(frozen=True, slots=True)
class Row:
    """A parser to measure: how it is held, and how it was tuned ({}: it was not)."""

    name: str
    title: str
    held: str  # "float32", "int8", "nf4" or "nf4-dq"
    tuning: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("float32", "float32 (dequantized)", "float32"),
    Row("int8", "int8, after training (shipped)", "int8"),
    Row("nf4", "NF4", "nf4"),
    Row("nf4-dq", "NF4, double quantization", "nf4-dq"),
    Row("full", "full", "int8", {"method": "full"}),
    Row("qat", "QAT for int8", "int8", {"method": "qat"}),
    Row("lora", "LoRA", "int8", {"method": "lora"}),
    Row("qat-lora", "QAT-LoRA for int8", "int8", {"method": "qat-lora"}),
    Row("qlora", "QLoRA (NF4)", "int8", {"method": "qlora", "double_quantization": False}),
    Row("qlora-dq", "QLoRA (NF4, double quantization)", "int8", {"method": "qlora"}),
)


# --- what all rows share ----------------------------------------------------------------


def prepare(spider: Path, out: Path, seed: int, limit: int) -> None:
    """Write OUT/base (no re-ranker), OUT/data (half of each database) and OUT/test.json.

    The shipped re-ranker was fitted on these ten databases, so it takes no part here: it
    would know the questions of the test half. All questions of one query are on one side.
    """
    if (out / "test.json").is_file():
        return
    base = out / "base"
    base.mkdir(parents=True, exist_ok=True)
    for path in SHIPPED.iterdir():
        if path.suffix in (".onnx", ".npy") or path.name == TOKENIZER:
            shutil.copyfile(path, base / path.name)
    write_manifest(load_parser(SHIPPED), base)
    questions = [
        example
        for name in ("train_spider.json", "train_others.json")
        for example in load_dataset(spider / name)
        if example.db in VALIDATION_DATABASES
    ]
    tuning, test = halves(questions, seed)
    _write_data(out / "data", spider, tuning[: limit or None])
    (out / "test.json").write_text(json.dumps([asdict(e) for e in test[: limit or None]]))


def halves(questions: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Half of each database's queries with all their questions, and the other half."""
    groups: dict[str, dict[str, list[Example]]] = {}
    for example in questions:
        queries = groups.setdefault(example.db, {})
        queries.setdefault(normalised(example.sql), []).append(example)
    sides: tuple[list[Example], list[Example]] = ([], [])
    for db in sorted(groups):
        names = sorted(groups[db])
        random.Random(f"{seed}/{db}").shuffle(names)
        for number, name in enumerate(names):
            sides[number % 2].extend(groups[db][name])
    return sides


def _write_data(folder: Path, spider: Path, examples: Sequence[Example]) -> None:
    """The pairs as `plainsql data prepare` leaves them, with nothing held out."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"question": e.question, "response": e.sql, "db": e.db}) + "\n" for e in examples
    ]
    (folder / "train.jsonl").write_text("".join(lines))
    (folder / "validation.jsonl").write_text("")
    manifest = {
        "format_version": FORMAT_VERSION,
        "prompt": asdict(PromptFormat()),
        "databases": str((spider / "database").absolute()),
    }
    (folder / "prepare.json").write_text(json.dumps(manifest))


# --- one row ------------------------------------------------------------------------------


def run(task: dict[str, Any]) -> dict[str, Any]:
    """The figures of a row."""
    torch.set_num_threads(task["threads"])
    row = next(row for row in ROWS if row.name == task["row"])
    out, spider = Path(task["out"]), Path(task["spider"])
    found = _tuned(row, out, task) if row.tuning else {}
    folder = out / row.name / "best" if row.tuning else out / "base"
    model, size = _model(row, folder)
    started = time.monotonic()
    found["dev"] = _development(model, spider, task["limit"])
    found["dev_minutes"] = round((time.monotonic() - started) / 60, 2)
    found["test"] = _own(model, out, spider)
    if row.tuning:  # what the rounding of the export costs
        found["test_float"] = _own(_float_model(row, out), out, spider)
    return {**found, "bytes": size}


def _tuned(row: Row, out: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Tune by the row's method, or go on where an earlier run stopped."""
    given = {
        "base": str(out / "base"),
        "data": str(out / "data"),
        "out": str(out / row.name),
        "seed": task["seed"],
        "threads": task["threads"],
        **row.tuning,
        **task["tuning"],
    }
    resume = RunFolder(out / row.name).in_use()
    report = train_parser(load_train_config("parser", given), resume=resume)
    return {
        "trainable": report.trainable,
        "total": report.total,
        "examples": report.examples,
        "steps": report.steps,
        "best_step": report.best_step,
        "minutes": report.seconds / 60,
        "training_mb": report.peak_memory_mb,
        "adapter_bytes": _bytes(out / row.name / "adapter"),
    }


def _model(row: Row, folder: Path) -> tuple[StepModel, int]:
    """A parser as it is held, and its bytes on disk."""
    if row.held == "int8":
        return ParserRuntime.load(folder, threads=1), _bytes(folder)
    parser = load_parser(folder)
    if row.held != "float32":
        to_nf4(parser, double=row.held == "nf4-dq")
    words = sum((folder / name).stat().st_size for name in (WORDS, SCALES, TOKENIZER))
    return TorchStepper(parser), words + stored_bytes(parser)


def _float_model(row: Row, out: Path) -> StepModel:
    """A tuned parser before its export."""
    from plainsql.training.parser_tuning import load_adapted

    if (out / row.name / "adapter").is_dir():
        return TorchStepper(load_adapted(out / row.name, out / row.name).parser)
    return TorchStepper(load_parser(out / row.name / "torch"))


def stored_bytes(parser: ParserModel) -> int:
    """Bytes of the weights and their scales, without the word embeddings (int8, apart)."""
    words = "encoder.embeddings.word_embeddings."
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in parser.state_dict().items()
        if not name.startswith(words)
    )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.suffix != ".md")


# --- measuring -------------------------------------------------------------------------------


def _development(model: StepModel, spider: Path, limit: int) -> list[bool]:
    """Spider's development set with the schemas of tables.json, re-ranked as shipped."""
    everything = load_dataset(spider / "dev.json")
    examples = select(everything, exclude=(NO_ROWS,), limit=limit or None)
    schemas = load_tables_json(spider / "tables.json")
    return _right(ParserTranslator(SHIPPED, model=model), examples, spider, schemas)


def _own(model: StepModel, out: Path, spider: Path) -> list[bool]:
    """The test half, as a user asks it: the database file alone."""
    examples = [Example(**values) for values in json.loads((out / "test.json").read_text())]
    return _right(ParserTranslator(out / "base", model=model), examples, spider, {})


def _right(
    translator: ParserTranslator, examples: Sequence[Example], spider: Path, schemas: Any
) -> list[bool]:
    paths = database_paths(spider / "database", {example.db for example in examples})
    return [outcome.same for outcome in measure(translator, examples, paths, schemas).scored]


def main() -> None:
    """Do the task in the first file, write the result to the second."""
    task = json.loads(Path(sys.argv[1]).read_text())
    result, target = run(task), Path(sys.argv[2])
    part = target.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(target)


if __name__ == "__main__":
    main()
