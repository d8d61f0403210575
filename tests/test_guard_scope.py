"""Which tables, columns, types and functions a query may name: schema, lists and settings."""

from __future__ import annotations

import gc

import pytest

from plainsql.execution.access import Access
from plainsql.execution.guard import judge
from plainsql.execution.guard_scope import _known
from plainsql.schema.model import Column, ColumnType, Schema, Table

BOATS = {
    "boat": "id name length mood:mood",
    "port": "id town",
    "sales.orders": "id total:numeric(9,2)",
}


def schema(dialect: str, name: str = "fleet") -> Schema:
    return Schema(name, tuple(_table(*item) for item in BOATS.items()), dialect=dialect)


def _table(name: str, columns: str) -> Table:
    space = name.partition(".")[0] if "." in name else ""
    parts = [column.partition(":") for column in columns.split()]
    made = (Column(name, c, ColumnType.TEXT, c, declared_type=t) for c, _, t in parts)
    return Table(name, tuple(made), name, namespace=space)


# (dialect, source, whether it may be read); the database is called fleet.
SOURCES = [
    ("sqlite", "boat", True),
    ("sqlite", "BOAT", True),
    ("sqlite", "main.boat", True),
    ("sqlite", "fleet.boat", False),
    ("sqlite", "temp.boat", False),
    ("duckdb", "Boat", True),
    ("duckdb", "'boat'", True),
    ("duckdb", "main.boat", True),
    ("duckdb", "fleet.boat", True),
    ("duckdb", "fleet.main.boat", True),
    ("duckdb", "fleet.sales.orders", True),
    ("duckdb", "Sales.Orders", True),
    ("duckdb", "orders", False),
    ("duckdb", "main.orders", False),
    ("duckdb", '"sales.orders"', False),
    ("duckdb", "memory.main.boat", False),
    ("postgres", "boat", True),
    ("postgres", "BOAT", True),
    ("postgres", '"boat"', True),
    ("postgres", '"Boat"', False),
    ("postgres", "public.boat", True),
    ("postgres", "Public.Boat", True),
    ("postgres", '"Public".boat', False),
    ("postgres", "fleet.public.boat", True),
    ("postgres", "other.public.boat", False),
    ("postgres", "fleet.boat", False),
    ("postgres", "sales.orders", True),
    ("postgres", "SALES.orders", True),
    ("postgres", "sales.boat", False),
    ("postgres", "orders", False),
    ("postgres", "public.orders", False),
    ("mysql", "boat", True),
    ("mysql", "`boat`", True),
    ("mysql", "Boat", False),
    ("mysql", "fleet.boat", True),
    ("mysql", "Fleet.boat", False),
    ("mysql", "sales.orders", True),
    ("mysql", "orders", False),
    ("mysql", "`sales.orders`", False),
    ("snowflake", "boat", True),
    ("snowflake", "BOAT", True),
    ("snowflake", "sales.orders", True),
    ("snowflake", "fleet.boat", False),
    ("snowflake", "orders", False),
]


@pytest.mark.parametrize(("dialect", "source", "allowed"), SOURCES)
def test_tables_of_a_schema(dialect: str, source: str, allowed: bool) -> None:
    verdict = judge(f"SELECT 1 FROM {source}", dialect=dialect, schema=schema(dialect))
    assert verdict.allowed is allowed, verdict.reason


@pytest.mark.parametrize(("dialect", "source", "allowed"), SOURCES)
def test_tables_of_a_list(dialect: str, source: str, allowed: bool) -> None:
    """The same without a schema, but then no database is known to be the open one."""
    if dialect != "sqlite":  # where a dot is part of a name
        verdict = judge(f"SELECT 1 FROM {source}", dialect=dialect, tables=frozenset(BOATS))
        assert verdict.allowed is (allowed and "fleet" not in source.lower())


