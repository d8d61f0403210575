"""Which words of a question name which tables and columns, by their spelling.

The exact and partial n-gram matches of RAT-SQL (https://arxiv.org/abs/1911.04942,
section 4.3), over an inverted index of lemmas so that the cost depends on the
matches, not on the number of columns. Note: we also accept a column's name with
its table's in front ("singer name"), the identifier written as one token
("stuid", "student_id"), equal light stems and common prefixes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from plainsql.linking.per_schema import per_schema
from plainsql.linking.vocabulary import STOP_WORDS
from plainsql.linking.words import is_word, lemma, stem, tokenize_question
from plainsql.records import MatchKind, NameMatch, Question, Word
from plainsql.schema.model import Schema

_MIN_PREFIX = 4
_STEM_WEIGHT = 0.9
_PREFIX_WEIGHT = 0.7
_ALIASES = {"identifier": "id", "ids": "id", "num": "number", "nbr": "number", "#": "number"}
# Stop words of questions that are content where they stand in a name.
_NAME_WORDS = frozenset({"name", "number", "count", "list"})
_IGNORED = STOP_WORDS - _NAME_WORDS


@dataclass(frozen=True, slots=True)
class NamedThing:
    """A table (`column` None) or a column with the lemmas of its name."""

    table: int
    column: int | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """Everything `match_names` looks up, built once per schema.

    `phrases` maps lemma tuples to positions in `things`; `by_word`, `by_stem`
    and `by_prefix` map to words that occur in names, and `having` maps such
    a word to the positions of the things it occurs in.
    """

    things: tuple[NamedThing, ...]
    phrases: dict[tuple[str, ...], tuple[int, ...]]
    longest: int
    having: dict[str, tuple[int, ...]]
    by_stem: dict[str, tuple[str, ...]]
    by_prefix: dict[str, tuple[str, ...]]


def name_words(natural: str) -> tuple[str, ...]:
    """Lemmas of a name in words, without punctuation; "no" at the end is "number"."""
    words = [_canonical(w.lemma) for w in tokenize_question(natural).words if is_word(w.text)]
    if len(words) > 1 and words[-1] == "no":
        words[-1] = "number"
    return tuple(words)


def _canonical(word: str) -> str:
    return _ALIASES.get(word, word)


def _things(schema: Schema) -> tuple[NamedThing, ...]:
    tables = [NamedThing(i, None, name_words(t.natural)) for i, t in enumerate(schema.tables)]
    columns = [
        NamedThing(schema.table_of[i], i, name_words(c.natural))
        for i, c in enumerate(schema.columns)
    ]
    return tuple(tables + columns)


def _phrases(schema: Schema, things: tuple[NamedThing, ...]) -> dict[tuple[str, ...], list[int]]:
    """All spellings of each thing: in words, joined, as identifier, after its table."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, thing in enumerate(things):
        raw = schema.tables[thing.table].name if thing.column is None else ""
        raw = raw or schema.columns[thing.column or 0].name
        spellings = {thing.words, (lemma(raw),), ("_".join(thing.words),)}
        spellings.add(("".join(thing.words),))
        if thing.column is not None:
            table = things[thing.table].words
            if thing.words[: len(table)] != table:
                spellings.add(table + thing.words)
        for spelling in spellings:
            if spelling and any(word not in _IGNORED for word in spelling):
                found[spelling].append(position)
    return found


@per_schema
def name_index(schema: Schema) -> NameIndex:
    """The name index of `schema`; about 20 ms for 2,000 columns, then cached."""
    things = _things(schema)
    phrases = _phrases(schema, things)
    having: dict[str, list[int]] = defaultdict(list)
    for position, thing in enumerate(things):
        for word in dict.fromkeys(thing.words):
            if word not in _IGNORED:
                having[word].append(position)
    by_stem: dict[str, list[str]] = defaultdict(list)
    by_prefix: dict[str, list[str]] = defaultdict(list)
    for word in having:
        by_stem[stem(word)].append(word)
        if len(word) >= _MIN_PREFIX:
            by_prefix[word[:_MIN_PREFIX]].append(word)
    return NameIndex(
        things,
        {key: tuple(value) for key, value in phrases.items()},
        max(map(len, phrases), default=0),
        {key: tuple(value) for key, value in having.items()},
        {key: tuple(value) for key, value in by_stem.items()},
        {key: tuple(value) for key, value in by_prefix.items()},
    )


