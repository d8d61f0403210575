"""What sqlglot leaves as it is when it writes another dialect, brought over by hand.

Each rule takes a node and gives another, or None to leave it. A text that is still
strange to the engine afterwards is not used.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

Rule = Callable[[exp.Expr], exp.Expr | None]
_PARTS = {
    "YEAR": "%Y",
    "MONTH": "%m",
    "DAY": "%d",
    "DOW": "%w",
    "DAYOFWEEK": "%w",
    "DOY": "%j",
    "HOUR": "%H",
    "MINUTE": "%M",
    "SECOND": "%S",
    "WEEK": "%W",
    "EPOCH": "%s",
}
_STARTS = {
    "YEAR": "%Y-01-01",
    "MONTH": "%Y-%m-01",
    "DAY": "%Y-%m-%d",
    "HOUR": "%Y-%m-%d %H:00:00",
    "MINUTE": "%Y-%m-%d %H:%M:00",
}
_UNITS = {"DAY", "MONTH", "YEAR", "HOUR", "MINUTE", "SECOND"}
_SHIFT = re.compile(r"([-+]?\d+)\s+(day|month|year|hour|minute|second)s?", re.IGNORECASE)
_NOW = frozenset({"NOW", "GETDATE", "SYSDATE", "LOCALTIMESTAMP"})


def rewritten(tree: exp.Expr, read: str, wanted: str) -> exp.Expr:
    """A copy of a tree read in one dialect, in words that the generator of another has for it."""
    tree = tree.copy()
    for rule in (_plain, *_RULES.get(wanted, ())):
        _apply(tree, rule)
    if wanted in _CUT_DECIMALS and read != wanted:
        _apply(tree, _uncut)
    return tree


def _apply(tree: exp.Expr, rule: Rule) -> None:
    for node in reversed(list(tree.walk())):  # the parts of a node before the node
        after = rule(node)
        if after is not None:
            node.replace(after)


# -- for every dialect -----------------------------------------------------------


def _plain(node: exp.Expr) -> exp.Expr | None:
    """Calls that one dialect alone has, as nodes that every generator knows."""
    if isinstance(node, exp.Anonymous):
        return _plain_call(node.name.upper(), node.expressions)
    if isinstance(node, exp.Date | exp.TsOrDsToDate) and _is_now(node.this):
        return exp.CurrentDate()
    if isinstance(node, exp.Sub):
        left, right = _julian(node.this), _julian(node.expression)
        if left is not None and right is not None:
            return exp.DateDiff(this=left, expression=right, unit=exp.var("DAY"))
    if isinstance(node, exp.SubstringIndex) and node.args["count"].name == "1":
        one = exp.Literal.number(1)
        return exp.SplitPart(this=node.this, delimiter=node.args["delimiter"], part_index=one)
    if isinstance(node, exp.From) and node.this.name.upper() == "DUAL" and node.parent is not None:
        node.parent.set("from_", None)
    return None


def _plain_call(name: str, arguments: list[exp.Expr]) -> exp.Expr | None:
    if name in _NOW and not arguments:
        return exp.CurrentTimestamp()
    if name == "TOTAL" and len(arguments) == 1:
        total = exp.Sum(this=arguments[0])
        return exp.Coalesce(this=total, expressions=[exp.Literal.number("0.0")])
    if name in ("DATE", "DATETIME") and arguments and len(arguments) <= 2:
        return _shifted_call(name, arguments)
    return None


def _shifted_call(name: str, arguments: list[exp.Expr]) -> exp.Expr | None:
    """SQLite's `date(x, '-1 month')`."""
    now = exp.CurrentDate() if name == "DATE" else exp.CurrentTimestamp()
    base = now if _is_now(arguments[0]) else arguments[0]
    if len(arguments) == 1:
        return base if _is_now(arguments[0]) else None
    shift = _SHIFT.fullmatch(arguments[1].name.strip())
    if shift is None:
        return None
    amount, unit = int(shift[1]), exp.var(shift[2].upper())
    kind = exp.DateAdd if amount >= 0 else exp.DateSub
    return kind(this=base, expression=exp.Literal.string(str(abs(amount))), unit=unit)


