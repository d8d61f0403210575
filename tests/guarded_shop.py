"""A small shop on which policies, the guard's completeness and fuzzing are tested."""

from __future__ import annotations

from typing import Any

from plainsql.execution.access import Access
from plainsql.schema.model import Column, ColumnType, Schema, Table

# Types that SQLite, DuckDB, PostgreSQL and MariaDB all read. `secret` may never be read.
SCRIPT = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(40), email VARCHAR(40),
    password VARCHAR(40), region VARCHAR(10), age INTEGER, boss_id INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, total DOUBLE PRECISION,
    status VARCHAR(10), note VARCHAR(40));
CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER, label VARCHAR(40), n INTEGER);
CREATE TABLE secret (id INTEGER PRIMARY KEY, word VARCHAR(40));
INSERT INTO users VALUES
    (1, 'Ann', 'ann@x', 'pw-1', 'EU', 31, NULL), (2, 'Bob', 'bob@x', 'pw-2', 'US', 45, 1),
    (3, 'Cy', NULL, 'pw-3', 'EU', NULL, 1), (4, 'Dot', 'dot@x', 'pw-4', NULL, 28, 2),
    (5, 'Ann', 'ann@y', 'pw-5', 'EU', 28, 3);
INSERT INTO orders VALUES
    (1, 1, 10.5, 'paid', '1'), (2, 1, 20.0, 'open', '2'), (3, 2, 5.25, 'paid', 's3cret'),
    (4, 3, 7.75, 'open', '4'), (5, 4, 99.0, 'paid', 'hush'), (6, 5, 10.5, NULL, NULL);
INSERT INTO items VALUES
    (1, 1, 'pen', 3), (2, 1, 'cup', 1), (3, 3, 'pen', 9), (4, 4, 'hat', 2), (5, 6, 'cup', 5);
INSERT INTO secret VALUES (1, 'xyzzy');
"""
VIEW = "CREATE VIEW spending AS SELECT user_id, sum(total) AS spent FROM orders GROUP BY user_id"
READABLE = frozenset({"users", "orders", "items", "spending"})

# What the policies of the tests hide, and cells that may then show nowhere.
POLICY: dict[str, Any] = {
    "deny_tables": ["secret"],
    "columns": {
        "users": {"deny": ["password"], "null": ["age"], "mask": {"email": "it's *** \\"}},
        "orders": {"deny": ["note"]},
    },
    "rows": {
        "users": "region = 'EU' -- Europe only",
        "orders": "user_id = 3 OR \"status\" = 'open'",
    },
    "roles": {
        "admin": {"columns": {"users": {}}, "rows": {"users": "1 = 1"}},
        "clerk": {"tables": ["users"], "functions": ["Shout"]},
    },
}
ACCESS = Access.from_settings(POLICY)
CANARIES = ("pw-", "s3cret", "hush", "xyzzy", "ann@", "bob@", "dot@", "Bob", "Dot", "99.0")

_COLUMNS = {
    "users": "id# name email password region age# boss_id#",
    "orders": "id# user_id# total~ status note",
    "items": "id# order_id# label n#",
    "secret": "id# word",
    "spending": "user_id# spent~",
}


def schema(dialect: str = "sqlite") -> Schema:
    """The shop as an engine's introspection would describe it."""
    tables = tuple(_table(name, columns.split()) for name, columns in _COLUMNS.items())
    return Schema("main", tables, dialect=dialect)


def _table(name: str, columns: list[str]) -> Table:
    return Table(name, tuple(_column(name, c) for c in columns), name, is_view=name == "spending")


def _column(table: str, text: str) -> Column:
    declared = {"#": "INTEGER", "~": "DOUBLE PRECISION"}.get(text[-1], "VARCHAR(40)")
    kind = ColumnType.TEXT if declared.startswith("VAR") else ColumnType.NUMBER
    return Column(table, text.rstrip("#~"), kind, text, declared)
