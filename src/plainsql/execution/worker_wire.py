"""What a worker process and its parent say to each other, in frames over two pipes.

A frame is one byte for its kind, four for the length of the rest, and the rest:
a pickle. The parent reads pickles with a closed list of names (the child holds
a file that may be hostile, https://docs.python.org/3/library/pickle.html), and
an error comes as its class name, message and hint, looked up in a closed table.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql import errors
from plainsql.errors import ExecutionError, PlainsqlError
from plainsql.execution.limits import Limits

if TYPE_CHECKING:
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
