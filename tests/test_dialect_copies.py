"""Copies of SQLite files in other engines: types, keys, and what counts as the same rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dialect_copies import ENGINES, Copies, copies_fixture
from plainsql.evaluation.dialects import compare_sides, order_places, same_results
from plainsql.evaluation.loading import CopiedKey, create_table, read_tables
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.kinds import Kind, as_kind, column_kind, common_kind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Column, ColumnType
from servers import mariadb_server, postgresql_server
from shop import open_shop

__all__ = ["mariadb_server", "postgresql_server"]


# -- kinds and rules ----------------------------------------------------------------


def column(declared: str, kind: ColumnType = ColumnType.TEXT) -> Column:
    return Column("t", "c", kind, "c", declared)


KINDS = [
    ("bigint", "postgres", Kind.INTEGER),
    ("character varying(20)", "postgres", Kind.TEXT),
    ("timestamp without time zone", "postgres", Kind.TIMESTAMP),
    ("time without time zone", "postgres", Kind.TIME),
    ("date", "postgres", Kind.DATE),
    ("numeric(10,2)", "postgres", Kind.DECIMAL),
    ("double precision", "postgres", Kind.DOUBLE),
    ("boolean", "postgres", Kind.BOOLEAN),
    ("uuid", "postgres", Kind.OTHER),
    ("mood", "postgres", Kind.OTHER),
    ("text[]", "postgres", Kind.OTHER),
    ("money", "postgres", Kind.OTHER),
    ("bit(1)", "postgres", Kind.OTHER),
    ("enum('a','b')", "mysql", Kind.TEXT),
    ("year(4)", "mysql", Kind.YEAR),
    ("datetime", "mysql", Kind.TIMESTAMP),
    ("ENUM('a', 'b')", "duckdb", Kind.TEXT),
    ("", "duckdb", Kind.UNKNOWN),
    ("whatever", "sqlite", Kind.UNKNOWN),
]


@pytest.mark.parametrize(("declared", "dialect", "expected"), KINDS)
def test_kinds_of_columns(declared: str, dialect: str, expected: Kind) -> None:
    assert column_kind(column(declared), dialect) is expected


def test_a_flag_of_mysql_is_a_boolean() -> None:
    flag = column("tinyint(1)", ColumnType.BOOLEAN)
    assert column_kind(flag, "mysql") is Kind.BOOLEAN
    assert column_kind(column("tinyint(1)", ColumnType.NUMBER), "mysql") is Kind.INTEGER


LITERALS = [
    ("7", Kind.INTEGER, 7),
    (" -2.5e1 ", Kind.DOUBLE, -25.0),
    ("seven", Kind.INTEGER, None),
    (7, Kind.TEXT, "7"),
    (2.5, Kind.TEXT, "2.5"),
    ("Yes", Kind.BOOLEAN, True),
    (0, Kind.BOOLEAN, False),
    (2, Kind.BOOLEAN, None),
    ("2001-02-03", Kind.DATE, "2001-02-03"),
    ("2001-02-30", Kind.DATE, None),
    ("2001-02-03 04:05:06", Kind.DATE, None),
    ("2001-02-03 04:05:06", Kind.TIMESTAMP, "2001-02-03 04:05:06"),
    ("2001-02-03", Kind.TIMESTAMP, "2001-02-03"),
    (2001, Kind.DATE, None),
    ("12:30", Kind.TIME, "12:30"),
    ("25:30", Kind.TIME, None),
    ("x", Kind.OTHER, None),
    ("x", Kind.UNKNOWN, "x"),
]


@pytest.mark.parametrize(("value", "kind", "expected"), LITERALS)
def test_literals_as_a_column_takes_them(value: Any, kind: Kind, expected: Any) -> None:
    found = as_kind(value, kind)
    assert found == expected
    assert type(found) is type(expected)


def test_kinds_that_agree() -> None:
    assert common_kind([Kind.INTEGER, Kind.DECIMAL]) is Kind.DOUBLE
    assert common_kind([Kind.INTEGER, Kind.BOOLEAN]) is Kind.DOUBLE
    assert common_kind([Kind.DATE, Kind.TIMESTAMP, Kind.UNKNOWN]) is Kind.TIMESTAMP
    assert common_kind([Kind.INTEGER, Kind.TEXT]) is Kind.TEXT
    assert common_kind([]) is Kind.UNKNOWN


# -- copies -------------------------------------------------------------------------

LOOSE = """
CREATE TABLE kept (
    a INTEGER PRIMARY KEY, b REAL, c DECIMAL(5,2), d DATE, e DATETIME, f TIME, g BOOL, h BLOB,
    i VARCHAR(3), j
);
CREATE TABLE odd (
    a INTEGER, b INTEGER, c DECIMAL(3,1), d DATE, e TIMESTAMP, g BOOLEAN, i TEXT, k DATE,
    parent INTEGER REFERENCES kept (a), lost INTEGER REFERENCES kept (a),
    named TEXT REFERENCES kept (i)
);
INSERT INTO kept VALUES
    (1, 2, 1.25, '2001-02-03', '2001-02-03 04:05:06', '04:05:06', 'T', x'00ff', 'abcd', 5),
    (2, NULL, NULL, NULL, NULL, NULL, 'F', NULL, 'e', NULL);
