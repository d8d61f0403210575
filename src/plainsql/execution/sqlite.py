"""SQLite as an engine: a read-only connection that can do nothing but read.

Four things hold, each without the others: the file is opened with mode=ro; the
authorizer lets only reads and listed functions be compiled; SQLite's own limits
bound each value and statement; a progress handler stops work at the deadline.
The settings are those of https://www.sqlite.org/security.html, the deadline is
Datasette's (`sqlite_timelimit`).

note: one step of SQLite's machine can't be interrupted; the guard refuses the
functions that do much work in one step.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from plainsql.errors import ConnectError, ExecutionError
from plainsql.execution.base import Protection, RowStream, rows_of, target_path
from plainsql.execution.limits import (
    FIRST_ROWS,
    PROGRESS_STEPS,
    Batch,
    Deadline,
    Limits,
    batches,
    check_text,
)
from plainsql.execution.sqlite_authorizer import Authorizer, quoted, read_names
from plainsql.execution.sqlite_errors import Names, statement_error
from plainsql.records import Rows
from plainsql.schema.sqlite_file import decoded, explained, open_read_only

if TYPE_CHECKING:
    from plainsql.execution.targets import Target
    from plainsql.schema.model import Schema

_BAD_TEXT = "Could not decode to UTF-8"
_ERRORS = (sqlite3.Error, sqlite3.Warning, MemoryError, UnicodeError, ValueError)

# Limits of the C library; sizes of the schema itself (columns, text of CREATE
# statements) stay at SQLite's defaults, or large schemas could not be opened.
_SQLITE_LIMITS = {
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 250,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 32,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    # long enough for any title in a LIKE; 40 wildcards in it cost nothing
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 5,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_PRAGMAS = ("query_only=1", "trusted_schema=0", "cell_size_check=1", "mmap_size=0")


class SQLiteEngine:
    """One SQLite file, open for reading. Use as a context manager, or `close` it.

    `tables` restricts what the authorizer lets be read, views included; a view
    in it may read what it is made of (whose rows can then be counted). A file
    that was replaced by another is opened again. `own_process` says that nobody
    else uses SQLite in this process: then its memory is limited too. Raises
    ConnectError when the file is missing, locked or no database.
    """

    dialect = "sqlite"

    def __init__(
        self,
        target: Target | str | os.PathLike[str],
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
        own_process: bool = False,
    ) -> None:
        self.path = target_path(target)
        self.name = str(self.path)
        self.limits = limits or Limits()
        self._tables = tables
        self._own_process = own_process
        self._turn = threading.Lock()
        self._opened: _Opened | None = self._open()

    def __enter__(self) -> SQLiteEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def introspect(self) -> Schema:
        """Tables, columns and keys of the file. Raises ConnectError, SchemaError."""
        from plainsql.schema.introspect import sqlite_schema

        return sqlite_schema(self.path)

    def explain(self, sql: str) -> str:
        """SQLite's query plan, one step a line, indented below the step it serves."""
        plan = self.run(f"EXPLAIN QUERY PLAN {sql}").rows
        depth: dict[object, int] = {0: -1}
        lines = []
        for node, parent, _, detail in plan:
            depth[node] = depth.get(parent, -1) + 1
            lines.append("  " * depth[node] + str(detail))
        return "\n".join(lines)

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds, `limits.result_bytes`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError (with the
        nearest real names), DeniedError (by the authorizer), ConnectError.
        """
        return rows_of(self._streamed(sql, timeout, limit + 1), limit, self.limits)

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """All rows of one query as they come; `run` says what is raised.

        Other calls wait until the context is left.
        """
        return self._streamed(sql, timeout, FIRST_ROWS)

    def protections(self) -> tuple[Protection, ...]:
        """What SQLite itself keeps a query from doing, and what this build can't."""
        defensive = sys.version_info >= (3, 12)
        return (
            Protection("read-only file", True, "mode=ro, query_only"),
            Protection("authorizer", True, "only reads and listed functions are compiled"),
            Protection("limits of SQLite", True, f"cells up to {self.limits.cell_bytes:,} bytes"),
            Protection("deadline", True, f"looked at every {PROGRESS_STEPS:,} steps"),
            Protection("no extensions, no attached files", True, "no trust in the schema either"),
            Protection("defensive mode", defensive, "" if defensive else "needs Python 3.12"),
            Protection("memory limit of SQLite", self._own_process, _heap_detail(self)),
        )

    def interrupt(self) -> None:
        """Stop the running query, from another thread or a signal handler."""
        opened = self._opened
        if opened is not None:
            opened.connection.interrupt()

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._turn:
            if self._opened is not None:
                self._opened.connection.close()
                self._opened = None

    def _open(self) -> _Opened:
        file = _identity(self.path)
        heap = self.limits.heap_bytes if self._own_process else 0
        return _secured(self.path, self.limits, self._tables, heap, file)

    @contextmanager
    def _streamed(self, sql: str, timeout: float, first: int) -> Iterator[RowStream]:
        """The rows of `sql`, the first `first` of them in one batch."""
        check_text(sql, self.limits)
        deadline = Deadline(timeout)
        if not self._turn.acquire(timeout=deadline.remaining()):
            raise deadline.error()
        try:
            reading = _Reading(self._current(), sql, deadline, self._names)
            try:
                rows = batches(reading.fetch, deadline, first)
                yield RowStream(reading.columns, rows, deadline)
            finally:
                reading.close()
        finally:
            self._turn.release()

    def _current(self) -> _Opened:
        """The connection, to the file that is there now. Raises ConnectError."""
        if self._opened is None:
            raise ConnectError("The database was closed.", hint="Open it again.")
        file = _identity(self.path)
        if file is not None and file != self._opened.file:
            fresh = self._open()
            self._opened.connection.close()
            self._opened = fresh
        return self._opened

    def _names(self) -> Names:
        """Tables and their columns, over a connection of its own; {} when unreadable."""
        try:
            busy = self.limits.busy_seconds
            with closing(open_read_only(self.path, timeout=busy)) as connection:
                return read_names(connection)
        except (sqlite3.Error, ConnectError):
            return {}  # only a hint is lost


