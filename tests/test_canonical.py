"""One spelling for what SQL can say in several ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from plainsql.logical_form.canonical import canonical
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.to_sql import to_sql
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from shop import open_shop, rows_of

Shop = tuple[Path, Schema, JoinGraph]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"))


CHANGED = [
    ("SELECT count(customer_id) FROM customer", "SELECT COUNT(*) FROM customer"),
    (
        "SELECT country FROM customer GROUP BY country HAVING count(customer_id) > 1 "
        "ORDER BY count(customer_id) DESC",
        "SELECT country FROM customer GROUP BY country HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC",
    ),
    (
        "SELECT count(p.purchase_id) FROM customer c JOIN purchase p "
        "ON c.customer_id = p.customer_id WHERE c.country = 'Spain'",
        "SELECT COUNT(*) FROM purchase JOIN customer "
        "ON purchase.customer_id = customer.customer_id WHERE customer.country = 'Spain'",
    ),
    (
        "SELECT name FROM customer WHERE credit > (SELECT count(product_id) FROM product)",
        "SELECT name FROM customer WHERE credit > (SELECT COUNT(*) FROM product)",
    ),
    (
        "SELECT count(customer_id) FROM customer UNION SELECT count(product_id) FROM product",
        "SELECT COUNT(*) FROM customer UNION SELECT COUNT(*) FROM product",
    ),
    (
        "SELECT sum(amount) * 1.0 / count(purchase_id) FROM purchase",
        "SELECT SUM(amount) * 1.0 / COUNT(*) FROM purchase",
    ),
]
UNCHANGED = [
    "SELECT name FROM customer",
    "SELECT count(*) FROM customer",
    "SELECT count(country) FROM customer",
    "SELECT count(DISTINCT customer_id) FROM customer",
    "SELECT max(customer_id) FROM customer",
    "SELECT count(b.employee_id), e.name FROM employee e JOIN employee b "
    "ON e.boss_id = b.employee_id GROUP BY e.name",
]


@pytest.mark.parametrize(("sql", "expected"), CHANGED)
def test_counting_a_key_is_counting_rows(sql: str, expected: str, shop: Shop) -> None:
    path, schema, graph = shop
    tree = canonical(from_sql(sql, schema, graph), schema)
    assert to_sql(tree, schema, graph) == expected
    assert rows_of(path, expected) == rows_of(path, sql)
    assert canonical(tree, schema) == tree


@pytest.mark.parametrize("sql", UNCHANGED)
def test_other_queries_stay(sql: str, shop: Shop) -> None:
    _, schema, graph = shop
    tree = from_sql(sql, schema, graph)
    assert canonical(tree, schema) == tree
