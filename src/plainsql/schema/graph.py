"""The join graph: tables are nodes, keys are edges; which tables join, and how.

A query names some tables; the joins between them, and the bridge tables they
pass through, follow from the keys. The cheapest such set is a Steiner tree,
found exactly for up to five tables (Dreyfus and Wagner, "The Steiner problem
in graphs", 1971, https://doi.org/10.1002/net.3230010302) and by adding the
nearest table first beyond (Takahashi and Matsuyama, 1980).

Nothing is computed before it is asked for, and searches stop at the best cost
already known, so that 2,000 tables cost no more than their neighbourhood.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

from plainsql.schema.model import ForeignKey, Schema

DECLARED_COST = 1.0
INFERRED_COST = 1.5
PREFERRED_COST = 1e-6
EXACT_TERMINALS = 5
_CACHE_SIZE = 4096

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class JoinEdge:
    """One way to join two tables; a composite key is one edge with several pairs."""

    left: int  # table index
    right: int  # table index
    pairs: Pairs  # (column index in left, column index in right)
    cost: float  # 1.0 declared, 1.5 inferred, about 0 preferred

    def reversed(self) -> JoinEdge:
        """The same join seen from the other table."""
        pairs = tuple((right, left) for left, right in self.pairs)
        return JoinEdge(self.right, self.left, pairs, self.cost)


@dataclass(frozen=True, slots=True)
class JoinTree:
    """Tables in join order, with the edge that attaches each but the first.

    `edges[i]` leads from an earlier table (`left`) to `tables[i + 1]` (`right`).
    Where the graph has no path, `connected` is False and the tables that could
    not be reached from the first one follow at the end without an edge.
    """

    tables: tuple[int, ...]
    edges: tuple[JoinEdge, ...]
    connected: bool


# Cost of a partial tree: its summed edge costs, then the number of its edges.
_Cost = tuple[float, int]
_INFINITE: _Cost = (math.inf, 0)
_Adjacency = Mapping[int, Mapping[int, tuple[JoinEdge, ...]]]


class JoinGraph:
    """Joins of one schema. Keys whose tables or columns don't exist are ignored."""

    def __init__(self, schema: Schema) -> None:
        self._table_of = schema.table_of
        self._size = len(schema.tables)
        self._adjacency = _adjacency(_key_edges(schema))
        self._distances: dict[int, dict[int, float]] = {}
        self._trees: dict[tuple[tuple[int, ...], Pairs], JoinTree] = {}

    def edges_between(self, a: int, b: int) -> tuple[JoinEdge, ...]:
        """The joins from `a` (left) to `b` (right), cheapest first; `a` may be `b`."""
        return self._adjacency.get(a, {}).get(b, ())

    def neighbours(self, table: int) -> frozenset[int]:
        """Tables that one join reaches from `table`, without itself."""
        return frozenset(self._adjacency.get(table, {})) - {table}

    def distance(self, a: int, b: int) -> float:
        """Summed cost of the cheapest path between two tables; inf if none."""
        source, target = min(a, b), max(a, b)
        if source not in self._distances:
            _make_room(self._distances, 256)
            grown = _grow(self._adjacency, {source: (0.0, 0)}, {})
            self._distances[source] = {table: cost[0] for table, cost in grown.items()}
        return self._distances[source].get(target, math.inf)

    def join_tree(
        self, tables: Sequence[int], preferred: Sequence[tuple[int, int]] = ()
    ) -> JoinTree:
        """The cheapest tree that joins `tables`, bridges included, from the first on.

        `preferred` holds pairs of column indexes that must be join conditions:
        they win over any key between the same two tables, need no key
        themselves, and bring in their tables. Duplicates in `tables` count
        once; ties go to fewer tables, then to the lowest indexes.
        Raises IndexError for a table that is not in the schema.
        """
        if any(not 0 <= table < self._size for table in tables):
            raise IndexError(f"No such table index in a schema of {self._size} tables: {tables}")
        key = (tuple(tables), tuple(preferred))
        if key not in self._trees:
            _make_room(self._trees, _CACHE_SIZE)
            self._trees[key] = self._build(*key)
        return self._trees[key]

    def _build(self, tables: tuple[int, ...], preferred: Pairs) -> JoinTree:
        across = [pair for pair in preferred if self._table_of[pair[0]] != self._table_of[pair[1]]]
        touched = [self._table_of[column] for pair in across for column in pair]
        terminals = list(dict.fromkeys([*tables, *touched]))
        if not terminals:
            return JoinTree((), (), True)
        adjacency = self._overlay(across) if across else self._adjacency
        reached, links = _steiner(adjacency, terminals)
        return _ordered(adjacency, terminals, reached, links)

    def _overlay(self, preferred: Iterable[tuple[int, int]]) -> _Adjacency:
        """The adjacency with the preferred pairs as the only join of their tables."""
        pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for first, second in preferred:
            pair = (first, second)
            if self._table_of[first] > self._table_of[second]:
                pair = (second, first)
            tables = (self._table_of[pair[0]], self._table_of[pair[1]])
            pairs.setdefault(tables, []).append(pair)
        adjacency = dict(self._adjacency)
        for (a, b), columns in pairs.items():
            edge = JoinEdge(a, b, tuple(dict.fromkeys(columns)), PREFERRED_COST)
            adjacency[a] = {**adjacency.get(a, {}), b: (edge,)}
            adjacency[b] = {**adjacency.get(b, {}), a: (edge.reversed(),)}
        return adjacency


