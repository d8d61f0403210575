"""SQL expressions and conditions to nodes of the query tree, one SELECT block at a time."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from plainsql.logical_form.not_covered import NotCovered, refuse
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
    Query,
    Scalar,
    Share,
    Star,
)
from plainsql.records import Value
from plainsql.schema.model import Schema

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "EQ",
    exp.NEQ: "NE",
    exp.LT: "LT",
    exp.LTE: "LE",
    exp.GT: "GT",
    exp.GTE: "GE",
}
_NEGATED = {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}
_MIRRORED = {"EQ": "EQ", "NE": "NE", "LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "ADD",
    exp.Sub: "MINUS",
    exp.Mul: "TIMES",
    exp.Div: "OVER",
}
_AGGREGATES: dict[type[exp.Expr], str] = {
    exp.Count: "COUNT",
    exp.Sum: "SUM",
    exp.Avg: "AVG",
    exp.Min: "MIN",
    exp.Max: "MAX",
}
_DATE_FUNCTIONS = (exp.Cast, exp.TsOrDsToDate, exp.Anonymous, exp.Extract, exp.TimeToStr)
_STRFTIME = {"%Y": "YEAR", "%m": "MONTH", "%d": "DAY", "%w": "WEEKDAY"}


class ExpressionReader:
    """Reads the expressions of one block.

    `sources` maps the aliases of FROM to (table, instance); `query` reads nested
    queries. Aliases of select items are learned as the items are read.
    """

    def __init__(
        self,
        schema: Schema,
        sources: dict[str, tuple[int, int]],
        query: Callable[[exp.Expr], Query],
    ) -> None:
        self.schema = schema
        self.sources = sources
        self.query = query
        self.items: dict[str, Expression] = {}

    # -- expressions -----------------------------------------------------

    def item(self, node: exp.Expr) -> Expression:
        """A select item; its alias, if any, may be spoken of from here on."""
        item = self.expression(node.unalias())
        if isinstance(node, exp.Alias):
            self.items[node.alias.lower()] = item
        return item

    def expression(self, node: exp.Expr) -> Expression:
        """Raises `NotCovered`."""
        if isinstance(node, exp.Paren):
            return self.expression(node.this)
        if isinstance(node, exp.Column):
            return self._column(node)
        if isinstance(node, exp.Star):
            return Star(next(iter(self.sources.values()))[0])
        if isinstance(node, exp.Literal | exp.Neg | exp.Boolean):
            return Literal(_value(node))
        if isinstance(node, exp.Subquery | exp.Select):
            return Scalar(self.query(node))
        if type(node) in _AGGREGATES:
            return self._aggregate(node)
        if type(node) in _ARITHMETIC:
            return self._arithmetic(node)
        if isinstance(node, _DATE_FUNCTIONS):
            return self._date_part(node)
        if isinstance(node, exp.Year | exp.Month | exp.Day | exp.Quarter):
            return self._part_of(node.key.upper(), node.this)
        refuse(f"expression {node.key}")

    def _column(self, node: exp.Column) -> Expression:
        if isinstance(node.this, exp.Star):
            return Star(self._lookup(node.table)[0])
        name = node.name
        if node.table:
            return self._column_of(self._lookup(node.table), name)
        for source in self.sources.values():
            try:
                return self._column_of(source, name)
            except NotCovered:
                continue
        if name.lower() in self.items:
            return self.items[name.lower()]
        if node.this.args.get("quoted"):
            return Literal(name)  # SQLite reads "text" as a string when no column has that name
        refuse(f"unknown column {name}")

    def _lookup(self, alias: str) -> tuple[int, int]:
        source = self.sources.get(alias.lower())
        return source if source is not None else refuse(f"unknown or outer table {alias}")

    def _column_of(self, source: tuple[int, int], name: str) -> ColumnRef:
        table, instance = source
        try:
            column = self.schema.column_index(self.schema.tables[table].name, name)
        except KeyError:
            refuse(f"unknown column {name}")
        return ColumnRef(column, instance)

    def _aggregate(self, node: exp.Expr) -> Expression:
        argument = node.this
        distinct = isinstance(argument, exp.Distinct)
        if isinstance(argument, exp.Distinct):
            if len(argument.expressions) != 1:
                refuse("DISTINCT over several columns")
            argument = argument.expressions[0]
        if node.expressions:
            refuse("an aggregate of several arguments")
        if isinstance(argument, exp.Case):
            return self._share(node, argument)
        return Aggregate(_AGGREGATES[type(node)], self.expression(argument), distinct)

    def _share(self, node: exp.Expr, case: exp.Case) -> Share:
        """`avg(CASE WHEN condition THEN 100.0 ELSE 0.0 END)`, a percentage of rows."""
        branches, other = case.args["ifs"], case.args.get("default")
        whole = len(branches) == 1 and case.this is None and isinstance(node, exp.Avg)
        if not whole or other is None:
            refuse("CASE")
        if (_value(branches[0].args["true"]), _value(other)) != (100, 0):
            refuse("CASE")
        condition = self.condition(branches[0].this)
        return Share(condition) if not isinstance(condition, Logic) else refuse("CASE")

    def _arithmetic(self, node: exp.Expr) -> Expression:
        name = _ARITHMETIC[type(node)]
        if name == "OVER" and (quarter := self._quarter(node)) is not None:
            return quarter
        left, right = self.expression(node.this), self.expression(node.expression)
        if name == "OVER" and isinstance(left, Arithmetic) and left.right == Literal(1.0):
            left = left.left  # our own `x * 1.0 / y`
        return Arithmetic(name, left, right)

    def _quarter(self, node: exp.Expr) -> DatePart | None:
        """Our own `(month + 2) / 3`, None for other divisions."""
        shifted = node.this.unnest()
        if not (isinstance(shifted, exp.Add) and isinstance(shifted.this, exp.Cast)):
            return None
        month = self.expression(shifted.this)
        if not isinstance(month, DatePart) or month.part != "MONTH":
            return None
        return DatePart("QUARTER", month.column)

    def _date_part(self, node: exp.Expr) -> Expression:
        """`CAST(strftime('%Y', x) AS INTEGER)` and `strftime('%Y', x)`."""
        inner = node.this if isinstance(node, exp.Cast) else node
        if isinstance(inner, exp.Extract):
            return self._part_of(inner.name.upper().replace("DOW", "WEEKDAY"), inner.expression)
        if isinstance(inner, exp.TimeToStr):
            pattern = inner.args["format"].name
            column = inner.this
            if isinstance(column, exp.Cast | exp.TsOrDsToTimestamp):
                column = column.this
            if pattern in _STRFTIME:
                return self._part_of(_STRFTIME[pattern], column)
        if isinstance(inner, exp.Anonymous) and inner.name.lower() == "strftime":
            pattern, column = inner.expressions
            if pattern.name in _STRFTIME:
                return self._part_of(_STRFTIME[pattern.name], column)
        refuse(f"expression {node.key}")

    def _part_of(self, part: str, node: exp.Expr) -> DatePart:
        column = self.expression(node.this if isinstance(node, exp.TsOrDsToDate) else node)
        if not isinstance(column, ColumnRef):
            refuse("a date part of something other than a column")
        return DatePart(part, column)

    # -- conditions ------------------------------------------------------

    def condition(self, node: exp.Expr, negated: bool = False) -> Condition:
        """The condition or, `negated`, its opposite. Raises `NotCovered`."""
        match node:
            case exp.Paren():
                return self.condition(node.this, negated)
            case exp.Not():
                return self.condition(node.this, not negated)
            case exp.And() | exp.Or():
                operator = "AND" if isinstance(node, exp.And) != negated else "OR"
                parts = [self.condition(side, negated) for side in (node.this, node.expression)]
                return joined(operator, parts) or parts[0]
            case exp.In():
                return self._in(node, negated)
            case exp.Between():
                bounds = (self.expression(node.args["low"]), self.expression(node.args["high"]))
                return Between(self.expression(node.this), *bounds, negated)
            case exp.Like() | exp.ILike():
                return self._like(node, negated != bool(node.args.get("negate")))
            case exp.Is():
                return self._is(node, negated)
        return self._comparison(node, negated)

    def _comparison(self, node: exp.Expr, negated: bool) -> Condition:
        operator = _COMPARISONS.get(type(node)) or refuse(f"condition {node.key}")
        left, right = self.expression(node.this), self.expression(node.expression)
        if isinstance(left, Literal | Scalar) and not isinstance(right, Literal):
            left, right, operator = right, left, _MIRRORED[operator]
        if isinstance(left, Literal):
            refuse("a condition on no column")
        return Comparison(_NEGATED[operator] if negated else operator, left, right)

    def _in(self, node: exp.In, negated: bool) -> Condition:
        left = self.expression(node.this)
        query = node.args.get("query")
        if query is not None:
            return In(left, self.query(query), negated)
        operator, logic = ("NE", "AND") if negated else ("EQ", "OR")
        items = [Comparison(operator, left, self.expression(item)) for item in node.expressions]
        return joined(logic, list(items)) or refuse("IN ()")

    def _like(self, node: exp.Expr, negated: bool) -> Like:
        pattern = self.expression(node.expression)
        if not isinstance(pattern, Literal):
            refuse("LIKE against no constant")
        mode, text = split_pattern(str(pattern.value))
        return Like(mode, self.expression(node.this), Literal(text), negated)

    def _is(self, node: exp.Is, negated: bool) -> IsNull:
        if not isinstance(node.expression, exp.Null):
            refuse("IS other than IS NULL")
        return IsNull(self.expression(node.this), negated)


def split_pattern(pattern: str) -> tuple[str, str]:
    """A LIKE pattern as (mode, text): "%ab%" -> ("CONTAINS", "ab")."""
    inner = pattern.strip("%")
    if inner and "%" not in inner and "_" not in inner:
        if pattern == f"%{inner}%":
            return "CONTAINS", inner
        if pattern == f"{inner}%":
            return "STARTS", inner
        if pattern == f"%{inner}":
            return "ENDS", inner
    return "LIKE", pattern


def _value(node: exp.Expr) -> Value:
    if isinstance(node, exp.Neg):
        value = _value(node.this)
        return refuse("minus a text") if isinstance(value, str) else -value
    if isinstance(node, exp.Boolean):
        return int(node.this)
    if not isinstance(node, exp.Literal):
        refuse(f"value {node.key}")
    if node.is_string:
        return str(node.this)
    text = str(node.this)
    return int(text) if text.isdigit() else float(text)


def conjuncts(node: exp.Expr) -> list[exp.Expr]:
    """The conditions that AND joins."""
    if isinstance(node, exp.Paren):
        return conjuncts(node.this)
    if isinstance(node, exp.And):
        return [*conjuncts(node.this), *conjuncts(node.expression)]
    return [node]


def joined(operator: str, items: list[Condition]) -> Condition | None:
    """Joined by the operator and flattened: (a AND b) AND c is one node of three."""
    flat: list[Condition] = []
    for item in items:
        flat += item.items if isinstance(item, Logic) and item.operator == operator else [item]
    if not flat:
        return None
    return flat[0] if len(flat) == 1 else Logic(operator, tuple(flat))
