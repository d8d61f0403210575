"""What speaks for a candidate beside its probability: input of the re-ranker.

Counts over the query tree and the links. Their order is part of a trained
re-ranker (see `choosing`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.grammar import State
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import SYMBOLS
from plainsql.logical_form.tables import tables_of
from plainsql.logical_form.tree import (
    Aggregate,
    Between,
    ColumnRef,
    Comparison,
    Literal,
    Logic,
    Query,
    Select,
    SetOperation,
    Star,
    walk,
)
from plainsql.records import Links, MatchKind
from plainsql.translators.parser.beam import Beam

_S = len(SYMBOLS)
# Words of a question that call for something in the query, by what they call for.
CUES: dict[str, frozenset[str]] = {
    "count": frozenset("many number count often".split()),
    "average": frozenset("average mean avg".split()),
    "sum": frozenset("total sum altogether combined".split()),
    "extreme": frozenset(
        "most least highest lowest largest smallest maximum minimum max min oldest youngest "
        "longest shortest biggest earliest latest best worst top fewest greatest newest".split()
    ),
    "group": frozenset("each every per".split()),
    "distinct": frozenset("different distinct unique".split()),
    "order": frozenset(
        "order ordered sort sorted ascending descending alphabetical alphabetically rank".split()
    ),
    "negation": frozenset("not no without never n't except don doesn neither nor".split()),
    "either": frozenset("or either".split()),
    "both": frozenset("both".split()),
    "compare": frozenset(
        "more less than above below over under greater fewer older younger before after least "
        "between exceed larger smaller higher lower".split()
    ),
    "name": frozenset("name names title titles who".split()),
    "id": frozenset("id ids identifier code".split()),
}
SIGNALS: tuple[str, ...] = (
    "log_prob",
    "log_prob_per_step",
    "steps",
    "used_gain",
    "used_worst",
    "unused_best",
    "named_columns_used",
    "named_columns_missed",
    "unnamed_columns_used",
    "named_tables_used",
    "named_tables_missed",
    "unnamed_tables_used",
    "cells_used",
    "cells_missed",
    "numbers_used",
    "numbers_missed",
    "values_off_column",
    "select_items",
    "id_selected",
    "name_selected",
    "aggregates",
    "conditions",
    "nested",
    "set_operations",
    "distinct",
    "grouped",
    "ordered",
    "limited",
    "tables",
    "extra_tables",
    *(f"{cue}_{how}" for cue in CUES for how in ("unmet", "uncalled")),
)


def signals(
    beam: Beam[State],
    query: Query,
    links: Links,
    space: Space,
    used_logits: NDArray[np.float32] | None,
) -> tuple[float, ...]:
    """One number for each of SIGNALS."""
    steps = len(beam.actions)
    parts = (
        (beam.log_prob, beam.log_prob / max(steps, 1), float(steps)),
        _usage(beam, space, used_logits),
        _names(query, links, space),
        _values(query, links, space),
        _shape(query, space),
        _cues(query, links, space),
    )
    return tuple(float(value) for part in parts for value in part)


def _usage(
    beam: Beam[State], space: Space, used_logits: NDArray[np.float32] | None
) -> tuple[float, ...]:
    """How the nodes used agree with the encoder's own guess which are needed."""
    if used_logits is None:
        return (0.0, 0.0, 0.0)
    logits = np.asarray(used_logits).reshape(-1)
    used = np.zeros(space.node_count, bool)
    used[[action - _S for action in beam.actions if action >= _S]] = True
    log_on, log_off = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    gain = float(np.where(used, log_on, log_off).sum())
    worst = float(log_on[used].min()) if used.any() else 0.0
    best = float(log_on[~used].max()) if (~used).any() else -10.0
    return gain, worst, best


def _names(query: Query, links: Links, space: Space) -> tuple[float, ...]:
    columns = {node.column for node in walk(query) if isinstance(node, ColumnRef)}
    tables = tables_of(query, space.schema, space.graph)
    exact = [n for n in links.names if n.kind is MatchKind.EXACT]
    named = {n.column for n in exact if n.column is not None}
    named_tables = {n.table for n in exact if n.column is None}
    # A span may name several columns of one name: one used explains the words.
    spans: dict[tuple[int, int], set[int]] = {}
    for n in exact:
        if n.column is not None:
            spans.setdefault((n.start, n.end), set()).add(n.column)
    missed = sum(not (found & columns) for found in spans.values())
    return (
        len(columns & named),
        missed,
        len(columns - named),
        len(tables & named_tables),
        len(named_tables - tables),
        len(tables - named_tables),
    )


