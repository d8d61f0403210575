"""How much of a data set's SQL the logical form says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plainsql.evaluation.coverage import Trip, main, round_trip, trips, whole_space
from plainsql.evaluation.datasets import Example
from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from shop import open_shop

Shop = tuple[Path, Schema, JoinGraph]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


SAME = [
    "SELECT name FROM customer WHERE country = 'France' ORDER BY credit DESC LIMIT 1",
    "SELECT c.name, count(*) FROM customer c JOIN purchase p ON c.customer_id = p.customer_id "
    "GROUP BY c.name HAVING count(*) > 1",
    "SELECT name FROM customer EXCEPT SELECT name FROM customer WHERE credit BETWEEN 1 AND 50",
]
FAILING = [
    ("SELECT upper(name) FROM customer", "expression upper"),
    ("SELECT stock / 7 FROM product", "other rows"),  # we divide whole numbers as fractions
    ("SELECT nothing FROM customer", "the gold fails: "),
    ("SELECT sum(name) FROM customer", "the grammar forbids an action in NUMBER_ARGUMENT"),
]


@pytest.mark.parametrize("sql", SAME)
def test_queries_that_come_back_whole(sql: str, shop: Shop) -> None:
    path, schema, graph = shop
    (trip,) = trips([Example("?", sql, "shop")], path.parent, {"shop": schema})
    assert trip == Trip(Example("?", sql, "shop"), round_trip(sql, schema, graph), "")


@pytest.mark.parametrize(("sql", "reason"), FAILING)
def test_reasons(sql: str, reason: str, shop: Shop) -> None:
    (trip,) = trips([Example("?", sql, "shop")], shop[0].parent, {})
    assert trip.reason.startswith(reason)


def test_the_gold_literals_are_candidates(shop: Shop) -> None:
    _, schema, graph = shop
    tree = from_sql("SELECT name FROM customer WHERE credit > 7 LIMIT 7", schema, graph)
    space = whole_space(tree, schema, graph)
    assert [value.value for value in space.values] == [7]
    assert space.tables == tuple(range(len(schema.tables)))


def test_what_the_grammar_forbids_is_not_covered(shop: Shop) -> None:
    with pytest.raises(NotCovered, match="the grammar forbids"):
        round_trip("SELECT avg(name) FROM customer", shop[1], shop[2])


def test_the_report(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [
        {"db_id": "shop", "question": "?", "query": sql}
        for sql in [*SAME, *(sql for sql, _ in FAILING)]
    ]
    dataset = tmp_path / "pairs.json"
    dataset.write_text(json.dumps(entries), encoding="utf-8")
    main([str(dataset), "--databases", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.startswith("covered: 3 of 6 gold queries that run, 50.00 %\n")
    assert "    1  expression upper\n       shop: SELECT upper(name) FROM customer\n" in printed
