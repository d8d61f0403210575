"""The child process in which an embedded engine runs: python -m plainsql.execution.worker.

It reads requests from standard input and answers on standard output (see
`worker_wire`), one at a time, with as little address space as its engine needs.
It ends with its parent, whatever it is doing: the kernel signals the end of the
pipe, and its alarm clock rings past each deadline.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql.errors import PlainsqlError
from plainsql.execution.worker_wire import (
    HEADER,
    Frame,
    Payload,
    Work,
    batch_payloads,
    packed,
    packed_error,
)

if TYPE_CHECKING:
    from plainsql.execution.base import Engine, Protection
    from plainsql.execution.limits import Batch, Limits
    from plainsql.execution.worker_columns import Chunk

# Address space until the database is open, in bytes: reading large data files takes
# memory once. Afterwards it is what was mapped by then and Limits.memory_bytes more.
_OPENING_BYTES = {"sqlite": 1_000_000_000, "duckdb": 4_000_000_000, "files": 8_000_000_000}
_HEAP_BYTES = 256_000_000  # of the engine, where Limits doesn't say
_ROOM_BYTES = 192_000_000  # for rows on their way, and what an allocator leaves unused
_FILE_BYTES = 64_000_000  # of a file it may write: the index of a write-ahead log, no more
_SIGNALS = os.name == "posix"
if _SIGNALS:
    import fcntl
    import select

_SMALL = 4096  # bytes
_ALARM_SECONDS = 0.7  # past the deadline, when neither engine nor parent ended the query


class _Channel:
    """The two pipes; standard output is taken away from whoever prints."""

    def __init__(self) -> None:
        self._source = os.fdopen(os.dup(0), "rb", buffering=0)
        self._target = os.dup(1)
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def read(self) -> Any:
        """The next request. Raises EOFError when the parent is gone."""
        _, length = HEADER.unpack(self._exactly(HEADER.size))
        return pickle.loads(self._exactly(length))

    def write(self, kind: Frame, payload: Payload) -> None:
        header = HEADER.pack(kind, len(payload))
        if not _SIGNALS or len(payload) < _SMALL:
            rest = memoryview(header + bytes(payload))
        else:  # megabytes a second are not copied once more
            sent = os.writev(self._target, (header, payload))
            rest = memoryview(header)[sent:]
            self._write_all(rest)
            rest = memoryview(payload)[max(0, sent - len(header)) :]
        self._write_all(rest)

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[os.write(self._target, rest) :]

    def _exactly(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self._source.read(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts


class _Worker:
    """Answers requests about one open database."""

    def __init__(self, channel: _Channel, work: Work) -> None:
        self._channel = channel
        self._cancelled = False
        _limit("AS", _OPENING_BYTES[work.kind])
        _limit("CORE", 0)
        self._engine = _opened(work)
        self._limited = _limits_while_serving(work.limits)

    def serve(self) -> None:
        """Answer until the parent goes. Raises EOFError then."""
        if _SIGNALS:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, self._interrupted)
        notes = getattr(self._engine, "notes", ())
        protections = self._limited + self._engine.protections()
        self._channel.write(Frame.READY, packed((protections, notes)))
        while True:
            name, seconds, arguments = self._channel.read()
            self._cancelled = False
            _set_alarm(seconds + _ALARM_SECONDS)
            try:
                self._answer(name, seconds, arguments)
            except EOFError:
                raise
            except Exception as error:
                self._channel.write(Frame.ERROR, packed_error(error))
            finally:
                _set_alarm(0)

    def _answer(self, name: str, seconds: float, arguments: tuple[Any, ...]) -> None:
        if name == "stream":
            (sql,) = arguments
            self._stream(sql, seconds)
        elif name == "run":
            sql, limit = arguments
            rows = self._engine.run(sql, limit=limit, timeout=seconds)
            self._channel.write(Frame.VALUE, packed((rows.columns, rows.rows, rows.truncated)))
        elif name == "explain":
            self._channel.write(Frame.VALUE, packed(self._engine.explain(*arguments)))
        else:
            self._channel.write(Frame.VALUE, packed(self._engine.introspect()))

    def _stream(self, sql: str, seconds: float) -> None:
        gc.disable()  # rows have no cycles; looking for some costs 3 % of the speed
        try:
            with _streamed(self._engine, sql, seconds) as (columns, found):
                self._channel.write(Frame.HEAD, packed(columns))
                for rows in found:
                    for kind, payload in _frames(rows):
                        self._channel.write(kind, payload)
                    if self._cancelled:
                        break
        finally:
            gc.enable()
        self._channel.write(Frame.END, b"")

    def _interrupted(self, *_: object) -> None:
        self._cancelled = True
        interrupt = getattr(self._engine, "interrupt", None)
        if interrupt is not None:
            interrupt()


def _opened(work: Work) -> Engine:
    """The engine itself. Raises what its constructor raises."""
    if work.kind == "sqlite":
        from plainsql.execution.sqlite import SQLiteEngine

        assert isinstance(work.target, Path)
        return SQLiteEngine(work.target, tables=work.tables, limits=work.limits, own_process=True)
    from plainsql.execution.duckdb_engine import DuckDBEngine

    return DuckDBEngine(work.target, tables=work.tables, limits=work.limits)


@contextmanager
def _streamed(
    engine: Engine, sql: str, seconds: float
) -> Iterator[tuple[tuple[str, ...], Iterable[Batch | Chunk]]]:
    """The rows of a query as the engine gives them most quickly."""
    if (by_columns := getattr(engine, "stream_columns", None)) is not None:
        with by_columns(sql, timeout=seconds) as found:
            yield found
    else:
        with engine.stream(sql, timeout=seconds) as stream:
            yield stream.columns, stream


def _frames(rows: Batch | Chunk) -> Iterator[tuple[Frame, Payload]]:
    """What to write for some rows."""
    if isinstance(rows, list):
        for payload in batch_payloads(rows):
            yield Frame.BATCH, payload
    else:
        yield Frame.COLUMNS, rows.payload()


def _limits_while_serving(limits: Limits) -> tuple[Protection, ...]:
    """Bound this process for good, where the platform can; says what holds."""
    from plainsql.execution.base import Protection

    room = limits.memory_bytes or (limits.heap_bytes or _HEAP_BYTES) + _ROOM_BYTES
    limited = _limit("AS", _mapped_bytes() + room)
    memory = f"{room / 1e6:g} MB beyond its start" if limited else "not on this platform"
    files = _limit("FSIZE", _FILE_BYTES)
    return (
        Protection("process of its own", True, "killed past the deadline, and replaced"),
        Protection("ends with its parent", _SIGNALS, "" if _SIGNALS else "after its query"),
        Protection("memory limit of the process", limited, memory),
        Protection("no large files", files, f"{_FILE_BYTES / 1e6:g} MB" if files else ""),
    )


def _limit(resource_name: str, most: int) -> bool:
    """Allow this process `most` of a resource for good; False where that can't be."""
    try:
        import resource

        which = getattr(resource, f"RLIMIT_{resource_name}")
        resource.setrlimit(which, (most, most))
    except (ImportError, AttributeError, ValueError, OSError):
        return False  # Windows has none of them; macOS refuses RLIMIT_AS
    return True


