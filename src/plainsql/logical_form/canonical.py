"""One spelling for what SQL can say in several ways, so that a parser learns one."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from plainsql.logical_form.tree import Aggregate, ColumnRef, Query, Star
from plainsql.schema.model import Schema


def canonical(query: Query, schema: Schema) -> Query:
    """The same query with `count(key)` as `count(*)`.

    A primary key is never NULL, so that counting it counts rows.
    """
    rewritten: Query = _rewrite(query, schema)
    return rewritten


def _rewrite(node: Any, schema: Schema) -> Any:
    if isinstance(node, tuple):
        return tuple(_rewrite(item, schema) for item in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    changes: dict[str, Any] = {}
    for item in fields(node):
        before = getattr(node, item.name)
        after = _rewrite(before, schema)
        if after is not before and after != before:
            changes[item.name] = after
    result = replace(node, **changes) if changes else node
    return _count_rows(result, schema) if isinstance(result, Aggregate) else result


def _count_rows(node: Aggregate, schema: Schema) -> Aggregate:
    argument = node.argument
    if node.function != "COUNT" or node.distinct or not isinstance(argument, ColumnRef):
        return node
    if argument.instance or not schema.columns[argument.column].primary_key:
        return node
    return replace(node, argument=Star(schema.table_of[argument.column]))
