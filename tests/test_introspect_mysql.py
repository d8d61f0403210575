"""Schemas of MySQL databases, read from a real MariaDB's information_schema."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from plainsql.errors import SchemaError
from plainsql.schema.model import ColumnType, ForeignKey, Schema, Table
from servers import MariaDBServer

pytest.importorskip("pymysql", reason="pip install 'plainsql[mysql]'")

from plainsql.execution.mysql import MySQLEngine
from plainsql.execution.targets import parse_target
from plainsql.schema.introspect_mysql import mysql_schema

OFFICE = r"""
CREATE TABLE dept (
    id INT PRIMARY KEY COMMENT 'its number', name VARCHAR(20) UNIQUE,
    kind ENUM('a', 'it''s', 'c,d'), tags SET('x', 'y')
) COMMENT = 'where people
work';
CREATE TABLE emp (
    a INT, b INT, dept_id INT, boss_a INT, boss_b INT, ok BOOLEAN, level TINYINT(1), doc JSON,
    place POINT, track LINESTRING, bit1 BIT(1), year_of YEAR, span TIME, born DATE,
    seen TIMESTAMP NULL, twice INT GENERATED ALWAYS AS (a * 2) VIRTUAL, uid UUID, pic BLOB,
    pay DECIMAL(8, 2), title TEXT, code CHAR(36), hidden INT INVISIBLE DEFAULT 0,
    PRIMARY KEY (a, b), FOREIGN KEY (dept_id) REFERENCES dept (id),
    FOREIGN KEY (boss_a, boss_b) REFERENCES emp (a, b)
);
INSERT INTO dept VALUES (1, 'Sales', 'a', 'x,y'), (2, 'IT', 'it''s', '');
INSERT INTO emp (a, b, dept_id, ok, level, doc, bit1, year_of, span, born, seen, pay, title)
    VALUES (1, 1, 1, 1, 5, '{"k": 1}', b'1', 2020, '25:00:00', '2000-01-31',
    '2024-01-01 10:00:00', 12.5, repeat('z', 500));
