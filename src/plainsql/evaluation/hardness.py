"""Spider's hardness of a query: easy, medium, hard or extra.

The rules are those of Spider's `evaluation.py` (`count_component1`,
`count_component2`, `count_others`, `eval_hardness`; Yu et al. 2018,
https://github.com/taoyds/spider), their oddities included, so that a row of our
tables means what the same row means elsewhere: over Spider's development set
they give 248 easy, 446 medium, 174 hard and 166 extra.
"""

from __future__ import annotations

from enum import StrEnum

from plainsql.evaluation.spider_form import (
    NONE,
    ColumnUnit,
    Condition,
    Conditions,
    Query,
    nested_queries,
)


class Hardness(StrEnum):
    """Spider's four levels; UNKNOWN for a query that can't be parsed."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTRA = "extra"
    UNKNOWN = "unknown"


def hardness(query: Query | None) -> Hardness:
    """The level of a parsed query (see `spider_parse.parse`)."""
    if query is None:
        return Hardness.UNKNOWN
    clauses, nested, others = _clauses(query), len(nested_queries(query)), _others(query)
    if nested == 0:
        return _level_of_flat(clauses, others)
    simple = clauses <= 1 and others == 0 and nested == 1
    return Hardness.HARD if simple else Hardness.EXTRA


def _level_of_flat(clauses: int, others: int) -> Hardness:
    if clauses <= 1 and others == 0:
        return Hardness.EASY
    if (clauses <= 1 and others <= 2) or (clauses <= 2 and others < 2):
        return Hardness.MEDIUM
    if (clauses <= 2 and others > 2) or (clauses == 3 and others <= 2):
        return Hardness.HARD
    return Hardness.EXTRA


def _clauses(query: Query) -> int:
    """`count_component1`: clauses beyond SELECT, joins, ORs and LIKEs."""
    clauses = (query.where.units, query.group, query.order, query.limit)
    parts = [_as_spider_reads(part) for part in (query.joins, query.where, query.having)]
    return (
        sum(bool(clause) for clause in clauses)
        + max(len(query.sources) - 1, 0)
        + sum(part.connectors.count("or") for part in parts)
        + sum(unit.operator == "like" for part in parts for unit in part.units)
    )


def _as_spider_reads(conditions: Conditions) -> Conditions:
    """Without what Spider's parser skips: after `= a.column` it reads on to the next AND.

    8 queries of the development set have `ON a.x = b.y OR a.x = b.z`; without
    this they would be one level up.
    """
    units: list[Condition] = list(conditions.units[:1])
    connectors: list[str] = []
    for connector, unit in zip(conditions.connectors, conditions.units[1:], strict=True):
        if connector == "or" and isinstance(units[-1].value, ColumnUnit):
            continue
        units.append(unit)
        connectors.append(connector)
    return Conditions(tuple(units), tuple(connectors))


def _others(query: Query) -> int:
    """`count_others`: more than one of aggregates, columns, conditions, group keys."""
    return sum(
        count > 1
        for count in (
            _aggregates(query),
            len(query.select),
            len(query.where.units),
            len(query.group),
        )
    )


def _aggregates(query: Query) -> int:
    """Aggregates as Spider counts them.

    note: its `count_agg` looks at the first field of whatever it is given, which
    in WHERE and HAVING is the negation, and in HAVING also counts the connectors.
    """
    ordered = [unit for value in query.order for unit in (value.left, value.right)]
    negations = (*query.where.units, *query.having.units)
    return (
        sum(item.aggregate != NONE for item in query.select)
        + sum(unit is not None and unit.aggregate != NONE for unit in ordered)
        + sum(unit.aggregate != NONE for unit in query.group)
        + sum(unit.negated for unit in negations)
        + len(query.having.connectors)
    )
