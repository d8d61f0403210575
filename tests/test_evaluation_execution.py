"""Execution accuracy: which results count as the same, and how queries are run."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainsql.errors import ExecutionError
from plainsql.evaluation import execution_accuracy
from plainsql.evaluation.execution_accuracy import (
    comparable_text,
    compare,
    run_gold,
    same_rows,
    without_distinct,
)
from plainsql.execution.sqlite import SQLiteEngine

# gold rows, predicted rows, same without ORDER BY, same with it
RESULTS = [
    ([], [], True, True),
    ([(1,)], [], False, False),
    ([(1,)], [(1,)], True, True),
    ([(1,), (2,)], [(2,), (1,)], True, False),
    ([(1,), (1,), (2,)], [(1,), (2,), (2,)], False, False),
    ([(1,), (1,)], [(1,)], False, False),
    ([(1, 2)], [(1,)], False, False),
    # columns in any order, one order for all rows
    ([(1, "a"), (2, "b")], [("a", 1), ("b", 2)], True, True),
    ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True, False),
    ([(1, 2), (3, 4)], [(2, 1), (3, 4)], False, False),
    ([(1, 2), (2, 1)], [(2, 1), (1, 2)], True, True),
    ([(1, 2), (1, 2)], [(1, 2), (2, 1)], False, False),
    # the columns agree one by one, the rows don't
    ([(0, 0), (1, 1)], [(0, 1), (1, 0)], False, False),
    ([(0, 1, 2), (1, 2, 0)], [(1, 0, 2), (2, 1, 0)], True, True),
    # repeated columns
    ([(1, 1), (2, 2)], [(1, 1), (2, 2)], True, True),
    ([(1, 1, 2)], [(2, 1, 1)], True, True),
    ([(1, 1, 2)], [(1, 2, 2)], False, False),
    # NULL equals NULL and nothing else
    ([(None,)], [(None,)], True, True),
    ([(None,)], [(0,)], False, False),
    ([(None,)], [("",)], False, False),
    ([(None, 1)], [(1, None)], True, True),
    # values as Python compares them
    ([(1,)], [(1.0,)], True, True),
    ([(1, 1.5)], [(1.0, 1.5)], True, True),
    ([(1,)], [("1",)], False, False),
    ([("a",)], [(b"a",)], False, False),
    ([(0.1 + 0.2,)], [(0.3,)], False, False),
    ([("Paris",)], [("paris",)], False, False),
]


@pytest.mark.parametrize(("gold", "predicted", "same", "same_ordered"), RESULTS)
def test_results_are_the_same_by_the_official_rule(gold, predicted, same, same_ordered):
    assert same_rows(gold, predicted, ordered=False) is same
    assert same_rows(predicted, gold, ordered=False) is same
    assert same_rows(gold, predicted, ordered=True) is same_ordered


def test_wide_tables_are_matched_fast():
    pick = random.Random(7)
    gold = [tuple(pick.choice((0, 1)) for _ in range(40)) for _ in range(200)]
    order = pick.sample(range(40), 40)
    predicted = [tuple(row[i] for i in order) for row in gold]
    pick.shuffle(predicted)
    assert same_rows(gold, predicted, ordered=False)


def test_regular_tables_end_too():
    # one ring of twelve against two of six: all rows and columns have the same counts
    def ring(start: int, size: int) -> list[tuple[int, ...]]:
        ends = [{start + i, start + (i + 1) % size} for i in range(size)]
        return [tuple(int(i in pair) for i in range(12)) for pair in ends]

    assert not same_rows(ring(0, 12), ring(0, 6) + ring(6, 6), ordered=False)


cells = st.none() | st.integers(-2, 2) | st.sampled_from(["", "1", "a"]) | st.just(0.5)


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[object, ...]]:
    width = draw(st.integers(1, 5))
    return draw(st.lists(st.tuples(*[cells] * width), max_size=6))


@given(tables(), st.booleans())
def test_a_result_is_the_same_as_itself(rows, ordered):
    assert same_rows(rows, list(rows), ordered=ordered)


@given(tables(), st.randoms(use_true_random=False))
def test_rows_and_columns_may_be_permuted(rows, pick):
    width = len(rows[0]) if rows else 0
    order = pick.sample(range(width), width)
    permuted = [tuple(row[i] for i in order) for row in rows]
    assert same_rows(rows, permuted, ordered=True)
    pick.shuffle(permuted)
    assert same_rows(rows, permuted, ordered=False)


@given(tables(), tables())
def test_the_rule_is_symmetric(first, second):
    for ordered in (False, True):
        assert same_rows(first, second, ordered=ordered) == same_rows(
            second, first, ordered=ordered
        )


@given(tables(), st.data())
def test_one_changed_cell_is_seen(rows, data):
    if rows:
        row = data.draw(st.integers(0, len(rows) - 1))
        column = data.draw(st.integers(0, len(rows[0]) - 1))
        changed = list(rows)
        changed[row] = (*rows[row][:column], "new", *rows[row][column + 1 :])
        assert not same_rows(rows, changed, ordered=False)


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT a FROM t WHERE b > = 3 AND c ! = 1", "SELECT a FROM t WHERE b >= 3 AND c != 1"),
        ("SELECT year(curdate()) - a FROM t", "SELECT 2020- a FROM t"),
        ("SELECT DISTINCT a FROM t", "SELECT DISTINCT a FROM t"),
    ],
)
def test_text_is_prepared_as_the_official_script_does(sql, text):
    assert comparable_text(sql) == text


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT DISTINCT a FROM t", "SELECT  a FROM t"),
        ("SELECT count(distinct a) FROM t", "SELECT count( a) FROM t"),
        ("SELECT a FROM t WHERE b = 'distinct'", "SELECT a FROM t WHERE b = 'distinct'"),
        ("SELECT distinctive FROM t", "SELECT distinctive FROM t"),
    ],
)
def test_distinct_can_be_removed(sql, text):
    assert without_distinct(sql) == text


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SQLiteEngine]:
    path = tmp_path / "pets.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE pet (name TEXT, age REAL, kind TEXT)")
        rows = [("Rex", 3, "dog"), ("Tom", 5, "cat"), ("Ada", 3, "cat"), ("Bob", None, "cat")]
        connection.executemany("INSERT INTO pet VALUES (?, ?, ?)", rows)
    connection.close()
    with SQLiteEngine(path) as opened:
        yield opened


# gold, prediction, same, same with the columns in order
QUERIES = [
    ("SELECT name FROM pet", "SELECT name FROM pet ORDER BY age", True, True),
    ("SELECT name, age FROM pet", "SELECT age, name FROM pet", True, False),
    ("SELECT name FROM pet ORDER BY name", "SELECT name FROM pet ORDER BY name DESC", False, False),
    (
        "SELECT name, age FROM pet ORDER BY name",
        "SELECT age, name FROM pet ORDER BY name",
        True,
        False,
    ),
    ("SELECT kind FROM pet", "SELECT DISTINCT kind FROM pet", False, False),
    ("SELECT count(*) FROM pet", "SELECT 4.0", True, True),
    ("SELECT name FROM pet WHERE age > 9", "SELECT name, age FROM pet WHERE age > 8", True, False),
    ("SELECT name FROM pet", "SELECT a.name FROM pet a, pet b, pet c", False, False),
]


@pytest.mark.parametrize(("gold", "predicted", "same", "in_order"), QUERIES)
def test_queries_are_compared_by_their_rows(engine, gold, predicted, same, in_order):
    found = compare(engine, run_gold(engine, gold, timeout=5), predicted, timeout=5)
    assert (found.same, found.same_in_order, found.error) == (same, in_order, "")


def test_distinct_is_ignored_on_request(engine):
    gold = run_gold(engine, "SELECT kind FROM pet", timeout=5, keep_distinct=False)
    found = compare(engine, gold, "SELECT DISTINCT kind FROM pet", timeout=5, keep_distinct=False)
    assert found.same


@pytest.mark.parametrize(
    "sql",
    ["SELECT nothing FROM pet", "SELECT", "DELETE FROM pet", "SELECT 1; SELECT 2", ""],
)
def test_a_prediction_that_fails_is_wrong(engine, sql):
    found = compare(engine, run_gold(engine, "SELECT 1", timeout=5), sql, timeout=5)
    assert not found.same
    assert found.error


def test_a_slow_prediction_is_stopped(engine):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    found = compare(engine, run_gold(engine, "SELECT 1", timeout=5), endless, timeout=0.05)
    assert not found.same
    assert "stopped" in found.error


def test_a_failing_gold_raises(engine, monkeypatch):
    with pytest.raises(ExecutionError):
        run_gold(engine, "SELECT nothing FROM pet", timeout=5)
    monkeypatch.setattr(execution_accuracy, "MOST_GOLD_ROWS", 3)
    with pytest.raises(ExecutionError, match="more than 3 rows"):
        run_gold(engine, "SELECT name FROM pet", timeout=5)
