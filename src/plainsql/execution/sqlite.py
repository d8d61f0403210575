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
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plainsql.errors import ConnectError, ExecutionError, ResourceLimit
from plainsql.execution import policy
from plainsql.execution.limits import (
    PROGRESS_STEPS,
    Deadline,
    Limits,
    check_row_limit,
    take_rows,
)
from plainsql.execution.policy import fold
from plainsql.execution.sqlite_errors import Names, statement_error
from plainsql.records import Rows
from plainsql.schema.sqlite_file import explained, open_read_only

if TYPE_CHECKING:
    from plainsql.schema.model import Schema

_FUNCTIONS = policy.SQLITE_FUNCTIONS | {"->", "->>"}
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
    in it may read what it is made of (whose rows can then be counted). Raises
    ConnectError when the file is missing, locked or no database.
    """

    dialect = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.path = Path(path)
        self.limits = limits or Limits()
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = _secured(self.path, self.limits, tables)

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
        check_row_limit(limit)
        if len(sql) > self.limits.sql_chars:
            raise ResourceLimit(f"The query is longer than {self.limits.sql_chars:,} characters.")
        deadline = Deadline(timeout)
        started = time.perf_counter()
        with self._connected(deadline) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            if cursor.description is None:
                raise ExecutionError("The statement has no result.", hint="Write a SELECT.")
            names = tuple(column[0] for column in cursor.description)
            rows, truncated = take_rows(cursor, limit, self.limits.result_bytes, deadline)
        return Rows(names, rows, truncated, (time.perf_counter() - started) * 1000)

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _connected(self, deadline: Deadline) -> Iterator[sqlite3.Connection]:
        """The connection for one statement, stopped at the deadline; typed errors."""
        if not self._turn.acquire(timeout=deadline.remaining()):
            raise deadline.error()
        try:
            if self._connection is None:
                raise ConnectError("The database was closed.", hint="Open it again.")
            self._connection.set_progress_handler(deadline.passed, PROGRESS_STEPS)
            yield self._connection
        except _ERRORS as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise deadline.error() from error
            raise statement_error(error, self._names) from error
        finally:
            self._turn.release()

    def _names(self) -> Names:
        """Tables and their columns, over a connection of its own; {} when unreadable."""
        try:
            busy = self.limits.busy_seconds
            with closing(open_read_only(self.path, timeout=busy)) as connection:
                return _read_names(connection)
        except (sqlite3.Error, ConnectError):
            return {}  # only a hint is lost


class _Authorizer:
    """Lets SQLite compile reads of permitted tables and listed functions, nothing else.

    The names are SQLite's five arguments: action, two names, database, context.

    note: SQLite passes the innermost view or sub-query's name as the context of
    a read, so a WITH item named like a permitted view would inherit its rights.
    Hence the reads of each view are recorded once, and only these are allowed.
    """

    def __init__(self, connection: sqlite3.Connection, tables: frozenset[str] | None) -> None:
        self._functions = _FUNCTIONS
        self._all = {fold(name) for name in _read_names(connection)}
        self._tables = None if tables is None else {fold(name) for name in tables}
        self._view_reads = frozenset(_reads_of_views(connection, self._tables or set()))
        self._in_views = {table for table, _, _ in self._view_reads}

    def __call__(
        self, action: int, first: str | None, second: str | None, _: str | None, by: str | None
    ) -> int:
        allowed = (
            action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
            or (action == sqlite3.SQLITE_FUNCTION and fold(second or "") in self._functions)
            or (action == sqlite3.SQLITE_READ and self._may_read(first or "", second or "", by))
            # full-text indexes ask it before each look-up
            or (action == sqlite3.SQLITE_PRAGMA and (first, second) == ("data_version", None))
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _may_read(self, table: str, column: str, by: str | None) -> bool:
        name = fold(table)
        if policy.SQLITE.reserves(name) and name not in self._all:
            return False
        if name.startswith("sqlite_"):
            return False
        if self._tables is None or name in self._tables or name in policy.SQLITE_TABLE_FUNCTIONS:
            return True
        if (name, fold(column), fold(by or "")) in self._view_reads:
            return True
        # A table none of whose columns is read comes with "" and no context: WITH
        # items, which are no tables, and the tables of a view merged into the query.
        return column == "" and (name not in self._all or name in self._in_views)


def _reads_of_views(
    connection: sqlite3.Connection, views: set[str]
) -> Iterator[tuple[str, str, str]]:
    """(table, column, context) of every read that the definitions of `views` need."""
    reads: list[tuple[str, str, str]] = []

    def record(
        action: int, first: str | None, second: str | None, _: str | None, by: str | None
    ) -> int:
        if action == sqlite3.SQLITE_READ and by is not None:
            reads.append((fold(first or ""), fold(second or ""), fold(by)))
        return sqlite3.SQLITE_OK

    query = "SELECT name FROM sqlite_master WHERE type = 'view'"
    names = [name for (name,) in connection.execute(query) if fold(name) in views]
    connection.set_authorizer(record)
    try:
        for name in names:
            with suppress(sqlite3.Error):  # a broken view has no reads to allow
                connection.execute(f"EXPLAIN SELECT * FROM {_quoted(name)}").close()
    finally:
        connection.set_authorizer(None)
    return iter(reads)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _secured(path: Path, limits: Limits, tables: frozenset[str] | None) -> sqlite3.Connection:
    """A connection with every protection on. Raises ConnectError."""
    connection = open_read_only(path, timeout=limits.busy_seconds)
    try:
        connection.isolation_level = None  # no BEGIN of Python's own
        _harden(connection, limits)
        _warm_up(connection)
        connection.set_authorizer(_Authorizer(connection, tables))
    except sqlite3.DatabaseError as error:
        connection.close()
        raise explained(error, path) from error
    return connection


def _harden(connection: sqlite3.Connection, limits: Limits) -> None:
    """Read-only by pragma too, no trust in the schema, SQLite's limits lowered."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if limits.heap_bytes:  # of the whole process; SQLite lets it only be lowered
        connection.execute(f"PRAGMA hard_heap_limit={int(limits.heap_bytes)}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.cell_bytes)
    for category, value in _SQLITE_LIMITS.items():
        connection.setlimit(category, value)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _warm_up(connection: sqlite3.Connection) -> None:
    """Let virtual tables declare themselves: later the authorizer would refuse that."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL %'"
    virtual = [_quoted(name) for (name,) in connection.execute(query)]
    for source in ("json_each('[]')", "json_tree('[]')", *virtual):
        with suppress(sqlite3.Error):  # a module this SQLite lacks: queries on it will say so
            connection.execute(f"SELECT 1 FROM {source} LIMIT 1").fetchone()


def _read_names(connection: sqlite3.Connection) -> Names:
    """Every table and view with its columns: none for a view of what isn't there any more."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master "
        "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    names: Names = {table: () for (table,) in tables}
    for table in names:
        with suppress(sqlite3.OperationalError):
            found = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
            names[table] = tuple(column for (column,) in found)
    return names
