"""A schema as DDL, as an outline and as JSON."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from plainsql.errors import SchemaError
from plainsql.schema import (
    Column,
    ColumnType,
    ForeignKey,
    Schema,
    Table,
    as_ddl,
    as_text,
    from_json,
    sqlite_schema,
    to_json,
)
from plainsql.schema.render import quote_name

SCRIPT = """
CREATE TABLE "order" ( -- what was bought
    id INTEGER PRIMARY KEY, -- the number; it's unique
    "two words" VARCHAR2(20), [group] NUMERIC(4, 2), `it's "quoted"` UNSIGNED BIG INT,
    naïve, day DATE, paid BOOLEAN, scan BLOB
);
CREATE TABLE line (
    order_id INT NOT NULL REFERENCES "order", position INT, x INT, y INT,
    PRIMARY KEY (order_id, position), FOREIGN KEY (x, y) REFERENCES line (order_id, position)
);
CREATE VIEW "open orders" AS SELECT id AS order_id, day FROM "order" WHERE NOT paid;
INSERT INTO "order" VALUES
    (1, 'it''s', 1.5, 2, 'a', '2020-01-01', 1, x'00'), (2, 'line
break', 2.5, 3, 'b', '2020-01-02', 0, NULL);
"""


def made(path: Path, script: str) -> Schema:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return sqlite_schema(path)


def structure(schema: Schema) -> Schema:
    """A schema without what rows tell, and without the types of views."""
    tables = (
        replace(
            table,
            row_count=None,
            columns=tuple(
                replace(c, samples=(), declared_type="" if table.is_view else c.declared_type)
                for c in table.columns
            ),
        )
        for table in schema.tables
    )
    keys = tuple(key for key in schema.foreign_keys if not key.inferred)
    return Schema("", tuple(tables), keys)


def test_ddl_recreates_the_schema(tmp_path: Path) -> None:
    schema = made(tmp_path / "one.sqlite", SCRIPT)
    again = made(tmp_path / "two.sqlite", as_ddl(schema))
    untyped = structure(schema).columns[4]
    assert (untyped.name, untyped.declared_type) == ("naïve", "")
    assert structure(again).columns[4] == replace(untyped, declared_type="TEXT")
    assert [
        c for c in structure(again).columns if c.name != "naïve" and c.table != "open orders"
    ] == [c for c in structure(schema).columns if c.name != "naïve" and c.table != "open orders"]
    assert again.foreign_keys == schema.foreign_keys
    assert [(t.name, t.is_view, t.comment) for t in again.tables] == [
        (t.name, t.is_view, t.comment) for t in schema.tables
    ]
    assert as_ddl(made(tmp_path / "three.sqlite", as_ddl(again))) == as_ddl(again)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("ENUM('a','b')", ColumnType.TEXT),
        ("INTEGER[]", ColumnType.OTHER),
        ("VARCHAR(10) CHARACTER SET utf8", ColumnType.TEXT),
        ("x DEFAULT 1); DROP TABLE t; --", ColumnType.NUMBER),
        ("INT PRIMARY KEY", ColumnType.NUMBER),
        ('say "hi"', ColumnType.TEXT),
        ("TIMESTAMP WITH TIME ZONE", ColumnType.TIME),
        ("", ColumnType.TIME),
    ],
)
def test_types_of_other_engines(tmp_path: Path, declared: str, kind: ColumnType) -> None:
    column = Column("t", "a", kind, "a", declared_type=declared)
    again = made(tmp_path / "t.sqlite", as_ddl(Schema("t", (Table("t", (column,), "t"),))))
    assert [(c.name, c.type, c.primary_key) for c in again.columns] == [("a", kind, False)]


def test_inferred_keys_in_ddl() -> None:
    tables = tuple(Table(n, (Column(n, "id", ColumnType.NUMBER, "id"),), n) for n in "ab")
    schema = Schema("s", tables, (ForeignKey("a", ("id",), "b", ("id",), inferred=True),))
    assert "REFERENCES" not in as_ddl(schema)
    assert "FOREIGN KEY (id) REFERENCES b (id)" in as_ddl(schema, inferred_keys=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("name", "name"),
        ("two words", '"two words"'),
        ("Order", '"Order"'),
        ('a"b', '"a""b"'),
        ("1st", '"1st"'),
        ("naïve", '"naïve"'),
        ("", '""'),
    ],
)
def test_quote_name(name: str, expected: str) -> None:
    assert quote_name(name) == expected


def test_text(concerts: Path) -> None:
    assert as_text(sqlite_schema(concerts)) == (
        "Database concerts: 2 tables\n"
        "\n"
        "Table singer (6 rows)\n"
        "  singer_id: number, primary key, e.g. 1, 2, 3\n"
        "  name: text, e.g. 'Joe Sharp', 'Timbaland', 'Justin Brown'\n"
        "  country: text, e.g. 'Netherlands', 'United States', 'France'\n"
        "  age: number, e.g. 52, 32, 29\n"
        "  photo: other\n"
        "\n"
        "Table concert (3 rows)\n"
        "  concert_id: number, primary key, e.g. 1, 2, 3\n"
        "  title: text, e.g. 'Auditions', 'Super bootcamp', 'Home Visits'\n"
        "  year: number, e.g. 2014, 2015\n"
        "  singer_id: number, e.g. 2, 3\n"
        "\n"
        "Foreign keys\n"
        "  concert.singer_id = singer.singer_id"
    )


def test_text_of_odd_values(tmp_path: Path) -> None:
    text = as_text(made(tmp_path / "db.sqlite", SCRIPT))
    assert 'Table "order" (2 rows) - what was bought' in text
    assert "id: number, primary key, the number; it's unique, e.g. 1, 2" in text
    assert "\"two words\": text, e.g. 'it''s', 'line break'" in text
    assert 'View "open orders"' in text
    assert "  line.x = line.order_id and line.y = line.position" in text
    assert '  "open orders".order_id = "order".id (inferred)' in text


def test_long_samples_are_cut() -> None:
    column = Column("t", "a", ColumnType.TEXT, "a", samples=("x" * 100,))
    text = as_text(Schema("s", (Table("t", (column,), "t", row_count=1),)))
    assert f"'{'x' * 39}…'" in text
    assert "(1 row)" in text


def test_json_and_back(tmp_path: Path) -> None:
    schema = made(tmp_path / "db.sqlite", SCRIPT)
    text = json.dumps(to_json(schema))
    assert from_json(text) == schema
    assert from_json(text.encode()) == schema
    assert from_json(to_json(schema)) == schema
    assert from_json({"schema_version": 1} | to_json(schema)) == schema
    assert hash(from_json(text).tables) == hash(schema.tables)


def test_json_by_hand_may_be_short() -> None:
    form = {"name": "s", "tables": [{"name": "t", "columns": [{"name": "a", "type": "number"}]}]}
    table = Table("t", (Column("t", "a", ColumnType.NUMBER, "a"),), "t")
    assert from_json(form) == Schema("s", (table,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"name": "s"}',
        '{"name": 1, "tables": []}',
        '{"name": "s", "tables": [1]}',
        '{"name": "s", "tables": [{"name": "t", "columns": [{"name": "a", "type": "colour"}]}]}',
        '{"name": "s", "tables": [], "foreign_keys": [{"table": "t", "columns": "ab"}]}',
    ],
)
def test_json_of_something_else(text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        from_json(text)
    assert caught.value.hint
