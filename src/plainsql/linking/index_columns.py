"""Building the value index from the distinct values of columns, one after another.

For databases whose rows can't be read through as those of an SQLite file can: a
server is asked for what differs, within bounds of time, number and length. How
a column is read is the caller's affair; linking knows no engine.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plainsql.linking.index_build import (
    TABLES,
    ColumnState,
    Limits,
    TooSlow,
    finish,
    stage,
    write_state,
)
from plainsql.records import Cell, comparable
from plainsql.schema.model import ColumnType, Schema

MOST_NUMBERS = 2_000  # distinct ones; a column with more isn't indexed, as in SQLite files

# What a question names most comes first, should the time not suffice for all.
_ORDER = {ColumnType.TEXT: 0, ColumnType.BOOLEAN: 1, ColumnType.NUMBER: 2, ColumnType.TIME: 3}
_READ_FIRST = 10**9  # rows, as an estimate of a table whose size isn't known


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """Distinct values of a column, without NULL; `more`: there are others."""

    values: Sequence[Cell]
    more: bool = False


ReadColumn = Callable[[int, int, float], ColumnValues]
"""From a column index, a number of values and of seconds. Raises TooSlow past these."""

Done = Callable[[int, int, str], None]
"""Told of progress: columns read, columns to read, the name of the next."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one build may use; what it doesn't reach is noted as not indexed."""

    seconds: float = 4.0  # in all
    column_seconds: float = 1.0  # for any one column
    columns: int = 2_000
    distinct: int = 50_000  # values kept a column


# What a first question may wait for, and what somebody who asks for an index may.
FIRST_QUESTION = Budget()
THOROUGH = Budget(seconds=1800.0, column_seconds=120.0, columns=200_000, distinct=200_000)


@dataclass(frozen=True, slots=True)
class ColumnSource:
    """A database to be indexed by its columns.

    identity: which one, and who looks at it; without secrets.
    mark: changes with the data; "" where nothing tells (a server).
    read: reads one column.
    hidden: columns whose cells may not be known; they are never read.
    """

    identity: str
    mark: str
    read: ReadColumn
    hidden: frozenset[int] = frozenset()


def columns_to_read(schema: Schema, hidden: frozenset[int] = frozenset()) -> list[int]:
    """The columns worth indexing: texts before numbers, small tables before large ones."""

    def rank(column: int) -> tuple[int, int, int]:
        rows = schema.tables[schema.table_of[column]].row_count
        return (_ORDER[schema.columns[column].type], rows or _READ_FIRST, column)

    wanted = (i for i, column in enumerate(schema.columns) if column.type in _ORDER)
    return sorted((column for column in wanted if column not in hidden), key=rank)


def build_columns(
    target: sqlite3.Connection,
    schema: Schema,
    source: ColumnSource,
    budget: Budget,
    done: Done | None = None,
) -> None:
    """Fill the empty database `target` with the values of the columns of `schema`.

    Raises sqlite3.Error when `target` can't be written, and what `source.read`
    raises other than TooSlow.
    """
    target.executescript(TABLES)
    end = time.monotonic() + budget.seconds
    limits = Limits(distinct=budget.distinct, numbers=MOST_NUMBERS)
    wanted = columns_to_read(schema, source.hidden)
    whole: set[int] = set()
    for position, column in enumerate(wanted[: budget.columns]):
        if (left := end - time.monotonic()) <= 0:
            break
        if done is not None:
            done(position, len(wanted), f"{schema.columns[column].table}.…")
        state = ColumnState(column, limits)
        if _read(target, state, schema, source, min(left, budget.column_seconds)):
            whole.add(column)
        write_state(target, state)
    unread = [(column,) for column in range(len(schema.columns))]
    target.executemany("INSERT OR IGNORE INTO counted VALUES (?, 0)", unread)
    finish(target, sorted(set(wanted) - whole))


def _read(
    target: sqlite3.Connection,
    state: ColumnState,
    schema: Schema,
    source: ColumnSource,
    seconds: float,
) -> bool:
    """Stage one column's values; whether these are all that belong into the index."""
    texts = schema.columns[state.column].type is not ColumnType.NUMBER
    most = state.limits.distinct if texts else state.limits.numbers
    try:
        found = source.read(state.column, most + 1, seconds)
    except TooSlow:
        return False
    more = found.more or len(found.values) > most
    if more and not texts:
        return True  # so many numbers differ that none of them points at the column
    stage(target, state, [comparable(cell) for cell in found.values[:most]])
    return not (more or state.capped)
