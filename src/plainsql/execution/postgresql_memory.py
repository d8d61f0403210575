"""Looking at a row's size before it is read: what libpq gives no function for.

libpq takes in a whole row, and the server a cell of up to 1 GB. Once it is on its
way, one call of PQconsumeInput reads all of it (fe-misc.c, pqReadData: it goes on
while more than 32 KB are there), for seconds, without a look at any deadline. But
when PQisBusy finds the header of such a row, it makes its buffer as large as the
row is going to be (fe-protocol3.c, pqParseInput3). So this process's address
space tells the size before a byte of it was read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

if sys.platform != "win32":
    import fcntl
    import termios

_STATM = "/proc/self/statm"  # Linux; its first number is the address space in pages
_PAGE = 4096 if sys.platform == "win32" else os.sysconf("SC_PAGE_SIZE")


class TooMuch(Exception):
    """A call made this process's memory grow by more than it may."""


class Memory:
    """The size of this process's address space. About 2 µs a look."""

    def __init__(self) -> None:
        self._file = os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC) if can_watch() else -1

    def watched(self, call: Callable[[], int], most: int) -> int:
        """What `call` returns. Raises TooMuch when memory grew by more than `most` bytes in it."""
        before = self._size()
        result = call()
        if result and self._size() - before > most:
            raise TooMuch
        return result

    def _size(self) -> int:
        if self._file < 0:
            return 0
        return int(os.pread(self._file, 24, 0).split(b" ", 1)[0]) * _PAGE

    def close(self) -> None:
        """Give the file back. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def can_watch() -> bool:
    """Whether this system tells its processes how large they are."""
    return os.path.exists(_STATM)


def bytes_waiting(socket: int) -> int:
    """Bytes that the system has received for a socket and nobody has read."""
    if sys.platform == "win32":
        return 0
    return int.from_bytes(fcntl.ioctl(socket, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
