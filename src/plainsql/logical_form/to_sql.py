"""Query tree to SQL text of any dialect, through sqlglot.

Values become literals of the dialect through sqlglot's own quoting; nothing is
pasted. Names are quoted only where the dialect needs it, so that people can
read what they run.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from plainsql.logical_form.joins import Joins, plan_joins
from plainsql.logical_form.tree import (
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
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

_COMPARISONS: dict[str, type[exp.Expr]] = {
    "EQ": exp.EQ,
    "NE": exp.NEQ,
    "LT": exp.LT,
    "LE": exp.LTE,
    "GT": exp.GT,
    "GE": exp.GTE,
}
_ARITHMETIC: dict[str, type[exp.Expr]] = {
    "ADD": exp.Add,
    "MINUS": exp.Sub,
    "TIMES": exp.Mul,
    "OVER": exp.Div,
}
_AGGREGATES: dict[str, type[exp.Expr]] = {
    "COUNT": exp.Count,
    "SUM": exp.Sum,
    "AVG": exp.Avg,
    "MIN": exp.Min,
    "MAX": exp.Max,
}
_SET_OPERATIONS: dict[str, tuple[type[exp.Expr], bool]] = {
    "UNION": (exp.Union, True),
    "UNION_ALL": (exp.Union, False),
    "INTERSECT": (exp.Intersect, True),
    "EXCEPT": (exp.Except, True),
}
_PATTERNS = {"CONTAINS": "%{}%", "STARTS": "{}%", "ENDS": "%{}", "LIKE": "{}"}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# strftime's number for each part; a quarter is computed from the month.
_STRFTIME = {"YEAR": "%Y", "MONTH": "%m", "DAY": "%d", "WEEKDAY": "%w"}
_RESERVED = frozenset(
    "abort action add after all alter analyze and as asc attach autoincrement before begin between "
    "by cascade case cast check collate column commit conflict constraint create cross current "
    "current_date current_time current_timestamp database default deferrable deferred delete desc "
    "detach distinct do drop each else end escape except exclude exclusive exists explain fail "
    "filter first following for foreign from full generated glob group groups having if ignore "
    "immediate in index indexed initially inner insert instead intersect into is isnull join key "
    "last left like limit match materialized natural no not nothing notnull null nulls of offset "
    "on or order others outer over partition plan pragma preceding primary query raise range "
    "recursive references regexp reindex release rename replace restrict returning right rollback "
    "row rows savepoint select set table temp temporary then ties to transaction trigger unbounded "
    "union unique update using vacuum values view virtual when where window with without "
    "user grant authorization lateral analyse array both collation leading only placing some "
    "symmetric trailing verbose rank system lag lead function interval div mod usage "
    "character char int integer float double decimal numeric real".split()
)


def to_sql(query: Query, schema: Schema, graph: JoinGraph, dialect: str | None = None) -> str:
    """SQL text of the tree, in `dialect` (default: the schema's own).

    Raises KeyError for tables or columns that the schema does not have.
    """
    tree = _Renderer(schema, graph, dialect or schema.dialect).query(query)
    return _generate(tree, dialect or schema.dialect)


def _generate(tree: exp.Expr, dialect: str) -> str:
    return str(_generator(dialect)(dialect=dialect).generate(tree, copy=False))


@cache
def _generator(dialect: str) -> Any:
    """The dialect's generator, writing `!=`: more readers (and tools) know it than `<>`."""
    base = Dialect.get_or_raise(dialect).generator_class
    readable: dict[Any, Any] = {
        exp.NEQ: lambda self, node: self.binary(node, "!="),
        exp.Not: _negation,
    }
    return type("Readable", (base,), {"TRANSFORMS": {**base.TRANSFORMS, **readable}})


def _negation(generator: Any, node: exp.Not) -> str:
    """`x NOT IN (…)` and `x IS NOT NULL` rather than `NOT x IN (…)`."""
    inner = node.this
    text = generator.sql(inner)
    if not isinstance(inner, exp.In | exp.Between | exp.Like | exp.Is):
        return f"NOT {text}"
    left = generator.sql(inner.this)
    rest = text[len(left) :].strip()
    if isinstance(inner, exp.Is):
        return f"{left} IS NOT{rest.removeprefix('IS')}"
    return f"{left} NOT {rest}"


def identifier(name: str) -> exp.Identifier:
    """The name as an identifier, quoted when it is not a plain word."""
    plain = _PLAIN_NAME.match(name) and name.lower() not in _RESERVED
    return exp.Identifier(this=name, quoted=not plain)


class _Renderer:
    """Builds sqlglot nodes; `joins` is the FROM of the block being written."""

    def __init__(self, schema: Schema, graph: JoinGraph, dialect: str) -> None:
        self.schema = schema
        self.graph = graph
        self.dialect = dialect
        self.joins = Joins((), True)

    # -- queries ---------------------------------------------------------

    def query(self, query: Query) -> exp.Expr:
        if isinstance(query, Select):
            return self.select(query)
        kind, distinct = _SET_OPERATIONS[query.operator]
        left, right = (self._operand(side, query.operator) for side in (query.left, query.right))
        return kind(this=left, expression=right, distinct=distinct)

    def _operand(self, query: Query, operator: str) -> exp.Expr:
        """One side of a set operation; ORDER BY, LIMIT or another operation needs a shell."""
        inner = self.query(query)
        if isinstance(query, Select) and not query.order_by and query.limit is None:
            return inner
        if isinstance(query, SetOperation) and query.operator == operator != "EXCEPT":
            return inner
        return exp.select("*").from_(exp.Subquery(this=inner, alias=_alias("part")))

    def select(self, select: Select) -> exp.Expr:
        if len(select.items) == 1 and isinstance(select.items[0], CountRows):
            inner = exp.Subquery(this=self.query(select.items[0].query), alias=_alias("found"))
            return exp.select(exp.Count(this=exp.Star())).from_(inner)
        outer, self.joins = self.joins, plan_joins(select, self.schema, self.graph)
        try:
            return self._block(select)
        finally:
            self.joins = outer

    def _block(self, select: Select) -> exp.Expr:
        items = [self.item(item) for item in select.items]
        if select.limit_per is not None:
            return self._top_per(select, items)
        items = [self._titled(*pair) for pair in zip(items, select.items, strict=True)]
        query = self._core(select, items)
        if select.order_by:
            query = query.order_by(*[self._order(key) for key in select.order_by], copy=False)
        if select.limit is not None:
            query = query.limit(self.expression(select.limit), copy=False)
        return query

    def _core(self, select: Select, items: list[exp.Expr]) -> exp.Select:
        query = exp.select(*items, copy=False)
        query = self._from(query)
        if select.distinct:
            query = query.distinct(copy=False)
        if select.where is not None:
            query = query.where(self.condition(select.where), copy=False)
        if select.group_by:
            query = query.group_by(*[self.expression(key) for key in select.group_by], copy=False)
        if select.having is not None:
            query = query.having(self.condition(select.having), copy=False)
        return query

    def _top_per(self, select: Select, items: list[exp.Expr]) -> exp.Select:
        """The first `limit` rows for each value of `limit_per`, by row_number()."""
        assert select.limit_per is not None
        labels = self._labels(select)
        named = [
            exp.Alias(this=item, alias=identifier(label))
            for item, label in zip(items, labels, strict=True)
        ]
        window = exp.Window(
            this=exp.RowNumber(),
            partition_by=[self.expression(select.limit_per)],
            order=exp.Order(expressions=[self._order(key) for key in select.order_by]),
        )
        place = exp.Alias(this=window, alias=exp.to_identifier("place"))
        inner = exp.Subquery(this=self._core(select, [*named, place]), alias=_alias("ranked"))
        names = [exp.Column(this=identifier(label)) for label in labels]
        limit = self.expression(select.limit or Literal(1))
        return (
            exp.select(*names)
            .from_(inner)
            .where(exp.LTE(this=exp.column("place"), expression=limit))
        )

    def _labels(self, select: Select) -> list[str]:
        """Names of the items of a ranked block: their columns' where that is clear."""
        labels: list[str] = []
        for number, item in enumerate(select.items, 1):
            own = self.schema.columns[item.column].name if isinstance(item, ColumnRef) else ""
            label = own or self._title(item) or f"item_{number}"
            clash = label.lower() in {"place", *(other.lower() for other in labels)}
            labels.append(f"item_{number}" if clash else label)
        return labels

    def _title(self, item: Expression) -> str:
        """A name for what SQL would call by its whole text; "" where that reads well.

        Also "" where a column in FROM has the name: ORDER BY would mean the alias.
        """
        title = ""
        if isinstance(item, Share):
            title = "percentage"
        elif isinstance(item, DatePart):
            title = item.part.lower()
        tables = (self.schema.tables[source.table] for source in self.joins.sources)
        taken = {column.name.lower() for table in tables for column in table.columns}
        return "" if title in taken else title

    def _titled(self, rendered: exp.Expr, item: Expression) -> exp.Expr:
        if not isinstance(item, Share | DatePart):
            return rendered
        title = self._title(item)
        return exp.Alias(this=rendered, alias=identifier(title)) if title else rendered

    def _from(self, query: exp.Select) -> exp.Select:
        for position, source in enumerate(self.joins.sources):
            table = self._source(source.table, source.instance)
            if position == 0:
                query = query.from_(table, copy=False)
                continue
            on = [
                exp.EQ(this=self.column(left), expression=self.column(right))
                for left, right in source.on
            ]
            kind = "" if on else "CROSS"
            query = query.join(table, on=exp.and_(*on) if on else None, join_type=kind, copy=False)
        return query

    def _source(self, table: int, instance: int) -> exp.Table:
        name = self.schema.tables[table].name
        alias = _alias(self._label(table, instance)) if instance else None
        return exp.Table(this=identifier(name), alias=alias)

    def _label(self, table: int, instance: int) -> str:
        name = self.schema.tables[table].name
        return f"{name}_{instance + 1}" if instance else name

    # -- expressions -----------------------------------------------------

    def item(self, item: Expression) -> exp.Expr:
        if isinstance(item, Star):
            return exp.Star() if len(self.joins.sources) == 1 else self._table_star(item)
        return self.expression(item)

    def _table_star(self, star: Star) -> exp.Column:
        return exp.Column(this=exp.Star(), table=identifier(self._label(star.table, 0)))

    def column(self, ref: ColumnRef) -> exp.Column:
        column = self.schema.columns[ref.column]
        table = None
        if len(self.joins.sources) > 1:
            table = identifier(self._label(self.schema.table_of[ref.column], ref.instance))
        return exp.Column(this=identifier(column.name), table=table)

    def expression(self, node: Expression) -> exp.Expr:
        match node:
            case ColumnRef():
                return self.column(node)
            case Literal(value=str(text)):
                return exp.Literal.string(text)
            case Literal(value=number):
                return exp.convert(number)
            case Star():
                return exp.Star()
            case Aggregate():
                return self._aggregate(node)
            case Arithmetic():
                return self._arithmetic(node)
            case DatePart():
                return self._date_part(node)
            case Share():
                return self._share(node)
            case Scalar(query=query):
                return exp.Subquery(this=self.query(query))
            case CountRows():
                raise ValueError("CountRows stands only as the single item of a block")

    def _aggregate(self, node: Aggregate) -> exp.Expr:
        argument = self.expression(node.argument)
        if node.distinct:
            argument = exp.Distinct(expressions=[argument])
        return _AGGREGATES[node.function](this=argument)

    def _arithmetic(self, node: Arithmetic) -> exp.Expr:
        left, right = (
            exp.Paren(this=self.expression(side))
            if isinstance(side, Arithmetic)
            else self.expression(side)
            for side in (node.left, node.right)
        )
        if node.operator == "OVER":  # SQLite and PostgreSQL divide integers to integers
            left = exp.Mul(this=left, expression=exp.Literal.number("1.0"))
            return exp.Div(this=left, expression=right, typed=True, safe=True)
        return _ARITHMETIC[node.operator](this=left, expression=right)

    def _date_part(self, node: DatePart) -> exp.Expr:
        column = self.column(node.column)
        if self.dialect == "mysql" and node.part == "WEEKDAY":  # no DOW there, and 1 is Sunday
            number = exp.Anonymous(this="DAYOFWEEK", expressions=[column])
            return exp.Paren(this=exp.Sub(this=number, expression=exp.Literal.number(1)))
        if self.dialect != "sqlite":
            part = "DOW" if node.part == "WEEKDAY" else node.part
            return exp.Extract(this=exp.var(part), expression=column)
        if node.part == "QUARTER":  # (month + 2) / 3, in integers
            month = _strftime("%m", column)
            two_more = exp.Paren(this=exp.Add(this=month, expression=exp.Literal.number(2)))
            return exp.Div(this=two_more, expression=exp.Literal.number(3), typed=True, safe=True)
        return _strftime(_STRFTIME[node.part], column)

    def _share(self, node: Share) -> exp.Expr:
        case = exp.Case(
            ifs=[exp.If(this=self.condition(node.condition), true=exp.Literal.number("100.0"))],
            default=exp.Literal.number("0.0"),
        )
        return exp.Avg(this=case)

    # -- conditions ------------------------------------------------------

    def condition(self, node: Condition) -> exp.Expr:
        match node:
            case Comparison():
                return _COMPARISONS[node.operator](
                    this=self.expression(node.left), expression=self.expression(node.right)
                )
            case Like():
                text = _PATTERNS[node.mode].format(node.text.value)
                like = exp.Like(
                    this=self.expression(node.left), expression=exp.Literal.string(text)
                )
                return exp.Not(this=like) if node.negated else like
            case Between():
                between = exp.Between(
                    this=self.expression(node.left),
                    low=self.expression(node.low),
                    high=self.expression(node.high),
                )
                return exp.Not(this=between) if node.negated else between
            case In():
                inside = exp.In(
                    this=self.expression(node.left),
                    query=exp.Subquery(this=self.query(node.query)),
                )
                return exp.Not(this=inside) if node.negated else inside
            case IsNull():
                null = exp.Is(this=self.expression(node.left), expression=exp.Null())
                return exp.Not(this=null) if node.negated else null
            case Logic():
                return self._logic(node)

    def _logic(self, node: Logic) -> exp.Expr:
        items = [
            exp.Paren(this=self.condition(item))
            if isinstance(item, Logic) and item.operator != node.operator
            else self.condition(item)
            for item in node.items
        ]
        kind = exp.And if node.operator == "AND" else exp.Or
        result = items[0]
        for item in items[1:]:
            result = kind(this=result, expression=item)
        return result

    def _order(self, order: Order) -> exp.Ordered:
        nulls_first = not order.descending  # SQLite's own order: no NULLS clause is written
        return exp.Ordered(
            this=self.expression(order.key), desc=order.descending, nulls_first=nulls_first
        )


def _alias(name: str) -> exp.TableAlias:
    return exp.TableAlias(this=identifier(name))


def _strftime(pattern: str, column: exp.Expr) -> exp.Expr:
    text = exp.Anonymous(this="strftime", expressions=[exp.Literal.string(pattern), column])
    return exp.Cast(this=text, to=exp.DataType.build("INTEGER", dialect="sqlite"))
