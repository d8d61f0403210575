"""The value index: which cells of a database a question talks about.

One SQLite file per database holds its distinct texts with their columns, keyed
by their lemmas, and an FTS5 index of the cells of several words. It is built
on first use and again when the database or the schema changes.

Finding cell values by the question's n-grams follows BRIDGE
(https://arxiv.org/abs/2012.12627, section 2.2); note: by index look-up instead
of fuzzy comparison with every picklist.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import sqlite3
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from plainsql.cache_folder import default_cache_dir
from plainsql.linking.equivalents import NO, YES
from plainsql.linking.index_build import (
    Limits,
    ReadTable,
    build,
    source_error,
    sqlite_rows,
)
from plainsql.linking.index_columns import (
    FIRST_QUESTION,
    Budget,
    ColumnSource,
    Done,
    build_columns,
)
from plainsql.linking.index_file import (
    Fill,
    found,
    in_memory,
    meta_of,
    written,
)
from plainsql.linking.lookup import find_cells
from plainsql.linking.words import text_key
from plainsql.records import NameMatch, Question, Value, ValueCandidate
from plainsql.schema.model import Schema
from plainsql.schema.sqlite_file import open_read_only

__all__ = ["ValueIndex", "fingerprint"]

_FORMAT = 4  # raise it when the layout or the keys of the index file change
_FEW = 10  # texts of a column that has words for yes and no among them
_SLACK = 1.5  # a build ends somewhat after its budget, and took no longer all the same
_IN_MEMORY = Limits(distinct=20_000, rows=1_000_000)


@dataclass(frozen=True, slots=True)
class ValueIndex:
    """A read-only snapshot of a database's distinct values. Safe across threads.

    `counts` holds each column's number of distinct texts (as far as indexed),
    `capped` the columns that have more than were indexed, `flags` the cells
    that say yes or no with their columns; `in_memory` says that no file could
    be written, `file` where it is.
    """

    connection: sqlite3.Connection
    lock: threading.Lock
    counts: tuple[int, ...] = ()
    capped: tuple[int, ...] = ()
    flags: tuple[tuple[int, str], ...] = ()
    in_memory: bool = False
    file: Path | None = None

    @classmethod
    def open(
        cls,
        db_path: str | Path,
        schema: Schema,
        cache_dir: str | Path | None = None,
        *,
        hidden: frozenset[int] = frozenset(),
        timeout: float = 5.0,
        refresh: bool = False,
    ) -> ValueIndex:
        """The index of the SQLite database at `db_path`, built if need be.

        The cells of the columns `hidden` are not read. The file lies in `cache_dir`
        (default: `default_cache_dir()`); where it can't be written, a smaller index
        is built in memory. `refresh` builds it again in any case. Waits `timeout`
        seconds for a lock. Raises ConnectError when the database can't be read.
        """
        path = Path(db_path).resolve()
        source = open_read_only(path, timeout=timeout)
        try:
            mark = fingerprint(path, schema, hidden)
            file = _place(cache_dir, str(path), hidden)
            current = None if refresh else found(file, mark)
            read = sqlite_rows(source, schema, hidden)
            return _snapshot(current or _built(file, mark, _from_rows(schema, read)), file)
        except sqlite3.Error as error:
            raise source_error(error) from error
        finally:
            source.close()

    @classmethod
    def of_columns(
        cls,
        source: ColumnSource,
        schema: Schema,
        cache_dir: str | Path | None = None,
        *,
        budget: Budget = FIRST_QUESTION,
        max_age: float = math.inf,
        refresh: bool = False,
        done: Done | None = None,
    ) -> ValueIndex:
        """The index of any database, read column by column within `budget`.

        One that is older than `max_age` seconds is built again, where the source
        has no mark of its own and the last build fitted the budget: an index that
        took longer is out of date, but better than a part of it. So is one that
        lacks something and had a smaller budget. `done` is told of progress.
        Raises what `source.read` raises.
        """
        mark = _mark_of(source, schema)
        file = _place(cache_dir, source.identity, source.hidden)
        current = None if refresh else found(file, mark)
        if current is not None and not _is_good(
            current, math.inf if source.mark else max_age, budget
        ):
            current.close()
            current = None

        def fill(connection: sqlite3.Connection, small: bool) -> None:
            build_columns(connection, schema, source, budget, done)
            kind = "files" if source.mark else "server"
            notes = [("source", kind), ("budget", f"{budget.seconds:g}")]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", notes)

        return _snapshot(current or _built(file, mark, fill), file)

    @classmethod
    def from_rows(cls, schema: Schema, read: ReadTable) -> ValueIndex:
        """An index in memory of the rows that `read` gives for each table."""
        return _snapshot(in_memory(_from_rows(schema, read)))

    def notes(self) -> dict[str, str]:
        """What the index says about itself: `built` (seconds since 1970), `seconds`, …"""
        with self.lock:
            return meta_of(self.connection)

    def size(self) -> tuple[int, int]:
        """How many distinct texts and how many numbers (of any column) it holds."""
        with self.lock:
            (texts,) = self.connection.execute("SELECT count(*) FROM value").fetchone()
            (numbers,) = self.connection.execute("SELECT count(*) FROM number").fetchone()
        return texts, numbers

    def lookup(
        self, question: Question, names: tuple[NameMatch, ...] = ()
    ) -> tuple[ValueCandidate, ...]:
        """Cells that `question` mentions, at most eight, ordered by span.

        Kind CELL; `value` is the cell's exact text; score 1 for the text as
        typed, less for other case, plural, containment and typos. `names`, the
        question's name matches, help to tell cells from columns.
        """
        with self.lock:
            return find_cells(question, names, self)

    def columns_with(self, value: Value) -> tuple[int, ...]:
        """Columns that have a cell equal to `value`, a text or a number.

        Numbers are known for columns with at most 2,000 distinct ones.
        """
        with self.lock:
            if isinstance(value, str):
                sql = "SELECT columns FROM value WHERE key = ? AND text = ?"
                row = self.connection.execute(sql, (text_key(value), value)).fetchone()
                return tuple(map(int, row[0].split(","))) if row else ()
            sql = "SELECT col FROM number WHERE value = ? ORDER BY col"
            return tuple(row[0] for row in self.connection.execute(sql, (float(value),)))

    def samples_of(self, column: int, n: int = 3) -> tuple[Value, ...]:
        """Up to `n` (at most 50) distinct cells of a column, in table order."""
        sql = "SELECT value FROM sample WHERE col = ? ORDER BY position LIMIT ?"
        with self.lock:
            return tuple(row[0] for row in self.connection.execute(sql, (column, n)))

    def close(self) -> None:
        """Close the index; look-ups fail afterwards."""
        self.connection.close()


def fingerprint(path: Path, schema: Schema, hidden: frozenset[int] = frozenset()) -> str:
    """Changes when the file, its write-ahead log, the schema's names or what is hidden change."""
    parts = [str(_FORMAT), str(path), *map(str, sorted(hidden))]
    for file in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            if status.st_size:  # readers create and remove empty logs
                parts.append(f"{status.st_size}:{status.st_mtime_ns}")
    return hashlib.sha256(repr((parts, _names(schema))).encode()).hexdigest()


