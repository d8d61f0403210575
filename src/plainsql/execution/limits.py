"""How much one statement may use: time, rows, bytes, memory.

The third layer after the guard and the read-only connection. Time is measured
by the monotonic clock, so a jump of the wall clock moves no deadline.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from plainsql.errors import QueryTimeout, ResourceLimit, UsageError
from plainsql.records import Cell

# A progress handler called every 1,000 virtual machine steps costs nothing
# measurable and is asked about every 0.08 ms (Datasette, utils/__init__.py).
PROGRESS_STEPS = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one engine, beside the rows and seconds each `run` names."""

    result_bytes: int = 10_000_000  # of all cells of one result together
    cell_bytes: int = 2_000_000  # of any value, also between steps of a query
    heap_bytes: int = 256_000_000  # SQLite's memory in this process; 0: leave as it is
    busy_seconds: float = 1.0  # how long to wait for another program's lock
    sql_chars: int = 20_000


class Deadline:
    """A point in time, `seconds` from now. Raises UsageError unless 0 < seconds < inf."""

    def __init__(self, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(
                f"A timeout of {seconds} seconds makes no sense.",
                hint="Give --timeout a number of seconds above 0.",
            )
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left, 0.0 when there are none."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    def error(self) -> QueryTimeout:
        """The error to raise when the time is up."""
        return QueryTimeout(
            f"The query was stopped after {self.seconds:g} seconds.",
            hint="Ask for less (a filter, a total instead of a list) or raise --timeout.",
        )


def check_row_limit(limit: int) -> None:
    """Raise UsageError unless `limit` is a whole number above 0."""
    if limit < 1:
        raise UsageError(
            f"A limit of {limit} rows makes no sense.", hint="Give --limit a number above 0."
        )


def take_rows(
    source: Iterable[tuple[Cell, ...]], limit: int, result_bytes: int, deadline: Deadline
) -> tuple[tuple[tuple[Cell, ...], ...], bool]:
    """Up to `limit` rows of `source`, and whether there were more.

    Reads one row at a time and at most `limit + 1`. Raises ResourceLimit past
    `result_bytes` and QueryTimeout past the deadline.
    """
    rows: list[tuple[Cell, ...]] = []
    used = 0
    for row in source:
        if len(rows) == limit:
            return tuple(rows), True
        used += sum(map(_size, row))
        if used > result_bytes:
            raise _too_big(result_bytes)
        if deadline.passed():
            raise deadline.error()
        rows.append(row)
    return tuple(rows), False


def _size(cell: Cell) -> int:
    """Bytes of a cell: the length of texts and blobs, 8 for numbers and NULL."""
    return len(cell) if isinstance(cell, str | bytes) else 8


def _too_big(result_bytes: int) -> ResourceLimit:
    return ResourceLimit(
        f"The result is larger than {result_bytes / 1e6:g} MB.",
        hint="Ask for fewer rows or columns, or lower --limit.",
    )
