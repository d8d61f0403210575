"""Question n-grams against the value index.

Ways to find a cell, from sure to vague; each later one looks only at words that
the earlier ones left open: equal keys; other spellings of a state, a country or
a sex; cells that contain a capitalised or quoted span; equality after one
corrected typo; equal stems.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Protocol

from plainsql.linking.equivalents import PAIRED_CODES, equivalents
from plainsql.linking.spans import quoted_spans
from plainsql.linking.vocabulary import QUESTION_WORDS, STOP_WORDS
from plainsql.linking.words import fold, is_word, stem, text_key, token_key
from plainsql.records import MatchKind, NameMatch, Question, ValueCandidate, ValueKind

LONGEST = 8  # words of an n-gram
BEST = 8  # candidates of a question
_PARAMETERS = 900  # of one statement; older SQLite allows 999
_CONTAINING = 3  # a phrase that more cells contain does not point at one
_VOCABULARY = 30  # texts of a column that holds codes or categories
_SAME_CASE, _SAME_WORDS, _SAME_KEY, _SAME_LEMMAS = 1.0, 0.98, 0.95, 0.8
_CORRECTED, _EQUIVALENT, _CONTAINED, _SAME_STEM = 0.85, 0.7, 0.6, 0.5
_ALSO_A_NAME = 0.5

Row = tuple[str, str, str]  # text, key, columns of a cell


class Cells(Protocol):
    """What the look-up needs of a value index."""

    @property
    def connection(self) -> sqlite3.Connection: ...
    @property
    def counts(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Gram:
    """Words `start:end` of the question as typed, and their comparison key."""

    start: int
    end: int
    text: str
    key: str
    quoted: bool


def find_cells(
    question: Question, names: tuple[NameMatch, ...], index: Cells
) -> tuple[ValueCandidate, ...]:
    """Cells that `question` mentions, at most `BEST`, ordered by span."""
    grams = ngrams(question)
    found = _weigh_names(question, names, _equal(grams, index.connection))
    found = without_contained(found, names)
    others = [c for c in _equivalent(grams, index) if not _is_known(c, found)]
    for further in (_typos, _containing, _same_stem):
        found += further(question, [g for g in grams if _free(found, g)], index)
    found += others
    found = [c for c in found if not _is_covered_variant(c, found)]
    best = sorted(found, key=lambda c: (-c.score, c.start - c.end, c.start, str(c.value)))[:BEST]
    return tuple(sorted(best, key=lambda c: (c.start, c.end, -c.score, str(c.value))))


def ngrams(question: Question) -> list[Gram]:
    """All runs of up to `LONGEST` words (punctuation between is free)."""
    quotes = [(quote.start, quote.end) for quote in quoted_spans(question)]
    content = [i for i, word in enumerate(question.words) if is_word(word.text)]
    keys = {i: token_key(question.words[i].text) for i in content}
    grams = []
    for position, start in enumerate(content):
        for last in range(position, min(position + LONGEST, len(content))):
            end = content[last] + 1
            key = " ".join(keys[i] for i in content[position : last + 1])
            grams.append(_gram(question, start, end, key, (start, end) in quotes))
    inner = [q for q in quotes if q[1] - q[0] > LONGEST or not is_word(question.words[q[0]].text)]
    return grams + [_gram(question, start, end, "", True) for start, end in inner]


def _gram(question: Question, start: int, end: int, key: str, quoted: bool) -> Gram:
    text = question.text[question.words[start].start : question.words[end - 1].end]
    return Gram(start, end, text, key or text_key(text), quoted)


def _rows(keys: Iterable[str], connection: sqlite3.Connection) -> list[Row]:
    wanted = sorted(set(keys))
    rows: list[Row] = []
    for start in range(0, len(wanted), _PARAMETERS):
        part = wanted[start : start + _PARAMETERS]
        marks = ",".join("?" * len(part))
        sql = f"SELECT text, key, columns FROM value WHERE key IN ({marks}) ORDER BY text"
        rows += connection.execute(sql, part)
    return rows


def _candidate(gram: Gram, text: str, columns: str, score: float) -> ValueCandidate:
    indexes = tuple(sorted(int(column) for column in columns.split(",")))
    return ValueCandidate(text, ValueKind.CELL, gram.start, gram.end, indexes, round(score, 4))


def _equal(grams: list[Gram], connection: sqlite3.Connection) -> list[ValueCandidate]:
    """Cells with the key of an n-gram."""
    by_key = defaultdict(list)
    for gram in grams:
        by_key[gram.key].append(gram)
    found = []
    for text, key, columns in _rows(by_key, connection):
        for gram in by_key[key]:
            score = equality(gram, text)
            if not is_noise(gram, score):
                found.append(_candidate(gram, text, columns, score))
    return found


def equality(gram: Gram, cell: str) -> float:
    """How equal the words and a cell with the same key are, in (0, 1]."""
    stripped = cell.strip()
    if stripped == gram.text:
        return _SAME_CASE
    left, right = fold(stripped), fold(gram.text)
    if left == right:
        return _SAME_WORDS
    bare = ["".join(filter(str.isalnum, side)) for side in (left, right)]
    return _SAME_KEY if bare[0] == bare[1] else _SAME_LEMMAS


def is_noise(gram: Gram, score: float) -> bool:
    """Whether the match says nothing: stop words, single small letters."""
    if gram.quoted:
        return False
    if len(gram.text) == 1 and not gram.text.isdigit():
        return not gram.text.isupper() or gram.text == "I" or score < _SAME_CASE
    if all(word in STOP_WORDS for word in fold(gram.text).split()):
        proper = gram.start > 0 and gram.text[0].isupper() and len(gram.text) > 1
        return not (proper and score == _SAME_CASE)
    return False


def _weigh_names(
    question: Question, names: tuple[NameMatch, ...], found: list[ValueCandidate]
) -> list[ValueCandidate]:
    """Lower the score of cells whose words are a table's or a column's name.

    Those equal only as lemmas ("cities", 'CITY') are dropped.
    """
    spans = {(name.start, name.end) for name in names if name.kind is MatchKind.EXACT}
    result = []
    for item in found:
        typed = question.words[item.start].text
        if (item.start, item.end) not in spans or typed[0].isupper():
            result.append(item)
        elif item.score > _SAME_LEMMAS:
            result.append(replace(item, score=round(item.score * _ALSO_A_NAME, 4)))
    return result


def without_contained(
    found: list[ValueCandidate], names: tuple[NameMatch, ...] = ()
) -> list[ValueCandidate]:
    """Drop candidates whose words lie within a longer match that is as good.

    Not where the rest of the longer match names a table or a column: "ohio
    river" leaves 'ohio', a value of river.
    """
    named = {i for n in names if n.kind is MatchKind.EXACT for i in range(n.start, n.end)}

    def hidden(item: ValueCandidate, longer: ValueCandidate) -> bool:
        inside = longer.start <= item.start and item.end <= longer.end
        if not inside or longer.end - longer.start == item.end - item.start:
            return False
        rest = {*range(longer.start, item.start), *range(item.end, longer.end)}
        elsewhere = item.score >= _SAME_WORDS and not set(item.columns) & set(longer.columns)
        better = longer.score >= min(_SAME_KEY, item.score)
        return better and not (rest <= named or elsewhere)

    return [item for item in found if not any(hidden(item, other) for other in found)]


def _is_covered_variant(item: ValueCandidate, found: list[ValueCandidate]) -> bool:
    """Whether a better spelling of the same words has all its columns."""
    return any(
        (other.start, other.end) == (item.start, item.end)
        and other.score > item.score
        and set(item.columns) <= set(other.columns)
        for other in found
    )


def _free(found: list[ValueCandidate], gram: Gram) -> bool:
    return not any(c.start < gram.end and gram.start < c.end for c in found)


def _is_known(item: ValueCandidate, found: list[ValueCandidate]) -> bool:
    """Whether words of `item` are, or lie in, a cell of the same columns."""
    return any(
        other.start < item.end
        and item.start < other.end
        and (
            set(item.columns) <= set(other.columns)
            or other.end - other.start > item.end - item.start
        )
        for other in found
    )


def _equivalent(grams: list[Gram], index: Cells) -> list[ValueCandidate]:
    """Other spellings: "female" -> 'F', "California" -> 'CA', "Canadian" -> 'Canada'."""
    wanted = {g: equivalents(g.key) for g in grams if g.text.isupper() or g.key not in STOP_WORDS}
    keys = {key for others in wanted.values() for key in others}
    rows = _rows(keys | {PAIRED_CODES[key] for key in keys & PAIRED_CODES.keys()}, index.connection)
    columns = defaultdict(set)
    for _, key, where in rows:
        columns[key].update(where.split(","))
    found = []
    for gram, others in wanted.items():
        for text, key, where in rows:
            pair = PAIRED_CODES.get(key)
            kept = [c for c in where.split(",") if pair is None or c in columns[pair]]
            if key in others and kept and (len(text) > 2 or text.isupper() or pair):
                found.append(_candidate(gram, text, ",".join(kept), _EQUIVALENT))
    return found


def _capitalised(question: Question, gram: Gram) -> bool:
    """Whether all content words of the span are capitalised or have digits."""
    texts = [w.text for w in question.words[gram.start : gram.end] if is_word(w.text)]
    content = [t for t in texts if t.lower() not in STOP_WORDS]
    marked = [t for t in content if t[0].isupper() or any(c.isdigit() for c in t)]
    digits_only = all(t[0].isdigit() for t in content)
    starts = gram.start == 0 and len(content) < 2
    return len(marked) == len(content) == len(texts) and not (digits_only or starts)


def _containing(question: Question, grams: list[Gram], index: Cells) -> list[ValueCandidate]:
    """Cells that contain a quoted or capitalised span as whole words."""
    likely = [g for g in grams if g.quoted or _capitalised(question, g) or _is_phrase(g)]
    found: list[ValueCandidate] = []
    for gram in sorted(likely, key=lambda g: (g.start - g.end, g.start)):
        rows = _phrase_rows(gram.key, index.connection) if _free(found, gram) else []
        for text, key, columns in rows if len(rows) <= _CONTAINING else ():
            share = len(gram.key.split()) / len(key.split())
            if share >= 0.3:
                found.append(_candidate(gram, text, columns, _CONTAINED * (1 + share) / 2))
    return found


def _is_phrase(gram: Gram) -> bool:
    """Whether the span is two or more words that questions in general lack."""
    words = gram.key.split()
    return len(words) > 1 and not any(w in QUESTION_WORDS or w[0].isdigit() for w in words)


def _phrase_rows(key: str, connection: sqlite3.Connection) -> list[Row]:
    phrase = '"' + key.replace('"', '""') + '"'
    sql = """SELECT text, key, columns FROM value WHERE id IN
             (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?) ORDER BY text"""
    return connection.execute(sql, (phrase, _CONTAINING + 1)).fetchall()


def _typos(question: Question, grams: list[Gram], index: Cells) -> list[ValueCandidate]:
    """Cells equal after correcting one capitalised word the index does not know."""
    found: list[ValueCandidate] = []
    for gram in grams:
        single = gram.end == gram.start + 1
        if single and _may_be_typo(question, gram, index.connection):
            for right in _corrections(gram.key, index.connection):
                found += _equal(list(_corrected(grams, gram, right)), index.connection)
    return without_contained([replace(item, score=_CORRECTED) for item in found])


def _may_be_typo(question: Question, gram: Gram, connection: sqlite3.Connection) -> bool:
    if len(gram.key) < 5 or not gram.key.isalpha() or not _capitalised(question, gram):
        return False
    known = connection.execute("SELECT 1 FROM vocabulary WHERE term = ?", (gram.key,)).fetchone()
    return known is None


def _corrections(key: str, connection: sqlite3.Connection) -> list[str]:
    """At most two known words one slip of the pen from `key`, best first."""
    bounds = (key[:2], key[:2] + "\uffff")
    terms = connection.execute(
        "SELECT term FROM vocabulary WHERE term >= ? AND term < ? LIMIT 3000", bounds
    ).fetchall()
    terms += connection.execute(
        "SELECT key FROM value WHERE key >= ? AND key < ? AND instr(key, ' ') = 0 LIMIT 3000",
        bounds,
    ).fetchall()
    close = {term: slip(key, term) for (term,) in terms}
    return sorted((t for t, s in close.items() if s), key=lambda t: (-close[t], t))[:2]


def slip(left: str, right: str) -> float:
    """Similarity of two words one edit or swap apart, else 0."""
    if left == right or abs(len(left) - len(right)) > 1:
        return 0.0
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    return matcher.ratio() if same >= max(len(left), len(right)) - 1 else 0.0


def _corrected(grams: list[Gram], wrong: Gram, right: str) -> Iterator[Gram]:
    """The n-grams that contain `wrong`, with its word replaced."""
    for gram in grams:
        if gram.start <= wrong.start and wrong.end <= gram.end:
            words = [right if w == wrong.key else w for w in gram.key.split()]
            yield Gram(gram.start, gram.end, gram.text, " ".join(words), gram.quoted)


def _same_stem(question: Question, grams: list[Gram], index: Cells) -> list[ValueCandidate]:
    """One-word categories with the stem of a word: "complete" -> 'Completed'."""
    found = []
    for gram in grams:
        if gram.end != gram.start + 1 or len(gram.key) < 4 or gram.key in STOP_WORDS:
            continue
        root = stem(gram.key)
        for text, key, columns in _starting(root, index.connection):
            few = [c for c in columns.split(",") if index.counts[int(c)] <= _VOCABULARY]
            if few and stem(key) == root:
                found.append(_candidate(gram, text, ",".join(few), _SAME_STEM))
    return found


def _starting(root: str, connection: sqlite3.Connection) -> list[Row]:
    sql = """SELECT text, key, columns FROM value
             WHERE key >= ? AND key < ? AND instr(key, ' ') = 0 ORDER BY key, text LIMIT 20"""
    return connection.execute(sql, (root, root + "\uffff")).fetchall()
