"""Schemas that a grammar could stumble over, and the databases that have them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.render import as_ddl

Names = dict[str, Sequence[str]]


def schema_of(tables: Names, keys: Sequence[str] = (), *, dialect: str = "sqlite") -> Schema:
    """A schema from `table: columns` and keys as "table.column=table.column"."""
    made = tuple(
        Table(name, tuple(_column(name, column) for column in columns), name.lower())
        for name, columns in tables.items()
    )
    return Schema("test", made, tuple(map(_key, keys)), dialect)


def _column(table: str, name: str) -> Column:
    kind = ColumnType.NUMBER if name.lower().endswith("id") else ColumnType.TEXT
    return Column(table, name, kind, name.lower())


def _key(text: str) -> ForeignKey:
    (table, column), (target, other) = (side.split(".") for side in text.split("="))
    return ForeignKey(table, (column,), target, (other,))


def hostile(dialect: str = "sqlite") -> Schema:
    """Spaces, quotes, a backslash, signs, other scripts, keywords, names of functions."""
    return schema_of(
        {
            "order": ["id", "select", "group id", "count", 'say "when"'],
            "order items": ["order", "id", "it's", "größe", "a\\b", "FROM", "date"],
            "訂單": ["id", "名前", "select", "T1", "; DROP TABLE t --"],
            "Mixed_Case": ["ID", "Year", "max", "100%", "order id", "union_all"],
            "date": ["date", "time", "id", "lower", "selection"],
        },
        ["order items.order=order.id", "訂單.id=order.id", "Mixed_Case.order id=order.id"],
        dialect=dialect,
    )


def forty_tables() -> Schema:
    """A chain of forty tables, all of which also point to the first."""
    tables = {f"table_{at}": ["id", "next_id", "hub_id", "name", f"own_{at}"] for at in range(40)}
    keys = [f"table_{at}.next_id=table_{at + 1}.id" for at in range(39)]
    keys += [f"table_{at}.hub_id=table_0.id" for at in range(1, 40)]
    return schema_of(tables, keys)


def no_keys() -> Schema:
    """Tables that nothing joins."""
    return schema_of({"a": ["id", "x", "y"], "b": ["id", "x", "z"], "c": ["x"]})


def two_namespaces() -> Schema:
    """Two tables of one name in two schemas of DuckDB, joined by a key."""
    schema = schema_of(
        {"orders": ["id", "total"], "sales.orders": ["id", "parent_id"], "clients": ["id", "x"]},
        dialect="duckdb",
    )
    tables = [replace(t, namespace="sales" if "." in t.name else "") for t in schema.tables]
    keys = (
        ForeignKey("sales.orders", ("parent_id",), "orders", ("id",)),
        ForeignKey("clients", ("id",), "sales.orders", ("id",)),
    )
    return replace(schema, tables=tuple(tables), foreign_keys=keys)


SCHEMAS = {
    "hostile": hostile,
    "hostile in DuckDB": lambda: hostile("duckdb"),
    "forty tables": forty_tables,
    "no keys": no_keys,
    "two namespaces": two_namespaces,
}


def compiler(schema: Schema) -> Any:
    """A function that has an engine compile a query: "" or its complaint."""
    return _duckdb(schema) if schema.dialect == "duckdb" else _sqlite(schema)


def _sqlite(schema: Schema) -> Any:
    connection = sqlite3.connect(":memory:")
    connection.executescript(as_ddl(schema))

    def compile_query(sql: str) -> str:
        try:
            connection.execute("EXPLAIN " + sql).close()
        except sqlite3.Error as error:
            return str(error)
        return ""

    return compile_query


def _duckdb(schema: Schema) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA sales")
    for table in schema.tables:
        columns = ", ".join(f"{_quoted(c.name)} {_TYPES[c.type]}" for c in table.columns)
        home = f"{_quoted(table.namespace)}." if table.namespace else ""
        connection.execute(f"CREATE TABLE {home}{_quoted(table.bare_name)} ({columns})")

    def compile_query(sql: str) -> str:
        try:
            connection.execute("EXPLAIN " + sql).fetchall()
        except duckdb.Error as error:
            return str(error)
        return ""

    return compile_query


_TYPES = {ColumnType.NUMBER: "INTEGER", ColumnType.TEXT: "VARCHAR"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