def _make_room(cache: MutableMapping[Any, Any], size: int) -> None:
    """Empty a cache that is full: simple, and enough for repeated questions."""
    if len(cache) >= size:
        cache.clear()


def _key_edges(schema: Schema) -> Iterator[JoinEdge]:
    for key in schema.foreign_keys:
        try:
            yield _key_edge(schema, key)
        except KeyError:  # a dangling key, common in real databases
            continue


def _key_edge(schema: Schema, key: ForeignKey) -> JoinEdge:
    pairs = tuple(
        (schema.column_index(key.table, column), schema.column_index(key.ref_table, target))
        for column, target in zip(key.columns, key.ref_columns, strict=False)
    )
    left, right = schema.table_index(key.table), schema.table_index(key.ref_table)
    return JoinEdge(left, right, pairs, INFERRED_COST if key.inferred else DECLARED_COST)


def _adjacency(edges: Iterable[JoinEdge]) -> dict[int, dict[int, tuple[JoinEdge, ...]]]:
    """For each table and neighbour, the distinct joins, cheapest first."""
    found: dict[int, dict[int, dict[Pairs, JoinEdge]]] = {}
    for edge in edges:
        ways = (edge,) if edge.left == edge.right else (edge, edge.reversed())
        for way in ways:
            joins = found.setdefault(way.left, {}).setdefault(way.right, {})
            known = joins.get(way.pairs)
            if way.pairs and (known is None or way.cost < known.cost):
                joins[way.pairs] = way
    return {
        table: {
            other: tuple(sorted(joins.values(), key=lambda edge: (edge.cost, edge.pairs)))
            for other, joins in sorted(others.items())
            if joins
        }
        for table, others in found.items()
    }


def _grow(
    adjacency: _Adjacency,
    costs: dict[int, _Cost],
    origin: dict[int, int],
    limit: float = math.inf,
    goals: Collection[int] = (),
) -> dict[int, _Cost]:
    """Dijkstra from the tables in `costs`; `origin` receives predecessors.

    `costs` is improved in place and returned. Tables dearer than `limit` are
    left out; the search ends at the first of the `goals`. Ties go to fewer
    edges, then to the lowest table index.
    """
    queue = [(cost, table) for table, cost in costs.items()]
    heapify(queue)
    while queue:
        cost, table = heappop(queue)
        if cost > costs[table]:
            continue  # reached more cheaply since it was queued
        if table in goals:
            return costs
        for other, joins in adjacency.get(table, {}).items():
            total = (cost[0] + joins[0].cost, cost[1] + 1)
            if total[0] <= limit and total < costs.get(other, _INFINITE):
                costs[other], origin[other] = total, table
                heappush(queue, (total, other))
    return costs


_Links = set[tuple[int, int]]  # undirected tree edges, (lower, higher) table index


