"""DuckDB as an engine: a locked, read-only connection without files or networks.

Several things hold, each without the others: the file is opened read-only (a
database in memory: each query in a read-only transaction); access to files,
networks and extensions is off and can't be switched on, as the configuration
is locked; DuckDB's own parser has a second look at each statement
(`duckdb_parse`); memory is limited and nothing is spilled to disk; a query is
interrupted at its deadline. The settings are those of
https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview

note: "executing untrusted SQL is unsafe by design" (same page): single steps
such as lpad('x', 2e9, 'y') heed neither interrupt nor memory limit. The guard
refuses these, and the worker process is killed where one slips through.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql.errors import ConnectError, ExecutionError, MissingExtra
from plainsql.execution.base import Protection, RowStream, rows_of
from plainsql.execution.limits import FIRST_ROWS, Batch, Deadline, Limits, batches, check_text
from plainsql.records import Rows

try:
    import duckdb
except ImportError as error:
    raise MissingExtra("DuckDB databases", "duckdb") from error

if int(duckdb.__version__.partition(".")[0]) < 2:  # what is refused was verified with 2.0
    raise ConnectError(
        f"DuckDB {duckdb.__version__} is installed, and databases are read with 2.0 or later.",
        hint="pip install -U duckdb",
    )

from plainsql.execution import duckdb_arrow, duckdb_cells
from plainsql.execution.duckdb_connect import checked, connect, secure
from plainsql.execution.duckdb_errors import ERRORS, statement_error
from plainsql.execution.duckdb_parse import Parser, Scope
from plainsql.execution.duckdb_watchdog import Watchdog
from plainsql.execution.policies.base import fold
from plainsql.execution.targets import Target, parse_target
from plainsql.execution.worker_columns import Chunk

if TYPE_CHECKING:
    from plainsql.execution.files import Progress
    from plainsql.execution.nearest_names import Names
    from plainsql.schema.model import Schema

_INTROSPECTION_SECONDS = 120.0
_STATEMENT_SECONDS = 0.25  # for one optional statement of it
_MOST_AT_FIRST = 1_024  # rows of a result's first batch

_TABLES = (
    "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal "
    "UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
)
_COLUMNS = (
    "SELECT schema_name, table_name, column_name FROM duckdb_columns() WHERE NOT internal "
    "ORDER BY ALL"
)
_MACROS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal"


class DuckDBEngine:
    """One DuckDB file or set of data files, open for reading. Close it, or use `with`.

    `tables` restricts what may be read, views included; a view in it may read
    what it is made of. `progress(done, total, table)` counts bytes while data
    files are read, which happens here. A file that was replaced by another is
    opened again; nobody can write to an open one before `close`: that is how
    DuckDB locks. Raises ConnectError when the database can't be opened,
    SchemaError when data files hold no table.
    """

    dialect = "duckdb"

    def __init__(
        self,
        target: Target | str | os.PathLike[str],
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
        progress: Progress | None = None,
    ) -> None:
        found = target if isinstance(target, Target) else parse_target(target)
        self.target = found
        self.name = found.name
        self.limits = limits or Limits()
        self.notes: tuple[str, ...] = ()  # what was left out of data files
        self._tables = tables
        self._turn = threading.Lock()
        self._closed = False
        self._file = self._identity()
        self._opened: _Opened | None = self._open(found, progress)

    def __enter__(self) -> DuckDBEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path | None:
        """The file, or the folder of data files, that was opened."""
        return self.target.path

    def introspect(self) -> Schema:
        """Tables, columns and keys. Raises ConnectError, SchemaError."""
        from plainsql.schema.introspect_duckdb import duckdb_schema

        name = self.path.stem if self.path is not None else self.name
        with self._using(Deadline(_INTROSPECTION_SECONDS)) as opened:
            cursor = opened.connection.cursor()
            try:
                reader = _Catalogue(cursor, opened.watchdog)
                return duckdb_schema(name, reader.rows, reader.try_rows)
            except ERRORS as error:
                raise statement_error(error, dict) from error
            finally:
                cursor.close()

    def explain(self, sql: str) -> str:
        """DuckDB's physical plan, drawn as a tree."""
        rows = self.run(f"EXPLAIN {sql}").rows
        return "\n".join(str(row[-1]).rstrip() for row in rows)

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds, `limits.result_bytes`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError (with the
        nearest real names), DeniedError (by DuckDB or its parser), ConnectError.
        """
        first = min(limit + 1, _MOST_AT_FIRST)
        return rows_of(self._streamed(sql, timeout, first), limit, self.limits)

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """All rows of one query as they come; `run` says what is raised.

        Other calls wait until the context is left.
        """
        return self._streamed(sql, timeout, FIRST_ROWS)

    @contextmanager
    def stream_columns(
        self, sql: str, *, timeout: float = 10.0
    ) -> Iterator[tuple[tuple[str, ...], Iterator[Batch | Chunk]]]:
        """`stream` for who sends rows on: names, and chunks of columns where there can be."""
        with self._queried(sql, timeout, in_chunks=True) as query:
            yield query.columns, query.chunks() or batches(query.fetch, query.deadline)

    def protections(self) -> tuple[Protection, ...]:
        """What DuckDB itself keeps a query from doing, and what it can't."""
        in_memory = self._opened is not None and self._opened.in_memory
        file = "a copy in memory, read-only transactions" if in_memory else "the file, read-only"
        scope = "asked of the parsed statement: DuckDB has no rights of its own on tables"
        memory = f"{self.limits.heap_bytes / 1e6:g} MB" if self.limits.heap_bytes else "not limited"
        return (
            Protection("read-only", True, file),
            Protection("no files, networks, extensions", True, "enable_external_access=false"),
            Protection("locked configuration", True, "a query can't change settings"),
            Protection("DuckDB's own parser", True, "one query; no writes, no SQL in texts"),
            Protection("table scope", self._tables is not None, scope if self._tables else ""),
            Protection("deadline", True, "interrupt; the worker ends a step that ignores it"),
            Protection("memory limit of DuckDB", bool(self.limits.heap_bytes), memory),
        )

    def interrupt(self) -> None:
        """Stop the running query, from another thread or a signal handler."""
        opened = self._opened
        if opened is not None:
            opened.watchdog.interrupt()

    def close(self) -> None:
        """Close the database. May be called twice."""
        with self._turn:
            self._closed = True
            self._let_go()

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _open(self, target: Target, progress: Progress | None) -> _Opened:
        if target.kind != "files":
            path = checked(Path(os.path.expanduser(target.path or target.url)))
            return _Opened(connect(path, self.limits), False, self._tables)
        from plainsql.execution.files import open_files

        loaded = open_files(target, self.limits, progress)
        self.notes = loaded.notes
        if loaded.connection is not None:
            secure(loaded.connection, Path(self.name), self.limits)
            return _Opened(loaded.connection, True, self._tables)
        assert loaded.path is not None
        return _Opened(connect(loaded.path, self.limits), False, self._tables)

    @contextmanager
    def _using(self, deadline: Deadline) -> Iterator[_Opened]:
        """The open database, for one caller at a time."""
        if not self._turn.acquire(timeout=deadline.remaining()):
            raise deadline.error()
        try:
            yield self._current()
        finally:
            self._turn.release()

    def _current(self) -> _Opened:
        """The connection, to the file that is there now. Raises ConnectError."""
        if self._closed:
            raise ConnectError("The database was closed.", hint="Open it again.")
        file = self._identity()
        if file != self._file and file is not None:
            self._let_go()  # first: DuckDB would give the same database again
            self._file = file
        if self._opened is None:
            self._opened = self._open(self.target, None)
        return self._opened

    def _identity(self) -> tuple[int, int] | None:
        """Which file it is; None for data files, which are read once, and where it is gone."""
        if self.target.kind == "files" or self.path is None:
            return None
        with suppress(OSError):
            status = self.path.stat()
            return status.st_dev, status.st_ino
        return None

    @contextmanager
    def _streamed(self, sql: str, timeout: float, first: int) -> Iterator[RowStream]:
        """The rows of `sql`, the first `first` of them in one batch."""
        with self._queried(sql, timeout) as query:
            rows = batches(query.fetch, query.deadline, first)
            yield RowStream(query.columns, rows, query.deadline)

    @contextmanager
    def _queried(self, sql: str, timeout: float, *, in_chunks: bool = False) -> Iterator[_Query]:
        """A query that has begun to run."""
        check_text(sql, self.limits)
        deadline = Deadline(timeout)
        with self._using(deadline) as opened:
            query = _Query(opened, sql, deadline, in_chunks=in_chunks)
            try:
                query.start()
                yield query
            finally:
                query.close()


