"""What is written for each dialect: names, quotes, casts, groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialect_copies import ENGINES
from plainsql.evaluation.loading import (
    copied_schema,
    read_tables,
)
from plainsql.execution.guard import judge
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.rules import rules_of
from plainsql.logical_form.to_sql import to_sql
from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import sqlite_schema
from strict_tables import STRICT_CASES, strict_file

__all__ = ["strict_file"]

WRITTEN = [
    # what a reader of the SQL sees: quotes and casts only where the engine needs them
    ("SELECT Name FROM Runner", "sqlite", "SELECT Name FROM Runner"),
    ("SELECT Name FROM Runner", "duckdb", "SELECT Name FROM Runner"),
    ("SELECT Name FROM Runner", "postgres", 'SELECT "Name" FROM "Runner"'),
    ('SELECT "order" FROM Runner', "mysql", "SELECT `order` FROM Runner"),
    ('SELECT "select" FROM Team', "duckdb", 'SELECT "select" FROM Team'),
    (
        "SELECT laps FROM Runner WHERE Name LIKE 'a%'",
        "postgres",
        'SELECT laps FROM "Runner" WHERE "Name" ILIKE \'a%\'',
    ),
    (
        "SELECT laps FROM Runner WHERE Name NOT LIKE 'a%'",
        "duckdb",
        "SELECT laps FROM Runner WHERE Name NOT ILIKE 'a%'",
    ),
    (
        "SELECT laps FROM Runner WHERE Name LIKE 'a%'",
        "mysql",
        "SELECT laps FROM Runner WHERE Name LIKE 'a%'",
    ),
    (
        "SELECT laps FROM Runner WHERE isPro = 1 AND laps = '7'",
        "postgres",
        'SELECT laps FROM "Runner" WHERE "isPro" = TRUE AND laps = 7',
    ),
    (
        "SELECT laps FROM Runner WHERE laps = 'seven'",
        "duckdb",
        "SELECT laps FROM Runner WHERE CAST(laps AS TEXT) = 'seven'",
    ),
    (
        "SELECT laps FROM Runner WHERE score = 10",
        "postgres",
        "SELECT laps FROM \"Runner\" WHERE score = '10'",
    ),
    (
        "SELECT laps FROM Runner WHERE score > 10",
        "duckdb",
        "SELECT laps FROM Runner WHERE TRY_CAST(score AS DOUBLE) > 10",
    ),
    ("SELECT laps / 2 FROM Runner", "sqlite", "SELECT laps * 1.0 / 2 FROM Runner"),
    ("SELECT laps / 2 FROM Runner", "postgres", 'SELECT laps * 1.0 / 2 FROM "Runner"'),
    ("SELECT laps / 2 FROM Runner", "duckdb", "SELECT laps / 2 FROM Runner"),
    ("SELECT laps / 2 FROM Runner", "mysql", "SELECT CAST(laps AS DOUBLE) / 2 FROM Runner"),
    (
        "SELECT laps / zip FROM Runner",
        "postgres",
        'SELECT laps * 1.0 / NULLIF(zip, 0) FROM "Runner"',
    ),
    ("SELECT avg(laps) FROM Runner", "mysql", "SELECT AVG(CAST(laps AS DOUBLE)) FROM Runner"),
    ("SELECT avg(speed) FROM Runner", "mysql", "SELECT AVG(speed) FROM Runner"),
    (
        "SELECT laps FROM Runner ORDER BY speed",
        "duckdb",
        "SELECT laps FROM Runner ORDER BY speed ASC NULLS FIRST",
    ),
    (
        "SELECT laps FROM Runner ORDER BY RunnerID",
        "postgres",
        'SELECT laps FROM "Runner" ORDER BY "RunnerID" ASC',
    ),
    (
        "SELECT laps FROM Runner ORDER BY speed",
        "mysql",
        "SELECT laps FROM Runner ORDER BY speed ASC",
    ),
    (
        "SELECT Name FROM Runner ORDER BY laps DESC LIMIT 3",
        "mysql",
        "SELECT Name FROM Runner ORDER BY laps DESC, RunnerID ASC LIMIT 3",
    ),
    (
        "SELECT city FROM Team GROUP BY city ORDER BY count(*) DESC LIMIT 1",
        "mysql",
        "SELECT city FROM Team GROUP BY city ORDER BY COUNT(*) DESC, city DESC LIMIT 1",
    ),
    (
        "SELECT city, code FROM Team GROUP BY Id",
        "postgres",
        'SELECT city, code FROM "Team" GROUP BY "Id", city, code',
    ),
    (
        "SELECT city, count(*) FROM Team GROUP BY code",
        "duckdb",
        "SELECT MIN(city) AS city, COUNT(*) FROM Team GROUP BY code",
    ),
    (
        "SELECT Name, max(laps) FROM Runner",
        "postgres",
        'SELECT "Name", laps FROM "Runner" WHERE laps IS NOT NULL '
        'ORDER BY laps DESC NULLS LAST, "RunnerID" ASC LIMIT 1',
    ),
    (
        "SELECT laps FROM Runner WHERE laps = (SELECT laps FROM Runner)",
        "duckdb",
        "SELECT laps FROM Runner WHERE laps = (SELECT laps FROM Runner LIMIT 1)",
    ),
    (
        "SELECT Name FROM Runner WHERE laps IN (SELECT laps FROM Runner LIMIT 2)",
        "mysql",
        "SELECT Name FROM Runner WHERE laps IN "
        "(SELECT * FROM (SELECT laps FROM Runner LIMIT 2) AS part)",
    ),
    (
        "SELECT strftime('%Y', born) FROM Runner",
        "mysql",
        "SELECT EXTRACT(YEAR FROM born) AS year FROM Runner",
    ),
    (
        "SELECT strftime('%Y', bornText) FROM Runner",
        "postgres",
        "SELECT EXTRACT(YEAR FROM CAST(SUBSTRING(\"bornText\" FROM '^[0-9]{4}-[0-9]{2}-[0-9]{2}')"
        ' AS DATE)) AS year FROM "Runner"',
    ),
    (
        "SELECT Name FROM Runner JOIN Team ON Runner.team_id = Team.code",
        "mysql",
        "SELECT Runner.Name FROM Runner JOIN Team ON CONCAT(Runner.team_id) = Team.code",
    ),
]


@pytest.mark.parametrize(("sql", "dialect", "expected"), WRITTEN)
def test_what_is_written(sql: str, dialect: str, expected: str, strict_file: Path) -> None:
    schema = sqlite_schema(strict_file)
    found = (
        copied_schema(schema, read_tables(strict_file), dialect) if dialect in ENGINES else schema
    )
    query = from_sql(sql, schema, JoinGraph(schema))
    text = to_sql(query, found, JoinGraph(found))
    assert text == expected
    assert judge(text, dialect=dialect, schema=found).allowed


OTHERS = ("snowflake", "bigquery", "tsql", "oracle", "redshift", "trino", "clickhouse", "spark")


@pytest.mark.parametrize("dialect", OTHERS)
def test_any_dialect_is_written_with_care(dialect: str, strict_file: Path) -> None:
    schema = sqlite_schema(strict_file)
    graph = JoinGraph(schema)
    for sql in STRICT_CASES:
        assert to_sql(from_sql(sql, schema, graph), schema, graph, dialect)
    text = to_sql(
        from_sql("SELECT Name FROM Runner WHERE laps = 'x'", schema, graph), schema, graph, dialect
    )
    assert "CAST(" in text
    with pytest.raises(ValueError, match="nothing"):
        rules_of("nothing")
