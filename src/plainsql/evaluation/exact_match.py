"""Exact set match: are two queries the same, clause by clause, values aside?

The rule is that of Spider's `evaluation.py` (Yu et al. 2018,
https://github.com/taoyds/spider): the sets of output columns, conditions,
connectors, group keys, ordering, keywords and tables agree, and so do the two
sides of a set operation. DISTINCT and literals are ignored, and columns joined
by a foreign key count as one. Reordered joins and conditions match; two
differently written queries of the same meaning don't: read it beside EX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from plainsql.evaluation.spider_form import NONE, Query, with_keys, without_values
from plainsql.evaluation.spider_parse import parse
from plainsql.schema.model import Schema


def exact_match(gold: str, predicted: str, schema: Schema) -> bool | None:
    """Whether the two queries match; None when the gold itself can't be parsed."""
    gold_query = parse(gold, schema)
    if gold_query is None:
        return None
    predicted_query = parse(predicted, schema)
    return predicted_query is not None and same_query(gold_query, predicted_query, schema)


def same_query(gold: Query, predicted: Query, schema: Schema) -> bool:
    """Exact set match of two parsed queries."""
    keys = key_map(schema)
    return _match(
        with_keys(without_values(gold), keys),
        with_keys(without_values(predicted), keys),
    )


def key_map(schema: Schema) -> dict[str, str]:
    """For each column of a foreign key, the column that stands for all it joins.

    note: as `build_foreign_key_map` does, a key joins the first group that has
    either of its columns; two groups that meet later are not merged.
    """
    groups: list[set[str]] = []
    for first, second in _key_pairs(schema):
        group = next((g for g in groups if first in g or second in g), None)
        if group is None:
            group = set()
            groups.append(group)
        group.update((first, second))
    place = {f"{c.table}.{c.name}".lower(): i for i, c in enumerate(schema.columns)}
    return {
        column: min(group, key=lambda name: place.get(name, 0))
        for group in groups
        for column in group
    }


def _key_pairs(schema: Schema) -> Iterator[tuple[str, str]]:
    for key in schema.foreign_keys:
        if not key.inferred:
            for column, other in zip(key.columns, key.ref_columns, strict=True):
                yield f"{key.table}.{column}".lower(), f"{key.ref_table}.{other}".lower()


def _match(gold: Query, predicted: Query) -> bool:
    return all(rule(gold, predicted) for rule in RULES)


def _select(gold: Query, predicted: Query) -> bool:
    return Counter(gold.select) == Counter(predicted.select)


def _where(gold: Query, predicted: Query) -> bool:
    return Counter(gold.where.units) == Counter(predicted.where.units)


def _connectors(gold: Query, predicted: Query) -> bool:
    return set(gold.where.connectors) == set(predicted.where.connectors)


def _group(gold: Query, predicted: Query) -> bool:
    return Counter(_bare_group(gold)) == Counter(_bare_group(predicted))


def _bare_group(query: Query) -> list[str]:
    return [unit.column.split(".", 1)[-1] for unit in query.group]


def _having(gold: Query, predicted: Query) -> bool:
    if not gold.group and not predicted.group:
        return True
    gold_keys = [unit.column for unit in gold.group]
    predicted_keys = [unit.column for unit in predicted.group]
    return gold_keys == predicted_keys and gold.having == predicted.having


def _order(gold: Query, predicted: Query) -> bool:
    """Only the direction written last counts, and of LIMIT only that it is there."""
    if not gold.order and not predicted.order:
        return True
    limits = (gold.limit is None) == (predicted.limit is None)
    return limits and gold.order == predicted.order and gold.direction == predicted.direction


def _set_operation(gold: Query, predicted: Query) -> bool:
    if gold.set_operator != predicted.set_operator:
        return False
    if gold.follower is None or predicted.follower is None:
        return gold.follower is predicted.follower
    return _match(gold.follower, predicted.follower)


def _keywords(gold: Query, predicted: Query) -> bool:
    return keywords(gold) == keywords(predicted)


def keywords(query: Query) -> set[str]:
    """The keywords Spider compares, and those it doesn't know (`extras`)."""
    clauses = {
        "where": query.where.units,
        "group": query.group,
        "having": query.having.units,
        "order": query.order,
        query.direction: query.order,
        "limit": query.limit,
        "or": "or" in query.connectors,
        "not": any(unit.negated for unit in query.conditions),
        "in": any(unit.operator == "in" for unit in query.conditions),
        "like": any(unit.operator == "like" for unit in query.conditions),
        query.set_operator: query.set_operator != NONE,
    }
    return {word for word, present in clauses.items() if present} | query.extras


def _tables(gold: Query, predicted: Query) -> bool:
    return Counter(gold.sources) == Counter(predicted.sources)


RULES = (
    _select,
    _where,
    _connectors,
    _group,
    _having,
    _order,
    _set_operation,
    _keywords,
    _tables,
)
