"""MySQL's values as cells: straight from the protocol's text, without Python's dates.

DECIMAL            Decimal
TINYINT(1)         int: the column holds -128 to 127, whoever calls it BOOLEAN
BIT(1), BIT(n)     bool, int
DATE               2024-05-01, also 0000-00-00 and other dates that are none
DATETIME           2024-05-01T10:00:00, with .500000 where there is a fraction
TIMESTAMP          the same, in UTC
TIME               838:59:59, -01:30:00: hours may be more than 24
YEAR               int
JSON, ENUM, SET, UUID, INET6    their text
BINARY, BLOB, geometry          bytes (geometry: four bytes SRID, then WKB)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from pymysql.constants import FIELD_TYPE

from plainsql.execution.limits import Row


def moment_text(text: str) -> str:
    """ "2024-05-01 10:00:00.500" -> "2024-05-01T10:00:00.500000", as `isoformat` has it."""
    return text.replace(" ", "T") if "." not in text else _fraction(text.replace(" ", "T"))


def time_text(text: str) -> str:
    """ "10:00:00.000000" -> "10:00:00"."""
    return text if "." not in text else _fraction(text)


def _fraction(text: str) -> str:
    whole, _, digits = text.partition(".")
    return f"{whole}.{digits:0<6}" if digits.strip("0") else whole


def bit_value(data: bytes) -> int:
    """BIT(n) as the number whose binary digits it holds."""
    return int.from_bytes(data, "big")


# What PyMySQL calls with the value's text (or bytes); other types stay text or bytes.
DECODERS: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys(
        (
            FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.INT24,
            FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR,
        ),
        int,
    ),
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.DOUBLE: float,
    FIELD_TYPE.DECIMAL: Decimal,
    FIELD_TYPE.NEWDECIMAL: Decimal,
    FIELD_TYPE.DATETIME: moment_text,
    FIELD_TYPE.TIMESTAMP: moment_text,
    FIELD_TYPE.TIME: time_text,
    FIELD_TYPE.BIT: bit_value,
}  # fmt: skip


def flags(description: Sequence[Sequence[Any]]) -> list[int]:
    """Positions of the columns that are BIT(1), by the cursor's description."""
    return [at for at, column in enumerate(description) if column[1:4:2] == (FIELD_TYPE.BIT, 1)]


def with_flags(rows: Sequence[Row], positions: Sequence[int]) -> list[Row]:
    """The rows with the numbers at `positions` as truth values."""
    done = []
    for row in rows:
        cells = list(row)
        for at in positions:
            number = cells[at]
            cells[at] = None if number is None else number == 1
        done.append(tuple(cells))
    return done
