"""The demo database: the same everywhere, believable, and its questions have answers."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.demo import DEMO_QUESTIONS, make_demo
from plainsql.errors import ConnectError
from plainsql.execution import open_engine, run_guarded

# A correct query for each of the questions, in their order, and its answer.
ANSWERS = [
    ("SELECT count(*) FROM customers", 1),
    ("SELECT name FROM products ORDER BY price DESC LIMIT 1", 1),
    (
        "SELECT customers.name FROM customers JOIN cities USING (city_id) "
        "WHERE cities.name = 'Lyon'",
        17,
    ),
    (
        "SELECT makers.name FROM makers JOIN products USING (maker_id) "
        "GROUP BY makers.maker_id HAVING count(*) > 7",
        5,
    ),
    ("SELECT avg(price) FROM products WHERE category = 'guitar'", 1),
    (
        "SELECT name FROM products WHERE product_id NOT IN (SELECT product_id FROM order_items)",
        13,
    ),
    ("SELECT count(*) FROM orders WHERE ordered_on LIKE '2024%'", 1),
    (
        "SELECT stores.name FROM stores JOIN employees USING (store_id) "
        "GROUP BY stores.store_id ORDER BY count(*) DESC LIMIT 1",
        1,
    ),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo") / "new folder" / "demo.sqlite")


@pytest.fixture
def rows(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def content(path: Path) -> str:
    """A hash of all statements that would make the database again."""
    with closing(sqlite3.connect(path)) as connection:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()


def test_it_is_the_same_every_time(path: Path, tmp_path: Path) -> None:
    assert content(make_demo(tmp_path / "again.db")) == content(path)


def test_it_replaces_a_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "demo.db"
    target.write_bytes(b"something else")
    assert make_demo(target) == target
    assert target.read_bytes().startswith(b"SQLite format 3\x00")
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConnectError) as caught:
        make_demo(tmp_path / "file" / "demo.db")
    assert caught.value.hint


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = make_demo(tmp_path / "demo.db")
    before = target.read_bytes()
    monkeypatch.setattr("plainsql.demo.SCHEMA", "CREATE TABLE cities (a);")
    with pytest.raises(ConnectError):
        make_demo(target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_questions_have_answers(path: Path) -> None:
    assert len(ANSWERS) == len(DEMO_QUESTIONS) == len(set(DEMO_QUESTIONS)) == 8
    engine = open_engine(path)
    schema = engine.introspect()
    for sql, count in ANSWERS:
        answer = run_guarded(engine, sql, schema=schema)
        assert len(answer.rows) == count, sql
        assert answer.rows[0][0]
    engine.close()


def test_the_schema_is_what_a_reader_expects(path: Path) -> None:
    engine = open_engine(path)
    schema = engine.introspect()
    engine.close()
    assert len(schema.tables) == 8
    declared = {(key.table, key.ref_table) for key in schema.foreign_keys if not key.inferred}
    assert ("employees", "employees") in declared
    assert ("order_items", "products") in declared
    assert len(declared) == 9


# Each query counts what would be unbelievable.
UNBELIEVABLE = [
    "SELECT * FROM order_items GROUP BY order_id HAVING sum(quantity * unit_price) > 40000",
    "SELECT * FROM order_items JOIN products USING (product_id) WHERE unit_price > price",
    "SELECT * FROM order_items JOIN products USING (product_id) WHERE unit_price < price * 0.89",
    "SELECT * FROM orders JOIN customers USING (customer_id) WHERE ordered_on < joined_on",
    "SELECT * FROM orders JOIN employees USING (employee_id) WHERE ordered_on < hired_on",
    "SELECT * FROM orders WHERE ordered_on NOT BETWEEN '2022-01-01' AND '2024-12-31'",
    "SELECT * FROM orders WHERE order_id NOT IN (SELECT order_id FROM order_items)",
    "SELECT * FROM orders AS a JOIN orders AS b ON a.order_id < b.order_id "
    "WHERE a.ordered_on > b.ordered_on",
    "SELECT * FROM employees AS e JOIN employees AS m ON e.manager_id = m.employee_id "
    "WHERE e.salary >= m.salary",
    "SELECT * FROM employees JOIN stores USING (store_id) WHERE hired_on < opened_on",
    "SELECT * FROM employees WHERE (manager_id IS NULL) <> (job_title = 'director')",
    "SELECT * FROM products WHERE price NOT BETWEEN 5 AND 20000 OR stock < 0",
    "SELECT name FROM products GROUP BY name HAVING count(*) > 1",
    "SELECT name FROM customers GROUP BY name HAVING count(*) > 1",
    "SELECT * FROM customers WHERE email NOT LIKE '%_._%@example.com' OR email GLOB '*[^ -~]*'",
    "SELECT * FROM makers WHERE founded_year NOT BETWEEN 1850 AND 2010",
]


@pytest.mark.parametrize("sql", UNBELIEVABLE)
def test_believable(rows: sqlite3.Connection, sql: str) -> None:
    assert rows.execute(sql).fetchall() == []


def test_keys_hold_and_sizes_are_small(rows: sqlite3.Connection) -> None:
    assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
    tables = [n for (n,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = [rows.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables]
    assert all(counts)
    assert 700 < sum(counts) <= 1500


def test_orders_grow_and_peak_in_december(rows: sqlite3.Connection) -> None:
    years = rows.execute("SELECT count(*) FROM orders GROUP BY substr(ordered_on, 1, 4)").fetchall()
    assert len(years) == 3
    assert years == sorted(years)
    month = "SELECT substr(ordered_on, 6, 2) FROM orders GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    assert rows.execute(month).fetchone() == ("12",)
