"""An embedded engine in worker processes: what `open_engine` gives for SQLite and DuckDB.

    run ─▶ an idle worker (or a new one) ─▶ its answer by the deadline ─▶ idle again
                                         └▶ late, dead, out of memory ─▶ killed, replaced

Some work can't be stopped from within a process: `lpad('x', 2000000000, 'y')`
ignores DuckDB's interrupt and its memory limit alike. A process can be killed.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from plainsql.errors import ConnectError, ExecutionError, MissingExtra, QueryTimeout, ResourceLimit
from plainsql.execution.base import Protection, RowStream, target_path
from plainsql.execution.limits import Batch, Deadline, Limits, check_row_limit, check_text
from plainsql.execution.targets import parse_target
from plainsql.execution.worker_columns import rows_of_columns
from plainsql.execution.worker_process import Ended, Late, WorkerProcess
from plainsql.execution.worker_wire import (
    Frame,
    Payload,
    Work,
    malformed,
    unpacked,
    unpacked_error,
    unpacked_names,
    unpacked_result,
    unpacked_rows,
)
from plainsql.records import Rows

if TYPE_CHECKING:
    from plainsql.execution.targets import Target
    from plainsql.schema.model import Schema

MOST_WORKERS = 4  # at a time for one database; about 25 MB each
_WITH_SPARE = 2  # processes, once one had to be replaced
_READING_SECONDS = 900.0  # for data files, which may be many gigabytes, the first time
_PATIENCE = 0.03  # seconds to wait for a busy worker before another is started
_RESTART_SECONDS = 0.5  # a query waits so long for a replaced worker, whatever its deadline
_LEAST_SECONDS = 0.05  # what a query gets after such a wait


class WorkerEngine:
    """A SQLite or DuckDB database, or data files, in processes of their own.

    Threads use different processes, up to four, and wait for each other beyond
    that. The first process is started at once; what is wrong with the file is
    raised by the first use. Close it, or use it in `with`; processes end with
    this one in any case. Raises ConnectError for a file that isn't there.
    """

    def __init__(
        self,
        target: Target | str | os.PathLike[str],
        *,
        tables: frozenset[str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        if isinstance(target, str | os.PathLike):
            target = parse_target(target)
        self.limits = limits or Limits()
        self.dialect = "sqlite" if target.kind == "sqlite" else "duckdb"
        self.name = target.name
        self.path = target.path
        self.kind = target.kind
        self._pool = _Pool(_work(target, tables, self.limits))
        self._finalizer = weakref.finalize(self, _Pool.close, self._pool)

    def __enter__(self) -> WorkerEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def introspect(self) -> Schema:
        """Tables, columns and keys. Raises ConnectError, SchemaError."""
        from plainsql.schema.model import Schema

        try:
            schema = unpacked(self._asked("introspect", self.limits.open_seconds))
        except ExecutionError as error:  # late, too large, or the end of the process
            raise ConnectError(
                f"The schema of {self.name} can't be read: {error.message}", hint=error.hint
            ) from error
        if not isinstance(schema, Schema):
            raise malformed()
        return schema

    def explain(self, sql: str) -> str:
        """The engine's plan, as indented lines. Raises what `run` raises."""
        check_text(sql, self.limits)
        return str(unpacked(self._asked("explain", 10.0, sql)))

    def run(self, sql: str, *, limit: int = 1000, timeout: float = 10.0) -> Rows:
        """Run one query: at most `limit` rows, `timeout` seconds, `limits.result_bytes`.

        Raises UsageError, QueryTimeout, ResourceLimit, ExecutionError (also when
        the process ends), DeniedError (by the engine), ConnectError.
        """
        check_row_limit(limit)
        check_text(sql, self.limits)
        started = time.perf_counter()
        columns, rows, truncated = unpacked_result(self._asked("run", timeout, sql, limit))
        return Rows(columns, rows, truncated, (time.perf_counter() - started) * 1000)

    @contextmanager
    def stream(self, sql: str, *, timeout: float = 10.0) -> Iterator[RowStream]:
        """All rows of one query as they come. Raises what `run` raises.

        The worker runs ahead by about a megabyte. Leaving the context before the
        end interrupts it; it is killed if that doesn't help at once.
        """
        check_text(sql, self.limits)
        deadline = Deadline(timeout)
        with self._pool.worker(deadline) as (process, seconds):
            end = time.monotonic() + seconds + self.limits.grace_seconds
            with self._pool.typed(process, deadline):
                process.ask("stream", seconds, sql)
                columns = unpacked_names(process.answer(Frame.HEAD, end))
            rows = self._batches(process, len(columns), deadline, end)
            yield RowStream(columns, rows, deadline)

    def protections(self) -> tuple[Protection, ...]:
        """What the worker and its engine do. Raises ConnectError."""
        with self._pool.worker(Deadline(self.limits.open_seconds)) as (process, _):
            return process.protections or ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of data files, a sentence each. Raises ConnectError."""
        with self._pool.worker(Deadline(self.limits.open_seconds)) as (process, _):
            return process.notes

    def close(self) -> None:
        """End the processes. May be called twice."""
        self._finalizer()

    def _asked(self, name: str, seconds: float, *arguments: object) -> Payload:
        """The worker's one answer to a request, packed."""
        deadline = Deadline(seconds)
        with self._pool.worker(deadline) as (process, left), self._pool.typed(process, deadline):
            process.ask(name, left, *arguments)
            end = time.monotonic() + left + self.limits.grace_seconds
            return process.answer(Frame.VALUE, end)

    def _batches(
        self, process: WorkerProcess, width: int, deadline: Deadline, end: float
    ) -> Iterator[Batch]:
        while True:
            with self._pool.typed(process, deadline):
                kind, payload = process.next_frame(end)
                if kind == Frame.ERROR:
                    raise unpacked_error(payload)
            if kind == Frame.END:
                return
            rows = _ROWS_OF[kind](payload) if kind in _ROWS_OF else None
            if not rows or len(rows[0]) != width:
                raise malformed()
            yield rows


