"""Introspection of DuckDB databases."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")

from boats import make
from plainsql.errors import SchemaError
from plainsql.execution.duckdb_engine import DuckDBEngine
from plainsql.schema.model import ColumnType, Schema

CATALOGUE = """
CREATE TYPE mood AS ENUM ('happy', 'it''s sad');
CREATE TABLE owner (
    id INTEGER PRIMARY KEY, email VARCHAR UNIQUE, feels mood, born DATE, seen TIMESTAMPTZ,
    height DECIMAL(10, 3), tags VARCHAR[], place STRUCT(street VARCHAR, n INT),
    scores MAP(VARCHAR, INT), code UUID, big HUGEINT, pause INTERVAL, flags BIT, raw BLOB,
    active BOOLEAN, note JSON, either UNION(n INT, s VARCHAR), three INT[3]
);
CREATE TABLE dog (
    shelter INTEGER, tag INTEGER, owner_id INTEGER REFERENCES owner (id), PRIMARY KEY (shelter, tag)
);
CREATE TABLE visit (s INT, t INT, day DATE, FOREIGN KEY (s, t) REFERENCES dog (shelter, tag));
COMMENT ON TABLE owner IS 'People
with dogs';
COMMENT ON COLUMN owner.height IS 'in metres';
CREATE VIEW old_owners AS SELECT id, email FROM owner WHERE born < DATE '1960-01-01';
COMMENT ON VIEW old_owners IS 'Born before 1960';
CREATE SCHEMA archive;
CREATE TABLE archive.dog (id INTEGER PRIMARY KEY, name VARCHAR);
CREATE TABLE archive.walk (id INTEGER PRIMARY KEY, dog_id INTEGER REFERENCES archive.dog (id));
CREATE TABLE lost (a INT);
CREATE VIEW broken AS SELECT a FROM lost;
DROP TABLE lost;
CREATE VIEW outside AS SELECT * FROM (VALUES (1)) v(x);
INSERT INTO owner (id, email, feels, born, seen, height, tags, raw) VALUES
    (1, 'a@example.org', 'happy', '1950-01-02', '2024-05-01 10:00:00+00', 1.75, ['x'], '\\x00'),
    (2, 'b@example.org', NULL, NULL, NULL, NULL, NULL, NULL);
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    path = make(tmp_path_factory.mktemp("schema") / "dogs.duckdb", CATALOGUE)
    with DuckDBEngine(path) as engine:
        return engine.introspect()


def test_tables_and_views(catalogue: Schema) -> None:
    found = {table.name: table for table in catalogue.tables}
    assert (catalogue.name, catalogue.dialect) == ("dogs", "duckdb")
    assert {"owner", "dog", "visit", "archive.dog", "archive.walk", "old_owners"} <= set(found)
    assert found["owner"].comment == "People with dogs"
    assert found["owner"].row_count == 2
    assert found["old_owners"].is_view
    assert found["old_owners"].comment == "Born before 1960"
    assert (found["archive.dog"].namespace, found["archive.dog"].bare_name) == ("archive", "dog")
    assert found["dog"].namespace == ""


@pytest.mark.parametrize(
    ("column", "kind", "declared"),
    [
        ("id", ColumnType.NUMBER, "INTEGER"),
        ("email", ColumnType.TEXT, "VARCHAR"),
        ("feels", ColumnType.TEXT, "ENUM('happy', 'it''s sad')"),
        ("born", ColumnType.TIME, "DATE"),
        ("seen", ColumnType.TIME, "TIMESTAMP WITH TIME ZONE"),
        ("height", ColumnType.NUMBER, "DECIMAL(10,3)"),
        ("tags", ColumnType.OTHER, "VARCHAR[]"),
        ("place", ColumnType.OTHER, "STRUCT(street VARCHAR, n INTEGER)"),
        ("scores", ColumnType.OTHER, "MAP(VARCHAR, INTEGER)"),
        ("code", ColumnType.TEXT, "UUID"),
        ("big", ColumnType.NUMBER, "HUGEINT"),
        ("pause", ColumnType.OTHER, "INTERVAL"),
        ("flags", ColumnType.OTHER, "BIT"),
        ("raw", ColumnType.OTHER, "BLOB"),
        ("active", ColumnType.BOOLEAN, "BOOLEAN"),
        ("note", ColumnType.OTHER, "JSON"),
        ("either", ColumnType.OTHER, "UNION(n INTEGER, s VARCHAR)"),
        ("three", ColumnType.OTHER, "INTEGER[3]"),
    ],
)
def test_columns(catalogue: Schema, column: str, kind: ColumnType, declared: str) -> None:
    found = catalogue.columns[catalogue.column_index("owner", column)]
    assert (found.type, found.declared_type) == (kind, declared)


def test_samples_and_comments(catalogue: Schema) -> None:
    def samples(column: str) -> tuple[str, ...]:
        return catalogue.columns[catalogue.column_index("owner", column)].samples

    assert samples("email") == ("a@example.org", "b@example.org")
    assert samples("feels") == ("happy", "it's sad")
    assert samples("height") == ("1.750",)
    assert samples("raw") == ()
    height = catalogue.columns[catalogue.column_index("owner", "height")]
    assert height.comment == "in metres"


def test_keys(catalogue: Schema) -> None:
    declared = {
        (k.table, k.columns, k.ref_table, k.ref_columns)
        for k in catalogue.foreign_keys
        if not k.inferred
    }
    assert declared == {
        ("dog", ("owner_id",), "owner", ("id",)),
        ("visit", ("s", "t"), "dog", ("shelter", "tag")),
        ("archive.walk", ("dog_id",), "archive.dog", ("id",)),
    }
    keys = {(c.table, c.name) for c in catalogue.columns if c.primary_key}
    assert {("owner", "id"), ("dog", "shelter"), ("dog", "tag")} <= keys


def test_inferred_keys(tmp_path: Path) -> None:
    script = """
    CREATE TABLE artist (artist_id INTEGER, name VARCHAR);
    CREATE TABLE song (song_id INTEGER, artist_id INTEGER, title VARCHAR);
    INSERT INTO artist SELECT range, 'a' || range FROM range(50);
    INSERT INTO song SELECT range, range % 50, 's' FROM range(500);
    """
    with DuckDBEngine(make(tmp_path / "m.duckdb", script)) as engine:
        (key,) = engine.introspect().foreign_keys
    assert (key.table, key.ref_table, key.inferred) == ("song", "artist", True)


def test_no_tables(tmp_path: Path) -> None:
    path = make(tmp_path / "e.duckdb", "SELECT 1")
    with DuckDBEngine(path) as engine, pytest.raises(SchemaError):
        engine.introspect()


def test_many_tables(tmp_path: Path) -> None:
    create = "CREATE TABLE table_{0} (id INTEGER PRIMARY KEY, name VARCHAR, day DATE, n DOUBLE);"
    script = "BEGIN;" + "".join(create.format(at) for at in range(500)) + "COMMIT;"
    database = make(tmp_path / "many.duckdb", script)
    started = time.monotonic()
    with DuckDBEngine(database) as engine:
        assert len(engine.introspect().tables) == 500
    assert time.monotonic() - started < 10  # linear: 10,000 in 20 times as much