@dataclass
class _Opened:
    """A connection that is locked down, with what belongs to it."""

    connection: duckdb.DuckDBPyConnection
    in_memory: bool
    tables: frozenset[str] | None

    def __post_init__(self) -> None:
        self.watchdog = Watchdog()

    def close(self) -> None:
        self.watchdog.close()
        self.connection.close()

    @cached_property
    def parser(self) -> Parser:
        scope = None
        if self.tables is not None:
            scope = Scope.of(self.tables, self._places())
        return Parser(self.connection.cursor(), lambda: self._macros, scope)

    @cached_property
    def _macros(self) -> frozenset[str]:
        return frozenset(fold(str(name)) for (name,) in self._rows(_MACROS))

    def names(self) -> Names:
        """Every table that may be read, with its columns; {} when they can't be read."""
        names: dict[str, list[str]] = {}
        with suppress(*ERRORS):  # only a hint is lost
            scope = Scope.of(self.tables, self._places()) if self.tables is not None else None
            for schema, table, column in self._rows(_COLUMNS):
                if scope is None or scope.permits([schema, table]):
                    full = table if schema == "main" else f"{schema}.{table}"
                    names.setdefault(full, []).append(column)
        return names

    def _places(self) -> list[tuple[str, str]]:
        return [(str(schema), str(name)) for schema, name in self._rows(_TABLES)]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        try:
            return cursor.execute(sql).fetchall()
        finally:
            cursor.close()


