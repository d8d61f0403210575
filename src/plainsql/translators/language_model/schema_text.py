"""A schema as the text a language model reads, in blocks that can be left out one by one.

    schema ─ schema_blocks ─▶ blocks (a table each, ranked by need) ─ fit ─▶ text within a budget

Four forms: "ddl" (CREATE statements), "text" (a table a line), "samples" (a column a
line, with sample values and comments) and "names" (a table a line, without types).
Which of them a model reads best is a matter of measuring; DDL is what most base models
saw in pre-training.

What the text holds of the database is data: names, comments and sample values
are put on one line each, without control characters, cut at a length, and the
marks that prompts are made of are broken in them, so that no cell can end its
section or open another one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

from plainsql.errors import UsageError
from plainsql.records import Links
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.render import as_ddl, quote_name
from plainsql.translators.parser.narrow import column_scores, table_scores

FORMS = ("ddl", "text", "samples", "names")
SEPARATOR = "\n"

MAX_NAME = 128  # characters kept of a name; PostgreSQL allows 63 bytes, MySQL 64
MAX_COMMENT = 100
MAX_SAMPLE = 40
SAMPLES = 3  # values shown of a column

# Tables the question points to whose bridges rank with them; joining more is a guess.
_SEEDS = 4

_HASHES = re.compile(r"#{2,}|`{3,}")
_TAG = re.compile(r"<(?=[|/!<]|\w+[>|])|\[(?=/?[A-Z_]+\])|(?<=\|)>")
_NAME = re.compile(r'"(?:[^"]|"")*"|[^\s",()]+')
_ITEM = re.compile(r'(?:"(?:[^"]|"")*"|[^",])+')
_LAST_COMMA = re.compile(r'^((?:"(?:[^"]|"")*"|[^",]|,(?!$| -- ))*),(?=$| -- )')
_KEY_LINES = ("  PRIMARY KEY (", "  FOREIGN KEY (")


@dataclass(frozen=True, slots=True)
class Block:
    """One table as text, its keys included. `rank` 0 is the table needed most."""

    table: str
    text: str
    rank: int
    order: tuple[int, ...] = ()  # positions of its columns, needed most first; (): as written

    def row(self) -> dict[str, Any]:
        """The block as JSON can hold it."""
        order = list(self.order)
        return {"table": self.table, "text": self.text, "rank": self.rank, "order": order}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Block:
        """The block that `row()` was made of. Raises KeyError for a missing field."""
        return cls(row["table"], row["text"], row["rank"], tuple(row.get("order") or ()))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A schema within its budget, and what had to go for it."""

    text: str
    tables: tuple[str, ...]  # shown, in the schema's order
    dropped: tuple[str, ...]  # not shown at all
    cut_columns: tuple[str, ...]  # "table.column", not shown of a table that is