@dataclass(frozen=True, slots=True)
class _Opened:
    """A secured connection, who watches it, and which file it is to."""

    connection: sqlite3.Connection
    authorizer: Authorizer
    file: tuple[int, int] | None

    def own(self, sql: str) -> None:
        """Run a statement of our own, which the authorizer refuses to others."""
        self.authorizer.trusted = True
        try:
            self.connection.execute(sql).close()
        finally:
            self.authorizer.trusted = False


class _Reading:
    """One statement under way, in a read transaction, stopped at the deadline.

    Texts are read as UTF-8 by the driver, which fails for others. Then the
    statement is run again with replacement characters, past the rows already
    given: a Python function for each text would cost a third of the speed.
    """

    def __init__(
        self, opened: _Opened, sql: str, deadline: Deadline, names: Callable[[], Names]
    ) -> None:
        self._opened = opened
        self._sql = sql
        self._deadline = deadline
        self._names = names
        self._given = 0
        opened.connection.text_factory = str
        opened.connection.set_progress_handler(deadline.passed, PROGRESS_STEPS)
        self._cursor = opened.connection.cursor()
        with self._typed_errors():
            opened.own("BEGIN")
        self.columns = self._start()

    def fetch(self, count: int) -> Batch:
        """Up to `count` rows more. Raises typed errors."""
        with self._typed_errors():
            try:
                rows = self._cursor.fetchmany(count)
            except sqlite3.OperationalError as error:
                if not str(error).startswith(_BAD_TEXT):
                    raise
                rows = self._again().fetchmany(count)
        self._given += len(rows)
        return rows

    def close(self) -> None:
        """End the statement and its transaction."""
        self._cursor.close()
        connection = self._opened.connection
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            self._opened.own("ROLLBACK")

    def _start(self) -> tuple[str, ...]:
        try:
            with self._typed_errors():
                self._cursor.execute(self._sql)
            if self._cursor.description is None:
                raise ExecutionError("The statement has no result.", hint="Write a SELECT.")
        except BaseException:
            self.close()
            raise
        return tuple(column[0] for column in self._cursor.description)

    def _again(self) -> sqlite3.Cursor:
        self._opened.connection.text_factory = decoded
        self._cursor.execute(self._sql)
        deque(islice(self._cursor, self._given), maxlen=0)
        return self._cursor

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise self._deadline.error() from error
            raise statement_error(error, self._names) from error


def _secured(
    path: Path,
    limits: Limits,
    tables: frozenset[str] | None,
    heap_bytes: int,
    file: tuple[int, int] | None,
) -> _Opened:
    """A connection with every protection on. Raises ConnectError."""
    connection = open_read_only(path, timeout=limits.busy_seconds)
    try:
        connection.isolation_level = None  # no BEGIN of Python's own
        _harden(connection, limits, heap_bytes)
        _warm_up(connection)
        authorizer = Authorizer(connection, tables)
        connection.set_authorizer(authorizer)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise explained(error, path) from error
    return _Opened(connection, authorizer, file)


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _harden(connection: sqlite3.Connection, limits: Limits, heap_bytes: int) -> None:
    """Read-only by pragma too, no trust in the schema, SQLite's limits lowered."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if heap_bytes:  # of the whole process; SQLite lets it only be lowered
        connection.execute(f"PRAGMA hard_heap_limit={int(heap_bytes)}")
        connection.execute("PRAGMA temp_store=MEMORY")  # under that limit, instead of the disk
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.cell_bytes)
    for category, value in _SQLITE_LIMITS.items():
        connection.setlimit(category, value)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _heap_detail(engine: SQLiteEngine) -> str:
    if engine._own_process:
        return f"{engine.limits.heap_bytes / 1e6:g} MB"
    return "only in a worker process: it would hold for all SQLite in this one"


def _warm_up(connection: sqlite3.Connection) -> None:
    """Let virtual tables declare themselves: later the authorizer would refuse that."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL %'"
    virtual = [quoted(name) for (name,) in connection.execute(query)]
    for source in ("json_each('[]')", "json_tree('[]')", *virtual):
        with suppress(sqlite3.Error):  # a module this SQLite lacks: queries on it will say so
            connection.execute(f"SELECT 1 FROM {source} LIMIT 1").fetchone()
