"""One query tree, four engines: the rows that SQLite gives, from real servers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dialect_copies import ENGINES, Copies, copies_fixture
from plainsql.ask import connect
from plainsql.evaluation.dialects import (
    BARE,
    COLLATION,
    TEXT,
    Side,
    compare_sides,
    same_results,
)
from plainsql.evaluation.loading import (
    copied_schema,
    read_tables,
)
from plainsql.execution.base import open_engine
from plainsql.execution.guard import judge
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.reserved import ANYWHERE
from plainsql.logical_form.rules import rules_of
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import ColumnRef, Select
from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.translators.parser.runtime import MANIFEST
from plainsql.translators.parser.weights import weights_folder
from servers import MariaDBServer, PostgreSQLServer, mariadb_server, postgresql_server
from shop import open_shop
from test_logical_form import SAME_ROWS

__all__ = ["mariadb_server", "postgresql_server"]

# What other engines are strict about: types, cases, groups, ties, names.
STRICT = r"""
CREATE TABLE Runner (
    RunnerID INTEGER PRIMARY KEY, "Name" TEXT, team_id INTEGER REFERENCES "Team" ("Id"),
    born DATE, Joined TIMESTAMP, "bornText" TEXT, score TEXT, "isPro" BOOLEAN, "Flag" BOOL,
    speed REAL, laps INTEGER, "order" INTEGER, zip INTEGER
);
CREATE TABLE "Team" ("Id" INTEGER PRIMARY KEY, "select" TEXT, city TEXT, code TEXT);
CREATE TABLE Race (
    "Year" INTEGER, place INTEGER, RunnerID INTEGER REFERENCES Runner (RunnerID),
    PRIMARY KEY ("Year", place)
);
INSERT INTO "Team" VALUES (1, 'Red', 'Lyon', '1'), (2, 'Blue', 'lyon', '2'), (3, 'Gold', NULL, 'x');
INSERT INTO Runner VALUES
    (1, 'Ann', 1, '1990-03-01', '2020-01-02 03:04:05', '1990-03-01', '10', 1, 'T', 3.5, 7, 2, 101),
    (2, 'ann b', 1, '1985-12-24', '2020-06-30 00:00:00', 'unknown', '9', 0, 'F', NULL, 2, 1, NULL),
    (3, 'C\d', 2, NULL, NULL, NULL, 'n/a', 1, 'T', 2.25, 0, 3, 102),
    (4, 'D''e', 2, '2001-05-06', '2021-01-01 12:00:00', '2001-05-06', NULL, NULL, NULL, 3.5, 7, 4,
     7),
    (5, '100%', NULL, '2001-05-07', NULL, '2001-05-07', '11', 0, 'F', 9.0, 5, 5, 101);
