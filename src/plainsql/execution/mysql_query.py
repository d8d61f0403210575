"""One query on a connection of MySQL's, and what ends it at its deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pymysql

from plainsql.errors import ExecutionError, ResourceLimit
from plainsql.execution import mysql_errors, mysql_values
from plainsql.execution.limits import Batch, Deadline
from plainsql.execution.mysql_link import Link

if TYPE_CHECKING:
    from pymysql.cursors import SSCursor

# RuntimeError: a server that asks for a file of ours; the others: damaged packets.
ERRORS = (pymysql.Error, RuntimeError, OSError, UnicodeError, AssertionError, MemoryError)
KILL_AFTER = 0.03  # past the deadline: the server should have stopped by then
CUT_AFTER = 0.1  # past that: nobody answers any more
_BATCH_BYTES = 1_000_000  # rows of which are read on without looking back
_ROW_BYTES = 64_000_000


class Query:
    """One query on a connection, from the first byte sent to the last row."""

    def __init__(
        self,
        link: Link,
        sql: str,
        most: int | None,
        explained: Callable[[BaseException], Exception],
    ) -> None:
        self.columns: tuple[str, ...] = ()
        self._link = link
        self._sql = sql
        self._most = most
        self._explained = explained
        self._taken = 0
        self._flags: list[int] = []
        self._cursor: SSCursor | None = None
        self._failed = False
        self.lost = False  # there is nothing on the server any more that could be killed

    def start(self) -> None:
        """Send the query and read the names of its columns."""
        with self._errors():
            self._cursor = self._link.opened(self._sql)
            description = self._cursor.description
            if not description:
                raise ExecutionError("The statement has no result.", hint="Write a SELECT.")
            self.columns = tuple(column[0] for column in description)
            self._flags = mysql_values.flags(description)

    def fetch(self, count: int) -> Batch:
        """The next `count` rows at most, as cells."""
        assert self._cursor is not None
        read, link = self._cursor.read_next, self._link
        rows: Batch = []
        link.count_from_here(_ROW_BYTES)
        with self._errors():
            while len(rows) < count and link.received < _BATCH_BYTES:
                row = read()
                if row is None:
                    self._check_warnings()
                    break
                rows.append(row)
        self._taken += len(rows)
        return mysql_values.with_flags(rows, self._flags) if self._flags and rows else rows

    def _check_warnings(self) -> None:
        """Raise ResourceLimit where the server made a result wrong and only says so beside it."""
        assert self._cursor is not None
        self._cursor.fetchone()  # at the end it is this that counts them
        if self._cursor.warning_count:
            found = self._link.rows_of("SHOW WARNINGS LIMIT 50")
            mysql_errors.check_warnings(found, self._sql)

    def is_finished(self) -> bool:
        """Whether nothing of it is left on the way, so that the connection can go on."""
        if self._failed:
            return False
        if self._link.is_reading and self._most is not None and self._taken >= self._most:
            with suppress(*ERRORS, Exception):
                self.fetch(1)  # the server has stopped here: only the end mark is left
        return self._link.open and not self._link.is_reading

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ResourceLimit:
            self._failed = self._link.is_reading
            raise
        except ERRORS as error:
            # An error of the server ends a result; one of the driver leaves it half read.
            self._failed = not isinstance(error, pymysql.MySQLError) or self._link.is_reading
            self.lost = mysql_errors.is_lost(error)
            raise self._explained(error) from error


class Overdue:
    """Acts when a deadline is passed, from a thread of its own: first `kill`, then `cut`."""

    def __init__(
        self, deadline: Deadline, kill: Callable[[], None], cut: Callable[[], None]
    ) -> None:
        self.acted = False
        self._kill = kill
        self._cut = cut
        self._done = threading.Event()
        self._timer = threading.Timer(deadline.remaining() + KILL_AFTER, self._act)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """The query has ended. After this nothing is done any more."""
        self._done.set()
        self._timer.cancel()
        if self.acted:
            self._timer.join()

    def _act(self) -> None:
        if self._done.is_set():
            return
        self.acted = True
        self._kill()
        if not self._done.wait(CUT_AFTER):
            self._cut()
