"""Rows as CSV (RFC 4180, lines ended by LF), with a header.

NULL is an empty field, as is the empty text; `cell_text` says how other values
look. A spreadsheet runs texts that begin with = + - or @ as formulas: `safe`
writes a ' before those, as OWASP advises
(https://owasp.org/www-community/attacks/CSV_Injection). It is off unless asked
for, because it changes data that most readers of CSV take as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import IO

from plainsql.records import Cell, cell_text

Row = tuple[Cell, ...]

# What the csv module writes as `cell_text` does, in C.
_NATIVE = frozenset({str, int, type(None)})
# A trigger, also behind blanks or in full width; tab and CR trigger by themselves.
_FORMULA = re.compile(r"[\t\r\n\x00]|\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class CsvWriter:
    """Writes the header at once, then batches. `safe`: against formulas in texts."""

    def __init__(self, file: IO[str], columns: Sequence[str], *, safe: bool = False) -> None:
        self._safe = safe
        self._writer = csv.writer(file, lineterminator="\n")
        # Python's writer quotes what holds its line ending, and forgets a lone CR.
        self._quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._write([[defused(name) if safe else name] for name in columns])

    def write(self, batch: Iterable[Row]) -> None:
        """Append rows."""
        # Column by column: a type is looked at once for all its cells, which is
        # three times as fast as cell by cell.
        self._write([self._fields(column) for column in zip(*batch, strict=True)])

    def _write(self, columns: Sequence[Sequence[object]]) -> None:
        texts = (c for column in columns for c in column if type(c) is str)
        writer = self._quoting if any("\r" in text for text in texts) else self._writer
        writer.writerows(zip(*columns, strict=True))

    def close(self) -> None:
        """Nothing is held back; the file is its opener's to close."""

    def _fields(self, column: Sequence[Cell]) -> Sequence[object]:
        kinds = set(map(type, column))
        if self._safe and str in kinds:
            return [defused(c) if type(c) is str else _field(c) for c in column]
        return column if kinds <= _NATIVE else [_field(c) for c in column]


def write_csv(
    file: IO[str], columns: Sequence[str], rows: Iterable[Row], *, safe: bool = False
) -> None:
    """A whole result as CSV."""
    CsvWriter(file, columns, safe=safe).write(rows)


def defused(text: str) -> str:
    """`text` such that no spreadsheet takes it for a formula; numbers stay as they are."""
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def _field(cell: Cell) -> object:
    if type(cell) is float:
        return cell if cell - cell == 0 else cell_text(cell)
    return cell if type(cell) in _NATIVE else cell_text(cell)