def match_names(question: Question, schema: Schema) -> tuple[NameMatch, ...]:
    """Spans of `question` that name tables and columns, exactly or in part.

    EXACT: all words of the name in order, as lemmas, score 1. PARTIAL: a run of
    the name's content words in any order; score is the share of the name's
    words in the run, less for stems (x 0.9) and prefixes (x 0.7). Ordered by
    span (longest first at a start), then exact before partial, then position.
    """
    index = name_index(schema)
    exact = _exact(question.words, index)
    matches = exact + _partial(question.words, index, exact)
    return tuple(sorted(matches, key=match_order))


def match_order(match: NameMatch) -> tuple[int, int, str, int, int]:
    """The order of matches within `Links.names`."""
    column = -1 if match.column is None else match.column
    return match.start, -match.end, match.kind.value, match.table, column


def _exact(words: tuple[Word, ...], index: NameIndex) -> list[NameMatch]:
    lemmas = [_canonical(word.lemma) for word in words]
    found: dict[tuple[int, int, int], None] = {}
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + index.longest) + 1):
            span = tuple(lemmas[start:end])
            hits = index.phrases.get(span, ())
            if 1 < len(span) < 4:  # "first name" may be called "firstname"
                hits += index.phrases.get(("".join(span),), ())
            for thing in hits:
                found[start, end, thing] = None
    return [_match(index, start, end, t, MatchKind.EXACT, 1.0) for start, end, t in found]


def _match(
    index: NameIndex, start: int, end: int, thing: int, kind: MatchKind, score: float
) -> NameMatch:
    named = index.things[thing]
    return NameMatch(start, end, kind, named.table, named.column, score)


def similar_words(word: str, index: NameIndex) -> dict[str, float]:
    """Words of names that `word` (a lemma) is equal or close to, with weights."""
    if word in _IGNORED:
        return {}
    close: dict[str, float] = {}
    if len(word) >= _MIN_PREFIX:
        for other in index.by_prefix.get(word[:_MIN_PREFIX], ()):
            if other.startswith(word) or word.startswith(other):
                close[other] = _PREFIX_WEIGHT
        close.update((other, _STEM_WEIGHT) for other in index.by_stem.get(stem(word), ()))
    if word in index.having:
        close[word] = 1.0
    return close


def _partial(words: tuple[Word, ...], index: NameIndex, exact: list[NameMatch]) -> list[NameMatch]:
    hits: dict[int, dict[int, tuple[str, float]]] = defaultdict(dict)
    for position, word in enumerate(words):
        for name_word, weight in similar_words(_canonical(word.lemma), index).items():
            for thing in index.having[name_word]:
                best = hits[thing].get(position)
                if best is None or best[1] < weight:
                    hits[thing][position] = (name_word, weight)
    covered = {(m.table, m.column, i) for m in exact for i in range(m.start, m.end)}
    found = []
    for thing, by_position in hits.items():
        named = index.things[thing]
        free = [i for i in by_position if (named.table, named.column, i) not in covered]
        for start, end in _runs(free):
            score = _share(named.words, [by_position[i] for i in range(start, end)])
            found.append(_match(index, start, end, thing, MatchKind.PARTIAL, score))
    return found


def _runs(positions: list[int]) -> list[tuple[int, int]]:
    """Maximal runs of consecutive numbers, as half-open ranges."""
    runs: list[tuple[int, int]] = []
    for position in sorted(positions):
        if runs and runs[-1][1] == position:
            runs[-1] = (runs[-1][0], position + 1)
        else:
            runs.append((position, position + 1))
    return runs


def _share(name: tuple[str, ...], hits: list[tuple[str, float]]) -> float:
    """Share of the words of `name` that `hits` cover, weighted by closeness."""
    best: dict[str, float] = {}
    for word, weight in hits:
        best[word] = max(weight, best.get(word, 0.0))
    return round(sum(best.get(word, 0.0) for word in name) / len(name), 4)
