"""What drivers report through SQLAlchemy, as errors of the plainsql tree."""

from __future__ import annotations

import re

import sqlalchemy.exc

from plainsql.errors import (
    ConnectError,
    ConnectionLost,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    ResourceLimit,
)
from plainsql.execution.nearest_names import Names, column_hint, table_hint
from plainsql.execution.redaction import redact

# Drivers raise their own errors where SQLAlchemy doesn't wrap them: while rows are read.
ERRORS = (sqlalchemy.exc.SQLAlchemyError, OSError, UnicodeError, MemoryError, RuntimeError)

_DENIED = re.compile(
    r"permission|denied|not authori[sz]ed|read[- ]?only|privilege|attempt to write", re.I
)
_TOO_MUCH = re.compile(r"out of memory|too (?:big|large|many)|disk (?:is )?full|no space", re.I)
_LOST = re.compile(
    r"server closed|connection (?:was |has been )?(?:lost|closed|reset|aborted|terminated)"
    r"|gone away|broken pipe|lost connection|terminating connection|not connected|network error",
    re.I,
)
_MISSING_COLUMN = re.compile(
    r"(?:unknown column|no such column:?|invalid column name|column) ['\"`]?(?:[\w]+\.)*"
    r"([\w ]+?)['\"`]?(?: does not exist| in |$)",
    re.I,
)
_MISSING_TABLE = re.compile(
    r"(?:no such table:?|invalid object name|relation|table) ['\"`]?(?:[\w]+\.)*([\w ]+?)['\"`]?"
    r"(?: does(?:n't| not) exist|\W*$)",
    re.I,
)


def explained(error: BaseException, names: Names, place: str) -> PlainsqlError:
    """The error of running a statement; `names` are those of the database, for a hint."""
    text = message_of(error)
    if isinstance(error, MemoryError) or _TOO_MUCH.search(text):
        return ResourceLimit(
            f"The query is too large for its limits: {text}.",
            hint="Ask for less at a time: a filter, fewer columns.",
        )
    if is_lost(error):
        return ConnectionLost(
            f"The connection to {place} was lost while it was asked.",
            hint="Check that the server runs, then ask again.",
        )
    if _DENIED.search(text):
        return DeniedError(
            f"The database engine refused the statement: {text}.",
            hint="Only single read-only queries over tables you may read are run.",
        )
    return ExecutionError(f"The query failed: {text}.", hint=_hint(text, names))


def is_lost(error: BaseException) -> bool:
    """Whether the error means that the connection is no more."""
    invalidated = getattr(error, "connection_invalidated", False)
    return bool(invalidated or _LOST.search(message_of(error)))


def connect_error(error: BaseException, place: str) -> ConnectError:
    """Why the database at `place` can't be used, in the driver's words."""
    return ConnectError(
        f"The database {place} can't be used: {message_of(error)}.",
        hint="Check the URL, the user's rights and that the server runs.",
    )


def message_of(error: BaseException) -> str:
    """The driver's own message on one line, without secrets.

    SQLAlchemy's would hold the statement and a link too.
    """
    cause = getattr(error, "orig", None) or error
    first = cause.args[0] if cause.args else cause
    if isinstance(first, dict):  # pg8000: the fields of the server's message
        text = str(first.get("M", cause))
    else:
        text = str(cause)
    lines = [line.strip() for line in redact(text).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__).rstrip(".")


def _hint(text: str, names: Names) -> str:
    """What the reader could have meant, once the names are known."""
    if not names:
        return ""
    if match := _MISSING_COLUMN.search(text):
        return column_hint(match[1], names)
    if match := _MISSING_TABLE.search(text):
        return table_hint(match[1], names)
    return ""
