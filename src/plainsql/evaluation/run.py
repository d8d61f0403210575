"""Ask every question of a data set, run what comes back, and judge it.

The translator is a function (`AskOne`), so that the flow, a file of predictions
and a test's own function are evaluated by the same code.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from plainsql.errors import ConnectError, MissingExtra, ModelError, PlainsqlError
from plainsql.evaluation.datasets import Example
from plainsql.evaluation.error_classes import ErrorClass, classify
from plainsql.evaluation.exact_match import same_query
from plainsql.evaluation.execution_accuracy import (
    Comparison,
    Gold,
    comparable_text,
    compare,
    run_gold,
)
from plainsql.evaluation.hardness import hardness
from plainsql.evaluation.predictions import one_line
from plainsql.evaluation.report import Outcome, Report
from plainsql.evaluation.spider_form import Query
from plainsql.evaluation.spider_parse import parse
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from plainsql.execution.base import Engine

MOST_RESULT_BYTES = 500_000_000  # of one gold result; a user's limit would be far less


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a translator answered. `sql` is "" when it gave none, `error` says why."""

    sql: str
    alternatives: tuple[str, ...] = ()
    ms: float | None = None
    error: str = ""
    crashed: bool = False


AskOne = Callable[[Path, str, Schema | None], Prediction]


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate."""

    timeout: float = 60.0  # seconds for one statement, as the official script
    keep_distinct: bool = True  # False: as the script without --keep_distinct
    alternatives: int = 0  # how many beside the answer the oracle may choose from
    with_evidence: bool = False  # add BIRD's evidence to the question
    progress: bool = False  # a bar on stderr, where that is a terminal
    dataset: str = ""
    translator: str = ""


@dataclass(frozen=True, slots=True)
class _Database:
    """An open database, its schema for reading SQL, and the one for asking."""

    path: Path
    engine: Engine
    schema: Schema
    given_schema: Schema | None


@dataclass
class _Databases:
    """Keeps one database open at a time: data sets go through them one by one."""

    paths: Mapping[str, Path]
    schemas: Mapping[str, Schema]
    current: str = ""
    opened: _Database | None = field(default=None)

    def get(self, name: str) -> _Database:
        """The open database. Raises ConnectError or SchemaError."""
        if self.opened is None or self.current != name:
            self.close()
            self.opened, self.current = self._open(name), name
        return self.opened

    def _open(self, name: str) -> _Database:
        from plainsql.execution.limits import Limits
        from plainsql.execution.sqlite import SQLiteEngine
        from plainsql.schema.introspect import sqlite_schema

        path, given = self.paths[name], self.schemas.get(name)
        schema = given or sqlite_schema(path, samples=0, infer_keys=False)
        limits = Limits(result_bytes=MOST_RESULT_BYTES)
        return _Database(path, SQLiteEngine(path, limits=limits), schema, given)

    def close(self) -> None:
        if self.opened is not None:
            self.opened.engine.close()
            self.opened = None


def evaluate(
    examples: Sequence[Example],
    ask_one: AskOne,
    paths: Mapping[str, Path],
    *,
    schemas: Mapping[str, Schema] | None = None,
    options: Options | None = None,
    predictions: TextIO | None = None,
) -> Report:
    """Evaluate `ask_one` over the examples.

    `paths` has the file of each database (`datasets.database_paths`). `schemas`
    are passed on to `ask_one` and used to read the SQL; a database without one
    is introspected. Each prediction is written to `predictions` as one line (see
    `predictions.one_line`) as soon as it is there. Ctrl-C ends the run early;
    the report then covers what was asked and says so.
    Raises ModelError and MissingExtra from `ask_one`; its other errors are outcomes.
    """
    options = options or Options()
    opened = _Databases(paths, schemas or {})
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        with _progress_bar(len(examples), options.progress) as advance, _kept_interrupt() as kept:
            for example in examples:
                outcome = _outcome(example, ask_one, opened, options)
                if kept.seen:
                    raise KeyboardInterrupt
                outcomes.append(outcome)
                _write(outcome, predictions)
                advance()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        opened.close()
    return Report(
        dataset=options.dataset,
        translator=options.translator,
        outcomes=tuple(outcomes),
        total=len(examples),
        alternatives=options.alternatives,
        keep_distinct=options.keep_distinct,
        interrupted=interrupted,
    )


def from_predictions(queries: Sequence[str]) -> AskOne:
    """A translator that answers with the next of `queries`, whatever the question."""
    following: Iterator[str] = iter(queries)

    def ask_one(path: Path, question: str, schema: Schema | None) -> Prediction:
        sql = next(following)
        return Prediction(sql, error="" if sql else "unanswered")

    return ask_one


def _write(outcome: Outcome, predictions: TextIO | None) -> None:
    if predictions is not None:
        predictions.write(one_line(outcome.predicted) + "\n")
        predictions.flush()


def _outcome(example: Example, ask_one: AskOne, databases: _Databases, options: Options) -> Outcome:
    question = example.text(with_evidence=options.with_evidence)
    try:
        database = databases.get(example.db)
    except ConnectError as error:
        return _unscored(example, error.message)
    prediction = _asked(ask_one, database, question)
    try:
        gold = run_gold(
            database.engine,
            example.sql,
            timeout=options.timeout,
            keep_distinct=options.keep_distinct,
        )
    except PlainsqlError as error:
        return _unscored(example, error.message, prediction)
    return _judged(example, prediction, gold, database, options)


def _asked(ask_one: AskOne, database: _Database, question: str) -> Prediction:
    try:
        return ask_one(database.path, question, database.given_schema)
    except (ModelError, MissingExtra):
        raise  # no question can be answered
    except PlainsqlError as error:
        return Prediction("", error=error.message)
    except Exception as error:  # one bug in a translator must not lose a night's run
        return Prediction("", error=f"{type(error).__name__}: {error}", crashed=True)


def _unscored(example: Example, reason: str, prediction: Prediction | None = None) -> Outcome:
    return Outcome(
        position=example.position,
        db=example.db,
        level=example.difficulty or "unknown",
        question=example.question,
        gold=example.sql,
        predicted=prediction.sql if prediction else "",
        ms=prediction.ms if prediction else None,
        message=prediction.error if prediction else "",
        gold_error=reason or "failed",
    )


def _judged(
    example: Example, prediction: Prediction, gold: Gold, database: _Database, options: Options
) -> Outcome:
    found = _compared(prediction.sql, gold, database, options)
    gold_query = parse(comparable_text(example.sql), database.schema)
    query = parse(comparable_text(prediction.sql), database.schema)
    return Outcome(
        position=example.position,
        db=example.db,
        level=example.difficulty or hardness(gold_query).value,
        question=example.question,
        gold=example.sql,
        predicted=prediction.sql,
        same=found.same,
        same_in_order=found.same_in_order,
        exact=_exact(gold_query, query, database.schema),
        executes=not found.error,
        oracle=_oracle(found, prediction, gold, database, options),
        ms=prediction.ms,
        error_class=_error_class(example, prediction, found, database.schema),
        message=prediction.error or found.error,
    )


def _exact(gold: Query | None, predicted: Query | None, schema: Schema) -> bool | None:
    if gold is None:
        return None
    return predicted is not None and same_query(gold, predicted, schema)


def _compared(sql: str, gold: Gold, database: _Database, options: Options) -> Comparison:
    if not sql:
        return Comparison(error="unanswered")
    return compare(
        database.engine,
        gold,
        sql,
        timeout=options.timeout,
        keep_distinct=options.keep_distinct,
    )


def _oracle(
    found: Comparison, prediction: Prediction, gold: Gold, database: _Database, options: Options
) -> bool | None:
    if not options.alternatives:
        return None
    others = prediction.alternatives[: options.alternatives]
    return found.same or any(_compared(sql, gold, database, options).same for sql in others)


def _error_class(
    example: Example, prediction: Prediction, found: Comparison, schema: Schema
) -> ErrorClass | None:
    if found.same:
        return None
    if prediction.crashed:
        return ErrorClass.CRASHED
    if not prediction.sql:
        return ErrorClass.UNANSWERED
    if found.error:
        return ErrorClass.EXECUTION_FAILED
    return classify(comparable_text(example.sql), comparable_text(prediction.sql), schema)


@dataclass
class _Interrupt:
    """Whether Ctrl-C was pressed."""

    seen: bool = False


@contextmanager
def _kept_interrupt() -> Iterator[_Interrupt]:
    """Remembers a Ctrl-C that is lost on its way up.

    One that arrives while SQLite runs is raised in the engine's progress
    handler, where sqlite3 swallows it and reports an interrupted statement.
    """
    kept = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield kept  # only the main thread may set, and gets, signals
        return

    def remember(number: int, frame: FrameType | None) -> None:
        kept.seen = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield kept
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress_bar(total: int, wanted: bool) -> Iterator[Callable[[], None]]:
    """A function to call after each question; draws only where stderr is a terminal."""
    if not wanted or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=total)
        yield lambda: bar.advance(task)
