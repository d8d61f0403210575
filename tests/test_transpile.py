"""SQL of one dialect for the engine of another: the result is run, on the real engine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainsql.errors import DeniedError
from plainsql.evaluation.loading import copied_schema, copy_tables, read_tables
from plainsql.execution.cells import plain_row
from plainsql.execution.guard import judge
from plainsql.execution.sqlite import SQLiteEngine
from plainsql.execution.transpile import to_dialect
from plainsql.records import Candidate
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.trying import try_candidates
from servers import MariaDBServer, PostgreSQLServer, mariadb_server, postgresql_server

__all__ = ["mariadb_server", "postgresql_server"]

SINGERS = """
CREATE TABLE singer (
    singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER, born DATE,
    fee REAL, active BOOLEAN, hits INTEGER
);
CREATE TABLE Concert (
    Concert_ID INTEGER PRIMARY KEY, Title TEXT, held TIMESTAMP,
    singer_id INTEGER REFERENCES singer (singer_id)
);
INSERT INTO singer VALUES
    (1, 'Joe Sharp', 'France', 52, '1972-03-05', 10.25, 1, 1),
    (2, 'Ann Wood', 'Peru', 32, '1992-11-20', 7.5, 0, 0),
    (3, 'joy Dee', 'France', NULL, '1999-03-31', NULL, 1, 1);
INSERT INTO Concert VALUES
    (1, 'Opening', '2014-05-01 20:00:00', 1), (2, 'Second', '2014-06-02 21:30:00', 2),
    (3, 'Last', '2015-06-03 19:15:00', 1);
