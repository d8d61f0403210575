"""A schema as the text a language model reads, in blocks that can be left out one by one.

    schema ─ schema_blocks ─▶ blocks (a table each, ranked by need) ─ fit ─▶ text within a budget

Four forms: "ddl" (CREATE statements), "text" (a table a line), "samples" (a column a
line, with sample values and comments) and "names" (a table a line, without types).
Which of them a model reads best is a matter of measuring; DDL is what most base models
saw in pre-training.

What the text holds of the database is data: see `fencing`. Names and values stand in
quotes unless they are plain words and numbers, comments behind `--`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from plainsql.errors import UsageError
from plainsql.records import Links, ValueKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.render import as_ddl, quote_name
from plainsql.translators.language_model.fencing import defused, literal
from plainsql.translators.language_model.schema_cutting import SEPARATOR, Block, Fitted, fit
from plainsql.translators.parser.narrow import column_scores, table_scores

__all__ = ["FORMS", "SEPARATOR", "Block", "Fitted", "defused", "fit", "schema_blocks"]

FORMS = ("ddl", "text", "samples", "names")

MAX_NAME = 128  # characters kept of a name; PostgreSQL allows 63 bytes, MySQL 64
MAX_COMMENT = 100
MAX_SAMPLE = 40
SAMPLES = 3  # values shown of a column
HITS = 3  # cells shown of a column that the question's words matched

# Tables the question points to whose bridges rank with them; joining more is a guess.
_SEEDS = 4
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def schema_blocks(
    schema: Schema, links: Links | None, form: str, *, hits: bool = False
) -> tuple[Block, ...]:
    """The tables of `schema` as text, in its order, ranked by how much the question needs them.

    With `links`, a table ranks by how strongly the question points to it and its
    columns; the tables that join the strongest ones rank directly behind them, and
    the rest by their distance in joins. Without, tables rank in the schema's order.
    With `hits`, the form "samples" names beside each column the cells that words of
    the question were found in: how a value is spelled decides whether a query finds it
    (CodeS, arXiv 2402.16347). Raises `UsageError` for an unknown form.
    """
    if form not in FORMS:
        raise UsageError(f"No schema form {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    texts = list(_texts(schema, form))
    if links is None:
        return tuple(Block(table, text, at) for at, (table, text) in enumerate(texts))
    if hits and form == "samples":
        for at, found in _hits_by_table(schema, links).items():
            texts[at] = (texts[at][0], _table_with_hits(schema, at, found))
    columns = column_scores(schema, links)
    ranks = _ranks(schema, table_scores(schema, links, columns))
    return tuple(
        Block(table, text, ranks[at], _column_order(schema, at, columns))
        for at, (table, text) in enumerate(texts)
    )


# --- one table as text -------------------------------------------------------


@lru_cache(maxsize=64)
def _texts(schema: Schema, form: str) -> tuple[tuple[str, str], ...]:
    """Name and text of each table; kept, since many questions are put to one schema."""
    write = {"ddl": _ddl, "text": _outline, "samples": _with_samples, "names": _names}[form]
    keys: dict[str, list[ForeignKey]] = {}
    for key in map(_clean_key, schema.foreign_keys):
        keys.setdefault(key.table.lower(), []).append(key)
    clean = map(_clean_table, schema.tables)
    return tuple((table.name, write(table, keys.get(table.name.lower(), []))) for table in clean)


def _clean_table(table: Table) -> Table:
    return replace(
        table,
        name=_clean_name(table.name),
        columns=tuple(map(_clean_column, table.columns)),
        comment=defused(table.comment, MAX_COMMENT),
    )


def _clean_column(column: Column) -> Column:
    return replace(
        column,
        table=_clean_name(column.table),
        name=_clean_name(column.name),
        declared_type=defused(column.declared_type, MAX_SAMPLE),
        comment=defused(column.comment, MAX_COMMENT),
        samples=tuple(defused(sample, MAX_SAMPLE) for sample in column.samples[:SAMPLES]),
    )


def _clean_key(key: ForeignKey) -> ForeignKey:
    return ForeignKey(
        _clean_name(key.table),
        tuple(map(_clean_name, key.columns)),
        _clean_name(key.ref_table),
        tuple(map(_clean_name, key.ref_columns)),
        key.inferred,
    )


def _clean_name(name: str) -> str:
    """A name on one line. Marks stay: the SQL must repeat it, and quotes fence it."""
    if name.isprintable() and len(name) <= MAX_NAME:
        return name
    return "".join(c if c.isprintable() else " " for c in name)[:MAX_NAME]


def _ddl(table: Table, keys: list[ForeignKey]) -> str:
    """A CREATE statement. A view is written as a table: its query is not known."""
    alone = Schema("", (replace(table, is_view=False),), tuple(keys))
    return as_ddl(alone, inferred_keys=True)


def _outline(table: Table, keys: list[ForeignKey]) -> str:
    columns = ", ".join(_column_text(column, keys) for column in table.columns)
    return f"{quote_name(table.name)}({columns})"


def _names(table: Table, keys: list[ForeignKey]) -> str:
    columns = ", ".join(_column_text(column, keys, typed=False) for column in table.columns)
    return f"{quote_name(table.name)}({columns})"


def _with_samples(
    table: Table, keys: list[ForeignKey], hits: Mapping[int, tuple[str, ...]] | None = None
) -> str:
    lines = [f"{quote_name(table.name)}({_note(table.comment)}"]
    for at, column in enumerate(table.columns):
        values = ", ".join(_value(column, sample) for sample in column.samples)
        shown = f" = {values}" if values else ""
        named = ", ".join(_value(column, cell) for cell in (hits or {}).get(at, ()))
        note = "; ".join(filter(None, (column.comment, named and f"in the question: {named}")))
        lines.append(f"  {_column_text(column, keys)}{shown}{_note(note)}")
    return "\n".join((*lines, ")"))


def _column_text(column: Column, keys: Iterable[ForeignKey], *, typed: bool = True) -> str:
    kind = f" {column.type}" if typed else ""
    primary = " pk" if column.primary_key else ""
    targets = "".join(f" -> {target}" for target in _targets(column, keys))
    return f"{quote_name(column.name)}{kind}{primary}{targets}"


def _targets(column: Column, keys: Iterable[ForeignKey]) -> Iterator[str]:
    for key in keys:
        for own, target in zip(key.columns, key.ref_columns, strict=False):
            if own.lower() == column.name.lower():
                yield f"{quote_name(key.ref_table)}.{quote_name(target)}"


def _value(column: Column, sample: str) -> str:
    """A literal: in SQLite a column of numbers may hold any text, and text is quoted."""
    bare = column.type is ColumnType.NUMBER and _NUMBER.fullmatch(sample)
    return sample if bare else literal(sample, MAX_SAMPLE)


def _note(comment: str) -> str:
    return f" -- {comment}" if comment else ""


# --- cells that the question names -------------------------------------------


def hits_of(links: Links) -> dict[int, tuple[str, ...]]:
    """For each column index the cells that words of the question were found in, best first."""
    found: dict[int, dict[str, None]] = {}
    for value in sorted(links.values, key=lambda value: -value.score):
        for column in value.columns if value.kind is ValueKind.CELL else ():
            found.setdefault(column, {})[defused(str(value.value), MAX_SAMPLE)] = None
    return {column: tuple(cells)[:HITS] for column, cells in found.items()}


def _hits_by_table(schema: Schema, links: Links) -> dict[int, dict[int, tuple[str, ...]]]:
    """For each table index, for each position of a column in the table, its hits."""
    found: dict[int, dict[int, tuple[str, ...]]] = {}
    for column, cells in hits_of(links).items():
        table = schema.table_of[column]
        found.setdefault(table, {})[column - schema.columns_of(table).start] = cells
    return found


def _table_with_hits(schema: Schema, at: int, hits: Mapping[int, tuple[str, ...]]) -> str:
    table = _clean_table(schema.tables[at])
    name = schema.tables[at].name.lower()
    own = [_clean_key(key) for key in schema.foreign_keys if key.table.lower() == name]
    return _with_samples(table, own, hits)


# --- ranking -----------------------------------------------------------------


@lru_cache(maxsize=16)
def _graph(schema: Schema) -> JoinGraph:
    return JoinGraph(schema)


def _ranks(schema: Schema, scores: Mapping[int, float]) -> list[int]:
    """For each table its rank, given how strongly the question points to it."""
    pointed = sorted(scores, key=lambda table: (-scores[table], table))
    if not pointed:
        return list(range(len(schema.tables)))
    graph = _graph(schema)
    ranked: dict[int, None] = {}  # an ordered set
    for number in range(1, min(_SEEDS, len(pointed)) + 1):
        ranked[pointed[number - 1]] = None
        # The bridges from this table to the ones before it.
        ranked.update(dict.fromkeys(graph.join_tree(pointed[:number]).tables))
    ranked.update(dict.fromkeys(pointed))
    rest = sorted(
        set(range(len(schema.tables))) - ranked.keys(),
        key=lambda table: (graph.distance(pointed[0], table), table),
    )
    rank = {table: at for at, table in enumerate((*ranked, *rest))}
    return [rank[table] for table in range(len(schema.tables))]


def _column_order(schema: Schema, table: int, scores: Mapping[int, float]) -> tuple[int, ...]:
    """Positions of the columns of `table`: linked ones first, then keys, then the rest."""
    span = schema.columns_of(table)
    joining = {
        name.lower()
        for key in schema.foreign_keys
        for name in _columns_in(key, schema.tables[table].name.lower())
    }

    def need(column: int) -> tuple[float, bool, int]:
        record = schema.columns[column]
        is_key = record.primary_key or record.name.lower() in joining
        return -scores.get(column, 0.0), not is_key, column

    return tuple(column - span.start for column in sorted(span, key=need))


def _columns_in(key: ForeignKey, table: str) -> Iterator[str]:
    if key.table.lower() == table:
        yield from key.columns
    if key.ref_table.lower() == table:
        yield from key.ref_columns
