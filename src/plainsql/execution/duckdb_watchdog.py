"""Interrupting DuckDB at a deadline."""

from __future__ import annotations

import threading

import duckdb

from plainsql.execution.limits import Deadline

_AGAIN_SECONDS = 0.02  # an interrupt between two steps of a query may be missed


class Watchdog:
    """Interrupts a cursor at its deadline, from one thread for all queries.

    A timer for each query would start a thread each time, which costs more
    than a small query does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: tuple[duckdb.DuckDBPyConnection, Deadline] | None = None
        self._wakes_in: Deadline | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, cursor: duckdb.DuckDBPyConnection, deadline: Deadline) -> None:
        """From now on until `forget`."""
        with self._changed:
            self._watched = (cursor, deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="deadline", daemon=True)
                self._thread.start()
            elif self._wakes_in is None or self._wakes_in.remaining() > deadline.remaining():
                self._changed.notify()

    def forget(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Stop watching `cursor`. After this it is not interrupted any more."""
        with self._changed:
            if self._watched is not None and self._watched[0] is cursor:
                self._watched = None

    def interrupt(self) -> None:
        """Interrupt what is being watched, now."""
        watched = self._watched
        if watched is not None:
            watched[0].interrupt()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _loop(self) -> None:
        with self._changed:
            while not self._closed:
                if self._watched is None:
                    self._wait(None)
                elif not self._watched[1].passed():
                    self._wait(self._watched[1])
                else:
                    self._watched[0].interrupt()
                    self._wait(Deadline(_AGAIN_SECONDS))

    def _wait(self, until: Deadline | None) -> None:
        """Sleep, noting when that ends: a later deadline needs nobody to wake us."""
        self._wakes_in = until
        self._changed.wait(None if until is None else until.remaining() + 0.001)
