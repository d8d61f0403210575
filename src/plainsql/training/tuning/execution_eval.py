"""Is the SQL a model writes during training right? Judged by its rows.

Where the databases are at hand a prediction counts when it returns the rows of the
gold SQL (execution accuracy, see evaluation.execution_accuracy); it runs through
the guard on a read-only connection. Where they are not, it counts when it is the
same statement as the gold after both are parsed and written anew.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from plainsql.errors import ConnectError, PlainsqlError
from plainsql.evaluation.datasets import database_paths
from plainsql.evaluation.execution_accuracy import Gold, compare, run_gold
from plainsql.execution.base import Engine, RowStream, open_engine, run_guarded, stream_guarded
from plainsql.records import Rows

# A gold query may take this long, a prediction a fraction: half-trained models
# write cross joins by the dozen.
GOLD_SECONDS = 30.0
PREDICTION_SECONDS = 3.0

Row = Mapping[str, Any]  # of train.jsonl or validation.jsonl; see training.data.prepare


@dataclass(frozen=True, slots=True)
class Judgement:
    """How many of the predictions are right; `executed` of all were judged by rows."""

    right: int
    total: int
    executed: int

    @property
    def rule(self) -> str:
        """What `accuracy` is to be called."""
        if self.executed == self.total:
            return "execution accuracy"
        return "exact match" if not self.executed else "execution accuracy or exact match"

    @property
    def accuracy(self) -> float:
        """Share of right predictions, 0 where there are none."""
        return self.right / self.total if self.total else 0.0


def sample(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` of the rows in their order: the same for the same seed."""
    if count >= len(rows):
        return list(rows)
    chosen = random.Random(seed).sample(range(len(rows)), count)
    return [rows[i] for i in sorted(chosen)]


class Judge:
    """Judges predictions for fixed examples; gold queries run once. Use as a context."""

    def __init__(self, rows: Sequence[Row], databases: str, dialect: str = "sqlite") -> None:
        self._rows = rows
        self._dialect = dialect
        self._opened = ExitStack()
        self._engines = {
            name: self._opened.enter_context(closing(engine))
            for name, engine in _engines(databases, {row["db"] for row in rows}).items()
        }
        self._gold = [self._run_gold(row) for row in rows]

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def rule(self) -> str:
        """What the accuracy is to be called."""
        return Judgement(0, len(self._gold), self._executed).rule

    @property
    def _executed(self) -> int:
        return sum(gold is not None for gold in self._gold)

    def judge(self, predictions: Sequence[str]) -> Judgement:
        """Compare one prediction an example, "" where the model wrote no SQL."""
        right = [
            self._is_right(row, gold, sql)
            for row, gold, sql in zip(self._rows, self._gold, predictions, strict=True)
        ]
        return Judgement(sum(right), len(right), self._executed)

    def _run_gold(self, row: Row) -> Gold | None:
        """The gold rows; None where there is no database, or the gold fails on it."""
        engine = self._engines.get(row["db"])
        if engine is None:
            return None
        try:
            return run_gold(engine, row["response"], timeout=GOLD_SECONDS)
        except PlainsqlError:
            return None  # then text is compared; `data prepare` reports such rows

    def _is_right(self, row: Row, gold: Gold | None, sql: str) -> bool:
        if not sql:
            return False
        if gold is None:
            return same_statement(row["response"], sql, self._dialect)
        return compare(self._engines[row["db"]], gold, sql, timeout=PREDICTION_SECONDS).same


def _engines(databases: str, names: set[str]) -> dict[str, Engine]:
    """The databases that can be opened, by name."""
    engines: dict[str, Engine] = {}
    for name in sorted(names - {""}) if databases else ():
        try:
            path = database_paths(Path(databases), [name])[name]
            engines[name] = Guarded(open_engine(path))
        except ConnectError:
            continue  # its examples are compared as text
    return engines


class Guarded:
    """An engine that judges each statement before it runs it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect, self.name = engine.dialect, engine.name
        self.protections = engine.protections
        self.introspect = engine.introspect
        self.explain = engine.explain
        self.close = engine.close

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """As `Engine.run`; raises DeniedError for what the guard refuses."""
        return run_guarded(self._engine, sql, limit=limit, timeout=timeout)

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """As `Engine.stream`; raises DeniedError for what the guard refuses."""
        return stream_guarded(self._engine, sql, timeout=timeout)


def same_statement(first: str, second: str, dialect: str = "sqlite") -> bool:
    """Whether two texts are one statement: case of names, blanks and quotes aside."""
    return normalised(first, dialect) == normalised(second, dialect)


def normalised(sql: str, dialect: str = "sqlite") -> str:
    """A statement parsed and written anew; folded text where it does not parse."""
    try:
        tree = sqlglot.parse_one(sql, read=dialect)
        tree = normalize_identifiers(tree, dialect=dialect)
        return tree.sql(dialect=dialect, comments=False, identify=True)
    except (SqlglotError, RecursionError):
        return " ".join(sql.lower().rstrip("; \n").split())
