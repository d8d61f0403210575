"""What DuckDB reports, as errors of the plainsql tree with a hint for the reader."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import duckdb

from plainsql.errors import (
    ConnectError,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    ResourceLimit,
)
from plainsql.execution.nearest_names import Names, column_hint, table_hint

# What the driver may raise beside its own errors: RuntimeError for text that is no UTF-8.
ERRORS = (duckdb.Error, RuntimeError, MemoryError, UnicodeError, ValueError, TypeError)

_REFUSALS = (
    "read-only mode",
    "configuration has been locked",
    "disabled by configuration",
    "disabled through configuration",
)
_LOST = ("has been invalidated", "Connection already closed", "already been closed")
_TOO_MUCH = ("Max expression depth", "maximum recursion", "too many", "length limit")
_RESTORE = "Restore a backup, or fetch the file again."
_KIND = re.compile(r"^(?:[A-Z][\w ]*? (?:Error|Exception): |INTERRUPT Error: )+")
_LINE = re.compile(r"\nLINE (\d+): (.*)\n( *)\^")
_MISSING_COLUMN = re.compile(
    r'Referenced column "(.+?)" (?:not found|was not found)'
    r'|does not have a column named "(.+?)"'
    r'|column "(.+?)" not found'
)
_MISSING_TABLE = re.compile(r"Table with name (.+?) does not exist")
_MISSING_FUNCTION = re.compile(r"Function with name (.+?) does not exist")


def statement_error(
    error: Exception, names: Callable[[], Names], *, lines_before: int = 0
) -> PlainsqlError:
    """The error of running a statement. `names` is called only to make a hint.

    `lines_before` are lines of our own in front of it, which places don't count.
    """
    text = str(error)
    if isinstance(error, MemoryError | duckdb.OutOfMemoryException):
        return _resource("The query needs more memory than it may use.")
    if isinstance(error, duckdb.PermissionException) or _has(text, _REFUSALS):
        message = f"The database engine refused the statement: {_first_line(text)}."
        return DeniedError(message, hint="Only single read-only queries over user tables are run.")
    if _has(text, _TOO_MUCH):
        return _resource(f"The query is too large for its limits: {_first_line(text)}.")
    if (lost := _unreadable(error, text)) is not None:
        return lost
    if isinstance(error, UnicodeError) or "bad_cast" in text:
        message = "The query failed: its text can't be written as UTF-8."
        return ExecutionError(message, hint="Leave out the characters that are no text.")
    message = f"The query failed: {_first_line(text)}{_place(text, lines_before)}."
    return ExecutionError(message, hint=_hint(text, names))


def _unreadable(error: Exception, text: str) -> ConnectError | None:
    """The file can't be read (any more), if that is what the error says."""
    if _has(text, _LOST) or isinstance(error, duckdb.FatalException):
        message = f"The database can't be read any more: {_first_line(text)}."
        return ConnectError(message, hint="Open it again.")
    if "Could not read enough bytes" in text:
        return ConnectError("The database is cut off: its end is missing.", hint=_RESTORE)
    if isinstance(error, duckdb.IOException) or "Corrupt database" in text:
        message = f"The database can't be read: {_first_line(text)}."
        return ConnectError(message, hint="Check the disk; restore a backup if it is damaged.")
    return None


def _has(text: str, any_of: tuple[str, ...]) -> bool:
    return any(words in text for words in any_of)


def opening_error(error: Exception, path: Path) -> ConnectError:
    """Why the file at `path` can't be opened, in one sentence."""
    text = str(error)
    for words, (message, hint) in _OPENING.items():
        if words in text:
            return ConnectError(f"The database {path} {message}.", hint=hint)
    return ConnectError(
        f"Can't read the database {path}: {_first_line(text)}.",
        hint="Check the file, its permissions and those of its folder.",
    )


_OPENING = {
    "Could not set lock": (
        "is locked",
        "Another program has it open for writing; close that first, or copy the file.",
    ),
    "not a valid DuckDB database": (
        "is not a DuckDB database",
        "Check the path; CSV, Parquet and JSON files need their usual ending.",
    ),
    "Corrupt database": ("is damaged", _RESTORE),
    "Could not read enough bytes": ("is cut off: its end is missing", _RESTORE),
    "database does not exist": ("does not exist", "Check the path."),
    "ersion number": (
        "was written by another version of DuckDB",
        "Upgrade with: pip install -U duckdb; or write it anew with EXPORT DATABASE.",
    ),
    "newer version": (
        "was written by a newer version of DuckDB",
        "Upgrade with: pip install -U duckdb",
    ),
    "different configuration": (
        "is open in this program already, in another way",
        "Close that connection first.",
    ),
    "encrypt": ("is encrypted", "Export it to a plain file with DuckDB first."),
    "WAL": (
        "has a damaged log of changes beside it (.wal)",
        "Open it once with the program that wrote it, or move the .wal file away.",
    ),
    "ermission denied": ("can't be read", "Give yourself the right to read it: chmod u+r"),
    "Is a directory": ("is a folder, not a database file", "Give the path of a file."),
    "change memory limit": (
        "needs more memory than it may use",
        "Raise Limits(heap_bytes=…), or convert the files to a DuckDB database.",
    ),
    "Out of Memory": (
        "needs more memory to be opened than it may use",
        "Raise the memory limit of the engine.",
    ),
}


def first_line(error: Exception) -> str:
    """DuckDB's message without its kind, place and advice."""
    return _first_line(str(error))


def _resource(message: str) -> ResourceLimit:
    return ResourceLimit(message, hint="Ask for less at a time: a filter, fewer columns.")


def _first_line(text: str) -> str:
    """The first line of a message, without "Binder Error: " and the like."""
    line = _KIND.sub("", text).partition("\n")[0].strip()
    return line.rstrip(".!:") or "no reason was given"


def _place(text: str, lines_before: int) -> str:
    """Where in the query, as DuckDB shows it: " (line 1, column 8)"."""
    found = _LINE.search(text)
    if found is None:
        return ""
    line = int(found[1]) - lines_before
    if line < 1:
        return ""
    if found[2].startswith("..."):  # the line was too long to be shown whole
        return f" (line {line})"
    return f" (line {line}, column {len(found[3]) - len(f'LINE {found[1]}: ') + 1})"


def _hint(message: str, names: Callable[[], Names]) -> str:
    """What the reader could have meant, from the names the database has."""
    if match := _MISSING_COLUMN.search(message):
        return column_hint(next(filter(None, match.groups())), names())
    if match := _MISSING_TABLE.search(message):
        return table_hint(match[1], names())
    if match := _MISSING_FUNCTION.search(message):
        return f"DuckDB has no function {match[1]}."
    if "Ambiguous reference" in message:
        return "Write the table's name before the column: table.column."
    if "must appear in the GROUP BY" in message:
        return "Add the column to GROUP BY, or wrap it in any_value(…)."
    return ""
