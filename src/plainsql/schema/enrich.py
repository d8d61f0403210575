"""A schema given from outside, completed by what the database file shows."""

from __future__ import annotations

from dataclasses import replace

from plainsql.schema.model import Column, ForeignKey, Schema


def enrich(given: Schema, found: Schema) -> Schema:
    """`given` with the samples, declared types and keys of `found`.

    Names in words and column kinds stay as given (a `tables.json` has better
    ones than identifiers tell); keys of the file that are not given are added,
    and so are keys inferred from its cells.
    """
    known = {(c.table.lower(), c.name.lower()): c for c in found.columns}
    tables = tuple(
        replace(table, columns=tuple(_column(c, known) for c in table.columns))
        for table in given.tables
    )
    result = Schema(given.name, tables, given.foreign_keys, given.dialect)
    taken = {_pairs(key) for key in given.foreign_keys}
    more = tuple(
        key for key in found.foreign_keys if _pairs(key) not in taken and _exists(key, result)
    )
    return replace(result, foreign_keys=given.foreign_keys + more)


def _column(column: Column, known: dict[tuple[str, str], Column]) -> Column:
    match = known.get((column.table.lower(), column.name.lower()))
    if match is None:
        return column
    return replace(column, samples=match.samples, declared_type=match.declared_type)


def _pairs(key: ForeignKey) -> frozenset[frozenset[str]]:
    """The column pairs of a key whichever way it points."""
    return frozenset(
        frozenset((f"{key.table}.{a}".lower(), f"{key.ref_table}.{b}".lower()))
        for a, b in zip(key.columns, key.ref_columns, strict=True)
    )


def _exists(key: ForeignKey, schema: Schema) -> bool:
    names = {(c.table.lower(), c.name.lower()) for c in schema.columns}
    ends = [(key.table, c) for c in key.columns] + [(key.ref_table, c) for c in key.ref_columns]
    return all((table.lower(), column.lower()) in names for table, column in ends)
