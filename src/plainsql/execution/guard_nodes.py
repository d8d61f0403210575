"""What the guard checks at one node of the tree: its type, its arguments, its sizes.

Work in one step of an engine can't be interrupted, and a value made by one step
can have any size: so functions that make much of little (`repeat`, `lpad`,
`generate_series`, powers of exact numbers) need literal bounds here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from plainsql.execution.policies.base import (
    MAX_REPEATED,
    MAX_SERIES,
    MAX_TYPE_PARAMETER,
    Policy,
    fold,
)
from plainsql.execution.policies.functions import FUNCTION_NODES
from plainsql.execution.policies.nodes import STRUCTURE_NODES
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

_DESCRIBED = frozenset({"Table", "Select", "Union", "Except", "Intersect", "Values", "Subquery"})
_QUERIES = frozenset({"Select", "Union", "Except", "Intersect", "Values", "Subquery"})
_SOURCES = frozenset({"Table", "Subquery", "Values", "Lateral", "Unnest"})
# Of SELECT: hints for the planner. SQL_CALC_FOUND_ROWS would leave state behind.
_MODIFIERS = frozenset({"STRAIGHT_JOIN", "SQL_NO_CACHE", "SQL_SMALL_RESULT", "SQL_BIG_RESULT"})
# Words of SQL that sqlglot keeps as calls: x = ALL (...), VALUES (column).
_SYNTAX = frozenset({"all", "any", "some", "values"})
# Bounded by their own nodes; under any other node (a dot call) the bound isn't seen.
_BOUNDED = frozenset({"repeat", "lpad", "rpad", "space", "generate_series", "range"})
_GROWING = frozenset({"Repeat", "Pad", "Space"})
# An exact number to this power has some thousand digits.
_MAX_POWER = 1_000
_DAYS = {"day": 1, "week": 7, "month": 28, "quarter": 90, "year": 365}
_INTERVAL = re.compile(r"([1-9][0-9]{0,5}) (day|week|month|quarter|year)s?")
_PLAIN = frozenset({str, int, float, bool, type(None)})


@cache
def _expression() -> type[Expr]:
    from sqlglot.expressions import Expr

    return Expr


def children(node: Expr) -> list[Any]:
    """The nodes directly below `node`. Raises Refused for values that hide any."""
    found = []
    for value in node.args.values():
        if type(value) in _PLAIN:
            continue
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, _expression()):
                found.append(child)
            elif type(child) not in _PLAIN and not isinstance(child, Enum):
                raise Refused(f"{type(node).__name__} is not allowed")
    return found


def check_node(node: Expr, rules: Policy) -> None:
    """The node's type, its arguments, and for some types what they hold."""
    name = type(node).__name__
    allowed = STRUCTURE_NODES.get(name)
    if allowed is not None:
        for key, value in node.args.items():
            if key not in allowed and value and key not in rules.extra_arguments.get(name, ()):
                raise Refused(f"{name} with {key.strip('_')} is not allowed")
    elif name not in FUNCTION_NODES and not _is_granted(node, rules):
        raise Refused(f"{name} is not allowed")
    check = _CHECKS.get(name)
    if check is not None:
        check(node, rules)


def _is_granted(node: Expr, rules: Policy) -> bool:
    """Whether the node is a function that the settings allow by name."""
    from sqlglot.expressions import Func

    if not rules.granted_functions or not isinstance(node, Func):
        return False
    return any(fold(name) in rules.granted_functions for name in type(node).sql_names())


def _check_source(node: Expr, _: Policy) -> None:
    if type(node.this).__name__ not in _SOURCES:
        raise Refused("FROM must name tables or hold queries")


def _check_described(node: Expr, _: Policy) -> None:
    """SUMMARIZE 'x.csv' holds a text that DuckDB reads as a file."""
    if node.this is not None and type(node.this).__name__ not in _DESCRIBED:
        raise Refused(f"{type(node).__name__.upper()} must name a table or hold a query")


def _check_lateral(node: Expr, rules: Policy) -> None:
    """`FROM lateral x` names a table of that name, but for PostgreSQL's kin."""
    if type(node.this).__name__ in ("Column", "Identifier", "Dot", "Literal"):
        raise Refused("LATERAL must hold a query or a function")