INSERT INTO Race VALUES (2001, 1, 1), (2001, 2, 2), (2002, 1, 1), (2002, 2, 4), (2003, 1, 4);
"""
STRICT_CASES = [
    # names
    "SELECT Name FROM Runner WHERE RunnerID = 1",
    'SELECT "order", "select" FROM Runner JOIN Team ON Runner.team_id = Team.Id',
    "SELECT a.Name, b.Name FROM Runner a JOIN Runner b ON a.laps = b.laps",
    # texts
    "SELECT Name FROM Runner WHERE Name = 'Ann'",
    "SELECT Name FROM Runner WHERE Name LIKE 'ANN%'",
    "SELECT Name FROM Runner WHERE Name NOT LIKE '%NN%'",
    r"SELECT Name FROM Runner WHERE Name = 'C\d'",
    r"SELECT Name FROM Runner WHERE Name LIKE '%\d'",
    "SELECT Name FROM Runner WHERE Name = 'D''e' OR Name LIKE '%0%%'",
    "SELECT Name FROM Runner ORDER BY Name",
    # a literal of another type than its column
    "SELECT Name FROM Runner WHERE laps = '7'",
    "SELECT Name FROM Runner WHERE laps = 'seven'",
    "SELECT Name FROM Runner WHERE laps != 'seven'",
    "SELECT Name FROM Runner WHERE laps IN ('2', '5')",
    "SELECT Name FROM Runner WHERE laps BETWEEN '2' AND '6'",
    "SELECT Name FROM Runner WHERE score = 10",
    "SELECT Name FROM Runner WHERE score IN (9, 11)",
    "SELECT Name FROM Runner WHERE laps LIKE '7%'",
    "SELECT Name FROM Runner WHERE speed > '3'",
    "SELECT Name FROM Runner WHERE born = '1985-12-24'",
    "SELECT Name FROM Runner WHERE born > '2000-12-31'",
    "SELECT Name FROM Runner WHERE born LIKE '%-05-%'",
    "SELECT Name FROM Runner WHERE born = 'yesterday'",
    "SELECT Name FROM Runner WHERE born BETWEEN '1985-01-01' AND '2001-05-06'",
    "SELECT Name FROM Runner WHERE Joined > '2020-02-01'",
    "SELECT Name FROM Runner WHERE Joined LIKE '2020%'",
    # booleans
    "SELECT Name FROM Runner WHERE isPro = 1",
    "SELECT Name FROM Runner WHERE isPro = '1'",
    "SELECT Name FROM Runner WHERE isPro != 0",
    "SELECT Name FROM Runner WHERE isPro > 0",
    "SELECT Name FROM Runner WHERE isPro = 7",
    "SELECT Name FROM Runner WHERE Flag = 'T'",
    "SELECT Name, isPro, Flag FROM Runner",
    "SELECT sum(isPro), avg(isPro), max(isPro), count(isPro) FROM Runner",
    "SELECT isPro, count(*) FROM Runner GROUP BY isPro ORDER BY isPro",
    # columns of different types
    "SELECT Name FROM Runner JOIN Team ON Runner.team_id = Team.code",
    "SELECT Name FROM Runner WHERE team_id IN (SELECT code FROM Team)",
    "SELECT Name FROM Runner WHERE team_id NOT IN (SELECT code FROM Team WHERE code != 'x')",
    "SELECT city FROM Team WHERE code IN (SELECT team_id FROM Runner)",
    "SELECT city FROM Team WHERE code = (SELECT max(team_id) FROM Runner)",
    # dates
    "SELECT CAST(strftime('%Y', born) AS INTEGER), CAST(strftime('%m', born) AS INTEGER), "
    "CAST(strftime('%d', born) AS INTEGER), CAST(strftime('%w', born) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%Y', bornText) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%w', bornText) AS INTEGER) FROM Runner",
    "SELECT CAST(strftime('%Y', Joined) AS INTEGER), count(*) FROM Runner GROUP BY 1",
    "SELECT (CAST(strftime('%m', born) AS INTEGER) + 2) / 3, count(*) FROM Runner "
    "GROUP BY (CAST(strftime('%m', born) AS INTEGER) + 2) / 3",
    "SELECT Name FROM Runner WHERE strftime('%Y', born) = '2001'",
    "SELECT Name FROM Runner WHERE strftime('%Y', bornText) > 1989",
    "SELECT min(born), max(Joined), count(DISTINCT born) FROM Runner",
    "SELECT avg(born) FROM Runner",
    # numbers
    "SELECT laps / 2 FROM Runner",
    "SELECT speed / laps FROM Runner",
    "SELECT sum(laps) / count(*), avg(laps), avg(speed) FROM Runner",
    "SELECT sum(laps) / sum(speed), max(laps) - min(laps), laps * speed FROM Runner GROUP BY Name",
    "SELECT avg(CASE WHEN isPro = 1 THEN 100.0 ELSE 0.0 END) FROM Runner",
    "SELECT laps + '2', laps * '1.5' FROM Runner",
    # NULLs in order
    "SELECT Name FROM Runner ORDER BY speed, Name",
    "SELECT Name FROM Runner ORDER BY speed DESC, Name LIMIT 3",
    "SELECT Name FROM Runner ORDER BY born LIMIT 1",
    # groups
    "SELECT city, count(*) FROM Runner JOIN Team ON Runner.team_id = Team.Id GROUP BY Team.Id",
    "SELECT city, Team.code, avg(laps) FROM Runner JOIN Team ON Runner.team_id = Team.Id "
    "GROUP BY Runner.team_id HAVING Team.city = 'Lyon'",
    "SELECT Name, count(*) FROM Runner WHERE Name = 'Ann'",
    "SELECT Name, max(speed) FROM Runner WHERE speed < 4 AND laps < 5",
    "SELECT Name, min(laps) FROM Runner",
    "SELECT team_id, Name, max(laps) FROM Runner WHERE team_id = 1 GROUP BY team_id",
    "SELECT * FROM Team GROUP BY Id",
    "SELECT team_id, strftime('%Y', born) FROM Runner GROUP BY RunnerID",
    "SELECT Year FROM Race GROUP BY Year HAVING count(*) = 2 ORDER BY Year",
    "SELECT max(laps) FROM Runner GROUP BY team_id ORDER BY team_id",
    "SELECT DISTINCT team_id FROM Runner ORDER BY laps, team_id",
    "SELECT DISTINCT laps FROM Runner ORDER BY speed DESC, laps LIMIT 2",
    "SELECT DISTINCT Name FROM Runner ORDER BY laps DESC LIMIT 1",
    # ranks and ties
    "SELECT team_id FROM Runner GROUP BY team_id ORDER BY count(*) DESC LIMIT 1",
    "SELECT Year FROM Race GROUP BY Year ORDER BY count(*) DESC LIMIT 1",
    "SELECT Name FROM Runner ORDER BY laps DESC LIMIT 1",
    "SELECT Name FROM Runner JOIN Race ON Runner.RunnerID = Race.RunnerID "
    "GROUP BY Runner.RunnerID ORDER BY count(*) DESC LIMIT 1",
    # nested queries
    "SELECT Name FROM Runner WHERE laps = (SELECT laps FROM Runner WHERE team_id = 1)",
    "SELECT Name FROM Runner WHERE laps > (SELECT laps FROM Runner UNION SELECT laps FROM Runner)",
    "SELECT Name FROM Runner WHERE laps IN (SELECT laps FROM Runner ORDER BY laps DESC LIMIT 2)",
    "SELECT count(*) FROM (SELECT Name, Name FROM Runner)",
    "SELECT count(*) FROM (SELECT count(*), count(*) FROM Runner GROUP BY laps)",
    "SELECT count(*) FROM (SELECT a.Name, b.Name FROM Runner a JOIN Runner b ON a.laps = b.laps)",
    # set operations
    "SELECT team_id FROM Runner WHERE laps > 4 INTERSECT SELECT team_id FROM Runner WHERE laps < 3",
    "SELECT RunnerID FROM Runner EXCEPT SELECT RunnerID FROM Race",
    "SELECT Name FROM Runner UNION SELECT city FROM Team UNION SELECT code FROM Team",
]  # fmt: skip
RANKED = (
    "SELECT item_1, item_2 FROM (SELECT Name AS item_1, laps AS item_2, row_number() OVER "
    "(PARTITION BY team_id ORDER BY laps DESC) AS place FROM Runner) AS ranked WHERE place <= 1"
)
STRICT_CASES.append(RANKED)
# MySQL compares by the column's collation, here one that tells cases apart.
OTHER_CASE = [
    "SELECT Name FROM Runner WHERE Name LIKE 'ANN%'",
    "SELECT Name FROM Runner WHERE Name NOT LIKE '%NN%'",
]
QUOTES_IN_A_NAME = 'it\'s ""odd""'


@pytest.fixture(scope="module")
def strict_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strict") / "strict.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(STRICT)
    return path


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_shop(tmp_path_factory.mktemp("shop"))[0]


strict_duckdb = copies_fixture("strict_file", "duckdb")
strict_postgres = copies_fixture("strict_file", "postgres")
strict_mysql = copies_fixture("strict_file", "mysql")
shop_duckdb = copies_fixture("shop_file", "duckdb")
shop_postgres = copies_fixture("shop_file", "postgres")
shop_mysql = copies_fixture("shop_file", "mysql")


def check(sql: str, copies: Copies, dialect: str) -> None:
    if dialect == "mysql" and QUOTES_IN_A_NAME in sql:
        pytest.skip("the guard takes no quotes in a name in backticks")
    outcome = compare_sides(copies.read(sql), copies.reference, copies.sides[dialect])
    by_collation = dialect == "mysql" and sql in OTHER_CASE
    assert outcome.reason == (COLLATION if by_collation else ""), (
        f"{outcome.reason}: {outcome.sql}\n{outcome.detail}"
    )


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("sql", STRICT_CASES)
def test_strict_engines_give_the_rows_of_sqlite(
    sql: str, dialect: str, request: pytest.FixtureRequest
) -> None:
    check(sql, request.getfixturevalue(f"strict_{dialect}"), dialect)


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("sql", SAME_ROWS)
def test_every_shape_gives_the_rows_of_sqlite(
    sql: str, dialect: str, request: pytest.FixtureRequest
) -> None:
    check(sql, request.getfixturevalue(f"shop_{dialect}"), dialect)


def test_mysql_takes_every_query_with_full_groups_only(
    strict_mysql: Copies, mariadb_server: MariaDBServer
) -> None:
    """MySQL 8's own setting, which MariaDB leaves off."""
    side = strict_mysql.sides["mysql"]
    with mariadb_server.connect("strict") as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ONLY_FULL_GROUP_BY')")
        for sql in STRICT_CASES:
            cursor.execute(side.sql(strict_mysql.read(sql)))


