"""One query tree, four engines: the rows that SQLite gives, from real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialect_copies import ENGINES, Copies, copies_fixture
from plainsql.ask import connect
from plainsql.evaluation.dialects import (
    BARE,
    COLLATION,
    TEXT,
    compare_sides,
    same_results,
)
from plainsql.translators.parser.runtime import MANIFEST
from plainsql.translators.parser.weights import weights_folder
from servers import MariaDBServer, mariadb_server, postgresql_server
from shop import open_shop
from strict_tables import OTHER_CASE, STRICT_CASES, strict_file
from test_logical_form import SAME_ROWS

__all__ = ["mariadb_server", "postgresql_server", "strict_file"]


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
