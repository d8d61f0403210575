"""Rows that cross the pipe column by column, as arrays of numbers and joined texts.

An engine that has its rows in columns needs make no Python object of them: the worker
sends the columns' memory as it is, and the parent makes each cell once. A payload is

    rows, columns ─ for each column: code, three lengths ─ for each: valid, places, data

in the layout of Apache Arrow (https://arrow.apache.org/docs/format/Columnar.html): `valid`
has a bit for each row, or is empty when there is no NULL; `places` are where texts start,
and the last one's end, counted from anywhere.
Nothing in it is trusted: the child holds a file that may be hostile.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

from plainsql.execution.limits import Batch
from plainsql.execution.worker_wire import Payload, malformed
from plainsql.records import Cell

# Codes of columns. Numbers have those of the array module: b B h H i I q Q, and d.
BOOLS, TEXTS, BLOBS, NOTHING = "?", "t", "y", "n"
WHOLE_TEXTS, DECIMAL_TEXTS = "N", "D"  # numbers without a type of this size, as texts
NUMBERS = {code: array(code).itemsize for code in "bBhHiIqQd"}  # and their bytes

_HEAD = struct.Struct("=IH")
_COLUMN = struct.Struct("=cIII")
_MOST_CELLS = 20_000_000  # of a payload: NULLs take little room there, and much in rows
_MOST_DIGITS = 60  # of a number as text
# The eight flags in each byte, the lowest bit first.
_FLAGS = [tuple(bool(byte >> bit & 1) for bit in range(8)) for byte in range(256)]

Column = tuple[str, bytes, bytes, bytes]  # code, valid, places, data


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a result, by their columns."""

    rows: int
    columns: Sequence[Column]

    def payload(self) -> bytes:
        """The chunk as the rest of a frame."""
        parts = [_HEAD.pack(self.rows, len(self.columns))]
        buffers: list[bytes] = []
        for code, *three in self.columns:
            parts.append(_COLUMN.pack(code.encode(), *map(len, three)))
            buffers += three
        return b"".join(parts + buffers)


def rows_of_columns(payload: Payload) -> Batch:
    """The rows of a payload. Raises ExecutionError for what no worker of ours sends."""
    try:
        return _rows(memoryview(payload))
    except (ValueError, ArithmeticError, LookupError, struct.error) as error:
        raise malformed() from error


def _rows(payload: memoryview) -> Batch:
    rows, count = _HEAD.unpack_from(payload)
    if not 0 < rows * count <= _MOST_CELLS:
        raise ValueError("a size that no batch has")
    at = _HEAD.size + count * _COLUMN.size
    columns = []
    for number in range(count):
        code, *lengths = _COLUMN.unpack_from(payload, _HEAD.size + number * _COLUMN.size)
        buffers = []
        for length in lengths:
            buffers.append(payload[at : at + length])
            at += length
        columns.append(_cells(code.decode("ascii"), rows, *buffers))
    if at != len(payload):
        raise ValueError("not the length it says")
    return list(zip(*columns, strict=True))


def _cells(
    code: str, rows: int, valid: memoryview, places: memoryview, data: memoryview
) -> Sequence[Cell]:
    """The cells of one column. Raises ValueError, and what `array` and `decimal` raise."""
    if code in NUMBERS:
        found: Sequence[Any] = _exactly(rows, _array(code, data))
    elif code == BOOLS:
        found = _flags(rows, data)
    elif code == NOTHING:
        return [None] * rows
    else:
        found = _pieces(rows, places, data, _decoded if code != BLOBS else bytes)
    if valid:
        flags = _flags(rows, valid)
        found = [cell if there else None for cell, there in zip(found, flags, strict=True)]
    return _as_numbers(_NUMBER_OF[code], found) if code in _NUMBER_OF else found


_NUMBER_OF: dict[str, Callable[[str], Cell]] = {WHOLE_TEXTS: int, DECIMAL_TEXTS: Decimal}


def _as_numbers(kind: Callable[[str], Cell], texts: Sequence[str | None]) -> list[Cell]:
    if max((len(text) for text in texts if text is not None), default=0) > _MOST_DIGITS:
        raise ValueError("too many digits")
    return [None if text is None else kind(text) for text in texts]


def _array(code: str, data: memoryview) -> list[Any]:
    numbers = array(code)
    numbers.frombytes(data)
    return numbers.tolist()


def _exactly(rows: int, cells: list[Any]) -> list[Any]:
    if len(cells) != rows:
        raise ValueError("not a cell for each row")
    return cells


def _flags(rows: int, bits: memoryview) -> list[bool]:
    """A bit for each row as truth values."""
    if len(bits) != (rows + 7) // 8:
        raise ValueError("not a bit for each row")
    flags = list(chain.from_iterable(map(_FLAGS.__getitem__, bits)))
    del flags[rows:]
    return flags


def _decoded(text: memoryview) -> str:
    return str(text, "utf-8")


def _pieces(
    rows: int, places: memoryview, data: memoryview, made: Callable[[memoryview], Any]
) -> list[Any]:
    """`data` cut at `places`, which are ascending, each piece a text or blob."""
    cuts = _exactly(rows + 1, _array("i", places))
    if cuts != sorted(cuts) or cuts[-1] - cuts[0] != len(data):
        raise ValueError("not where its texts end")
    if first := cuts[0]:
        cuts = [cut - first for cut in cuts]
    if made is _decoded:
        whole = str(data, "utf-8")
        if len(whole) == len(data):  # ASCII: twice as fast as each for itself
            return [whole[start:end] for start, end in pairwise(cuts)]
    return [made(data[start:end]) for start, end in pairwise(cuts)]