@pytest.mark.parametrize("dialect", ["postgres", "duckdb", "mysql", "sqlite"])
def test_a_list_narrows_the_schema(dialect: str) -> None:
    allowed = frozenset({"port"})
    for access in (None, Access(tables=frozenset({"port", "boat"}))):
        one = judge("SELECT 1 FROM port", dialect=dialect, tables=allowed, access=access)
        other = judge("SELECT 1 FROM boat", dialect=dialect, tables=allowed, access=access)
        assert (one.allowed, other.allowed) == (True, False)
    of_access = Access(tables=frozenset({"sales.orders"}))
    judged = judge("SELECT 1 FROM boat", dialect=dialect, schema=schema(dialect), access=of_access)
    assert not judged.allowed


@pytest.mark.parametrize(
    ("dialect", "source"),
    [
        ("postgres", "pg_class"),
        ("postgres", "pg_catalog.pg_class"),
        ("postgres", "information_schema.tables"),
        ("duckdb", "information_schema.tables"),
        ("duckdb", "duckdb_tables()"),
        ("mysql", "information_schema.tables"),
        ("mysql", "INFORMATION_SCHEMA.COLUMNS"),
        ("sqlite", "sqlite_schema"),
        ("sqlite", "pragma_table_info('boat')"),
    ],
)
def test_the_catalogue_opens_by_the_settings_only(dialect: str, source: str) -> None:
    query = f"SELECT 1 FROM {source} AS c"
    for shape in (None, schema(dialect)):
        assert not judge(query, dialect=dialect, schema=shape).allowed
        shown = judge(query, dialect=dialect, schema=shape, access=Access(catalogue=True))
        assert shown.allowed, shown.reason


@pytest.mark.parametrize(
    ("dialect", "source"),
    [
        ("postgres", "pg_authid"),
        ("postgres", "pg_stats"),
        ("postgres", "pg_catalog.pg_shadow"),
        ("postgres", "pg_proc"),
        ("postgres", "information_schema.routines"),
        ("duckdb", "duckdb_settings()"),
        ("duckdb", "duckdb_secrets()"),
        ("mysql", "mysql.user"),
        ("mysql", "information_schema.processlist"),
        ("sqlite", "dbstat"),
        ("sqlite", "pragma_database_list"),
    ],
)
def test_parts_of_the_catalogue_stay_closed(dialect: str, source: str) -> None:
    query = f"SELECT 1 FROM {source} AS c"
    assert not judge(query, dialect=dialect, access=Access(catalogue=True)).allowed


def test_functions_are_granted_by_name() -> None:
    access = Access(functions=frozenset({"gis_area", "tools.fmt", "json_patch"}))
    for query, allowed in [
        ("SELECT gis_area(1)", True),
        ("SELECT GIS_AREA(1)", True),
        ("SELECT gis_area2(1)", False),
        ("SELECT tools.fmt(1)", True),
        ("SELECT fmt(1)", False),
        ("SELECT other.fmt(1)", False),
        ("SELECT pg_sleep(1)", False),
    ]:
        assert judge(query, dialect="postgres", access=access).allowed is allowed, query
        assert not judge(query, dialect="postgres").allowed
    assert judge("SELECT json_patch('{}', '{}')", access=access).allowed


