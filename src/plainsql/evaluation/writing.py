"""What a language model writes for questions: its texts, the SQL in them, what that gives.

For one question, or for a file of them: one line of JSON a question, written as
soon as it is there, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from plainsql.choosing import Trial, choose
from plainsql.errors import MissingExtra, ModelError, PlainsqlError, UsageError
from plainsql.evaluation.datasets import Example
from plainsql.questions import clean_question
from plainsql.records import Candidate
from plainsql.translators.language_model.decoding import GREEDY, Generated, GenerationSettings
from plainsql.translators.language_model.generation import generate
from plainsql.translators.language_model.prompts import Prompt
from plainsql.translators.language_model.translator import LanguageModelTranslator, candidates
from plainsql.trying import failure, try_candidates

if TYPE_CHECKING:
    from plainsql.ask import Database
    from plainsql.schema.model import Schema
    from plainsql.settings import Settings

TOO_LONG = "The question is too long: it leaves no room for the schema."
AT_ONCE = 4  # batches whose prompts are made together, so that like lengths share one


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote for one question; `error` says why there is no text."""

    example: Example
    prompt: Prompt | None = None
    texts: tuple[Generated, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    error: str = ""


def write(
    translator: LanguageModelTranslator,
    settings: GenerationSettings,
    database: Database,
    examples: Sequence[Example],
) -> list[Written]:
    """The texts for questions over one database. Raises `ModelError`, `MissingExtra`.

    A question that can't be asked, or that leaves no room for the schema, has an error.
    """
    asked = [prompted(translator, database, example) for example in examples]
    fitting = [item.prompt.text for item in asked if item.prompt and not item.error]
    texts = iter(generate(translator.loaded, fitting, settings))
    return [
        item if item.error else with_texts(item, next(texts), translator.name) for item in asked
    ]


def prompted(translator: LanguageModelTranslator, database: Database, example: Example) -> Written:
    """The prompt for one question, or why there is none. Raises as `write` does."""
    try:
        question = clean_question(example.question)
        links = database.link(question)
        prompt = translator.prompt(question, database.schema, links, example.evidence)
    except (ModelError, MissingExtra):
        raise  # no question can be asked
    except PlainsqlError as error:
        return Written(example, error=error.message)
    if prompt.too_long:
        return Written(example, prompt, error=TOO_LONG)
    return Written(example, prompt)


def with_texts(item: Written, texts: Sequence[Generated], name: str) -> Written:
    """`item` with what the model called `name` wrote, and the queries in it."""
    return replace(item, texts=tuple(texts), candidates=tuple(candidates(texts, name)))


def run(written: Written, database: Database) -> Trial:
    """The candidate that is chosen by running them, as for every answer, and its rows.

    Raises what refused or stopped the best one where none can be run.
    """
    settings = database.settings
    trials = try_candidates(
        written.candidates,
        database.engine,
        database.schema,
        wanted=1,
        limit=settings.limit,
        timeout=settings.timeout,
    )
    choice = choose(trials)
    if choice is None:
        raise failure(trials)
    return trials[choice.index]


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How the questions of a file are asked."""

    raw: bool = False  # keep the whole texts too
    execute: bool = False  # run the SQL and say how many rows it gave
    evidence: bool = False  # tell BIRD's evidence, as `data prepare --evidence` does
    settings: GenerationSettings = GREEDY

    def digest(self, model: str) -> str:
        """A short name of the run: other names, other answers."""
        text = json.dumps([model, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def write_all(
    translator: LanguageModelTranslator,
    examples: Sequence[Example],
    open_database: Callable[[str], Database],
    options: FileOptions,
) -> Iterator[dict[str, Any]]:
    """One record a question, grouped by database. Raises `ModelError`, `MissingExtra`.

    `open_database` is called with the name of a database when its questions come,
    which are sorted by it; one is open at a time.
    """
    run_name = options.digest(translator.name)
    at_once = AT_ONCE * options.settings.batch_size
    if not options.evidence:
        examples = [replace(example, evidence="") for example in examples]
    by_database = sorted(examples, key=lambda example: example.db)
    for name, group in groupby(by_database, key=lambda example: example.db):
        of_database = list(group)
        with open_database(name) as database:
            for start in range(0, len(of_database), at_once):
                part = of_database[start : start + at_once]
                for item in write(translator, options.settings, database, part):
                    yield {**_record(item, database, options), "run": run_name}


def _record(written: Written, database: Database, options: FileOptions) -> dict[str, Any]:
    example = written.example
    found: dict[str, Any] = {
        "position": example.position,
        "db": example.db,
        "question": example.question,
        "sql": written.candidates[0].sql if written.candidates else "",
        "candidates": [{"sql": c.sql, "score": c.score} for c in written.candidates],
        "error": written.error or ("" if written.candidates else "The model wrote no SQL."),
    }
    if options.raw:
        found["texts"] = [asdict(text) for text in written.texts]
    if options.execute and written.candidates:
        found |= _outcome(written, database)
    return found


def _outcome(written: Written, database: Database) -> dict[str, Any]:
    try:
        trial = run(written, database)
    except PlainsqlError as error:
        return {"error": error.message, "rows": None}
    return {"sql": trial.candidate.sql, "rows": len(trial.rows.rows) if trial.rows else None}


def databases(
    paths: Mapping[str, Path],
    schemas: Mapping[str, Schema],
    translator: LanguageModelTranslator,
    settings: Settings,
) -> Callable[[str], Database]:
    """A function that opens a database by its name."""
    from plainsql.ask import connect

    def opened(name: str) -> Database:
        return connect(
            paths[name], schema=schemas.get(name), translator=translator, settings=settings
        )

    return opened


def left_to_do(
    path: Path, examples: Sequence[Example], options: FileOptions, model: str
) -> list[Example]:
    """The examples that the file at `path` has no line for yet.

    A last line that was cut short is removed. Raises `UsageError` where the file
    is of another run: another model, other questions or other settings.
    """
    if not path.exists():
        return list(examples)
    by_position = {example.position: example for example in examples}
    done = set()
    run_name = options.digest(model)
    for record in _whole_lines(path):
        example = by_position.get(record.get("position", -1))
        if record.get("run") != run_name or (
            example and (example.question, example.db) != (record["question"], record["db"])
        ):
            raise UsageError(
                f"{path} was written by another model, with other settings or questions.",
                hint="Name another --out, or begin anew with --restart.",
            )
        done.add(record["position"])
    return [example for example in examples if example.position not in done]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb+") as file:
            text = file.read()
            whole = text.rfind(b"\n") + 1
            records = [json.loads(line) for line in text[:whole].splitlines()]
            file.truncate(whole)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be continued: {error}", hint="Use --restart.") from error
    if not all(isinstance(record, dict) for record in records):
        raise UsageError(f"{path} is no earlier output.", hint="Name another --out.")
    return records


def save(record: Mapping[str, Any], file: IO[str]) -> None:
    """One line, on the disk's side of the buffer before the next question is asked."""
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
    file.flush()
