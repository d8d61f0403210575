"""A schema as a JSON object and back, without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plainsql.errors import SchemaError
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table


def to_json(schema: Schema) -> dict[str, Any]:
    """The schema as plain dicts, lists and scalars, ready for `json.dumps`."""
    return {
        "name": schema.name,
        "dialect": schema.dialect,
        "tables": [_table_form(table) for table in schema.tables],
        "foreign_keys": [_key_form(key) for key in schema.foreign_keys],
    }


def from_json(form: Mapping[str, Any] | str | bytes) -> Schema:
    """The schema of an object that `to_json` made, or of its JSON text.

    Fields that are left out take their defaults; other fields are ignored.
    Raises SchemaError for what isn't such an object.
    """
    try:
        found = json.loads(form) if isinstance(form, str | bytes) else form
        return Schema(
            name=_text(found["name"]),
            tables=tuple(_table(table) for table in found["tables"]),
            foreign_keys=tuple(_key(key) for key in found.get("foreign_keys", ())),
            dialect=_text(found.get("dialect", "sqlite")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "It must be an object with name, tables and foreign_keys, as to_json makes it."
        raise SchemaError(f"Not a schema in JSON form: {error!r}.", hint=hint) from error


def _table_form(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "natural": table.natural,
        "is_view": table.is_view,
        "comment": table.comment,
        "row_count": table.row_count,
        "namespace": table.namespace,
        "columns": [_column_form(column) for column in table.columns],
    }


def _column_form(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type.value,
        "natural": column.natural,
        "declared_type": column.declared_type,
        "primary_key": column.primary_key,
        "comment": column.comment,
        "samples": list(column.samples),
    }


def _key_form(key: ForeignKey) -> dict[str, Any]:
    return {
        "table": key.table,
        "columns": list(key.columns),
        "ref_table": key.ref_table,
        "ref_columns": list(key.ref_columns),
        "inferred": key.inferred,
    }


def _table(form: Mapping[str, Any]) -> Table:
    name, count = _text(form["name"]), form.get("row_count")
    return Table(
        name=name,
        columns=tuple(_column(column, name) for column in form["columns"]),
        natural=_text(form.get("natural", name)),
        is_view=bool(form.get("is_view", False)),
        comment=_text(form.get("comment", "")),
        row_count=None if count is None else int(count),
        namespace=_text(form.get("namespace", "")),
    )


def _column(form: Mapping[str, Any], table: str) -> Column:
    return Column(
        table=table,
        name=_text(form["name"]),
        type=ColumnType(form["type"]),
        natural=_text(form.get("natural", form["name"])),
        declared_type=_text(form.get("declared_type", "")),
        primary_key=bool(form.get("primary_key", False)),
        comment=_text(form.get("comment", "")),
        samples=_texts(form.get("samples", [])),
    )


def _key(form: Mapping[str, Any]) -> ForeignKey:
    return ForeignKey(
        table=_text(form["table"]),
        columns=_texts(form["columns"]),
        ref_table=_text(form["ref_table"]),
        ref_columns=_texts(form["ref_columns"]),
        inferred=bool(form.get("inferred", False)),
    )


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"expected a list, found {values!r}")
    return tuple(_text(value) for value in values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value
