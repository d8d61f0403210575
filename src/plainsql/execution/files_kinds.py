"""What the columns of text files are: types told from all values, where nothing is lost by it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from plainsql.execution.files_sql import identifier, literal

BLANKS = " \t"  # around a cell


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that a column may have: the texts it is written in, and how they are read.

    `cast` is SQL over {v}, the trimmed text, and NULL where it fails.
    """

    type: str
    pattern: str  # understood by both Python and DuckDB (RE2)
    cast: str

    def read(self, column: str) -> str:
        """SQL for the cells of a column as this type."""
        return self.cast.replace("{v}", trimmed(column))

    def fits(self, column: str) -> str:
        """SQL for whether a cell of a column is of this kind; NULL for an empty one."""
        cell = trimmed(column)
        matches = f"regexp_full_match({cell}, {literal(self.pattern)})"
        fits = f"{matches} AND {self.read(column)} IS NOT NULL"
        return f"CASE WHEN {cell} IS NOT NULL THEN {fits} END"


_CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_DAY = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_NUMBER = r"-?(0|[1-9][0-9]*)"


def _try_cast(kind: str) -> str:
    return f"TRY_CAST({{v}} AS {kind})"


def _day_kind(pattern: str, form: str) -> Kind:
    return Kind("DATE", pattern, f"CAST(try_strptime({{v}}, '{form}') AS DATE)")


def _day_kinds() -> Iterator[Kind]:
    for mark in "/-":
        either = rf"[0-9]{{1,2}}{mark}[0-9]{{1,2}}{mark}[0-9]{{4}}"
        yield _day_kind(either, f"%d{mark}%m{mark}%Y")
        yield _day_kind(either, f"%m{mark}%d{mark}%Y")


# The first that fits every value of a column is its kind.
KINDS = (
    Kind("BIGINT", _NUMBER, _try_cast("BIGINT")),
    Kind("HUGEINT", _NUMBER, _try_cast("HUGEINT")),
    Kind(
        "DOUBLE",
        r"-?((0|[1-9][0-9]*)([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]{1,3})?",
        _try_cast("DOUBLE"),
    ),
    Kind("BOOLEAN", "(?i:true|false)", _try_cast("BOOLEAN")),
    Kind("DATE", _DAY, _try_cast("DATE")),
    Kind("TIMESTAMP", rf"{_DAY}[ T]{_CLOCK}", _try_cast("TIMESTAMP")),
    Kind(
        "TIMESTAMPTZ",
        rf"{_DAY}[ T]{_CLOCK} ?(Z|[-+][0-9]{{2}}(:?[0-9]{{2}})?)",
        _try_cast("TIMESTAMPTZ"),
    ),
    Kind("TIME", _CLOCK, _try_cast("TIME")),
    _day_kind("[0-9]{4}/[0-9]{1,2}/[0-9]{1,2}", "%Y/%m/%d"),
    _day_kind("[0-9]{1,2}[.][0-9]{1,2}[.][0-9]{4}", "%d.%m.%Y"),
    *_day_kinds(),
)
PATTERNS = tuple(re.compile(kind.pattern) for kind in KINDS)


def trimmed(name: str) -> str:
    """SQL for a cell without blanks around it; NULL where nothing is left."""
    return f"nullif(trim({identifier(name)}, '{BLANKS}'), '')"


def open_kinds(values: Collection[str]) -> list[int]:
    """Positions in KINDS of those that no value speaks against."""
    filled = [value for value in values if value]
    return [
        at
        for at, pattern in enumerate(PATTERNS)
        if all(pattern.fullmatch(value) for value in filled)
    ]


def next_kinds(left: Sequence[int]) -> Sequence[int]:
    """The kind to try next, or two together between which days and months are exchanged.

    If both fit, nobody knows which was meant: the column stays text.
    """
    pair = left[:2]
    exchanged = len(pair) == 2 and KINDS[pair[0]].pattern == KINDS[pair[1]].pattern
    return pair if exchanged and KINDS[pair[0]].type == "DATE" else left[:1]
