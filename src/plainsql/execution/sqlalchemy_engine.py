"""Any database SQLAlchemy has a dialect for: the guard and the limits, and little else.

Best effort: a transaction that is rolled back, read-only where the dialect has
such a thing; a deadline that holds because each query runs in a thread of its
own, which is left behind where its driver can't be stopped. What the engines of
our own do beside that is absent here, and `protections` says so.
https://docs.sqlalchemy.org/en/20/core/connections.html
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from plainsql.errors import ConnectError, ConnectionLost, ExecutionError, MissingExtra, UsageError
from plainsql.execution.base import Protection, RowStream, rows_of
from plainsql.execution.limits import Deadline, Limits, check_text
from plainsql.execution.targets import Target, parse_target
from plainsql.records import Rows

try:
    import sqlalchemy
except ImportError as error:
    raise MissingExtra("Databases through SQLAlchemy", "sqlalchemy") from error

from plainsql.execution import sqlalchemy_dialects as dialects
from plainsql.execution import sqlalchemy_errors as errors
from plainsql.execution.sqlalchemy_query import RunningQuery

if TYPE_CHECKING:
    from plainsql.execution.nearest_names import Names
    from plainsql.schema.introspect_common import RawTable
    from plainsql.schema.model import Schema

CONNECT_SECONDS = 20.0
CATALOGUE_SECONDS = 120.0
SAMPLE_SECONDS = 0.5  # for the samples of one table

# The pool would log a traceback for each failed statement whose cursor can't be closed.
_LOGGING_NAME = "plainsql"
logging.getLogger(f"sqlalchemy.pool.impl.QueuePool.{_LOGGING_NAME}").setLevel(logging.CRITICAL)


class SQLAlchemyEngine:
    """One database behind an SQLAlchemy URL. Close it, or use it in `with`.

    `tables` is the guard's alone to enforce. Raises UsageError for databases
    whose SQL the guard can't judge, MissingExtra without the driver, ConnectError.
    """

    def __init__(
        self,
        target: Target | str | os.PathLike[str],
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.target = target if isinstance(target, Target) else parse_target(target)
        self.name = self.target.name
        self.limits = limits or Limits()
        self._names: Names = {}
        self._turn = threading.Lock()
        self._closed = False
        self._engine = _made(self.target)
        self._backend = self._engine.dialect.name
        self.dialect = dialects.sqlglot_name(self._backend)
        self._try_it()

    def __enter__(self) -> SQLAlchemyEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def introspect(self) -> Schema:
        """Tables, columns and keys, as SQLAlchemy's inspector finds them.

        Raises ConnectError, SchemaError, ExecutionError.
        """
        from sqlalchemy.engine.reflection import ObjectKind

        from plainsql.schema.introspect_sqlalchemy import inspected_schema

        try:
            with warnings.catch_warnings():  # types that SQLAlchemy doesn't know are OTHER
                warnings.simplefilter("ignore", sqlalchemy.exc.SAWarning)
                schema = inspected_schema(
                    self.target.database or self._backend,
                    self.dialect,
                    sqlalchemy.inspect(self._engine),
                    ObjectKind.ANY,
                    self._sample if dialects.may_sample(self._backend) else None,
                )
        except errors.ERRORS as error:
            raise errors.explained(error, {}, self.name) from error
        self._names = {t.name: tuple(c.name for c in t.columns) for t in schema.tables}
        return schema

    def explain(self, sql: str) -> str:
        """The engine's own plan as text. Raises ExecutionError where it has no EXPLAIN."""
        prefix = dialects.explain_prefix(self._backend)
        if not prefix:
            raise ExecutionError(f"Plans of {self._backend} can't be shown.", hint="Run the query.")
        rows = self.run(f"{prefix} {sql}").rows
        return "\n".join("  ".join(str(cell) for cell in row if cell is not None) for row in rows)

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds, `limits.result_bytes`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError, DeniedError
        (by the server), ConnectionLost, ConnectError.
        """
        return rows_of(self._streamed(sql, timeout, limit + 1), limit, self.limits)

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """All rows of one query as they come; `run` says what is raised.

        Other calls wait until the context is left.
        """
        return self._streamed(sql, timeout, None)

    def protections(self) -> tuple[Protection, ...]:
        """What there is beside the guard, which is little."""
        read_only = dialects.is_read_only(self._backend)
        return (
            Protection(
                "engine hardening",
                False,
                f"through SQLAlchemy ({self._engine.driver}) the guard and the limits alone"
                " protect this database: connect as a user who may only SELECT",
            ),
            Protection(
                "read-only transactions",
                read_only,
                "and always rolled back" if read_only else f"{self._backend} has none here",
            ),
            Protection("deadline", True, "the query is cancelled, else left behind"),
            Protection("table scope", False, "the guard's, and that of the user's grants"),
            Protection("memory limit", False, "a cell comes as large as the driver takes it"),
        )

    def close(self) -> None:
        """Close all connections. May be called twice."""
        with self._turn:
            self._closed = True
            self._engine.dispose()

    def _try_it(self) -> None:
        """Raise ConnectError unless a connection can be made."""
        deadline = Deadline(CONNECT_SECONDS)
        query = RunningQuery(self._engine, "", deadline, None)
        try:
            query.columns()
        except errors.ERRORS as error:
            self._engine.dispose()
            raise errors.connect_error(error, self.name) from None
        except ExecutionError:
            self._engine.dispose()
            raise ConnectError(
                f"The server of {self.name} did not answer in time.",
                hint="Check the host and the port.",
            ) from None
        finally:
            query.leave()

    @contextmanager
    def _using(self, deadline: Deadline) -> Iterator[None]:
        """For one caller at a time."""
        if not self._turn.acquire(timeout=deadline.remaining()):
            raise deadline.error()
        try:
            if self._closed:
                raise ConnectError("The database was closed.", hint="Open it again.")
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _streamed(self, sql: str, timeout: float, most: int | None) -> Iterator[RowStream]:
        """The rows of `sql`; where the server can be told, it sends about `most`."""
        check_text(sql, self.limits)
        deadline = Deadline(timeout)
        with self._using(deadline):
            query = RunningQuery(self._engine, sql, deadline, most)
            try:
                with self._explained(deadline):
                    columns = query.columns()
                yield RowStream(columns, self._batches(query, deadline), deadline)
            finally:
                query.leave()

    def _batches(self, query: RunningQuery, deadline: Deadline) -> Iterator[list[tuple[Any, ...]]]:
        with self._explained(deadline):
            yield from query.batches()

    @contextmanager
    def _explained(self, deadline: Deadline) -> Iterator[None]:
        """The driver's errors as ours."""
        try:
            yield
        except errors.ERRORS as error:
            if deadline.passed():
                raise deadline.error() from error
            raise errors.explained(error, self._names, self.name) from error

    def _sample(self, table: RawTable, count: int) -> Sequence[tuple[Any, ...]] | None:
        """The first rows of a table, None where they can't be had soon."""
        columns: list[Any] = [sqlalchemy.column(column.name) for column in table.columns]
        place = sqlalchemy.table(table.name, *columns, schema=table.namespace or None)
        query = sqlalchemy.select(*place.c).select_from(place).limit(count)
        text = query.compile(self._engine, compile_kwargs={"literal_binds": True})
        try:
            return self.run(str(text), limit=count, timeout=SAMPLE_SECONDS).rows
        except (ExecutionError, ConnectionLost):
            return None


def _made(target: Target) -> sqlalchemy.Engine:
    """The engine of SQLAlchemy for a URL. Raises UsageError, MissingExtra."""
    scheme = target.scheme or target.url.partition(":")[0]
    try:
        url = sqlalchemy.make_url(target.url)
        made = sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.pool.QueuePool,
            pool_size=1,
            max_overflow=-1,  # connections that were left behind are still counted
            pool_pre_ping=True,
            pool_reset_on_return="rollback",
            pool_logging_name=_LOGGING_NAME,
            hide_parameters=True,
        )
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise dialects.missing_driver(scheme) from error
    except ImportError as error:
        raise dialects.missing_driver(scheme, getattr(error, "name", None)) from error
    except (sqlalchemy.exc.ArgumentError, TypeError, ValueError):
        message = f"SQLAlchemy can't read the URL of this {scheme} database."
        raise UsageError(message, hint="See the documentation of its dialect.") from None
    if made.dialect.is_async:
        raise UsageError(
            f"{scheme} is an asynchronous driver.", hint="Name a synchronous one in the URL."
        )
    return made
