"""One sentence about the rows, by template: it can't say what they don't.

The sentence is computed from the result alone. No model writes it, so a wrong
query gives a wrong sentence but never an invented number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from plainsql.records import Cell, Rows, not_finite
from plainsql.records import cell_text as plain_text
from plainsql.schema.model import Schema

LISTED = 5  # values named in a sentence; more are counted
CELL_CHARACTERS = 60  # a longer cell is cut
_PLACES = 4  # of a number; further ones are rounded

_AGGREGATES = {
    "count": "number of",
    "sum": "total",
    "total": "total",
    "avg": "average",
    "min": "lowest",
    "max": "highest",
}
_CALL = re.compile(r"(?P<function>\w+)\s*\(\s*(?P<distinct>distinct\s+)?(?P<inside>.*)\)", re.I)
_CAST = re.compile(r"cast\s*\(\s*(?P<inside>[^()]*?)\s+as\s+[\w ,()]+\)", re.I)
_IDENTIFIER = re.compile(r'"(?:[^"]|"")+"|`[^`]+`|\[[^\]]+\]|\w+')
_FROM = re.compile(r'\bfrom\s+("(?:[^"]|"")+"|`[^`]+`|\[[^\]]+\]|\w+)', re.IGNORECASE)
_JOIN = re.compile(r"\bjoin\b|,", re.IGNORECASE)
_AFTER_FROM = re.compile(
    r"\b(?:where|group\s+by|having|order\s+by|limit|union|intersect|except)\b", re.I
)


def answer_sentence(sql: str, rows: Rows, schema: Schema) -> str:
    """What `rows`, the result of `sql` over `schema`, say, in one sentence."""
    headers = sqlite_headers(rows.columns, sql)
    labels = [column_label(header, sql, schema) for header in headers]
    if not rows.rows:
        return "No rows match."
    if len(rows.rows) == 1 and not rows.truncated:
        return _capitalised(_one_row(labels, rows.rows[0]))
    if len(labels) == 1:
        return _one_column(labels[0], rows)
    return _table(labels, rows)


def _one_row(labels: list[str], row: tuple[Cell, ...]) -> str:
    if len(labels) == 1:
        return f"{labels[0]}: {cell_text(row[0])}."
    parts = [f"{label}: {cell_text(cell)}" for label, cell in zip(labels, row, strict=True)]
    rest = len(parts) - LISTED
    return "; ".join(parts[:LISTED]) + (f"; and {rest} more columns." if rest > 0 else ".")


def _one_column(label: str, rows: Rows) -> str:
    cells = [cell_text(row[0]) for row in rows.rows[:LISTED]]
    rest = len(rows.rows) - len(cells)
    if rows.truncated:
        return f"{_count(rows)} of {label}, beginning with {_listed(cells)}."
    if rest:
        return f"{_count(rows)} of {label}: {', '.join(cells)} and {rest:,} more."
    return f"{_count(rows)} of {label}: {_listed(cells)}."


def _table(labels: list[str], rows: Rows) -> str:
    first = ", ".join(cell_text(cell) for cell in rows.rows[0][:LISTED])
    named = labels if len(labels) <= LISTED else [*labels[: LISTED - 1], "other columns"]
    return f"{_count(rows)} with {_listed(named)}; the first is {first}."


def _count(rows: Rows) -> str:
    """How many rows there are; a limit that cut them is said."""
    number = f"{len(rows.rows):,} row" + ("s" if len(rows.rows) != 1 else "")
    return f"More than {number}" if rows.truncated else number


def _listed(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def cell_text(cell: Cell) -> str:
    """One cell as a person reads it; long text is cut, bytes are only counted."""
    if cell is None:
        return "no value (NULL)"
    if isinstance(cell, bytes):
        return f"({len(cell):,} bytes)"
    if isinstance(cell, float | Decimal):
        return _number(cell)
    text = " ".join(printable(plain_text(cell)).split())
    return text if len(text) <= CELL_CHARACTERS else text[: CELL_CHARACTERS - 1] + "…"


def _number(value: float | Decimal) -> str:
    """A number without noise: 12.0 -> "12", 0.30000000000000004 -> "0.3".

    A decimal of up to four places, such as a price, keeps them: 12.50 -> "12.50".
    """
    if not_finite(value):
        return plain_text(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4f}".rstrip("0") if 0.001 <= abs(value) < 1e15 else f"{value:.6g}"


def _decimal(value: Decimal) -> str:
    if value.adjusted() < CELL_CHARACTERS and value == (whole := int(value)):
        return str(whole)
    text = plain_text(value)
    places = len(text.partition(".")[2])
    return text if places <= _PLACES else _number(float(value))


def printable(text: str) -> str:
    """`text` with control characters made visible: cells may hold terminal codes."""
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


def column_label(header: str, sql: str, schema: Schema) -> str:
    """A result column in words: "avg(T1.age)" -> "average age".

    `header` is the name the engine gave the column; count(*) is named after
    the table where `sql` reads from only one.
    """
    call = _CALL.fullmatch(header.strip())
    if call is None or call["function"].lower() not in _AGGREGATES:
        return _natural(header, schema)
    lead = _AGGREGATES[call["function"].lower()]
    if call["inside"].strip() == "*":
        return _count_label(sql, schema)
    distinct = "different " if call["distinct"] else ""
    return f"{lead} {distinct}{_natural(call['inside'], schema)}"


def sqlite_headers(headers: Sequence[str], sql: str) -> tuple[str, ...]:
    """Headers as SQLite gives them: of a nameless expression, its text in the query.

    PostgreSQL calls count(*) `count`, DuckDB `count_star()`: no name to show.
    """
    items = list(_select_items(sql))
    if len(items) != len(headers):  # a star, or more than one SELECT can tell
        return tuple(headers)
    return tuple(
        item if _named_after(header, item) else header
        for header, item in zip(headers, items, strict=True)
    )


def _named_after(header: str, item: str) -> bool:
    """Whether `header` is what an engine calls the call `item`, which has no alias."""
    call = _CALL.fullmatch(item)
    if call is None:
        return False
    function = call["function"].lower()
    return header.lower() in (function, f"{function}_star()", item.lower())


_SELECT = re.compile(r"\s*select\s+(?:distinct\s+)?", re.I)
_PIECE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[(),]|\bfrom\b|[^'"`(),\s]+|\s+""", re.I
)