def _is_now(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Literal) and node.is_string and node.name.lower() == "now"


def _julian(node: exp.Expr) -> exp.Expr | None:
    """The argument of `julianday(x)`."""
    if not isinstance(node, exp.Anonymous) or node.name.upper() != "JULIANDAY":
        return None
    return exp.CurrentDate() if _is_now(node.expressions[0]) else node.expressions[0]


# -- SQLite ----------------------------------------------------------------------


def _sqlite(node: exp.Expr) -> exp.Expr | None:
    if isinstance(node, exp.ILike):  # LIKE ignores the case of ASCII letters there
        return exp.Like(**node.args)
    if isinstance(node, exp.Left):
        return exp.Substring(this=node.this, start=exp.Literal.number(1), length=node.expression)
    if isinstance(node, exp.Right):
        return exp.Substring(this=node.this, start=exp.Neg(this=node.expression))
    if isinstance(node, exp.Cast):
        return _sqlite_moment(node)
    return _sqlite_part(node) or _sqlite_start(node) or _sqlite_shift(node)


def _sqlite_moment(node: exp.Cast) -> exp.Expr | None:
    kind = node.to.this
    if kind is exp.DType.DATE:
        text: exp.Expr = node.this
        return text if text.is_string else exp.Anonymous(this="DATE", expressions=[text])
    stamped = kind in (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.DATETIME)
    return exp.Anonymous(this="DATETIME", expressions=[node.this]) if stamped else None


def _strftime(pattern: str, moment: exp.Expr) -> exp.Expr:
    text = [exp.Literal.string(pattern), _bare(moment)]
    return exp.Anonymous(this="STRFTIME", expressions=text)


def _bare(moment: exp.Expr) -> exp.Expr:
    """The moment without the cast to a date that sqlglot puts around arguments."""
    while isinstance(moment, exp.TsOrDsToDate | exp.TsOrDsToTimestamp | exp.TimeStrToTime):
        moment = moment.this
    return moment


def _sqlite_part(node: exp.Expr) -> exp.Expr | None:
    """EXTRACT(YEAR FROM x), YEAR(x) and the like."""
    singles = (exp.Year, exp.Month, exp.Day, exp.Hour, exp.Minute, exp.Second, exp.Quarter)
    if isinstance(node, exp.Extract):
        part, moment = node.name.upper(), node.expression
    elif isinstance(node, (*singles, exp.DayOfWeek)):
        part, moment = node.key.upper(), node.this
    else:
        return None
    if part == "QUARTER":
        month = exp.Add(this=_number(_strftime("%m", moment)), expression=exp.Literal.number(2))
        third = exp.Literal.number(3)
        return exp.Div(this=exp.Paren(this=month), expression=third, typed=True, safe=True)
    if part not in _PARTS:
        return None
    number = _number(_strftime(_PARTS[part], moment))
    if isinstance(node, exp.DayOfWeek):  # 1 is Sunday where the function comes from
        return exp.Paren(this=exp.Add(this=number, expression=exp.Literal.number(1)))
    return number


def _number(text: exp.Expr) -> exp.Expr:
    return exp.Cast(this=text, to=exp.DataType.build("INTEGER", dialect="sqlite"))


def _sqlite_start(node: exp.Expr) -> exp.Expr | None:
    """DATE_TRUNC('month', x)."""
    if not isinstance(node, exp.TimestampTrunc | exp.DateTrunc):
        return None
    unit = node.args["unit"].name.upper()
    return _strftime(_STARTS[unit], node.this) if unit in _STARTS else None


