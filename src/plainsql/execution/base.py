"""The seam to databases: what every engine can do, and how one is chosen.

An engine reads; it never decides whether a statement may run. That is the
guard's part, and `run_guarded` is the one place where both meet.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from plainsql.errors import DeniedError, UsageError
from plainsql.execution.guard import judge
from plainsql.records import Rows

if TYPE_CHECKING:
    from plainsql.schema.model import Schema

SUPPORTED = "an SQLite file (shop.db, or sqlite:///shop.db)"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://|$)")


@runtime_checkable
class Engine(Protocol):
    """One open database, read-only by the engine's own means.

    Safe to call from several threads; calls wait for each other. All errors
    raised are of the `PlainsqlError` tree.
    """

    dialect: str  # sqlglot's name of the SQL it speaks: "sqlite"

    def introspect(self) -> Schema:
        """Tables, columns and keys. Raises ConnectError, SchemaError."""
        ...

    def explain(self, sql: str) -> str:
        """The engine's plan for `sql`, as indented lines. Doesn't run it."""
        ...

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query; at most `limit` rows and `timeout` seconds.

        Raises ExecutionError (QueryTimeout, ResourceLimit), DeniedError when
        the engine itself refuses, ConnectError when the database can't be read.
        """
        ...

    def close(self) -> None:
        """Give the database back. May be called twice."""
        ...


def open_engine(target: str | os.PathLike[str]) -> Engine:
    """Open the database that `target` (a path or URL) names, read-only.

    Raises UsageError for URLs of kinds that aren't supported, ConnectError for
    what can't be opened: no such file, a folder, a file that is no database.
    """
    path = _local_path(os.fspath(target))
    from plainsql.execution.sqlite import SQLiteEngine

    return SQLiteEngine(path)


def run_guarded(
    engine: Engine,
    sql: str,
    *,
    schema: Schema | None = None,
    tables: frozenset[str] | None = None,
    limit: int = 1000,
    timeout: float = 10.0,
) -> Rows:
    """Judge `sql`, then run exactly the judged text.

    Raises DeniedError with the guard's reason, and what `Engine.run` raises.
    """
    verdict = judge(sql, dialect=engine.dialect, schema=schema, tables=tables)
    if not verdict.allowed:
        raise DeniedError(
            f"The statement was refused: {verdict.reason}.",
            hint="Only single read-only queries over the tables of the schema are run.",
        )
    return engine.run(verdict.sql, limit=limit, timeout=timeout)


def _local_path(target: str) -> Path:
    """The file that `target` names. Raises UsageError for URLs of other kinds.

    Messages name the scheme only: the rest of a URL may hold a password.
    """
    if not target or "\x00" in target:
        raise _unsupported("No database was named.")
    scheme = _SCHEME.match(target)
    if scheme is None:
        if target == ":memory:":
            raise _unsupported("An in-memory database has nothing to ask about.")
        return Path(os.path.expanduser(target))
    if scheme[1].lower() != "sqlite":
        raise _unsupported(f"Databases of the kind {scheme[1]}:// are not supported.")
    rest = target[scheme.end() :]
    if not rest.startswith("/") or len(rest) < 2 or "?" in rest or rest.startswith("/file:"):
        raise _unsupported("An sqlite URL is sqlite:/// and a path, without parameters.")
    return Path(rest[1:])


def _unsupported(message: str) -> UsageError:
    return UsageError(message, hint=f"Supported: {SUPPORTED}.")