_ROWS_OF: dict[int, Callable[[Payload], Batch]] = {
    Frame.BATCH: unpacked_rows,
    Frame.COLUMNS: rows_of_columns,
}


class _Pool:
    """The processes for one database: at least one is idle or being started."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._changed = threading.Condition()
        self._closed = False
        self._opened_once = False
        self._lost_one = False
        self._all: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = [self._start()]

    @contextmanager
    def worker(self, deadline: Deadline) -> Iterator[tuple[WorkerProcess, float]]:
        """A process that is ready, and the seconds its request may take.

        Afterwards it is idle again, or replaced when it is no longer good.
        """
        if os.getpid() != self._owner:
            self._begin_anew()
        process = self._taken(deadline)
        try:
            seconds = self._ready(process, deadline)
            if self._lost_one:
                self._keep_spare()
            yield process, seconds
        except ResourceLimit:
            process.kill()  # a fresh one has its memory back
            raise
        finally:
            self._give_back(process)

    @contextmanager
    def typed(self, process: WorkerProcess, deadline: Deadline) -> Iterator[None]:
        """Turns silence and death of `process` into errors of the plainsql tree."""
        try:
            yield
        except QueryTimeout:  # it counts from when it was asked; the user, from before
            raise deadline.error() from None
        except Late:
            process.kill()
            raise deadline.error() from None
        except Ended as ended:
            process.kill()
            if self._closed:
                raise _closed() from None
            raise (deadline.error() if deadline.passed() else _ended(ended)) from None

    def close(self) -> None:
        """End all processes, those at work too."""
        if os.getpid() != self._owner:
            return  # a fork of the owner: they aren't its children
        with self._changed:
            self._closed = True
            for process in self._all - set(self._idle):
                process.stop()  # its user cleans up
            for process in self._idle:
                process.kill()
            self._all -= set(self._idle)
            self._idle.clear()
            self._changed.notify_all()

    def _taken(self, deadline: Deadline) -> WorkerProcess:
        patience = time.monotonic() + _PATIENCE
        with self._changed:
            while True:
                if self._closed:
                    raise _closed()
                if (process := self._idle_one()) is not None:
                    return process
                impatient = time.monotonic() >= patience
                if not self._all or (impatient and len(self._all) < MOST_WORKERS):
                    return self._start()
                if deadline.passed():
                    raise deadline.error()
                more = len(self._all) < MOST_WORKERS
                self._changed.wait(min(deadline.remaining(), _PATIENCE if more else 1.0))

    def _idle_one(self) -> WorkerProcess | None:
        """One that lives; the dead are put away. Under the lock."""
        while self._idle:
            # The one that was ready last, else the one that has been starting longest.
            ready = [process for process in self._idle if process.protections is not None]
            process = ready[-1] if ready else self._idle[0]
            self._idle.remove(process)
            if process.alive() or not self._opened_once:
                return process  # one that died in its first opening has left a message
            process.kill()
            self._all.discard(process)
        return None

    def _ready(self, process: WorkerProcess, deadline: Deadline) -> float:
        """Wait until the database is open in it; seconds left for the request."""
        if process.protections is not None:
            return max(deadline.remaining(), _LEAST_SECONDS)
        first = not self._opened_once
        most = self._work.limits.open_seconds
        if self._work.kind == "files":
            most = max(most, _READING_SECONDS)
        try:
            process.wait_ready(most if first else max(deadline.remaining(), _RESTART_SECONDS))
        except Late:
            if not first:
                raise deadline.error() from None  # it may be ready for the next
            process.kill()
            raise _not_opened(f"takes longer than {most:g} seconds") from None
        except Ended as ended:
            process.kill()
            raise _not_opened(f"ended the engine process ({ended})") from None
        except BaseException:
            process.kill()
            raise
        self._opened_once = True
        return deadline.seconds if first else max(deadline.remaining(), _LEAST_SECONDS)

    def _give_back(self, process: WorkerProcess) -> None:
        if process.busy and not process.cancel(self._work.limits.grace_seconds):
            process.kill()
        with self._changed:
            if self._closed:
                process.kill()
            if not process.killed:
                self._idle.append(process)
            else:
                self._all.discard(process)
                self._lost_one = self._lost_one or process.protections is not None
                if process.protections is not None and not self._idle and not self._closed:
                    self._idle.append(self._start())
            self._changed.notify()

    def _keep_spare(self) -> None:
        """Once a process was lost, have another ready while one is at work.

        Who asks one query too heavy asks more of them; the next waits for no start.
        """
        with self._changed:
            if self._lost_one and len(self._all) < _WITH_SPARE and not self._closed:
                self._idle.append(self._start())

    def _start(self) -> WorkerProcess:
        process = WorkerProcess(self._work)
        self._all.add(process)
        return process

    def _begin_anew(self) -> None:
        """After a fork: the processes belong to the parent, and so may the lock."""
        for process in self._all:
            process.abandon()
        self._begin()


def _work(target: Target, tables: frozenset[str] | None, limits: Limits) -> Work:
    """What a worker opens, independent of the working folder. Raises ConnectError."""
    if target.kind == "sqlite":
        from plainsql.schema.sqlite_file import check_file

        path = target_path(target).absolute()
        check_file(path)
        return Work("sqlite", path, tables, limits)
    if find_spec("duckdb") is None:
        raise MissingExtra("DuckDB databases", "duckdb")
    path = target_path(target)
    if target.kind == "duckdb" and not path.exists():  # of a glob it may have wildcards
        raise ConnectError(f"There is no file {target.name}.", hint="Check the path.")
    files = tuple(file.absolute() for file in target.files)
    return Work(target.kind, replace(target, path=path.absolute(), files=files), tables, limits)


def _closed() -> ConnectError:
    return ConnectError("The database was closed.", hint="Open it again.")


def _not_opened(what: str) -> ConnectError:
    return ConnectError(
        f"Opening the database {what}.", hint="The file may be damaged, hostile or very large."
    )


def _ended(ended: Ended) -> ExecutionError:
    return ExecutionError(
        f"The engine process ended before it answered ({ended}).",
        hint="It was started again. The query may need too much memory, or the file be damaged.",
    )
