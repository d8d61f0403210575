"""What models answered, kept on disk so that asking again costs nothing.

    key = answer_key(schema_hash(schema, prompt.tables), "openai:m@…", messages)
    if (found := cache.get(key)) is None:
        cache.put(key, found := ask())

The file holds hashes of what was asked, and the SQL that came back with its scores: no
question, no schema, no prompt, no key. SQL itself may name values that a question did, so
only its owner can read the file. It is one SQLite file for all processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import warnings
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from plainsql.cache_folder import default_cache_dir
from plainsql.schema.model import Schema

FILE = "answers.sqlite"
MOST = 20_000  # answers; the oldest go
MOST_LENGTH = 100_000  # characters of one
_PATIENCE = 2.0  # seconds to wait for another process
_VERSION = 1

Found = list[tuple[str, float]]  # SQL and score, the best first

_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, found TEXT NOT NULL)"
_PUT = "INSERT OR REPLACE INTO answers VALUES (?, ?)"
_TRIM = "DELETE FROM answers WHERE rowid <= (SELECT max(rowid) FROM answers) - ?"


def answer_key(*parts: Any) -> str:
    """SHA-256 over parts that JSON can hold, and the version of plainsql."""
    from plainsql import __version__

    text = json.dumps([__version__, *parts], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def schema_hash(schema: Schema, shown: Collection[str]) -> str:
    """SHA-256 of what a schema says of the tables `shown`, without counts and samples."""
    tables = [
        (table.name, table.comment, [_said_of(column) for column in table.columns])
        for table in schema.tables
        if table.name in shown
    ]
    keys = [
        (key.table, key.columns, key.ref_table, key.ref_columns)
        for key in schema.foreign_keys
        if key.table in shown
    ]
    text = repr((schema.dialect, tables, keys))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _said_of(column: Any) -> tuple[Any, ...]:
    return (column.name, str(column.type), column.declared_type, column.primary_key, column.comment)


def files_mark(places: Iterable[str | Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of files, or of those in folders: another model has others."""
    found = []
    for place in map(Path, places):
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        for path in (path for path in files if path.is_file()):
            stat = path.stat()
            found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return found


class AnswerCache:
    """Answers by key in `folder` ("": the user's cache folder); safe for threads and processes.

    A file that can't be opened or written is done without. A damaged one is replaced,
    with a warning.
    """

    def __init__(self, folder: str | Path = "", *, enabled: bool = True, most: int = MOST) -> None:
        self.path = Path(folder).expanduser() / FILE if folder else default_cache_dir() / FILE
        self._enabled = enabled
        self._most = most

    def get(self, key: str) -> Found | None:
        """What was put under `key`; None for nothing."""
        if not self._enabled or not self.path.is_file():
            return None
        rows = self._run([("SELECT found FROM answers WHERE key = ?", (key,))])
        return _read(rows[0][0]) if rows else None

    def put(self, key: str, found: Sequence[tuple[str, float]]) -> None:
        """Keep `found` under `key`. Nothing found is not kept: the model may do better."""
        text = json.dumps([[sql, score] for sql, score in found])
        if self._enabled and found and len(text) <= MOST_LENGTH:
            self._run([(_PUT, (key, text)), (_TRIM, (self._most,))])

    def _run(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        """The rows of the last statement; none where the file can't be used now."""
        try:
            return self._tried(statements)
        except (OSError, sqlite3.OperationalError):  # read-only, full, locked for too long
            return []
        except sqlite3.DatabaseError:
            return self._rebuilt(statements)

    def _rebuilt(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        warnings.warn(
            f"The kept answers in {self.path} were damaged; they are forgotten.", stacklevel=5
        )
        try:
            for ending in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            return self._tried(statements)
        except (OSError, sqlite3.DatabaseError):
            return []

    def _tried(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        rows: list[tuple[Any, ...]] = []
        with closing(
            sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        ) as connection:
            _prepare(connection)
            for sql, values in statements:
                rows = connection.execute(sql, values).fetchall()
        return rows


def _prepare(connection: sqlite3.Connection) -> None:
    """The table, made anew where another version of the file is found."""
    if _version(connection) == _VERSION:
        return
    # Readers and a writer don't wait for each other: https://www.sqlite.org/wal.html. While
    # another process is at it the mode can't be changed, nor need it be.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != _VERSION:  # no other process was faster
        connection.execute("DROP TABLE IF EXISTS answers")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version={_VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _read(text: str) -> Found | None:
    try:
        return [(str(sql), float(score)) for sql, score in json.loads(text)]
    except (ValueError, TypeError):
        return None