ASKED = [
    ("How many customers are there?", ((5,),)),
    ("What is the average price of all products?", ((32.25,),)),
    ("What are the names of customers from Spain?", (("Bob",), ("Eve",))),
]


@pytest.mark.skipif(not (weights_folder() / MANIFEST).is_file(), reason="needs the weights")
@pytest.mark.parametrize("dialect", ENGINES)
def test_the_parser_answers_over_every_engine(
    dialect: str, shop_file: Path, request: pytest.FixtureRequest
) -> None:
    if dialect == "duckdb":
        request.getfixturevalue("shop_duckdb")
        target = str(shop_file.with_suffix(".duckdb"))
    else:
        request.getfixturevalue(f"shop_{dialect}")
        server = {"postgres": "postgresql_server", "mysql": "mariadb_server"}[dialect]
        target = request.getfixturevalue(server).url(shop_file.stem)
    with connect(target) as database:
        for question, rows in ASKED:
            answer = database.ask(question)
            assert same_results(rows, answer.rows), answer.sql
            assert answer.answer


# -- the text ---------------------------------------------------------------------

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


# Rows where the policy departs from SQLite's quirks, the same on the three engines.
POLICY = [
    # a text column is compared with a number as numbers; SQLite compares texts there
    ("SELECT Name FROM Runner WHERE score > 9", [("100%",), ("Ann",)]),
    # a text that spells no number counts for nothing, not for 0
    ("SELECT avg(score) FROM Runner", [(10,)]),
    # SQLite takes '2001' for a number there, which every text exceeds
    ("SELECT Name FROM Runner WHERE born > '2001'", [("100%",), ("D'e",)]),
    # any row of a group: the smallest value
    ("SELECT Name FROM Runner WHERE team_id > 0 GROUP BY team_id", [("Ann",), ("C\\d",)]),
    ("SELECT Name, count(*) FROM Runner", [("100%", 5)]),
]


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize(("sql", "rows"), POLICY)
def test_where_the_policy_departs_from_sqlite(
    sql: str, rows: list[tuple[Any, ...]], dialect: str, request: pytest.FixtureRequest
) -> None:
    copies: Copies = request.getfixturevalue(f"strict_{dialect}")
    if dialect == "mysql" and "avg(score)" in sql:
        rows = [(7.5,)]  # MySQL reads texts as SQLite does
    found = copies.sides[dialect].rows(copies.read(sql)).rows
    assert same_results(rows, found)


