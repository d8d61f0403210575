"""What the verbs print: data on stdout, everything else on stderr."""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from plainsql.errors import PlainsqlError
from plainsql.records import SCHEMA_VERSION, Cell

Row = tuple[Cell, ...]


def emit(text: str = "") -> None:
    """One piece of data on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A remark for the person at the terminal, on stderr."""
    sys.stderr.write(text + "\n")


def print_error(message: str, hint: str = "") -> None:
    """An error as one line, and what to do about it as another."""
    note("plainsql: " + " ".join(message.split()))
    if hint:
        note("hint: " + " ".join(hint.split()))


def print_json_error(error: PlainsqlError) -> None:
    """The object that stands for an error where --json was asked for."""
    described = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    print_json({"schema_version": SCHEMA_VERSION, "status": "error", "error": described})


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on one line, in UTF-8; infinite floats become null."""
    emit(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    """`value` without the floats that JSON has no words for."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def print_csv(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """RFC 4180 with a header; NULL is an empty field, bytes are 0x… ."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain_cell(cell) for cell in row] for row in rows)


def print_rows(columns: Sequence[str], rows: Sequence[Row]) -> None:
    """A table: ruled on a terminal, plain aligned text elsewhere."""
    if sys.stdout.isatty():
        _rich_table(columns, rows)
    else:
        emit(aligned(columns, rows))


def aligned(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table as text: columns two blanks apart, numbers to the right."""
    texts = [[_one_line(name) for name in columns]]
    texts += [[_one_line(_shown(cell)) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*texts, strict=True)]
    right = [_numeric(row[i] for row in rows) for i in range(len(columns))]
    lines = [_line(row, widths, right) for row in texts]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        gap = " " * (width - _width(cell))
        padded.append(gap + cell if to_right else cell + gap)
    return "  ".join(padded).rstrip()


def _numeric(cells: Iterable[Cell]) -> bool:
    return all(isinstance(cell, int | float | None) for cell in cells)


def _width(text: str) -> int:
    """Terminal columns: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _rich_table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for i, name in enumerate(columns):
        numeric = _numeric(row[i] for row in rows)
        table.add_column(Text(_one_line(name)), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_one_line(_shown(cell))) for cell in row))
    Console().print(table)


def _shown(cell: Cell) -> str:
    return "NULL" if cell is None else _plain_cell(cell)


def _plain_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return "0x" + cell.hex() if isinstance(cell, bytes) else str(cell)


def _one_line(text: str) -> str:
    """`text` without line breaks or terminal codes, which a cell may hold."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")
