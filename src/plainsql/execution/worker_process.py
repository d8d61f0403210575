"""One worker process, seen from its parent: started, asked, interrupted, killed.

It is started without a fork of this process's memory (subprocess uses vfork and
exec), so that threads, open files and large heaps here don't matter, and in a
process group of its own: Ctrl-C in a terminal reaches the parent alone, which
then decides. It inherits no file and few variables of the environment, so no
key or password that is in one.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from plainsql.errors import ConnectError, ExecutionError
from plainsql.execution.worker_wire import (
    HEADER,
    MOST_FRAME_BYTES,
    Frame,
    frame,
    malformed,
    unpacked_error,
    unpacked_ready,
)

if TYPE_CHECKING:
    from plainsql.execution.base import Protection
    from plainsql.execution.worker_wire import Work

# Of the parent's environment: where libraries, folders and caches are, language, time zone.
_ENVIRONMENT = frozenset(
    "HOME LANG LANGUAGE LC_ALL LC_CTYPE TZ TZDIR TMPDIR TMP TEMP PATH PYTHONHOME SYSTEMROOT"
    " SYSTEMDRIVE USERPROFILE LOCALAPPDATA XDG_CACHE_HOME PLAINSQL_CACHE_DIR LD_LIBRARY_PATH"
    " DYLD_LIBRARY_PATH".split()
)
_PIPE_BYTES = 1 << 20  # the child works ahead by so much while the parent is busy
_READ_BYTES = 1 << 16
_LAST = (Frame.END, Frame.ERROR, Frame.VALUE)  # of the answer to a request


class Late(Exception):
    """No answer came in time; the process must be killed."""


class Ended(Exception):
    """The process is gone; `str` says how: "SIGKILL", "exit code 1"."""

    def __init__(self, code: int) -> None:
        how = f"exit code {code}"
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name if code < 0 else how
        super().__init__(how)


class WorkerProcess:
    """A running worker. Used by one thread at a time; `kill` may come from any."""

    def __init__(self, work: Work, *, polls: bool = hasattr(select, "poll")) -> None:
        self.protections: tuple[Protection, ...] | None = None  # None: not ready yet
        self.notes: tuple[str, ...] = ()  # of the engine, about what it opened
        self.busy = False  # a request is under way
        self.killed = False
        self._process, self._lifeline = _started()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._buffer = bytearray()
        self._killed_late = False
        self._poller = select.poll() if polls else None
        if self._poller is not None:
            self._poller.register(self._stdout.fileno(), select.POLLIN)
        with contextlib.suppress(Ended):  # the first answer says why
            self._send(Frame.OPEN, work)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait_ready(self, seconds: float) -> None:
        """Wait until the database is open. Raises Late, Ended, PlainsqlError."""
        payload = self.answer(Frame.READY, time.monotonic() + seconds)
        self.protections, self.notes = unpacked_ready(payload)

    def ask(self, name: str, seconds: float, *arguments: object) -> None:
        """Send a request that may take `seconds`. Raises Ended."""
        self.busy = True
        self._send(Frame.CALL, (name, seconds, arguments))

    def answer(self, wanted: Frame, end: float) -> bytearray:
        """The next frame, which must be a `wanted`, by `end` of the monotonic clock.

        Raises Late, Ended, and what the worker reports as an error.
        """
        kind, payload = self.next_frame(end)
        if kind == Frame.ERROR:
            raise unpacked_error(payload)
        if kind != wanted:
            raise malformed()
        return payload

    def next_frame(self, end: float) -> tuple[int, bytearray]:
        """The kind and payload of the next frame. Raises Late, Ended, ExecutionError."""
        kind, length = HEADER.unpack(self._take(HEADER.size, end))
        if length > MOST_FRAME_BYTES:
            raise malformed()
        payload = self._take(length, end)
        if kind in _LAST:
            self.busy = False
        return kind, payload

    def cancel(self, seconds: float) -> bool:
        """Interrupt the request under way; True when the worker may be used again.

        What it still sends is thrown away, so that it isn't stuck in writing.
        """
        if not hasattr(signal, "setitimer"):
            return False  # Windows has no signal for one process: it will be killed
        end = time.monotonic() + seconds
        try:
            self._process.send_signal(signal.SIGINT)
            while self.busy:
                self.next_frame(end)
        except (Late, Ended, ExecutionError):
            return False
        return True

    def stop(self) -> None:
        """End it at once. Who uses it will notice, and `kill` it for the rest."""
        self._process.kill()

    def kill(self) -> int:
        """End it at once and clean up. Returns its exit code. May be called twice."""
        self.killed = True
        self._process.kill()
        code = self._process.wait()
        self._close_pipes()
        return code

    def abandon(self) -> None:
        """Forget a process that belongs to this process's own parent, after a fork."""
        self._process.returncode = 0  # not ours to wait for, nor to warn about
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._stdin, self._stdout, self._lifeline):
            pipe.close()

    def _send(self, kind: Frame, message: object) -> None:
        try:
            rest = memoryview(frame(kind, pickle.dumps(message, protocol=5)))
            while rest:
                rest = rest[os.write(self._stdin.fileno(), rest) :]
        except (OSError, ValueError):  # closed by the child, or here by another thread
            raise Ended(self._exit_code()) from None

    def _take(self, count: int, end: float) -> bytearray:
        """Exactly `count` bytes. Raises Late, Ended."""
        while len(self._buffer) < count:
            if len(self._buffer) + _READ_BYTES >= count:
                self._buffer += self._read(_READ_BYTES, end)
            else:
                self._buffer += self._read(count - len(self._buffer), end)
        taken = self._buffer[:count]
        del self._buffer[:count]
        return taken

    def _read(self, most: int, end: float) -> bytes:
        try:
            if self._poller is None:
                return self._read_or_kill(most, end)
            milliseconds = math.ceil(max(0.0, end - time.monotonic()) * 1000)
            if not self._poller.poll(milliseconds):
                raise Late
            part = os.read(self._stdout.fileno(), most)
        except (OSError, ValueError):
            raise Ended(self._exit_code()) from None
        if not part:
            raise Ended(self._exit_code())
        return part

    def _read_or_kill(self, most: int, end: float) -> bytes:
        """A read where pipes can't be polled: a timer kills the worker when it is late."""
        timer = threading.Timer(max(0.0, end - time.monotonic()), self._kill_late)
        timer.start()
        try:
            part = os.read(self._stdout.fileno(), most)
        finally:
            timer.cancel()
        if not part and self._killed_late:
            raise Late
        if not part:
            raise Ended(self._exit_code())
        return part

    def _kill_late(self) -> None:
        self._killed_late = True
        self._process.kill()

    def _exit_code(self) -> int:
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return self.kill()