INSERT INTO odd VALUES
    (1, '', 1.25, '2001-02-30', 'soon', 2, 5, 2001, 1, 9, 'abcd'),
    (2.5, 3, 2, '2001-02-28', NULL, 1, x'41', 2002, NULL, 1, 'e');
"""
FITTING = {
    "kept": "integer double decimal(5,2) date timestamp time boolean blob text integer",
    "odd": "double text double text text integer text integer integer integer text",
}


@pytest.fixture(scope="module")
def loose_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loose") / "loose.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(LOOSE)
    return path


def test_types_that_the_cells_fit(loose_file: Path) -> None:
    kept, odd = read_tables(loose_file)
    assert [" ".join(c.kind for c in table.columns) for table in (kept, odd)] == [*FITTING.values()]
    assert kept.primary_key == ("a",)
    assert kept.unique == (("i",),)
    assert odd.foreign_keys == (
        CopiedKey(("named",), "kept", ("i",)),
        CopiedKey(("parent",), "kept", ("a",)),
    )
    assert "UNIQUE (`i`)" in create_table(kept, "mysql")


loose_duckdb = copies_fixture("loose_file", "duckdb")
loose_postgres = copies_fixture("loose_file", "postgres")
loose_mysql = copies_fixture("loose_file", "mysql")


@pytest.mark.parametrize("dialect", ENGINES)
def test_a_copy_holds_the_same_cells(dialect: str, request: pytest.FixtureRequest) -> None:
    copies: Copies = request.getfixturevalue(f"loose_{dialect}")
    side = copies.sides[dialect]
    for sql in ("SELECT * FROM kept", "SELECT a, d, e, g, k FROM odd", "SELECT parent FROM odd"):
        assert compare_sides(copies.read(sql), copies.reference, side).reason == ""
    found = side.engine.introspect().foreign_keys
    declared = {(key.table, key.columns) for key in found if not key.inferred}
    assert declared == {("odd", ("parent",)), ("odd", ("named",))}


# -- the comparison -------------------------------------------------------------------

SAME = [
    ([(1, "a")], [(1.0000001, "a")], True),
    ([(1,)], [(Decimal("1.00"),)], True),
    ([(1,)], [(1.01,)], False),
    ([(0,), (1,)], [(True,), (False,)], True),
    ([("T",), (None,)], [(True,), (None,)], True),
    ([("T",)], [("T",)], True),
    ([("2001-02-03 04:05:06",)], [("2001-02-03T04:05:06",)], True),
    ([(1,), (1,)], [(1,), (2,)], False),
    ([(1,)], [(1,), (1,)], False),
    ([(1, 2)], [(1,)], False),
    ([(None,), ("a",)], [("a",), (None,)], True),
    ([], [], True),
]


@pytest.mark.parametrize(("wanted", "found", "same"), SAME)
def test_what_counts_as_the_same(wanted: Any, found: Any, same: bool) -> None:
    assert same_results(wanted, found) is same


def test_order_counts_where_it_is_named(tmp_path: Path) -> None:
    schema = sqlite_schema(open_shop(tmp_path)[0])
    graph = JoinGraph(schema)
    for sql, places in [
        ("SELECT name, country FROM customer ORDER BY country, credit, name", [1]),
        ("SELECT name, country FROM customer ORDER BY country, name", [1, 0]),
        ("SELECT name FROM customer", []),
    ]:
        assert order_places(from_sql(sql, schema, graph)) == places
    assert not same_results([(1,), (2,)], [(2,), (1,)], [0])
