"""PostgreSQL as an engine: read-only transactions on a connection that forgets.

What holds here whatever the guard lets through: every query is the one statement
of a READ ONLY transaction that is rolled back; the session is cleaned before the
next one (advisory locks and settings outlive a rollback); the server stops it at
the deadline, and this side cancels it where the server doesn't, or closes the
connection; a row too large for this process isn't read. What a read-only
transaction doesn't stop (reading other tables, large objects, files) is up to the
role: see `grants`. Settings after https://www.postgresql.org/docs/current/runtime-config-client.html.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from plainsql.errors import ConnectError, ConnectionLost, DeniedError, MissingExtra, PlainsqlError
from plainsql.execution.base import Protection, RowStream, rows_of
from plainsql.execution.limits import Batch, Deadline, Limits, check_text
from plainsql.execution.nearest_names import Names
from plainsql.execution.postgresql_errors import Place, connect_error, statement_error
from plainsql.execution.targets import Target, parse_target

try:
    import psycopg
except ImportError as error:
    raise MissingExtra("PostgreSQL databases", "postgresql") from error

from plainsql.execution.postgresql_memory import can_watch
from plainsql.execution.postgresql_session import MAX_ROW_BYTES, Failure, Session
from plainsql.records import Rows

if TYPE_CHECKING:
    from plainsql.schema.model import Schema

CONNECT_SECONDS = 10.0  # where the URL has no connect_timeout
CLOSE_SECONDS = 1.0  # to wait for another thread's query before the engine is closed
CATALOGUE_SECONDS = 30.0  # for one statement that reads the catalogue
OPTIONAL_SECONDS = 0.25  # for one that may be given up: samples, look-ups


class PostgreSQLEngine:
    """One PostgreSQL database over one connection. A context manager, or `close` it.

    Threads take turns. `tables` is not enforced here: grant the role no others.
    Raises ConnectError when the server can't be reached or refuses the role.
    """

    dialect = "postgres"

    def __init__(
        self,
        target: Target | str,
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.target = parse_target(target) if isinstance(target, str) else target
        self.limits = limits or Limits()
        self._turn = threading.Lock()
        self._closed = False
        self._session: Session | None = self._connected(CONNECT_SECONDS)

    @property
    def name(self) -> str:
        """The URL without user and password."""
        return self.target.name

    def __enter__(self) -> PostgreSQLEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds and `limits`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError (with place
        and nearest names), DeniedError (by the server), ConnectionLost, ConnectError.
        """
        return rows_of(self.stream(sql, timeout=timeout), limit, self.limits)

    @contextmanager
    def stream(self, sql: str, *, timeout: float = 10.0) -> Iterator[RowStream]:
        """All rows of one query in batches, as the server makes them. Raises as `run`.

        Leaving the context cancels the query on the server if it still runs. The
        connection is taken until then: other threads wait, to their deadlines.
        """
        check_text(sql, self.limits)
        _check_letters(sql)
        deadline = Deadline(timeout)
        with self._ready_session(deadline) as session:
            try:
                names, batches = session.rows(sql, deadline)
            except Failure as failure:
                session.finish()
                raise statement_error(
                    failure.report, sql, partial(_names, session), deadline
                ) from None
            yield RowStream(names, _typed(batches, sql, deadline), deadline)

    def explain(self, sql: str) -> str:
        """PostgreSQL's plan for `sql`, which isn't run. Raises as `run`."""
        plan = self.run(f"EXPLAIN {sql}").rows
        return "\n".join(str(line) for (line,) in plan)

    def introspect(self) -> Schema:
        """Tables, columns and keys that the role may read. Raises ConnectError, SchemaError."""
        from plainsql.schema.introspect_postgresql import postgresql_schema

        return postgresql_schema(self._catalogue, self._optional, self._database())

    def protections(self) -> tuple[Protection, ...]:
        """What the engine layer does, and what the connected role lacks of the least rights."""
        from plainsql.execution.grants import examine_role

        return (
            Protection("read-only transactions", True, "each query in one that is rolled back"),
            Protection("one query", True, "a single statement, refused unless it has columns"),
            Protection("clean session", True, "reset after each query, locks released"),
            Protection("deadline", True, "statement_timeout, then cancelled, then closed"),
            Protection(
                "huge rows",
                can_watch(),
                f"rows over {MAX_ROW_BYTES // 1_000_000} MB aren't read"
                if can_watch()
                else "this system doesn't tell a process its size: a cell of 1 GB is read whole",
            ),
            *examine_role(self._catalogue),
        )

    def grant_sql(self, tables: frozenset[str] | None = None, *, role: str = "") -> str:
        """SQL that makes a role with the least rights, over `tables` or all this role reads.

        `tables` are named as in the schema. Raises ConnectError.
        """
        from plainsql.execution.grants import PUBLIC_DEFINERS, ROLE, postgresql_grants
        from plainsql.schema.introspect_postgresql import TABLE_NAMES

        wanted = None if tables is None else {name.lower() for name in tables}
        found: dict[str, list[str]] = {}
        for space, name, full in self._catalogue(TABLE_NAMES):
            if wanted is None or full.lower() in wanted:
                found.setdefault(space, []).append(name)
        definers = [function for (function,) in self._catalogue(PUBLIC_DEFINERS)]
        database = self._database()
        return postgresql_grants(database, found, role=role or ROLE, definers=definers)

    def close(self) -> None:
        """Close the connection. May be called twice. A query that still runs fails."""
        waited = self._turn.acquire(timeout=CLOSE_SECONDS)
        try:
            self._closed = True
            if self._session is not None:
                self._session.close()
                self._session = None
        finally:
            if waited:
                self._turn.release()

    def _connected(self, seconds: float) -> Session:
        """A new connection. Raises ConnectError."""
        parameters, locked = _parameters(self.target), self.limits.busy_seconds
        try:
            return Session(parameters, lock_seconds=locked, seconds=seconds)
        except psycopg.Error as error:
            raise connect_error(str(error), _place(self.target)) from None
        except Failure as failure:
            raise connect_error(failure.report.message, _place(self.target)) from None

    @contextmanager
    def _ready_session(self, deadline: Deadline) -> Iterator[Session]:
        """The connection in a fresh transaction; afterwards it is cleaned, or closed."""
        if not self._turn.acquire(timeout=deadline.remaining()):
            raise deadline.error()
        session = None
        try:
            session = self._begun(deadline)
            yield session
        finally:
            try:
                if session is not None:
                    session.finish()
            finally:
                self._turn.release()

    def _begun(self, deadline: Deadline) -> Session:
        """A session in a transaction. Connects anew, once, where the old connection is gone.

        Nothing of the user's query has been sent by then, so that it can't run twice.
        """
        if self._closed:
            raise ConnectError("The database was closed.", hint="Open it again.")
        if self._session is not None and self._session.usable:
            try:
                return _begin(self._session, deadline)
            except ConnectionLost:  # the server went away since the last query
                self._session.close()
        self._session = self._connected(min(deadline.remaining(), CONNECT_SECONDS))
        return _begin(self._session, deadline)

    def _catalogue(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement of our own, not cut. Raises PlainsqlError."""
        deadline = Deadline(CATALOGUE_SECONDS)
        with self._ready_session(deadline) as session:
            try:
                return session.fetch(sql, parameters, deadline)
            except Failure as failure:
                raise statement_error(failure.report, sql, dict, deadline) from None

    def _optional(
        self, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]] | None:
        """The same within a quarter of a second, None where it fails."""
        deadline = Deadline(OPTIONAL_SECONDS)
        try:
            with self._ready_session(deadline) as session:
                return session.fetch(sql, parameters, deadline)
        except (Failure, PlainsqlError):
            return None

    def _database(self) -> str:
        return str(self._catalogue("SELECT current_database()")[0][0])


def _begin(session: Session, deadline: Deadline) -> Session:
    """`session` in a transaction. Raises ConnectionLost, QueryTimeout."""
    try:
        session.begin(deadline)
    except Failure as failure:
        session.finish()
        raise statement_error(failure.report, "", dict, deadline) from None
    except BaseException:
        session.finish()
        raise
    return session


def _names(session: Session) -> Names:
    """Tables and columns that the role may read, for a hint; {} when they can't be had."""
    from plainsql.schema.introspect_postgresql import COLUMN_NAMES

    names: dict[str, tuple[str, ...]] = {}
    deadline = Deadline(OPTIONAL_SECONDS)
    with suppress(Failure, PlainsqlError):  # only a hint is lost
        session.begin(deadline)
        for table, column in session.fetch(COLUMN_NAMES, (), deadline):
            names[table] = (*names.get(table, ()), column)
    return names


def _typed(batches: Iterator[Batch], sql: str, deadline: Deadline) -> Iterator[Batch]:
    """The batches; what fails in mid-query as errors of the tree."""
    try:
        yield from batches
    except Failure as failure:
        raise statement_error(failure.report, sql, dict, deadline) from None


def _check_letters(sql: str) -> None:
    """Raise DeniedError for what the server would read otherwise than the guard.

    The protocol ends a text at NUL: the guard would judge more than is run.
    """
    if "\x00" in sql:
        raise DeniedError("The statement has a NUL character in it.", hint="Leave it out.")
    try:
        sql.encode("utf-8")
    except UnicodeEncodeError:
        message = "The statement has characters in it that are no text (lone surrogates)."
        raise DeniedError(message, hint="Leave them out.") from None


def _parameters(target: Target) -> dict[str, Any]:
    """What the driver is given. What the URL lacks comes from PGHOST, PGPASSWORD, ~/.pgpass …"""
    given: dict[str, Any] = {
        "host": target.host,
        "port": target.port,
        "user": target.user,
        "password": target.password,
        "dbname": target.database,
        "application_name": "plainsql",
    }
    found = {name: value for name, value in given.items() if value not in ("", None)}
    return found | dict(target.options)


def _place(target: Target) -> Place:
    """Where `_parameters` lead to, with libpq's defaults for what is missing."""
    options = dict(target.options)
    user = target.user or os.environ.get("PGUSER", "") or "(the system's user)"
    return Place(
        host=target.host or options.get("host") or os.environ.get("PGHOST", "") or "this computer",
        port=target.port or int(options.get("port") or os.environ.get("PGPORT") or 5432),
        user=user,
        database=target.database or options.get("dbname") or os.environ.get("PGDATABASE") or user,
    )