def _check_exists(node: Expr, _: Policy) -> None:
    if type(node.this).__name__ not in _QUERIES:
        raise Refused("EXISTS must hold a query")


def _check_select(node: Expr, _: Policy) -> None:
    if not node.expressions:
        raise Refused("SELECT without a result column")
    modifiers = node.args.get("operation_modifiers") or ()
    if any(word.name.upper() not in _MODIFIERS for word in modifiers):
        raise Refused("a modifier of SELECT is not allowed")


def _check_column(node: Expr, rules: Policy) -> None:
    if rules.column_homes is None:
        return
    database = fold(node.text("db"))
    if node.args.get("catalog") or (database and database not in rules.column_homes):
        raise Refused("a column of another database is not allowed")


def _check_anonymous(node: Expr, rules: Policy) -> None:
    where = type(node.parent).__name__
    in_from = where in ("Table", "Lateral")
    name = node.this if isinstance(node.this, str) else node.this.name
    quoted = not isinstance(node.this, str)
    called = rules.function_name(name, quoted)
    if called in _BOUNDED:
        raise Refused(f"function {called!r} needs literal bounds")
    allowed = rules.table_functions if in_from else rules.functions
    if called in allowed or (called in _SYNTAX and not in_from and not quoted):
        return
    if where != "Dot" or not any(f".{called}" in entry for entry in rules.granted_functions):
        raise Refused(f"function {name[:60]!r} is not allowed")


def _check_dot(node: Expr, rules: Policy) -> None:
    granted = any("." in name for name in rules.granted_functions)
    used = rules.dot_calls or rules.function_homes or granted
    if not used and type(node.parent).__name__ != "DataType":
        raise Refused("Dot is not allowed")


def _check_trim(node: Expr, rules: Policy) -> None:
    """`trim(x, y)` costs len(x) * len(y) inside one step of SQLite."""
    characters = node.args.get("expression")
    literal = characters is None or type(characters).__name__ == "Literal"
    if rules.dialect == "sqlite" and not literal:
        raise Refused("TRIM takes a literal as its second argument")


def _check_repeat(node: Expr, _: Policy) -> None:
    count = _whole(node.args.get("times") or node.args.get("expression") or node.this)
    if count is None or count > MAX_REPEATED:
        raise Refused(f"a repetition needs a literal number up to {MAX_REPEATED:,}")
    _check_once(node, _GROWING, "a repetition inside a repetition is not allowed")


def _check_once(node: Expr, kinds: frozenset[str], reason: str) -> None:
    """Refuse the node below another one of `kinds`."""
    above = node.parent
    while above is not None:
        if type(above).__name__ in kinds:
            raise Refused(reason)
        above = above.parent


def _check_replace(node: Expr, _: Policy) -> None:
    """Replacing by something longer, thrice in one another, multiplies what there is."""
    above: Expr | None = node
    growing = 0
    while above is not None:
        growing += type(above).__name__ == "Replace" and _grows(above)
        above = above.parent
    if growing > 2:
        raise Refused("too many replacements in one another")


def _grows(node: Expr) -> bool:
    old, new = node.args.get("expression"), node.args.get("replacement")
    if new is None:
        return False
    if type(new).__name__ != "Literal" or type(old).__name__ != "Literal":
        return True
    return len(new.name) > len(old.name)  # type: ignore[union-attr]


def series_length(node: Expr) -> int:
    """How many values a series with literal bounds has. Raises Refused without bounds."""
    start, end, step = (node.args.get(key) for key in ("start", "end", "step"))
    first, last = _whole(start), _whole(end)
    by = 1 if step is None else _whole(step)
    if first is None or last is None or by is None:
        first, last, by = _day(start), _day(end), _step_days(step)
    if first is None or last is None or not by:
        raise Refused("a series needs literal bounds")
    length = abs(last - first) // abs(by) + 1
    if length > MAX_SERIES:
        raise Refused(f"a series of more than {MAX_SERIES:,} values is not allowed")
    return length


