"""The seam to databases: what every engine can do, and how one is chosen.

An engine reads; it never decides whether a statement may run. That is the
guard's part, and `run_guarded` is the one place where both meet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from plainsql.errors import DeniedError, PlainsqlError, UsageError
from plainsql.execution.limits import Batch, Deadline, Limits, check_row_limit, collect
from plainsql.execution.nearest_names import without_hidden
from plainsql.records import Rows

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.execution.targets import Target
    from plainsql.schema.model import Schema

__all__ = [
    "Engine",
    "Protection",
    "RowStream",
    "collect",
    "open_engine",
    "rows_of",
    "run_guarded",
    "stream_guarded",
    "target_path",
]


# Where the engine of each kind of target is; imported when one is opened.
_ENGINES = {
    "sqlite": ("sqlite", "SQLiteEngine"),
    "duckdb": ("duckdb_engine", "DuckDBEngine"),
    "files": ("duckdb_engine", "DuckDBEngine"),
    "postgresql": ("postgresql", "PostgreSQLEngine"),
    "mysql": ("mysql", "MySQLEngine"),
    "sqlalchemy": ("sqlalchemy_engine", "SQLAlchemyEngine"),
}
EMBEDDED = frozenset({"sqlite", "duckdb", "files"})  # these run in a worker process


@dataclass(frozen=True, slots=True)
class Protection:
    """One thing that the engine layer does, or can't do here, for `doctor`."""

    name: str
    active: bool
    detail: str = ""


class RowStream:
    """The rows of a running query, in batches that are never empty.

    Raises QueryTimeout when a batch is asked for past the deadline, and what
    the engine meets while it goes on.
    """

    __slots__ = ("_batches", "columns", "deadline")

    def __init__(
        self, columns: tuple[str, ...], batches: Iterator[Batch], deadline: Deadline
    ) -> None:
        self.columns = columns
        self.deadline = deadline
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self.deadline.passed():
                raise self.deadline.error()
            if batch:
                yield batch


@runtime_checkable
class Engine(Protocol):
    """One open database, read-only by the engine's own means.

    Safe to call from several threads; calls may wait for each other. All errors
    raised are of the `PlainsqlError` tree.
    """

    dialect: str  # sqlglot's name of the SQL it speaks: "sqlite", "postgres", …
    name: str  # for messages and caches: a path, or a URL without user and password

    def introspect(self) -> Schema:
        """Tables, columns and keys. Raises ConnectError, SchemaError."""
        ...

    def explain(self, sql: str) -> str:
        """The engine's plan for `sql`, as indented lines. Doesn't run it."""
        ...

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query; at most `limit` rows and `timeout` seconds.

        What is over the limits is cut off, and `Rows.truncated` says so. Raises
        ExecutionError (QueryTimeout, ResourceLimit), DeniedError when the engine
        itself refuses, ConnectError when the database can't be read.
        """
        ...

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """All rows of one query as they come, within `timeout` seconds.

        Leaving the context cancels what still runs. Raises what `run` raises.
        """
        ...

    def protections(self) -> tuple[Protection, ...]:
        """What keeps this database safe here, whatever the guard lets through."""
        ...

    def close(self) -> None:
        """Give the database back. May be called twice."""
        ...


def target_path(target: Target | str | os.PathLike[str]) -> Path:
    """The file of an embedded engine's target, "~" expanded. Raises UsageError."""
    if isinstance(target, str | os.PathLike):
        return Path(os.path.expanduser(target))
    if target.path is None:
        raise UsageError("The target names no file.", hint="Give the path of a database file.")
    return target.path


def rows_of(opened: AbstractContextManager[RowStream], limit: int, limits: Limits) -> Rows:
    """The result of a stream as a whole, within `limit` rows and `limits`.

    What `Engine.run` is made of. Raises what `Engine.run` raises.
    """
    check_row_limit(limit)
    started = time.perf_counter()
    with opened as stream:
        rows, truncated = collect(stream, limit, limits, stream.deadline)
    return Rows(stream.columns, rows, truncated, (time.perf_counter() - started) * 1000)


def open_engine(
    target: str | os.PathLike[str],
    *,
    tables: frozenset[str] | None = None,
    limits: Limits | None = None,
    worker: bool = True,
    cache_dir: str = "",
) -> Engine:
    """Open the database that `target` (a path or URL) names, read-only.

    `tables` are all that may be read, where the engine can enforce it. SQLite
    and DuckDB run in a process of their own unless `worker` is false; what is
    wrong inside such a file may show only at the first use. Large data files are
    converted, and kept in `cache_dir`; "" is the user's cache folder.

    Raises UsageError for URLs of kinds that aren't supported, ConnectError for
    what can't be opened, MissingExtra for a driver that isn't installed.
    """
    from plainsql.execution.targets import parse_target

    found = replace(parse_target(os.fspath(target)), cache_dir=cache_dir)
    if worker and found.kind in EMBEDDED:
        from plainsql.execution.worker_client import WorkerEngine

        return WorkerEngine(found, tables=tables, limits=limits)
    return in_process_engine(found, tables=tables, limits=limits)


def in_process_engine(
    target: Target, *, tables: frozenset[str] | None = None, limits: Limits | None = None
) -> Engine:
    """The engine of `target` in this process. Raises what `open_engine` raises."""
    module, name = _ENGINES[target.kind]
    opened = getattr(import_module(f"plainsql.execution.{module}"), name)
    engine: Engine = opened(target, tables=tables, limits=limits)
    return engine


def run_guarded(
    engine: Engine,
    sql: str,
    *,
    schema: Schema | None = None,
    tables: frozenset[str] | None = None,
    access: Access | None = None,
    limit: int = 1000,
    timeout: float = 10.0,
) -> Rows:
    """Judge `sql`, then run exactly the judged text.

    Raises DeniedError with the guard's reason, and what `Engine.run` raises.
    """
    judged = _allowed(engine, sql, schema, tables, access)
    with hidden_names(access):
        return engine.run(judged, limit=limit, timeout=timeout)


@contextmanager
def stream_guarded(
    engine: Engine,
    sql: str,
    *,
    schema: Schema | None = None,
    tables: frozenset[str] | None = None,
    access: Access | None = None,
    timeout: float = 10.0,
) -> Iterator[RowStream]:
    """Judge `sql`, then stream exactly the judged text. Raises as `run_guarded`."""
    judged = _allowed(engine, sql, schema, tables, access)
    with hidden_names(access), engine.stream(judged, timeout=timeout) as stream:
        yield stream


@contextmanager
def hidden_names(access: Access | None) -> Iterator[None]:
    """An engine's errors from within have no hints that name what `access` hides."""
    try:
        yield
    except PlainsqlError as error:
        if access is not None:
            error.hint = without_hidden(error.hint, access.shows)
        raise


def _allowed(
    engine: Engine,
    sql: str,
    schema: Schema | None,
    tables: frozenset[str] | None,
    access: Access | None,
) -> str:
    """The text to run: as given, or as the guard rewrote it. Raises DeniedError."""
    from plainsql.execution.guard import judge

    if schema is None and access is not None and access.has_rules:
        schema = engine.introspect()  # what the rules are applied to
    verdict = judge(sql, dialect=engine.dialect, schema=schema, tables=tables, access=access)
    if not verdict.allowed:
        raise DeniedError(
            f"The statement was refused: {verdict.reason}.",
            hint="Only single read-only queries over the tables of the schema are run.",
        )
    return verdict.sql
