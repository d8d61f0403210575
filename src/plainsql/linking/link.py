"""Linking, the composition: names, literals and cells of one question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plainsql.linking.literals import find_literals, value_order
from plainsql.linking.names import match_names, match_order
from plainsql.linking.spans import unknown_runs
from plainsql.linking.value_index import ValueIndex
from plainsql.linking.words import tokenize_question
from plainsql.records import (
    Links,
    MatchKind,
    NameMatch,
    Question,
    ValueCandidate,
    ValueKind,
)
from plainsql.schema.model import ColumnType, Schema

if TYPE_CHECKING:
    from plainsql.linking.embedding import WordVectors
    from plainsql.linking.retrieval import SchemaIndex

_SURE = 0.9  # scores from here on make a literal with the same words superfluous
_BEHIND = 0.7  # factor for a literal with the words of a sure cell


def link(
    question: str | Question,
    schema: Schema,
    index: ValueIndex | None = None,
    vectors: WordVectors | None = None,
    retrieval: SchemaIndex | None = None,
) -> Links:
    """What the words of `question` mean in `schema`: names and value candidates.

    Deterministic: names and values are ordered by span, then kind, then value.
    Without an `index` there are no CELL candidates and literals have no
    columns; without `vectors` no SOFT matches. `retrieval`, the index of a large
    schema, adds which tables to look at.
    """
    if isinstance(question, str):
        question = tokenize_question(question)
    names = match_schema(question, schema, vectors)
    spelled = tuple(name for name in names if name.kind is not MatchKind.SOFT)
    cells: tuple[ValueCandidate, ...] = ()
    if index is not None:
        cells = index.lookup(question, spelled) + implied_flags(spelled, index)
    values = merge_values(find_literals(question), cells)
    if index is None or not knows_all_cells(schema, index):
        values += _unexplained(question, spelled, values)
    if index is not None:
        values = tuple(_with_columns(value, index) for value in values)
    tables = retrieval.keep(retrieval.scores(question, vectors, values)) if retrieval else ()
    return Links(question, names, tuple(sorted(values, key=value_order)), tuple(tables))


def match_schema(
    question: Question, schema: Schema, vectors: WordVectors | None = None
) -> tuple[NameMatch, ...]:
    """Tables and columns the words name, by spelling and (with `vectors`) by meaning."""
    names = match_names(question, schema)
    if vectors is None:
        return names
    from plainsql.linking.embedding import soft_matches

    soft = soft_matches(question, schema, vectors, names=names)
    return tuple(sorted(names + soft, key=match_order))


def merge_values(
    literals: tuple[ValueCandidate, ...], cells: tuple[ValueCandidate, ...]
) -> tuple[ValueCandidate, ...]:
    """Cells, and the literals that no cell makes superfluous.

    A cell with the words of a capitalised run replaces it; a quotation stays,
    behind the cell, unless both are the same text.
    """
    rescored = (_beside(literal, cells) for literal in literals)
    return cells + tuple(literal for literal in rescored if literal is not None)


def _beside(literal: ValueCandidate, cells: tuple[ValueCandidate, ...]) -> ValueCandidate | None:
    """`literal` with the score it deserves next to `cells`, None if superfluous."""
    same = [c for c in cells if (c.start, c.end) == (literal.start, literal.end)]
    if any(c.value == literal.value for c in same):
        return None
    sure = [c for c in cells if c.score >= _SURE]
    around = [c for c in sure if c.start <= literal.start and literal.end <= c.end]
    if not around or (literal.kind is ValueKind.NUMBER and around[0] in same):
        return literal
    if literal.kind is ValueKind.CAPITALISED:
        return None
    return replace(literal, score=round(literal.score * _BEHIND, 4))


def _with_columns(value: ValueCandidate, index: ValueIndex) -> ValueCandidate:
    """A literal with the columns it is a cell of; numbers also as text."""
    if value.columns or value.kind is ValueKind.CONSTANT:
        return value
    columns = set(index.columns_with(value.value))
    if not isinstance(value.value, str):
        columns.update(index.columns_with(str(value.value)))
    return replace(value, columns=tuple(sorted(columns)))


def implied_flags(names: tuple[NameMatch, ...], index: ValueIndex) -> tuple[ValueCandidate, ...]:
    """The yes and no of columns the question names: "students on scholarship"."""
    best: dict[int | None, NameMatch] = {}
    for name in names:
        held = best.get(name.column)
        if held is None or held.score < name.score:
            best[name.column] = name
    return tuple(
        ValueCandidate(text, ValueKind.CELL, at.start, at.end, (column,), round(at.score / 2, 4))
        for column, text in index.flags
        if (at := best.get(column)) is not None
    )


def knows_all_cells(schema: Schema, index: ValueIndex) -> bool:
    """Whether every text column has cells and all of them are indexed."""
    columns = (i for i, c in enumerate(schema.columns) if c.type is ColumnType.TEXT)
    return not index.capped and all(index.counts[i] for i in columns)


def _unexplained(
    question: Question, names: tuple[NameMatch, ...], values: tuple[ValueCandidate, ...]
) -> tuple[ValueCandidate, ...]:
    """Words that are neither names nor values, as literals of last resort."""
    spans = [(n.start, n.end) for n in names if n.kind is MatchKind.EXACT or n.score >= 0.5]
    spans += [(v.start, v.end) for v in values]
    known = frozenset(i for start, end in spans for i in range(start, end))
    return unknown_runs(question, known)
