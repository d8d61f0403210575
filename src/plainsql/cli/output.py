"""What the verbs print: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import IO, Any

from plainsql.errors import PlainsqlError
from plainsql.records import SCHEMA_VERSION, Cell, cell_json, cell_text

Row = tuple[Cell, ...]


def emit(text: str = "") -> None:
    """One piece of data on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A remark for the person at the terminal, on stderr."""
    sys.stderr.write(text + "\n")


def print_error(message: str, hint: str = "") -> None:
    """An error as one line, and what to do about it as another; no secrets."""
    from plainsql.execution.redaction import redact

    note("plainsql: " + redact(" ".join(message.split())))
    if hint:
        note("hint: " + redact(" ".join(hint.split())))


def print_json_error(error: PlainsqlError) -> None:
    """The object that stands for an error where --json was asked for; no secrets."""
    from plainsql.execution.redaction import redact

    described = {
        "type": type(error).__name__,
        "message": redact(error.message),
        "hint": redact(error.hint),
    }
    print_json({"schema_version": SCHEMA_VERSION, "status": "error", "error": described})


def print_json(value: dict[str, Any], file: IO[str] | None = None) -> None:
    """One JSON object on one line, in UTF-8; what JSON can't hold exactly becomes text."""
    text = json.dumps(_json(value), ensure_ascii=False, allow_nan=False)
    (file or sys.stdout).write(text + "\n")


def _json(value: Any) -> Any:
    """`value` with NaN and the like as words, and text that can be encoded."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return cell_json(value)


def print_csv(columns: Sequence[str], rows: Iterable[Row], *, safe: bool = False) -> None:
    """CSV as `writing.csv_form` has it; `safe` against formulas in cells."""
    from plainsql.writing.csv_form import write_csv

    write_csv(sys.stdout, columns, rows, safe=safe)


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
    """Whether a column is set to the right; true and false are words."""
    return all(
        isinstance(cell, int | float | Decimal | None) and not isinstance(cell, bool)
        for cell in cells
    )


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
    return "NULL" if cell is None else cell_text(cell)


def _one_line(text: str) -> str:
    """`text` without line breaks or terminal codes, which a cell may hold."""
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")
