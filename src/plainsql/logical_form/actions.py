"""Query tree to action sequence and back. Actions are integers (see `Space`).

The sequence is the tree written out clause by clause, with as few actions as a
reader could follow: `SELECT name FROM t WHERE age > 20` is
`name WHERE age GT 20 END`. Conditions are written without brackets, in
disjunctive normal form, AND binding tighter than OR, as SQL itself reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from plainsql.logical_form.not_covered import NotCovered
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import CODE, CONSTANTS, SYMBOLS
from plainsql.logical_form.tree import (
    AGGREGATES,
    ARITHMETIC,
    COMPARISONS,
    DATE_PARTS,
    LIKE_MODES,
    SET_OPERATIONS,
    Aggregate,
    Arithmetic,
    Between,
    ColumnRef,
    Comparison,
    Condition,
    CountRows,
    DatePart,
    Expression,
    In,
    IsNull,
    Like,
    Literal,
    Logic,
    Order,
    Query,
    Scalar,
    Select,
    SetOperation,
    Share,
    Star,
)

_MAX_PREDICATES = 12  # of a condition in disjunctive normal form


def to_actions(query: Query, space: Space) -> list[int]:
    """The action sequence of a tree.

    Raises `NotCovered` when a table, column or literal is not among the nodes.
    """
    return list(_Writer(space).query(query))


class _Writer:
    def __init__(self, space: Space) -> None:
        self.space = space

    def query(self, query: Query) -> Iterator[int]:
        if isinstance(query, SetOperation):
            yield from self.block(query.left)
            yield CODE[query.operator]
            yield from self.query(query.right)
        else:
            yield from self.block(query)
            yield CODE["END"]

    def block(self, select: Select) -> Iterator[int]:
        if select.distinct:
            yield CODE["DISTINCT"]
        for item in select.items:
            yield from self.expression(item)
        yield from self.clause("WHERE", select.where)
        if select.group_by:
            yield CODE["GROUP"]
            for key in select.group_by:
                yield from self.expression(key)
        yield from self.clause("HAVING", select.having)
        for order in select.order_by:
            yield CODE["DESC" if order.descending else "ASC"]
            yield from self.expression(order.key)
        yield from self.limit(select)
        yield from self.joins(select)

    def clause(self, name: str, condition: Condition | None) -> Iterator[int]:
        if condition is None:
            return
        yield CODE[name]
        for i, conjunction in enumerate(disjunctive_form(condition)):
            if i:
                yield CODE["OR"]
            for j, predicate in enumerate(conjunction):
                if j:
                    yield CODE["AND"]
                yield from self.predicate(predicate)

    def limit(self, select: Select) -> Iterator[int]:
        if select.limit is not None:
            yield CODE["LIMIT"]
            yield self.literal(select.limit)
        if select.limit_per is not None:
            yield CODE["PER"]
            yield from self.expression(select.limit_per)

    def joins(self, select: Select) -> Iterator[int]:
        for table in select.extra_tables:
            yield CODE["JOIN"]
            yield self.space.table_action(table)
        for left, right in select.join_hints:
            yield CODE["ON"]
            yield from self.expression(left)
            yield from self.expression(right)

    def expression(self, node: Expression) -> Iterator[int]:
        match node:
            case ColumnRef():
                if node.instance:
                    yield CODE["SECOND"]
                yield self.space.column_action(node.column)
            case Star():
                yield self.space.table_action(node.table)
            case Literal():
                yield self.literal(node)
            case Aggregate():
                name = node.function + ("_DISTINCT" if node.distinct else "")
                if name in ("MIN_DISTINCT", "MAX_DISTINCT"):
                    name = node.function
                yield CODE[name]
                yield from self.expression(node.argument)
            case Arithmetic():
                yield CODE[node.operator]
                yield from self.expression(node.left)
                yield from self.expression(node.right)
            case DatePart():
                yield CODE[node.part]
                yield from self.expression(node.column)
            case Share():
                yield CODE["SHARE"]
                yield from self.predicate(node.condition)
            case Scalar():
                yield CODE["SUB"]
                yield from self.query(node.query)
            case CountRows():
                yield CODE["COUNT_ROWS"]
                yield from self.query(node.query)

    def predicate(self, node: Condition) -> Iterator[int]:
        if isinstance(node, Logic):
            raise NotCovered("a compound condition where one predicate stands")
        yield from self.expression(node.left)
        if not isinstance(node, Comparison) and node.negated:
            yield CODE["NOT"]
        match node:
            case Comparison():
                yield CODE[node.operator]
                yield from self.expression(node.right)
            case Like():
                yield CODE[node.mode]
                yield self.literal(node.text)
            case Between():
                yield CODE["BETWEEN"]
                yield from self.expression(node.low)
                yield from self.expression(node.high)
            case In():
                yield CODE["IN"]
                yield from self.query(node.query)
            case IsNull():
                yield CODE["IS_NULL"]

    def literal(self, node: Literal) -> int:
        action = self.space.value_action(node.value)
        if action is None:
            raise NotCovered(f"literal {node.value!r}")
        return action


def disjunctive_form(condition: Condition) -> list[list[Condition]]:
    """The condition as an OR of ANDs of predicates. Raises `NotCovered` when long."""
    if not isinstance(condition, Logic):
        return [[condition]]
    parts = [disjunctive_form(item) for item in condition.items]
    if condition.operator == "OR":
        result = [conjunction for part in parts for conjunction in part]
    else:
        result = [[p for piece in choice for p in piece] for choice in product(*parts)]
    if sum(map(len, result)) > _MAX_PREDICATES:
        raise NotCovered("a condition of too many predicates")
    return result


def to_tree(actions: Sequence[int], space: Space) -> Query:
    """The tree of a complete action sequence. Raises ValueError when it is none."""
    reader = _Reader(actions, space)
    try:
        query = reader.query()
    except IndexError:
        raise ValueError("the action sequence ends too early") from None
    if reader.position != len(actions):
        raise ValueError("actions after the end of the query")
    return query


class _Reader:
    def __init__(self, actions: Sequence[int], space: Space) -> None:
        self.actions = actions
        self.space = space
        self.position = 0

    def peek(self) -> str:
        """The next action: a symbol's name, or "table", "column", "value"."""
        action = self.actions[self.position]
        return SYMBOLS[action] if action < len(SYMBOLS) else self.space.kind(action)

    def take(self, *names: str) -> str:
        name = self.peek()
        if names and name not in names:
            raise ValueError(f"{name} where {' or '.join(names)} should stand")
        self.position += 1
        return name

    def maybe(self, name: str) -> bool:
        if self.peek() != name:
            return False
        self.position += 1
        return True

    def query(self) -> Query:
        left = self.block()
        name = self.take("END", *SET_OPERATIONS)
        return left if name == "END" else SetOperation(name, left, self.query())

    def block(self) -> Select:
        distinct = self.maybe("DISTINCT")
        items = [self.expression()]
        while self.peek() in _ITEM_STARTS:
            items.append(self.expression())
        where = self.condition() if self.maybe("WHERE") else None
        group = self.group() if self.maybe("GROUP") else ()
        having = self.condition() if self.maybe("HAVING") else None
        orders = self.orders()
        limit = self.number() if self.maybe("LIMIT") else None
        per = self.column() if self.maybe("PER") else None
        tables, hints = self.joins()
        return Select(
            tuple(items), distinct, where, group, having, orders, limit, per, tables, hints
        )

    def group(self) -> tuple[Expression, ...]:
        keys = [self.expression()]
        while self.peek() in ("column", "SECOND", *DATE_PARTS):
            keys.append(self.expression())
        return tuple(keys)

    def orders(self) -> tuple[Order, ...]:
        orders = []
        while self.peek() in ("ASC", "DESC"):
            descending = self.take() == "DESC"
            orders.append(Order(self.expression(), descending))
        return tuple(orders)

    def joins(self) -> tuple[tuple[int, ...], tuple[tuple[ColumnRef, ColumnRef], ...]]:
        tables, hints = [], []
        while self.peek() in ("JOIN", "ON"):
            if self.take() == "ON":
                hints.append((self.column(), self.column()))
            else:
                tables.append(self.space.table_at(self.actions[self.position]))
                self.take("table")
        return tuple(tables), tuple(hints)

    def condition(self) -> Condition:
        groups = [[self.predicate()]]
        while self.peek() in ("AND", "OR"):
            if self.take() == "AND":
                groups[-1].append(self.predicate())
            else:
                groups.append([self.predicate()])
        parts = [g[0] if len(g) == 1 else Logic("AND", tuple(g)) for g in groups]
        return parts[0] if len(parts) == 1 else Logic("OR", tuple(parts))

    def predicate(self) -> Condition:
        left = self.expression()
        negated = self.maybe("NOT")
        name = self.take(*COMPARISONS, *LIKE_MODES, "BETWEEN", "IN", "IS_NULL")
        if name in COMPARISONS:
            return Comparison(name, left, self.expression())
        if name in LIKE_MODES:
            return Like(name, left, self.text(), negated)
        if name == "BETWEEN":
            return Between(left, self.expression(), self.expression(), negated)
        if name == "IN":
            return In(left, self.query(), negated)
        return IsNull(left, negated)

    def column(self) -> ColumnRef:
        node = self.expression()
        if not isinstance(node, ColumnRef):
            raise ValueError("a column should stand here")
        return node

    def number(self) -> Literal:
        node = self.expression()
        if not isinstance(node, Literal):
            raise ValueError("a number should stand here")
        return node

    def text(self) -> Literal:
        return Literal(str(self.number().value))

    def expression(self) -> Expression:
        action = self.actions[self.position]
        name = self.take()
        if name == "column":
            return ColumnRef(self.space.column_at(action))
        if name == "table":
            return Star(self.space.table_at(action))
        if name == "value":
            return Literal(self.space.value_at(action))
        if name in CONSTANTS:
            return Literal(CONSTANTS[name])
        return self.operation(name)

    def operation(self, name: str) -> Expression:
        if name == "SECOND":
            return ColumnRef(self.column().column, 1)
        function = name.removesuffix("_DISTINCT")
        if function in AGGREGATES:
            return Aggregate(function, self.expression(), name != function)
        if name in ARITHMETIC:
            return Arithmetic(name, self.expression(), self.expression())
        if name in DATE_PARTS:
            return DatePart(name, self.column())
        if name == "SHARE":
            return Share(self.predicate())
        if name in ("SUB", "COUNT_ROWS"):
            return (Scalar if name == "SUB" else CountRows)(self.query())
        raise ValueError(f"{name} where an expression should stand")


_ITEM_STARTS = frozenset(
    (
        *("column", "table", "SECOND", "SHARE", "COUNT_ROWS", "SUB"),
        *AGGREGATES,
        *(f"{name}_DISTINCT" for name in AGGREGATES),
        *ARITHMETIC,
        *DATE_PARTS,
    )
)
