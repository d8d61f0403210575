"""A result of DuckDB as columns, without a Python object for each cell.

DuckDB gives any result as a stream in Arrow's C interface, which needs no other library:
https://arrow.apache.org/docs/format/CStreamInterface.html, in a PyCapsule as in
https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html. Of Arrow's
types only the plainest are read; what has another type is cast to text by DuckDB.

note: the driver's documented way to such a stream has 131,072 rows in each part, which
is too many where rows are wide, and lets nobody choose. So its inner function is used,
where it is there; where it isn't, rows are fetched as rows.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import duckdb

from plainsql.execution import duckdb_cells
from plainsql.execution import worker_columns as wire
from plainsql.execution.limits import BATCH_BYTES
from plainsql.execution.worker_columns import Chunk, Column

ROWS = 2048  # at a time: one of DuckDB's own vectors

# Arrow's formats of types, and the codes of our columns.
_CODES = {
    b"c": "b", b"C": "B", b"s": "h", b"S": "H", b"i": "i", b"I": "I", b"l": "q", b"L": "Q",
    b"g": "d", b"b": wire.BOOLS, b"u": wire.TEXTS, b"z": wire.BLOBS, b"n": wire.NOTHING,
}  # fmt: skip
# DuckDB's types that come as texts, and what these are of.
_AS_TEXTS = {
    "hugeint": wire.WHOLE_TEXTS, "uhugeint": wire.WHOLE_TEXTS,
    "decimal": wire.DECIMAL_TEXTS, "enum": wire.TEXTS,
}  # fmt: skip


_Call = ctypes.CFUNCTYPE


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.POINTER(_Schema)),
    ("release", _Call(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.POINTER(_Array)),
    ("release", _Call(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", _Call(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema))),
    ("get_next", _Call(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", _Call(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", _Call(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def projection(types: Sequence[Any]) -> str | None:
    """What to select over a query with columns of `types`; "" for the query itself.

    None where the columns have types that Python has to finish.
    """
    if duckdb_cells.finishing(types) is not None:
        return None
    return duckdb_cells.projection(types, as_text=_AS_TEXTS.keys())


def chunks(
    cursor: duckdb.DuckDBPyConnection, sql: str, types: Sequence[Any]
) -> Iterator[Chunk] | None:
    """The result of `sql`, whose columns were of `types` before the `projection`.

    The first of it is there. None where the driver gives no such stream, for types that
    aren't known here, and where rows are so wide that the memory is too small for 2,048
    of them twice. Raises DuckDB's errors, as does the iterator.
    """
    try:
        found = _opened(cursor, sql, types)
        first = next(found, None) if found is not None else None
    except (MemoryError, duckdb.OutOfMemoryException):
        return None
    return found if found is None or first is None else chain((first,), found)


def _opened(
    cursor: duckdb.DuckDBPyConnection, sql: str, types: Sequence[Any]
) -> Iterator[Chunk] | None:
    submit = getattr(cursor, "_submit", None)
    if submit is None:
        return None
    capsule = submit(sql, None, "stream", ROWS).arrow_capsule()
    stream = ctypes.cast(_pointer_of(capsule, b"arrow_array_stream"), ctypes.POINTER(_Stream))
    codes = _codes(stream)
    if codes is None:
        return None
    texts = [_AS_TEXTS.get(str(kind.id)) for kind in types]
    return _read(capsule, stream, [text or code for text, code in zip(texts, codes, strict=True)])


def _codes(stream: Any) -> list[str] | None:
    """The codes of the stream's columns; None when one has a type that isn't read here."""
    schema = _Schema()
    _checked(stream, stream.contents.get_schema(stream, ctypes.byref(schema)))
    try:
        formats = [schema.children[at].contents.format for at in range(schema.n_children)]
    finally:
        schema.release(ctypes.byref(schema))
    codes = [_CODES.get(form) for form in formats]
    return None if None in codes else [code for code in codes if code is not None]


def _read(capsule: object, stream: Any, codes: list[str]) -> Iterator[Chunk]:
    """The stream in chunks of about `BATCH_BYTES`. It lives as long as its capsule."""
    while capsule is not None:
        found = _Array()
        _checked(stream, stream.contents.get_next(stream, ctypes.byref(found)))
        if not found.release:
            return
        try:
            columns = [found.children[at].contents for at in range(len(codes))]
            if any(column.offset or column.length != found.length for column in columns):
                raise RuntimeError("a column of another length")
            for start, end in _steps(found.length, codes, columns):
                yield Chunk(end - start, list(map(_part, codes, columns, repeat((start, end)))))
        finally:
            found.release(ctypes.byref(found))


def _steps(rows: int, codes: list[str], columns: list[Any]) -> Iterator[tuple[int, int]]:
    """From which row to which, at least eight at a time: a bit of each fills a byte."""
    size = sum(map(_size, codes, columns, repeat(rows)))
    step = max(8, rows * BATCH_BYTES // max(size, 1) // 8 * 8)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _size(code: str, column: Any, rows: int) -> int:
    """Bytes of the cells of a column."""
    if code in wire.NUMBERS or code in (wire.BOOLS, wire.NOTHING):
        return rows * wire.NUMBERS.get(code, 1)
    first, last = _ends(_bytes(column, 1, 0, 4), _bytes(column, 1, 4 * rows, 4))
    return last - first


def _part(code: str, column: Any, part: tuple[int, int]) -> Column:
    """A copy of some rows of a column's memory."""
    start, end = part
    if code == wire.NOTHING:
        return code, b"", b"", b""
    bits = start // 8, (end - start + 7) // 8
    valid = _bytes(column, 0, *bits) if column.null_count else b""
    if code == wire.BOOLS:
        return code, valid, b"", _bytes(column, 1, *bits)
    if size := wire.NUMBERS.get(code):
        return code, valid, b"", _bytes(column, 1, start * size, (end - start) * size)
    places = _bytes(column, 1, 4 * start, 4 * (end - start + 1))
    first, last = _ends(places[:4], places[-4:])
    return code, valid, places, _bytes(column, 2, first, last - first)


def _ends(first: bytes, last: bytes) -> tuple[int, int]:
    return int.from_bytes(first, sys.byteorder), int.from_bytes(last, sys.byteorder)


def _bytes(column: Any, at: int, start: int, size: int) -> bytes:
    """Some bytes of a buffer; none of one that isn't there."""
    address = column.buffers[at]
    return ctypes.string_at(address + start, size) if address and size else b""


def _checked(stream: Any, code: int) -> None:
    """Raise the driver's error of a call that failed."""
    if code:
        text = (stream.contents.get_last_error(stream) or b"").decode("utf-8", "replace")
        raise _error(text)


def _error(text: str) -> Exception:
    """The driver's class for a message such as "Out of Memory Error: …"."""
    kind = text.partition(" Error: ")[0]
    name = "".join(word if word in ("IO", "HTTP") else word.title() for word in kind.split())
    named: type[Exception] = getattr(duckdb, f"{name}Exception", duckdb.Error)
    return named(text)
