"""FROM and ON, inferred: the cheapest tree of keys that joins the tables in use."""

from __future__ import annotations

from dataclasses import dataclass

from plainsql.logical_form.tree import ColumnRef, Select, Star, children, walk
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema


@dataclass(frozen=True, slots=True)
class Source:
    """One table of FROM; `on` pairs its columns with those of earlier sources."""

    table: int
    instance: int
    on: tuple[tuple[ColumnRef, ColumnRef], ...]


@dataclass(frozen=True, slots=True)
class Joins:
    """The sources of one SELECT block; `connected` is False for a cross join."""

    sources: tuple[Source, ...]
    connected: bool


def used_sources(select: Select, schema: Schema) -> tuple[tuple[int, int], ...]:
    """(table, instance) pairs the block mentions, in order of first mention."""
    found: dict[tuple[int, int], None] = {}
    for child in children(select):
        for node in walk(child, into_queries=False):
            if isinstance(node, ColumnRef):
                found[schema.table_of[node.column], node.instance] = None
            elif isinstance(node, Star):
                found[node.table, 0] = None
    for table in select.extra_tables:
        found[table, 0] = None
    return tuple(found)


def plan_joins(select: Select, schema: Schema, graph: JoinGraph) -> Joins:
    """The sources of the block, each after the first with its join condition."""
    used = used_sources(select, schema)
    first = [table for table, instance in used if instance == 0]
    first += [table for table, instance in used if instance and table not in first]
    plain = [
        (left.column, right.column)
        for left, right in select.join_hints
        if left.instance == right.instance == 0
    ]
    tree = graph.join_tree(first, plain)
    sources = [Source(table, 0, ()) for table in tree.tables[:1]]
    edges = {edge.right: edge for edge in tree.edges}
    for table in tree.tables[1:]:
        pairs = edges[table].pairs if table in edges else ()
        on = tuple((ColumnRef(left), ColumnRef(right)) for left, right in pairs)
        sources.append(Source(table, 0, on))
    connected = tree.connected
    for table, instance in used:
        if instance:
            source = _second_instance(table, instance, select, schema, graph, sources)
            connected &= bool(source.on)
            sources.append(source)
    return Joins(tuple(sources), connected)


def _second_instance(
    table: int,
    instance: int,
    select: Select,
    schema: Schema,
    graph: JoinGraph,
    placed: list[Source],
) -> Source:
    """A second copy of a table: joined by a hint, else by a key not yet in use."""
    there = {(source.table, source.instance) for source in placed}
    for left, right in select.join_hints:
        for a, b in ((left, right), (right, left)):
            joins = (schema.table_of[a.column], a.instance) in there
            if joins and (schema.table_of[b.column], b.instance) == (table, instance):
                return Source(table, instance, ((a, b),))
    taken = {frozenset((a.column, b.column)) for s in placed for a, b in s.on}
    spare = [
        edge
        for source in placed
        if source.instance == 0
        for edge in graph.edges_between(source.table, table)
    ]
    spare.sort(key=lambda edge: frozenset(edge.pairs[0]) in taken)
    if not spare:
        return Source(table, instance, ())
    edge = spare[0]
    own = set(schema.columns_of(table)) if edge.left != edge.right else set()
    pairs = [(a, b) if b in own or not own else (b, a) for a, b in edge.pairs]
    return Source(table, instance, tuple((ColumnRef(a), ColumnRef(b, instance)) for a, b in pairs))