def _whole(node: Any) -> int | None:
    """The value of a literal whole number, maybe negative; None for all else."""
    if type(node).__name__ == "Neg":
        value = _whole(node.this)
        return None if value is None else -value
    if type(node).__name__ != "Literal" or node.args.get("is_string"):
        return None
    return int(node.name) if node.name.isascii() and node.name.isdigit() else None


def _day(node: Any) -> int | None:
    """The day number of a literal date, maybe with a cast; None for all else."""
    while type(node).__name__ in ("Cast", "Paren", "Date"):
        node = node.this
    if type(node).__name__ != "Literal" or not node.args.get("is_string"):
        return None
    try:
        return datetime.fromisoformat(node.name).toordinal()
    except ValueError:
        return None


def _step_days(node: Any) -> int | None:
    """The least days in a literal interval of whole days; None for all else."""
    while type(node).__name__ in ("Cast", "Paren"):
        node = node.this
    if type(node).__name__ == "Interval":
        text = f"{node.name} {node.text('unit')}" if node.args.get("unit") else node.name
    elif type(node).__name__ == "Literal" and node.args.get("is_string"):
        text = node.name
    else:
        return None
    match = _INTERVAL.fullmatch(text.strip().lower())
    return int(match[1]) * _DAYS[match[2]] if match else None


def _check_series(node: Expr, _: Policy) -> None:
    series_length(node)


def _check_power(node: Expr, rules: Policy) -> None:
    """PostgreSQL computes powers of exact numbers to the last digit, in one step."""
    if rules.dialect != "postgres":
        return
    exponent = node.args.get("expression") or node.this
    if not _is_small(exponent):
        raise Refused(f"a power needs a column or a literal up to {_MAX_POWER:,} as exponent")
    _check_once(node, frozenset({"Pow", "Exp"}), "a power of a power is not allowed")


def _is_small(node: Any) -> bool:
    """A column or a literal, with signs, casts, sums, differences and quotients of these."""
    kind = type(node).__name__
    if kind == "Literal":
        try:
            return abs(float(node.name)) <= _MAX_POWER
        except ValueError:
            return False
    if kind in ("Neg", "Paren", "Cast"):
        return _is_small(node.this)
    if kind in ("Add", "Sub", "Div"):
        return _is_small(node.this) and _is_small(node.expression)
    return kind in ("Column", "Extract", "RowNumber", "Window", "Count", "Subquery", "Ln", "Log")


def _check_type(node: Expr, rules: Policy) -> None:
    """No type whose values name other things, parse much or are padded to a huge size."""
    this = node.this
    name = this.name if isinstance(this, Enum) else str(this)
    kind = node.args.get("kind")
    named = fold(kind.name if kind is not None and not isinstance(kind, str) else str(kind or ""))
    refused = fold(name) in rules.refused_types or named.startswith(("reg", "pg_", "xml"))
    known = name != "USERDEFINED" or rules.named_types is None or named in rules.named_types
    if refused or not known:
        raise Refused(f"the type {named or fold(name)!r} is not allowed")


def _check_type_parameter(node: Expr, _: Policy) -> None:
    value = _whole(node.this)
    if value is not None and abs(value) > MAX_TYPE_PARAMETER:
        raise Refused(f"a type's size may be at most {MAX_TYPE_PARAMETER:,}")


_CHECKS: dict[str, Callable[[Any, Policy], None]] = {
    "From": _check_source,
    "Join": _check_source,
    "Describe": _check_described,
    "Summarize": _check_described,
    "Pivot": _check_described,
    "Select": _check_select,
    "Exists": _check_exists,
    "Lateral": _check_lateral,
    "Column": _check_column,
    "Anonymous": _check_anonymous,
    "Dot": _check_dot,
    "Trim": _check_trim,
    "Repeat": _check_repeat,
    "Pad": _check_repeat,
    "Space": _check_repeat,
    "Replace": _check_replace,
    "GenerateSeries": _check_series,
    "ExplodingGenerateSeries": _check_series,
    "Pow": _check_power,
    "Exp": _check_power,
    "DataType": _check_type,
    "DataTypeParam": _check_type_parameter,
}