def _select_items(sql: str) -> Iterator[str]:
    """The texts between the commas of the first SELECT, up to its FROM."""
    start = _SELECT.match(sql)
    depth, item = 0, ""
    for piece in _PIECE.findall(sql, start.end()) if start else ():
        depth += (piece == "(") - (piece == ")")
        if depth == 0 and piece.lower() == "from":
            break
        if depth == 0 and piece == ",":
            yield item.strip()
            item = ""
        else:
            item += piece
    if item.strip():
        yield item.strip()


def _count_label(sql: str, schema: Schema) -> str:
    """The label of count(*): "number of singers", or of rows where tables are joined."""
    source = _AFTER_FROM.split(sql, maxsplit=1)[0]
    found = _FROM.findall(source)
    if len(found) != 1 or _JOIN.search(source):
        return "number of rows"
    name = _unquoted(found[0]).lower()
    naturals = [table.natural for table in schema.tables if table.name.lower() == name]
    return f"number of {_plural(naturals[0])}" if naturals else "number of rows"


def _plural(noun: str) -> str:
    """The regular plural; a noun that ends in s is taken for one already."""
    if noun.endswith("s"):
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "z", "ch", "sh")) else "s")


def _natural(expression: str, schema: Schema) -> str:
    """The words for a column reference; any other expression as it is written."""
    if cast := _CAST.fullmatch(expression.strip()):  # which a dialect needs, not the reader
        return _natural(cast["inside"], schema)
    parts = _IDENTIFIER.findall(expression)
    if not parts or "".join(parts) != re.sub(r"[.\s]", "", expression):
        return printable(expression)
    name = _unquoted(parts[-1]).lower()
    for column in schema.columns:
        if column.name.lower() == name:
            return column.natural
    return printable(expression)


def _unquoted(identifier: str) -> str:
    return identifier.strip('"`[]') if identifier[:1] in '"`[' else identifier
