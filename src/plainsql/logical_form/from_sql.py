"""SQL text to query tree, through sqlglot. What the tree can't say raises `NotCovered`."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from plainsql.logical_form.from_sql_expressions import ExpressionReader, conjuncts, joined
from plainsql.logical_form.from_sql_joins import JoinReader, Pair
from plainsql.logical_form.not_covered import NotCovered, refuse
from plainsql.logical_form.tree import (
    ColumnRef,
    Condition,
    CountRows,
    Expression,
    Literal,
    Order,
    Query,
    Select,
    SetOperation,
)
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

_SET_OPERATIONS: dict[type[exp.Expr], str] = {
    exp.Union: "UNION",
    exp.Intersect: "INTERSECT",
    exp.Except: "EXCEPT",
}


def from_sql(sql: str, schema: Schema, graph: JoinGraph, dialect: str | None = None) -> Query:
    """The tree of one SELECT statement. Raises `NotCovered` with the reason."""
    try:
        statement = sqlglot.parse_one(sql, read=dialect or schema.dialect)
    except sqlglot.errors.SqlglotError as error:
        raise NotCovered(f"not parsed: {error}") from error
    return _QueryReader(schema, graph).query(statement)


class _QueryReader:
    """Reads set operations, and of blocks FROM; the clauses are `_BlockReader`'s."""

    def __init__(self, schema: Schema, graph: JoinGraph) -> None:
        self.schema = schema
        self.joins = JoinReader(schema, graph)

    def query(self, node: exp.Expr) -> Query:
        while isinstance(node, exp.Subquery | exp.Paren):
            node = node.this
        if node.args.get("with_") or node.args.get("with"):
            refuse("WITH")
        if isinstance(node, exp.Select):
            return self.select(node)
        for kind, name in _SET_OPERATIONS.items():
            if isinstance(node, kind):
                return self._set_operation(node, name)
        refuse(f"statement {node.key}")

    def _set_operation(self, node: exp.Expr, name: str) -> Query:
        if name == "UNION" and not node.args.get("distinct"):
            name = "UNION_ALL"
        if node.args.get("order") or node.args.get("limit"):
            refuse("ORDER BY or LIMIT on a set operation")
        left, right = self.query(node.this), self.query(node.expression)
        if isinstance(left, SetOperation):
            return _rotate(left, name, right)
        return SetOperation(name, left, right)

    # -- blocks ----------------------------------------------------------

    def select(self, node: exp.Select) -> Select:
        for clause in ("windows", "qualify", "laterals", "connect", "offset"):
            if node.args.get(clause):
                refuse(clause.upper())
        source = node.args.get("from_") or node.args.get("from")
        if source is None:
            refuse("no FROM")
        if isinstance(source.this, exp.Subquery):
            return self._top_per(node, source.this) or self._count_rows(node, source.this)
        joins = node.args.get("joins") or []
        sources = self._sources([source.this, *(join.this for join in joins)])
        block = _BlockReader(node, ExpressionReader(self.schema, sources, self.query))
        pairs = block.join_pairs(joins)
        select, more = block.clauses()
        return self.joins.complete(select, tuple(sources.values()), pairs + more)

    def _count_rows(self, node: exp.Select, source: exp.Subquery) -> Select:
        """`SELECT count(*) FROM (query)`: the one use of a derived table we speak."""
        item = node.expressions[0].unalias()
        plain = not any(node.args.get(k) for k in ("where", "group", "order", "limit", "joins"))
        count = isinstance(item, exp.Count) and isinstance(item.this, exp.Star)
        if not (plain and count and len(node.expressions) == 1):
            refuse("a sub-query in FROM")
        return Select((CountRows(self.query(source.this)),))

    def _top_per(self, node: exp.Select, source: exp.Subquery) -> Select | None:
        """Our own `row_number() OVER (PARTITION BY … ORDER BY …) <= k`, None for others."""
        window = _row_number(source.this)
        limit = _first_places(node, source.this) if window is not None else None
        if window is None or limit is None:
            return None
        core = source.this.copy()
        core.set("expressions", core.expressions[:-1])
        core.set("order", window.args["order"].copy())
        core.set("limit", exp.Limit(expression=limit.copy()))
        core.append("group_per", window.args["partition_by"][0].copy())
        return self.select(core)

    def _sources(self, tables: list[exp.Expr]) -> dict[str, tuple[int, int]]:
        """(table, instance) by alias, in the order of FROM."""
        sources: dict[str, tuple[int, int]] = {}
        for table in tables:
            if not isinstance(table, exp.Table):
                refuse("a sub-query in FROM")
            index = self._table(table)
            instance = sum(other == index for other, _ in sources.values())
            if instance > 1:
                refuse("a table three times in FROM")
            sources[(table.alias or table.name).lower()] = (index, instance)
        return sources

    def _table(self, table: exp.Table) -> int:
        """The table by `namespace.name`, or by its bare name in the default namespace."""
        for name in (f"{table.db}.{table.name}", table.name) if table.db else (table.name,):
            try:
                return self.schema.table_index(name)
            except KeyError:
                continue
        refuse(f"unknown table {table.name}")