CREATE VIEW names AS SELECT name FROM dept;
CREATE SEQUENCE numbers;
CREATE TABLE parts (id INT, day DATE) PARTITION BY RANGE (YEAR(day))
    (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
CREATE TABLE kept (id INT) WITH SYSTEM VERSIONING;
CREATE TABLE `we``ird "näme%s` (`sel ect` INT, `a.b` TEXT, `größe` INT);
CREATE TABLE gone (x INT);
CREATE VIEW broken AS SELECT x FROM gone;
DROP TABLE gone;
"""
STORE = """
CREATE TABLE item (id INT PRIMARY KEY, dept_id INT, FOREIGN KEY (dept_id) REFERENCES office.dept (id));
CREATE TABLE dept (id INT PRIMARY KEY, floor INT);
"""  # noqa: E501


@pytest.fixture(scope="module")
def server(mariadb_server: MariaDBServer) -> MariaDBServer:
    mariadb_server.create("office", OFFICE)
    mariadb_server.create("store", STORE)
    return mariadb_server


def opened(server: MariaDBServer, database: str, user: str = "") -> MySQLEngine:
    """As the reader, or as another user whose password is the name."""
    target = parse_target(server.url(database) + "?ssl_mode=DISABLED")
    return MySQLEngine(replace(target, user=user, password=user) if user else target)


@pytest.fixture(scope="module")
def schema(server: MariaDBServer) -> Iterator[Schema]:
    with opened(server, "office") as engine:
        yield engine.introspect()


def table(schema: Schema, name: str) -> Table:
    return schema.tables[schema.table_index(name)]


def test_tables_and_views_but_no_sequences(schema: Schema) -> None:
    names = {found.name: found.is_view for found in schema.tables}
    assert names == {
        "dept": False, "emp": False, "parts": False, "kept": False, "names": True,
        'we`ird "näme%s': False,
    }  # fmt: skip
    assert schema.dialect == "mysql"
    assert schema.name == "office"


def test_comments_keys_and_estimates(schema: Schema) -> None:
    dept = table(schema, "dept")
    assert dept.comment == "where people work"
    assert dept.columns[0].comment == "its number"
    assert dept.row_count == 2
    assert [c.name for c in table(schema, "emp").columns if c.primary_key] == ["a", "b"]
    assert table(schema, "names").comment == ""
    assert table(schema, "names").row_count is None


def test_declared_keys_also_of_several_columns(schema: Schema) -> None:
    declared = [key for key in schema.foreign_keys if not key.inferred]
    assert declared == [
        ForeignKey("emp", ("dept_id",), "dept", ("id",)),
        ForeignKey("emp", ("boss_a", "boss_b"), "emp", ("a", "b")),
    ]


@pytest.mark.parametrize(
    ("column", "kind", "declared", "samples"),
    [
        ("a", ColumnType.NUMBER, "int(11)", ("1",)),
        ("ok", ColumnType.BOOLEAN, "tinyint(1)", ("1",)),
        ("level", ColumnType.NUMBER, "tinyint(1)", ("5",)),
        ("doc", ColumnType.OTHER, "json", ()),
        ("place", ColumnType.OTHER, "point", ()),
        ("track", ColumnType.OTHER, "linestring", ()),
        ("bit1", ColumnType.BOOLEAN, "bit(1)", ("1",)),
        ("year_of", ColumnType.TIME, "year(4)", ("2020",)),
        ("span", ColumnType.TIME, "time", ("25:00:00",)),
        ("born", ColumnType.TIME, "date", ("2000-01-31",)),
        ("seen", ColumnType.TIME, "timestamp", ("2024-01-01 10:00:00",)),
        ("twice", ColumnType.NUMBER, "int(11)", ("2",)),
        ("uid", ColumnType.TEXT, "uuid", ()),
        ("pic", ColumnType.OTHER, "blob", ()),
        ("pay", ColumnType.NUMBER, "decimal(8,2)", ("12.50",)),
        ("title", ColumnType.TEXT, "text", ("z" * 80,)),
        ("hidden", ColumnType.NUMBER, "int(11)", ("0",)),
    ],
)
def test_columns(
    schema: Schema, column: str, kind: ColumnType, declared: str, samples: tuple[str, ...]
) -> None:
    found = schema.columns[schema.column_index("emp", column)]
    assert (found.type, found.declared_type, found.samples) == (kind, declared, samples)


def test_labels_of_enums_and_sets_are_samples(schema: Schema) -> None:
    columns = {column.name: column for column in table(schema, "dept").columns}
    assert columns["kind"].samples == ("a", "it's", "c,d")
    assert columns["tags"].samples == ("x", "y")
    assert {columns["kind"].type, columns["tags"].type} == {ColumnType.TEXT}


def test_odd_names(schema: Schema) -> None:
    odd = table(schema, 'we`ird "näme%s')
    assert [column.name for column in odd.columns] == ["sel ect", "a.b", "größe"]


def test_only_what_may_be_selected_is_there(server: MariaDBServer) -> None:
    who = f"narrow2@{server.host}"
    server.sql(
        f"CREATE OR REPLACE USER {who} IDENTIFIED BY 'narrow2';"
        f"GRANT SELECT ON office.emp TO {who}; GRANT SELECT (id, name) ON office.dept TO {who};"
        f"GRANT INSERT ON office.parts TO {who}; GRANT SELECT ON store.dept TO {who};"
    )
    with opened(server, "office", "narrow2") as engine:
        schema = engine.introspect()
    assert {found.name for found in schema.tables} == {"dept", "emp"}
    assert [column.name for column in table(schema, "dept").columns] == ["id", "name"]
    assert len([key for key in schema.foreign_keys if not key.inferred]) == 2
    with opened(server, "", "narrow2") as engine:  # no database: all that may be read
        everything = engine.introspect()
    names = {found.name: (found.namespace, found.bare_name) for found in everything.tables}
    assert names == {
        "office.dept": ("office", "dept"),
        "office.emp": ("office", "emp"),
        "store.dept": ("store", "dept"),
    }


def test_other_databases_come_as_namespaces_when_asked_for(server: MariaDBServer) -> None:
    with opened(server, "store") as engine:
        alone = engine.introspect()
        both = mysql_schema("store", engine.catalogue, engine.catalogue, others=("office",))
        rows = engine.run("SELECT count(*) FROM office.dept").rows
    assert {found.name for found in alone.tables} == {"item", "dept"}
    assert {"item", "dept", "office.dept", "office.emp"} < {found.name for found in both.tables}
    assert ForeignKey("item", ("dept_id",), "office.dept", ("id",)) in both.foreign_keys
    assert ("office", "emp") in {(found.namespace, found.bare_name) for found in both.tables}
    assert rows == ((2,),)


def test_undeclared_keys_are_inferred_and_confirmed_by_values(server: MariaDBServer) -> None:
    server.create(
        "loose",
        "CREATE TABLE customers (id INT PRIMARY KEY, name TEXT) ENGINE=MyISAM;"
        "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT) ENGINE=MyISAM;"
        "INSERT INTO customers VALUES (1, 'a'), (2, 'b');"
        "INSERT INTO orders VALUES (1, 1), (2, 2);",
    )
    with opened(server, "loose") as engine:
        schema = engine.introspect()
    assert schema.foreign_keys == (
        ForeignKey("orders", ("customer_id",), "customers", ("id",), inferred=True),
    )


def test_a_database_without_tables_says_so(server: MariaDBServer) -> None:
    server.create("void")
    with opened(server, "void") as engine, pytest.raises(SchemaError, match="void"):
        engine.introspect()


def test_many_tables_are_read_at_once(server: MariaDBServer) -> None:
    tables = "".join(
        f"CREATE TABLE t{at} (id INT PRIMARY KEY, name TEXT, x DOUBLE) ENGINE=MyISAM;"
        for at in range(300)
    )
    server.create("wide", tables)
    with opened(server, "wide") as engine:
        started = time.monotonic()
        schema = engine.introspect()
    assert len(schema.tables) == 300
    assert time.monotonic() - started < 6  # 10,000 tables: 9 s, of which 4 for samples
