"""Schemas from CREATE statements of SQLite and others."""

from __future__ import annotations

from pathlib import Path

import pytest

from plainsql.errors import SchemaError
from plainsql.training.data.ddl import schema_of_ddl

TWO = ["singer(name, age)", "concert(id, singer_id)"]
# a script, and the tables it defines
SCRIPTS = [
    ("CREATE TABLE singer (name TEXT, age INT)", TWO[:1]),
    ("CREATE TABLE singer (name VARCHAR, age INTEGER); CREATE TABLE concert (id, singer_id)", TWO),
    ("PRAGMA foreign_keys=off; DROP TABLE IF EXISTS singer; CREATE TABLE singer(name, age);",
     TWO[:1]),
    ("BEGIN; CREATE TABLE singer(name, age); INSERT INTO singer VALUES ('Joe', 5); COMMIT",
     TWO[:1]),
    ("CREATE TABLE `singer` (`name` varchar(20) NOT NULL, `age` int unsigned AUTO_INCREMENT,"
     " PRIMARY KEY (`age`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;", TWO[:1]),
    ("CREATE TABLE public.singer (name character varying(20)[], age SERIAL PRIMARY KEY);"
     " ALTER TABLE ONLY public.singer OWNER TO me; COPY singer FROM stdin;", TWO[:1]),
    ("CREATE TABLE singer (name TEXT, age INT); ATTACH DATABASE '/tmp/x.db' AS other;", TWO[:1]),
]  # fmt: skip


@pytest.mark.parametrize(("script", "tables"), SCRIPTS)
def test_scripts_become_schemas(script, tables, capfd):
    schema = schema_of_ddl(script, "shop")
    found = [f"{t.name}({', '.join(c.name for c in t.columns)})" for t in schema.tables]
    assert found == tables
    assert schema.name == "shop"
    assert capfd.readouterr().err == ""


FOREIGN = """
CREATE TABLE singer (id SERIAL PRIMARY KEY, tags TEXT[] DEFAULT '{}'::text[]);
CREATE TABLE concert (id INT, singer_id INT REFERENCES singer (id), year DATE, PRIMARY KEY (id));
CREATE TABLE ticket (c INT, CONSTRAINT k FOREIGN KEY (c) REFERENCES concert (id));
"""


def test_keys_of_a_foreign_dialect_are_read():
    schema = schema_of_ddl(FOREIGN, "shop", "postgres")
    declared = {(k.table, k.columns, k.ref_table, k.ref_columns)
                for k in schema.foreign_keys if not k.inferred}  # fmt: skip
    assert declared == {
        ("concert", ("singer_id",), "singer", ("id",)),
        ("ticket", ("c",), "concert", ("id",)),
    }
    assert {f"{c.table}.{c.name}" for c in schema.columns if c.primary_key} == {
        "singer.id",
        "concert.id",
    }


def test_inserted_rows_become_samples():
    schema = schema_of_ddl("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('y')", "")
    assert schema.columns[0].samples == ("x", "y")


BAD = [
    "",
    "no SQL at all",
    "SELECT 1",
    "CREATE TABLE",
    "CREATE TABLE t (",
    "CREATE VIRTUAL TABLE t USING fts5(a)",
    "(" * 5000,
    "x" * 600_000,
]


@pytest.mark.parametrize("script", BAD)
def test_what_defines_no_table_is_explained(script):
    with pytest.raises(SchemaError):
        schema_of_ddl(script, "shop")


def test_a_script_reaches_no_file(tmp_path: Path):
    target = tmp_path / "other.db"
    script = f"CREATE TABLE t (a); ATTACH '{target}' AS o; CREATE TABLE o.stolen (a);"
    schema_of_ddl(script, "shop")
    with pytest.raises(SchemaError):
        schema_of_ddl(f"VACUUM INTO '{target}'", "shop")
    assert not target.exists()


def test_a_script_that_would_run_for_ever_is_stopped():
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    schema = schema_of_ddl(f"CREATE TABLE t (a INT); INSERT INTO t {endless};", "shop")
    assert [table.name for table in schema.tables] == ["t"]
