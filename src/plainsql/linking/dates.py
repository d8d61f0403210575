"""Dates of a question, as ISO 8601 text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from plainsql.linking.vocabulary import listed
from plainsql.records import Question, ValueCandidate, ValueKind, Word

_ISO = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})")
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, names in enumerate(
        listed("january_jan february_feb march_mar april_apr may june_jun july_jul august_aug")
        + listed("september_sep_sept october_oct november_nov december_dec"),
        start=1,
    )
    for name in names.split("_")
}


def dates(question: Question) -> Iterator[ValueCandidate]:
    """Dates as ISO 8601 text; 03/01/2013 gives both readings, month first."""
    yield from _numeric_dates(question)
    yield from _worded_dates(question)


def _numeric_dates(question: Question) -> Iterator[ValueCandidate]:
    for i, word in enumerate(question.words):
        iso, slashed = _ISO.fullmatch(word.text), _SLASHED.fullmatch(word.text)
        if iso:
            yield from _date(int(iso[1]), int(iso[2]), int(iso[3]), i, i + 1)
            yield from _with_time(question, i)
        elif slashed:
            first, second, year = (int(part) for part in slashed.groups())
            year += 0 if year > 99 else 2000 if year < 50 else 1900
            ambiguous = first <= 12 and second <= 12 and first != second
            yield from _date(year, first, second, i, i + 1, 0.6 if ambiguous else 1.0)
            if first != second:
                yield from _date(year, second, first, i, i + 1, 0.5 if ambiguous else 1.0)


def _with_time(question: Question, i: int) -> Iterator[ValueCandidate]:
    """The date at word `i` with the time of day that follows it, as typed."""
    following = question.words[i + 1] if i + 1 < len(question.words) else None
    if following and _TIME.fullmatch(following.text):
        text = f"{question.words[i].text} {following.text}"
        yield ValueCandidate(text, ValueKind.DATE, i, i + 2)


def _date(
    year: int, month: int, day: int, start: int, end: int, score: float = 1.0
) -> Iterator[ValueCandidate]:
    try:
        value = date(year, month, day).isoformat()
    except ValueError:  # no such day: 2013-02-30 is no date
        return
    yield ValueCandidate(value, ValueKind.DATE, start, end, score=score)


def _worded_dates(question: Question) -> Iterator[ValueCandidate]:
    """March 1st, 2013; 1 March 2013; 1st of March 2013; March 2013 as 2013-03."""
    words = question.words
    for i, word in enumerate(words):
        month = _MONTHS.get(word.text.lower().rstrip("."))
        if month is None:
            continue
        after = _skip(words, i + 1, (".",))
        day_after = _day(words, after)
        year_at = _skip(words, after + 1 if day_after else after, (",", "of", "in"))
        year = _year(words, year_at)
        before = i - 2 if i > 1 and words[i - 1].lemma == "of" else i - 1
        day_before = _day(words, before) if before >= 0 else None
        if year and day_after:
            yield from _date(year, month, day_after, i, year_at + 1)
        elif year and day_before:
            yield from _date(year, month, day_before, before, year_at + 1)
        elif year:
            value = f"{year:04d}-{month:02d}"
            yield ValueCandidate(value, ValueKind.DATE, i, year_at + 1, score=0.7)


def _skip(words: tuple[Word, ...], position: int, texts: tuple[str, ...]) -> int:
    while position < len(words) and words[position].text.lower() in texts:
        position += 1
    return position


def _day(words: tuple[Word, ...], position: int) -> int | None:
    text = words[position].text if position < len(words) else ""
    day = _DAY.fullmatch(text)
    return int(day[1]) if day and 1 <= int(day[1]) <= 31 else None


def _year(words: tuple[Word, ...], position: int) -> int | None:
    text = words[position].text if position < len(words) else ""
    return int(text) if len(text) == 4 and text.isdecimal() else None