def _link(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _steiner(adjacency: _Adjacency, terminals: Sequence[int]) -> tuple[list[int], _Links]:
    """The terminals joined with the first one, and the tree that joins them."""
    reached, links = _nearest_first(adjacency, terminals)
    if not 2 < len(reached) <= EXACT_TERMINALS:
        return reached, links
    bound = sum(adjacency[a][b][0].cost for a, b in links)
    return reached, _dreyfus_wagner(adjacency, reached, bound + 1e-9)


def _nearest_first(adjacency: _Adjacency, terminals: Sequence[int]) -> tuple[list[int], _Links]:
    """Attach the nearest terminal by its shortest path, again and again."""
    inside, links = {terminals[0]}, set[tuple[int, int]]()
    missing = set(terminals[1:])
    while missing:
        origin: dict[int, int] = {}
        start = dict.fromkeys(inside, (0.0, 0))
        costs = _grow(adjacency, start, origin, goals=missing)
        near = min(missing, key=lambda table: (costs.get(table, _INFINITE), table))
        if near not in costs:
            break
        while near not in inside:
            links.add(_link(near, origin[near]))
            inside.add(near)
            near = origin[near]
        missing -= inside
    return [table for table in terminals if table in inside], links


def _dreyfus_wagner(adjacency: _Adjacency, terminals: Sequence[int], bound: float) -> _Links:
    """The exact Steiner tree, given that one of at most `bound` exists.

    `best[s][v]` is the cost of the cheapest tree over the terminals in the bit
    set `s` and table `v`: two smaller trees merged at `v`, or one grown by a
    shortest path to `v`.
    """
    root, others = terminals[0], terminals[1:]
    best: dict[int, dict[int, _Cost]] = {}
    split: dict[int, dict[int, int]] = {}
    origin: dict[int, dict[int, int]] = {}
    for subset in range(1, 1 << len(others)):
        split[subset], origin[subset] = {}, {}
        if subset & (subset - 1) == 0:
            start = {others[subset.bit_length() - 1]: (0.0, 0)}
        else:
            start = _merged(best, subset, bound, split[subset])
        best[subset] = _grow(adjacency, start, origin[subset], bound)
    return _traced(split, origin, (1 << len(others)) - 1, root)


def _merged(
    best: Mapping[int, Mapping[int, _Cost]], subset: int, bound: float, split: dict[int, int]
) -> dict[int, _Cost]:
    """Per table, the cheapest union of two trees over a split of `subset`."""
    merged: dict[int, _Cost] = {}
    part = (subset - 1) & subset
    while part > subset ^ part:
        one, other = best[part], best[subset ^ part]
        for table in one.keys() & other.keys():
            cost = (one[table][0] + other[table][0], one[table][1] + other[table][1])
            if cost[0] <= bound and cost < merged.get(table, _INFINITE):
                merged[table], split[table] = cost, part
        part = (part - 1) & subset
    return merged


def _traced(
    split: Mapping[int, Mapping[int, int]],
    origin: Mapping[int, Mapping[int, int]],
    subset: int,
    root: int,
) -> _Links:
    """Walk the choices back from the root to the terminals."""
    links: _Links = set()
    pending = [(subset, root)]
    while pending:
        part, table = pending.pop()
        if table in origin[part]:
            links.add(_link(table, origin[part][table]))
            pending.append((part, origin[part][table]))
        elif table in split[part]:
            half = split[part][table]
            pending += [(half, table), (part ^ half, table)]
    return links


def _ordered(
    adjacency: _Adjacency, terminals: Sequence[int], reached: Sequence[int], links: _Links
) -> JoinTree:
    """Lay a tree out from the first terminal, towards each terminal in turn."""
    parent = _parents(links, terminals[0])
    tables, edges = [terminals[0]], list[JoinEdge]()
    for terminal in reached:
        path = []
        while terminal not in tables:
            path.append(terminal)
            terminal = parent[terminal]
        for table in reversed(path):
            tables.append(table)
            edges.append(adjacency[parent[table]][table][0])
    lost = [table for table in terminals if table not in tables]
    return JoinTree((*tables, *lost), tuple(edges), not lost)


def _parents(links: _Links, root: int) -> dict[int, int]:
    """Each table's predecessor on the way from the root."""
    parent = {root: root}
    pending = [root]
    while pending:
        table = pending.pop()
        for a, b in sorted(link for link in links if table in link):
            other = b if a == table else a
            if other not in parent:
                parent[other] = table
                pending.append(other)
    return parent
