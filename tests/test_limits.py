"""Rows, bytes, cells and seconds: what one statement may use, whatever the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from plainsql.errors import QueryTimeout, ResourceLimit, UsageError
from plainsql.execution.base import RowStream, rows_of
from plainsql.execution.limits import (
    Batch,
    Deadline,
    Limits,
    Row,
    batches,
    check_row_limit,
    check_text,
    collect,
    row_bytes,
    shorten,
)

MINUTE = 60.0


def numbers(count: int, size: int = 10) -> Iterator[Batch]:
    """`count` rows of one number, `size` in a batch."""
    for first in range(0, count, size):
        yield [(n,) for n in range(first, min(first + size, count))]


@pytest.mark.parametrize(
    ("there", "limit", "kept", "truncated"),
    [(0, 5, 0, False), (5, 5, 5, False), (6, 5, 5, True), (95, 30, 30, True), (30, 95, 30, False)],
)
def test_row_cap(there: int, limit: int, kept: int, truncated: bool) -> None:
    rows, cut = collect(numbers(there), limit, Limits(), Deadline(MINUTE))
    assert rows == tuple((n,) for n in range(kept))
    assert cut is truncated


@pytest.mark.parametrize(
    ("row", "most", "kept"),
    [
        (("x" * 90,), 1000, 10),  # 98 bytes each
        ((b"x" * 90, None), 1000, 9),
        ((1, 2.5, None, True, Decimal("1.5")), 480, 10),
        (("x" * 2000,), 1000, 0),
        ((), 80, 10),
    ],
)
def test_byte_cap(row: Row, most: int, kept: int) -> None:
    rows, cut = collect([[row] * 100], 100, Limits(result_bytes=most), Deadline(MINUTE))
    assert len(rows) == kept
    assert cut


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("abcdef", 1), ("abcde", 1)),
        ((b"abcdef", None), (b"abcde", None)),
        (("abcde", 10**9), None),
        ((Decimal("1234567.5"), True), None),
        (("größer", "ab"), ("größe", "ab")),
        (("a" * 9, "b" * 9), ("a" * 5, "b" * 5)),
    ],
)
def test_cell_cap(row: Row, expected: Row | None) -> None:
    rows, cut = collect([[row]], 10, Limits(cell_chars=5), Deadline(MINUTE))
    assert rows == (expected or row,)
    assert cut is (expected is not None)
    assert shorten(row, 5) == (expected or row, expected is not None)


def test_the_byte_cap_counts_cells_as_they_are_kept() -> None:
    limits = Limits(cell_chars=100, result_bytes=1000)
    rows, cut = collect([[("x" * 5000,)] * 5], 10, limits, Deadline(MINUTE))
    assert len(rows) == 5
    assert cut


def test_no_more_is_read_than_needed() -> None:
    asked: list[int] = []

    def fetch(count: int) -> list[Row]:
        asked.append(count)
        return [(1,)] * count

    stream = batches(fetch, Deadline(MINUTE), first=6)
    assert collect(stream, 5, Limits(), Deadline(MINUTE))[1]
    assert asked == [6]


def test_batches_grow_with_small_rows_and_shrink_with_large_ones() -> None:
    def fetch(count: int) -> list[Row]:
        return [("x" * width,)] * count

    width = 10
    stream = batches(fetch, Deadline(MINUTE))
    sizes = [len(next(stream)) for _ in range(9)]
    assert sizes == [16, 32, 64, 128, 256, 512, 1024, 1024, 1024]
    width = 1_000_000
    next(stream)
    assert len(next(stream)) == 1
    width = 10
    next(stream)
    assert len(next(stream)) == 2


def test_the_first_batch() -> None:
    for first, size in ((1, 1), (0, 1), (1001, 1001), (10**7, 1024)):
        stream = batches(lambda count: [(1,)] * count, Deadline(MINUTE), first=first)
        assert len(next(stream)) == size


def test_deadline_between_batches() -> None:
    deadline = Deadline(0.02)

    def endless() -> Iterator[Batch]:
        while True:
            yield [(1,)]

    with pytest.raises(QueryTimeout) as caught:
        collect(endless(), 10**9, Limits(result_bytes=10**12), deadline)
    assert "0.02 seconds" in caught.value.message
    with pytest.raises(QueryTimeout):
        next(iter(RowStream(("a",), endless(), deadline)))
    with pytest.raises(QueryTimeout):
        next(batches(lambda count: [(1,)] * count, deadline))


def test_a_stream_gives_no_empty_batches() -> None:
    stream = RowStream(("a",), iter([[], [(1,)], [], [(2,)]]), Deadline(MINUTE))
    assert list(stream) == [[(1,)], [(2,)]]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), -0.0])
def test_senseless_seconds(seconds: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        Deadline(seconds)


@pytest.mark.parametrize("limit", [0, -1])
def test_senseless_rows(limit: int) -> None:
    with pytest.raises(UsageError, match="rows"):
        check_row_limit(limit)
    with pytest.raises(UsageError, match="rows"):
        rows_of(None, limit, Limits())  # type: ignore[arg-type]


def test_long_statements() -> None:
    check_text("x" * 20_000, Limits())
    with pytest.raises(ResourceLimit, match="20,000"):
        check_text("x" * 20_001, Limits())


def test_deadline_ignores_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(60)
    for now in (0.0, 4e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert not deadline.passed()
        assert 59 < deadline.remaining() <= 60


def test_sizes() -> None:
    assert row_bytes((None, 1, True, 2.5)) == 40
    assert row_bytes(("abc", b"ab")) == 13
