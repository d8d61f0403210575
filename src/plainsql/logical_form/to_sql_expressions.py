"""Expressions and conditions of the query tree as sqlglot nodes of one dialect.

Engines with strict types refuse to compare a number with a text, or to look for
a text in a date. What is compared is brought to one kind first: a literal takes
the column's, and where it can't, or two columns differ, both sides become text.
The reference are the rows that SQLite gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from plainsql.logical_form.joins import Joins
from plainsql.logical_form.kinds import (
    MOMENTS,
    NUMBERS,
    Kind,
    agrees,
    as_kind,
    common_kind,
    item_kinds,
    kind_of,
)
from plainsql.logical_form.rules import rules_of
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
    Query,
    Scalar,
    Select,
    SetOperation,
    Share,
    Star,
    has_aggregate,
)
from plainsql.records import Value
from plainsql.schema.model import Schema

Kinds = Sequence[Kind]
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
_PATTERNS = {"CONTAINS": "%{}%", "STARTS": "{}%", "ENDS": "%{}", "LIKE": "{}"}
# strftime's number for each part; a quarter is computed from the month.
_STRFTIME = {"YEAR": "%Y", "MONTH": "%m", "DAY": "%d", "WEEKDAY": "%w"}
# For engines that can't try a cast: what of a text is a date, or a number.
_ISO_DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"
_WHOLE_NUMBER = "^[-+]?[0-9]+[.]?[0-9]*$"


def identifier(name: str, dialect: str) -> exp.Identifier:
    """The name as an identifier, quoted only where the dialect needs it."""
    return exp.Identifier(this=name, quoted=rules_of(dialect).quotes(name))


class Expressions:
    """Renders what stands in the clauses; `joins` is the FROM of the block being written."""

    def __init__(self, schema: Schema, dialect: str) -> None:
        self.schema = schema
        self.dialect = dialect
        self.rules = rules_of(dialect)
        self.joins = Joins((), True)

    def query(self, query: Query, wanted: Kinds = ()) -> exp.Expr:
        """A nested query, its items cast to the wanted kinds."""
        raise NotImplementedError

    def label(self, table: int, instance: int) -> str:
        """What columns of a source are qualified with."""
        raise NotImplementedError

    def name(self, name: str) -> exp.Identifier:
        return identifier(name, self.dialect)

    # -- expressions -----------------------------------------------------

    def column(self, ref: ColumnRef) -> exp.Column:
        column = self.schema.columns[ref.column]
        table = None
        if len(self.joins.sources) > 1:
            table = self.name(self.label(self.schema.table_of[ref.column], ref.instance))
        return exp.Column(this=self.name(column.name), table=table)

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
                return exp.Subquery(this=self._one_row(query))
            case CountRows():
                raise ValueError("CountRows stands only as the single item of a block")

    def kind(self, node: Expression) -> Kind:
        """The kind of a value; UNKNOWN where the engine converts by itself."""
        return Kind.UNKNOWN if self.rules.loose else kind_of(node, self.schema, self.dialect)

    def as_kind(self, node: Expression, wanted: Kind) -> exp.Expr:
        """The expression, cast where its kind doesn't compare with the wanted one."""
        rendered, kind = self.expression(node), self.kind(node)
        if agrees(kind, wanted):
            return rendered
        if kind is Kind.TEXT and wanted in NUMBERS:
            return self._number_of_text(rendered)
        return _cast(rendered, "INT") if wanted in NUMBERS else self._text(rendered)

    def _text(self, node: exp.Expr) -> exp.Expr:
        if self.dialect == "mysql":
            # CAST(x AS CHAR) has the connection's collation and clashes with a column's;
            # CONCAT(x) takes that of what it is compared with.
            return exp.Anonymous(this="CONCAT", expressions=[node])
        return _cast(node, "TEXT")

    def _one_row(self, query: Query) -> exp.Expr:
        """A query used as a value: SQLite takes its first row, others refuse a second."""
        inner = self.query(query)
        if self.rules.loose or _has_one_row(query):
            return inner
        if isinstance(query, Select) and isinstance(inner, exp.Select):
            return inner.limit(1, copy=False)
        part = exp.Subquery(this=inner, alias=exp.TableAlias(this=self.name("part")))
        first = exp.select("*").from_(part)
        if isinstance(query, SetOperation) and query.operator != "UNION_ALL":
            first = first.order_by(exp.Literal.number(1), copy=False)  # sorted by SQLite
        return first.limit(1, copy=False)

    def _aggregate(self, node: Aggregate) -> exp.Expr:
        argument = self._aggregated(node)
        if node.distinct:
            argument = exp.Distinct(expressions=[argument])
        return _AGGREGATES[node.function](this=argument)

    def _aggregated(self, node: Aggregate) -> exp.Expr:
        kind = self.kind(node.argument)
        if self.rules.loose or node.function == "COUNT":
            return self.expression(node.argument)
        if node.function in ("SUM", "AVG"):
            exact = kind in (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR, Kind.BOOLEAN)
            number = self._number(node.argument)
            cut = node.function == "AVG" and self.rules.averages_cut and exact
            return _cast(number, "DOUBLE") if cut else number
        wanted = {Kind.BOOLEAN: Kind.INTEGER, Kind.OTHER: Kind.TEXT}.get(kind, kind)
        if kind is Kind.BOOLEAN and self.rules.booleans_count:
            return self.expression(node.argument)
        return self.as_kind(node.argument, wanted)

    def _number(self, node: Expression) -> exp.Expr:
        """The expression as something to calculate with."""
        kind = self.kind(node)
        if kind is Kind.BOOLEAN and not self.rules.booleans_count:
            return _cast(self.expression(node), "INT")
        if isinstance(node, ColumnRef) and kind in MOMENTS:
            return self._date_part(DatePart("YEAR", node))  # the number an ISO text begins with
        if isinstance(node, Literal) and (number := as_kind(node.value, Kind.DOUBLE)) is not None:
            return exp.convert(number)
        text = kind is Kind.TEXT or (kind is Kind.UNKNOWN and isinstance(node, Literal))
        return self._number_of_text(self.expression(node)) if text else self.expression(node)

    def _number_of_text(self, text: exp.Expr) -> exp.Expr:
        """The number a text spells; NULL, where the engine can say so, if it spells none."""
        if self.rules.text_to_number == "loose":
            return text
        if self.rules.text_to_number == "try_cast":
            return exp.TryCast(this=text, to=exp.DataType.build("DOUBLE"))
        if self.rules.text_to_number == "pattern":
            text = exp.Substring(this=text, start=exp.Literal.string(_WHOLE_NUMBER))
        return _cast(text, "DOUBLE")

    def _arithmetic(self, node: Arithmetic) -> exp.Expr:
        left, right = (
            exp.Paren(this=self.expression(side))
            if isinstance(side, Arithmetic)
            else self._operand(side)
            for side in (node.left, node.right)
        )
        if node.operator == "OVER":
            return self._quotient(node, left, right)
        dates = self.kind(node.left) in MOMENTS and self.kind(node.right) in MOMENTS
        if node.operator == "MINUS" and dates and self.dialect == "mysql":
            return exp.DateDiff(this=left, expression=right)  # a bare minus reads 20240501
        return _ARITHMETIC[node.operator](this=left, expression=right)

    def _operand(self, node: Expression) -> exp.Expr:
        native = self.rules.loose or self.kind(node) in MOMENTS
        return self.expression(node) if native else self._number(node)

    def _quotient(self, node: Arithmetic, left: exp.Expr, right: exp.Expr) -> exp.Expr:
        """The quotient of real numbers, everywhere: 7 / 2 is 3.5. By zero it is NULL."""
        if self.rules.divides_whole and not self.rules.averages_cut:
            left = exp.Mul(this=left, expression=exp.Literal.number("1.0"))
        elif self.rules.divides_whole and self.kind(node.left) is not Kind.DOUBLE:
            left = _cast(left, "DOUBLE")
        constant = isinstance(node.right, Literal) and node.right.value not in (0, "0")
        if not self.rules.null_by_zero and not constant:
            right = exp.Nullif(this=right, expression=exp.Literal.number(0))
        # `typed` and `safe` as the dialect's own: sqlglot is to write a plain slash.
        return exp.Div(this=left, expression=right, typed=self._typed, safe=False)

    @property
    def _typed(self) -> bool:
        return bool(Dialect.get_or_raise(self.dialect).TYPED_DIVISION)

    # -- dates -----------------------------------------------------------

    def _date_part(self, node: DatePart) -> exp.Expr:
        column: exp.Expr = self.column(node.column)
        if self.dialect == "sqlite":
            return _sqlite_date_part(node.part, column)
        kind = self.kind(node.column)
        if node.part == "YEAR" and kind in NUMBERS:
            return column
        if kind in (Kind.TEXT, Kind.OTHER):
            column = self._date_of_text(column)
        if self.dialect == "mysql" and node.part == "WEEKDAY":  # no DOW there, and 1 is Sunday
            number = exp.Anonymous(this="DAYOFWEEK", expressions=[column])
            return exp.Paren(this=exp.Sub(this=number, expression=exp.Literal.number(1)))
        part = "DOW" if node.part == "WEEKDAY" else node.part
        return exp.Extract(this=exp.var(part), expression=column)

    def _date_of_text(self, text: exp.Expr) -> exp.Expr:
        """The date an ISO text spells; NULL, where the engine can say so, if it spells none."""
        if self.rules.text_to_number == "try_cast":
            return exp.TryCast(this=text, to=exp.DataType.build("TIMESTAMP"))
        if self.rules.text_to_number == "pattern":
            text = exp.Substring(this=text, start=exp.Literal.string(_ISO_DATE))
        return text if self.rules.text_to_number == "loose" else _cast(text, "DATE")

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
                left, right = self.compared((node.left, node.right), node.operator in ("EQ", "NE"))
                return _COMPARISONS[node.operator](this=left, expression=right)
            case Like():
                like = self._like(node)
                return exp.Not(this=like) if node.negated else like
            case Between():
                left, low, high = self.compared((node.left, node.low, node.high))
                between = exp.Between(this=left, low=low, high=high)
                return exp.Not(this=between) if node.negated else between
            case In():
                inside = self._in(node)
                return exp.Not(this=inside) if node.negated else inside
            case IsNull():
                null = exp.Is(this=self.expression(node.left), expression=exp.Null())
                return exp.Not(this=null) if node.negated else null
            case Logic():
                return self._logic(node)

    def compared(self, nodes: Sequence[Expression], equality: bool = False) -> list[exp.Expr]:
        """The expressions, brought to one kind."""
        kind = self._common(self.kind(node) for node in nodes)
        literals = [node.value for node in nodes if isinstance(node, Literal)]
        if kind is Kind.TEXT and not equality and self._all_numbers(literals):
            kind = Kind.DOUBLE
        if kind is Kind.BOOLEAN and literals and not equality:
            kind = Kind.DOUBLE
        if any(as_kind(value, kind) is None for value in literals):
            number = all(as_kind(value, Kind.DOUBLE) is not None for value in literals)
            kind = Kind.DOUBLE if kind is Kind.BOOLEAN and number else Kind.TEXT
        return [self._compared(node, kind) for node in nodes]

    def _common(self, kinds: Iterable[Kind]) -> Kind:
        """What to compare as: like SQLite a text with a number as numbers, where it can't fail."""
        found = list(kinds)
        common = common_kind(found)
        tried = self.rules.text_to_number in ("try_cast", "pattern")
        numbers = {Kind.TEXT, Kind.UNKNOWN, *NUMBERS}.issuperset(found) and NUMBERS & set(found)
        return Kind.DOUBLE if common is Kind.TEXT and tried and numbers else common

    def _all_numbers(self, literals: Sequence[Value]) -> bool:
        return bool(literals) and not any(isinstance(value, str) for value in literals)

    def _compared(self, node: Expression, kind: Kind) -> exp.Expr:
        if not isinstance(node, Literal) or kind is Kind.UNKNOWN:
            return self.as_kind(node, kind)
        return exp.convert(as_kind(node.value, kind))

    def _like(self, node: Like) -> exp.Expr:
        text = _PATTERNS[node.mode].format(node.text.value)
        if self.rules.like_escapes:
            text = text.replace("\\", "\\\\")
        kind = exp.Like if self.rules.like_ignores_case else exp.ILike
        return kind(this=self.as_kind(node.left, Kind.TEXT), expression=exp.Literal.string(text))

    def _in(self, node: In) -> exp.In:
        if self.rules.loose:
            inner = exp.Subquery(this=self.query(node.query))
            return exp.In(this=self.expression(node.left), query=inner)
        item = item_kinds(node.query, self.schema, self.dialect)[0]
        kind = self._common((self.kind(node.left), item))
        query = self.query(node.query, () if agrees(item, kind) else (kind,))
        if not self.rules.limit_in_in and isinstance(query, exp.Select) and query.args.get("limit"):
            part = exp.Subquery(this=query, alias=exp.TableAlias(this=self.name("part")))
            query = exp.select("*").from_(part)
        return exp.In(this=self.as_kind(node.left, kind), query=exp.Subquery(this=query))

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

    def never_null(self, node: Expression) -> bool:
        """Whether the value is known to be there in every row."""
        if isinstance(node, Aggregate):
            return node.function == "COUNT"
        return isinstance(node, ColumnRef) and self.schema.columns[node.column].primary_key


def _has_one_row(query: Query) -> bool:
    if not isinstance(query, Select):
        return False
    if isinstance(query.items[0], CountRows) or query.limit in (Literal(1), Literal(0)):
        return query.limit_per is None
    return not query.group_by and query.limit_per is None and any(map(has_aggregate, query.items))


def _cast(node: exp.Expr, kind: str) -> exp.Expr:
    return exp.Cast(this=node, to=exp.DataType.build(kind))


def _sqlite_date_part(part: str, column: exp.Expr) -> exp.Expr:
    if part != "QUARTER":
        return _strftime(_STRFTIME[part], column)
    two_more = exp.Add(this=_strftime("%m", column), expression=exp.Literal.number(2))
    quarter = exp.Paren(this=two_more)  # (month + 2) / 3, in integers
    return exp.Div(this=quarter, expression=exp.Literal.number(3), typed=True, safe=True)


def _strftime(pattern: str, column: exp.Expr) -> exp.Expr:
    text = exp.Anonymous(this="strftime", expressions=[exp.Literal.string(pattern), column])
    return exp.Cast(this=text, to=exp.DataType.build("INTEGER", dialect="sqlite"))
