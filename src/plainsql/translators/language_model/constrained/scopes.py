"""Which tables one SELECT may join, and under which names: the scopes of a schema.

A context-free grammar can't say "a column of whatever table is called T2 here".
Where the tables and their names are fixed it can: so each set of tables that keys
connect, with each way to name them, is a scope, in which a column exists or
doesn't. There are many such sets; they are taken best first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from plainsql.schema.graph import JoinEdge, JoinGraph
from plainsql.schema.model import Schema
from plainsql.translators.language_model.constrained.spelling import Spelling

MOST_TABLES = 5  # of one join
_LEAST_WAYS = 4  # to name two tables that are joined
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Za-z][a-z]*")


Source = tuple[int, str]  # a table, and its alias or ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Tables joined in one FROM. `names` are their aliases, "" for the table's own name.

    With `ordered`, FROM has the tables in this order, as for T1, T2, ...; else in any.
    """

    tables: tuple[int, ...]
    names: tuple[str, ...]
    ordered: bool = False

    def name_of(self, table: int) -> str:
        """The alias of one of its tables."""
        return self.names[self.tables.index(table)]

    def nexts(self, number: int) -> tuple[Source, ...]:
        """What may be the table with this number in FROM."""
        sources = tuple(zip(self.tables, self.names, strict=True))
        return sources[number : number + 1] if self.ordered else sources


@dataclass(frozen=True)
class Naming:
    """The tables of a schema and their columns, as far as a dialect can write them."""

    schema: Schema
    spelling: Spelling

    @cached_property
    def graph(self) -> JoinGraph:
        """Which tables join."""
        return JoinGraph(self.schema)

    @cached_property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each table."""
        write = self.spelling.can_write
        return tuple(
            tuple(column.name for column in table.columns if write(column.name))
            for table in self.schema.tables
        )

    def edges(self, left: int, right: int) -> tuple[JoinEdge, ...]:
        """The keys between two tables whose columns can be written."""
        write, columns = self.spelling.can_write, self.schema.columns
        return tuple(
            edge
            for edge in self.graph.edges_between(left, right)
            if all(write(columns[at].name) for pair in edge.pairs for at in pair)
        )

    def neighbours(self, table: int) -> frozenset[int]:
        """The tables that such a key connects with a table."""
        if table not in self._neighbours:
            near = self.graph.neighbours(table)
            self._neighbours[table] = frozenset(t for t in near if self.edges(table, t))
        return self._neighbours[table]

    @cached_property
    def _neighbours(self) -> dict[int, frozenset[int]]:
        return {}

    def is_table(self, table: int) -> bool:
        """Whether the table can be named, and has a column that can."""
        record = self.schema.tables[table]
        names = (record.bare_name, *([record.namespace] if record.namespace else []))
        return bool(self.columns[table]) and all(map(self.spelling.can_write, names))

    def bare_columns(self, tables: Iterable[int]) -> tuple[str, ...]:
        """The columns that only one of the tables has, so that they need no qualifier."""
        key = frozenset(tables)
        if key not in self._bare:
            seen = Counter(name for table in key for name in self._lower[table])
            self._bare[key] = tuple(
                name
                for table in sorted(key)
                for name in self.columns[table]
                if seen[name.lower()] == 1
            )
        return self._bare[key]

    @cached_property
    def bare_numbers(self) -> dict[tuple[str, ...], int]:
        """A number for each set of such columns that was needed, to name it by."""
        return {}

    @cached_property
    def _bare(self) -> dict[frozenset[int], tuple[str, ...]]:
        return {}

    @cached_property
    def _lower(self) -> list[list[str]]:
        """Every column of each table, also those that can't be written: they are there."""
        return [[column.name.lower() for column in table.columns] for table in self.schema.tables]


def scopes_of(naming: Naming, most: int) -> tuple[Scope, ...]:
    """At most about `most` scopes over the tables of a schema (best first), best first.

    Every table is in one by itself, whatever the number.
    """
    kept = list(filter(naming.is_table, range(len(naming.schema.tables))))
    found: list[Scope] = []
    for one in join_sets(naming, kept, most // _LEAST_WAYS):
        if len(one) > 1 and len(found) >= most:
            break
        found += _ways(naming, one)
    return tuple(found)


def join_sets(naming: Naming, tables: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Sets of tables that keys connect, best first: all tables alone, then at most `most`.

    Small ones come first, among them those whose tables stand early in `tables`.
    """
    rank = {table: at for at, table in enumerate(tables)}
    found: list[tuple[int, ...]] = [(table,) for table in rank]
    grown = {frozenset(one) for one in found}
    for _ in range(2, MOST_TABLES + 1):
        grown = {one | {other} for one in grown for other in _around(naming, one, rank)}
        grown = set(sorted(grown, key=lambda one: _worth(one, rank))[:most])
        inside = (tuple(sorted(one, key=rank.__getitem__)) for one in grown)
        found += sorted(inside, key=lambda one: _worth(one, rank))
    return found[: len(rank) + most]


def _around(naming: Naming, tables: frozenset[int], kept: Iterable[int]) -> set[int]:
    """The kept tables that a key connects with one of `tables`."""
    reached = {other for table in tables for other in naming.neighbours(table)}
    return (reached & set(kept)) - tables


def _worth(tables: Iterable[int], rank: dict[int, int]) -> tuple[int, list[int]]:
    ranks = sorted(rank[table] for table in tables)
    return sum(ranks), ranks


def _ways(naming: Naming, tables: tuple[int, ...]) -> Iterator[Scope]:
    """The tables by their own names, by their initials, and as T1, T2, ... in any order."""
    own = [naming.schema.tables[table].bare_name for table in tables]
    if len({name.lower() for name in own}) == len(tables):
        yield Scope(tables, ("",) * len(tables))
    short = tuple(_initials(name) for name in own)
    if len(set(short)) == len(short) and all(map(naming.spelling.is_free, short)):
        yield Scope(tables, short)
    numbered = tuple(f"T{at}" for at in range(1, len(tables) + 1))
    for order in islice(_orders(naming, tables), 24):
        yield Scope(order, numbered, ordered=True)


def _orders(naming: Naming, tables: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order in which each table but the first joins one before it."""
    pending: list[tuple[int, ...]] = [(table,) for table in reversed(tables)]
    while pending:
        order = pending.pop()
        if len(order) == len(tables):
            yield order
            continue
        near = {other for table in order for other in naming.neighbours(table)}
        rest = [table for table in tables if table not in order and table in near]
        pending += [(*order, table) for table in reversed(rest)]


def _initials(name: str) -> str:
    """ "order_items" -> "oi", "OrderItems" -> "oi", "singer" -> "s"."""
    return "".join(word[0] for word in _WORD.findall(name)).lower()
