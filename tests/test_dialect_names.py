"""Names that need care on other engines: reserved words, odd characters, namespaces."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dialect_copies import ENGINES, Copies, copies_fixture
from plainsql.evaluation.dialects import (
    Side,
)
from plainsql.execution.base import open_engine
from plainsql.execution.guard import judge
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.reserved import ANYWHERE
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import ColumnRef, Select
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, ColumnType, Schema, Table
from servers import PostgreSQLServer, mariadb_server, postgresql_server

__all__ = ["mariadb_server", "postgresql_server"]


@pytest.fixture(scope="module")
def words_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column for every word that some dialect reserves, and odd names."""
    path = tmp_path_factory.mktemp("words") / "words.sqlite"
    odd = ["Name", "NAME2", "a b", "x-y", "größe", "2nd", "_x", "a.b", "select*", "日本"]
    columns = ", ".join(f'"{name}" INTEGER' for name in sorted(ANYWHERE) + odd)
    tables = ["order", "Group", "user", "table", "rank", "system", "with space", "rows", "lead"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE words (id INTEGER PRIMARY KEY, {columns})")
        connection.execute("INSERT INTO words (id) VALUES (1)")
        for table in tables:
            connection.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, other INTEGER)')
        connection.commit()
    return path


words_duckdb = copies_fixture("words_file", "duckdb")
words_postgres = copies_fixture("words_file", "postgres")
words_mysql = copies_fixture("words_file", "mysql")


# The engine of MySQL refuses these words even as names.
FILE_WORDS = frozenset({"outfile", "dumpfile", "load_file"})


@pytest.mark.parametrize("dialect", ENGINES)
def test_every_word_can_be_a_name(dialect: str, request: pytest.FixtureRequest) -> None:
    copies: Copies = request.getfixturevalue(f"words_{dialect}")
    for side in (copies.reference, copies.sides[dialect]):
        table = side.schema.table_index("words")
        columns = tuple(
            ColumnRef(column)
            for column in side.schema.columns_of(table)
            if dialect != "mysql" or side.schema.columns[column].name not in FILE_WORDS
        )
        for first in range(0, len(columns), 100):
            some = columns[first : first + 100]
            rows = side.rows(Select(some, group_by=some)).rows
            assert len(rows[0]) == len(some)
        for number, other in enumerate(side.schema.tables):
            id_, *_ = side.schema.columns_of(number)
            twice = ((ColumnRef(id_), ColumnRef(id_, 1)),)
            pair = Select((ColumnRef(id_), ColumnRef(id_, 1)), join_hints=twice)
            assert len(side.rows(pair).rows) == (other.name == "words")


def spaced(dialect: str = "postgres") -> Schema:
    """Two schemas with a table of one name, and one in the default schema."""

    def table(name: str, namespace: str, *names: str) -> Table:
        columns = tuple(
            Column(name, own, ColumnType.NUMBER, own, "bigint", own == "id") for own in names
        )
        return Table(name, columns, name, namespace=namespace)

    tables = (
        table("orders", "", "id", "total"),
        table("sales.orders", "sales", "id", "total", "orders_id"),
        table("Old Stock.item", "Old Stock", "id"),
    )
    return Schema("shop", tables, (), dialect)


SPACED = [
    ("SELECT total FROM orders", "SELECT total FROM orders"),
    ("SELECT total FROM sales.orders", "SELECT total FROM sales.orders"),
    ("SELECT o.id FROM sales.orders AS o", "SELECT id FROM sales.orders"),
    ('SELECT id FROM "Old Stock".item', 'SELECT id FROM "Old Stock".item'),
    (
        "SELECT a.id, b.id FROM orders a JOIN sales.orders b ON a.id = b.orders_id",
        "SELECT orders.id, sales_orders.id FROM orders "
        "JOIN sales.orders AS sales_orders ON orders.id = sales_orders.orders_id",
    ),
    (
        "SELECT a.id, b.id FROM sales.orders a JOIN sales.orders b ON a.id = b.orders_id",
        "SELECT orders.id, orders_2.id FROM sales.orders "
        "JOIN sales.orders AS orders_2 ON orders.id = orders_2.orders_id",
    ),
    ("SELECT total FROM public.orders", "SELECT total FROM orders"),
]
SPACES = """
CREATE TABLE orders (id BIGINT PRIMARY KEY, total BIGINT);
CREATE SCHEMA sales; CREATE SCHEMA "Old Stock";
CREATE TABLE sales.orders (id BIGINT PRIMARY KEY, total BIGINT, orders_id BIGINT);
CREATE TABLE "Old Stock".item (id BIGINT PRIMARY KEY);
INSERT INTO orders VALUES (1, 5); INSERT INTO sales.orders VALUES (1, 7, 1);
INSERT INTO "Old Stock".item VALUES (1);
"""


@pytest.mark.parametrize(("sql", "expected"), SPACED)
def test_namespaces_qualify_tables(sql: str, expected: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    schema = spaced()
    graph = JoinGraph(schema)
    text = to_sql(from_sql(sql, schema, graph), schema, graph)
    assert text == expected
    for dialect in ("postgres", "duckdb"):
        found = replace(schema, dialect=dialect)
        assert judge(
            to_sql(from_sql(text, schema, graph), found, graph), dialect=dialect, schema=found
        ).allowed
    with duckdb.connect() as connection:
        connection.execute(SPACES)
        assert connection.execute(text).fetchall()


def test_namespaces_are_read_from_a_server(postgresql_server: PostgreSQLServer) -> None:
    postgresql_server.create("spaces")
    postgresql_server.sql(SPACES, "spaces")
    postgresql_server.let_read("spaces", ("sales", "Old Stock"))
    with closing(open_engine(postgresql_server.url("spaces"))) as engine:
        schema = engine.introspect()
        side = Side(engine, schema, JoinGraph(schema))
        for sql, _ in SPACED:
            assert side.rows(from_sql(sql, schema, side.graph)).rows
