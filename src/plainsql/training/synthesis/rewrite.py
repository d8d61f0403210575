"""One pass over a query tree that may exchange its columns, tables and literals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from plainsql.logical_form.tree import (
    Between,
    ColumnRef,
    Comparison,
    Like,
    Literal,
    Query,
    Select,
    Star,
)

_OWNERS = (Comparison, Between, Like, Select)
OnLiteral = Callable[[Literal, Any], Literal]


def rewrite(
    query: Query,
    column: Callable[[int], int],
    table: Callable[[int], int],
    literal: OnLiteral,
) -> Query:
    """The tree with columns and tables exchanged, in the order they are written.

    `literal` gets each constant with the comparison, pattern or block (for its
    LIMIT) that it belongs to, before that is changed.
    """

    def change(node: Any, owner: Any) -> Any:
        if isinstance(node, ColumnRef):
            return replace(node, column=column(node.column))
        if isinstance(node, Star):
            return Star(table(node.table))
        if isinstance(node, Literal):
            return literal(node, owner)
        if isinstance(node, tuple):
            return tuple(change(item, owner) for item in node)
        if not is_dataclass(node) or isinstance(node, type):
            return node
        inner = node if isinstance(node, _OWNERS) else owner
        new = {f.name: change(getattr(node, f.name), inner) for f in fields(node)}
        if isinstance(node, Select):
            new["extra_tables"] = tuple(map(table, node.extra_tables))
        return replace(node, **new)

    result: Query = change(query, None)
    return result


def keep(value: int) -> int:
    """The column or table as it is."""
    return value


def literals_of(query: Query) -> list[tuple[Literal, Any]]:
    """The constants of a tree with their owners, in the order `rewrite` meets them."""
    found: list[tuple[Literal, Any]] = []

    def note(literal: Literal, owner: Any) -> Literal:
        found.append((literal, owner))
        return literal

    rewrite(query, keep, keep, note)
    return found