class _BlockReader:
    """Reads the clauses of one block, in the order in which aliases become known."""

    def __init__(self, node: exp.Select, expressions: ExpressionReader) -> None:
        self.node = node
        self.expressions = expressions

    def clauses(self) -> tuple[Select, list[Pair]]:
        """The block without its joins, and the joins an old-style FROM list has in WHERE."""
        items = tuple(self.expressions.item(item) for item in self.node.expressions)
        where, pairs = self._where()
        select = Select(
            items=items,
            distinct=self.node.args.get("distinct") is not None,
            where=where,
            group_by=self._group(),
            having=self._having(),
            order_by=self._orders(),
            limit=self._limit(),
            limit_per=self._limit_per(),
        )
        return select, pairs

    # -- joins -----------------------------------------------------------

    def join_pairs(self, joins: list[exp.Join]) -> list[Pair]:
        """The column pairs of every ON."""
        pairs: list[Pair] = []
        for join in joins:
            if join.side in ("RIGHT", "FULL"):
                refuse(f"{join.side} JOIN")
            if join.args.get("using"):
                refuse("USING")
            on = join.args.get("on")
            if on is None or isinstance(on, exp.Boolean):
                continue
            for part in conjuncts(on):
                pair = self._pair(part)
                if pair is None:
                    refuse("a join condition other than column = column")
                pairs.append(pair)
        return pairs

    def _pair(self, node: exp.Expr) -> Pair | None:
        """`a.x = b.y` over two sources of this block."""
        if not isinstance(node, exp.EQ):
            return None
        if not (isinstance(node.this, exp.Column) and isinstance(node.expression, exp.Column)):
            return None
        left = self.expressions.expression(node.this)
        right = self.expressions.expression(node.expression)
        if not (isinstance(left, ColumnRef) and isinstance(right, ColumnRef)):
            return None
        return (left, right) if self._source(left) != self._source(right) else None

    def _source(self, ref: ColumnRef) -> tuple[int, int]:
        return self.expressions.schema.table_of[ref.column], ref.instance

    # -- clauses ---------------------------------------------------------

    def _where(self) -> tuple[Condition | None, list[Pair]]:
        """The WHERE condition without the joins an old-style FROM list puts there."""
        where = self.node.args.get("where")
        if where is None:
            return None, []
        kept: list[Condition] = []
        pairs: list[Pair] = []
        for part in conjuncts(where.this):
            pair = self._pair(part)
            if pair is not None:
                pairs.append(pair)
            else:
                kept.append(self.expressions.condition(part))
        return joined("AND", kept), pairs

    def _group(self) -> tuple[Expression, ...]:
        group = self.node.args.get("group")
        keys = group.expressions if group else ()
        return tuple(self._key(key) for key in keys)

    def _having(self) -> Condition | None:
        having = self.node.args.get("having")
        return self.expressions.condition(having.this) if having else None

    def _orders(self) -> tuple[Order, ...]:
        order = self.node.args.get("order")
        keys = order.expressions if order else ()
        return tuple(self._order(key) for key in keys)

    def _order(self, node: exp.Expr) -> Order:
        if not isinstance(node, exp.Ordered):
            return Order(self._key(node))
        return Order(self._key(node.this), bool(node.args.get("desc")))

    def _key(self, key: exp.Expr) -> Expression:
        """The expression; `ORDER BY 2` and `GROUP BY 2` mean the second select item."""
        if isinstance(key, exp.Literal) and not key.is_string:
            key = self._item_at(str(key.this))
        return self.expressions.expression(key)

    def _item_at(self, position: str) -> exp.Expr:
        items = self.node.expressions
        if not position.isdigit() or not 1 <= int(position) <= len(items):
            refuse("a position without a select item")
        item: exp.Expr = items[int(position) - 1].unalias()
        return item

    def _limit(self) -> Literal | None:
        limit = self.node.args.get("limit")
        if limit is None:
            return None
        value = self.expressions.expression(limit.expression)
        if not isinstance(value, Literal) or isinstance(value.value, str):
            refuse("a LIMIT that is no number")
        return value

    def _limit_per(self) -> ColumnRef | None:
        partition = self.node.args.get("group_per")
        if not partition:
            return None
        column = self.expressions.expression(partition[0])
        return column if isinstance(column, ColumnRef) else refuse("ranking by no column")


def _row_number(block: exp.Expr) -> exp.Window | None:
    """The last item of a block that numbers the rows of each group."""
    window = block.expressions[-1].unalias() if isinstance(block, exp.Select) else None
    if not isinstance(window, exp.Window) or not isinstance(window.this, exp.RowNumber):
        return None
    one_key = len(window.args.get("partition_by") or ()) == 1
    return window if one_key and window.args.get("order") else None


def _first_places(node: exp.Select, numbered: exp.Expr) -> exp.Expr | None:
    """The k of `SELECT item, … WHERE place <= k` over numbered rows, None for other queries."""
    where = node.args.get("where")
    if where is None or not isinstance(where.this, exp.LTE):
        return None
    clauses = ("distinct", "group", "having", "order", "limit", "joins")
    *items, place = [item.alias_or_name for item in numbered.expressions]
    same = [item.name for item in node.expressions] == items and where.this.this.name == place
    if not same or any(node.args.get(clause) for clause in clauses):
        return None
    limit: exp.Expr = where.this.expression
    return limit


def _rotate(left: SetOperation, name: str, right: Query) -> Query:
    """(a op b) op c -> a op (b op c), where that is the same."""
    if left.operator != name or name == "EXCEPT" or not isinstance(left.right, Select):
        refuse("left-nested set operations")
    return SetOperation(name, left.left, SetOperation(name, left.right, right))


__all__ = ["NotCovered", "from_sql"]