def _mark_of(source: ColumnSource, schema: Schema) -> str:
    """Changes when the source's own mark, the schema's names or what is hidden change."""
    parts = (_FORMAT, source.identity, source.mark, sorted(source.hidden), _names(schema))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _names(schema: Schema) -> list[tuple[str, tuple[str, ...]]]:
    return [(t.name, tuple(c.name for c in t.columns)) for t in schema.tables]


def _place(cache_dir: str | Path | None, identity: str, hidden: frozenset[int]) -> Path:
    """The file for a database: another one for whom other columns are hidden."""
    directory = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    whose = identity + (f" without {sorted(hidden)}" if hidden else "")
    return directory.expanduser().absolute() / (
        hashlib.sha256(whose.encode()).hexdigest()[:24] + ".sqlite"
    )


def _is_good(connection: sqlite3.Connection, max_age: float, budget: Budget) -> bool:
    """Whether an index is recent and whole enough for who may spend `budget` on another."""
    notes = meta_of(connection)
    if notes["capped"] and float(notes["budget"]) < budget.seconds:
        return False
    age = time.time() - float(notes["built"])  # of a file: a matter of the calendar
    return 0 <= age < max_age or float(notes["seconds"]) > budget.seconds * _SLACK


def _from_rows(schema: Schema, read: ReadTable) -> Fill:
    def fill(connection: sqlite3.Connection, small: bool) -> None:
        build(connection, schema, read, _IN_MEMORY if small else Limits())

    return fill


def _built(file: Path, mark: str, fill: Fill) -> sqlite3.Connection:
    return written(file, mark, fill) or in_memory(fill)


def _snapshot(connection: sqlite3.Connection, file: Path | None = None) -> ValueIndex:
    capped = tuple(int(c) for c in meta_of(connection)["capped"].split(",") if c)
    counted = connection.execute("SELECT texts FROM counted ORDER BY col").fetchall()
    counts = tuple(row[0] for row in counted)
    flags = _flags(connection, counts)
    (name,) = connection.execute("SELECT file FROM pragma_database_list").fetchone()
    kept = file if name else None
    return ValueIndex(connection, threading.Lock(), counts, capped, flags, not kept, kept)


def _flags(connection: sqlite3.Connection, counts: tuple[int, ...]) -> tuple[tuple[int, str], ...]:
    """The cells for yes and no of columns with few texts; letters only alone."""
    words = sorted(YES | NO)
    sql = f"SELECT text, columns FROM value WHERE key IN ({','.join('?' * len(words))})"
    seen: dict[int, list[str]] = defaultdict(list)
    for text, columns in connection.execute(sql, words):
        for column in columns.split(","):
            seen[int(column)].append(text)
    return tuple(
        (column, text)
        for column, texts in sorted(seen.items())
        for text in texts
        if len(texts) == counts[column]
        or (counts[column] <= _FEW and any(len(t.strip()) > 1 for t in texts))
    )
