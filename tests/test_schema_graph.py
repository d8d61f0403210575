"""The join graph: edges from keys, cheapest trees, bridges, preferred conditions."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from plainsql.schema import Column, ColumnType, ForeignKey, JoinGraph, JoinTree, Schema, Table

Keys = list[tuple[int, int, bool]]  # (table, table it refers to, inferred)


def schema_of(size: int, keys: Keys) -> Schema:
    """Tables t0, t1, … with columns id, a, b; each key is a -> id."""
    tables = tuple(
        Table(f"t{i}", tuple(Column(f"t{i}", c, ColumnType.NUMBER, c) for c in "iab"), f"t{i}")
        for i in range(size)
    )
    foreign = (ForeignKey(f"t{a}", ("a",), f"t{b}", ("i",), inferred) for a, b, inferred in keys)
    return Schema("s", tables, tuple(foreign))


def column(table: int, name: str) -> int:
    return table * 3 + "iab".index(name)


def assert_in_join_order(tree: JoinTree) -> None:
    for at, edge in enumerate(tree.edges):
        assert edge.right == tree.tables[at + 1]
        assert edge.left in tree.tables[: at + 1]


STAR: Keys = [(1, 0, False), (1, 2, False), (3, 2, True)]


@pytest.mark.parametrize(
    ("keys", "tables", "expected"),
    [
        (STAR, [0], (0,)),
        (STAR, [0, 1], (0, 1)),
        (STAR, [0, 2], (0, 1, 2)),  # a bridge
        (STAR, [2, 0], (2, 1, 0)),  # in the order asked for
        (STAR, [0, 0, 2], (0, 1, 2)),  # twice is once
        (STAR, [3, 0], (3, 2, 1, 0)),
        (STAR, [], ()),
        # two bridges of equal cost: the lower index
        ([(1, 0, False), (1, 3, False), (2, 0, False), (2, 3, False)], [0, 3], (0, 1, 3)),
        # declared beats inferred
        ([(1, 0, True), (1, 3, True), (2, 0, False), (2, 3, False)], [0, 3], (0, 2, 3)),
        # fewer tables at equal cost: 1.5 + 1.5 against three times 1.0
        (
            [(1, 0, False), (2, 1, False), (3, 2, False), (4, 0, True), (3, 4, True)],
            [0, 3],
            (0, 4, 3),
        ),
    ],
)
def test_join_tree(keys: Keys, tables: list[int], expected: tuple[int, ...]) -> None:
    tree = JoinGraph(schema_of(5, keys)).join_tree(tables)
    assert tree.tables == expected
    assert tree.connected
    assert_in_join_order(tree)


def test_unconnected_tables_follow_without_an_edge() -> None:
    tree = JoinGraph(schema_of(5, STAR)).join_tree([4, 0, 1])
    assert tree == JoinTree((4, 0, 1), (), False)
    tree = JoinGraph(schema_of(5, STAR)).join_tree([0, 4, 2])
    assert tree.tables == (0, 1, 2, 4)
    assert (len(tree.edges), tree.connected) == (2, False)


def test_no_such_table() -> None:
    with pytest.raises(IndexError):
        JoinGraph(schema_of(2, [])).join_tree([0, 2])


def test_edges_are_seen_from_both_sides() -> None:
    graph = JoinGraph(schema_of(5, STAR))
    (edge,) = graph.edges_between(1, 0)
    assert (edge.left, edge.right, edge.cost) == (1, 0, 1.0)
    assert edge.pairs == ((column(1, "a"), column(0, "i")),)
    assert graph.edges_between(0, 1) == (edge.reversed(),)
    assert graph.edges_between(2, 3)[0].cost == 1.5
    assert graph.neighbours(2) == {1, 3}
    assert graph.neighbours(4) == frozenset()
    assert (graph.distance(0, 3), graph.distance(3, 0)) == (3.5, 3.5)
    assert graph.distance(0, 0) == 0.0
    assert graph.distance(0, 4) == float("inf")


def test_composite_key_is_one_edge() -> None:
    schema = schema_of(2, [])
    key = ForeignKey("t1", ("a", "b"), "t0", ("i", "a"))
    graph = JoinGraph(Schema("s", schema.tables, (key,)))
    (edge,) = graph.edges_between(0, 1)
    assert edge.pairs == ((0, 4), (1, 5))


def test_two_keys_between_the_same_tables_cheapest_first() -> None:
    keys = (
        ForeignKey("t1", ("b",), "t0", ("i",), inferred=True),
        ForeignKey("t1", ("a",), "t0", ("i",), inferred=True),
        ForeignKey("t1", ("a",), "t0", ("i",)),
    )
    graph = JoinGraph(Schema("s", schema_of(2, []).tables, keys))
    assert [(edge.pairs, edge.cost) for edge in graph.edges_between(1, 0)] == [
        (((4, 0),), 1.0),
        (((5, 0),), 1.5),
    ]


def test_keys_to_nowhere_and_to_the_own_table() -> None:
    keys = (
        ForeignKey("t0", ("a",), "gone", ("i",)),
        ForeignKey("t0", ("gone",), "t1", ("i",)),
        ForeignKey("t0", ("a",), "t0", ("i",)),
    )
    graph = JoinGraph(Schema("s", schema_of(2, []).tables, keys))
    assert graph.neighbours(0) == frozenset()
    assert [edge.pairs for edge in graph.edges_between(0, 0)] == [((1, 0),)]
    assert not graph.join_tree([0, 1]).connected


@pytest.mark.parametrize(
    ("tables", "preferred", "expected", "pairs"),
    [
        ([0, 3], [(column(0, "b"), column(3, "b"))], (0, 3), [((2, 11),)]),  # no key needed
        ([3, 0], [(column(0, "b"), column(3, "b"))], (3, 0), [((11, 2),)]),
        ([0, 1], [(column(0, "b"), column(1, "b"))], (0, 1), [((2, 5),)]),  # beats the key
        ([0], [(column(0, "b"), column(3, "b"))], (0, 3), [((2, 11),)]),  # brings its tables
        # two conditions between the same tables belong together
        ([0, 3], [(2, 11), (10, 1)], (0, 3), [((2, 11), (1, 10))]),
        ([0, 2], [(2, 1)], (0, 1, 2), [((0, 4),), ((4, 6),)]),  # within a table: not a join
    ],
)
def test_preferred_conditions(
    tables: list[int],
    preferred: list[tuple[int, int]],
    expected: tuple[int, ...],
    pairs: list[tuple[tuple[int, int], ...]],
) -> None:
    tree = JoinGraph(schema_of(5, STAR)).join_tree(tables, preferred)
    assert tree.tables == expected
    assert [edge.pairs for edge in tree.edges] == pairs
    assert_in_join_order(tree)


def spanning_cost(keys: Keys, nodes: set[int]) -> float:
    """Cost of a minimum spanning tree over `nodes` (Kruskal), inf if there is none."""
    leader = {node: node for node in nodes}

    def find(node: int) -> int:
        while leader[node] != node:
            node = leader[node]
        return node

    total, joined = 0.0, 1
    for cost, a, b in sorted((1.5 if inferred else 1.0, a, b) for a, b, inferred in keys):
        if a in nodes and b in nodes and find(a) != find(b):
            leader[find(a)] = find(b)
            total, joined = total + cost, joined + 1
    return total if joined == len(nodes) else float("inf")


def cheapest(size: int, keys: Keys, tables: list[int]) -> tuple[float, int]:
    others = [node for node in range(size) if node not in tables]
    subsets = itertools.chain.from_iterable(
        itertools.combinations(others, extra) for extra in range(len(others) + 1)
    )
    sets = [{*tables, *subset} for subset in subsets]
    return min((spanning_cost(keys, nodes), len(nodes)) for nodes in sets)


def test_trees_of_five_tables_are_the_cheapest_there_are() -> None:
    dice = random.Random(7)
    for _ in range(200):
        size = dice.randint(3, 8)
        keys = [
            (dice.randrange(size), dice.randrange(size), dice.random() < 0.4)
            for _ in range(dice.randint(2, 12))
        ]
        tables = dice.sample(range(size), min(size, dice.randint(2, 5)))
        tree = JoinGraph(schema_of(size, keys)).join_tree(tables)
        cost, count = cheapest(size, keys, tables)
        assert tree.connected == (cost < float("inf"))
        if tree.connected:
            assert (sum(edge.cost for edge in tree.edges), len(tree.tables)) == (cost, count)
            assert_in_join_order(tree)


def test_more_than_five_tables() -> None:
    keys = [(i, i - 1, False) for i in range(1, 12)]
    tree = JoinGraph(schema_of(12, keys)).join_tree([0, 2, 4, 6, 8, 10, 11])
    assert tree.tables == tuple(range(12))
    assert_in_join_order(tree)


def test_two_thousand_tables_are_quick() -> None:
    dice = random.Random(3)
    keys = [(i, dice.randrange(i), i % 3 == 0) for i in range(1, 2000)]
    schema = schema_of(2000, keys)
    start = time.perf_counter()
    graph = JoinGraph(schema)
    trees = [graph.join_tree(dice.sample(range(2000), 5)) for _ in range(5)]
    assert time.perf_counter() - start < 5.0
    assert all(tree.connected for tree in trees)
