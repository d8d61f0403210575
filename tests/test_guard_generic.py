"""The guard for dialects without a policy of their own: standard SQL over listed tables."""

from __future__ import annotations

import pytest

from plainsql.execution.guard import judge

TABLES = frozenset({"boat", "port", "sales.orders"})
DIALECTS = ["tsql", "oracle", "snowflake", "bigquery", "redshift", "trino", "clickhouse", "spark"]

ALLOWED = """
SELECT name FROM boat
SELECT b.name, p.town FROM boat AS b JOIN port AS p ON b.port_id = p.id WHERE b.length > 5
SELECT count(*), avg(length), round(sum(length), 2) FROM boat GROUP BY port_id HAVING count(*) > 1
SELECT CASE WHEN length > 9 THEN 'long' ELSE 'short' END AS size FROM boat ORDER BY 1 DESC
SELECT name FROM boat WHERE id IN (SELECT port_id FROM boat) AND name LIKE 'M%' OR name IS NULL
SELECT name FROM boat UNION ALL SELECT town FROM port
WITH long_ones AS (SELECT * FROM boat WHERE length > 9) SELECT count(*) FROM long_ones
SELECT rank() OVER (PARTITION BY port_id ORDER BY length) FROM boat
SELECT total FROM sales.orders
SELECT coalesce(name, 'x'), upper(name), CAST(length AS INTEGER) FROM boat -- done
""".strip().splitlines()

DENIED = """
SELECT * FROM secret
SELECT * FROM other.boat
SELECT * FROM a.sales.orders
SELECT * FROM information_schema.tables
SELECT word FROM boat, secret
SELECT (SELECT word FROM secret) FROM boat
WITH secret AS (SELECT * FROM secret) SELECT * FROM secret
DELETE FROM boat
SELECT 1; DELETE FROM boat
SELECT name INTO copy FROM boat
SELECT name FROM boat FOR UPDATE
MERGE INTO boat USING port ON 1 = 1 WHEN MATCHED THEN DELETE
EXPLAIN ANALYZE SELECT 1
CALL p()
EXEC p
SELECT system('id')
SELECT sleep(3)
SELECT package.f(1)
SELECT "f"(1)
SELECT * FROM f(1)
SELECT * FROM TABLE(f(1))
SELECT current_user
SELECT user FROM boat
SELECT @x
SELECT :x
SELECT $1
SELECT {{ x }}
SELECT a[1] FROM boat
SELECT 'a\\'
SELECT 1 # x
SELECT 1 --x
SELECT q'[x]' FROM boat
SELECT name FROM boat@elsewhere
SELECT 1 /* /* */ */
SELECT 0x1F
SELECT naïve FROM boat
""".strip().splitlines()


@pytest.mark.parametrize("sql", ALLOWED)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_allowed(dialect: str, sql: str) -> None:
    verdict = judge(sql, dialect=dialect, tables=TABLES)
    assert verdict.allowed, verdict.reason
    assert verdict.sql == sql


@pytest.mark.parametrize("sql", DENIED)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_denied(dialect: str, sql: str) -> None:
    assert not judge(sql, dialect=dialect, tables=TABLES).allowed


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_table_may_be_read_without_a_list(dialect: str) -> None:
    assert "list of the tables" in judge("SELECT name FROM boat", dialect=dialect).reason
    assert judge("SELECT 1", dialect=dialect).allowed


@pytest.mark.parametrize(
    ("dialect", "sql", "allowed"),
    [
        ("tsql", "SELECT TOP 5 [name] FROM [boat]", True),
        ("tsql", "SELECT name FROM boat ORDER BY 1 OFFSET 5 ROWS FETCH NEXT 5 ROWS ONLY", True),
        ("tsql", "SELECT [a]]b] FROM boat", False),
        # two statements without a semicolon, which look like an alias
        ("tsql", "SELECT 1 DELETE FROM boat", False),
        ("tsql", "SELECT 1 SHUTDOWN", False),
        ("tsql", "SELECT name FROM boat CHECKPOINT", False),
        ("tsql", "SELECT name FROM boat WITH (NOLOCK)", False),
        ("tsql", "SELECT name FROM boat OPTION (MAXRECURSION 0)", False),
        ("tsql", "SELECT name FROM boat FOR XML AUTO", False),
        ("snowflake", "SELECT open, close FROM boat", True),
        ("bigquery", "SELECT `name` FROM `boat`", True),
        ("bigquery", 'SELECT name FROM boat WHERE name = "x"', False),  # a string there
        ("bigquery", "SELECT * FROM `a.b.boat`", False),
        ("clickhouse", "SELECT name FROM boat FINAL", False),
        ("clickhouse", "SELECT name FROM boat SETTINGS max_threads = 1", False),
        ("clickhouse", "SELECT name FROM boat FORMAT JSON", False),
        ("oracle", "SELECT name FROM boat FETCH FIRST 5 ROWS ONLY", True),
        ("oracle", "SELECT name FROM boat AS OF TIMESTAMP sysdate", False),
        ("oracle", "SELECT 1 FROM boat CONNECT BY 1 = 1", False),
    ],
)
def test_forms_of_single_dialects(dialect: str, sql: str, allowed: bool) -> None:
    verdict = judge(sql, dialect=dialect, tables=TABLES)
    assert verdict.allowed is allowed, verdict.reason
