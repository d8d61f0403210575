"""One query through SQLAlchemy, in a thread that can be left behind.

Few drivers can be told to stop, and some wait for the server whatever happens.
So the query runs in a thread of its own, which hands over its batches; whoever
waits for them goes away at the deadline, and the thread ends when it can.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any

import sqlalchemy

from plainsql.execution import sqlalchemy_dialects as dialects
from plainsql.execution.cells import plain_row
from plainsql.execution.limits import Batch, Deadline, batches
from plainsql.execution.sqlalchemy_errors import is_lost

_GRACE = 0.03  # past the deadline: the server may say so itself
_LEAVE_SECONDS = 0.05  # for a cancelled query to end
_ROLLBACK_SECONDS = 1.0
_LOOK_SECONDS = 0.05  # how often the thread looks whether anybody still waits
_EXPLAIN = re.compile(r"\s*explain\b", re.IGNORECASE)


class _Left(Exception):
    """Nobody waits for the rows any more."""


class RunningQuery:
    """The rows of `sql` as they come; `leave` it when they aren't needed any more.

    An empty `sql` only connects. Errors of the drivers are raised as they are.
    """

    def __init__(
        self, engine: sqlalchemy.Engine, sql: str, deadline: Deadline, most: int | None
    ) -> None:
        self._engine = engine
        self._sql = sql
        self._deadline = deadline
        self._most = most
        # A tuple of names, then batches, then None; or an error instead of any.
        self._parts: Queue[Any] = Queue(maxsize=2)
        self._left = threading.Event()
        self._finished = False  # nothing is on its way any more: the connection can go on
        self._sent = False
        self._raw: Any = None
        self._number: Any = None
        self._thread = threading.Thread(target=self._work, name="query", daemon=True)
        self._thread.start()

    def columns(self) -> tuple[str, ...]:
        """The names of the columns. Raises QueryTimeout and the driver's errors."""
        names: tuple[str, ...] = self._next()
        return names

    def batches(self) -> Iterator[Batch]:
        """The rows. Raises QueryTimeout and the driver's errors."""
        while (batch := self._next()) is not None:
            yield batch

    def leave(self) -> None:
        """Stop what still runs, as far as the driver can, without waiting for it."""
        self._left.set()
        with suppress(Empty):
            while True:  # make room: the thread may wait for it
                self._parts.get_nowait()
        self._thread.join(_ROLLBACK_SECONDS if self._finished else _LOOK_SECONDS / 50)
        if self._thread.is_alive() and not self._finished:
            killer = threading.Thread(target=self._stop, daemon=True)
            killer.start()
            self._thread.join(_LEAVE_SECONDS)

    def _next(self) -> Any:
        try:
            part = self._parts.get(timeout=self._deadline.remaining() + _GRACE)
        except Empty:
            raise self._deadline.error() from None
        if isinstance(part, BaseException):
            raise part
        return part

    def _hand_over(self, part: Any) -> None:
        """Wait until there is room for it. Raises _Left when nobody waits any more."""
        while not self._left.is_set():
            with suppress(Full):
                self._parts.put(part, timeout=_LOOK_SECONDS)
                return
        raise _Left

    def _work(self) -> None:
        try:
            try:
                self._connect_and_read()
            except Exception as error:  # also what SQLAlchemy doesn't know as the driver's
                if self._sent or isinstance(error, _Left) or not is_lost(error):
                    raise
                self._connect_and_read()  # it was lost while nobody used it
        except _Left:
            return
        except BaseException as error:  # raised where somebody waits for rows
            with suppress(_Left):
                self._hand_over(error)

    def _connect_and_read(self) -> None:
        with self._engine.connect() as connection:
            self._read(connection)

    def _read(self, connection: sqlalchemy.Connection) -> None:
        try:
            self._raw = connection.connection.dbapi_connection
            self._number = _number_of(connection, self._engine.dialect.name)
            if self._sql:
                self._run(connection)
            self._finished = True
            self._hand_over(None if self._sql else ())
        except sqlalchemy.exc.DBAPIError as error:
            self._finished = not is_lost(error) and not self._left.is_set()
            raise
        finally:
            raw, self._raw = self._raw, None
            if self._finished:
                connection.rollback()
            else:  # rows may be on their way in it
                _forget_rows(raw)
                connection.invalidate()

    def _run(self, connection: sqlalchemy.Connection) -> None:
        for statement in dialects.before(self._engine.dialect.name, self._deadline, self._most):
            connection.exec_driver_sql(statement)
        # A server's cursor holds queries only; a plan is as short as it gets.
        connection.execution_options(
            stream_results=not _EXPLAIN.match(self._sql), max_row_buffer=1000, no_parameters=True
        )
        self._sent = True
        result = connection.exec_driver_sql(self._sql)
        if not result.returns_rows:
            raise sqlalchemy.exc.ResourceClosedError("the statement has no result")
        self._hand_over(tuple(result.keys()))
        for batch in batches(lambda count: list(result.fetchmany(count)), self._deadline):
            self._hand_over([plain_row(row) for row in batch])
        result.close()

    def _stop(self) -> None:
        """Tell the server, then the driver, then close the socket."""
        raw = self._raw
        for act in (self._kill, _cancel, _cut):
            if raw is None or not self._thread.is_alive():
                return
            with suppress(Exception):  # drivers raise all sorts of errors here
                act(raw)
            self._thread.join(_LOOK_SECONDS)

    def _kill(self, _: Any) -> None:
        statements = dialects.kill(self._engine.dialect.name)
        if statements is not None and self._number is not None:
            with self._engine.connect() as other:
                other.exec_driver_sql(statements[1].format(number=int(self._number)))


def _number_of(connection: sqlalchemy.Connection, backend: str) -> Any:
    """What another connection calls this one; asked for once."""
    statements = dialects.kill(backend)
    if statements is None:
        return None
    if "plainsql" not in connection.info:
        connection.info["plainsql"] = connection.exec_driver_sql(statements[0]).scalar()
        connection.rollback()
    return connection.info["plainsql"]


def _cancel(raw: Any) -> None:
    """sqlite3 has `interrupt`, psycopg, oracledb and others have `cancel`."""
    for name in ("interrupt", "cancel"):
        act = getattr(raw, name, None)
        if callable(act):
            act()


def _forget_rows(raw: Any) -> None:
    """Keep PyMySQL from reading the rest of a result, however long, before it closes."""
    result: Any = getattr(raw, "_result", None)
    if getattr(result, "unbuffered_active", False):
        result.unbuffered_active = False


def _cut(raw: Any) -> None:
    """Wake a driver written in Python that waits for its socket."""
    for name in ("_usock", "_sock", "sock"):
        found = getattr(raw, name, None)
        if isinstance(found, socket.socket):
            found.shutdown(socket.SHUT_RDWR)
