"""What PostgreSQL reports, as errors of the plainsql tree with a hint for the reader.

Errors are told apart by SQLSTATE, whose texts no setting translates
(https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from plainsql.errors import (
    ConnectError,
    ConnectionLost,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    ResourceLimit,
)
from plainsql.execution.limits import Deadline
from plainsql.execution.nearest_names import Names, column_hint, table_hint
from plainsql.execution.redaction import redact


@dataclass(frozen=True, slots=True)
class Report:
    """An error as the server sent it; `position` is a 1-based character of the query."""

    state: str  # SQLSTATE, "" for what the client met: a lost connection
    message: str
    hint: str = ""
    position: int | None = None


CANCELED = "57014"
_UNDEFINED_COLUMN, _UNDEFINED_TABLE, _UNDEFINED_FUNCTION = "42703", "42P01", "42883"
_AMBIGUOUS_COLUMN, _GROUPING, _TYPES_DIFFER = "42702", "42803", "42804"
_LOCKED = "55P03"
_TOO_MANY_CONNECTIONS = "53300"
# Classes and codes by what they mean for the reader; the longest prefix decides.
_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")
_DENIED = ("42501", "25", "2F002", "2F003", "2F004", "38002", "38003", "38004", "28", "0LP01")
_RESOURCES = ("53", "54")
_FRAGMENT = 40  # characters of a query that an error repeats
_SECOND_STATEMENT = "multiple commands"  # a syntax error, and what one statement at a time stops
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_MISSING = re.compile(r'(?:column|relation) "?([^"]+?)"? does not exist')


def statement_error(
    report: Report, sql: str, names: Callable[[], Names], deadline: Deadline | None = None
) -> PlainsqlError:
    """The error of running `sql`. `names` is called only to make a hint."""
    message = redact(report.message.strip().rstrip("."))
    if report.state == CANCELED and deadline is not None and "user request" not in message:
        return deadline.error()
    if not report.state or report.state.startswith(_LOST):
        return lost(message)
    if _is_refusal(report):
        return DeniedError(
            f"The database engine refused the statement: {message}.",
            hint="Only single read-only queries over tables that the role may read are run.",
        )
    if report.state.startswith(_RESOURCES):
        return ResourceLimit(
            f"The query is too large for the server's limits: {message}.",
            hint="Ask for less at a time: a filter, fewer columns, a simpler query.",
        )
    at = _place(sql, report.position) if report.position else ""
    return ExecutionError(f"The query failed: {message}{at}.", hint=_hint(report, names))


def _place(sql: str, position: int) -> str:
    """Where the 1-based character `position` of `sql` is: " (line 1, column 8: “nam …”)"."""
    before, rest = sql[: position - 1], sql[position - 1 :]
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    first = rest.split("\n", 1)[0].strip()
    shown = first if len(first) <= _FRAGMENT else first[: _FRAGMENT - 1] + "…"
    at = f": “{shown}”" if shown else ""
    return f" (line {line}, column {column}{at})"


def lost(message: str) -> ConnectionLost:
    """The connection broke while the server was being asked."""
    first = redact(message).strip().split("\n")[0].rstrip(".")
    return ConnectionLost(
        f"The connection to the database was lost: {first}.",
        hint="The server was stopped or restarted, or ended the session: ask again.",
    )


def too_wide(most: int) -> ResourceLimit:
    """A row larger than the client takes in."""
    return ResourceLimit(
        f"A row of the result is larger than {most // 1_000_000} MB.",
        hint="Leave out the large column, or ask for a part of it with left(…).",
    )


def _is_refusal(report: Report) -> bool:
    return report.state.startswith(_DENIED) or _SECOND_STATEMENT in report.message


def _hint(report: Report, names: Callable[[], Names]) -> str:
    """What the reader could have meant, from the names the database has."""
    wanted = _missing(report.message)
    if report.state == _UNDEFINED_COLUMN and wanted:
        return column_hint(wanted, names())
    if report.state == _UNDEFINED_TABLE and wanted:
        return table_hint(wanted, names())
    return _HINTS.get(report.state, redact(report.hint.strip().split("\n")[0]))


_HINTS = {
    _UNDEFINED_FUNCTION: "PostgreSQL has no such function or operator for these types: cast one.",
    _AMBIGUOUS_COLUMN: "Write the table's name before the column: table.column.",
    _GROUPING: "Add the column to GROUP BY, or wrap it in min(…) or max(…).",
    _TYPES_DIFFER: "Cast one side to the type of the other.",
    _LOCKED: "Another session holds a lock on the table; try again shortly.",
    CANCELED: "Somebody cancelled it on the server; ask again.",
}


def _missing(message: str) -> str:
    """The name that isn't there, without table and quotes: the server names it somehow."""
    found = _MISSING.search(message) or _QUOTED.search(message)
    return found[1].split(".")[-1].replace('""', '"') if found else ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection was to go, in words that hold no secret."""

    host: str
    port: int
    user: str
    database: str


def connect_error(message: str, where: Place) -> ConnectError:
    """The error of opening a connection, from what the driver wrote.

    The server hasn't told a SQLSTATE through the driver then, and its text may be
    translated: what isn't recognised is repeated.
    """
    text = redact(message)
    for words, (said, hint) in _OPENING.items():
        if any(word in text for word in words):
            return ConnectError(_filled(said, where), hint=_filled(hint, where))
    reason = text.strip().split("FATAL:")[-1].split("\n")[0].strip().rstrip(".")
    return ConnectError(
        f"The database on {where.host} can't be opened: {reason}.",
        hint="Check host, port, database and user of the URL.",
    )


def _filled(text: str, where: Place) -> str:
    return redact(
        text.format(host=where.host, port=where.port, user=where.user, database=where.database)
    )


_OPENING: dict[tuple[str, ...], tuple[str, str]] = {
    ("password authentication failed", "no password supplied", "SASL authentication failed"): (
        "The server on {host} refused the password of the user {user}.",
        "Check user and password, in the URL, PGPASSWORD or ~/.pgpass.",
    ),
    ("is not permitted to log in",): (
        "The role {user} may not log in.",
        "Name another one in the URL.",
    ),
    ("permission denied for database",): (
        "The role {user} may not connect to the database {database}.",
        "Its owner can allow it: GRANT CONNECT ON DATABASE.",
    ),
    ('role "',): ("There is no role {user} on {host}.", "Check the user in the URL."),
    ('database "',): (
        "There is no database {database} on {host}.",
        "Check the name after the last slash of the URL.",
    ),
    ("no pg_hba.conf entry",): (
        "The server on {host} doesn't let {user} in from here.",
        "Its pg_hba.conf decides; some servers want ?sslmode=require.",
    ),
    ("too many connections", "too many clients", "remaining connection slots"): (
        "The server on {host} has no connection left for {user}.",
        "Close other clients, or raise CONNECTION LIMIT of the role.",
    ),
    ("Connection refused", "No such file or directory"): (
        "No PostgreSQL server answers on {host}, port {port}.",
        "Check host and port, and that the server runs.",
    ),
    ("resolve host", "Name or service not known", "nodename nor servname"): (
        "There is no host called {host}.",
        "Check the host in the URL.",
    ),
    ("timeout expired", "timed out", "timeout"): (
        "The server on {host}, port {port}, didn't answer in time.",
        "Check host, port and firewall, or give ?connect_timeout= seconds.",
    ),
    ("starting up", "shutting down", "in recovery mode"): (
        "The server on {host} is starting or stopping.",
        "Try again in a moment.",
    ),
    ("unsupported startup parameter",): (
        "A connection pooler on {host} refused the session's settings.",
        "Set ignore_startup_parameters = options in PgBouncer, or connect to the server itself.",
    ),
    ("SSL", "certificate"): (
        "No secure connection to {host} could be made.",
        "Check sslmode and sslrootcert of the URL, and the server's certificate.",
    ),
}
