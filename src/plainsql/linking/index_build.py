"""Building the value index: one streaming pass over each table.

A first pass over the rows writes (text, column) pairs that a bounded set of
hashes has not seen into a staging table; SQLite then groups them by text, so
memory does not grow with the database: about 70 bytes for each distinct value
of the table being read, at most `Limits.distinct` a column.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from plainsql.errors import ConnectError
from plainsql.linking.words import text_key
from plainsql.records import Cell
from plainsql.schema.model import Schema

Row = Sequence[Cell]
ReadTable = Callable[[int], Iterator[Row]]
"""From a table index to its rows, cells in the order of `Table.columns`."""

VIEW_SECONDS = 2.0  # a view may be a query without end; the tables behind it are read anyway
_CLOCK_STEPS = 10_000  # of SQLite's machine between two looks at the clock, about 1 ms
_BATCH = 4096
_SAMPLES = 50
_REPLACEMENT = "\ufffd"  # a cell that is not UTF-8 can't be written in a query

TABLES = """
CREATE TABLE meta(name TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID;
CREATE TABLE staged(text TEXT, col INTEGER);
CREATE TABLE value(id INTEGER PRIMARY KEY, text TEXT, key TEXT, columns TEXT);
CREATE TABLE counted(col INTEGER PRIMARY KEY, texts INTEGER);
CREATE TABLE number(value REAL, col INTEGER, PRIMARY KEY(value, col)) WITHOUT ROWID;
CREATE TABLE sample(col INTEGER, position INTEGER, value, PRIMARY KEY(col, position))
    WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(key, content='', detail='full');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, 'row');
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one build.

    length: characters; longer cells are skipped.
    distinct: values kept a column; the rest is not indexed, the column noted.
    numbers: distinct numbers a column may have to be indexed at all.
    rows: rows read a table.
    """

    length: int = 60
    distinct: int = 200_000
    numbers: int = 2_000
    rows: int = 20_000_000


class TooSlow(Exception):
    """Reading a table was given up; what was read before counts."""


@dataclass(slots=True)
class ColumnState:
    """What has been seen of one column while its table is read."""

    column: int
    limits: Limits
    seen: set[int] = field(default_factory=set)
    numbers: set[int | float] | None = field(default_factory=set)
    samples: dict[Cell, None] = field(default_factory=dict)
    capped: bool = False

    def fresh(self, cells: Iterable[Cell]) -> list[str]:
        """Texts of a batch not seen before; numbers and samples are noted."""
        distinct = set(cells)
        texts = {hash(c): c for c in distinct if type(c) is str}
        if len(texts) < len(distinct):
            self._note_numbers(distinct)
        if len(self.samples) < _SAMPLES:
            self._note_samples(cells)
        if self.capped:
            return []
        new = texts.keys() - self.seen
        room = self.limits.distinct - len(self.seen)
        if len(new) > room:
            self.capped = True
            return []
        self.seen |= new
        length = self.limits.length
        return sorted(t for t in map(texts.__getitem__, new) if 0 < len(t) <= length)

    def _note_numbers(self, distinct: set[Cell]) -> None:
        if self.numbers is None:
            return
        self.numbers.update(c for c in distinct if type(c) is int or type(c) is float)
        if len(self.numbers) > self.limits.numbers:
            self.numbers = None

    def _note_samples(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            if len(self.samples) >= _SAMPLES:
                return
            long = isinstance(cell, str) and len(cell) > self.limits.length
            if cell is not None and not isinstance(cell, bytes) and not long:
                self.samples[cell] = None


def build(target: sqlite3.Connection, schema: Schema, read: ReadTable, limits: Limits) -> None:
    """Fill the empty database `target` with the values of all tables of `schema`.

    Raises sqlite3.Error when `target` can't be written, ConnectError when
    `read` can't read.
    """
    target.executescript(TABLES)
    capped: list[int] = []
    for table in range(len(schema.tables)):
        capped += _stage_table(target, schema, table, read, limits)
    finish(target, capped)


def finish(target: sqlite3.Connection, capped: Iterable[int]) -> None:
    """Group what was staged by text and index it; note the columns that were cut short."""
    target.create_function("text_key", 1, text_key, deterministic=True)
    target.execute(
        """INSERT INTO value(text, key, columns)
           SELECT text, text_key(text), group_concat(col) FROM
             (SELECT text, col FROM staged ORDER BY text, col) GROUP BY text"""
    )
    target.execute("DROP TABLE staged")
    target.execute("CREATE INDEX value_key ON value(key)")
    target.execute(
        "INSERT INTO words(rowid, key) SELECT id, key FROM value WHERE instr(key, ' ') > 0"
    )
    note = ",".join(map(str, capped))
    target.execute("INSERT INTO meta VALUES ('capped', ?)", (note,))


def _stage_table(
    target: sqlite3.Connection, schema: Schema, table: int, read: ReadTable, limits: Limits
) -> list[int]:
    """Stage one table's texts; returns the columns that have more than were kept."""
    states = [ColumnState(column, limits) for column in schema.columns_of(table)]
    rows = read(table)
    try:
        left = limits.rows
        while left > 0 and (batch := list(islice(rows, min(_BATCH, left)))):
            left -= len(batch)
            for state, cells in zip(states, zip(*batch, strict=True), strict=True):
                stage(target, state, cells)
        cut = left <= 0 and next(rows, None) is not None
    except TooSlow:
        cut = True
    for state in states:
        write_state(target, state)
    return [state.column for state in states if state.capped or cut]