def _started() -> tuple[subprocess.Popen[bytes], io.FileIO]:
    """A new worker that waits for what to open, and the pipe it lives by.

    Raises ConnectError.
    """
    ours, theirs = os.pipe()[::-1]
    command = [sys.executable, "-S", "-P", "-m", "plainsql.execution.worker", str(theirs)]
    apart: dict[str, Any] = {"process_group": 0, "pass_fds": (theirs,)}
    if os.name == "nt":
        apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    lifeline = io.FileIO(ours, "w")
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
            **apart,
        )
    except (OSError, ValueError) as error:
        lifeline.close()
        raise ConnectError(
            f"The engine process can't be started: {error}.",
            hint="Check that Python may start processes here, or open with worker=False.",
        ) from error
    finally:
        os.close(theirs)
    _widen(process.stdout)
    return process, lifeline


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more, where the system knows that and this user may."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)  # type: ignore[arg-type]
    except (ImportError, AttributeError, OSError):
        return  # 64 kB on Linux: more switches between the two, and nothing else


def _environment() -> dict[str, str]:
    """Little of the parent's; modules are found where the parent finds them."""
    package = str(Path(__file__).resolve().parents[2])
    folders = [package, *(folder for folder in sys.path if folder and folder != package)]
    kept = {name: value for name, value in os.environ.items() if name.upper() in _ENVIRONMENT}
    return kept | {
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "1",  # glibc would reserve 64 MB of address space for each thread
    }
