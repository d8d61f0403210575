"""Queries as strict engines want them: every item grouped, aggregated or a key's own.

SQLite gives a column that is neither grouped nor aggregated the value of some row,
and with one MIN or MAX that of the row it is found in
(https://www.sqlite.org/lang_select.html#bareagg). PostgreSQL, DuckDB and MySQL
refuse. What is done here instead, in this order:

- a column that the group's keys determine (primary keys, joins, constants) joins GROUP BY;
- beside one MIN or MAX, the query becomes "the first row by that order";
- of any other column the smallest value is taken, the same in every run.

What a LIMIT ranks is told apart by keys where it ties: SQLite reads tables and sorts
groups in an order of its own, others take rows as their hash tables and threads bring
them, and the same question would have one answer today and another tomorrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from plainsql.logical_form.joins import Joins
from plainsql.logical_form.tree import (
    Aggregate,
    Arithmetic,
    Between,
    ColumnRef,
    Comparison,
    Condition,
    DatePart,
    Expression,
    In,
    IsNull,
    Like,
    Literal,
    Logic,
    Node,
    Order,
    Select,
    Share,
    Star,
    children,
    walk,
)
from plainsql.schema.model import Schema

Change = Callable[[Expression], Expression]


def strictly_grouped(select: Select, joins: Joins, schema: Schema) -> Select:
    """The same question in a form that strict engines run; `joins` is its FROM."""
    select = _without_distinct(select)
    if not select.group_by and not _aggregates(select):
        return _rows_apart(select, schema)
    select = _groups_apart(select, schema)
    bare = dict.fromkeys(_bare_of(select))
    if not bare:
        return select
    known = determined(select, joins, schema) if select.group_by else frozenset()
    grouped = replace(select, group_by=(*select.group_by, *(ref for ref in bare if ref in known)))
    if all(ref in known for ref in bare):
        return grouped
    extreme = _row_of_extreme(select)
    if extreme is not None:
        return _rows_apart(extreme, schema)
    return _changed(grouped, _smallest(grouped.group_by))


def bare_columns(select: Select, joins: Joins, schema: Schema) -> tuple[ColumnRef, ...]:
    """Columns of which each group may hold several values, though one is asked for."""
    if not select.group_by and not _aggregates(select):
        return ()
    known = determined(select, joins, schema)
    return tuple(ref for ref in dict.fromkeys(_bare_of(select)) if ref not in known)


def with_columns(select: Select, joins: Joins, schema: Schema) -> Select:
    """The block with stars spelled out where it groups: `*` is never grouped."""
    stars = any(isinstance(item, Star) for item in select.items)
    if not stars or not (select.group_by or _aggregates(select) or _orders_apart(select)):
        return select
    items: list[Expression] = []
    for item in select.items:
        items += _columns(item, joins, schema) if isinstance(item, Star) else [item]
    return replace(select, items=tuple(items))


def _columns(star: Star, joins: Joins, schema: Schema) -> Iterator[ColumnRef]:
    alone = len(joins.sources) == 1
    tables = [source.table for source in joins.sources] if alone else [star.table]
    for table in tables:
        yield from (ColumnRef(column) for column in schema.columns_of(table))


# -- what stands outside aggregates ---------------------------------------------


def _clauses(select: Select) -> Iterator[Node]:
    """The parts of a block that see groups, not rows."""
    yield from select.items
    if select.having is not None:
        yield select.having
    yield from select.order_by
    if select.limit_per is not None:
        yield select.limit_per


def _aggregates(select: Select) -> list[Aggregate | Share]:
    inside = (node for part in _clauses(select) for node in walk(part, into_queries=False))
    return [node for node in inside if isinstance(node, Aggregate | Share)]


def _bare_of(select: Select) -> Iterator[ColumnRef]:
    for part in _clauses(select):
        yield from _bare(part, select.group_by)


def _bare(node: Node, group_by: tuple[Expression, ...]) -> Iterator[ColumnRef]:
    """Columns of one row in a place that sees groups."""
    if node in group_by or isinstance(node, Aggregate | Share):
        return
    if isinstance(node, ColumnRef):
        yield node
    for child in children(node):
        if (not isinstance(child, Select) and not hasattr(child, "right")) or isinstance(
            child, Arithmetic | Comparison
        ):
            yield from _bare(child, group_by)


# -- columns that have one value in a group ---------------------------------------


def determined(select: Select, joins: Joins, schema: Schema) -> frozenset[ColumnRef]:
    """The columns of FROM that have one value within each group of the block."""
    known = {node for node in select.group_by if isinstance(node, ColumnRef)}
    known |= set(_constants(select.where))
    equal = [pair for source in joins.sources for pair in source.on]
    before = -1
    while len(known) != before:
        before = len(known)
        for left, right in equal:
            if left in known or right in known:
                known |= {left, right}
        for source in joins.sources:
            known |= _determined_by_key(source.table, source.instance, known, schema)
    return frozenset(known)


def _constants(where: Condition | None) -> Iterator[ColumnRef]:
    """Columns that the condition fixes to one value."""
    parts = where.items if isinstance(where, Logic) and where.operator == "AND" else (where,)
    for part in parts:
        match part:
            case Comparison(operator="EQ", left=ColumnRef() as ref, right=Literal()):
                yield ref


def _determined_by_key(
    table: int, instance: int, known: Iterable[ColumnRef], schema: Schema
) -> set[ColumnRef]:
    own = [ColumnRef(column, instance) for column in schema.columns_of(table)]
    keys = [ref for ref in own if schema.columns[ref.column].primary_key]
    return set(own) if keys and set(keys) <= set(known) else set()


# -- ties ---------------------------------------------------------------------------


def _groups_apart(select: Select, schema: Schema) -> Select:
    """Ranked groups, those of one rank by their keys.

    SQLite sorts one key in the direction of the ranking, but reads the first column of
    a bridge table's key from its index, upwards.
    """
    if not (select.group_by and select.order_by) or select.limit is None:
        return select
    in_order = _leads_a_key(select.group_by[0], schema)
    descending = select.order_by[0].descending and len(select.group_by) == 1 and not in_order
    return _ordered_by(select, select.group_by, descending=descending)


def _leads_a_key(node: Expression, schema: Schema) -> bool:
    """Whether a column is the first of several that are their table's key."""
    if not isinstance(node, ColumnRef):
        return False
    own = schema.columns_of(schema.table_of[node.column])
    keys = [column for column in own if schema.columns[column].primary_key]
    return len(keys) > 1 and keys[0] == node.column