def schema_blocks(schema: Schema, links: Links | None, form: str) -> tuple[Block, ...]:
    """The tables of `schema` as text, in its order, ranked by how much the question needs them.

    With `links`, a table ranks by how strongly the question points to it and its
    columns; the tables that join the strongest ones rank directly behind them, and
    the rest by their distance in joins. Without, tables rank in the schema's order.
    Raises `UsageError` for an unknown form.
    """
    if form not in FORMS:
        raise UsageError(f"No schema form {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    texts = _texts(schema, form)
    if links is None:
        return tuple(Block(table, text, at) for at, (table, text) in enumerate(texts))
    columns = column_scores(schema, links)
    ranks = _ranks(schema, table_scores(schema, links, columns))
    return tuple(
        Block(table, text, ranks[at], _column_order(schema, at, columns))
        for at, (table, text) in enumerate(texts)
    )


def fit(blocks: Sequence[Block], budget: int, count: Callable[[str], int]) -> Fitted:
    """As many tables, needed ones first, as `budget` holds by `count`.

    The tables of the highest ranks are left out first. Where even the one of the
    lowest rank is too long alone, its columns are left out one by one; where no
    column of it fits, nothing is shown. `count` is the length of a text, in tokens.
    """
    needed = sorted(blocks, key=lambda block: block.rank)
    ends = list(accumulate(count(block.text + SEPARATOR) for block in needed))

    def fits(number: int) -> bool:
        return count(_joined(_in_order(blocks, needed[:number]))) <= budget

    # Long texts are not counted as a whole where it can be helped. But the lengths of
    # parts only nearly add up, so what is shown and one table more are.
    number = bisect_right(ends, budget)
    while number > 0 and not fits(number):
        number -= 1
    while number < len(needed) and fits(number + 1):
        number += 1
    if number or not needed:
        return _fitted(blocks, _in_order(blocks, needed[:number]))
    return _cut(blocks, needed[0], lambda text: count(text) <= budget)


def defused(text: str, limit: int) -> str:
    """Text from a database as one harmless line of at most `limit` characters.

    Control and invisible characters become spaces; fences, section marks and chat
    tags ("### Response", "</s>", "<|im_start|>", "[INST]") are broken up.
    """
    line = one_line(text)
    line = _TAG.sub(lambda mark: " >" if mark[0] == ">" else mark[0] + " ", line)
    line = _HASHES.sub(lambda mark: mark[0][0], line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Text without line breaks, control characters and runs of spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


# --- one table as text -------------------------------------------------------


@lru_cache(maxsize=64)
def _texts(schema: Schema, form: str) -> tuple[tuple[str, str], ...]:
    """Name and text of each table; kept, since many questions are put to one schema."""
    write = {"ddl": _ddl, "text": _outline, "samples": _with_samples, "names": _names}[form]
    clean = [_clean_table(table) for table in schema.tables]
    keys = [_clean_key(key) for key in schema.foreign_keys]
    return tuple(
        (table.name, write(table, [key for key in keys if key.table.lower() == table.name.lower()]))
        for table in clean
    )


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


def _with_samples(table: Table, keys: list[ForeignKey]) -> str:
    lines = [f"{quote_name(table.name)}({_note(table.comment)}"]
    for column in table.columns:
        values = ", ".join(_value(column, sample) for sample in column.samples)
        shown = f" = {values}" if values else ""
        lines.append(f"  {_column_text(column, keys)}{shown}{_note(column.comment)}")
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
    return sample if column.type is ColumnType.NUMBER else "'" + sample.replace("'", "''") + "'"


def _note(comment: str) -> str:
    return f" -- {comment}" if comment else ""


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


# --- cutting -----------------------------------------------------------------


def _joined(blocks: Iterable[Block]) -> str:
    return SEPARATOR.join(block.text for block in blocks)


def _in_order(blocks: Sequence[Block], kept: Sequence[Block]) -> list[Block]:
    chosen = set(map(id, kept))
    return [block for block in blocks if id(block) in chosen]


def _fitted(blocks: Sequence[Block], kept: Sequence[Block]) -> Fitted:
    chosen = set(map(id, kept))
    dropped = tuple(block.table for block in blocks if id(block) not in chosen)
    return Fitted(_joined(kept), tuple(block.table for block in kept), dropped, ())


def _cut(blocks: Sequence[Block], block: Block, fits: Callable[[str], bool]) -> Fitted:
    """The one `block` with as many of its columns as fit."""
    names = [_name_of(entry) for entry in _parts(block.text)[1] if not _is_key(entry)]
    order = [at for at in block.order if at < len(names)] or list(range(len(names)))
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_with_columns(block.text, names, order[:middle])):
            low = middle
        else:
            high = middle - 1
    dropped = tuple(other.table for other in blocks if other is not block)
    if low == 0:
        return _fitted(blocks, ())
    cut = tuple(f"{block.table}.{names[at]}" for at in sorted(order[low:]))
    return Fitted(_with_columns(block.text, names, order[:low]), (block.table,), dropped, cut)


def _with_columns(text: str, names: Sequence[str], kept: Sequence[int]) -> str:
    """The text of a table with the columns at the positions `kept` only, and their keys."""
    head, entries, tail = _parts(text)
    chosen = {names[at] for at in kept}
    shown = [entries[at] for at in sorted(kept)]
    shown += [e for e in entries if _is_key(e) and set(_names_in_key(e)) <= chosen]
    if "\n" not in text:
        return head + ", ".join(shown) + tail
    if tail == ");" and shown:
        shown[-1] = _LAST_COMMA.sub(r"\1", shown[-1], count=1)
    return "\n".join((head, *shown, tail))


def _parts(text: str) -> tuple[str, list[str], str]:
    """What opens a table, its columns and keys, and what closes it; see the three forms."""
    if "\n" in text:
        head, *entries, tail = text.split("\n")
        return head, entries, tail
    name = _NAME.match(text)
    start = (name.end() if name else 0) + 1
    items = (item.strip() for item in _ITEM.findall(text[start:-1]))
    return text[:start], [item for item in items if item], text[-1:]


def _is_key(entry: str) -> bool:
    return entry.startswith(_KEY_LINES)


def _names_in_key(entry: str) -> Iterator[str]:
    """The own columns of a PRIMARY KEY or FOREIGN KEY line."""
    inside = entry.partition("(")[2]
    for item in re.finditer(r'"(?:[^"]|"")*"|[^\s",()]+|\)', inside):
        if item[0] == ")":
            return
        yield _unquoted(item[0])


def _name_of(entry: str) -> str:
    found = _NAME.search(entry)
    return _unquoted(found[0]) if found else ""


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
