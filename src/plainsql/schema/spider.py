"""Schemas of the Spider and BIRD benchmarks, from their `tables.json`.

Spider: https://yale-lily.github.io/spider; BIRD: https://bird-bench.github.io.
BIRD writes a composite primary key as a list within `primary_keys`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from plainsql.errors import SchemaError
from plainsql.schema.keys import infer_foreign_keys
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table

_TYPES = {
    "text": ColumnType.TEXT,
    "number": ColumnType.NUMBER,
    "integer": ColumnType.NUMBER,
    "real": ColumnType.NUMBER,
    "time": ColumnType.TIME,
    "date": ColumnType.TIME,
    "datetime": ColumnType.TIME,
    "boolean": ColumnType.BOOLEAN,
}


def load_tables_json(path: str | Path, *, infer_keys: bool = True) -> dict[str, Schema]:
    """All schemas of a `tables.json`, by database name, in the file's order.

    Names in words are the file's own, in lower case. Keys that the file doesn't
    list are inferred unless told otherwise. Raises SchemaError if the file
    can't be read or isn't of this form.
    """
    hint = "Give the tables.json of Spider or BIRD."
    try:
        forms = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(forms, list):
            raise TypeError("expected a list of schemas")
        schemas = {form["db_id"]: _schema(form) for form in forms}
    except OSError as error:
        raise SchemaError(f"Can't read {path}: {error.strerror}.", hint=hint) from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SchemaError(f"{path} is not in the form of Spider: {error!r}.", hint=hint) from error
    if infer_keys:
        return {name: infer_foreign_keys(schema) for name, schema in schemas.items()}
    return schemas


def _schema(form: dict[str, Any]) -> Schema:
    primary = frozenset(_flattened(form["primary_keys"]))
    tables = tuple(
        Table(name, tuple(_columns(form, at, primary)), _natural(natural, name))
        for at, (name, natural) in enumerate(
            zip(form["table_names_original"], form["table_names"], strict=True)
        )
    )
    return Schema(form["db_id"], tables, tuple(_keys(form, primary)))


def _flattened(keys: Iterable[int | list[int]]) -> Iterator[int]:
    for key in keys:
        yield from (key if isinstance(key, list) else (key,))


def _columns(form: dict[str, Any], table: int, primary: frozenset[int]) -> Iterator[Column]:
    """The columns of one table; the file's list starts with a `*` of table -1."""
    for at, (of_table, name) in enumerate(form["column_names_original"]):
        if of_table == table:
            yield Column(
                table=form["table_names_original"][table],
                name=name,
                type=_TYPES.get(form["column_types"][at].lower(), ColumnType.OTHER),
                natural=_natural(form["column_names"][at][1], name),
                primary_key=at in primary,
            )


def _natural(natural: str, name: str) -> str:
    return " ".join(natural.lower().split()) or name.lower()


def _keys(form: dict[str, Any], primary: frozenset[int]) -> Iterator[ForeignKey]:
    """The file lists pairs of columns; pairs that make up a composite key become one."""
    columns = form["column_names_original"]
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for own, target in form["foreign_keys"]:
        groups.setdefault((columns[own][0], columns[target][0]), []).append((own, target))
    for (_, target_table), pairs in groups.items():
        whole = {at for at in primary if columns[at][0] == target_table}
        targets = [target for _, target in pairs]
        if len(pairs) > 1 and len(targets) == len(whole) and {*targets} == whole:
            yield _key(form, pairs)
        else:
            yield from (_key(form, [pair]) for pair in pairs)


def _key(form: dict[str, Any], pairs: list[tuple[int, int]]) -> ForeignKey:
    tables, columns = form["table_names_original"], form["column_names_original"]
    own, target = pairs[0]
    return ForeignKey(
        tables[columns[own][0]],
        tuple(columns[left][1] for left, _ in pairs),
        tables[columns[target][0]],
        tuple(columns[right][1] for _, right in pairs),
    )
