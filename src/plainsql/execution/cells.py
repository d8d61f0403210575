"""What drivers return, as the few types that `records.Cell` allows.

Every engine but SQLite's (whose values are such cells already) passes its rows
through `plain_row`; the table of forms is in docs/databases.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from plainsql.records import Cell, cell_json

# Exact types that need no conversion; text does only when it isn't ASCII.
_AS_THEY_ARE = frozenset({type(None), bool, int, float, bytes, Decimal})


def plain_row(row: Sequence[Any]) -> tuple[Cell, ...]:
    """`row` with every value made plain."""
    return tuple([value if type(value) in _AS_THEY_ARE else plain(value) for value in row])


def plain(value: Any) -> Cell:
    """`value` as a cell.

    Dates and times become ISO 8601 text, intervals `3 days 04:05:06`, lists,
    structs and maps compact JSON, what has no form of its own its text. Text
    that can't be encoded (lone surrogates) gets replacement characters.
    """
    if type(value) in _AS_THEY_ARE:
        return value  # type: ignore[no-any-return]
    if type(value) is str:
        return value if value.isascii() else _encodable(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return interval_text(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping | list | tuple | Set):
        return json_text(value)
    return _other(value)


def _other(value: Any) -> Cell:
    """Subclasses of plain types, arrays of numpy's, and what only has a text."""
    bases: tuple[Callable[[Any], Any], ...] = (int, float, str, bytes, Decimal)
    for base in bases:
        if isinstance(value, base):  # type: ignore[arg-type]
            return plain(base(value))
    if callable(to_list := getattr(value, "tolist", None)):
        return plain(to_list())
    return _encodable(str(value))


def json_text(value: Any) -> str:
    """A list, struct or map as compact JSON, UTF-8; numbers as `cell_json` has them."""
    return json.dumps(_json_value(value), ensure_ascii=False, separators=(",", ":"))


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(_json_value(key)): _json_value(item) for key, item in value.items()}
    if isinstance(value, Set):
        return [_json_value(item) for item in _ordered(value)]
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return cell_json(plain(value))


def _ordered(values: Iterable[Any]) -> list[Any]:
    """A set's items in an order that every run has."""
    return sorted(values, key=repr)


def interval_text(value: timedelta) -> str:
    """`3 days 04:05:06.5`: days where there are any, then hours to microseconds.

    Negative ones have one sign, in front of the whole: `-1 day 02:00:00`.
    """
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{value.days} day{'s' * (value.days != 1)} " if value.days else ""
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    return f"{sign}{days}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}"


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A pair of surrogates is the character it stands for, a lone one isn't any.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
