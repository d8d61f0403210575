"""Spider's own shape of a query: the records that exact match and hardness count over.

The shape is that of the `sql` field of Spider's data files (Yu et al. 2018,
https://github.com/taoyds/spider, `process_sql.py`), as frozen dataclasses:
conditions are flat lists joined by connectors, a value unit is at most one
arithmetic operation between two columns, and a set operation is a first query
that holds the rest of the chain. What Spider's parser can't express (CASE,
functions, windows) becomes one column whose name is the normalised expression.

Columns are named `table.column` in lower case, `*` is the star.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

NONE = "none"
SET_OPERATORS = ("intersect", "except", "union")


@dataclass(frozen=True, slots=True)
class ColumnUnit:
    """A column, perhaps aggregated: `count(DISTINCT student.major)`."""

    column: str
    aggregate: str = NONE
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class ValueUnit:
    """A column, or one arithmetic operation between two: `t.a - t.b`."""

    left: ColumnUnit
    operator: str = NONE
    right: ColumnUnit | None = None


@dataclass(frozen=True, slots=True)
class SelectItem:
    """One output column. The aggregate is lifted out of the value unit."""

    value: ValueUnit
    aggregate: str = NONE


@dataclass(frozen=True, slots=True)
class Condition:
    """`left operator value`. Values: SQL text, a column, a query, or None."""

    left: ValueUnit
    operator: str
    negated: bool = False
    value: Operand = None
    value2: Operand = None  # the upper bound of BETWEEN


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions in reading order and the AND/OR between them; brackets are lost."""

    units: tuple[Condition, ...] = ()
    connectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT with its clauses; `follower` is what a set operator combines it with."""

    select: tuple[SelectItem, ...] = ()
    distinct: bool = False
    sources: tuple[str | Query, ...] = ()
    joins: Conditions = Conditions()
    where: Conditions = Conditions()
    group: tuple[ColumnUnit, ...] = ()
    having: Conditions = Conditions()
    order: tuple[ValueUnit, ...] = ()
    directions: tuple[str, ...] = ()  # "asc", "desc", "" where none was written
    limit: str | None = None
    set_operator: str = NONE
    follower: Query | None = None
    extras: frozenset[str] = frozenset()  # what Spider lacks: "left join", "union all"

    @property
    def direction(self) -> str:
        """The one direction Spider keeps: the last that was written, else "asc"."""
        return next((word for word in reversed(self.directions) if word), "asc")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Conditions of ON, WHERE and HAVING together."""
        return self.joins.units + self.where.units + self.having.units

    @property
    def connectors(self) -> tuple[str, ...]:
        """Connectors of ON, WHERE and HAVING together."""
        return self.joins.connectors + self.where.connectors + self.having.connectors


Operand = str | ColumnUnit | Query | None


def nested_queries(query: Query) -> tuple[Query, ...]:
    """Queries inside conditions, then the follower; not those inside FROM, as in Spider."""
    operands = (operand for unit in query.conditions for operand in (unit.value, unit.value2))
    inside = tuple(operand for operand in operands if isinstance(operand, Query))
    return inside if query.follower is None else (*inside, query.follower)


def walk(query: Query) -> Iterator[Query]:
    """The query and every query inside it, those of FROM too."""
    yield query
    derived = tuple(source for source in query.sources if isinstance(source, Query))
    for inner in nested_queries(query) + derived:
        yield from walk(inner)


def without_values(query: Query) -> Query:
    """The query with literals and column operands gone, as `rebuild_sql_val` does.

    note: queries inside FROM keep their values, because Spider's script keeps them.
    """
    return replace(
        query,
        joins=_conditions_without_values(query.joins),
        where=_conditions_without_values(query.where),
        having=_conditions_without_values(query.having),
        follower=without_values(query.follower) if query.follower else None,
    )


def _conditions_without_values(conditions: Conditions) -> Conditions:
    units = tuple(
        replace(unit, value=_query_or_none(unit.value), value2=_query_or_none(unit.value2))
        for unit in conditions.units
    )
    return replace(conditions, units=units)


def _query_or_none(operand: Operand) -> Query | None:
    return without_values(operand) if isinstance(operand, Query) else None


def with_keys(query: Query, keys: Mapping[str, str]) -> Query:
    """The query with foreign keys replaced by the column they stand for, no DISTINCT.

    `keys` maps a column to its representative (see `exact_match.key_map`). Only
    columns of the first query's own tables are replaced, also in its followers,
    and queries inside conditions stay as they are: `rebuild_sql_col` does so.
    """
    tables = {source for source in query.sources if isinstance(source, str)}
    usable = {column: key for column, key in keys.items() if column.split(".")[0] in tables}
    return _renamed(query, usable)


def _renamed(query: Query, keys: Mapping[str, str]) -> Query:
    return replace(
        query,
        distinct=False,
        select=tuple(replace(i, value=_renamed_value(i.value, keys)) for i in query.select),
        joins=_renamed_conditions(query.joins, keys),
        where=_renamed_conditions(query.where, keys),
        group=tuple(_renamed_column(unit, keys) for unit in query.group),
        having=_renamed_conditions(query.having, keys),
        order=tuple(_renamed_value(unit, keys) for unit in query.order),
        follower=_renamed(query.follower, keys) if query.follower else None,
    )


def _renamed_conditions(conditions: Conditions, keys: Mapping[str, str]) -> Conditions:
    units = tuple(replace(unit, left=_renamed_value(unit.left, keys)) for unit in conditions.units)
    return replace(conditions, units=units)


def _renamed_value(unit: ValueUnit, keys: Mapping[str, str]) -> ValueUnit:
    right = _renamed_column(unit.right, keys) if unit.right else None
    return replace(unit, left=_renamed_column(unit.left, keys), right=right)


def _renamed_column(unit: ColumnUnit, keys: Mapping[str, str]) -> ColumnUnit:
    return replace(unit, column=keys.get(unit.column, unit.column), distinct=False)
