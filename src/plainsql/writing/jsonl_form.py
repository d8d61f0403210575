"""Rows as JSON Lines: one object a row, UTF-8 (https://jsonlines.org).

Keys are the columns' names, repeated ones numbered; `cell_json` says which
numbers are written as numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring
from typing import IO

from plainsql.records import Cell, cell_json
from plainsql.writing.names import unique_names

Row = tuple[Cell, ...]


class JsonLinesWriter:
    """Writes batches of rows as objects, one a line."""

    def __init__(self, file: IO[str], columns: Sequence[str]) -> None:
        self._file = file
        keys = [_quoted(name).replace("%", "%%") for name in unique_names(columns)]
        self._line = "{" + ", ".join(f"{key}: %s" for key in keys) + "}\n"

    def write(self, batch: Iterable[Row]) -> None:
        """Append rows."""
        # Column by column, as a type is looked at once then; json.dumps for each
        # row takes four times as long.
        columns = [_values(column) for column in zip(*batch, strict=True)]
        line = self._line
        self._file.write("".join([line % row for row in zip(*columns, strict=True)]))

    def close(self) -> None:
        """Nothing is held back; the file is its opener's to close."""


def _values(column: Sequence[Cell]) -> list[str]:
    """The cells of a column as JSON."""
    if set(map(type, column)) == {str}:
        return list(map(_quoted, column))  # type: ignore[arg-type]
    return [_value(cell) for cell in column]


def _value(cell: Cell) -> str:
    if cell is None:
        return "null"
    found = cell_json(cell)
    if isinstance(found, str):
        return _quoted(found)
    return json.dumps(found) if isinstance(found, bool) else repr(found)


def _quoted(text: str) -> str:
    """A JSON string, UTF-8; a lone surrogate, which has no bytes, is escaped."""
    quoted = encode_basestring(text)
    return quoted if text.isascii() or _encodable(text) else json.dumps(text)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
