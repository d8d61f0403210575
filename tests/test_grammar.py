"""The grammar automaton: whatever walk it allows ends in SQL that executes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plainsql.logical_form.actions import disjunctive_form, to_actions, to_tree
from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.logical_form.grammar import Automaton, State
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import (
    CODE,
    MAX_DEPTH,
    RELATION,
    RELATIONS,
    STATE_CODE,
    STATES,
    SYMBOLS,
)
from plainsql.logical_form.tables import tables_of
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import (
    Aggregate,
    Arithmetic,
    ColumnRef,
    Literal,
    Logic,
    Select,
    SetOperation,
    Star,
    has_aggregate,
    walk,
)
from plainsql.records import Value, ValueCandidate, ValueKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from shop import open_shop

S = len(SYMBOLS)
GROWING = frozenset("SUB IN COUNT_ROWS SHARE AND OR ADD MINUS TIMES OVER".split())
FREE_STEPS = 25
LONGEST = 120


@dataclass(frozen=True)
class Shop:
    path: Path
    schema: Schema
    graph: JoinGraph

    def space(self, tables: str = "", values: tuple[ValueCandidate, ...] = ()) -> Space:
        """The named tables ("": all) with all their columns."""
        names = tables.split(",") if tables else [table.name for table in self.schema.tables]
        kept = tuple(self.schema.table_index(name) for name in names)
        columns = tuple(c for table in kept for c in self.schema.columns_of(table))
        return Space(self.schema, self.graph, kept, columns, values)

    def column(self, name: str) -> int:
        return self.schema.column_index(*name.split("."))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(*open_shop(tmp_path_factory.mktemp("shop")))


@pytest.fixture(scope="module")
def connection(shop: Shop) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(shop.path)) as connection:
        yield connection


def candidate(value: Value, *columns: int) -> ValueCandidate:
    kind = ValueKind.CELL if columns else ValueKind.QUOTED
    return ValueCandidate(value, kind, 0, 1, columns)


VALUES = (
    candidate(5),
    candidate(2.5),
    candidate("France", 2),
    candidate("it's"),
    candidate("1990-01-01", 3),
)
SPACES = [
    ("", VALUES),
    ("", ()),
    ("weather", (candidate(5),)),
    ("delivery,shop floor", VALUES),
    ("weather,customer", ()),
]


def names(actions: tuple[int, ...]) -> list[str | int]:
    return [SYMBOLS[action] if action < S else action - S for action in actions]


def random_walk(automaton: Automaton, rng: random.Random) -> Iterator[State]:
    """States of a walk: free at first, then without what makes it longer, to the end."""
    state = automaton.start()
    yield state
    while not state.done:
        allowed = np.flatnonzero(automaton.allowed(state))
        assert len(allowed), f"{state.name} allows nothing after {names(state.actions)}"
        assert len(state.actions) < LONGEST, f"no end in sight: {names(state.actions)}"
        state = automaton.step(state, choose(allowed, len(state.actions), rng))
        yield state


def choose(allowed: np.ndarray, steps: int, rng: random.Random) -> int:
    symbols = [int(action) for action in allowed if action < S]
    pointers = [int(action) for action in allowed if action >= S]
    if steps < FREE_STEPS:
        both = symbols and pointers
        return rng.choice(
            (symbols if rng.random() < 0.5 else pointers) if both else symbols or pointers
        )
    if CODE["END"] in symbols:
        return CODE["END"]
    short = [action for action in symbols if SYMBOLS[action] not in GROWING]
    return rng.choice(short + pointers or symbols)


def last(states: Iterator[State]) -> State:
    *_, state = states
    return state


@pytest.mark.parametrize(("tables", "values"), SPACES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_walk_ends_in_sql_that_executes(
    tables: str,
    values: tuple[ValueCandidate, ...],
    seed: int,
    shop: Shop,
    connection: sqlite3.Connection,
) -> None:
    space = shop.space(tables, values)
    automaton = Automaton(space)
    state = last(random_walk(automaton, random.Random(seed)))
    tree = automaton.tree(state)
    sql = to_sql(tree, shop.schema, shop.graph)
    connection.execute(f"EXPLAIN {sql}").fetchall()
    assert state.code == STATE_CODE["CLOSED"]
    assert to_tree(to_actions(tree, space), space) == tree
    statement = sqlglot.parse_one(sql, read="sqlite")
    found = {table.name for table in statement.find_all(sqlglot.exp.Table)}
    assert found <= {table.name for table in shop.schema.tables}


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_walks_say_makes_sense(seed: int, shop: Shop) -> None:
    space = shop.space("", VALUES)
    automaton = Automaton(space)
    deepest = 0
    for state in random_walk(automaton, random.Random(seed)):
        assert state.name in STATES
        relations = automaton.relations(state)
        assert relations.shape == (space.node_count, len(RELATIONS))
        assert set(np.unique(relations)) <= {0, 1}
        deepest = max(deepest, state.depth)
    assert deepest < MAX_DEPTH
    tree = automaton.tree(state)
    for node in walk(tree):
        if isinstance(node, Select):
            assert len(set(node.items)) == len(node.items), names(state.actions)
            assert node.where is None or not has_aggregate(node.where)
            assert_one_component(node, shop)
        elif isinstance(node, Aggregate) and node.function in ("SUM", "AVG"):
            assert_number(node.argument, space)
        elif isinstance(node, SetOperation):
            right = node.right.left if isinstance(node.right, SetOperation) else node.right
            assert width(node.left, shop) == width(right, shop)


def assert_number(node: object, space: Space) -> None:
    assert isinstance(node, ColumnRef | Arithmetic)
    if isinstance(node, ColumnRef):
        assert space.numeric_column[space.columns.index(node.column)]


def assert_one_component(select: Select, shop: Shop) -> None:
    """Tables in use are joined by keys, unless an ON says otherwise."""
    if not select.join_hints:
        weather = shop.schema.table_index("weather")
        tables = tables_of(select, shop.schema, shop.graph)
        own = {n.table for n in walk(select, into_queries=False) if isinstance(n, Star)}
        own |= {
            shop.schema.table_of[n.column]
            for n in walk(select, into_queries=False)
            if isinstance(n, ColumnRef)
        }
        assert own <= tables
        assert own == {weather} or weather not in own


def width(select: Select, shop: Shop) -> int:
    return sum(
        len(shop.schema.tables[item.table].columns) if isinstance(item, Star) else 1
        for item in select.items
    )


# -- gold queries ------------------------------------------------------------

GOLD = [
    "SELECT name FROM customer",
    "SELECT DISTINCT country, name FROM customer",
    "SELECT * FROM weather",
    "SELECT count(*) FROM customer WHERE country = 'France'",
    "SELECT count(DISTINCT country), avg(credit), sum(credit) FROM customer",
    "SELECT name FROM customer WHERE credit BETWEEN 1 AND 5 AND name LIKE '%a%'",
    "SELECT name FROM customer WHERE credit IS NOT NULL OR name NOT LIKE 'a%'",
    "SELECT name FROM customer WHERE (country = 'France' OR country = 'Peru') AND credit > 5",
    "SELECT name FROM customer WHERE customer_id NOT IN (SELECT customer_id FROM purchase)",
    "SELECT title FROM product WHERE price > (SELECT avg(price) FROM product)",
    "SELECT country, count(*) FROM customer GROUP BY country HAVING count(*) > 1",
    "SELECT country FROM customer GROUP BY country ORDER BY count(*) DESC LIMIT 1",
    "SELECT c.name, count(*) FROM customer c JOIN purchase p ON c.customer_id = p.customer_id "
    "GROUP BY c.customer_id",
    "SELECT c.name FROM customer c JOIN purchase p ON c.customer_id = p.customer_id",
    "SELECT e.name, b.name FROM employee e JOIN employee b ON e.boss_id = b.employee_id",
    'SELECT d.weight FROM delivery d JOIN "shop floor" s ON d.target = s."shop id" '
    'WHERE s."order" = 2',
    "SELECT c.name FROM customer c JOIN purchase p ON c.customer_id = p.purchase_id",
    "SELECT name FROM customer UNION SELECT name FROM employee UNION SELECT title FROM product",
    "SELECT * FROM weather EXCEPT SELECT * FROM weather WHERE rain > 5",
    "SELECT count(*) FROM (SELECT DISTINCT country FROM customer)",
    "SELECT avg(CASE WHEN country = 'France' THEN 100.0 ELSE 0.0 END) FROM customer",
    "SELECT strftime('%Y', bought), sum(amount) FROM purchase GROUP BY strftime('%Y', bought)",
    "SELECT max(price) - min(price) FROM product",
    "SELECT title FROM product ORDER BY price * stock DESC LIMIT 3",
    "SELECT name FROM (SELECT name, row_number() OVER (PARTITION BY shop ORDER BY salary DESC) "
    "AS n FROM employee) WHERE n <= 1",
    "SELECT name FROM employee WHERE salary > 5 UNION ALL SELECT name FROM customer "
    "WHERE customer_id IN (SELECT customer_id FROM purchase WHERE amount = 5)",
]


def gold_space(sql: str, shop: Shop) -> tuple[Space, list[int]]:
    tree = from_sql(sql, shop.schema, shop.graph)
    literals = dict.fromkeys(node.value for node in walk(tree) if isinstance(node, Literal))
    space = shop.space("", tuple(candidate(value) for value in literals))
    return space, to_actions(tree, space)


@pytest.mark.parametrize("sql", GOLD)
def test_gold_sequences_are_allowed_and_read_back(sql: str, shop: Shop) -> None:
    space, actions = gold_space(sql, shop)
    automaton = Automaton(space)
    state = automaton.start()
    for action in actions:
        assert automaton.allowed(state)[action], (state.name, names(state.actions))
        state = automaton.step(state, action)
    assert state.done
    assert state.actions == tuple(actions)
    assert to_actions(automaton.tree(state), space) == actions
    assert tables_of(automaton.tree(state), shop.schema, shop.graph) == tables_of(
        from_sql(sql, shop.schema, shop.graph), shop.schema, shop.graph
    )


def test_sequences_are_short(shop: Shop) -> None:
    space, actions = gold_space("SELECT name FROM customer WHERE credit > 20", shop)
    name, credit = (space.first_column + shop.column(f"customer.{c}") for c in ("name", "credit"))
    assert names(tuple(actions)) == [name, "WHERE", credit, "GT", space.first_value, "END"]


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (["END"], "where an expression should stand"),
        ([80, "WHERE"], "too early"),
        ([80, "END", "END"], "after the end"),
        ([80, "WHERE", 80, "AND"], "where EQ or"),
        ([80, "LIMIT", 80, "END"], "a number should stand here"),
        (["YEAR", "VALUE_1", "END"], "a column should stand here"),
    ],
)
def test_broken_sequences(actions: list[str | int], reason: str, shop: Shop) -> None:
    codes = [CODE[a] if isinstance(a, str) else S + 10 for a in actions]
    with pytest.raises(ValueError, match=reason):
        to_tree(codes, shop.space())


def test_conditions_in_disjunctive_form(shop: Shop) -> None:
    sql = "SELECT name FROM customer WHERE ({}) AND ({})"
    few = sql.format("country = 'a' OR credit = 1", "name = 'b' OR name = 'c'")
    tree = from_sql(few, shop.schema, shop.graph)
    assert isinstance(tree, Select)
    assert isinstance(tree.where, Logic)
    assert [len(conjunction) for conjunction in disjunctive_form(tree.where)] == [2, 2, 2, 2]
    many = sql.format(
        "credit = 1 OR credit = 2 OR credit = 3", "name = 'b' OR name = 'c' OR name = 'd'"
    )
    with pytest.raises(NotCovered, match="too many predicates"):
        gold_space(many, shop)


def test_what_is_out_of_reach_is_not_covered(shop: Shop) -> None:
    tree = from_sql("SELECT name FROM customer WHERE country = 'x'", shop.schema, shop.graph)
    with pytest.raises(NotCovered, match="out of reach"):
        to_actions(tree, shop.space("weather"))
    with pytest.raises(NotCovered, match="literal 'x'"):
        to_actions(tree, shop.space())


# -- masks -------------------------------------------------------------------


def allowed_after(space: Space, *said: str | int) -> set[str | int]:
    """What may follow: symbols by name, pointers by node."""
    automaton = Automaton(space)
    state = automaton.start()
    for word in said:
        action = CODE[word] if isinstance(word, str) else S + word
        assert automaton.allowed(state)[action], f"{word} in {state.name}"
        state = automaton.step(state, action)
    return set(names(tuple(int(a) for a in np.flatnonzero(automaton.allowed(state)))))


def node(shop: Shop, name: str) -> int:
    """The node of a table or a `table.column` in the whole space."""
    if "." in name:
        return len(shop.schema.tables) + shop.column(name)
    return shop.schema.table_index(name)


def columns_among(allowed: set[str | int], shop: Shop) -> set[str]:
    first = len(shop.schema.tables)
    nodes = [a for a in allowed if isinstance(a, int) and a >= first]
    columns = [
        shop.schema.columns[n - first] for n in nodes if n - first < len(shop.schema.columns)
    ]
    return {f"{column.table}.{column.name}" for column in columns}


def test_no_item_twice(shop: Shop) -> None:
    space, name = shop.space(), node(shop, "customer.name")
    assert name in allowed_after(space)
    assert name not in allowed_after(space, name)
    assert name in allowed_after(space, name, "COUNT_DISTINCT")
    assert name not in allowed_after(space, name, "COUNT_DISTINCT", name, "COUNT_DISTINCT")


def test_a_date_part_said_of_every_column_is_not_begun_again(shop: Shop) -> None:
    space = shop.space("product")
    dates = [len(space.tables) + i for i in np.flatnonzero(space.date_column)]
    said: list[str | int] = [word for date in dates for word in ("YEAR", date)]
    assert "YEAR" not in allowed_after(space, *said)
    assert "YEAR" in allowed_after(space, *said[:-2])
    assert "MONTH" in allowed_after(space, *said)


def test_sums_are_over_numbers(shop: Shop) -> None:
    for function in ("SUM", "AVG", "SUM_DISTINCT", "AVG_DISTINCT"):
        found = columns_among(allowed_after(shop.space(), function), shop)
        assert {"customer.credit", "product.stock"} <= found
        assert not {"customer.name", "customer.birthday", "weather.note"} & found


def test_date_parts_are_of_dates_or_texts(shop: Shop) -> None:
    found = columns_among(allowed_after(shop.space(), "YEAR"), shop)
    assert {"customer.birthday", "weather.day"} <= found
    assert not {"product.price", "product.stock"} & found


def test_unconnected_tables_are_out_of_reach(shop: Shop) -> None:
    space, name, day = shop.space(), node(shop, "customer.name"), node(shop, "weather.day")
    after = columns_among(allowed_after(space, name), shop)
    assert "product.title" in after  # through purchase
    assert not [column for column in after if column.startswith("weather.")]
    after = columns_among(allowed_after(space, day), shop)
    assert all(column.startswith("weather.") for column in after)
    assert "JOIN" not in allowed_after(space, day)
    joins = allowed_after(space, name, "JOIN")
    assert node(shop, "product") in joins
    assert not {node(shop, "weather"), node(shop, "customer")} & joins
    assert node(shop, "weather.day") in allowed_after(space, name, "ON", name)


def test_no_aggregates_in_where(shop: Shop) -> None:
    name = node(shop, "customer.name")
    allowed = allowed_after(shop.space(), name, "WHERE")
    assert not {"COUNT", "SUM", "MAX", "COUNT_DISTINCT", "SHARE"} & allowed
    assert {"COUNT", "SUM", "MAX"} <= allowed_after(shop.space(), name, "GROUP", name, "HAVING")


def test_set_operations_have_equal_arity(shop: Shop) -> None:
    space, name = shop.space(), node(shop, "customer.name")
    two = (name, node(shop, "customer.country"), "UNION", node(shop, "employee.name"))
    assert "END" not in allowed_after(space, *two)
    done = allowed_after(space, *two, node(shop, "employee.salary"))
    assert "END" in done
    assert not columns_among(done, shop)


def test_stars_face_stars_of_the_same_width(shop: Shop) -> None:
    allowed = allowed_after(shop.space(), node(shop, "customer"), "EXCEPT")
    five = {i for i, table in enumerate(shop.schema.tables) if len(table.columns) == 5}
    assert allowed - {"DISTINCT"} == five
    assert node(shop, "weather") not in allowed


def test_sub_queries_have_one_column_and_end(shop: Shop) -> None:
    name, key = node(shop, "customer.name"), node(shop, "customer.customer_id")
    said = (name, "WHERE", key, "IN", node(shop, "purchase.customer_id"))
    after = allowed_after(shop.space(), *said)
    assert "END" in after
    assert not columns_among(after, shop)
    assert not {"COUNT_ROWS", "SHARE"} & allowed_after(shop.space(), *said[:-1])


def test_nesting_has_a_limit(shop: Shop) -> None:
    key = node(shop, "customer.customer_id")
    once = (key, "WHERE", key, "IN")
    assert "IN" in allowed_after(shop.space(), *once, key, "WHERE", key)
    assert "IN" not in allowed_after(shop.space(), *once, *once, key, "WHERE", key)


def test_values_fit_what_stands_left(shop: Shop) -> None:
    space = shop.space("", VALUES)
    name, credit = node(shop, "customer.name"), node(shop, "customer.credit")
    texts = {space.first_value + 2, space.first_value + 3}
    assert texts <= allowed_after(space, name, "WHERE", name, "EQ")
    assert not texts & allowed_after(space, name, "WHERE", credit, "EQ")
    assert space.first_value in allowed_after(space, name, "WHERE", credit, "EQ")
    assert space.first_value + 1 not in allowed_after(space, name, "LIMIT")


def test_whole_dates_are_not_compared_with_bare_years(shop: Shop) -> None:
    name, birthday = node(shop, "customer.name"), node(shop, "customer.birthday")
    year = shop.space("", (candidate(1990),))
    after = allowed_after(year, name, "WHERE", birthday)
    assert not {"EQ", "GT"} & after
    assert {"STARTS", "IS_NULL"} <= after
    assert year.first_value in allowed_after(year, name, "WHERE", "YEAR", birthday, "EQ")
    both = shop.space("", (candidate(1990), candidate("1990-03-01", 3)))
    compared = allowed_after(both, name, "WHERE", birthday, "GT")
    assert both.first_value not in compared
    assert both.first_value + 1 in compared


def test_without_values_nothing_asks_for_them(shop: Shop) -> None:
    name = node(shop, "customer.name")
    after = allowed_after(shop.space(), name, "WHERE", name)
    assert not {"BETWEEN", "CONTAINS", "LIKE"} & after
    assert {"EQ", "IS_NULL"} <= after


def test_groups_are_ranked_only_with_an_order(shop: Shop) -> None:
    name, shops = node(shop, "employee.name"), node(shop, "employee.shop")
    assert "PER" not in allowed_after(shop.space(), name, "LIMIT", "VALUE_1")
    ordered = (name, "DESC", shops, "LIMIT", "VALUE_1")
    assert "PER" in allowed_after(shop.space(), *ordered)
    assert "PER" not in allowed_after(shop.space(), node(shop, "employee"), *ordered[1:])


def test_relations_of_nodes(shop: Shop) -> None:
    space = shop.space("", VALUES)
    automaton = Automaton(space)
    state = automaton.start()
    assert not automaton.relations(state)[:, RELATION["table_in_block"]].any()
    country = node(shop, "customer.country")
    for action in (S + node(shop, "customer.name"), CODE["WHERE"], S + country):
        state = automaton.step(state, action)
    found = automaton.relations(state)
    in_block = np.flatnonzero(found[:, RELATION["table_in_block"]])
    assert {node(shop, "customer"), country} <= set(in_block)
    assert node(shop, "product") not in in_block
    assert found[node(shop, "purchase"), RELATION["table_next_to_block"]]
    assert not found[node(shop, "product"), RELATION["table_next_to_block"]]
    assert found[country, RELATION["last_node"]]
    assert found[node(shop, "customer.name"), RELATION["column_selected"]]
    assert found[space.first_value + 2, RELATION["value_found_in_left"]]
    assert not found[space.first_value, RELATION["value_found_in_left"]]


def test_a_hint_to_a_table_that_is_not_there_joins_nothing(
    shop: Shop, connection: sqlite3.Connection
) -> None:
    weather = shop.column("weather.note")
    select = Select(
        items=(ColumnRef(shop.column("employee.name")), ColumnRef(shop.column("employee.name"), 1)),
        join_hints=((ColumnRef(weather), ColumnRef(shop.column("employee.name"), 1)),),
    )
    sql = to_sql(select, shop.schema, shop.graph)
    assert sql.endswith("ON employee.boss_id = employee_2.employee_id")
    assert len(connection.execute(sql).fetchall()) == 4