class _Query:
    """One query on a cursor of its own, from the first look to the last row."""

    def __init__(
        self, opened: _Opened, sql: str, deadline: Deadline, *, in_chunks: bool = False
    ) -> None:
        self.columns: tuple[str, ...] = ()
        self.deadline = deadline
        self._opened = opened
        self._sql = sql
        self._in_chunks = in_chunks
        self._chunks: Iterator[Chunk] | None = None
        self._cursor = opened.connection.cursor()
        self._finish: Callable[[Batch], Batch] | None = None
        self._lines_before = 0
        opened.watchdog.watch(self._cursor, deadline)

    def start(self) -> None:
        """Check the statement and run it up to its first rows."""
        with self._errors():
            parsed = self._opened.parser.check(self._sql)
            if self._opened.in_memory:
                self._cursor.execute("BEGIN TRANSACTION READ ONLY")
            if parsed.is_query:
                self._start_query(parsed.statement, parsed.text)
            else:
                self._cursor.execute(parsed.statement)
                self.columns = tuple(column[0] for column in self._cursor.description or ())
                self._finish = duckdb_cells.by_python
            if not self.columns:
                raise ExecutionError("The statement has no result.", hint="Write a SELECT.")

    def _start_query(self, statement: Any, text: str) -> None:
        """Run the statement; inside a projection where its types ask for casts.

        The text is whole in there, between brackets: it was parsed as one query.
        """
        try:
            relation = self._cursor.sql(statement)
        except duckdb.ProgrammingError:
            self._cursor.execute(text)  # fails again, and then says where
            raise
        self.columns = tuple(relation.columns)
        types = relation.types
        if self._in_chunks and (items := duckdb_arrow.projection(types)) is not None:
            self._chunks = duckdb_arrow.chunks(self._cursor, self._over(items, text), types)
            if self._chunks is not None:
                return
        self._finish = duckdb_cells.finishing(types)
        if items := duckdb_cells.projection(types):
            (statement,) = self._cursor.extract_statements(self._over(items, text))
        self._cursor.execute(statement)

    def _over(self, items: str, text: str) -> str:
        """`text`, or a projection over it."""
        self._lines_before = 1 if items else 0
        return f"SELECT {items} FROM (\n{text}\n)" if items else text

    def fetch(self, count: int) -> Batch:
        """The next `count` rows at most, as cells."""
        with self._errors():
            batch = self._cursor.fetchmany(count)
        return self._finish(batch) if self._finish is not None else batch

    def chunks(self) -> Iterator[Chunk] | None:
        """The rows by their columns; None where they must be fetched as rows."""
        return self._typed(self._chunks) if self._chunks is not None else None

    def _typed(self, found: Iterator[Chunk]) -> Iterator[Chunk]:
        while True:
            with self._errors():
                chunk = next(found, None)
            if chunk is None:
                return
            if self.deadline.passed():
                raise self.deadline.error()
            yield chunk

    def close(self) -> None:
        """Give up what still runs, and the transaction."""
        self._chunks = None
        self._opened.watchdog.forget(self._cursor)
        with suppress(*ERRORS):
            self._cursor.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """DuckDB's errors as ours."""
        try:
            yield
        except duckdb.InterruptException as error:
            raise self.deadline.error() from error
        except ERRORS as error:
            if self.deadline.passed():
                raise self.deadline.error() from error
            names = self._opened.names
            raise statement_error(error, names, lines_before=self._lines_before) from error


class _Catalogue:
    """Runs the statements of the introspection, which are ours; optional ones briefly."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, watchdog: Watchdog) -> None:
        self._cursor = cursor
        self._watchdog = watchdog

    def rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql, list(values)).fetchall()

    def try_rows(self, sql: str, values: Any = ()) -> list[tuple[Any, ...]] | None:
        """The rows, or None if they take too long or can't be had (a broken view)."""
        self._watchdog.watch(self._cursor, Deadline(_STATEMENT_SECONDS))
        try:
            return self.rows(sql, values)
        except ERRORS:
            return None
        finally:
            self._watchdog.forget(self._cursor)