def _rows_apart(select: Select, schema: Schema) -> Select:
    """Ranked rows, those of one rank by the key of the table that is ranked."""
    if select.limit is None or select.distinct:
        return select
    ranked = (node for order in select.order_by for node in walk(order, into_queries=False))
    first = next((node for node in ranked if isinstance(node, ColumnRef)), None)
    if first is None:
        return select
    own = schema.columns_of(schema.table_of[first.column])
    keys = [ColumnRef(c, first.instance) for c in own if schema.columns[c].primary_key]
    return _ordered_by(select, keys, descending=False)


def _ordered_by(select: Select, keys: Iterable[Expression], *, descending: bool) -> Select:
    known = {order.key for order in select.order_by}
    more = tuple(Order(key, descending) for key in keys if key not in known)
    return replace(select, order_by=(*select.order_by, *more))


# -- other forms of a block --------------------------------------------------------


def _orders_apart(select: Select) -> bool:
    """Whether DISTINCT rows are ordered by what they don't show."""
    return select.distinct and any(order.key not in select.items for order in select.order_by)


def _without_distinct(select: Select) -> Select:
    """`SELECT DISTINCT a … ORDER BY b` as groups of a, ordered by their first b."""
    if select.limit == Literal(1):
        select = replace(select, distinct=False)
    grouped = select.group_by or _aggregates(select)
    if grouped or not _orders_apart(select) or any(isinstance(i, Star) for i in select.items):
        return select
    orders = (
        order
        if order.key in select.items
        else replace(order, key=Aggregate("MAX" if order.descending else "MIN", order.key))
        for order in select.order_by
    )
    keys = tuple(dict.fromkeys(select.items))
    return replace(select, distinct=False, group_by=keys, order_by=tuple(orders))


def _row_of_extreme(select: Select) -> Select | None:
    """`SELECT name, max(age)` as the row with the greatest age; None for other blocks."""
    found = list(dict.fromkeys(_aggregates(select)))
    taken = select.having or select.order_by or select.limit or select.distinct
    if taken or len(found) != 1 or len(select.group_by) > 1:
        return None
    (extreme,) = found
    per = select.group_by[0] if select.group_by else None
    if not isinstance(extreme, Aggregate) or extreme.function not in ("MIN", "MAX"):
        return None
    if not isinstance(per, ColumnRef | None) or isinstance(extreme.argument, Star):
        return None
    return replace(
        _changed(select, lambda node: extreme.argument if node == extreme else node),
        where=_and(select.where, IsNull(extreme.argument, negated=True)),
        group_by=(),
        order_by=(Order(extreme.argument, extreme.function == "MAX"),),
        limit=Literal(1),
        limit_per=per,
    )


def _and(where: Condition | None, more: Condition) -> Condition:
    if where is None:
        return more
    items = where.items if isinstance(where, Logic) and where.operator == "AND" else (where,)
    return Logic("AND", (*items, more))


def _smallest(group_by: tuple[Expression, ...]) -> Change:
    """Each value of a single row becomes the smallest of its group."""

    def change(node: Expression) -> Expression:
        if node in group_by or not isinstance(node, ColumnRef | DatePart):
            return node
        inside = node.column if isinstance(node, DatePart) else node
        return node if inside in group_by else Aggregate("MIN", node)

    return change


def _changed(select: Select, change: Change) -> Select:
    """The block with `change` applied to what stands outside of aggregates."""
    having = _condition(select.having, change) if select.having is not None else None
    return replace(
        select,
        items=tuple(_expression(item, change) for item in select.items),
        having=having,
        order_by=tuple(replace(o, key=_expression(o.key, change)) for o in select.order_by),
    )


def _expression(node: Expression, change: Change) -> Expression:
    after = change(node)
    if after is not node or not isinstance(node, Arithmetic):
        return after
    left, right = _expression(node.left, change), _expression(node.right, change)
    return replace(node, left=left, right=right)


def _condition(node: Condition, change: Change) -> Condition:
    match node:
        case Logic():
            return replace(node, items=tuple(_condition(item, change) for item in node.items))
        case Comparison():
            left, right = _expression(node.left, change), _expression(node.right, change)
            return replace(node, left=left, right=right)
        case Between():
            low, high = _expression(node.low, change), _expression(node.high, change)
            return replace(node, left=_expression(node.left, change), low=low, high=high)
        case Like() | In() | IsNull():
            return replace(node, left=_expression(node.left, change))
