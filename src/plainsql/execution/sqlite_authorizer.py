"""Which reads SQLite may compile: its authorizer, asked about each table, column and function."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress

from plainsql.execution import policy
from plainsql.execution.policy import fold
from plainsql.execution.sqlite_errors import Names

_FUNCTIONS = policy.SQLITE_FUNCTIONS | {"->", "->>"}


class Authorizer:
    """Lets SQLite compile reads of permitted tables and listed functions, nothing else.

    The names are SQLite's five arguments: action, two names, database, context.

    note: SQLite passes the innermost view or sub-query's name as the context of
    a read, so a WITH item named like a permitted view would inherit its rights.
    Hence the reads of each view are recorded once, and only these are allowed.
    """

    def __init__(self, connection: sqlite3.Connection, tables: frozenset[str] | None) -> None:
        self.trusted = False  # while the engine runs a statement of its own
        self._functions = _FUNCTIONS
        self._all = {fold(name) for name in read_names(connection)}
        self._tables = None if tables is None else {fold(name) for name in tables}
        self._view_reads = frozenset(_reads_of_views(connection, self._tables or set()))
        self._in_views = {table for table, _, _ in self._view_reads}

    def __call__(
        self, action: int, first: str | None, second: str | None, _: str | None, by: str | None
    ) -> int:
        allowed = (
            action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
            or (action == sqlite3.SQLITE_FUNCTION and fold(second or "") in self._functions)
            or (action == sqlite3.SQLITE_READ and self._may_read(first or "", second or "", by))
            # full-text indexes ask it before each look-up
            or (action == sqlite3.SQLITE_PRAGMA and (first, second) == ("data_version", None))
            or (action == sqlite3.SQLITE_TRANSACTION and self.trusted)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    def _may_read(self, table: str, column: str, by: str | None) -> bool:
        name = fold(table)
        if policy.SQLITE.reserves(name) and name not in self._all:
            return False
        if name.startswith("sqlite_"):
            return False
        if self._tables is None or name in self._tables or name in policy.SQLITE_TABLE_FUNCTIONS:
            return True
        if (name, fold(column), fold(by or "")) in self._view_reads:
            return True
        # A table none of whose columns is read comes with "" and no context: WITH
        # items, which are no tables, and the tables of a view merged into the query.
        return column == "" and (name not in self._all or name in self._in_views)


def _reads_of_views(
    connection: sqlite3.Connection, views: set[str]
) -> Iterator[tuple[str, str, str]]:
    """(table, column, context) of every read that the definitions of `views` need."""
    reads: list[tuple[str, str, str]] = []

    def record(
        action: int, first: str | None, second: str | None, _: str | None, by: str | None
    ) -> int:
        if action == sqlite3.SQLITE_READ and by is not None:
            reads.append((fold(first or ""), fold(second or ""), fold(by)))
        return sqlite3.SQLITE_OK

    query = "SELECT name FROM sqlite_master WHERE type = 'view'"
    names = [name for (name,) in connection.execute(query) if fold(name) in views]
    connection.set_authorizer(record)
    try:
        for name in names:
            with suppress(sqlite3.Error):  # a broken view has no reads to allow
                connection.execute(f"EXPLAIN SELECT * FROM {quoted(name)}").close()
    finally:
        connection.set_authorizer(None)
    return iter(reads)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read_names(connection: sqlite3.Connection) -> Names:
    """Every table and view with its columns: none for a view of what isn't there any more."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master "
        "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    names: Names = {table: () for (table,) in tables}
    for table in names:
        with suppress(sqlite3.OperationalError):
            found = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,))
            names[table] = tuple(column for (column,) in found)
    return names
