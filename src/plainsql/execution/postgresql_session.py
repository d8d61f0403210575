"""One connection to PostgreSQL: a statement at a time, watched while it runs.

    begin ─ BEGIN READ ONLY, timeouts ─▶ rows ─ chunks ─▶ … ─▶ finish ─ ROLLBACK, RESET, unlock

The statement goes through the extended protocol, which takes one statement and
no more. Rows come in chunks as the server makes them; while they come, this
side waits for the socket itself instead of leaving it to the driver, because it
has to look at the clock, at the bytes and at the size of the row to come.
"""

from __future__ import annotations

import math
import selectors
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.abc import Transformer as Loaded
from psycopg.adapt import Transformer
from psycopg.pq.abc import PGresult

from plainsql.errors import PlainsqlError
from plainsql.execution.cells import plain_row
from plainsql.execution.limits import Batch, Deadline
from plainsql.execution.postgresql_errors import Report, too_wide
from plainsql.execution.postgresql_memory import Memory, TooMuch, bytes_waiting
from plainsql.execution.postgresql_types import (
    RECORD,
    Context,
    adapters,
    array_oids,
    register_array,
    register_record,
)

# Rows that the driver hands over at a time: they are in memory together, as is what
# became of them. 1,000,000 rows take 5.2 s one by one, 1.2 s by 16, 0.9 s by 128.
CHUNK_ROWS = 16
MAX_CHUNK_BYTES = 64_000_000  # of a chunk as the server sends it
MAX_ROW_BYTES = 32_000_000  # of one row
GRACE_SECONDS = 0.05  # past the deadline, for the server to stop by itself
LOOK_SECONDS = 0.1  # between two looks at a silent socket
CANCEL_SECONDS = 0.2  # for a cancellation to be sent, and again for it to work
OVERDUE_SECONDS = 0.05  # the same past the deadline, when the server was already told to stop
CLEAN_SECONDS = 1.0  # for cleaning the session: one round trip

# Settings that fix how the server reads statements and writes values, and its own
# limits. RESET ALL goes back to these: they are part of the connection's start.
SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": "30s",  # each query sets its own; this is for what goes wrong
    "idle_in_transaction_session_timeout": "10s",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_min_messages": "error",
}
# What a session keeps beyond ROLLBACK, in one round trip: the parts of DISCARD ALL,
# which itself may stand in no string with other statements.
_CLEAN = (
    "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; "
    "UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; "
    "DISCARD SEQUENCES"
)
_DESCRIBE = (
    "SELECT current_setting('server_encoding'), current_setting('TimeZone'), "
    "current_setting('default_transaction_read_only'), "
    "ARRAY(SELECT quote_ident(s) FROM unnest(current_schemas(false)) AS s), "
    "current_database()"
)
# Types that the database defines itself: arrays of enums and the like, and records.
_USER_ARRAYS = """
    SELECT a.typname, e.oid, a.oid, e.typdelim FROM pg_catalog.pg_type AS a
    JOIN pg_catalog.pg_type AS e ON e.oid = a.typelem
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = e.typrelid
    WHERE a.typcategory = 'A' AND a.oid >= 16384 AND coalesce(c.relkind, 'c') = 'c' LIMIT 1000
"""
_USER_RECORDS = """
    SELECT c.reltype, array_agg(a.attname::text ORDER BY a.attnum),
        array_agg(a.atttypid::int8 ORDER BY a.attnum)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relkind = 'c' AND a.attnum > 0 AND NOT a.attisdropped AND c.oid >= 16384
    GROUP BY c.reltype LIMIT 1000
"""
_ROWS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.SINGLE_TUPLE)
_BROKEN = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
_NO_QUERY = Report("25006", "it is no query, it has no columns")


