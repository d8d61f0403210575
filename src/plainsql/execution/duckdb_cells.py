"""DuckDB's values as cells: casts that DuckDB itself makes, column by column.

The driver's own objects would lose much: infinite dates become those of the
year 9999, a month in an interval thirty days, and a TIMESTAMPTZ needs pytz.
Casts in DuckDB are exact, and faster than converting objects in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from plainsql.execution.cells import plain_row
from plainsql.execution.limits import Batch

# Types (`DuckDBPyType.id`) whose objects are cells already.
_AS_THEY_ARE = frozenset(
    "boolean tinyint smallint integer bigint hugeint utinyint usmallint uinteger ubigint uhugeint"
    " double decimal varchar blob enum null sqlnull".split()
)
_NESTED = frozenset("list array struct map union tuple variant".split())
_ZONED = frozenset(("timestamp with time zone", "time with time zone"))
_TIMESTAMPS = frozenset(("timestamp", "timestamp_s", "timestamp_ms"))

# Before the year 1 DuckDB's text is "0044-03-15 (BC)"; strftime has the year 0 and those
# before it with a sign, as ISO 8601 does (but -43, not -0043). Both leave "infinity".
_DATE = "strftime({c}, '%Y-%m-%d')"
_TIMESTAMP = (
    "CASE WHEN {c} < TIMESTAMP '0001-01-01' THEN strftime({c}, '%Y-%m-%dT%H:%M:%S')"
    " ELSE replace(CAST({c} AS VARCHAR), ' ', 'T') END"
)
# DuckDB writes the offset +02 where ISO 8601 (and Python) have +02:00.
_ZONE = "regexp_replace(replace(CAST({c} AS VARCHAR), ' ', 'T'), '([+-][0-9]{{2}})$', '\\1:00')"
_NOT_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')


def projection(types: Sequence[Any], *, as_text: Collection[str] = ()) -> str:
    """What to select over a query with columns of `types` to get cells; "" for the query itself.

    Of the types that are cells already, those of `as_text` come as texts.
    """
    items = [
        f"CAST(#{at} AS VARCHAR)" if str(kind.id) in as_text else _item(str(kind.id), f"#{at}")
        for at, kind in enumerate(types, 1)
    ]
    plain = all(item == f"#{at}" for at, item in enumerate(items, 1))
    return "" if plain else ", ".join(items)


def _item(kind: str, column: str) -> str:
    if kind in _AS_THEY_ARE:
        return column
    if kind == "float":  # 0.1 as it was written, not 0.10000000149011612
        return f"CAST(CAST({column} AS VARCHAR) AS DOUBLE)"
    if kind in _NESTED:
        return f"CAST(to_json({column}) AS VARCHAR)"
    if kind == "date":
        return _DATE.format(c=column)
    if kind in _TIMESTAMPS:
        return _TIMESTAMP.format(c=column)
    if kind == "timestamp_ns":  # from 1677 to 2262
        return f"replace(CAST({column} AS VARCHAR), ' ', 'T')"
    if kind in _ZONED:
        return _ZONE.format(c=column)
    return f"CAST({column} AS VARCHAR)"


def finishing(types: Sequence[Any]) -> Callable[[Batch], Batch] | None:
    """What is left to do in Python: big integers, and numbers that JSON has no word for."""
    steps: dict[int, Callable[[str], Any]] = {}
    for at, kind in enumerate(types):
        if str(kind.id) == "bignum":
            steps[at] = int
        elif str(kind.id) in _NESTED and re.search("FLOAT|DOUBLE|VARIANT", str(kind)):
            steps[at] = valid_json
    return (lambda batch: [_finished(row, steps) for row in batch]) if steps else None


def _finished(row: tuple[Any, ...], steps: dict[int, Callable[[str], Any]]) -> tuple[Any, ...]:
    cells = list(row)
    for at, step in steps.items():
        if cells[at] is not None:
            cells[at] = step(cells[at])
    return tuple(cells)


def valid_json(text: str) -> str:
    """JSON in which NaN and infinities are the strings that stand for them in results."""
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _NOT_JSON.sub(lambda m: m[0] if m[0][0] == '"' else f'"{m[0]}"', text)


def by_python(batch: list[tuple[Any, ...]]) -> Batch:
    """The driver's objects as cells, for results that no query can go over."""
    return [plain_row(row) for row in batch]
