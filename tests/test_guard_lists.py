"""Long lists after IN: judged short, refused for what else is in them, run whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from guarded_shop import ACCESS, READABLE, SCRIPT, schema
from plainsql.execution.guard import judge
from plainsql.execution.guard_lists import shortened
from plainsql.execution.lexers import lexer_for
from plainsql.execution.scanner import scan

DIALECTS = ["sqlite", "duckdb", "postgres", "mysql", "snowflake"]
NUMBERS = ", ".join(map(str, range(300)))
TEXTS = ",".join(f"'name {number}'" for number in range(300))
QUOTE = "'it''s'"
SHORT = [
    f"SELECT id FROM users WHERE id IN ({NUMBERS})",
    f"SELECT id FROM users WHERE name NOT IN ({TEXTS}) AND id IN ({NUMBERS}, 1.5)",
    f"SELECT id FROM users WHERE id IN ({NUMBERS}, (SELECT max(id) FROM users))",
    f"SELECT id FROM users WHERE id IN ({NUMBERS.replace('7,', '7, -- seven' + chr(10), 1)})",
]
LONG = [  # in no list of IN, or not plain
    f"SELECT coalesce({NUMBERS})",
    f"SELECT x.in ({NUMBERS})",
    f"SELECT id FROM users WHERE id IN ({', '.join(['-1'] * 300)})",
    f"SELECT id FROM users WHERE name IN ({', '.join([QUOTE] * 300)})",
    f"SELECT id FROM users WHERE id IN (id, {NUMBERS})",
]
# What stands beside the values of the list is read as ever.
HOSTILE = [
    "load_extension('z')", "(SELECT word FROM secret)", "(DELETE FROM users)", "sleep(9)",
    "pg_sleep(9)", "read_text('z')", "'a' 'b' c", "1 2", "), (1", "); DELETE FROM users; --",
]  # fmt: skip


@pytest.mark.parametrize("sql", SHORT)
def test_most_of_a_list_of_plain_values_is_not_parsed(sql: str) -> None:
    text, tokens = shortened(sql, scan(sql, lexer_for("sqlite")))
    assert len(text) == len(sql)
    assert len(tokens) < 100
    assert tokens == scan(text, lexer_for("sqlite"))
    assert tokens[-1].end == len(sql)


@pytest.mark.parametrize("sql", LONG)
def test_all_other_lists_are_parsed(sql: str) -> None:
    tokens = scan(sql, lexer_for("sqlite"))
    assert shortened(sql, tokens) == (sql, tokens)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_long_lists_pass_and_run_as_they_are(dialect: str) -> None:
    many = ", ".join(map(str, range(2_400)))
    for sql in (*SHORT, f"SELECT * FROM users WHERE id IN ({many})"):
        verdict = judge(sql, dialect=dialect, tables=READABLE)
        assert verdict.allowed, verdict.reason
        assert verdict.sql == sql


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("piece", HOSTILE)
def test_what_hides_in_a_long_list_is_refused(dialect: str, piece: str) -> None:
    for values in (f"{piece}, {NUMBERS}", f"{NUMBERS}, {piece}", f"{NUMBERS}, {piece}, {NUMBERS}"):
        sql = f"SELECT id FROM users WHERE id IN ({values})"
        assert not judge(sql, dialect=dialect, tables=READABLE).allowed, piece


def test_rules_of_a_policy_are_built_in_around_a_long_list() -> None:
    sql = f"SELECT id FROM users WHERE id IN ({NUMBERS}) AND id IN (SELECT user_id FROM orders)"
    verdict = judge(sql, schema=schema(), access=ACCESS)
    assert verdict.allowed, verdict.reason
    assert NUMBERS in verdict.sql
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCRIPT)
        assert connection.execute(verdict.sql).fetchall() == [(1,), (3,)]