# -- names ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column for every word that some dialect reserves, and odd names."""
    path = tmp_path_factory.mktemp("words") / "words.sqlite"
    odd = ["Name", "NAME2", "a b", "x-y", "größe", "2nd", "_x", "a.b", "select*", "日本"]
    columns = ", ".join(f'"{name}" INTEGER' for name in sorted(ANYWHERE) + odd)
    tables = ["order", "Group", "user", "table", "rank", "system", "with space", "rows", "lead"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE words (id INTEGER PRIMARY KEY, {columns})")
        connection.execute("INSERT INTO words (id) VALUES (1)")
        for table in tables:
            connection.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, other INTEGER)')
        connection.commit()
    return path


words_duckdb = copies_fixture("words_file", "duckdb")
words_postgres = copies_fixture("words_file", "postgres")
words_mysql = copies_fixture("words_file", "mysql")


# The engine of MySQL refuses these words even as names.
FILE_WORDS = frozenset({"outfile", "dumpfile", "load_file"})


@pytest.mark.parametrize("dialect", ENGINES)
def test_every_word_can_be_a_name(dialect: str, request: pytest.FixtureRequest) -> None:
    copies: Copies = request.getfixturevalue(f"words_{dialect}")
    for side in (copies.reference, copies.sides[dialect]):
        table = side.schema.table_index("words")
        columns = tuple(
            ColumnRef(column)
            for column in side.schema.columns_of(table)
            if dialect != "mysql" or side.schema.columns[column].name not in FILE_WORDS
        )
        for first in range(0, len(columns), 100):
            some = columns[first : first + 100]
            rows = side.rows(Select(some, group_by=some)).rows
            assert len(rows[0]) == len(some)
        for number, other in enumerate(side.schema.tables):
            id_, *_ = side.schema.columns_of(number)
            twice = ((ColumnRef(id_), ColumnRef(id_, 1)),)
            pair = Select((ColumnRef(id_), ColumnRef(id_, 1)), join_hints=twice)
            assert len(side.rows(pair).rows) == (other.name == "words")