"""
Run = Callable[[str], list[tuple[Any, ...]]]
ALL = ("sqlite", "duckdb", "postgres", "mysql")
BUT_SQLITE = ("duckdb", "postgres", "mysql")

# The text, the rows that every engine must give, and the engines (all, if none is named).
CASES: list[tuple[str, list[tuple[Any, ...]], tuple[str, ...]]] = [
    # quotes
    ("SELECT `name` FROM `singer` WHERE `singer_id` = 2", [("Ann Wood",)], ALL),
    ("SELECT [name] FROM [singer] WHERE [singer_id] = 2", [("Ann Wood",)], ALL),
    ('SELECT "name" FROM "singer" WHERE "singer_id" = 2', [("Ann Wood",)], ALL),
    ('SELECT name FROM singer WHERE country = "Peru"', [("Ann Wood",)], ALL),
    ('SELECT s."name" FROM "singer" AS s WHERE s.country = "Peru"', [("Ann Wood",)], ALL),
    ("SELECT Title FROM Concert WHERE Concert_ID = 3", [("Last",)], ALL),
    ("SELECT title FROM concert WHERE concert_id = 3", [("Last",)], ALL),
    ("SELECT c.TITLE FROM CONCERT c WHERE c.CONCERT_ID = 3", [("Last",)], ALL),
    ('SELECT "title" FROM concert WHERE concert_id = 3', [("Last",)], ALL),
    (
        "SELECT s.name, c.title FROM concert c JOIN singer s ON s.singer_id = c.singer_id "
        "WHERE c.title = 'Last'",
        [("Joe Sharp", "Last")],
        ALL,
    ),
    (
        "WITH late AS (SELECT title, singer_id FROM concert WHERE title = 'Last') "
        "SELECT late.title FROM late",
        [("Last",)],
        ALL,
    ),
    # the first rows
    ("SELECT TOP 1 name FROM singer ORDER BY age DESC", [("Joe Sharp",)], ("sqlite", "mysql")),
    ("SELECT TOP (2) name FROM singer ORDER BY singer_id", [("Joe Sharp",), ("Ann Wood",)], ALL),
    ("SELECT TOP 1 [name] FROM [singer] ORDER BY [singer_id]", [("Joe Sharp",)], ALL),
    ("SELECT name FROM singer ORDER BY singer_id LIMIT 1, 1", [("Ann Wood",)], ALL),
    ("SELECT name FROM singer ORDER BY singer_id LIMIT 1 OFFSET 1", [("Ann Wood",)], ALL),
    ("SELECT name FROM singer ORDER BY singer_id FETCH FIRST 1 ROWS ONLY", [("Joe Sharp",)], ALL),
    ("SELECT name FROM singer ORDER BY singer_id OFFSET 1 LIMIT 1", [("Ann Wood",)], ALL),
    # texts
    ("SELECT name FROM singer WHERE name ILIKE 'jo%' ORDER BY singer_id",
     [("Joe Sharp",), ("joy Dee",)], ALL),
    ("SELECT name FROM singer WHERE name NOT ILIKE 'jo%'", [("Ann Wood",)], ALL),
    ("SELECT CONCAT(name, ' of ', country) FROM singer WHERE singer_id = 2",
     [("Ann Wood of Peru",)], ALL),
    ("SELECT name || ' of ' || country FROM singer WHERE singer_id = 2",
     [("Ann Wood of Peru",)], ALL),
    ("SELECT LEFT(name, 3), RIGHT(name, 4) FROM singer WHERE singer_id = 2",
     [("Ann", "Wood")], ALL),
    ("SELECT LEN(name) FROM singer WHERE singer_id = 2", [(8,)], ALL),
    ("SELECT CHAR_LENGTH(name) FROM singer WHERE singer_id = 2", [(8,)], ALL),
    ("SELECT SUBSTRING(name, 1, 3) FROM singer WHERE singer_id = 2", [("Ann",)], ALL),
    ("SELECT SUBSTRING(name FROM 1 FOR 3) FROM singer WHERE singer_id = 2", [("Ann",)], ALL),
    ("SELECT POSITION('W' IN name) FROM singer WHERE singer_id = 2", [(5,)], ALL),
    ("SELECT INSTR(name, 'W') FROM singer WHERE singer_id = 2", [(5,)], ALL),
    ("SELECT CHARINDEX('W', name) FROM singer WHERE singer_id = 2", [(5,)], ALL),
    ("SELECT SUBSTRING_INDEX(name, ' ', 1) FROM singer WHERE singer_id = 2", [("Ann",)],
     BUT_SQLITE),
    ("SELECT SPLIT_PART(name, ' ', 1) FROM singer WHERE singer_id = 2", [("Ann",)], BUT_SQLITE),
    ("SELECT UCASE(name) FROM singer WHERE singer_id = 2", [("ANN WOOD",)], ALL),
    ("SELECT name FROM singer WHERE name REGEXP '^Ann'", [("Ann Wood",)], BUT_SQLITE),
    ("SELECT name FROM singer WHERE name ~ '^Ann'", [("Ann Wood",)], ("postgres", "mysql")),
    ("SELECT name FROM singer WHERE name == 'Ann Wood'", [("Ann Wood",)], ALL),
    ("SELECT name FROM singer WHERE name <> 'Ann Wood' AND name != 'joy Dee'",
     [("Joe Sharp",)], ALL),
    ("SELECT STRING_AGG(name, ', ' ORDER BY singer_id) FROM singer WHERE singer_id < 3",
     [("Joe Sharp, Ann Wood",)], BUT_SQLITE),
    ("SELECT STRING_AGG(name, ', ') FROM singer WHERE singer_id = 2", [("Ann Wood",)], ALL),
    ("SELECT GROUP_CONCAT(name SEPARATOR ', ') FROM singer WHERE singer_id = 2",
     [("Ann Wood",)], ALL),
    ("SELECT GROUP_CONCAT(name) FROM singer WHERE singer_id = 2", [("Ann Wood",)], ALL),
    ("SELECT LISTAGG(name, ', ') FROM singer WHERE singer_id = 2", [("Ann Wood",)], ALL),
    # values
    ("SELECT IFNULL(age, 0) FROM singer WHERE singer_id = 3", [(0,)], ALL),
    ("SELECT NVL(age, 0) FROM singer WHERE singer_id = 3", [(0,)], ALL),
    ("SELECT ISNULL(age, 0) FROM singer WHERE singer_id = 3", [(0,)], ALL),
    ("SELECT IF(age > 40, 'old', 'young') FROM singer WHERE singer_id = 2", [("young",)], ALL),
    ("SELECT IIF(age > 40, 'old', 'young') FROM singer WHERE singer_id = 2", [("young",)], ALL),
    ("SELECT IFF(age > 40, 'old', 'young') FROM singer WHERE singer_id = 2", [("young",)], ALL),
    ("SELECT age::text FROM singer WHERE singer_id = 2", [("32",)], ALL),
    ("SELECT CAST(age AS CHAR) FROM singer WHERE singer_id = 2",
     [("32",)], ("sqlite", "duckdb", "mysql")),
    ("SELECT SAFE_CAST(age AS STRING) FROM singer WHERE singer_id = 2", [("32",)], ALL),
    ("SELECT name FROM singer WHERE active = TRUE AND country = 'Peru'", [], ALL),
    ("SELECT name FROM singer WHERE active = 1 ORDER BY singer_id",
     [("Joe Sharp",), ("joy Dee",)], ALL),
    ("SELECT name FROM singer WHERE hits = TRUE ORDER BY singer_id",
     [("Joe Sharp",), ("joy Dee",)], ALL),
    ("SELECT ROUND(AVG(fee), 1) FROM singer", [(8.9,)], ALL),
    ("SELECT ROUND(AVG(fee)::numeric, 2) FROM singer WHERE singer_id = 2", [(7.5,)], ALL),
    ("SELECT TOTAL(hits) FROM singer", [(2.0,)], ALL),
    ("SELECT COUNT(*) FILTER (WHERE age > 40) FROM singer", [(1,)], ALL),
    ("SELECT SUM(hits) FILTER (WHERE country = 'France') FROM singer", [(2,)], ALL),
    ("SELECT name FROM singer MINUS SELECT name FROM singer WHERE country = 'France'",
     [("Ann Wood",)], ALL),
    # dates
    ("SELECT YEAR(born) FROM singer WHERE singer_id = 2", [(1992,)], ALL),
    ("SELECT EXTRACT(MONTH FROM born) FROM singer WHERE singer_id = 2", [(11,)], ALL),
    ("SELECT DATE_PART('year', born) FROM singer WHERE singer_id = 2", [(1992,)], ALL),
    ("SELECT DATEPART(year, born) FROM singer WHERE singer_id = 2", [(1992,)], ALL),
    ("SELECT STRFTIME('%Y', born) FROM singer WHERE singer_id = 2", [("1992",)], ALL),
    ("SELECT CAST(STRFTIME('%m', born) AS INTEGER) FROM singer WHERE singer_id = 2", [(11,)], ALL),
    ("SELECT DATE_FORMAT(born, '%Y-%m') FROM singer WHERE singer_id = 2", [("1992-11",)], ALL),
    ("SELECT TO_CHAR(born, 'YYYY-MM') FROM singer WHERE singer_id = 2", [("1992-11",)], ALL),
    ("SELECT QUARTER(born) FROM singer WHERE singer_id = 2", [(4,)], ALL),
    ("SELECT DAYOFWEEK(born) FROM singer WHERE singer_id = 2", [(6,)],
     ("sqlite", "postgres", "mysql")),
    ("SELECT COUNT(*) FROM singer WHERE YEAR(born) > 1990 AND MONTH(born) = 3", [(1,)], ALL),
    ("SELECT YEAR(held), COUNT(*) FROM Concert GROUP BY YEAR(held) ORDER BY YEAR(held)",
     [(2014, 2), (2015, 1)], ALL),
    ("SELECT COUNT(DISTINCT DATE_TRUNC('month', held)) FROM concert", [(3,)], ALL),
    ("SELECT COUNT(DISTINCT DATE_TRUNC('year', held)) FROM concert", [(2,)], ALL),
    ("SELECT COUNT(*) FROM concert WHERE held::date = DATE '2014-05-01'", [(1,)], ALL),
    ("SELECT COUNT(*) FROM concert WHERE DATE(held) = '2014-05-01'", [(1,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < NOW()", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < CURDATE()", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < GETDATE()", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < DATE('now')", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < DATE('now', '-1 year')", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < CURRENT_DATE - INTERVAL '30 days'", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < DATE_SUB(CURDATE(), INTERVAL 1 YEAR)", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born < DATEADD(day, -30, GETDATE())", [(3,)], ALL),
    ("SELECT COUNT(*) FROM singer WHERE born + INTERVAL '1 month' > '1999-04-15'", [(1,)], ALL),
    ("SELECT DATEDIFF('1992-11-25', born) FROM singer WHERE singer_id = 2", [(5,)], ALL),
    ("SELECT JULIANDAY('1992-11-25') - JULIANDAY(born) FROM singer WHERE singer_id = 2",
     [(5,)], ALL),
    # shapes
    ("SELECT name FROM singer QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY age DESC)"
     " = 1 AND country = 'Peru'", [("Ann Wood",)], ALL),
    ("SELECT DISTINCT ON (country) country, name FROM singer WHERE age > 0 ORDER BY country, age",
     [("France", "Joe Sharp"), ("Peru", "Ann Wood")], ALL),
    ("SELECT 1 AS one FROM DUAL", [(1,)], ALL),
]  # fmt: skip


@pytest.fixture(scope="module")
def singers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("singers") / "singers.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SINGERS)
    return path


@pytest.fixture(scope="module")
def sqlite_run(singers: Path) -> Iterator[Run]:
    with closing(sqlite3.connect(f"file:{singers}?mode=ro", uri=True)) as connection:
        yield lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def duckdb_run(singers: Path) -> Iterator[Run]:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        copy_tables(read_tables(singers), "duckdb", connection.execute)
        yield lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def postgres_run(singers: Path, postgresql_server: PostgreSQLServer) -> Iterator[Run]:
    postgresql_server.create("transpile")
    with postgresql_server.connect("transpile") as connection:
        copy_tables(read_tables(singers), "postgres", lambda s, p: connection.execute(s, p or None))
        yield lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def mysql_run(singers: Path, mariadb_server: MariaDBServer) -> Iterator[Run]:
    mariadb_server.create("transpile")
    with mariadb_server.connect("transpile") as connection, connection.cursor() as cursor:
        copy_tables(read_tables(singers), "mysql", lambda s, p: cursor.execute(s, p or None))

        def run(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        yield run


def schema_of(path: Path, dialect: str) -> Schema:
    schema = sqlite_schema(path)
    return schema if dialect == "sqlite" else copied_schema(schema, read_tables(path), dialect)


def number(cell: Any) -> Any:
    """Numbers of any type as one, so that 5 equals Decimal("5") and 5.0."""
    return round(float(cell), 6) if isinstance(cell, int | float | Decimal) else cell


PAIRS = [(sql, rows, engine) for sql, rows, engines in CASES for engine in engines]


@pytest.mark.parametrize(("sql", "rows", "engine"), PAIRS)
def test_what_is_written_runs(
    sql: str, rows: list[tuple[Any, ...]], engine: str, singers: Path, request: Any
) -> None:
    run: Run = request.getfixturevalue(f"{engine}_run")
    schema = schema_of(singers, engine)
    written = to_dialect(sql, engine, schema)
    verdict = judge(written, dialect=engine, schema=schema)
    assert verdict.allowed, (written, verdict.reason)
    found = [tuple(map(number, plain_row(row))) for row in run(written)]
    assert found == [tuple(map(number, row)) for row in rows], written
    assert to_dialect(written, engine, schema) == written


UNCHANGED = [
    # what is the engine's own already, in whatever spelling
    ("sqlite", "SELECT name FROM singer"),
    ("sqlite", "select  NAME\n from `singer` -- all of them"),
    ("sqlite", "SELECT [name] FROM singer LIMIT 1, 2;"),
    ("sqlite", 'SELECT name FROM singer WHERE country = "Peru"'),
    ("sqlite", "SELECT strftime('%Y', born), date('now', '-1 day') FROM singer"),
    ("sqlite", "SELECT group_concat(name, ', '), ifnull(max(age), 0) FROM singer"),
    ("sqlite", "SELECT name FROM singer WHERE active = TRUE AND name LIKE '%::%'"),
    ("duckdb", "SELECT name::VARCHAR FROM singer WHERE name ILIKE 'a%' QUALIFY true"),
    ("duckdb", "SELECT date_trunc('month', born), year(born), count_if(age > 3) FROM singer"),
    ("duckdb", "FROM singer SELECT list(name) FILTER (WHERE age > 30)"),
    ("postgres", "SELECT s.name::text FROM singer s WHERE s.name ILIKE 'a%' OFFSET 1 LIMIT 1"),
    ("postgres", 'SELECT c."Title" FROM "Concert" AS c WHERE c.held > now() - INTERVAL \'1 day\''),
    ("postgres", "SELECT DISTINCT ON (country) name FROM singer WHERE active ORDER BY country"),
    ("postgres", "SELECT extract(year FROM born), to_char(born, 'YYYY') FROM singer"),
    ("postgres", "SELECT round(avg(age), 2), round(avg(fee)::numeric, 2) FROM singer"),
    ("mysql", 'SELECT `name` FROM singer WHERE country = "Peru" LIMIT 1, 2'),
    ("mysql", "SELECT YEAR(born), DATE_FORMAT(born, '%Y'), IF(age > 3, 'a', 'b') FROM singer"),
    ("mysql", "SELECT born - INTERVAL 30 DAY, CONCAT(name, ' | ', country) FROM singer"),
    # nothing that could be written again
    ("sqlite", "DELETE FROM `singer` WHERE name ILIKE 'a'"),
    ("sqlite", "SELECT 1; SELECT 2::text"),
    ("postgres", "DROP TABLE `singer`"),
    ("sqlite", ""),
    ("sqlite", "   \n"),
    ("sqlite", "SELECT"),
    ("sqlite", "how many singers are there?"),
    ("sqlite", "SELECT TOP FROM WHERE `"),
    ("sqlite", "\x00\ud800 SELECT ILIKE"),
    ("sqlite", "SELECT " + "(" * 500 + "1::text" + ")" * 500),
    ("sqlite", "SELECT 1::text" + " " * 6_000),
    ("sqlite", "SELECT unheard_of(name) FROM singer"),
    ("no such dialect", "SELECT TOP 3 name FROM singer"),
]


@pytest.mark.parametrize(("engine", "sql"), UNCHANGED)
def test_what_is_fine_or_hopeless_stays_as_it_is(engine: str, sql: str, singers: Path) -> None:
    known = schema_of(singers, engine if engine in ALL else "sqlite")
    assert to_dialect(sql, engine, known) == sql
    assert to_dialect(sql, engine) == sql or '"' in sql


def test_reading_says_nothing_about_the_text(caplog: pytest.LogCaptureFixture) -> None:
    for engine in ALL:
        to_dialect("SELECT 'secret' FROM t WHERE JSON_TABLE(x, '$[') MATCH y", engine)
        to_dialect("EXPLAIN SHOW 'secret'", engine)
    assert "secret" not in caplog.text


ANSWERED = [
    ("SELECT TOP 1 name FROM singer ORDER BY age DESC", ((("Joe Sharp"),),)),
    ("SELECT COUNT(*) FROM singer WHERE YEAR(born) = 1992", ((1,),)),
    ("SELECT name FROM singer WHERE name ~ 'x' OR name ILIKE 'ANN%'", None),
    ("SELECT LEFT(name, 3) FROM singer WHERE country = 'Peru'", (("Ann",),)),
    ("SELECT TOP 1 name FROM sqlite_master", None),
    ("SELECT TOP 1 LOAD_FILE('/etc/passwd') FROM singer", None),
    ("DELETE FROM singer", None),
]


@pytest.mark.parametrize(("sql", "rows"), ANSWERED)
def test_a_refused_candidate_is_tried_in_the_own_dialect(
    sql: str, rows: tuple[tuple[Any, ...], ...] | None, singers: Path
) -> None:
    """The second try is judged like the first."""
    with SQLiteEngine(singers) as engine:
        tried = [Candidate(sql, -1.0, "scripted")]
        schema = engine.introspect()
        (trial,) = try_candidates(tried, engine, schema, wanted=1, limit=10, timeout=5)
        if rows is None:
            assert isinstance(trial.error, DeniedError)
            assert trial.candidate.sql == sql
        else:
            assert trial.rows is not None
            assert trial.rows.rows == rows
            assert judge(trial.candidate.sql, schema=schema).allowed


PIECES = [
    *("SELECT", "TOP 3", "name", '"name"', "`name`", "[name]", "*", "FROM", "singer", "Concert"),
    *("WHERE", "age", "=", "==", "::text", "ILIKE", "'a%'", '"x"', "||", "LIMIT 1, 2", "OFFSET 3"),
    *("(", ")", ",", "COUNT(*)", "YEAR(born)", "DATE('now', '-1 day')", "INTERVAL '1 day'", "+"),
    *("GROUP BY", "ORDER BY", "QUALIFY", "FILTER (WHERE", "CASE WHEN", "THEN 1 END", "AND", "NOT"),
    *("UNION", "WITH a AS (", "ISNULL(age, 0)", "DUAL", "FETCH FIRST 1 ROWS ONLY", ";", "--", "/*"),
    *("\x00", "\ud800", "é", "'", '"', "`", "[", "]", "$1", "@x", "{{y}}", "1e5", "0x1F", "\\"),
]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.sampled_from(ALL))
def test_no_text_makes_it_raise(pieces: list[str], engine: str) -> None:
    sql = " ".join(pieces)
    once = to_dialect(sql, engine)
    assert once == to_dialect(sql, engine)
    assert to_dialect(once, engine) == once


COSTLY = [
    "SELECT a" + "[1]" * 1_000 + "::x",
    "SELECT " + "NOT " * 1_000 + "1::x",
    "SELECT " + "CASE WHEN " * 150 + "1" + " THEN 1 END" * 150 + "::x",
    "SELECT * FROM (" + "SELECT * FROM (" * 28 + "SELECT `1`" + ")" * 29,
    "SELECT " + "a + " * 1_000 + "1::x",
    "SELECT CAST(x AS " + "ARRAY<" * 400 + "INT" + ">" * 400 + ")::y",
]


@pytest.mark.parametrize("sql", COSTLY, ids=range(len(COSTLY)))
def test_no_text_takes_long(sql: str) -> None:
    start = time.process_time()
    to_dialect(sql, "sqlite")
    assert time.process_time() - start < 1.0
