"""What the benchmark does, one task a process, so that each has a peak memory of its own.

    python tasks.py TASK.json RESULT.json

A task is `{"do": name, …arguments}`; its result is one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import logical_form
import psutil
import wikisql_text

Task = Callable[..., dict[str, Any]]
TASKS: dict[str, Task] = {}
LIBRARIES = (
    "bitsandbytes", "datasets", "peft", "torchao.quantization", "transformers.models.llama",
    "plainsql.training.data.tokenizing", "plainsql.training.tuning.loop",
    "plainsql.training.tuning.methods",
)  # fmt: skip
PRETRAINING = "pretraining.json"  # beside the base: how it was made
WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt")


def task(function: Task) -> Task:
    """Make `function` a task by its name."""
    TASKS[function.__name__] = function
    return function


def main(arguments: list[str]) -> None:
    """Do the task of the file named first; write its result to the one named second."""
    asked = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    threads = asked.pop("threads")
    import torch

    if threads:
        torch.set_num_threads(threads)
    started = time.perf_counter()
    result = TASKS[asked.pop("do")](**asked)
    result["seconds"] = round(time.perf_counter() - started, 1)
    result["peak_mb"] = round(_peak_mb(), 1)
    Path(arguments[1]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _peak_mb() -> float:
    from plainsql.training.peak_memory import peak_memory_mb

    return peak_memory_mb()


def _program_mb() -> float:
    """What the process holds before it has a model or data: libraries, mostly."""
    for name in LIBRARIES:
        import_module(name)
    return round(float(psutil.Process().memory_info().rss) / 1e6, 1)


@task
def prepare(
    rows: str, out: str, tuning: int, test: int, tokenizer: str, seed: int
) -> dict[str, Any]:
    """Divide WikiSQL, and prepare what is for tuning and for the test as users do.

    `tokenizer` is the folder of the base model: prompts are measured by it.
    """
    from plainsql.training.data.prepare import PrepareOptions
    from plainsql.training.data.prepare import prepare as prepare_examples

    parts = wikisql_text.divide(
        wikisql_text.read_rows(Path(rows)), tuning=tuning, test=test, seed=seed
    )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    wikisql_text.write_rows(folder / "tuning.jsonl", parts.tuning)
    wikisql_text.write_rows(folder / "test.jsonl", parts.test)
    report = prepare_examples(
        PrepareOptions(
            sources=(str(folder / "tuning.jsonl"),),
            validation=(str(folder / "test.jsonl"),),
            format="wikisql",
            out=folder / "prepared",
            tokenizer=tokenizer,
            seed=seed,
            force=True,
        )
    )
    return {"report": report.to_dict()}


@task
def pretrain(
    rows: str, out: str, tuning: int, test: int, seed: int, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Make the base model of the tables that are neither for tuning nor for the test."""
    from pretraining import Recipe
    from pretraining import pretrain as pretrain_model

    parts = wikisql_text.divide(
        wikisql_text.read_rows(Path(rows)), tuning=tuning, test=test, seed=seed
    )
    pairs = [wikisql_text.bare(row) for row in parts.pretraining]
    found = pretrain_model(pairs, Path(out), Recipe(seed=seed, **recipe), _say)
    (Path(out) / PRETRAINING).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


@task
def train(config: dict[str, Any]) -> dict[str, Any]:
    """Tune by one method, without evaluations: their memory is not that of training."""
    from plainsql.training.tuning.config import load_train_config
    from plainsql.training.tuning.recipe import train as tune

    program = _program_mb()
    report = tune(load_train_config(None, config), force=True)
    return {
        "trainable": report.trainable,
        "total": report.total,
        "examples": report.examples,
        "steps": report.steps,
        "loss": report.train_loss,
        "tokens_per_second": report.tokens / max(report.seconds, 1e-9),
        "training_seconds": report.seconds,
        "training_peak_mb": report.peak_memory_mb,
        "program_mb": program,
        "bytes": _weight_bytes(report.best),
    }


@task
def merge(source: str, out: str) -> dict[str, Any]:
    """An adapter as part of its base's weights."""
    from plainsql.training.tuning.merge import merge as merge_adapter

    _remove(Path(out))
    report = merge_adapter(source, Path(out))
    return {"max_difference": report.max_difference, "agreement": report.agreement}


@task
def quantize(source: str, out: str, method: str) -> dict[str, Any]:
    """Post-training quantization of a complete model."""
    from plainsql.quantization.quantize import quantize as quantize_model

    quantize_model(source, Path(out), method, force=True)
    return {"bytes": _weight_bytes(Path(out))}


@task
def evaluate(
    source: str,
    data: str,
    questions: int,
    style: str = "instruct",
    quantization: str = "",
    batch_size: int = 32,
) -> dict[str, Any]:
    """The share of test questions for which exactly the gold query is written.

    `style` "instruct" asks as the data was prepared, "bare" as in pre-training.
    """
    from plainsql.translators.language_model.generation import GenerationSettings, generate
    from plainsql.translators.language_model.loading import LoadOptions, load

    program = _program_mb()
    loaded = load(source, LoadOptions(quantization=quantization))
    asked = _bare(data, questions) if style == "bare" else _instruct(data, questions, loaded)
    settings = GenerationSettings(max_new_tokens=96, batch_size=batch_size)
    started = time.perf_counter()
    written = generate(loaded, [prompt for prompt, _ in asked], settings)
    seconds = time.perf_counter() - started
    right = _same_text if style == "bare" else _same_query
    answers = [texts[0].text if texts else "" for texts in written]
    marks = [right(gold, text) for (_, gold), text in zip(asked, answers, strict=True)]
    pairs = zip((gold for _, gold in asked), answers, strict=True)
    return {
        "questions": len(marks),
        "right": sum(marks),
        "program_mb": program,
        "ms_per_question": 1000 * seconds / max(len(marks), 1),
        "bytes": _weight_bytes(Path(source)),
        "marks": "".join("1" if mark else "0" for mark in marks),
        "examples": [list(pair) for pair in list(pairs)[:10]],
    }


def _bare(data: str, questions: int) -> list[tuple[str, str]]:
    rows = wikisql_text.read_rows(Path(data) / "test.jsonl")[:questions]
    return [wikisql_text.bare(row) for row in rows]


def _instruct(data: str, questions: int, loaded: Any) -> list[tuple[str, str]]:
    """Prompts as at inference, for a base that was never trained as well."""
    from plainsql.training.data.prepared import load_prepared, read_examples
    from plainsql.translators.language_model.prompts import build_prompt
    from plainsql.translators.language_model.schema_text import Block

    prepared = load_prepared(Path(data) / "prepared")
    rows = list(read_examples(prepared.validation))[:questions]
    loaded.info = replace(loaded.info, prompt=prepared.prompt)
    return [
        (
            build_prompt(
                prepared.prompt,
                row["question"],
                [Block.of(block) for block in row["schema"]],
                loaded.tokenizer,
                row["db"],
            ).text,
            row["response"],
        )
        for row in rows
    ]


def _same_text(gold: str, text: str) -> bool:
    return gold.lower().strip() == text.lower().strip()


def _same_query(gold: str, text: str) -> bool:
    from plainsql.translators.language_model.extract import extract_sql

    return logical_form.same(gold, extract_sql(text))


def _weight_bytes(place: Path) -> int:
    """Of a file, or of the weight files of a folder or of best/ in it."""
    if place.is_file():
        return place.stat().st_size
    folder = place / "best" if (place / "best").is_dir() else place
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in WEIGHTS)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