def spaced(dialect: str = "postgres") -> Schema:
    """Two schemas with a table of one name, and one in the default schema."""

    def table(name: str, namespace: str, *names: str) -> Table:
        columns = tuple(
            Column(name, own, ColumnType.NUMBER, own, "bigint", own == "id") for own in names
        )
        return Table(name, columns, name, namespace=namespace)

    tables = (
        table("orders", "", "id", "total"),
        table("sales.orders", "sales", "id", "total", "orders_id"),
        table("Old Stock.item", "Old Stock", "id"),
    )
    return Schema("shop", tables, (), dialect)


SPACED = [
    ("SELECT total FROM orders", "SELECT total FROM orders"),
    ("SELECT total FROM sales.orders", "SELECT total FROM sales.orders"),
    ("SELECT o.id FROM sales.orders AS o", "SELECT id FROM sales.orders"),
    ('SELECT id FROM "Old Stock".item', 'SELECT id FROM "Old Stock".item'),
    (
        "SELECT a.id, b.id FROM orders a JOIN sales.orders b ON a.id = b.orders_id",
        "SELECT orders.id, sales_orders.id FROM orders "
        "JOIN sales.orders AS sales_orders ON orders.id = sales_orders.orders_id",
    ),
    (
        "SELECT a.id, b.id FROM sales.orders a JOIN sales.orders b ON a.id = b.orders_id",
        "SELECT orders.id, orders_2.id FROM sales.orders "
        "JOIN sales.orders AS orders_2 ON orders.id = orders_2.orders_id",
    ),
    ("SELECT total FROM public.orders", "SELECT total FROM orders"),
]
SPACES = """
CREATE TABLE orders (id BIGINT PRIMARY KEY, total BIGINT);
CREATE SCHEMA sales; CREATE SCHEMA "Old Stock";
CREATE TABLE sales.orders (id BIGINT PRIMARY KEY, total BIGINT, orders_id BIGINT);
CREATE TABLE "Old Stock".item (id BIGINT PRIMARY KEY);
INSERT INTO orders VALUES (1, 5); INSERT INTO sales.orders VALUES (1, 7, 1);
INSERT INTO "Old Stock".item VALUES (1);
"""


@pytest.mark.parametrize(("sql", "expected"), SPACED)
def test_namespaces_qualify_tables(sql: str, expected: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    schema = spaced()
    graph = JoinGraph(schema)
    text = to_sql(from_sql(sql, schema, graph), schema, graph)
    assert text == expected
    for dialect in ("postgres", "duckdb"):
        found = replace(schema, dialect=dialect)
        assert judge(
            to_sql(from_sql(text, schema, graph), found, graph), dialect=dialect, schema=found
        ).allowed
    with duckdb.connect() as connection:
        connection.execute(SPACES)
        assert connection.execute(text).fetchall()


def test_namespaces_are_read_from_a_server(postgresql_server: PostgreSQLServer) -> None:
    postgresql_server.create("spaces")
    postgresql_server.sql(SPACES, "spaces")
    postgresql_server.let_read("spaces", ("sales", "Old Stock"))
    with closing(open_engine(postgresql_server.url("spaces"))) as engine:
        schema = engine.introspect()
        side = Side(engine, schema, JoinGraph(schema))
        for sql, _ in SPACED:
            assert side.rows(from_sql(sql, schema, side.graph)).rows


# -- reasons --------------------------------------------------------------------------

DIFFERENT = [
    ("SELECT count(*) FROM Runner WHERE score > 5", TEXT),
    ("SELECT sum(score) FROM Runner WHERE score LIKE '%/%'", TEXT),
    ("SELECT laps FROM Runner WHERE team_id = 1 GROUP BY team_id", BARE),
    ("SELECT Name FROM Runner ORDER BY team_id, laps DESC LIMIT 2", ""),
]


@pytest.mark.parametrize(("sql", "reason"), DIFFERENT)
def test_differences_have_a_reason(sql: str, reason: str, strict_duckdb: Copies) -> None:
    side = strict_duckdb.sides["duckdb"]
    outcome = compare_sides(strict_duckdb.read(sql), strict_duckdb.reference, side)
    assert outcome.reason == reason
