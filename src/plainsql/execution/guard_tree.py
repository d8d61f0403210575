"""What the guard checks on the tree: every node, and every table by its scope.

A name of a WITH clause hides a table only where the engine sees it. SQLite
resolves a name to any item of the same clause, earlier, later or itself;
PostgreSQL, DuckDB and MariaDB to earlier ones. An item sees itself only in the
recursive part of WITH RECURSIVE: DuckDB reads the real table in
`WITH RECURSIVE t AS (SELECT * FROM t)` and in the part before UNION.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from plainsql.execution.guard_nodes import check_node, children, series_length
from plainsql.execution.guard_scope import Place, Scope
from plainsql.execution.policies.base import MAX_SERIES, Policy, fold
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

Names = frozenset[str]
_KEPT = frozenset({"Select", "From", "Join", "Column", "Dot"})


class Nodes(dict[str, list[Any]]):
    """Nodes of the tree by the name of their type: those of `_KEPT`, and each "CTE"."""

    def __init__(self) -> None:
        super().__init__({name: [] for name in (*_KEPT, "CTE")})


_ROOTS = frozenset({"Select", "Union", "Except", "Intersect", "Values", "Subquery"})
_DUCKDB_ROOTS = frozenset({"Describe", "Summarize", "Pivot"})
_CALLED_SOURCES = frozenset({"Anonymous", "GenerateSeries", "ExplodingGenerateSeries", "JSONTable"})
# What makes DuckDB look for a file or a URL instead of a table.
_FILE_SIGNS = frozenset("./\\:*?[]~")


def check_tree(tree: Expr, rules: Policy, scope: Scope, aliases: Counter[str]) -> Nodes:
    """Walk the tree once; each node with the WITH names it can see. Raises Refused.

    Returns the nodes of the kinds that later checks look at, in no order.
    """
    kind = type(tree).__name__
    if kind not in _ROOTS and not (rules.dialect == "duckdb" and kind in _DUCKDB_ROOTS):
        raise Refused(f"a statement of type {kind} is not allowed")
    series, found = 1, Nodes()
    stack: list[tuple[Expr, Names]] = [(tree, frozenset())]
    while stack:
        node, visible = stack.pop()
        check_node(node, rules)
        name = type(node).__name__
        if name in _KEPT:
            found[name].append(node)
        elif name == "Table":
            _check_table(node, visible, rules, scope)
        elif name == "TableAlias" and node.args.get("columns"):
            aliases[_alias_text(node)] -= 1
        elif name in ("GenerateSeries", "ExplodingGenerateSeries"):
            series *= series_length(node)
        stack.extend(below(node, visible, rules))
        if clause := node.args.get("with_"):
            found["CTE"] += clause.expressions  # their parts are walked, not always they
    if series > 10 * MAX_SERIES:
        raise Refused("the product of several series is too large")
    if any(count > 0 for count in aliases.values()):
        called = next(name for name, count in aliases.items() if count > 0)
        raise Refused(f"function {called[:60]!r} is not allowed")
    return found


def _alias_text(node: Expr) -> str:
    """The alias as the scanner writes it: folded unless it is quoted."""
    this = node.this
    return "" if this is None else this.name if this.args.get("quoted") else fold(this.name)


def below(node: Expr, visible: Names, rules: Policy) -> list[tuple[Any, Names]]:
    """The children of `node`, each with the WITH names that it can see."""
    clause = node.args.get("with_")
    if clause is None:
        return [(child, visible) for child in children(node)]
    check_node(clause, rules)
    names = [_with_name(item, rules) for item in clause.expressions]
    below = visible | frozenset(names)
    found: list[tuple[Any, Names]] = [
        (child, below) for child in children(node) if child is not clause
    ]
    for at, item in enumerate(clause.expressions):
        if rules.forward_ctes:
            found.append((item, below))
        else:
            earlier = visible | frozenset(names[:at])
            found.extend(_item(item, names[at], earlier, bool(clause.args.get("recursive")), rules))
    return found


def _with_name(item: Expr, rules: Policy) -> str:
    alias = item.args["alias"].this
    return rules.table_name(alias.name, bool(alias.args.get("quoted")))


def _item(
    item: Expr, name: str, earlier: Names, recursive: bool, rules: Policy
) -> list[tuple[Any, Names]]:
    """A WITH item in parts: only the right arm of its UNION can see the item itself."""
    body = item.this
    plain = type(body).__name__ == "Union" and not body.args.get("with_")
    if not recursive or not plain or body.args.get("by_name"):
        return [(item, earlier)]
    check_node(item, rules)
    check_node(body, rules)
    found = [(child, earlier) for child in children(item) if child is not body]
    for child in children(body):
        found.append((child, earlier | {name} if child is body.expression else earlier))
    return found


def _check_table(node: Expr, visible: Names, rules: Policy, scope: Scope) -> None:
    """The table is a WITH name in sight, a table function, or one that may be read."""
    kind = type(node.this).__name__
    qualified = bool(node.args.get("db") or node.args.get("catalog"))
    if kind in _CALLED_SOURCES and not qualified:
        return  # its name is checked in the text and at its own node
    if kind != "Identifier":
        raise Refused("FROM must name tables or hold queries")
    name = rules.table_name(node.name, bool(node.this.args.get("quoted")))
    if not qualified and (name in visible or fold(name) in rules.bare_tables):
        return
    space = _space(node, rules, scope)
    if _in_catalogue(space, name, rules):
        return
    reserved = rules.reserves(fold(name)) if space in ("", None) else rules.reserves(fold(space))
    if space is None or reserved or not _is_listed((space, name), rules, scope):
        raise Refused(f"table {_written(node)!r} is not allowed")


def _written(node: Expr) -> str:
    parts = [node.text(key) for key in ("catalog", "db") if node.args.get(key)]
    return ".".join([*parts, node.name])[:60]


def _space(node: Expr, rules: Policy, scope: Scope) -> str | None:
    """The database schema that qualifies the table, "" for the default one.

    Raises Refused for another database than the one that is open.
    """
    catalog, db = (_identifier(node.args.get(key), rules) for key in ("catalog", "db"))
    if catalog and not (scope.database and catalog == scope.database):
        raise Refused("a table of another database is not allowed")
    if db in rules.homes or (rules.database_is_home and not catalog and db == scope.database):
        return ""
    if db and (scope.readable is None or all(space != db for space, _ in scope.readable)):
        catalogue = rules.catalogue_open and any(
            entry.startswith(fold(db) + ".") for entry in rules.catalogue
        )
        if not catalogue:
            raise Refused("a table of another database is not allowed")
    return db


def _identifier(node: Any, rules: Policy) -> str:
    return "" if node is None else rules.table_name(node.name, bool(node.args.get("quoted")))


def _in_catalogue(space: str | None, name: str, rules: Policy) -> bool:
    if not rules.catalogue_open:
        return False
    return (f"{fold(space)}.{fold(name)}" if space else fold(name)) in rules.catalogue


def _is_listed(place: Place, rules: Policy, scope: Scope) -> bool:
    if scope.readable is not None:
        return place in scope.readable
    if rules.needs_list:
        raise Refused("a list of the tables that may be read is needed")
    if rules.dialect == "duckdb" and set(place[1]) & _FILE_SIGNS:
        return False
    return place[0] == ""