def _values(query: Query, links: Links, space: Space) -> tuple[float, ...]:
    literals = {str(node.value) for node in walk(query) if isinstance(node, Literal)}
    columns = {node.column for node in walk(query) if isinstance(node, ColumnRef)}
    cells = [v for v in space.values if isinstance(v.value, str)]
    numbers = [v for v in space.values if not isinstance(v.value, str)]
    off = sum(
        bool(v.columns) and not set(v.columns) & columns for v in cells if str(v.value) in literals
    )
    return (
        sum(str(v.value) in literals for v in cells),
        sum(str(v.value) not in literals for v in cells),
        sum(str(v.value) in literals for v in numbers),
        sum(str(v.value) not in literals for v in numbers),
        off,
    )


def _shape(query: Query, space: Space) -> tuple[float, ...]:
    first = query.left if isinstance(query, SetOperation) else query
    kinds = Counter(type(node) for node in walk(query))
    blocks = [node for node in walk(query) if isinstance(node, Select)]
    selected = [item for item in first.items if isinstance(item, ColumnRef)]
    names = [space.schema.columns[item.column] for item in selected]
    stars = sum(isinstance(item, Star) for item in first.items)
    return (
        len(first.items) + stars,
        sum(c.primary_key or c.natural.lower().endswith(" id") for c in names),
        sum("name" in c.natural.lower() or "title" in c.natural.lower() for c in names),
        kinds[Aggregate],
        sum(block.where is not None or block.having is not None for block in blocks),
        len(blocks) - 1 - kinds[SetOperation],
        kinds[SetOperation],
        sum(block.distinct for block in blocks),
        sum(bool(block.group_by) for block in blocks),
        sum(bool(block.order_by) for block in blocks),
        sum(block.limit is not None for block in blocks),
        len(tables_of(query, space.schema, space.graph)),
        sum(len(block.extra_tables) for block in blocks),
    )


def _cues(query: Query, links: Links, space: Space) -> tuple[float, ...]:
    """For each cue: called for and not there; there and not called for."""
    words = {word.text.lower() for word in links.question.words}
    there = _answered(query, space)
    result: list[float] = []
    for cue, called in CUES.items():
        asked = bool(words & called)
        result += [asked and cue not in there, not asked and cue in there]
    return tuple(result)


def _answered(query: Query, space: Space) -> set[str]:
    """The cues that the query would answer."""
    nodes = list(walk(query))
    functions = {node.function for node in nodes if isinstance(node, Aggregate)}
    blocks = [node for node in nodes if isinstance(node, Select)]
    items = [item for block in blocks for item in block.items if isinstance(item, ColumnRef)]
    names = [space.schema.columns[item.column] for item in items]
    operations = {node.operator for node in nodes if isinstance(node, SetOperation)}
    compared = {node.operator for node in nodes if isinstance(node, Comparison)}
    found = {
        "count": "COUNT" in functions,
        "average": "AVG" in functions,
        "sum": "SUM" in functions,
        "extreme": bool(functions & {"MIN", "MAX"}) or any(b.limit is not None for b in blocks),
        "group": any(block.group_by for block in blocks),
        "distinct": any(block.distinct for block in blocks)
        or any(isinstance(node, Aggregate) and node.distinct for node in nodes),
        "order": any(block.order_by and block.limit is None for block in blocks),
        "negation": "EXCEPT" in operations
        or "NE" in compared
        or any(getattr(node, "negated", False) for node in nodes),
        "either": "UNION" in operations
        or any(isinstance(node, Logic) and node.operator == "OR" for node in nodes),
        "both": "INTERSECT" in operations,
        "compare": bool(compared & {"LT", "LE", "GT", "GE"})
        or any(isinstance(node, Between) for node in nodes),
        "name": any("name" in c.natural.lower() or "title" in c.natural.lower() for c in names),
        "id": any(c.primary_key or c.natural.lower().endswith((" id", " code")) for c in names),
    }
    return {cue for cue, yes in found.items() if yes}
