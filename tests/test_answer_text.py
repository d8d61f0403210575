"""The sentence about the rows: a table of results and what is said of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from plainsql.answer_text import answer_sentence, cell_text, column_label, sqlite_headers
from plainsql.records import Cell, Rows
from plainsql.schema.model import Column, ColumnType, Schema, Table


def table(name: str, natural: str, *columns: tuple[str, str]) -> Table:
    made = tuple(Column(name, column, ColumnType.TEXT, words) for column, words in columns)
    return Table(name, made, natural)


SCHEMA = Schema(
    "concerts",
    (
        table("singer", "singer", ("Name", "name"), ("stuAge", "student age")),
        table("Order Items", "order item", ("unit_price", "unit price")),
        table("city", "city", ("pop", "population")),
    ),
)
NAMES: tuple[tuple[Cell, ...], ...] = tuple((letter,) for letter in "ABCDEFG")

SENTENCES = [
    (("Name",), (), False, "No rows match."),
    (("count(*)",), ((12,),), False, "Number of singers: 12."),
    (("avg(T1.stuAge)",), ((37.0,),), False, "Average student age: 37."),
    (("max(stuAge)",), ((None,),), False, "Highest student age: no value (NULL)."),
    (("Name", "stuAge"), (("Joe", 52),), False, "Name: Joe; student age: 52."),
    (("Name",), NAMES[:2], False, "2 rows of name: A and B."),
    (("Name",), NAMES[:5], False, "5 rows of name: A, B, C, D and E."),
    (("Name",), NAMES, False, "7 rows of name: A, B, C, D, E and 2 more."),
    (("Name",), NAMES[:2], True, "More than 2 rows of name, beginning with A and B."),
    (("Name",), NAMES[:1], True, "More than 1 row of name, beginning with A."),
    (
        ("Name", "count(*)"),
        (("A", 3), ("B", 1)),
        False,
        "2 rows with name and number of singers; the first is A, 3.",
    ),
]


@pytest.mark.parametrize(("columns", "rows", "truncated", "sentence"), SENTENCES)
def test_sentence(
    columns: tuple[str, ...], rows: tuple[tuple[Cell, ...], ...], truncated: bool, sentence: str
) -> None:
    sql = "SELECT … FROM singer WHERE name IN (SELECT name FROM city JOIN x ON 1)"
    assert answer_sentence(sql, Rows(columns, rows, truncated), SCHEMA) == sentence


def test_one_wide_row_names_five_columns() -> None:
    rows = Rows(tuple("abcdefg"), ((1, 2, 3, 4, 5, 6, 7),))
    assert answer_sentence("", rows, SCHEMA) == (
        "A: 1; b: 2; c: 3; d: 4; e: 5; and 2 more columns."
    )


LABELS = [
    ("count(*)", "SELECT count(*) FROM singer", "number of singers"),
    ("COUNT(*)", 'SELECT COUNT(*) FROM "Order Items"', "number of order items"),
    ("count(*)", "SELECT count(*) FROM city GROUP BY pop", "number of cities"),
    ("count(*)", "SELECT count(*) FROM singer AS a JOIN city AS b ON 1", "number of rows"),
    ("count(*)", "SELECT count(*) FROM elsewhere", "number of rows"),
    ("count(DISTINCT T2.pop)", "", "number of different population"),
    ("sum(unit_price)", "", "total unit price"),
    ("min(unit_price * 2)", "", "lowest unit_price * 2"),
    ("unit_price", "", "unit price"),
    ('"T1"."Name"', "", "name"),
    ("unknown_column", "", "unknown_column"),
    ("avg(CAST(unit_price AS DOUBLE PRECISION))", "", "average unit price"),
    ("round(stuAge, 2)", "", "round(stuAge, 2)"),
]


@pytest.mark.parametrize(("header", "sql", "label"), LABELS)
def test_column_label(header: str, sql: str, label: str) -> None:
    assert column_label(header, sql, SCHEMA) == label


@pytest.mark.parametrize(
    ("headers", "sql"),
    [
        (("count",), "SELECT COUNT(*) FROM singer"),
        (("count_star()",), "SELECT COUNT(*) FROM singer WHERE name <> 'a, (b'"),
        (("name", "avg"), "SELECT name, AVG(unit_price) FROM t GROUP BY name"),
        (("sum(x)",), "SELECT SUM(x) FROM t"),
    ],
)
def test_headers_of_other_engines(headers: tuple[str, ...], sql: str) -> None:
    items = sql.removeprefix("SELECT ").split(" FROM ")[0].split(", ")
    assert sqlite_headers(headers, sql) == tuple(items)


def test_headers_that_are_names_stay() -> None:
    assert sqlite_headers(("n",), "SELECT COUNT(*) AS n FROM t") == ("n",)
    assert sqlite_headers(("a", "b"), "SELECT * FROM t") == ("a", "b")


CELLS = [
    (None, "no value (NULL)"),
    (2014, "2014"),
    (3.0, "3"),
    (0.1 + 0.2, "0.3"),
    (1234.56789, "1234.5679"),
    (1e-7, "1e-07"),
    (1e300, "1e+300"),
    (float("inf"), "Infinity"),
    (Decimal("NaN"), "NaN"),
    (Decimal("12.50"), "12.50"),
    (Decimal("2.00"), "2"),
    (Decimal("54.2277777777777778"), "54.2278"),
    (Decimal("123456789012345678901"), "123456789012345678901"),
    (True, "true"),
    (-0.25, "-0.25"),
    (b"\x00\x01", "(2 bytes)"),
    ("two\nlines", "two lines"),
    ("\x1b[31mred", "\\x1b[31mred"),
    ("x" * 100, "x" * 59 + "…"),
    ("Zürich 東京", "Zürich 東京"),
]


@pytest.mark.parametrize(("cell", "text"), CELLS)
def test_cell_text(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text