def _sqlite_shift(node: exp.Expr) -> exp.Expr | None:
    """`x - INTERVAL '30 days'`, DATE_SUB(x, INTERVAL 30 DAY), DATEADD(day, 30, x)."""
    minus = isinstance(node, exp.Sub | exp.DateSub)
    if isinstance(node, exp.Add | exp.Sub) and isinstance(node.expression, exp.Interval):
        amount, unit = node.expression.this, node.expression.args.get("unit")
    elif isinstance(node, exp.DateAdd | exp.DateSub | exp.TsOrDsAdd):
        amount, unit = node.expression, node.args.get("unit")
    else:
        return None
    if isinstance(amount, exp.Interval):
        amount, unit = amount.this, amount.args.get("unit")
    word = unit.name.upper().removesuffix("S") if unit is not None else "DAY"
    count = re.fullmatch(r"[-+]?\d+", amount.name) if amount is not None else None
    if count is None or (word not in _UNITS and word != "WEEK"):
        return None
    number = int(amount.name) * (-1 if minus else 1) * (7 if word == "WEEK" else 1)
    shift = f"{number:+d} {'day' if word == 'WEEK' else word.lower()}"
    timed = word in ("HOUR", "MINUTE", "SECOND") or isinstance(node.this, exp.CurrentTimestamp)
    base = "now" if isinstance(node.this, exp.CurrentDate | exp.CurrentTimestamp) else None
    moment = exp.Literal.string(base) if base else _bare(node.this)
    name = "DATETIME" if timed else "DATE"
    return exp.Anonymous(this=name, expressions=[moment, exp.Literal.string(shift)])


# -- servers ---------------------------------------------------------------------


def _mysql(node: exp.Expr) -> exp.Expr | None:
    if isinstance(node, exp.Filter):
        return _conditional(node)
    if isinstance(node, exp.RegexpLike):  # REGEXP_LIKE is MySQL's alone, not MariaDB's
        place = exp.Anonymous(this="REGEXP_INSTR", expressions=[node.this, node.expression])
        return exp.GT(this=place, expression=exp.Literal.number(0))
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc):
        unit = node.args["unit"].name.upper()
        if unit in _STARTS:
            pattern = _STARTS[unit].replace("%M", "%i")
            call = [_bare(node.this), exp.Literal.string(pattern)]
            return exp.Anonymous(this="DATE_FORMAT", expressions=call)
    if isinstance(node, exp.SplitPart) and node.args["part_index"].name == "1":
        parts = [node.this, node.args["delimiter"], node.args["part_index"]]
        return exp.Anonymous(this="SUBSTRING_INDEX", expressions=parts)
    return None


def _conditional(node: exp.Filter) -> exp.Expr:
    """`sum(x) FILTER (WHERE c)` as `sum(CASE WHEN c THEN x END)`."""
    call: exp.Expr = node.this.copy()
    counted = exp.Literal.number(1) if isinstance(call.this, exp.Star) else call.this
    inside = exp.Case(ifs=[exp.If(this=node.expression.this.copy(), true=counted.copy())])
    call.set("this", inside)
    return call


def _postgres(node: exp.Expr) -> exp.Expr | None:
    """MySQL's quarter, and its day of the week: 1 on Sundays, where others count from 0."""
    if isinstance(node, exp.Quarter):
        return exp.Extract(this=exp.var("QUARTER"), expression=_bare(node.this))
    if not isinstance(node, exp.DayOfWeek):
        return None
    moment = exp.Cast(this=_bare(node.this), to=exp.DataType.build("DATE"))
    number = exp.Extract(this=exp.var("DOW"), expression=moment)
    return exp.Paren(this=exp.Add(this=number, expression=exp.Literal.number(1)))


# DECIMAL without digits keeps all of them in PostgreSQL, three in DuckDB, none in MySQL.
_CUT_DECIMALS = frozenset({"duckdb", "mysql"})


def _uncut(node: exp.Expr) -> exp.Expr | None:
    cut = isinstance(node, exp.DataType) and node.this is exp.DType.DECIMAL
    return exp.DataType.build("DOUBLE") if cut and not node.expressions else None


_RULES: dict[str, tuple[Rule, ...]] = {
    "sqlite": (_sqlite,),
    "mysql": (_mysql,),
    "postgres": (_postgres,),
}
