"""Ask one model prepared questions in a process of its own: time, memory, right answers.

`measure_apart(job)` starts `python -m plainsql.quantization.measure`, which reads the job
and prints what it found, both as JSON. A fresh process is the only one whose peak of
memory is that of the model: libraries keep what earlier models needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from plainsql.errors import DataError, PlainsqlError, TrainingError
from plainsql.training.peak_memory import peak_memory

LANGUAGE_MODEL, PARSER = "language model", "parser"
_FAILED = 1
_TIMEOUT = 10.0  # seconds for a statement


@dataclass(frozen=True, slots=True)
class Job:
    """What a process has to measure."""

    model: str  # a folder
    kind: str  # LANGUAGE_MODEL or PARSER
    data: str  # a prepared folder
    databases: str = ""  # "": those of the prepared data
    limit: int = 0  # questions, 0: all
    seed: int = 0  # which ones
    device: str = "auto"
    prompt: dict[str, Any] = field(default_factory=dict)  # {}: as the model was trained


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process found; memory in bytes."""

    right: int
    total: int
    rule: str  # "execution accuracy" or "exact match"
    ms: float  # mean time of a question, asked one at a time
    memory: int  # at its peak
    libraries: int  # of it, before the model was loaded


def measure_apart(job: Job) -> Measured:
    """Run a job in a process of its own. Raises the kind of error that it ended with."""
    done = subprocess.run(
        [sys.executable, "-m", "plainsql.quantization.measure"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    found = json.loads(lines[-1]) if lines and done.returncode in (0, _FAILED) else {}
    if "right" in found:
        return Measured(**found)
    ending = found.get("error") or (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise TrainingError(
        f"{job.model} can't be measured: {ending}",
        hint=found.get("hint", f"The process ended with code {done.returncode}."),
    )


def run(job: Job) -> Measured:
    """Measure in this process."""
    return _parser(job) if job.kind == PARSER else _language_model(job)


def _rows(job: Job) -> tuple[list[Mapping[str, Any]], str]:
    """The questions, those held out if there are any, and where their databases are."""
    from plainsql.training.data.prepared import load_prepared, read_examples
    from plainsql.training.tuning.execution_eval import sample

    data = load_prepared(job.data)
    rows = list(read_examples(data.validation)) or list(read_examples(data.train))
    if not rows:
        raise DataError(f"{job.data} holds no question.", hint="Prepare more data.")
    return list(sample(rows, job.limit or len(rows), job.seed)), job.databases or data.databases


def _language_model(job: Job) -> Measured:
    """Prompt, greedy decoding and extraction as in use; one question at a time."""
    rows, databases = _rows(job)
    # Named, so that they are loaded before the model's memory is taken.
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig  # noqa: F401

    from plainsql.training.tuning.execution_eval import Judge
    from plainsql.translators.language_model.generation import GenerationSettings
    from plainsql.translators.language_model.loading import LoadOptions, load
    from plainsql.translators.language_model.model_info import PromptFormat

    libraries = peak_memory()
    loaded = load(job.model, LoadOptions(device=job.device))
    form = PromptFormat(**job.prompt) if job.prompt else loaded.info.prompt
    settings = GenerationSettings(max_new_tokens=form.max_output_tokens)
    answers, ms = _answers(loaded, _prompts(loaded, form, rows), settings)
    memory = peak_memory()
    with Judge(rows, databases, form.dialect) as judge:
        judged, rule = judge.judge(answers), judge.rule
    return Measured(judged.right, judged.total, rule, ms, memory, libraries)


def _prompts(loaded: Any, form: Any, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    from plainsql.training.data.prepared import row_prompt

    return [row_prompt(form, row, loaded.tokenizer).text for row in rows]


def _answers(loaded: Any, prompts: Sequence[str], settings: Any) -> tuple[list[str], float]:
    """The SQL for each prompt, and milliseconds a prompt."""
    from plainsql.translators.language_model.extract import extract_sql
    from plainsql.translators.language_model.generation import generate

    generate(loaded, prompts[:1], replace(settings, max_new_tokens=2))  # first use is slow
    start = time.perf_counter()
    texts = [generate(loaded, [prompt], settings)[0] for prompt in prompts]
    ms = 1000 * (time.perf_counter() - start) / len(prompts)
    return [extract_sql(found[0].text) if found else "" for found in texts], ms


def _parser(job: Job) -> Measured:
    """The ordinary way of asking, with the parser in the folder; only rows count.

    Without torch, which an exported parser does not need: the peak is that of its use.
    """
    from plainsql.evaluation.asking import Asking
    from plainsql.evaluation.datasets import Example, database_paths
    from plainsql.evaluation.run import Options, evaluate
    from plainsql.translators.parser.translator import ParserTranslator

    rows, databases = _rows(job)
    if not databases:
        raise DataError(
            f"{job.data} was prepared without databases.", hint="Name them with --databases."
        )
    # One database is open at a time: questions about the same one stand together.
    examples = [
        Example(row["question"], row["response"], row["db"], row.get("evidence", ""), position=at)
        for at, row in enumerate(sorted(rows, key=lambda row: row["db"]))
    ]
    paths = database_paths(Path(databases), [example.db for example in examples])
    libraries = peak_memory()
    with Asking(ParserTranslator(Path(job.model)), warm_up=True) as asking:
        report = evaluate(examples, asking.ask_one, paths, options=Options(timeout=_TIMEOUT))
    scored = [outcome for outcome in report.outcomes if not outcome.gold_error]
    right = sum(outcome.same for outcome in scored)
    times = [outcome.ms for outcome in report.outcomes if outcome.ms is not None]
    ms = sum(times) / max(len(times), 1)
    return Measured(right, len(scored), "execution accuracy", ms, peak_memory(), libraries)


def main() -> int:
    """A job on standard input, what was measured on standard output."""
    from plainsql.translators.language_model.libraries import quiet

    quiet()
    job = Job(**json.load(sys.stdin))
    found: dict[str, Any]
    try:
        found = asdict(run(job))
    except PlainsqlError as error:
        found = {"error": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(found) + "\n")
    return _FAILED if "error" in found else 0


if __name__ == "__main__":
    sys.exit(main())
