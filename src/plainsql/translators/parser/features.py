"""Question, schema and links as the encoder reads them. Used unchanged in training.

The sequence is `[CLS] question [SEP] table : column ( value ) , column [SEP] …`:
each table opens a segment, and cells that the question mentions stand behind
their column, as in BRIDGE (Lin et al. 2020, https://arxiv.org/abs/2012.12627).
Binary features per wordpiece say how names and words match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.space import Space
from plainsql.records import Links, MatchKind, Question, ValueCandidate, ValueKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, Schema
from plainsql.translators.parser.arrays import KIND_COLUMN, KIND_TABLE, KIND_VALUE, ModelInput
from plainsql.wordpiece import WordPiece

FEATURES: tuple[str, ...] = (
    "word_exact_column",
    "word_partial_column",
    "word_soft_column",
    "word_exact_table",
    "word_partial_table",
    "word_soft_table",
    "word_number",
    "word_quoted",
    "word_date",
    "word_cell",
    "word_capital",
    "table_exact",
    "table_partial",
    "table_soft",
    "table_has_cell",
    "column_exact",
    "column_partial",
    "column_soft",
    "column_cell",
    "column_primary_key",
    "column_foreign_key",
    "column_text",
    "column_number",
    "column_time",
    "column_boolean",
    "column_other",
    "column_table_named",
    "column_name_shared",
    "cell_text",
    "constant_flag",
)
FEATURE = {name: position for position, name in enumerate(FEATURES)}
MAX_TOKENS = 512  # the encoder's positions
MAX_QUESTION = 160  # wordpieces
MAX_VALUES = 24
CELLS_PER_COLUMN = 2
_CELL_TOKENS = 12
_MATCH = {MatchKind.EXACT: "exact", MatchKind.PARTIAL: "partial", MatchKind.SOFT: "soft"}
_WORD_VALUE = {
    ValueKind.NUMBER: "word_number",
    ValueKind.QUOTED: "word_quoted",
    ValueKind.DATE: "word_date",
    ValueKind.CELL: "word_cell",
}


@dataclass(slots=True)
class _Draft:
    """A sequence under construction."""

    ids: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    marks: list[tuple[int, ...]] = field(default_factory=list)  # features of each wordpiece

    def add(self, pieces: Sequence[int], kind: int, marks: tuple[int, ...] = ()) -> range:
        """Appends wordpieces with the same features; returns their positions."""
        start = len(self.ids)
        self.ids += pieces
        self.types += [kind] * len(pieces)
        self.marks += [marks] * len(pieces)
        return range(start, len(self.ids))


@dataclass(frozen=True, slots=True)
class Matches:
    """Links by what they speak of: marks of words, tables and columns."""

    words: dict[int, set[int]]  # word position -> features
    tables: dict[int, set[int]]  # table index -> features
    columns: dict[int, set[int]]  # column index -> features
    cells: dict[int, list[int]]  # column index -> positions in the value list


class FeatureBuilder:
    """Builds model inputs; one instance per tokenizer file."""

    def __init__(self, tokenizer: str | Path) -> None:
        self._tokenizer = WordPiece.from_file(tokenizer)
        self.pieces = lru_cache(maxsize=65536)(self._pieces)
        self._cls = self._special("[CLS]")
        self._sep = self._special("[SEP]")

    def _special(self, token: str) -> tuple[int, ...]:
        code = self._tokenizer.token_id(token)
        if code is None:
            raise ValueError(f"the tokenizer has no {token}")
        return (code,)

    def _pieces(self, text: str) -> tuple[int, ...]:
        """Wordpiece ids of a word or name; never empty."""
        return tuple(self._tokenizer.ids(text)) or self.pieces("?")

    def build(
        self,
        links: Links,
        schema: Schema,
        graph: JoinGraph,
        tables: Sequence[int],
        columns: Sequence[Sequence[int]] | None = None,
    ) -> tuple[ModelInput, Space]:
        """The input over `tables` in this order (`columns`: which of each, default all).

        Raises ValueError when the sequence passes the encoder's positions:
        callers narrow the schema first (see `narrow`).
        """
        kept = columns or [schema.columns_of(table) for table in tables]
        values = merge_values(links.values)
        matches = collect(links, values)
        draft = _Draft()
        spans = self._question(draft, links.question, matches)
        nodes, value_tokens = self._schema(draft, schema, tables, kept, matches, values)
        if len(draft.ids) > MAX_TOKENS:
            raise ValueError(f"{len(draft.ids)} wordpieces, {MAX_TOKENS} fit: narrow the schema")
        space = Space(schema, graph, tuple(tables), tuple(c for cs in kept for c in cs), values)
        value_nodes = [
            _value_tokens(value, spans, value_tokens[i]) for i, value in enumerate(values)
        ]
        return _arrays(draft, nodes, value_nodes), space

    # -- question --------------------------------------------------------

    def _question(self, draft: _Draft, question: Question, matches: Matches) -> list[range]:
        """Positions of each word's wordpieces (empty ranges past the limit)."""
        draft.add(self._cls, 0)
        spans = []
        for position, word in enumerate(question.words):
            pieces = self.pieces(word.text)
            room = MAX_QUESTION - len(draft.ids)
            marks = matches.words.get(position, set())
            if word.text[:1].isupper():
                marks = marks | {FEATURE["word_capital"]}
            spans.append(draft.add(pieces[: max(room, 0)], 0, tuple(sorted(marks))))
        draft.add(self._sep, 0)
        return spans

    # -- schema ----------------------------------------------------------

    def _schema(
        self,
        draft: _Draft,
        schema: Schema,
        tables: Sequence[int],
        columns: Sequence[Sequence[int]],
        matches: Matches,
        values: tuple[ValueCandidate, ...],
    ) -> tuple[list[tuple[int, range]], list[list[int]]]:
        """Writes every table; returns (kind, tokens) of tables then columns, and cells' tokens."""
        keys = _foreign_key_columns(schema)
        shared = _shared_names(schema)
        table_nodes, column_nodes = [], []
        value_tokens: list[list[int]] = [[] for _ in values]
        for table, own in zip(tables, columns, strict=True):
            marks = set(matches.tables.get(table, ()))
            if any(column in matches.cells for column in own):
                marks.add(FEATURE["table_has_cell"])
            name = self.pieces(schema.tables[table].natural)
            table_nodes.append((KIND_TABLE, draft.add(name, 1, tuple(sorted(marks)))))
            draft.add(self.pieces(":"), 1)
            named = bool(matches.tables.get(table))
            for column in own:
                marks = self._column_marks(schema.columns[column], column, keys, shared, named)
                marks |= matches.columns.get(column, set())
                name = self.pieces(schema.columns[column].natural)
                column_nodes.append((KIND_COLUMN, draft.add(name, 1, tuple(sorted(marks)))))
                for v in matches.cells.get(column, [])[:CELLS_PER_COLUMN]:
                    value_tokens[v] += self._cell(draft, values[v])
                draft.add(self.pieces(","), 1)
            draft.add(self._sep, 1)
        return table_nodes + column_nodes, value_tokens

    def _cell(self, draft: _Draft, value: ValueCandidate) -> range:
        draft.add(self.pieces("("), 1)
        marks = (FEATURE["cell_text"],) + ((FEATURE["constant_flag"],) if not value.end else ())
        tokens = draft.add(self.pieces(str(value.value))[:_CELL_TOKENS], 1, marks)
        draft.add(self.pieces(")"), 1)
        return tokens

    def _column_marks(
        self, column: Column, index: int, keys: frozenset[int], shared: frozenset[str], named: bool
    ) -> set[int]:
        marks = {FEATURE[f"column_{column.type.value}"]}
        if column.primary_key:
            marks.add(FEATURE["column_primary_key"])
        if index in keys:
            marks.add(FEATURE["column_foreign_key"])
        if named:
            marks.add(FEATURE["column_table_named"])
        if column.natural.lower() in shared:
            marks.add(FEATURE["column_name_shared"])
        return marks

    def length(self, schema: Schema, table: int) -> int:
        """Wordpieces that a table takes, without cells."""
        own = schema.tables[table]
        names = sum(len(self.pieces(column.natural)) + 1 for column in own.columns)
        return len(self.pieces(own.natural)) + 2 + names


