"""From declared types and stored values to the five kinds of column.

SQLite lets a column hold anything, so a declared type is a hint: sampled values
settle columns without a type and correct those whose values all say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from plainsql.schema.model import ColumnType

Scalar = str | int | float

# Tried in order, on the upper-case declared type; the first that occurs wins.
_RULES = (
    (ColumnType.OTHER, re.compile(r"\[|\bARRAY|\bMAP\b|\bSTRUCT|\bROW\(|INTERVAL")),
    (ColumnType.BOOLEAN, re.compile(r"BOOL|^BIT$|^BIT\(1\)$|^LOGICAL")),
    (ColumnType.TIME, re.compile(r"DATE|TIME|\bYEAR\b")),
    (ColumnType.TEXT, re.compile(r"CHAR|CLOB|TEXT|STRING|ENUM|UUID|GUID|^NAME$|INET")),
    (ColumnType.OTHER, re.compile(r"BLOB|BYTEA|BINARY|JSON|XML|GEO|POINT|POLYGON|VECTOR|IMAGE")),
    (ColumnType.NUMBER, re.compile(r"INT|REAL|FLOA|DOUB|NUM|DEC|MONEY|CURRENCY|SERIAL|FIXED")),
)
_MOMENT = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
)
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?|[+-]?0?\.\d+")


def declared_column_type(declared: str) -> ColumnType | None:
    """The kind that a declared SQL type of any engine names; None if it names none."""
    text = declared.strip().upper()
    return next((kind for kind, pattern in _RULES if pattern.search(text)), None)


def column_type(declared: str, values: Sequence[Scalar] = ()) -> ColumnType:
    """The kind of a column by its declared type and some of its values.

    Without a telling declared type the values decide; without values it is TEXT.
    ISO 8601 dates in a text or number column make it TIME, and a number column
    that holds no number at all is TEXT.
    """
    kind = declared_column_type(declared)
    if kind is None:
        return _type_of_values(values)
    if kind in (ColumnType.TEXT, ColumnType.NUMBER) and _all_match(_MOMENT, values):
        return ColumnType.TIME
    if kind is ColumnType.NUMBER and values and not any(_is_number(value) for value in values):
        return ColumnType.TEXT
    return kind


def _type_of_values(values: Sequence[Scalar]) -> ColumnType:
    if values and all(_is_number(value) for value in values):
        return ColumnType.NUMBER
    return ColumnType.TIME if _all_match(_MOMENT, values) else ColumnType.TEXT


def _all_match(pattern: re.Pattern[str], values: Sequence[Scalar]) -> bool:
    return bool(values) and all(
        isinstance(value, str) and pattern.fullmatch(value.strip()) for value in values
    )


def _is_number(value: Scalar) -> bool:
    """True for a stored number, or its plain spelling ("007" is a code, not one)."""
    return not isinstance(value, str) or _NUMBER.fullmatch(value.strip()) is not None
