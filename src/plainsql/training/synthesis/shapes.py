"""Short names for the parts of query trees that recipes are made of."""

from __future__ import annotations

from plainsql.logical_form.tree import (
    Aggregate,
    ColumnRef,
    Comparison,
    Condition,
    DatePart,
    Expression,
    In,
    Like,
    Literal,
    Logic,
    Order,
    Query,
    Scalar,
    Select,
    Star,
)
from plainsql.records import Value


def col(column: int, instance: int = 0) -> ColumnRef:
    """A column."""
    return ColumnRef(column, instance)


def count(table: int) -> Aggregate:
    """COUNT(*) over a table."""
    return Aggregate("COUNT", Star(table))


def agg(function: str, column: int | Expression, distinct: bool = False) -> Aggregate:
    """An aggregate of a column or an expression."""
    return Aggregate(function, col(column) if isinstance(column, int) else column, distinct)


def compare(operator: str, left: int | Expression, value: Value | Expression) -> Comparison:
    """A comparison with a constant or an expression."""
    right = Literal(value) if isinstance(value, str | int | float) else value
    return Comparison(operator, col(left) if isinstance(left, int) else left, right)


def equal(column: int | Expression, value: Value) -> Comparison:
    """column = value."""
    return compare("EQ", column, value)


def both(*conditions: Condition) -> Logic:
    """Conditions joined by AND."""
    return Logic("AND", conditions)


def either(*conditions: Condition) -> Logic:
    """Conditions joined by OR."""
    return Logic("OR", conditions)


def like(mode: str, column: int, text: str, negated: bool = False) -> Like:
    """A text pattern."""
    return Like(mode, col(column), Literal(text), negated)


def among(column: int, query: Query, negated: bool = False) -> In:
    """column [NOT] IN (query)."""
    return In(col(column), query, negated)


def part(name: str, column: int) -> DatePart:
    """A part of a date."""
    return DatePart(name, col(column))


def down(key: int | Expression) -> Order:
    """ORDER BY … DESC."""
    return Order(col(key) if isinstance(key, int) else key, descending=True)


def up(key: int | Expression) -> Order:
    """ORDER BY … ASC."""
    return Order(col(key) if isinstance(key, int) else key)


def value_of(function: str, column: int, where: Condition | None = None) -> Scalar:
    """(SELECT function(column) …) as a value."""
    return Scalar(Select((agg(function, column),), where=where))
