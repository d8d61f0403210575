"""Where the index of values gets them: an SQLite file itself, any other database by queries.

Linking knows no engine and the engines know no linking; this is where they meet.
The queries are the program's own, and judged and limited like all others, so
that what a policy hides is never read.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plainsql.errors import DeniedError, ExecutionError, QueryTimeout
from plainsql.linking.index_build import Limits, TooSlow
from plainsql.linking.index_columns import (
    FIRST_QUESTION,
    Budget,
    ColumnSource,
    ColumnValues,
    Done,
    ReadColumn,
)
from plainsql.linking.value_index import ValueIndex
from plainsql.schema.model import ColumnType, Schema

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.execution.base import Engine
    from plainsql.execution.targets import Target
    from plainsql.settings import Settings

_HOUR = 3600.0
State = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Indexed:
    """A database whose values are to be indexed, and who asks.

    `schema` is what the asker may know; `whole` what the guard applies `access` to.
    """

    target: Target
    engine: Engine
    schema: Schema
    whole: Schema
    access: Access

    @property
    def hidden(self) -> frozenset[int]:
        """The columns whose cells may not be known."""
        return frozenset(
            index
            for index, column in enumerate(self.schema.columns)
            if self.access.hides_values(column.table, column.name)
        )


def open_index(
    indexed: Indexed,
    settings: Settings,
    *,
    budget: Budget = FIRST_QUESTION,
    refresh: bool = False,
    done: Done | None = None,
) -> ValueIndex:
    """The index of a database's values, built within `budget` if need be.

    An SQLite file is read through, whatever the budget. Raises ConnectError.
    """
    target, cache = indexed.target, settings.cache_dir or None
    if target.kind == "sqlite" and target.path is not None:
        path, hidden = target.path, indexed.hidden
        return ValueIndex.open(path, indexed.schema, cache, hidden=hidden, refresh=refresh)
    state = state_of(target)
    source = ColumnSource(
        identity=target.identity,
        mark=hashlib.sha256(repr(state).encode()).hexdigest() if state else "",
        read=column_reader(indexed),
        hidden=indexed.hidden,
    )
    return ValueIndex.of_columns(
        source,
        indexed.schema,
        cache,
        budget=budget,
        max_age=settings.index_max_age * _HOUR,
        refresh=refresh,
        done=done,
    )


def index_remarks(index: ValueIndex, schema: Schema, settings: Settings) -> tuple[str, ...]:
    """What an index lacks that `plainsql index` could find."""
    notes = index.notes()
    unread = [c for c in index.capped if schema.columns[c].type is ColumnType.TEXT]
    unread = [column for column in unread if not index.counts[column]]
    hours = (time.time() - float(notes["built"])) / _HOUR
    found = []
    if unread:
        found.append(
            f"The values of {len(unread):,} text columns are not indexed, as there was no time"
            " or right to read them; plainsql index takes more time."
        )
    if notes.get("source") == "server" and hours > settings.index_max_age:
        found.append(f"The index of values is {hours:.0f} hours old; plainsql index --refresh.")
    return tuple(found)


def column_reader(indexed: Indexed) -> ReadColumn:
    """Reads the distinct values of a column by a query of the database's dialect."""
    from plainsql.execution.base import run_guarded
    from plainsql.logical_form.value_queries import distinct_values

    engine, schema = indexed.engine, indexed.schema
    length = Limits().length

    def read(column: int, most: int, seconds: float) -> ColumnValues:
        found, table = schema.columns[column], schema.tables[schema.table_of[column]]
        number = found.type is ColumnType.NUMBER
        wanted = None if number else length
        sql = distinct_values(table, found, engine.dialect, most=most, length=wanted)
        try:
            rows = run_guarded(
                engine,
                sql,
                schema=indexed.whole,
                access=indexed.access,
                limit=most,
                timeout=seconds,
            )
        except QueryTimeout as error:
            raise TooSlow from error
        except (ExecutionError, DeniedError):
            return ColumnValues((), more=True)  # a type without text, a right that is lacking
        return ColumnValues([cell for (cell,) in rows.rows], rows.truncated)

    return read


def state_of(target: Target) -> State:
    """Names, sizes and times of a database's files: changes when they do; () of a server."""
    found = []
    for file in _files_of(target):
        with suppress(OSError):  # a log comes and goes with its writer
            status = file.stat()
            if status.st_size:  # readers create and remove empty logs
                found.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(found)


def _files_of(target: Target) -> Iterator[Path]:
    path = target.path
    if path is None:
        return
    if target.kind == "files":
        from plainsql.execution.files import find
        from plainsql.execution.targets import parse_target

        yield from (file.path for file in find(parse_target(target.url)))
    else:
        log = "-wal" if target.kind == "sqlite" else ".wal"
        yield path
        yield path.with_name(path.name + log)