def merge_values(values: Sequence[ValueCandidate]) -> tuple[ValueCandidate, ...]:
    """One candidate per value: the first, with the columns of all; the best `MAX_VALUES`."""
    merged: dict[str, ValueCandidate] = {}
    for value in values:
        key = f"{type(value.value).__name__}:{value.value}"
        known = merged.get(key)
        if known is None:
            merged[key] = value
        else:
            columns = tuple(sorted({*known.columns, *value.columns}))
            merged[key] = ValueCandidate(
                known.value, known.kind, known.start, known.end, columns, known.score
            )
    if len(merged) <= MAX_VALUES:
        return tuple(merged.values())
    best = sorted(merged.values(), key=lambda value: -value.score)[:MAX_VALUES]
    return tuple(value for value in merged.values() if value in best)


def collect(links: Links, values: Sequence[ValueCandidate]) -> Matches:
    """Links turned into feature sets."""
    words: dict[int, set[int]] = {}
    tables: dict[int, set[int]] = {}
    columns: dict[int, set[int]] = {}
    for name in links.names:
        kind = _MATCH[name.kind]
        what = "table" if name.column is None else "column"
        for position in range(name.start, name.end):
            words.setdefault(position, set()).add(FEATURE[f"word_{kind}_{what}"])
        if name.column is None:
            tables.setdefault(name.table, set()).add(FEATURE[f"table_{kind}"])
        else:
            columns.setdefault(name.column, set()).add(FEATURE[f"column_{kind}"])
    cells: dict[int, list[int]] = {}
    for v, value in enumerate(values):
        mark = _WORD_VALUE.get(value.kind)
        for position in range(value.start, value.end) if mark else ():
            words.setdefault(position, set()).add(FEATURE[mark or ""])
        if isinstance(value.value, str):
            for column in value.columns:
                cells.setdefault(column, []).append(v)
                columns.setdefault(column, set()).add(FEATURE["column_cell"])
    return Matches(words, tables, columns, cells)


