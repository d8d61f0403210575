"""What is wrong with a wrong prediction: one class each, by the part that differs.

`classify` walks `RULES` in order and returns the first that finds a difference,
so the classes of a report add up to the wrong answers. Coarse parts come first:
with the wrong tables, the conditions can't be right either. Queries inside
conditions and FROM, and what follows a set operator, are compared last, by the
same rules. Columns joined by a foreign key count as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from plainsql.evaluation.exact_match import key_map
from plainsql.evaluation.spider_form import (
    ColumnUnit,
    Condition,
    Conditions,
    Operand,
    Query,
    SelectItem,
    ValueUnit,
    nested_queries,
    walk,
    with_keys,
)
from plainsql.evaluation.spider_parse import parse
from plainsql.schema.model import Schema


class ErrorClass(StrEnum):
    """The classes, in the order in which they are looked for."""

    CRASHED = "crashed"  # the translator raised something unexpected
    UNANSWERED = "unanswered"
    EXECUTION_FAILED = "does not execute"
    UNPARSED = "not comparable"  # it or the gold is beyond sqlglot
    SET_OPERATION = "set operation"
    NESTING = "nesting"
    TABLES = "tables"
    JOIN = "join condition"
    AGGREGATION = "aggregation"
    SELECT_MISSING = "column missing"
    SELECT_EXTRA = "column extra"
    SELECT_WRONG = "column wrong"
    CONDITION_MISSING = "condition missing"
    CONDITION_EXTRA = "condition extra"
    CONDITION_COLUMN = "condition column"
    CONDITION_OPERATOR = "condition operator"
    CONDITION_VALUE = "condition value"
    CONNECTOR = "and/or"
    GROUP_BY = "group by"
    HAVING = "having"
    ORDER_BY = "order by"
    LIMIT = "limit"
    DISTINCT = "distinct"
    SELECT_ORDER = "column order"
    OTHER = "other"


def classify(gold: str, predicted: str, schema: Schema) -> ErrorClass:
    """The class of a prediction that executes and is wrong."""
    gold_query, predicted_query = parse(gold, schema), parse(predicted, schema)
    if gold_query is None or predicted_query is None:
        return ErrorClass.UNPARSED
    keys = key_map(schema)
    return _difference(gold_query, predicted_query, keys) or ErrorClass.OTHER


def _difference(gold: Query, predicted: Query, keys: Mapping[str, str]) -> ErrorClass | None:
    plain_gold, plain_predicted = _by_keys(gold, keys), _by_keys(predicted, keys)
    for rule in RULES:
        found = rule(plain_gold, plain_predicted)
        if found:
            return found
    for inner_gold, inner_predicted in zip(_inside(gold), _inside(predicted), strict=False):
        found = _difference(inner_gold, inner_predicted, keys)
        if found:
            return found
    return _distinct(gold, predicted) or _select_order(plain_gold, plain_predicted)


def _inside(query: Query) -> list[Query]:
    derived = [source for source in query.sources if isinstance(source, Query)]
    return [*derived, *nested_queries(query)]


def _by_keys(query: Query, keys: Mapping[str, str]) -> Query:
    """`with_keys`, and join conditions with their two sides in alphabetical order."""
    renamed = with_keys(query, keys)
    units = tuple(_sorted_sides(unit, keys) for unit in renamed.joins.units)
    return replace(renamed, joins=replace(renamed.joins, units=units))


def _sorted_sides(unit: Condition, keys: Mapping[str, str]) -> Condition:
    if not isinstance(unit.value, ColumnUnit) or unit.operator != "=":
        return unit
    other = keys.get(unit.value.column, unit.value.column)
    first, second = sorted((unit.left.left.column, other))
    return replace(unit, left=ValueUnit(ColumnUnit(first)), value=ColumnUnit(second))


def _set_operation(gold: Query, predicted: Query) -> ErrorClass | None:
    return ErrorClass.SET_OPERATION if _operators(gold) != _operators(predicted) else None


def _operators(query: Query) -> list[str]:
    follower = query.follower
    return [query.set_operator, *(_operators(follower) if follower else [])]


def _nesting(gold: Query, predicted: Query) -> ErrorClass | None:
    depths = len(list(walk(gold))), len(list(walk(predicted)))
    return ErrorClass.NESTING if depths[0] != depths[1] else None


def _tables(gold: Query, predicted: Query) -> ErrorClass | None:
    same = Counter(_source_names(gold)) == Counter(_source_names(predicted))
    return None if same else ErrorClass.TABLES


def _source_names(query: Query) -> list[str]:
    return ["(query)" if isinstance(source, Query) else source for source in query.sources]


def _join(gold: Query, predicted: Query) -> ErrorClass | None:
    same = Counter(_shapes(gold.joins)) == Counter(_shapes(predicted.joins))
    return None if same and gold.extras == predicted.extras else ErrorClass.JOIN


def _select(gold: Query, predicted: Query) -> ErrorClass | None:
    wanted, given = Counter(gold.select), Counter(predicted.select)
    if wanted == given:
        return None
    if Counter(map(_columns, gold.select)) == Counter(map(_columns, predicted.select)):
        return ErrorClass.AGGREGATION
    if len(predicted.select) == len(gold.select):
        return ErrorClass.SELECT_WRONG
    fewer = len(predicted.select) < len(gold.select)
    return ErrorClass.SELECT_MISSING if fewer else ErrorClass.SELECT_EXTRA


def _columns(item: SelectItem) -> tuple[str, str]:
    """The columns of an output, its aggregates aside."""
    right = item.value.right
    return item.value.left.column, right.column if right else ""


def _where(gold: Query, predicted: Query) -> ErrorClass | None:
    found = _conditions(gold.where, predicted.where)
    if found:
        return found
    same = Counter(gold.where.connectors) == Counter(predicted.where.connectors)
    return None if same else ErrorClass.CONNECTOR


def _conditions(gold: Conditions, predicted: Conditions) -> ErrorClass | None:
    if len(predicted.units) < len(gold.units):
        return ErrorClass.CONDITION_MISSING
    if len(predicted.units) > len(gold.units):
        return ErrorClass.CONDITION_EXTRA
    wanted, given = Counter(_shapes(gold)), Counter(_shapes(predicted))
    if wanted == given:
        return None
    missing, surplus = list((wanted - given).elements()), list((given - wanted).elements())
    if Counter(u.left for u in missing) != Counter(u.left for u in surplus):
        return ErrorClass.CONDITION_COLUMN
    if Counter(map(_operator, missing)) != Counter(map(_operator, surplus)):
        return ErrorClass.CONDITION_OPERATOR
    return ErrorClass.CONDITION_VALUE


def _operator(unit: Condition) -> tuple[ValueUnit, str, bool]:
    return unit.left, unit.operator, unit.negated


def _shapes(conditions: Conditions) -> list[Condition]:
    """The conditions with a mark in place of queries, which are compared on their own."""
    return [
        replace(unit, value=_mark(unit.value), value2=_mark(unit.value2))
        for unit in conditions.units
    ]


def _mark(operand: Operand) -> Operand:
    return "(query)" if isinstance(operand, Query) else operand


def _group(gold: Query, predicted: Query) -> ErrorClass | None:
    same = Counter(gold.group) == Counter(predicted.group)
    return None if same else ErrorClass.GROUP_BY


def _having(gold: Query, predicted: Query) -> ErrorClass | None:
    same = Counter(_shapes(gold.having)) == Counter(_shapes(predicted.having))
    return None if same else ErrorClass.HAVING


def _order(gold: Query, predicted: Query) -> ErrorClass | None:
    return None if _order_terms(gold) == _order_terms(predicted) else ErrorClass.ORDER_BY


def _order_terms(query: Query) -> list[tuple[ValueUnit, str]]:
    return [
        (unit, direction or "asc")
        for unit, direction in zip(query.order, query.directions, strict=True)
    ]


def _limit(gold: Query, predicted: Query) -> ErrorClass | None:
    return None if gold.limit == predicted.limit else ErrorClass.LIMIT


RULES = (
    _set_operation,
    _nesting,
    _tables,
    _join,
    _select,
    _where,
    _group,
    _having,
    _order,
    _limit,
)


def _distinct(gold: Query, predicted: Query) -> ErrorClass | None:
    same = gold.distinct == predicted.distinct and _distincts(gold) == _distincts(predicted)
    return None if same else ErrorClass.DISTINCT


def _distincts(query: Query) -> int:
    """How many DISTINCTs stand inside aggregates."""
    values = [item.value for item in query.select] + list(query.order)
    values += [unit.left for unit in query.having.units]
    return sum(value.left.distinct for value in values)


def _select_order(gold: Query, predicted: Query) -> ErrorClass | None:
    return None if gold.select == predicted.select else ErrorClass.SELECT_ORDER
