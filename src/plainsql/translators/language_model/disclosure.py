"""What of a database may be shown to a model, and what was.

schema ─ disclosed ─▶ schema without what must stay ─▶ prompt ─ told ─▶ origins of role "sent"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from plainsql.records import SENT, Links, Origin
from plainsql.schema.model import Column, Schema, Table
from plainsql.translators.language_model.asking import Asked
from plainsql.translators.language_model.prompts import Prompt
from plainsql.translators.language_model.repair import MOST_ATTEMPTS
from plainsql.translators.language_model.schema_text import SAMPLES, hits_of

PRIVACY = ("names-only", "schema", "samples")
FORMS = {"names-only": "names", "schema": "ddl", "samples": "samples"}
_SHOWN = {
    "names-only": "their names, columns and keys",
    "schema": "their names, columns, types, keys and comments",
    "samples": "their names, columns, types, keys, comments and sample values",
}


def narrowed(schema: Schema, links: Links) -> tuple[Schema, Links]:
    """The tables that retrieval has chosen of a large schema, and the links to them.

    Nothing else of a large schema is rendered, counted or sent. Without a choice both come
    back as they are.
    """
    if not links.tables:
        return schema, links
    kept = sorted(links.tables)
    part = replace(schema, tables=tuple(schema.tables[table] for table in kept))
    inside = {table.name.lower() for table in part.tables}
    keys = (key for key in schema.foreign_keys if key.table.lower() in inside)
    part = replace(part, foreign_keys=tuple(k for k in keys if k.ref_table.lower() in inside))
    return part, _relinked(schema, part, links, {table: at for at, table in enumerate(kept)})


def _relinked(schema: Schema, part: Schema, links: Links, place: dict[int, int]) -> Links:
    """`links` with the positions that tables and columns have in `part`."""
    columns = {
        old: new
        for table, at in place.items()
        for old, new in zip(schema.columns_of(table), part.columns_of(at), strict=True)
    }
    names = (
        replace(name, table=place[name.table], column=columns.get(name.column))
        if name.column is not None
        else replace(name, table=place[name.table])
        for name in links.names
        if name.table in place
    )
    values = (
        replace(value, columns=tuple(columns[c] for c in value.columns if c in columns))
        for value in links.values
    )
    tables = tuple(place[table] for table in links.tables)
    return replace(links, names=tuple(names), values=tuple(values), tables=tables)


def disclosed(schema: Schema, privacy: str) -> Schema:
    """The schema without what may not leave the machine."""
    if privacy == "samples":
        return schema
    return replace(schema, tables=tuple(_bare(table, privacy) for table in schema.tables))


def _bare(table: Table, privacy: str) -> Table:
    columns = tuple(_bare_column(column, privacy) for column in table.columns)
    changes: dict[str, Any] = {"comment": ""} if privacy == "names-only" else {}
    return replace(table, columns=columns, **changes)


def _bare_column(column: Column, privacy: str) -> Column:
    if privacy == "names-only":
        return replace(column, samples=(), comment="", declared_type="")
    return replace(column, samples=())


def told(prompt: Prompt, asked: Asked, privacy: str, host: str) -> Iterator[Origin]:
    """What left the machine with the question, a thing each."""
    shown = ", ".join(prompt.tables) or "none"
    note = f"{_SHOWN[privacy]} were sent to {host} with the question"
    yield Origin(f"tables {shown}", SENT, note=note)
    values = _values(prompt, asked.schema, asked.links) if privacy == "samples" else {}
    for column, cells in values.items():
        listed = ", ".join(repr(cell) for cell in cells)
        yield Origin(listed, SENT, note=f"values of {column} were sent to {host}")
    for shot in prompt.shots:
        note = f"an example with the values in its SQL was sent to {host}: {shot.sql}"
        yield Origin(f"“{shot.question}”", SENT, note=note)
    for attempt in asked.attempts[-MOST_ATTEMPTS:]:
        note = f"the query and what was wrong with it were sent to {host}: {attempt.problem}"
        yield Origin(attempt.candidate.sql, SENT, note=note)


def _values(prompt: Prompt, schema: Schema, links: Links | None) -> dict[str, tuple[str, ...]]:
    """The cells in a prompt, by the column they are of."""
    tables, cut = set(prompt.tables), set(prompt.cut_columns)
    hits = hits_of(links) if links else {}
    found: dict[str, tuple[str, ...]] = {}
    for at, column in enumerate(schema.columns):
        name = f"{column.table}.{column.name}"
        cells = tuple(dict.fromkeys((*column.samples[:SAMPLES], *hits.get(at, ()))))
        if cells and column.table in tables and name not in cut:
            found[name] = cells
    return found
