"""What is read from the text of a query: names, the texts it looks for, what isn't there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from plainsql.evidence import Evidence
from plainsql.linking.link import link
from plainsql.linking.value_index import ValueIndex
from plainsql.logical_form.reading import Reading, Sought, read
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema


@pytest.fixture
def schema(concerts: Path) -> Schema:
    return sqlite_schema(concerts)


def names(found: Reading, schema: Schema) -> set[str]:
    return {f"{schema.columns[at].table}.{schema.columns[at].name}" for at in found.columns}


NAMES = [
    # SQL, columns, names that aren't there
    ("SELECT name FROM singer", {"singer.name"}, ()),
    ("select T1.NAME from Singer as T1", {"singer.name"}, ()),
    ("SELECT nam FROM singer", set(), ("nam",)),
    ("SELECT x FROM singers", set(), ("singers",)),
    ("SELECT name AS n FROM singer ORDER BY n", {"singer.name"}, ()),
    ("SELECT * FROM singer", set(), ()),
    ("SELECT s.* FROM (SELECT age FROM singer) s WHERE s.age > 1", {"singer.age"}, ()),
    ("SELECT s.x FROM (SELECT age FROM singer) s", {"singer.age"}, ("x",)),
    ("WITH a AS (SELECT country c FROM singer) SELECT c, d FROM a", {"singer.country"}, ("d",)),
    (
        "SELECT name FROM singer s WHERE EXISTS"
        " (SELECT 1 FROM concert c WHERE c.singer_id = s.singer_id AND tilte = 'x')",
        {"singer.name", "singer.singer_id", "concert.singer_id"},
        ("tilte",),
    ),
    ("SELECT age FROM singer UNION SELECT year FROM concert", {"singer.age", "concert.year"}, ()),
    ("SELECT a FROM json_each('[1]') AS j(a)", set(), ()),
]


@pytest.mark.parametrize(("sql", "columns", "unknown"), NAMES)
def test_names(schema: Schema, sql: str, columns: set[str], unknown: tuple[str, ...]) -> None:
    found = read(sql, schema)
    assert found is not None
    assert names(found, schema) == columns
    assert found.unknown == unknown


COUNTRY = 2
SOUGHT = [
    ("country = 'France'", ["France"]),
    ("'France' = country", ["France"]),
    ('country = "France"', ["France"]),  # a text to SQLite, as no column is called so
    ("country IN ('France', 'Spain')", ["France", "Spain"]),
    ("country NOT IN ('France')", []),
    ("NOT country = 'France'", []),
    ("country <> 'France'", []),
    ("country LIKE '%France%'", []),
    ("lower(country) = 'france'", []),
    ("country = 3", []),
    ("country = name", []),
]


@pytest.mark.parametrize(("condition", "texts"), SOUGHT)
def test_texts_that_rows_must_have(schema: Schema, condition: str, texts: list[str]) -> None:
    found = read(f"SELECT count(*) FROM singer WHERE {condition}", schema)
    assert found is not None
    assert found.filtered
    assert found.sought == tuple(Sought(COUNTRY, text) for text in texts)


@pytest.mark.parametrize("sql", ["", "DROP TABLE singer", "SELECT FROM WHERE", "SELECT (" * 400])
def test_what_is_not_understood(schema: Schema, sql: str) -> None:
    assert read(sql, schema) is None


def test_another_dialect_has_no_texts_in_double_quotes(schema: Schema) -> None:
    found = read('SELECT 1 FROM singer WHERE country = "France"', replace(schema, dialect="duckdb"))
    assert found is not None
    assert (found.unknown, found.sought) == (("France",), ())


EVIDENCE = [
    # SQL, cells that aren't there, share of "singers from France" left out, the nearest
    ("SELECT name FROM singer WHERE country = 'France'", 0, 0.0, ()),
    ("SELECT name FROM singer WHERE country = 'france'", 1, 0.0, ("singer.country = 'France'",)),
    ("SELECT name FROM singer WHERE country = 'Fance'", 1, 0.5, ("'Netherlands'", "'France'")),
    ("SELECT name FROM singer WHERE name = 'France'", 1, 0.0, ("singer.country = 'France'",)),
    ("SELECT name FROM singer WHERE age = 'many'", 0, 0.5, ()),  # of numbers not all are known
    (f"SELECT name FROM singer WHERE name = '{'x' * 99}'", 0, 0.5, ()),  # too long to be known
    ("SELECT title FROM concert", 0, 1.0, ()),
    ("SELECT nam FROM singer", 0, 0.5, ("singer.name",)),
    ("SELECT name FROM singr", 0, 1.0, ("singer",)),
    ("no SQL", 0, 0.0, ()),
]


@pytest.mark.parametrize(("sql", "missing", "uncovered", "nearest"), EVIDENCE)
def test_evidence(
    concerts: Path,
    tmp_path: Path,
    schema: Schema,
    sql: str,
    missing: int,
    uncovered: float,
    nearest: tuple[str, ...],
) -> None:
    index = ValueIndex.open(concerts, schema, tmp_path)
    evidence = Evidence(schema, link("singers from France", schema, index), index)
    signals = evidence.signals(sql)
    assert signals.missing == missing == len(evidence.missing(sql))
    assert signals.uncovered == pytest.approx(uncovered)
    assert [n for n in nearest if not any(n in found for found in evidence.nearest(sql))] == []
    assert bool(evidence.nearest(sql)) == bool(nearest)
    index.close()


def test_without_an_index_no_cell_is_missed(schema: Schema) -> None:
    evidence = Evidence(schema, link("singers", schema))
    sql = "SELECT name FROM singer WHERE country = 'Nowhere'"
    assert evidence.missing(sql) == ()
    assert evidence.nearest(sql) == ()
