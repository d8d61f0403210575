"""Which tables a query reads, bridges included."""

from __future__ import annotations

from plainsql.logical_form.joins import plan_joins
from plainsql.logical_form.tree import Query, Select, walk
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema


def tables_of(query: Query, schema: Schema, graph: JoinGraph) -> frozenset[int]:
    """Table indexes in FROM of any block of the query."""
    blocks = [node for node in walk(query) if isinstance(node, Select)]
    return frozenset(
        source.table for block in blocks for source in plan_joins(block, schema, graph).sources
    )