def stage(target: sqlite3.Connection, state: ColumnState, cells: Iterable[Cell]) -> None:
    """Write the texts among `cells` that are new in their column."""
    fresh = state.fresh(cells)
    pairs = [(text, state.column) for text in fresh if _REPLACEMENT not in text]
    target.executemany("INSERT INTO staged VALUES (?, ?)", pairs)


def write_state(target: sqlite3.Connection, state: ColumnState) -> None:
    """Write what was seen of a column; once for each column of the schema."""
    target.execute("INSERT INTO counted VALUES (?, ?)", (state.column, len(state.seen)))
    numbers = sorted(float(number) for number in state.numbers or ())
    target.executemany(
        "INSERT OR IGNORE INTO number VALUES (?, ?)", [(n, state.column) for n in numbers]
    )
    samples = [(state.column, i, sample) for i, sample in enumerate(state.samples)]
    target.executemany("INSERT INTO sample VALUES (?, ?, ?)", samples)


def sqlite_rows(
    connection: sqlite3.Connection, schema: Schema, hidden: frozenset[int] = frozenset()
) -> ReadTable:
    """A reader of the tables of `schema` in the SQLite database `connection`.

    The columns `hidden` are not read, their cells are NULL. A table of the schema
    that the database lacks has no rows. The reader raises ConnectError, with a
    hint, when the database is locked or damaged, and TooSlow when a view takes
    more than `VIEW_SECONDS`.
    """

    def read(table: int) -> Iterator[Row]:
        found = schema.tables[table]
        names = ", ".join(
            "NULL" if index in hidden else _quoted(schema.columns[index].name)
            for index in schema.columns_of(table)
        )
        end = time.monotonic() + VIEW_SECONDS if found.is_view else float("inf")
        connection.set_progress_handler(lambda: time.monotonic() > end, _CLOCK_STEPS)
        try:
            yield from connection.execute(f"SELECT {names} FROM {_quoted(found.name)}")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise TooSlow from error
            if "no such table" not in str(error):
                raise source_error(error) from error

    return read


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def source_error(error: sqlite3.Error) -> ConnectError:
    """What to tell the user when reading the database failed with `error`."""
    text = str(error)
    if "locked" in text or "busy" in text:
        hint = "Another program is writing to it; close it or try again."
        return ConnectError("The database is locked.", hint=hint)
    if "not a database" in text or "malformed" in text:
        return ConnectError(f"Not a readable SQLite database: {text}.", hint="Check the file.")
    return ConnectError(f"The database can't be read: {text}.", hint="Check path and permissions.")
