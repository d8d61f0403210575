"""Queries whose shape says that they don't end, or keep more than any machine has.

Deadlines and limits stop every query; this refuses what needs no running to be
judged: a recursion without a condition that is summed up, and the product of
three or more tables that nothing joins below an aggregate. A heuristic in
favour of the query: what it can't read (unqualified columns) counts as joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from plainsql.execution.guard_tree import Nodes
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

# What an endless recursion may compute while a LIMIT above it counts its rows:
# nothing that grows (s || s doubles in each of them).
_COUNTING = frozenset({"Column", "Identifier", "Literal", "Add", "Sub", "Alias", "Paren", "Star"})
_MAX_LOOSE = 2


def check_cost(tree: Expr, nodes: Nodes) -> None:
    """Raise Refused for a recursion without an end or a product without a condition."""
    for item in nodes["CTE"]:
        if _is_endless(item):
            _check_readers(item, nodes["Select"])
    for select in nodes["Select"]:
        if len(select.args.get("joins") or ()) >= _MAX_LOOSE:
            _check_product(select, is_root=select is tree)


def _is_endless(item: Any) -> bool:
    """Whether the item's recursive part reads itself with nothing that could stop it."""
    body, name = item.this, item.alias.lower()
    if type(body).__name__ != "Union" or body.args.get("limit"):
        return False
    step = body.expression
    if type(step).__name__ != "Select" or not _reads(step, name):
        return False
    if step.args.get("limit") or step.args.get("having") or step.args.get("qualify"):
        return False
    if _has_column(step.args.get("where")):
        return False
    return not any(
        join.args.get("using") or join.args.get("method") or _has_column(join.args.get("on"))
        for join in step.args.get("joins") or ()
    )


def _reads(select: Any, name: str) -> bool:
    """Whether `name` is one of the query's own sources."""
    sources = [select.args.get("from_"), *(select.args.get("joins") or ())]
    return any(
        type(source.this).__name__ == "Table" and source.this.name.lower() == name
        for source in sources
        if source is not None
    )


def _has_column(node: Any) -> bool:
    from sqlglot.expressions import Column

    return node is not None and node.find(Column) is not None


def _check_readers(item: Any, selects: list[Any]) -> None:
    """An endless recursion may only be read row by row, up to a LIMIT."""
    name, step = item.alias.lower(), item.this.expression
    if any(type(n).__name__ not in _COUNTING for e in step.expressions for n in e.walk()):
        raise Refused("a recursion without a condition may only count")
    for select in selects:
        if select is not step and _reads(select, name) and not _is_streamed(select):
            raise Refused("a recursion without a condition never ends")


def _is_streamed(select: Any) -> bool:
    """Whether the query takes rows as they come and stops at a LIMIT."""
    from sqlglot.expressions import AggFunc, Window

    keeps = ("group", "having", "distinct", "order", "joins", "where", "qualify")
    if not select.args.get("limit") or any(select.args.get(key) for key in keeps):
        return False
    return not any(e.find(AggFunc, Window) for e in select.expressions)


def _check_product(select: Any, *, is_root: bool) -> None:
    """Refuse three or more tables with no condition between them, unless rows stream."""
    loose = _loose_tables(select)
    if loose <= _MAX_LOOSE:
        return
    from sqlglot.expressions import AggFunc

    keeps = ("group", "having", "order", "where")
    kept = not is_root or any(select.args.get(key) for key in keeps)
    if kept or any(e.find(AggFunc) for e in select.expressions):
        raise Refused(f"a product of {loose} tables that no condition joins")


def _loose_tables(select: Any) -> int:
    """How many groups of tables the query has that no condition holds together."""
    group: dict[str, str] = {}
    conditions = list(_conjuncts(select.args.get("where")))
    for source in (select.args["from_"], *select.args["joins"]):
        name = source.this.alias_or_name.lower()
        joined = source.args.get("using") or source.args.get("method")
        # sub-queries and functions have few rows, or are judged by themselves
        is_table = type(source.this).__name__ == "Table" and source.this.args.get("this")
        before = next(reversed(group), None)
        group[name] = group[before] if joined and before else name if is_table else ""
        conditions.extend(_conjuncts(source.args.get("on")))
    for condition in conditions:
        if not _connect(condition, group):
            return 0
    return len(set(group.values()) - {""})


def _conjuncts(node: Any) -> Iterator[Any]:
    """The conditions that all must hold."""
    waiting = [] if node is None else [node]
    while waiting:
        node = waiting.pop()
        kind = type(node).__name__
        if kind in ("Where", "Paren"):
            waiting.append(node.this)
        elif kind == "And":
            waiting += [node.this, node.expression]
        else:
            yield node


def _connect(condition: Any, group: dict[str, str]) -> bool:
    """Join the groups of the two tables that `condition` names; False: can't be told.

    One table compared with a constant is taken out of the count. A condition
    over three or more tables (a.n + b.n + c.n = 1) makes nothing smaller.
    """
    from sqlglot.expressions import Column

    tables = {column.text("table").lower() for column in condition.find_all(Column)}
    if "" in tables or not tables <= set(group):
        return not tables
    if len(tables) == 2:
        one, other = (group[name] for name in sorted(tables))
        for name in group:
            if group[name] == other:
                group[name] = one
    elif len(tables) == 1 and type(condition).__name__ in ("EQ", "In", "Is"):
        gone = group[tables.pop()]
        for name in group:
            if group[name] == gone:
                group[name] = ""
    return True
