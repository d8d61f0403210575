"""What a database is: tables, columns, keys, joins; read, rendered, stored.

The names below are loaded from their modules when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plainsql.schema.graph import JoinEdge, JoinGraph, JoinTree
    from plainsql.schema.introspect import read_schema, sqlite_schema
    from plainsql.schema.json_form import from_json, to_json
    from plainsql.schema.keys import infer_foreign_keys
    from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
    from plainsql.schema.names import natural_name, with_natural_names
    from plainsql.schema.render import as_ddl, as_text
    from plainsql.schema.spider import load_tables_json

__all__ = [
    "Column",
    "ColumnType",
    "ForeignKey",
    "JoinEdge",
    "JoinGraph",
    "JoinTree",
    "Schema",
    "Table",
    "as_ddl",
    "as_text",
    "from_json",
    "infer_foreign_keys",
    "load_tables_json",
    "natural_name",
    "read_schema",
    "sqlite_schema",
    "to_json",
    "with_natural_names",
]

_HOMES = {
    "graph": ("JoinEdge", "JoinGraph", "JoinTree"),
    "introspect": ("read_schema", "sqlite_schema"),
    "json_form": ("from_json", "to_json"),
    "keys": ("infer_foreign_keys",),
    "model": ("Column", "ColumnType", "ForeignKey", "Schema", "Table"),
    "names": ("natural_name", "with_natural_names"),
    "render": ("as_ddl", "as_text"),
    "spider": ("load_tables_json",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
