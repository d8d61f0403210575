"""What of a FROM clause the query tree has to say, since inference would miss it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plainsql.logical_form.joins import Joins, plan_joins
from plainsql.logical_form.not_covered import refuse
from plainsql.logical_form.tree import (
    Aggregate,
    ColumnRef,
    Condition,
    Expression,
    Logic,
    Select,
    Star,
    children,
    walk,
)
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

Pair = tuple[ColumnRef, ColumnRef]
_Edge = frozenset[tuple[int, int]]


class JoinReader:
    """Completes blocks with the tables and join hints of their FROM."""

    def __init__(self, schema: Schema, graph: JoinGraph) -> None:
        self.schema = schema
        self.graph = graph

    def complete(
        self, select: Select, sources: Sequence[tuple[int, int]], pairs: Sequence[Pair]
    ) -> Select:
        """The block with what makes `plan_joins` find these sources and join conditions.

        `sources` are (table, instance) in the order of FROM. Raises `NotCovered`
        where no hints lead there.
        """
        select = self._with_tables(select, sources)
        gold = {_edge(pair): pair for pair in pairs}
        select = self._with_hints(select, gold)
        if self._sources(select) != set(sources):
            refuse("a FROM that the keys don't explain")
        if set(gold) - self._edges(select):
            refuse("join conditions that hints don't reach")
        return select

    def _with_tables(self, select: Select, sources: Sequence[tuple[int, int]]) -> Select:
        for table, instance in sources:
            if (table, instance) not in self._sources(select):
                if instance:
                    refuse("a second copy of a table that only joins")
                select = replace(select, extra_tables=(*select.extra_tables, table))
        return self._pin_stars(select)

    def _pin_stars(self, select: Select) -> Select:
        """`count(*)` counts the table that only joins, where there is one."""
        if len(select.extra_tables) != 1 or not _has_count_star(select):
            return select
        pinned = _pin(replace(select, extra_tables=()), select.extra_tables[0])
        return pinned if self._sources(select) == self._sources(pinned) else select

    def _with_hints(self, select: Select, gold: dict[_Edge, Pair]) -> Select:
        """The hints that are missing or, where these don't do, all join conditions."""
        planned = self._edges(select)
        if not gold or planned == set(gold):
            return select
        missing = tuple(pair for edge, pair in gold.items() if edge not in planned)
        select = replace(select, join_hints=missing)
        if set(gold) - self._edges(select):
            select = replace(select, join_hints=tuple(gold.values()))
        return select

    def _plan(self, select: Select) -> Joins:
        return plan_joins(select, self.schema, self.graph)

    def _sources(self, select: Select) -> set[tuple[int, int]]:
        return {(source.table, source.instance) for source in self._plan(select).sources}

    def _edges(self, select: Select) -> set[_Edge]:
        return {_edge(pair) for source in self._plan(select).sources for pair in source.on}


def _edge(pair: Pair) -> _Edge:
    """A join condition whichever way it is written."""
    return frozenset((ref.column, ref.instance) for ref in pair)


def _has_count_star(select: Select) -> bool:
    return any(
        isinstance(node, Aggregate) and isinstance(node.argument, Star)
        for child in children(select)
        for node in walk(child, into_queries=False)
    )


def _pin(select: Select, table: int) -> Select:
    """The block with every `count(*)` counting rows of `table`."""

    def expression(node: Expression) -> Expression:
        if isinstance(node, Aggregate) and isinstance(node.argument, Star):
            return replace(node, argument=Star(table))
        return node

    def condition(node: Condition) -> Condition:
        if isinstance(node, Logic):
            return replace(node, items=tuple(condition(item) for item in node.items))
        return replace(node, left=expression(node.left))

    return replace(
        select,
        items=tuple(expression(item) for item in select.items),
        having=condition(select.having) if select.having is not None else None,
        order_by=tuple(replace(key, key=expression(key.key)) for key in select.order_by),
    )
