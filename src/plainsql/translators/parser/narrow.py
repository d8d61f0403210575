"""Fits a large schema into the encoder: the tables and columns the question may need.

Nothing is dropped while the schema fits. Beyond that, tables are kept by their
links until the budget is full, and the bridges that join them are kept too: a
pruned join key costs more than a distractor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plainsql.records import Links, MatchKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from plainsql.translators.parser.features import FeatureBuilder

BUDGET = 300  # wordpieces of schema: 160 for the question and 50 for cells remain
_WEIGHT = {MatchKind.EXACT: 3.0, MatchKind.PARTIAL: 1.0, MatchKind.SOFT: 0.7}
_CELL = 2.5
_TABLE_BONUS = 1.5  # a named table counts more than a column of that name
_SEEDS = 4  # best tables whose bridges are kept


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Tables in reach and the columns kept of each, both in the schema's order."""

    tables: tuple[int, ...]
    columns: tuple[tuple[int, ...], ...]
    complete: bool  # nothing was dropped


def narrow(
    builder: FeatureBuilder, schema: Schema, graph: JoinGraph, links: Links, budget: int = BUDGET
) -> Narrowed:
    """The part of `schema` that fits into `budget` wordpieces, linked parts first."""
    everything = tuple(range(len(schema.tables)))
    small = len(schema.columns) <= budget  # counting the wordpieces of thousands takes long
    if small and sum(builder.length(schema, table) for table in everything) <= budget:
        whole = tuple(tuple(schema.columns_of(table)) for table in everything)
        return Narrowed(everything, whole, True)
    scores = column_scores(schema, links)
    chosen = _choose(builder, schema, graph, scores, table_scores(schema, links, scores), budget)
    tables = tuple(sorted(chosen))
    return Narrowed(tables, tuple(chosen[table] for table in tables), False)


def column_scores(schema: Schema, links: Links) -> dict[int, float]:
    """How strongly the question points to each linked column."""
    scores: dict[int, float] = {}
    for name in links.names:
        if name.column is not None:
            gain = _WEIGHT[name.kind] * name.score
            scores[name.column] = max(scores.get(name.column, 0.0), gain)
    for value in links.values:
        for column in value.columns:
            if isinstance(value.value, str):
                scores[column] = scores.get(column, 0.0) + _CELL * value.score
    return scores


def table_scores(schema: Schema, links: Links, columns: dict[int, float]) -> dict[int, float]:
    """The same for tables: their own name and their best three columns.

    Where linking has chosen tables of a large schema, it is their order that counts.
    """
    if links.tables:
        return {table: float(len(links.tables) - at) for at, table in enumerate(links.tables)}
    scores: dict[int, float] = {}
    for name in links.names:
        if name.column is None:
            gain = _TABLE_BONUS * _WEIGHT[name.kind] * name.score
            scores[name.table] = max(scores.get(name.table, 0.0), gain)
    of_table: dict[int, list[float]] = {}
    for column, score in columns.items():
        of_table.setdefault(schema.table_of[column], []).append(score)
    for table, found in of_table.items():
        scores[table] = scores.get(table, 0.0) + sum(sorted(found)[-3:])
    return scores


def _choose(
    builder: FeatureBuilder,
    schema: Schema,
    graph: JoinGraph,
    columns: dict[int, float],
    tables: dict[int, float],
    budget: int,
) -> dict[int, tuple[int, ...]]:
    """Tables with their kept columns, best first until the budget is full."""
    ranked = sorted(range(len(schema.tables)), key=lambda t: (-tables.get(t, 0.0), t))
    order = list(dict.fromkeys([*_with_bridges(graph, ranked, tables), *ranked]))
    chosen: dict[int, tuple[int, ...]] = {}
    room = budget
    share = max(budget // 3, budget // max(1, min(len(ranked), 8)))
    keys = schema.key_columns
    for table in order:
        kept = _columns_within(builder, schema, table, columns, keys, min(room, share))
        if not kept:
            continue
        room -= _length(builder, schema, table, kept)
        chosen[table] = kept
        if room < 8:
            break
    return chosen


def _with_bridges(graph: JoinGraph, ranked: Sequence[int], scores: dict[int, float]) -> list[int]:
    """The best tables, each followed by what joins it to those before."""
    order: list[int] = []
    for table in [t for t in ranked[:_SEEDS] if scores.get(t)]:
        order.append(table)
        tree = graph.join_tree(order)
        if tree.connected and len(tree.tables) <= 2 * _SEEDS:
            order += [t for t in tree.tables if t not in order]
    return order


def _columns_within(
    builder: FeatureBuilder,
    schema: Schema,
    table: int,
    scores: dict[int, float],
    keys: frozenset[int],
    room: int,
) -> tuple[int, ...]:
    """The columns of a table that fit: linked ones, then keys, then the first ones."""
    own = schema.columns_of(table)
    ranked = sorted(own, key=lambda c: (-scores.get(c, 0.0), c not in keys, c))
    room -= len(builder.pieces(schema.tables[table].natural)) + 2
    kept = []
    for column in ranked:
        room -= len(builder.pieces(schema.columns[column].natural)) + 1
        if room < 0:
            break
        kept.append(column)
    return tuple(sorted(kept))


def _length(builder: FeatureBuilder, schema: Schema, table: int, kept: Sequence[int]) -> int:
    names = sum(len(builder.pieces(schema.columns[c].natural)) + 1 for c in kept)
    return len(builder.pieces(schema.tables[table].natural)) + 2 + names