def _foreign_key_columns(schema: Schema) -> frozenset[int]:
    return frozenset(
        schema.column_index(key.table, column)
        for key in schema.foreign_keys
        for column in key.columns
    )


def _shared_names(schema: Schema) -> frozenset[str]:
    """Natural names that more than one column has."""
    seen: set[str] = set()
    shared: set[str] = set()
    for column in schema.columns:
        name = column.natural.lower()
        (shared if name in seen else seen).add(name)
    return frozenset(shared)


def _value_tokens(value: ValueCandidate, spans: list[range], cells: list[int]) -> list[int]:
    """Where a value is read: its words in the question and beside its columns."""
    words = [token for span in spans[value.start : value.end] for token in span]
    return words + cells or [0]


def _arrays(draft: _Draft, nodes: list[tuple[int, range]], values: list[list[int]]) -> ModelInput:
    features: NDArray[np.uint8] = np.zeros((len(draft.ids), len(FEATURES)), np.uint8)
    for position, marks in enumerate(draft.marks):
        for mark in marks:
            features[position, mark] = 1
    kinds = [kind for kind, _ in nodes] + [KIND_VALUE] * len(values)
    tokens = [np.arange(span.start, span.stop, dtype=np.int64) for _, span in nodes]
    tokens += [np.array(positions, np.int64) for positions in values]
    return ModelInput(
        np.array(draft.ids, np.int64),
        np.array(draft.types, np.int64),
        features,
        np.array(kinds, np.int64),
        tuple(tokens),
    )
