"""Words of a question that are a literal as they stand: quotations and names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plainsql.linking.vocabulary import QUESTION_WORDS, STOP_WORDS, listed
from plainsql.linking.words import is_word, stem
from plainsql.records import Question, ValueCandidate, ValueKind, Word

# Lengths are bounded: many opening quotes without a closing one must not take
# quadratic time.
_QUOTED = re.compile(
    r"""
      "(?P<a>[^"]{1,500})"
    | \u201c(?P<b>[^\u201d"]{1,500})[\u201d"]
    | \u00ab\s?(?P<c>[^\u00bb]{1,500}?)\s?\u00bb
    | `(?P<d>[^`']{1,500})[`']
    | ''(?P<e>[^']{1,500})''
    | (?<!\w)'(?P<f>(?:[^']|'(?=\w)){1,500})'(?!\w)
    | (?<!\w)\u2018(?P<g>(?:[^\u2019]|\u2019(?=\w)){1,500})\u2019(?!\w)
    """,
    re.VERBOSE,
)
_TEXT_NOUNS = frozenset(listed("word letter substring string prefix phrase character"))
_EDGE_VERBS = frozenset(stem(verb) for verb in ("start", "begin", "beginning", "end", "ends"))
_AFTER_TEXT_NOUN = frozenset(listed("in of for are as at from that which and or count counts"))
_LINKING = frozenset(listed("of the de la von van & - . ' /"))
_NOT_CAPITALISED = frozenset({"i", "id", "ids"}) | STOP_WORDS


def quoted_spans(question: Question) -> Iterator[ValueCandidate]:
    """Text in straight, typographic or back quotes, as it stands between them."""
    for match in _QUOTED.finditer(question.text):
        group = next(name for name, text in match.groupdict().items() if text is not None)
        value = match[group].strip()
        start, end = words_within(question, match.start(group), match.end(group))
        if value and start < end:
            yield ValueCandidate(value, ValueKind.QUOTED, start, end)


def words_within(question: Question, start: int, end: int) -> tuple[int, int]:
    """The span of words that lie inside characters `start:end`; (0, 0) if none."""
    inside = [i for i, w in enumerate(question.words) if w.start >= start and w.end <= end]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def mentioned_texts(question: Question) -> Iterator[ValueCandidate]:
    """Pieces for LIKE: after "the word", "letters" or "starts with"."""
    words = question.words
    for i, word in enumerate(words):
        if word.lemma in _TEXT_NOUNS:
            yield from _mentioned(words, i + 1, anything=True)
        elif word.text.lower() == "with" and i and stem(words[i - 1].lemma) in _EDGE_VERBS:
            yield from _mentioned(words, i + 1, anything=False)


def _mentioned(words: tuple[Word, ...], i: int, *, anything: bool) -> Iterator[ValueCandidate]:
    """The text at word `i`; more of them after "or" and "and"."""
    if i < len(words) and words[i].text.lower() == "is":
        i += 1
    if i >= len(words) or not is_word(words[i].text):
        return
    text = words[i].text
    if text.lower() in _AFTER_TEXT_NOUN or not (anything or text[0].isupper() or len(text) == 1):
        return
    yield ValueCandidate(text, ValueKind.QUOTED, i, i + 1, score=0.8)
    another = i + 2 < len(words) and words[i + 1].text.lower() in ("or", "and", ",")
    if another and len(words[i + 2].text) == 1:
        yield from _mentioned(words, i + 2, anything=False)


def capitalised_runs(question: Question) -> Iterator[ValueCandidate]:
    """Runs of capitalised words, as typed: "New York", "UAL".

    A sentence's first word counts only as part of a longer run. "of", "the",
    "de", "and"... may stand inside a run: "Lord of the Rings".
    """
    for start, end in _capital_runs(question.words):
        surface = question.text[question.words[start].start : question.words[end - 1].end]
        yield ValueCandidate(surface, ValueKind.CAPITALISED, start, end, score=0.8)


def _capital_runs(words: tuple[Word, ...]) -> Iterator[tuple[int, int]]:
    i = 0
    while i < len(words):
        if not _is_capital(words, i) and not _opens_run(words, i):
            i += 1
            continue
        end = i + 1
        while (step := _run_step(words, end)) > end:
            end = step
        yield i, end
        i = end


def _run_step(words: tuple[Word, ...], end: int) -> int:
    """End of the run if it can be extended past `end`, else `end`."""
    position = end
    while position < min(len(words), end + 2) and words[position].text.lower() in _LINKING:
        position += 1
    if position >= len(words) or _ends_sentence(words, position - 1):
        return end
    text = words[position].text
    glued = words[position - 1].end == words[position].start and position > end
    initial = len(text) == 1 and text.isupper()
    joined = initial or (glued and (text[0].isdigit() or text[0].isupper()))
    return position + 1 if _is_capital(words, position) or joined else end


def _ends_sentence(words: tuple[Word, ...], i: int) -> bool:
    """Whether word `i` is a full stop that is not an initial's or a title's."""
    if words[i].text not in (".", "?", "!"):
        return False
    before = words[i - 1] if i else None
    short = before is not None and before.end == words[i].start and len(before.text) <= 2
    return not short


def _is_capital(words: tuple[Word, ...], i: int) -> bool:
    text = words[i].text
    if not text[0].isupper():
        return False
    starts = i == 0 or _ends_sentence(words, i - 1)
    shouted = len(text) > 1 and text.isupper() and text.lower() not in STOP_WORDS
    return not (starts or text.lower() in _NOT_CAPITALISED) or shouted


def _opens_run(words: tuple[Word, ...], i: int) -> bool:
    """Whether a sentence's first word belongs to a name: "Peter Mertens wrote"."""
    text = words[i].text
    if not text[0].isupper() or text.lower() in QUESTION_WORDS or i + 1 >= len(words):
        return False
    return (i == 0 or _ends_sentence(words, i - 1)) and _is_capital(words, i + 1)


def unknown_runs(question: Question, known: frozenset[int]) -> tuple[ValueCandidate, ...]:
    """Runs of words that are no question words, in small letters too.

    For databases whose cells are not all known: "papers on syntactic parsing".
    `known` holds the positions of words that mean something already.
    """
    found, start = [], None
    for i, word in enumerate((*question.words, None)):
        open_ = word is not None and i not in known and _unknown(word)
        if open_ and start is None:
            start = i
        elif not open_ and start is not None:
            surface = question.text[question.words[start].start : question.words[i - 1].end]
            found.append(ValueCandidate(surface, ValueKind.CAPITALISED, start, i, score=0.3))
            start = None
    return tuple(found)


def _unknown(word: Word) -> bool:
    lowered = word.text.lower()
    return word.text[0].isalpha() and not {lowered, word.lemma} & QUESTION_WORDS
