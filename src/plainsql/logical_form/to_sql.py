"""Query tree to SQL text of any dialect, through sqlglot.

Values become literals of the dialect through sqlglot's own quoting; nothing is
pasted. Names are quoted only where the dialect needs it, so that people can
read what they run. Every dialect's text gives the rows that SQLite's gives, as
far as the engine can: docs/dialects.md states each difference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from plainsql.logical_form.grouping import strictly_grouped, with_columns
from plainsql.logical_form.joins import plan_joins
from plainsql.logical_form.kinds import Kind, common_kind, item_kinds
from plainsql.logical_form.to_sql_expressions import Expressions, Kinds
from plainsql.logical_form.tree import (
    Aggregate,
    ColumnRef,
    CountRows,
    DatePart,
    Expression,
    Literal,
    Order,
    Query,
    Select,
    SetOperation,
    Share,
    Star,
)
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

_SET_OPERATIONS: dict[str, tuple[type[exp.Expr], bool]] = {
    "UNION": (exp.Union, True),
    "UNION_ALL": (exp.Union, False),
    "INTERSECT": (exp.Intersect, True),
    "EXCEPT": (exp.Except, True),
}


def to_sql(query: Query, schema: Schema, graph: JoinGraph, dialect: str | None = None) -> str:
    """SQL text of the tree, in `dialect` (default: the schema's own).

    Raises KeyError for tables or columns that the schema does not have.
    """
    tree = _Renderer(schema, graph, dialect or schema.dialect).query(query)
    return _generate(tree, dialect or schema.dialect)


def _generate(tree: exp.Expr, dialect: str) -> str:
    generator: Any = Dialect.get_or_raise(dialect).generator()
    kind: Any = type(generator)
    # note: a private name; sqlglot's compiled build forbids to subclass a generator instead
    generator._dispatch = _readable(kind)
    return str(generator.generate(tree, copy=False))


@cache
def _readable(generator: Callable[[], Any]) -> dict[Any, Any]:
    """How the generator writes each node, with `!=`: more readers (and tools) know it than `<>`."""
    readable: dict[Any, Any] = {
        exp.NEQ: lambda self, node: self.binary(node, "!="),
        exp.Not: _negation,
    }
    return {**generator()._dispatch, **readable}


def _negation(generator: Any, node: exp.Not) -> str:
    """`x NOT IN (…)` and `x IS NOT NULL` rather than `NOT x IN (…)`."""
    inner = node.this
    text = generator.sql(inner)
    if not isinstance(inner, exp.In | exp.Between | exp.Like | exp.ILike | exp.Is):
        return f"NOT {text}"
    left = generator.sql(inner.this)
    rest = text[len(left) :].strip()
    if not text.startswith(left):  # LOWER(x) LIKE LOWER('...'), where there is no ILIKE
        return f"NOT {text}"
    if isinstance(inner, exp.Is):
        return f"{left} IS NOT{rest.removeprefix('IS')}"
    return f"{left} NOT {rest}"


class _Renderer(Expressions):
    """Builds the nodes of whole queries."""

    def __init__(self, schema: Schema, graph: JoinGraph, dialect: str) -> None:
        super().__init__(schema, dialect)
        self.graph = graph

    # -- queries ---------------------------------------------------------

    def query(self, query: Query, wanted: Kinds = ()) -> exp.Expr:
        if isinstance(query, Select):
            return self.select(query, wanted)
        kind, distinct = _SET_OPERATIONS[query.operator]
        wanted = wanted or self._agreed(query)
        sides = (query.left, query.right)
        left, right = (self._operand_of(side, query.operator, wanted) for side in sides)
        return kind(this=left, expression=right, distinct=distinct)

    def _agreed(self, query: Query) -> Kinds:
        """The kinds that the items of a set operation's blocks must be cast to."""
        if self.rules.loose:
            return ()
        blocks = [item_kinds(block, self.schema, self.dialect) for block in _blocks(query)]
        if len({len(kinds) for kinds in blocks}) > 1:  # a star stands for several columns
            return ()
        return [common_kind(kinds) for kinds in zip(*blocks, strict=True)]

    def _operand_of(self, query: Query, operator: str, wanted: Kinds) -> exp.Expr:
        """One side of a set operation; ORDER BY, LIMIT or another operation needs a shell."""
        inner = self.query(query, wanted)
        plain = isinstance(query, Select) and not query.order_by and query.limit is None
        if plain and not inner.args.get("order"):
            return inner
        if isinstance(query, SetOperation) and query.operator == operator != "EXCEPT":
            return inner
        return self._shell(inner, exp.Star(), "part")

    def _shell(self, inner: exp.Expr, item: exp.Expr, alias: str) -> exp.Select:
        """`SELECT item FROM (inner) AS alias`."""
        if not self.rules.repeated_names:
            _tell_apart(inner)
        return exp.select(item).from_(exp.Subquery(this=inner, alias=self._alias(alias)))

    def select(self, select: Select, wanted: Kinds = ()) -> exp.Expr:
        if len(select.items) == 1 and isinstance(select.items[0], CountRows):
            inner = self.query(select.items[0].query)
            return self._shell(inner, exp.Count(this=exp.Star()), "found")
        outer, self.joins = self.joins, plan_joins(select, self.schema, self.graph)
        try:
            return self._block(select, wanted)
        finally:
            self.joins = outer

    def _block(self, select: Select, wanted: Kinds) -> exp.Expr:
        shown = select
        if not self.rules.loose:
            shown = with_columns(select, self.joins, self.schema)
            select = strictly_grouped(shown, self.joins, self.schema)
        items = [self.item(item) for item in select.items]
        if len(wanted) == len(items):
            pairs = zip(select.items, wanted, strict=True)
            items = [self._wanted_item(item, kind) for item, kind in pairs]
        if select.limit_per is not None:
            return self._top_per(select, shown, items)
        triples = zip(items, select.items, shown.items, strict=True)
        query = self._core(select, [self._titled(*triple) for triple in triples])
        if select.order_by:
            query = query.order_by(*[self._order(key) for key in select.order_by], copy=False)
        if select.limit is not None:
            query = query.limit(self.expression(select.limit), copy=False)
        return query

    def _wanted_item(self, item: Expression, kind: Kind) -> exp.Expr:
        return self.item(item) if isinstance(item, Star) else self.as_kind(item, kind)

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

    def _top_per(self, select: Select, shown: Select, items: list[exp.Expr]) -> exp.Select:
        """The first `limit` rows for each value of `limit_per`, by row_number()."""
        assert select.limit_per is not None
        labels = self._labels(shown)
        named = [
            exp.Alias(this=item, alias=self.name(label))
            for item, label in zip(items, labels, strict=True)
        ]
        window = exp.Window(
            this=exp.RowNumber(),
            partition_by=[self.expression(select.limit_per)],
            order=exp.Order(expressions=[self._order(key) for key in select.order_by]),
        )
        place = exp.Alias(this=window, alias=exp.to_identifier("place"))
        inner = exp.Subquery(this=self._core(select, [*named, place]), alias=self._alias("ranked"))
        names = [exp.Column(this=self.name(label)) for label in labels]
        limit = self.expression(select.limit or Literal(1))
        return (
            exp.select(*names)
            .from_(inner)
            .where(exp.LTE(this=exp.column("place"), expression=limit))
        )

    # -- names of columns ------------------------------------------------

    def _labels(self, select: Select) -> list[str]:
        """Names of the items of a ranked block: their columns' where that is clear."""
        labels: list[str] = []
        for number, item in enumerate(select.items, 1):
            own = self.schema.columns[item.column].name if isinstance(item, ColumnRef) else ""
            label = own or self._title(item) or self._name_of(item) or f"item_{number}"
            clash = label.lower() in {"place", *(other.lower() for other in labels)}
            labels.append(f"item_{number}" if clash else label)
        return labels

    def _name_of(self, item: Expression) -> str:
        """ "max_age" for MAX(age), in the blocks that strict engines get for it."""
        if self.rules.loose or not isinstance(item, Aggregate):
            return ""
        ref = item.argument
        name = self.schema.columns[ref.column].name if isinstance(ref, ColumnRef) else "rows"
        return f"{item.function.lower()}_{name}"

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

    def _titled(self, rendered: exp.Expr, item: Expression, shown: Expression) -> exp.Expr:
        """The item under the name a reader expects, where SQL would give it another."""
        title = self._title(shown) if isinstance(shown, Share | DatePart) else ""
        if isinstance(shown, ColumnRef) and not isinstance(rendered, exp.Column):
            title = self.schema.columns[shown.column].name
        return exp.Alias(this=rendered, alias=self.name(title)) if title else rendered

    # -- FROM ------------------------------------------------------------

    def _from(self, query: exp.Select) -> exp.Select:
        for position, source in enumerate(self.joins.sources):
            table = self._source(source.table, source.instance)
            if position == 0:
                query = query.from_(table, copy=False)
                continue
            on = [self._equal(left, right) for left, right in source.on]
            kind = "" if on else "CROSS"
            query = query.join(table, on=exp.and_(*on) if on else None, join_type=kind, copy=False)
        return query

    def _equal(self, left: ColumnRef, right: ColumnRef) -> exp.Expr:
        one, other = self.compared((left, right), equality=True)
        return exp.EQ(this=one, expression=other)

    def _source(self, table: int, instance: int) -> exp.Table:
        found = self.schema.tables[table]
        label = self.label(table, instance)
        alias = self._alias(label) if label != found.bare_name else None
        namespace = self.name(found.namespace) if found.namespace else None
        return exp.Table(this=self.name(found.bare_name), db=namespace, alias=alias)

    def label(self, table: int, instance: int) -> str:
        found = self.schema.tables[table]
        name = found.bare_name
        others = (self.schema.tables[s.table] for s in self.joins.sources if s.table != table)
        if found.namespace and any(o.bare_name.lower() == name.lower() for o in others):
            name = f"{found.namespace}_{name}"
        return f"{name}_{instance + 1}" if instance else name

    def item(self, item: Expression) -> exp.Expr:
        if isinstance(item, Star):
            return exp.Star() if len(self.joins.sources) == 1 else self._table_star(item)
        return self.expression(item)

    def _table_star(self, star: Star) -> exp.Column:
        return exp.Column(this=exp.Star(), table=self.name(self.label(star.table, 0)))

    def _alias(self, name: str) -> exp.TableAlias:
        return exp.TableAlias(this=self.name(name))

    def _order(self, order: Order) -> exp.Ordered:
        """One key; NULLs stand where SQLite has them, first when ascending."""
        nulls_first = not order.descending
        if self.never_null(order.key):  # no clause is needed: what the dialect does by itself
            ordering = Dialect.get_or_raise(self.dialect).NULL_ORDERING
            nulls_first = {
                "nulls_are_small": not order.descending,
                "nulls_are_large": order.descending,
            }.get(ordering, False)
        return exp.Ordered(
            this=self.expression(order.key), desc=order.descending, nulls_first=nulls_first
        )


def _blocks(query: Query) -> list[Select]:
    if isinstance(query, Select):
        return [query]
    return [*_blocks(query.left), *_blocks(query.right)]


def _tell_apart(query: exp.Expr) -> None:
    """Give items of a derived table that share a name names of their own."""
    while isinstance(query, exp.SetOperation):
        query = query.this
    if not isinstance(query, exp.Select):
        return
    seen: set[str] = set()
    items = []
    for number, item in enumerate(query.expressions, 1):
        name = (item.alias_or_name or item.sql()).lower()
        clash = name in seen and not item.is_star
        items.append(exp.alias_(item.unalias(), f"item_{number}") if clash else item)
        seen.add(name)
    query.set("expressions", items)