class Failure(Exception):
    """What went wrong on the server or on the way to it, before it is put into words."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.message)
        self.report = report

    @property
    def lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return not self.report.state or self.report.state.startswith(("08", "57P"))


class Session:
    """One connection and the statement it works on. Not for two threads at once."""

    def __init__(
        self, parameters: Mapping[str, Any], *, lock_seconds: float, seconds: float
    ) -> None:
        """Connect within `seconds` (2 at least, by libpq). Raises psycopg.Error, Failure."""
        settings = SETTINGS | {"lock_timeout": f"{int(lock_seconds * 1000)}ms"}
        self._connection = psycopg.connect(
            **{"connect_timeout": max(2, math.ceil(seconds))} | dict(parameters), autocommit=True,
            client_encoding="utf8", options=_as_options(settings), prepare_threshold=None,
        )  # fmt: skip
        self._server = self._connection.pgconn
        self._context = Context(self._connection, adapters())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server.socket, selectors.EVENT_READ)
        self._memory = Memory()
        self._settings = ""
        self._deadline = Deadline(CLEAN_SECONDS)
        self._clean = True  # nothing has happened since the connection was made or cleaned
        try:
            self._describe(settings)
        except BaseException:
            self.close()
            raise

    def _describe(self, settings: Mapping[str, str]) -> None:
        """Learn the encoding, the time zone, the schemas that bare names are looked up in."""
        deadline = Deadline(10.0)
        self.begin(deadline)
        ((encoding, zone, read_only, path, self.database),) = self.fetch(_DESCRIBE, (), deadline)
        is_unknown = encoding == "SQL_ASCII"
        self._context = Context(self._connection, adapters(lenient=is_unknown))
        for name, element, oid, delimiter in self.fetch(_USER_ARRAYS, (), deadline):
            register_array(self._context, name, element, oid, delimiter)
        records = self.fetch(_USER_RECORDS, (), deadline)
        for oid, names, oids in records:
            register_record(self._context, oid, tuple(zip(names, oids, strict=True)))
        self._nested = array_oids(self._context.adapters) | {RECORD, *(oid for oid, *_ in records)}
        fixed = {} if read_only == "on" else dict(settings)  # a pooler dropped the options
        if is_unknown:  # else the server refuses to send what isn't UTF-8
            fixed["client_encoding"] = encoding
        fixed["TimeZone"] = zone  # that of server, database, role or PGTZ
        self._settings = "".join(f"; SET LOCAL {k} = {_literal(v)}" for k, v in fixed.items())
        # Last: a temporary table must not hide a real one (CVE-2007-2138).
        self._settings += f"; SET LOCAL search_path = {', '.join([*path, 'pg_temp'])}"
        self.finish()

    def begin(self, deadline: Deadline) -> None:
        """Open a read-only transaction whose statements end at the deadline. Raises Failure."""
        milliseconds = max(1, math.ceil(deadline.remaining() * 1000))
        self._clean, self._deadline = False, deadline
        text = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}{self._settings}"
        self._command(text, deadline)

    def rows(self, sql: str, deadline: Deadline) -> tuple[tuple[str, ...], Iterator[Batch]]:
        """Send one statement; its columns, and its rows in batches as they come.

        `begin` comes before, `finish` after, also after an error. Raises Failure,
        QueryTimeout, ResourceLimit, now and while the batches are read.
        """
        self._prepare(sql, deadline)
        self._send(lambda: self._server.send_query_prepared(b"", None), deadline)
        self._server.set_chunked_rows_mode(CHUNK_ROWS)
        first = self._result(deadline)
        if first is None or first.status not in _ROWS:
            raise Failure(_NO_QUERY)
        values = Transformer(self._context)
        values.set_pgresult(first)
        names = tuple(
            (first.fname(i) or b"").decode("utf-8", "replace") for i in range(first.nfields)
        )
        return names, self._batches(values, first, deadline)

    def _prepare(self, sql: str, deadline: Deadline) -> None:
        """Have the statement parsed, and refuse it unless it has columns: before it runs.

        A read-only transaction lets COPY write files of the server (for those who may),
        and COMMIT end it. Neither has columns.
        """
        self._send(lambda: self._server.send_prepare(b"", sql.encode()), deadline)
        self._finish_result(deadline)
        self._send(lambda: self._server.send_describe_prepared(b""), deadline)
        described = self._finish_result(deadline)
        if described is None or described.nfields == 0:
            raise Failure(_NO_QUERY)

    def fetch(
        self, sql: str, parameters: Sequence[object], deadline: Deadline
    ) -> list[tuple[Any, ...]]:
        """All rows of a statement of our own, with $1, $2, … for its parameters."""
        given = [None if p is None else str(p).encode() for p in parameters]
        self._send(lambda: self._server.send_query_params(sql.encode(), given), deadline)
        self._server.set_chunked_rows_mode(CHUNK_ROWS)
        values = Transformer(self._context)
        found: list[tuple[Any, ...]] = []
        while (result := self._result(deadline)) is not None:
            values.set_pgresult(result)
            found += values.load_rows(0, result.ntuples, tuple)
        return found

    def finish(self) -> None:
        """End the transaction and clean the session, whatever a statement left in it.

        A statement that still runs is cancelled. Where that doesn't work soon, the
        connection is closed. Raises nothing: a broken connection says so by `usable`.
        """
        if self._clean:
            return
        self._clean = True
        try:
            if self._server.transaction_status == pq.TransactionStatus.ACTIVE:
                self._cancel()
            self._command(_CLEAN, Deadline(CLEAN_SECONDS))
        except (Failure, PlainsqlError, psycopg.Error):
            self.close()

    @property
    def usable(self) -> bool:
        """Whether another statement may be sent."""
        status = self._server.transaction_status
        return not self._connection.closed and status == pq.TransactionStatus.IDLE

    def close(self) -> None:
        """Close the connection: the server ends what it does for it at its next step."""
        self._selector.close()
        self._memory.close()
        self._connection.close()

    def _batches(self, values: Loaded, result: PGresult, deadline: Deadline) -> Iterator[Batch]:
        is_nested = not self._nested.isdisjoint(result.ftype(i) for i in range(result.nfields))
        following: PGresult | None = result
        while following is not None:
            values.set_pgresult(following, set_loaders=False)
            batch = values.load_rows(0, following.ntuples, tuple)
            if batch:
                yield [plain_row(row) for row in batch] if is_nested else batch
            following = self._result(deadline)

    def _command(self, text: str, deadline: Deadline) -> None:
        """Run our own statements, which have no parameters; their results don't matter."""
        self._send(lambda: self._server.send_query(text.encode()), deadline)
        self._finish_result(deadline)

    def _finish_result(self, deadline: Deadline) -> PGresult | None:
        """Read to the end of what was sent; the last result. Raises as `_result`."""
        last = None
        while (result := self._result(deadline)) is not None:
            last = result
        return last

    def _send(self, send: Callable[[], None], deadline: Deadline) -> None:
        try:
            send()
            while self._server.flush():
                self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE, deadline)
                self._server.consume_input()
        except psycopg.OperationalError as error:
            raise Failure(Report("", str(error))) from None

    def _result(self, deadline: Deadline) -> PGresult | None:
        """The next result, None after the last. Raises Failure, QueryTimeout, ResourceLimit."""
        try:
            self._receive(deadline)
            if self._connection.closed:  # by another thread: libpq would call it the end
                raise Failure(Report("", "it was closed"))
            result = self._server.get_result()
        except psycopg.OperationalError as error:
            raise Failure(Report("", str(error))) from None
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise Failure(_report(result))
        if result is not None and result.status in _BROKEN:
            self.close()
            raise Failure(_NO_QUERY)
        return result

    def _receive(self, deadline: Deadline) -> None:
        """Read until a result is complete: a chunk of rows, the end, an error."""
        received = 0
        while self._busy():
            self._wait(selectors.EVENT_READ, deadline)
            received += bytes_waiting(self._server.socket)
            if received > MAX_CHUNK_BYTES:
                raise too_wide(MAX_CHUNK_BYTES // CHUNK_ROWS)
            self._server.consume_input()

    def _busy(self) -> bool:
        """Whether a result isn't complete. Raises ResourceLimit for a row too large to read."""
        try:
            return bool(self._memory.watched(self._server.is_busy, MAX_ROW_BYTES))
        except TooMuch:
            self.close()  # the rest of the row must not be read, nor the buffer kept
            raise too_wide(MAX_ROW_BYTES) from None

    def _wait(self, events: int, deadline: Deadline) -> None:
        """Wait a little for the socket; past the deadline and a moment, raise QueryTimeout.

        Only a little, since with TLS the last bytes may have been read from the socket
        already, and wait inside the library to be asked for.
        """
        if events != selectors.EVENT_READ:
            self._selector.modify(self._server.socket, events)
        left = min(deadline.remaining(), LOOK_SECONDS)
        try:
            if not self._selector.select(left or GRACE_SECONDS) and not left:
                raise deadline.error()
        finally:
            if events != selectors.EVENT_READ:
                self._selector.modify(self._server.socket, selectors.EVENT_READ)

    def _cancel(self) -> None:
        """Ask the server to stop, and read what it sent until then."""
        patience = OVERDUE_SECONDS if self._deadline.passed() else CANCEL_SECONDS
        self._connection.cancel_safe(timeout=patience)
        end = Deadline(patience)
        while True:
            try:
                if self._result(end) is None:
                    return
            except Failure as failure:  # that it was cancelled is what we want to hear
                broken = self._server.status == pq.ConnStatus.BAD
                if failure.lost or broken or end.passed():
                    raise


def _as_options(settings: Mapping[str, str]) -> str:
    """Settings as libpq's `options`, where spaces and backslashes need a backslash."""
    return " ".join(f"-c {k}={v.replace(' ', chr(92) + ' ')}" for k, v in settings.items())


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _report(result: PGresult) -> Report:
    """The fields of an error as the server sent it."""
    fields = pq.DiagnosticField

    def field(which: pq.DiagnosticField) -> str:
        return (result.error_field(which) or b"").decode("utf-8", "replace")

    position = field(fields.STATEMENT_POSITION)
    return Report(
        field(fields.SQLSTATE),
        field(fields.MESSAGE_PRIMARY) or result.error_message.decode("utf-8", "replace"),
        field(fields.MESSAGE_HINT),
        int(position) if position.isdigit() else None,
    )
