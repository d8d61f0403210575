"""Literals that stand in the question itself: numbers, dates, quotes, names.

Each finder is a pure function from a question to candidates; `FINDERS` orders
them, `find_literals` merges what they find. Nothing here looks at a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plainsql.linking.dates import dates
from plainsql.linking.numbers import digit_numbers, ordinal_numbers, word_numbers
from plainsql.linking.spans import capitalised_runs, mentioned_texts, quoted_spans
from plainsql.records import Question, Value, ValueCandidate, ValueKind


def find_literals(question: Question) -> tuple[ValueCandidate, ...]:
    """Numbers, dates, quoted spans and capitalised runs of `question`.

    One candidate for each (value, span), the first finder's; ordered by span.
    """
    found: dict[tuple[str, Value, int, int], ValueCandidate] = {}
    for finder in FINDERS:
        for item in finder(question):
            found.setdefault((type(item.value).__name__, item.value, item.start, item.end), item)
    whole = [f for f in found.values() if f.kind in (ValueKind.QUOTED, ValueKind.DATE)]
    kept = (f for f in found.values() if not any(_is_part(f, other) for other in whole))
    return tuple(sorted(kept, key=value_order))


def _is_part(item: ValueCandidate, whole: ValueCandidate) -> bool:
    """Whether `item` is a piece of a date or of a quotation and not useful alone.

    The year of "March 2013" is: columns of years are common.
    """
    inside = whole.start <= item.start and item.end <= whole.end
    if whole.kind is ValueKind.DATE:
        month_only = isinstance(whole.value, str) and len(whole.value) == len("2013-03")
        return inside and (
            item.kind is ValueKind.CAPITALISED
            or (item.kind is ValueKind.NUMBER and not month_only)
            or (item.kind is ValueKind.DATE and item.end < whole.end)
        )
    return inside and item.kind is ValueKind.CAPITALISED


def value_order(item: ValueCandidate) -> tuple[int, int, str, str, str]:
    """The order of `Links.values`: span, kind, then value."""
    return item.start, item.end, item.kind.value, str(item.value), type(item.value).__name__


FINDERS: tuple[Callable[[Question], Iterator[ValueCandidate]], ...] = (
    quoted_spans,
    mentioned_texts,
    dates,
    digit_numbers,
    word_numbers,
    ordinal_numbers,
    capitalised_runs,
)
"""Every finder, in the order in which the first to give a (value, span) wins."""
