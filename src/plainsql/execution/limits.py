"""How much one statement may use: time, rows, bytes, memory.

The third layer after the guard and the read-only connection. Time is measured
by the monotonic clock, so a jump of the wall clock moves no deadline.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from plainsql.errors import QueryTimeout, ResourceLimit, UsageError
from plainsql.records import Cell

Row = tuple[Cell, ...]
Batch = list[Row]

# A progress handler called every 1,000 virtual machine steps costs nothing
# measurable and is asked about every 0.08 ms (Datasette, utils/__init__.py).
PROGRESS_STEPS = 1_000
BATCH_BYTES = 128_000  # a batch is about this large, estimated from two of its rows
_BATCH_ROWS = 1_024  # and has at most so many rows
FIRST_ROWS = 16  # of the first batch of a stream


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one engine, beside the rows and seconds each `run` names."""

    result_bytes: int = 10_000_000  # of all cells of one result that is kept as a whole
    cell_chars: int = 1_000_000  # characters of a text, bytes of a blob: the rest is cut off
    cell_bytes: int = 2_000_000  # of any value inside SQLite, also between steps of a query
    heap_bytes: int = 256_000_000  # the engine's own memory, in its worker; 0: as it is
    memory_bytes: int = 0  # of a worker beyond its start; 0: heap_bytes and room for rows
    busy_seconds: float = 1.0  # how long to wait for another program's lock
    open_seconds: float = 60.0  # to open a database in a worker, or to read its schema
    grace_seconds: float = 0.1  # past the deadline: then the worker is killed
    sql_chars: int = 20_000
    threads: int = 1  # of DuckDB, for one query
    file_bytes: int = 20_000_000_000  # of data files (CSV, Parquet, JSON) read as one database


class Deadline:
    """A point in time, `seconds` from now. Raises UsageError unless 0 < seconds < inf."""

    __slots__ = ("_end", "seconds")

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


def check_text(sql: str, limits: Limits) -> None:
    """Raise ResourceLimit for a statement too long to be looked at."""
    if len(sql) > limits.sql_chars:
        raise ResourceLimit(
            f"The query is longer than {limits.sql_chars:,} characters.",
            hint="Write a shorter query.",
        )


def batches(
    fetch: Callable[[int], list[Any]], deadline: Deadline, first: int = FIRST_ROWS
) -> Iterator[Batch]:
    """Rows in batches of about 128 kB, from a driver's `fetchmany`.

    The first batch has `first` rows (1,024 at most), so that a slow query shows its rows soon
    and a small result asks for little more than it needs. Raises QueryTimeout
    past the deadline.
    """
    rows = max(1, min(first, _BATCH_ROWS))
    while batch := fetch(rows):
        if deadline.passed():
            raise deadline.error()
        yield batch
        widest = max(row_bytes(batch[0]), row_bytes(batch[-1]))
        rows = max(1, min(2 * rows, _BATCH_ROWS, BATCH_BYTES // widest))


def collect(
    stream: Iterable[Batch], limit: int, limits: Limits, deadline: Deadline
) -> tuple[tuple[Row, ...], bool]:
    """Up to `limit` rows of `stream`, and whether anything was cut off.

    Cut are rows past `limit`, rows past `limits.result_bytes`, and the end of
    cells longer than `limits.cell_chars`. Raises QueryTimeout past the deadline.
    """
    rows: list[Row] = []
    used, cut = 0, False
    for batch in stream:
        if deadline.passed():
            raise deadline.error()
        for row in batch:
            if len(rows) == limit:
                return tuple(rows), True
            size = row_bytes(row)
            if size > limits.cell_chars:
                row, shortened = shorten(row, limits.cell_chars)
                cut = cut or shortened
                size = row_bytes(row)
            used += size
            if used > limits.result_bytes:
                return tuple(rows), True
            rows.append(row)
    return tuple(rows), cut


def shorten(row: Row, most: int) -> tuple[Row, bool]:
    """`row` with no text or blob longer than `most`, and whether one was."""
    long = [isinstance(cell, str | bytes) and len(cell) > most for cell in row]
    if not any(long):
        return row, False
    cut = tuple(
        cell[:most] if isinstance(cell, str | bytes) else cell  # shorter ones stay whole
        for cell in row
    )
    return cut, True


def row_bytes(row: Row) -> int:
    """Bytes of a row: the lengths of texts and blobs, 8 for every other cell."""
    size = 8
    for cell in row:
        size += len(cell) if isinstance(cell, str | bytes) else 8
    return size