def _mapped_bytes() -> int:
    """The address space this process has now; a guess where the system doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return _OPENING_BYTES["sqlite"]
    return pages * os.sysconf("SC_PAGE_SIZE")


def _set_alarm(seconds: float) -> None:
    """The kernel ends this process in `seconds`, if it is still there; 0: never."""
    if _SIGNALS:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _end_with_parent(lifeline: int) -> None:
    """Let the kernel end this process when the other end of a pipe is closed.

    Nobody writes to `lifeline`; its hang-up raises SIGIO, whose default is to end
    the process, in whatever code it is. note: a thread that waits would do, but
    with a second thread glibc's malloc locks, and rows are read a quarter more
    slowly; PR_SET_PDEATHSIG would follow the thread that started us.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    poller = select.poll()
    poller.register(lifeline, 0)
    if poller.poll(0):
        os._exit(0)  # it happened before the kernel was told


def main() -> None:
    """Open what the first frame names, then answer. The argument is the lifeline."""
    channel = _Channel()
    if _SIGNALS:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with_parent(int(sys.argv[1]))
    with suppress(EOFError, BrokenPipeError):
        work = channel.read()
        try:
            worker = _Worker(channel, work)
        except (PlainsqlError, MemoryError) as error:
            channel.write(Frame.ERROR, packed_error(error))
            return
        worker.serve()


if __name__ == "__main__":
    main()
    sys.stdout = None  # nothing is left to be flushed to a pipe that may be closed
