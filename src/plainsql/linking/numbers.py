"""Numbers of a question, in digits and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plainsql.linking.vocabulary import listed
from plainsql.records import Question, ValueCandidate, ValueKind, Word

_NUMBER = re.compile(r"[-\u2212]?(?:\d[\d,]*)?\.?\d+")
_MAX_DIGITS = 40  # what is longer is an identifier, and may not fit a float
_SCALED = re.compile(r"(\d[\d,]*(?:\.\d+)?)(k|m|mn|mm|bn|b)", re.IGNORECASE)
_DECADE = re.compile(r"(\d{4})s")
_WITH_UNIT = re.compile(r"(\d[\d,]*(?:\.\d+)?)[a-z]{1,3}", re.IGNORECASE)

_UNITS = {
    word: number
    for number, word in enumerate(
        listed("""zero one two three four five six seven eight nine ten eleven twelve thirteen
        fourteen fifteen sixteen seventeen eighteen nineteen""")
    )
}
_TENS = {
    word: 10 * number
    for number, word in enumerate(
        listed("twenty thirty forty fifty sixty seventy eighty ninety"), start=2
    )
} | {"fourty": 40}
_SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9,
    "hundreds": 100, "thousands": 1000, "millions": 10**6, "billions": 10**9,
    "k": 1000, "m": 10**6, "mn": 10**6, "mm": 10**6, "b": 10**9, "bn": 10**9,
    "mil": 10**6, "dozen": 12,
}  # fmt: skip
_SCALE_WORDS = frozenset({"hundred", "thousand", "million", "billion", "mil", "dozen"})
_ORDINALS = {
    word: number
    for number, word in enumerate(
        listed("second third fourth fifth sixth seventh eighth ninth tenth"), start=2
    )
} | {"twice": 2, "thrice": 3}


def as_number(text: str) -> int | float | None:
    """The number that `text` spells in digits ("1,000.5", "-3"), or None."""
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    plain = text.replace(",", "").replace("\u2212", "-")
    return float(plain) if "." in plain else int(plain)


def _scaled(number: int | float, scale: int) -> int | float:
    product = round(number * scale, 6)
    return int(product) if product == int(product) else product


def _digits(word: Word) -> int | float | None:
    """A number written in digits, with a scale or an ordinal's ending attached."""
    number = as_number(word.text)
    if number is not None:
        return number
    scaled = _SCALED.fullmatch(word.text)
    if scaled:
        base = as_number(scaled[1])
        return None if base is None else _scaled(base, _SCALES[scaled[2].lower()])
    ending = _DECADE.fullmatch(word.text) or _WITH_UNIT.fullmatch(word.text)
    return as_number(ending[1]) if ending else None


def digit_numbers(question: Question) -> Iterator[ValueCandidate]:
    """Numbers in digits: 3, -3, 1,000.5, 5k, 2 million, 3rd, 180cm, 10%.

    "2 million" gives 2000000; a percentage gives 10 and, with a lower score,
    0.1.
    """
    words = question.words
    for i, word in enumerate(words):
        number = _digits(word)
        if number is None:
            continue
        following = words[i + 1].text.lower() if i + 1 < len(words) else ""
        if following in _SCALES and following not in ("m", "b", "mm"):
            yield _number(_scaled(number, _SCALES[following]), i, i + 2)
        elif following in ("%", "percent", "percents"):
            yield _number(number, i, i + 1)
            yield _number(round(number / 100, 10), i, i + 2, 0.5)
        else:
            yield _number(number, i, i + 1)


def _number(value: int | float, start: int, end: int, score: float = 1.0) -> ValueCandidate:
    return ValueCandidate(value, ValueKind.NUMBER, start, end, score=score)


def word_numbers(question: Question) -> Iterator[ValueCandidate]:
    """Numbers in words: "twenty-one", "two hundred and five", "a dozen"."""
    words = question.words
    i = 0
    while i < len(words):
        end, value = _spelled(words, i)
        if value is None:
            i += 1
            continue
        start = i - 1 if i and words[i - 1].lemma in ("a", "an") and end == i + 1 else i
        if not _is_pronoun(words, i, end):
            yield _number(value, start if words[i].lemma in _SCALE_WORDS else i, end)
        i = end


def _is_pronoun(words: tuple[Word, ...], start: int, end: int) -> bool:
    """Whether "one" is a pronoun: "the one", "which one", "one of"."""
    if end != start + 1 or words[start].lemma != "one":
        return False
    before = words[start - 1].lemma if start else ""
    after = words[end].lemma if end < len(words) else ""
    return before in ("which", "this", "that", "each", "every") or after in ("another",)


def _spelled(words: tuple[Word, ...], start: int) -> tuple[int, int | None]:
    """End and value of the number words from `start` on; None if there are none."""
    total, current, end = 0, 0, start
    position = start
    while position < len(words):
        word = words[position].text.lower()
        if word in _UNITS and ((current % 10 == 0 and current % 100 != 10) or end == start):
            current += _UNITS[word]
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word in _SCALE_WORDS and (end > start or _starts_scale(words, start)):
            scale = _SCALES[word]
            current = max(current, 1) * scale
            if scale >= 1000:
                total, current = total + current, 0
        elif end > start and word in ("-", "and") and _continues(words, position, end):
            position += 1
            continue
        else:
            break
        position += 1
        end = position
    return end, (total + current if end > start else None)


def _starts_scale(words: tuple[Word, ...], start: int) -> bool:
    """Whether a scale without a number before it counts: "a dozen", "hundred"."""
    before = words[start - 1] if start else None
    return before is None or as_number(before.text) is None


def _continues(words: tuple[Word, ...], position: int, end: int) -> bool:
    """Whether "-" or "and" joins two parts of one number: "twenty-one"."""
    if position != end or position + 1 >= len(words):
        return False
    following = words[position + 1].text.lower()
    if words[position].text == "-":
        return words[position - 1].text.lower() in _TENS and following in _UNITS
    after_scale = words[position - 1].text.lower() in _SCALE_WORDS
    return after_scale and (following in _UNITS or following in _TENS)


def ordinal_numbers(question: Question) -> Iterator[ValueCandidate]:
    """ "second", "third", … "tenth", "twice", which questions use as limits."""
    for i, word in enumerate(question.words):
        number = _ORDINALS.get(word.text.lower())
        if number is not None:
            yield _number(number, i, i + 1, 0.4)
