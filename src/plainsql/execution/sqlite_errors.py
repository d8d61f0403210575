"""What SQLite reports, as errors of the plainsql tree with a hint for the reader."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable

from plainsql.errors import (
    ConnectError,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    ResourceLimit,
)
from plainsql.execution.nearest_names import column_hint, table_hint

# Table name -> its columns, in the database's own order.
Names = dict[str, tuple[str, ...]]

# Texts of errors whose code is the general SQLITE_ERROR.
_REFUSALS = ("not authorized", "is prohibited", "vtable constructor failed", "one statement")
_TOO_MUCH = ("too many", "too large", "stack overflow")
_MISSING_COLUMN = re.compile(r"no such column: (?:.*\.)?(.+)")
_MISSING_TABLE = re.compile(r"no such table: (?:.*\.)?(.+)")
_MISSING_FUNCTION = re.compile(r"no such function: (.+)")


def statement_error(error: Exception, names: Callable[[], Names]) -> PlainsqlError:
    """The error of running a statement. `names` is called only to make a hint."""
    if isinstance(error, MemoryError):
        return _resource("The query needs more memory than it may use.")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_AUTH or isinstance(error, sqlite3.Warning):
        return _denied(error)
    if any(words in str(error) for words in _REFUSALS):
        return _denied(error)
    if code in _RESOURCE_CODES or isinstance(error, sqlite3.DataError):
        return _resource(f"The query is too large for its limits: {error}.")
    if code in _CONNECT_CODES:
        return _unreadable(error)
    if any(words in str(error) for words in _TOO_MUCH):
        return _resource(f"The query is too large for its limits: {error}.")
    return ExecutionError(f"The query failed: {error}.", hint=_hint(str(error), names))


def _unreadable(error: Exception) -> ConnectError:
    """The file can't be read (any more): locked, damaged, gone."""
    code = getattr(error, "sqlite_errorcode", 0)
    message, hint = _CONNECT_CODES[code & 0xFF]
    return ConnectError(f"The database {message} ({error}).", hint=hint)


def _denied(error: Exception) -> DeniedError:
    return DeniedError(
        f"The database engine refused the statement: {error}.",
        hint="Only single read-only queries over user tables are run.",
    )


def _resource(message: str) -> ResourceLimit:
    return ResourceLimit(message, hint="Ask for less at a time: a filter, fewer columns.")


_RESOURCE_CODES = frozenset({sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL})
_CONNECT_CODES = {
    sqlite3.SQLITE_BUSY: ("is locked", "Another program is writing to it; try again shortly."),
    sqlite3.SQLITE_LOCKED: ("is locked", "Another program is writing to it; try again shortly."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Restore a backup, or try sqlite3's .recover."),
    sqlite3.SQLITE_NOTADB: (
        "is not an SQLite database, or is encrypted",
        "Check the path; plainsql reads plain SQLite files.",
    ),
    sqlite3.SQLITE_IOERR: ("can't be read", "Check the disk and the rights of the file."),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "Check that you may read the file and, if it is in WAL mode, write to its folder.",
    ),
    sqlite3.SQLITE_READONLY: (
        "needs a repair that a reader can't do",
        "Open it once with the program that writes it, or copy it to a folder you may write to.",
    ),
    sqlite3.SQLITE_PERM: ("can't be read", "Check the rights of the file."),
    sqlite3.SQLITE_PROTOCOL: ("is locked", "Another program is using it; try again shortly."),
}


def _hint(message: str, names: Callable[[], Names]) -> str:
    """What the reader could have meant, from the names the database has."""
    if match := _MISSING_COLUMN.search(message):
        return column_hint(match[1], names())
    if match := _MISSING_TABLE.search(message):
        return table_hint(match[1], names())
    if match := _MISSING_FUNCTION.search(message):
        return f"SQLite has no function {match[1]}."
    if message.startswith("ambiguous column name"):
        return "Write the table's name before the column: table.column."
    return ""
