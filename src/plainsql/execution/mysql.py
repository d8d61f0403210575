"""MySQL and MariaDB as an engine: read-only sessions with limits of the server's own.

Several things hold, each without the others: the session and each transaction
are read-only; a statement that doesn't begin as a query isn't sent
(`mysql_statement`); a call is one statement; no file of this computer is sent
to the server; the server ends a statement at its deadline, and so does a second
connection (KILL QUERY); the session is set anew before each query and reset
after it. A user who may only SELECT is the best protection (`grants`).
https://mariadb.com/kb/en/start-transaction/
https://dev.mysql.com/doc/refman/8.4/en/load-data-local-security.html
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from plainsql.errors import ConnectError, ExecutionError, MissingExtra
from plainsql.execution.base import Protection, RowStream, rows_of
from plainsql.execution.limits import Deadline, Limits, batches, check_text
from plainsql.execution.mysql_statement import check_statement
from plainsql.records import Rows

try:
    import pymysql  # noqa: F401 (the modules below need it)
except ImportError as error:
    raise MissingExtra("MySQL and MariaDB databases", "mysql") from error

from plainsql.execution import mysql_errors, mysql_link, mysql_session
from plainsql.execution.mysql_link import Link
from plainsql.execution.mysql_query import CUT_AFTER, ERRORS, KILL_AFTER, Overdue, Query
from plainsql.execution.targets import Target, parse_target

if TYPE_CHECKING:
    from plainsql.execution.nearest_names import Names
    from plainsql.schema.model import Schema

_RESET_SECONDS = 1.0
_INTROSPECTION_SECONDS = 60.0
_STATEMENT_SECONDS = 0.5  # for one optional statement of it
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
    "AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') ORDER BY table_name"
)
_NAMES = (
    "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position LIMIT 20000"
)


class MySQLEngine:
    """One database of a MySQL or MariaDB server. Close it, or use it in `with`.

    `tables` can't be enforced here, only by the guard and by the user's grants;
    errors suggest no other names.
    Raises ConnectError when the server can't be used, MissingExtra without PyMySQL.
    """

    dialect = "mysql"

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
        self._tables = tables
        self._login = mysql_link.login_of(self.target)
        self._turn = threading.Lock()
        self._closed = False
        self._link: Link | None = None
        link = self._connected()
        self._tls = link.is_tls
        try:
            self._able = mysql_session.abilities(link)
        except ERRORS as error:
            link.drop()
            raise mysql_errors.connect_error(error, self.name) from error
        self._link = link

    def __enter__(self) -> MySQLEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def introspect(self) -> Schema:
        """Tables, columns and keys of the database. Raises ConnectError, SchemaError."""
        from plainsql.schema.introspect_mysql import mysql_schema

        name = self.target.database or self.target.host
        return mysql_schema(name, self.catalogue, self._catalogue_or_none)

    def catalogue(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement of our own. Raises what `run` raises."""
        return self._own(sql, parameters, _INTROSPECTION_SECONDS)

    def explain(self, sql: str) -> str:
        """The server's plan: a line for each table, indented below the query it is in."""
        check_statement(sql)
        rows = self.run(f"EXPLAIN {sql}")
        if len(rows.columns) == 1:  # MySQL, where explain_format is TREE or JSON
            return "\n".join(str(line) for (line,) in rows.rows)
        named = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        return "\n".join(_plan_line(row) for row in named)

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds, `limits.result_bytes`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError (with the
        nearest real names), DeniedError (by the server), ConnectError.
        """
        return rows_of(self._streamed(sql, timeout, limit + 1), limit, self.limits)

    def stream(self, sql: str, *, timeout: float = 10.0) -> AbstractContextManager[RowStream]:
        """All rows of one query as they come; `run` says what is raised.

        Other calls wait until the context is left.
        """
        return self._streamed(sql, timeout, None)

    def grant_sql(self, tables: frozenset[str] | None = None, *, role: str = "") -> str:
        """SQL that makes a user with the least rights, over `tables` or all there are.

        `tables` are named as in the schema. Raises ConnectError.
        """
        from plainsql.execution.grants import ROLE, mysql_grants

        wanted = None if tables is None else {name.lower() for name in tables}
        found = [name for (name,) in self.catalogue(_TABLES)]
        chosen = [name for name in found if wanted is None or name.lower() in wanted]
        database = self.target.database
        return mysql_grants(database, chosen, mariadb=self._able.is_mariadb, user=role or ROLE)

    def protections(self) -> tuple[Protection, ...]:
        """What the server and the session keep a query from doing, and the user's rights."""
        from plainsql.execution.grants import examine_mysql_user

        able = self._able
        grants = [line for (line,) in self.catalogue("SHOW GRANTS")]
        return (
            Protection("read-only", True, "read-only session and transactions"),
            Protection("one statement, a query", True, "others are not sent"),
            Protection("no local files", True, "LOAD DATA LOCAL is off"),
            Protection(
                "deadline",
                True,
                f"{able.deadline or 'no variable of the server'}; KILL QUERY by another connection",
            ),
            Protection(
                "memory limit of the server",
                able.has("max_session_mem_used"),
                f"{mysql_session.MEMORY_BYTES / 1e6:g} MB a session"
                if able.has("max_session_mem_used")
                else "this server has none for a session",
            ),
            Protection("table scope", False, "the guard's, and that of the user's grants"),
            Protection("TLS", self._tls, f"ssl_mode={self._login.tls_mode}"),
            *examine_mysql_user(grants),
        )

    def interrupt(self) -> None:
        """Stop the running query, from another thread or a signal handler."""
        link = self._link
        if link is not None:
            self._kill(link)

    def close(self) -> None:
        """Close the connection. May be called twice."""
        with self._turn:
            self._closed = True
            self._forget(quietly=False)

    def _connected(self, seconds: float | None = None) -> Link:
        try:
            link = mysql_link.connect(self._login, seconds=seconds)
        except (*ERRORS, ValueError) as error:
            raise mysql_errors.connect_error(error, self.name) from error
        return link

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
        """The rows of `sql`; the server sends about `most`."""
        check_text(sql, self.limits)
        check_statement(sql)
        deadline = Deadline(timeout)
        with self._using(deadline), self._query(sql, deadline, most) as query:
            yield RowStream(query.columns, batches(query.fetch, deadline), deadline)

    @contextmanager
    def _query(self, sql: str, deadline: Deadline, most: int | None) -> Iterator[Query]:
        link = self._ready(deadline, most)
        overdue = Overdue(deadline, lambda: self._kill(link), link.cut)
        query = Query(link, sql, most, lambda error: self._error(error, sql, link, deadline))
        try:
            query.start()
            yield query
        finally:
            overdue.stop()
            intact = query.is_finished() and not overdue.acted
            self._tidy(link, intact, kill=not (query.lost or overdue.acted))

    def _ready(self, deadline: Deadline, most: int | None) -> Link:
        """A connection that is set for one query; a new one where the old one broke."""
        old, self._link = self._link, None
        if old is not None:
            try:
                return self._prepared(old, deadline, most)
            except ERRORS as error:
                old.drop()
                if deadline.passed() or not mysql_errors.is_lost(error):
                    raise self._error(error, "", None, deadline) from error
        if deadline.passed():
            raise deadline.error()
        link = self._connected(deadline.remaining())  # nothing of the query was sent yet
        try:
            return self._prepared(link, deadline, most)
        except ERRORS as error:
            link.drop()
            raise self._error(error, "", None, deadline) from error

    def _prepared(self, link: Link, deadline: Deadline, most: int | None) -> Link:
        seconds = deadline.remaining()
        link.wait_at_most(seconds + KILL_AFTER)
        link.rows_of(mysql_session.settings(self._able, self.limits, seconds, most))
        link.rows_of("START TRANSACTION READ ONLY")
        link.wait_at_most(None)  # the query has its deadline
        self._link = link
        return link

    def _tidy(self, link: Link, intact: bool, *, kill: bool) -> None:
        """Ready for the next query, or given up: what still runs on the server is killed.

        Also after Ctrl-C, which closes the connection: the server wouldn't notice.
        """
        if intact:
            link.wait_at_most(_RESET_SECONDS)
            with suppress(*ERRORS):
                link.reset()
                return
        elif kill:
            self._kill(link)
        self._forget()  # the next query makes a new one

    def _kill(self, link: Link) -> None:
        """End the statement that runs on `link`, by a connection of our own."""
        thread = threading.Thread(target=self._send_kill, args=(link.thread_id(),), daemon=True)
        thread.start()
        thread.join(CUT_AFTER)

    def _send_kill(self, number: int) -> None:
        # The server may be gone, have no connection left or be done with the query.
        with suppress(*ERRORS, ValueError):
            killer = mysql_link.connect(self._login, seconds=1.0)
            try:
                killer.rows_of(f"KILL QUERY {number:d}")
            finally:
                killer.close()

    def _forget(self, *, quietly: bool = True) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        if quietly:
            link.drop()
        else:
            with suppress(*ERRORS):
                link.close()

    def _error(
        self, error: BaseException, sql: str, link: Link | None, deadline: Deadline
    ) -> Exception:
        """An error of the driver as ours."""
        number = mysql_errors.number_of(error)
        if deadline.passed() or number in mysql_errors.TIMEOUTS:
            return deadline.error()
        if mysql_errors.is_lost(error) or isinstance(error, RuntimeError | AssertionError):
            return mysql_errors.lost_error(self.name)
        return mysql_errors.statement_error(error, sql, lambda: self._names(link))

    def _names(self, link: Link | None) -> Names:
        """Every table that may be read and its columns; {} where they can't be had."""
        names: dict[str, list[str]] = {}
        if link is not None and link.open and not link.is_reading:
            with suppress(*ERRORS):  # only a hint is lost
                for table, column in link.rows_of(_NAMES):
                    if self._tables is None or table in self._tables:
                        names.setdefault(table, []).append(column)
        return names

    def _own(self, sql: str, parameters: Any, seconds: float) -> list[tuple[Any, ...]]:
        """All rows of a statement of our own, within `seconds`."""
        deadline = Deadline(seconds)
        with self._using(deadline):
            link = self._ready(deadline, None)
            overdue = Overdue(deadline, lambda: self._kill(link), link.cut)
            intact, lost = False, False
            try:
                rows = link.rows_of(sql, parameters or None)
                intact = True
                return rows
            except ERRORS as error:
                lost = mysql_errors.is_lost(error)
                intact = not lost
                raise self._error(error, sql, link, deadline) from error
            finally:
                overdue.stop()
                kill = not (lost or overdue.acted)
                self._tidy(link, intact and not overdue.acted, kill=kill)

    def _catalogue_or_none(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]] | None:
        """The same for what can be done without: None where it fails or takes long."""
        try:
            return self._own(sql, parameters, _STATEMENT_SECONDS)
        except ExecutionError:
            return None


def _plan_line(row: dict[str, Any]) -> str:
    """One row of EXPLAIN, the same columns in MySQL and MariaDB, as a line."""
    depth = max(int(row.get("id") or 1) - 1, 0)
    parts = [str(row.get("select_type") or ""), str(row.get("table") or "")]
    for name in ("type", "key", "ref", "rows"):
        if row.get(name) is not None:
            parts.append(f"{name}={row[name]}")
    if row.get("Extra"):
        parts.append(f"({row['Extra']})")
    return "  " * depth + " ".join(part for part in parts if part)
