"""What a worker process and its parent say to each other, in frames over two pipes.

A frame is one byte for its kind, four for the length of the rest, and the rest:
a pickle, or columns (`worker_columns`). The parent reads pickles with a closed list
of names (the child holds a file that may be hostile,
https://docs.python.org/3/library/pickle.html), looks whether what it read is what was
asked for, and finds errors by class name, message and hint in a closed table.

note: a hostile pickle can still ask for much memory; so can the child itself, which
has the rights of its user. It makes nothing but cells, names and schemas.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql import errors
from plainsql.errors import ExecutionError, PlainsqlError
from plainsql.execution.limits import Limits, Row

if TYPE_CHECKING:
    from plainsql.execution.base import Protection
    from plainsql.execution.targets import Target

Payload = bytes | bytearray | memoryview

HEADER = struct.Struct(">BI")
MOST_FRAME_BYTES = 256_000_000  # a longer one is no answer, but an attack or a bug
_SPLIT_BYTES = 4_000_000  # batches of wide rows are sent in pieces of about this size


class Frame(IntEnum):
    """The kinds of frames. A request is answered by VALUE, ERROR, or HEAD … END."""

    OPEN = 1  # parent to child: what to open, the first frame
    CALL = 2  # parent to child: the name of a request and its arguments
    READY = 3  # the database is open
    VALUE = 4  # the whole answer
    HEAD = 5  # the columns of a stream
    BATCH = 6  # rows of it
    END = 7  # its end
    ERROR = 8  # the end of any request: (class name, message, hint)
    COLUMNS = 9  # rows of a stream by their columns, see `worker_columns`


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker opens: `target` is a path for SQLite, else a Target."""

    kind: str
    target: Path | Target
    tables: frozenset[str] | None
    limits: Limits


_ERRORS: dict[str, type[PlainsqlError]] = {
    name: getattr(errors, name)
    for name in (
        "UsageError DeniedError ExecutionError QueryTimeout ResourceLimit ConnectError"
        " ConnectionLost SchemaError MissingExtra"
    ).split()
}
# Modules whose classes may come in an answer; imported when one does.
_NAMES = {
    "decimal": frozenset({"Decimal"}),
    "plainsql.schema.model": frozenset({"Schema", "Table", "Column", "ForeignKey", "ColumnType"}),
    "plainsql.execution.base": frozenset({"Protection"}),
}
_PLAIN = (str, int, float, bytes, bool, type(None))
_CELLS = frozenset((*_PLAIN, Decimal))


def frame(kind: Frame, payload: bytes) -> bytes:
    """One frame, to be written as it is."""
    return HEADER.pack(kind, len(payload)) + payload


def packed(value: object) -> bytes:
    """A value as the rest of a frame."""
    return pickle.dumps(value, protocol=5)


def packed_rows(rows: list[Any]) -> Payload:
    """Rows as the rest of a frame, at half of pickle's usual cost.

    Nothing in them is shared, so that no memo of objects is needed; but with
    one, the class of many decimals is named once.
    """
    if not all(isinstance(cell, _PLAIN) for cell in rows[0]):
        return packed(rows)
    target = io.BytesIO()
    pickler = pickle.Pickler(target, protocol=5)
    pickler.fast = True
    pickler.dump(rows)
    return target.getbuffer()


def batch_payloads(rows: list[Any]) -> list[Payload]:
    """`rows` as the payloads of one or more frames, in their order."""
    payload = packed_rows(rows)
    if len(payload) <= _SPLIT_BYTES or len(rows) == 1:
        return [payload]
    half = len(rows) // 2
    return batch_payloads(rows[:half]) + batch_payloads(rows[half:])


class _Unpickler(pickle.Unpickler):
    """Makes plain values, and objects of the listed classes alone."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in an answer")
        return super().find_class(module, name)


def unpacked(payload: Payload) -> Any:
    """The value of an answer. Raises ExecutionError for what no worker of ours sends."""
    try:
        return _Unpickler(io.BytesIO(payload)).load()
    except Exception as error:  # a broken pickle can raise nearly anything
        raise malformed() from error


def unpacked_ready(payload: Payload) -> tuple[tuple[Protection, ...], tuple[str, ...]]:
    """What a worker says of itself, and of its database; else ExecutionError."""
    from plainsql.execution.base import Protection

    found = unpacked(payload)
    if type(found) is not tuple or list(map(type, found)) != [tuple, tuple]:
        raise malformed()
    if not set(map(type, found[0])) <= {Protection}:
        raise malformed()
    return found[0], _names(found[1])


def unpacked_names(payload: Payload) -> tuple[str, ...]:
    """The names of a result's columns. Raises ExecutionError for anything else."""
    return _names(unpacked(payload))


def unpacked_rows(payload: Payload) -> list[Row]:
    """Rows of a stream. Raises ExecutionError for anything else."""
    rows = unpacked(payload)
    if type(rows) is not list:
        raise malformed()
    _check_rows(rows)
    return rows


def unpacked_result(payload: Payload) -> tuple[tuple[str, ...], tuple[Row, ...], bool]:
    """The columns and rows of a whole result, and whether it was cut; else ExecutionError."""
    found = unpacked(payload)
    if type(found) is not tuple or list(map(type, found[1:])) != [tuple, bool]:
        raise malformed()
    names = _names(found[0])
    _check_rows(found[1], len(names))
    return names, found[1], found[2]


def _names(found: object) -> tuple[str, ...]:
    if type(found) is not tuple or not set(map(type, found)) <= {str}:
        raise malformed()
    return found


def _check_rows(rows: Sequence[Any], width: int | None = None) -> None:
    """Raise ExecutionError unless these are tuples of cells, of one length."""
    if not set(map(type, rows)) <= {tuple}:
        raise malformed()
    widths = set(map(len, rows))
    if len(widths) > 1 or (width is not None and not widths <= {width}):
        raise malformed()
    if not set(map(type, chain.from_iterable(rows))) <= _CELLS:
        raise malformed()


def malformed() -> ExecutionError:
    """The error for an answer that can't be one."""
    return ExecutionError(
        "The engine process sent what can't be read.",
        hint="The database file may be damaged or hostile.",
    )


def packed_error(error: BaseException) -> bytes:
    """An error as the payload of an ERROR frame: of the listed classes, or made one."""
    if isinstance(error, MemoryError):
        return packed(("ResourceLimit", "The query needs more memory than it may use.", _LESS))
    name = type(error).__name__
    if isinstance(error, PlainsqlError) and name in _ERRORS:
        return packed((name, error.message, error.hint))
    # Only the name: the text of an error nobody expected may hold anything.
    return packed(("ExecutionError", f"The engine failed with {name}.", ""))


_LESS = "Ask for less at a time: a filter, fewer columns."


def unpacked_error(payload: Payload) -> PlainsqlError:
    """The error that `packed_error` described. Never raises."""
    try:
        name, message, hint = unpacked(payload)
        known = _ERRORS[name]
    except (KeyError, TypeError, ValueError, ExecutionError):
        return malformed()
    error = known.__new__(known)
    PlainsqlError.__init__(error, str(message), hint=str(hint))
    return error