COLUMNS = [
    ("SELECT b.name FROM boat b", True),
    ("SELECT boat.name, public.boat.id FROM boat", True),
    ("SELECT (b).name FROM boat b", True),
    ("SELECT x.n FROM (SELECT count(*) AS n FROM boat) x", True),
    ("SELECT x.count FROM (SELECT count(*) FROM boat) x", True),
    ("SELECT x.name FROM (SELECT * FROM boat) x", True),
    ("SELECT x.name FROM (SELECT b.*, 1 AS y FROM boat b) x", True),
    ("WITH c AS (SELECT id AS k FROM boat) SELECT c.k FROM c", True),
    ("WITH c(k) AS (SELECT id FROM boat) SELECT d.k FROM c d", True),
    ("WITH RECURSIVE c AS (SELECT 1 AS n UNION SELECT c.n + 1 FROM c WHERE c.n < 5) TABLE c", True),
    ("SELECT g.g FROM generate_series(1, 3) g", True),
    ("SELECT e.value FROM jsonb_array_elements('[]') e", True),
    ("SELECT t.a FROM unnest(ARRAY[1]) AS t(a)", True),
    ("SELECT b.ctid FROM boat b", True),
    ("SELECT p.town FROM boat b, LATERAL (SELECT town FROM port WHERE port.id = b.id) p", True),
    ("SELECT 1 FROM boat b WHERE EXISTS (SELECT 1 FROM port p WHERE p.id = b.id)", True),
    ("SELECT j.name FROM (boat b JOIN port p ON b.id = p.id) j", False),  # rare: not followed
    ("SELECT b.owner_of FROM boat b", False),
    ("SELECT (b).owner_of FROM boat b", False),
    ("SELECT ((b)).owner_of FROM boat b", False),
    ("SELECT (b.*).owner_of FROM boat b", False),
    ("SELECT boat.owner_of FROM boat", False),
    ("SELECT public.boat.owner_of FROM boat", False),
    ("SELECT b.owner_of AS owner_of FROM boat b", False),
    ("SELECT b.owner_of FROM boat b, (SELECT 1 AS owner_of) y", False),
    ("SELECT (SELECT 1 FROM (SELECT 1 AS owner_of) b), b.owner_of FROM boat b", False),
    ("SELECT (x).owner_of FROM unnest(ARRAY[1]) x", False),
    ("SELECT (ROW(1)).owner_of", False),
]


@pytest.mark.parametrize(("sql", "allowed"), COLUMNS)
def test_postgresql_columns_that_are_calls(sql: str, allowed: bool) -> None:
    """`b.f` runs f(b) when there is no such column; with a schema that can be told."""
    verdict = judge(sql, dialect="postgres", schema=schema("postgres"))
    assert verdict.allowed is allowed, verdict.reason


@pytest.mark.parametrize(
    ("sql", "allowed"),
    [
        ("SELECT name, count(*) AS n FROM boat b GROUP BY name ORDER BY n", True),
        ("SELECT town FROM port UNION SELECT name FROM boat ORDER BY town", True),
        ("SELECT x.n FROM (SELECT count(*) AS n FROM boat) x WHERE n > 1", True),
        ("SELECT evil FROM boat", False),
        ("SELECT evil AS evil FROM boat", False),
        ("SELECT package.evil FROM boat", False),
        ("SELECT 1 FROM boat ORDER BY evil", False),
        ("SELECT counter.nextval FROM boat", False),
    ],
)
def test_columns_that_are_calls_elsewhere(sql: str, allowed: bool) -> None:
    assert judge(sql, dialect="oracle", schema=schema("oracle")).allowed is allowed


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    reason = judge("SELECT b.nam FROM boat b", dialect="postgres", schema=schema("postgres")).reason
    assert reason == "column 'nam' is not known, maybe 'name'"


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        ("mood", True),
        ("public.mood", True),
        ("text", True),
        ("tsvector", True),
        ("boat", False),
        ("secret", False),
        ("regclass", False),
        ("pg_catalog.regproc", False),
        ("xml", False),
    ],
)
def test_postgresql_types(kind: str, allowed: bool) -> None:
    """Those of the schema's columns are known; a table is a type that shows its columns."""
    verdict = judge(f"SELECT 'x'::{kind}", dialect="postgres", schema=schema("postgres"))
    assert verdict.allowed is allowed


def test_a_large_schema_is_gathered_once() -> None:
    tables = tuple(_table(f"t{i}", "id a b c d e f g h i") for i in range(10_000))
    large = Schema("large", tables, dialect="postgres")
    assert judge("SELECT t.a FROM t9999 t", dialect="postgres", schema=large).allowed
    first = _known[id(large), "postgres"][1]
    assert not judge("SELECT t.z FROM t9999 t", dialect="postgres", schema=large).allowed
    assert _known[id(large), "postgres"][1] is first
    key = id(large)
    del large
    gc.collect()
    assert (key, "postgres") not in _known
