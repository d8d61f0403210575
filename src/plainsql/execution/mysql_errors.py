"""What MySQL and MariaDB report, as errors of the plainsql tree with a hint.

Numbers: https://mariadb.com/kb/en/mariadb-error-codes/ and
https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

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

TIMEOUTS = frozenset({1969, 3024})  # MariaDB, MySQL
INTERRUPTED = 1317  # by KILL QUERY
# server gone, lost, killed, shutting down, idle too long, network errors
LOST = frozenset({0, 1053, 1158, 1159, 1160, 1161, 1927, 2006, 2013, 2055, 3169, 4031})
_DENIED = frozenset({1044, 1142, 1143, 1227, 1290, 1370, 1410, 1792, 1836, 4166})
_RESOURCE = frozenset(
    {1021, 1037, 1038, 1041, 1104, 1114, 1116, 1117, 1119, 1135, 1153, 1203, 1206, 1226, 1436,
     3636, 4075}
)  # fmt: skip
_MEMORY_CAP = "max-session-mem-used"  # MariaDB reports it as 1290, a refused statement

_CONNECT = {
    1040: ("has no connection left", "Try again when others have closed theirs."),
    1044: (
        "doesn't let this user open the database",
        "Check the database's name and the user's grants.",
    ),
    1045: ("refused the user or the password", "Check both; in a URL write @ as %40, / as %2F."),
    1049: ("has no database of that name", "Check the name after the last / of the URL."),
    1129: ("blocks this computer after too many errors", "Its owner can run FLUSH HOSTS."),
    1130: ("doesn't accept connections from this computer", "Ask its owner for access."),
    1203: ("has no connection left for this user", "Close others, or try again shortly."),
    1226: ("has no connection left for this user", "Close others, or try again shortly."),
    1698: ("refused the user or the password", "This user may have to use the server's socket."),
    1862: ("wants a new password to be set for this user", "Set it with another client."),
    2005: ("has a name that can't be resolved", "Check the host's name."),
    2026: ("could not agree on TLS", "Check ssl_mode and ssl_ca; its certificate may not fit."),
    2058: ("wants a way to log in that isn't supported", "Use another user or plugin."),
    2059: (
        "wants the password in clear text or a login that isn't supported",
        "Clear text needs ssl_mode=REQUIRED; else use another user.",
    ),
}
_TROUBLES = (
    ("timed out", "did not answer in time", "Check the host and the port; see connect_timeout."),
    (
        "cryptography",
        "has a login that needs TLS",
        "Use ssl_mode=REQUIRED, or: pip install cryptography",
    ),
    ("CERTIFICATE", "showed a certificate that doesn't fit", "Check ssl_ca and the host's name."),
    ("refused", "is not there", "Check the host and the port, and that the server runs."),
    ("Name or service", "has a name that can't be resolved", "Check the host's name."),
    ("getaddrinfo", "has a name that can't be resolved", "Check the host's name."),
    ("No such file", "has no socket of that name", "Check unix_socket."),
    ("SSL", "could not agree on TLS", "Check ssl_mode and ssl_ca."),
)

_TOO_LONG = 1301  # the result of a function
_TOO_DEEP = 1931  # a recursion
_LIMIT = re.compile(r"\blimit\b", re.IGNORECASE)
_MISSING_COLUMN = re.compile(r"Unknown column '(?:.*\.)?(.+?)' in")
_MISSING_TABLE = re.compile(r"Table '(?:[^'.]*\.)?(.+?)' doesn't exist")
_MISSING_FUNCTION = re.compile(r"FUNCTION (?:.*\.)?(\S+) does not exist")
_NEAR = re.compile(r"near '(.*)' at line \d+", re.DOTALL)


def number_of(error: BaseException) -> int:
    """The server's or driver's number of an error; 0 where it has none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def is_lost(error: BaseException) -> bool:
    """Whether the error means that the connection is no more."""
    from pymysql.err import InterfaceError, OperationalError

    if isinstance(error, OperationalError):
        return number_of(error) in LOST - {0}
    return isinstance(error, InterfaceError | OSError)


def connect_error(error: BaseException, place: str) -> ConnectError:
    """Why the server at `place` (a URL without secrets) can't be used: one sentence."""
    number, text = number_of(error), str(error)
    if number in _CONNECT:
        what, hint = _CONNECT[number]
    else:
        found = (row for row in _TROUBLES if row[0].lower() in text.lower())
        _, what, hint = next(found, ("", "can't be used", "Check the URL and the server's log."))
    return ConnectError(f"The server of {place} {what}.", hint=hint)


def lost_error(place: str) -> ConnectionLost:
    """The connection broke while a query was running, which is not sent twice."""
    return ConnectionLost(
        f"The connection to {place} was lost while it was asked.",
        hint="Check that the server runs, then ask again.",
    )


def statement_error(error: BaseException, sql: str, names: Callable[[], Names]) -> PlainsqlError:
    """The error of running `sql`. `names` is called only to make a hint."""
    number, text = number_of(error), redact(_text(error))
    if isinstance(error, MemoryError) or number in _RESOURCE or _MEMORY_CAP in text:
        message = f"The query is too large for its limits: {text or 'out of memory'}."
        return ResourceLimit(message, hint="Ask for less at a time: a filter, fewer columns.")
    if number in _DENIED:
        return DeniedError(
            f"The database engine refused the statement: {text}.",
            hint="Only single read-only queries over tables you may read are run.",
        )
    if number in (1205, 1213):
        return ExecutionError(
            f"The query waited for a table that is locked: {text}.",
            hint="Another program is changing it; try again shortly.",
        )
    if number == INTERRUPTED:
        return ExecutionError("The query was stopped by somebody else on the server.")
    if isinstance(error, UnicodeError):
        return ExecutionError("The result holds text that is not UTF-8.", hint="Use HEX(column).")
    return ExecutionError(f"The query failed: {text}.", hint=_hint(number, text, sql, names))


def check_warnings(warnings: Iterable[tuple[Any, ...]], sql: str) -> None:
    """Raise ResourceLimit where rows of (level, number, text) say that a result is wrong.

    MariaDB ends a recursion that is too deep, and both give NULL for a text longer
    than max_allowed_packet. Of an endless recursion with a LIMIT the first rows are right.
    """
    for _, number, text in warnings:
        if number == _TOO_LONG or (number == _TOO_DEEP and not _LIMIT.search(sql)):
            raise ResourceLimit(
                f"The query is too large for its limits: {str(text).rstrip('.')}.",
                hint="Ask for less at a time: a filter, fewer columns.",
            )


def _text(error: BaseException) -> str:
    """The server's message without its number."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    return text.strip().rstrip(".")


def _hint(number: int, text: str, sql: str, names: Callable[[], Names]) -> str:
    """What the reader could have meant, from the names the database has."""
    if match := _MISSING_COLUMN.search(text):
        return column_hint(match[1], names())
    if match := _MISSING_TABLE.search(text):
        return table_hint(match[1], names())
    if match := _MISSING_FUNCTION.search(text):
        return f"The server has no function {match[1]}."
    if number == 1052:
        return "Write the table's name before the column: table.column."
    if match := _NEAR.search(text):
        return _position(match[1], sql)
    return ""


def _position(near: str, sql: str) -> str:
    """Where the part of `sql` begins that the server didn't understand.

    The server shows the rest of the statement from there, at most 80 characters.
    """
    if not near:
        return "The statement ends too early."
    at = sql.rfind(near) if len(near) < 80 else sql.find(near)
    return f"The mistake is at or before character {at + 1}." if at >= 0 else ""
