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
import os
import sqlite3
import sys
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from plainsql.linking.equivalents import NO, YES
from plainsql.linking.index_build import (
    Limits,
    ReadTable,
    build,
    source_error,
    sqlite_rows,
)
from plainsql.linking.lookup import find_cells
from plainsql.linking.words import text_key
from plainsql.records import NameMatch, Question, Value, ValueCandidate
from plainsql.schema.model import Schema
from plainsql.schema.sqlite_file import open_read_only

_FORMAT = 3  # raise it when the layout or the keys of the index file change
_FEW = 10  # texts of a column that has words for yes and no among them
_IN_MEMORY = Limits(distinct=20_000, rows=1_000_000)


@dataclass(frozen=True, slots=True)
class ValueIndex:
    """A read-only snapshot of a database's distinct values. Safe across threads.

    `counts` holds each column's number of distinct texts (as far as indexed),
    `capped` the columns that have more than were indexed, `flags` the cells
    that say yes or no with their columns; `in_memory` says that no file could
    be written.
    """

    connection: sqlite3.Connection
    lock: threading.Lock
    counts: tuple[int, ...] = ()
    capped: tuple[int, ...] = ()
    flags: tuple[tuple[int, str], ...] = ()
    in_memory: bool = False

    @classmethod
    def open(
        cls,
        db_path: str | Path,
        schema: Schema,
        cache_dir: str | Path | None = None,
        *,
        timeout: float = 5.0,
    ) -> ValueIndex:
        """The index of the SQLite database at `db_path`, built if need be.

        The file lies in `cache_dir` (default: `default_cache_dir()`); where it
        can't be written, a smaller index is built in memory. Waits `timeout`
        seconds for a lock. Raises ConnectError when the database can't be read.
        """
        path = Path(db_path).resolve()
        source = open_read_only(path, timeout=timeout)
        try:
            mark = fingerprint(path, schema)
            directory = Path(cache_dir) if cache_dir is not None else default_cache_dir()
            target = directory / (hashlib.sha256(str(path).encode()).hexdigest()[:24] + ".sqlite")
            read = sqlite_rows(source, schema)
            return _open_current(target, mark) or _rebuild(target, mark, schema, read)
        except sqlite3.Error as error:
            raise source_error(error) from error
        finally:
            source.close()

    @classmethod
    def from_rows(cls, schema: Schema, read: ReadTable) -> ValueIndex:
        """An index in memory of the rows that `read` gives for each table."""
        return _build_in_memory(schema, read)

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


def default_cache_dir() -> Path:
    """`plainsql` in the platform's folder for caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "plainsql"


def fingerprint(path: Path, schema: Schema) -> str:
    """Changes when the file, its write-ahead log or the schema's names change."""
    parts = [str(_FORMAT), str(path)]
    for file in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            status = file.stat()
            if status.st_size:  # readers create and remove empty logs
                parts.append(f"{status.st_size}:{status.st_mtime_ns}")
    names = [(t.name, tuple(c.name for c in t.columns)) for t in schema.tables]
    return hashlib.sha256(repr((parts, names)).encode()).hexdigest()


def _open_current(target: Path, mark: str) -> ValueIndex | None:
    """The index file `target` if it is there, whole and made for `mark`."""
    if not target.is_file():
        return None
    connection = sqlite3.connect(
        f"{target.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )
    try:
        meta = dict(connection.execute("SELECT name, content FROM meta"))
    except sqlite3.DatabaseError:
        meta = {}
    if meta.get("mark") != mark:
        connection.close()
        return None
    return _snapshot(connection, in_memory=False)


def _snapshot(connection: sqlite3.Connection, *, in_memory: bool) -> ValueIndex:
    note = connection.execute("SELECT content FROM meta WHERE name = 'capped'").fetchone()[0]
    capped = tuple(int(column) for column in note.split(",") if column)
    counted = connection.execute("SELECT texts FROM counted ORDER BY col").fetchall()
    counts = tuple(row[0] for row in counted)
    flags = _flags(connection, counts)
    return ValueIndex(connection, threading.Lock(), counts, capped, flags, in_memory)


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


def _rebuild(target: Path, mark: str, schema: Schema, read: ReadTable) -> ValueIndex:
    """Build into a temporary file and move it into place, else build in memory.

    Concurrent builders each write their own file; the last one's stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem, suffix=".tmp")
    except OSError:
        return _build_in_memory(schema, read)
    os.close(handle)
    try:
        _build_file(Path(name), mark, schema, read)
        os.replace(name, target)
    except (OSError, sqlite3.Error):  # a full disk, a quota
        return _build_in_memory(schema, read)
    finally:
        Path(name).unlink(missing_ok=True)
    return _open_current(target, mark) or _build_in_memory(schema, read)


def _build_file(path: Path, mark: str, schema: Schema, read: ReadTable) -> None:
    connection = sqlite3.connect(path)
    try:
        # A crash leaves a temporary file that nobody reads: no journal needed.
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        connection.execute("PRAGMA cache_size=-32000")
        with connection:
            build(connection, schema, read, Limits())
            connection.execute("INSERT INTO meta VALUES ('mark', ?)", (mark,))
    finally:
        connection.close()


def _build_in_memory(schema: Schema, read: ReadTable) -> ValueIndex:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    with connection:
        build(connection, schema, read, _IN_MEMORY)
    return _snapshot(connection, in_memory=True)
