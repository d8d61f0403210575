"""Web tables (SQUALL's, https://arxiv.org/abs/2010.11246) as SQLite databases.

Each becomes one typed table with names in one of the styles that databases
use, so that a parser learns to read them; the header is kept as a comment in
some, and always in `names.json` beside the files.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainsql.schema.introspect import quoted, sqlite_schema
from plainsql.training.synthesis.abbreviations import abbreviated
from plainsql.training.synthesis.corpus import Database, renamed
from plainsql.training.synthesis.output import write_text
from plainsql.training.synthesis.wording import plural, singular

_MIN_ROWS, _MIN_COLUMNS, _MAX_COLUMNS = 4, 3, 30
_COMMENTED = 0.1  # share of tables whose headers are comments
_CAPITALISED = 0.6  # share of tables whose texts are capitalised: SQUALL's are in lower case
# A header that says what a row is, and what a table of such rows is called.
_SUBJECTS = (
    "player athlete driver rider swimmer cyclist candidate actor artist film movie song album "
    "single book "
    "episode team club school university college company station airport river mountain "
    "building ship vessel aircraft locomotive model engine game match race event tournament "
    "competition championship award election district county state province city town village "
    "country nation language character song title stadium venue bridge church museum park "
    "manager coach president minister mayor name party opponent date year"
).split()
_CALLED = {
    "title": ("titles", "works", "productions"),
    "name": ("people", "entries", "items", "members"),
    "opponent": ("games", "matches", "results"),
    "date": ("events", "games", "schedule"),
    "year": ("results", "seasons", "appearances", "history"),
    "party": ("parties", "votes"),
    "nation": ("medals", "nations"),
}
_ANY = ("results", "records", "data", "entries", "listing", "items")


@dataclass(frozen=True, slots=True)
class WebColumn:
    """A header in words, the SQL type, and the cells."""

    natural: str
    type: str
    cells: tuple[Any, ...]


def read_columns(entry: dict[str, Any]) -> list[WebColumn]:
    """The columns of one SQUALL table: numbers and dates parsed, texts as they are."""
    found: dict[str, WebColumn] = {}
    headers = entry["headers"][2:]
    for header, contents in zip(headers, entry["contents"][2:], strict=False):
        natural = natural_header(header)
        if natural and natural not in found and len(contents) > 0:
            found[natural] = _typed(natural, contents)
    return list(found.values())


def natural_header(header: str) -> str:
    """A header as a name: "chart-positions\\nuk" -> "chart positions uk"."""
    text = re.sub(r"\(.*?\)|\[.*?\]", " ", header.lower())
    text = re.sub(r"^(#|no\.?|nr\.?|№)$", "number", text.strip())
    text = re.sub(r"[^\w%&' ]+", " ", text.replace("#", " number "))
    text = text.replace("%", " percent ").replace("&", " and ").replace("'", "")
    text = re.sub(r"\bpos\b", "position", re.sub(r"\s+", " ", text)).strip()
    return text if 1 < len(text) <= 40 else ""


def _typed(natural: str, contents: list[dict[str, Any]]) -> WebColumn:
    raw = [_clean(cell) for cell in contents[0]["data"]]
    column = contents[0]["col"]
    present = sum(cell is not None for cell in raw)
    for variant in contents[1:]:
        kind = variant["col"][len(column) :]
        cells = tuple(variant["data"])
        filled = sum(cell is not None for cell in cells)
        if present and filled >= 0.9 * present:
            if kind == "_number" and _plain_numbers(raw):
                return WebColumn(natural, _number_type(cells), _whole(cells))
            if kind == "_parsed" and all(
                c is None or re.fullmatch(r"\d{4}-\d\d-\d\d", str(c)) for c in cells
            ):
                return WebColumn(natural, "DATE", cells)
    return WebColumn(natural, "TEXT", tuple(raw))


def _plain_numbers(raw: list[str | None]) -> bool:
    """Whether the cells are numbers with at most a sign, an ordinal or a unit around them."""
    pattern = re.compile(r"[$£€+\-−]?\s*\d[\d,. ]*(st|nd|rd|th|%| ?[a-z]{1,3})?\.?")
    cells = [cell for cell in raw if cell is not None]
    return sum(bool(pattern.fullmatch(cell)) for cell in cells) >= 0.9 * len(cells)


def _number_type(cells: tuple[Any, ...]) -> str:
    return "INTEGER" if all(c is None or float(c).is_integer() for c in cells) else "REAL"


def _whole(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    if _number_type(cells) == "REAL":
        return cells
    return tuple(None if c is None else int(c) for c in cells)


def _clean(cell: Any) -> str | None:
    text = re.sub(r"\s+", " ", str(cell)).strip() if cell is not None else ""
    return text or None


# -- names ----------------------------------------------------------------


def table_name(columns: list[WebColumn], rng: random.Random) -> str:
    """What the rows are, by the first telling header; something neutral otherwise."""
    if rng.random() < 0.15:
        return rng.choice(_ANY)
    names = [singular(column.natural) for column in columns]
    for subject in _SUBJECTS:
        if subject in names:
            return rng.choice(_CALLED.get(subject, (plural(subject),)))
    return rng.choice(_ANY)


def identifiers(naturals: list[str], rng: random.Random) -> list[str]:
    """Distinct identifiers for the names, all in one style."""
    style = rng.choice(("snake",) * 4 + ("camel", "pascal", "upper", "spaces", "short", "joined"))
    found: list[str] = []
    for natural in naturals:
        name = styled(natural, style, rng)
        while name.lower() in (other.lower() for other in found):
            name += "_2"
        found.append(name)
    return found


def styled(natural: str, style: str, rng: random.Random) -> str:
    """A name in one of the styles of identifiers; never starts with a digit."""
    words = re.findall(r"\w+", natural)
    if style == "short":
        words = [abbreviated(word, rng) for word in words]
    text = {
        "camel": words[0] + "".join(map(str.capitalize, words[1:])),
        "pascal": "".join(map(str.capitalize, words)),
        "upper": "_".join(words).upper(),
        "spaces": " ".join(words).title(),
        "joined": "".join(words) if len(words) < 3 else "_".join(words),
    }.get(style, "_".join(words))
    return f"c_{text}" if text[:1].isdigit() else text


# -- files ----------------------------------------------------------------


def convert(source: Path, target: Path, rng: random.Random) -> int:
    """Writes a SQLite file for every usable table of the folder; returns their number.

    `names.json` in the target folder holds the natural names by file stem:
    the table's first, then the columns'.
    """
    names: dict[str, list[str]] = {}
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.json")):
        columns = read_columns(json.loads(path.read_text(encoding="utf-8")))
        if not _MIN_COLUMNS <= len(columns) <= _MAX_COLUMNS or len(columns[0].cells) < _MIN_ROWS:
            continue
        table = table_name(columns, rng)
        _write_database(target / f"{path.stem}.sqlite", table, columns, rng)
        names[path.stem] = [table, *(column.natural for column in columns)]
    write_text(target / "names.json", json.dumps(names, ensure_ascii=False))
    return len(names)


def _write_database(path: Path, table: str, columns: list[WebColumn], rng: random.Random) -> None:
    names = identifiers([column.natural for column in columns], rng)
    commented = rng.random() < _COMMENTED
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(_create(table, names, columns, commented))
        marks = ", ".join("?" * len(columns))
        change = capitalised if rng.random() < _CAPITALISED else _same
        rows = zip(*(map(change, column.cells) for column in columns), strict=True)
        connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", rows)
        connection.commit()


def capitalised(cell: Any) -> Any:
    """A short text with its words capitalised; codes of up to three letters in capitals."""
    if not isinstance(cell, str) or len(cell) > 60:
        return cell
    if len(cell) <= 3 and cell.isalpha():
        return cell.upper()
    small = ("of", "the", "and", "in", "at", "for", "de", "la", "van", "on", "to")
    words = [
        w if at and w in small else w[:1].upper() + w[1:] for at, w in enumerate(cell.split(" "))
    ]
    return " ".join(words)


def _same(cell: Any) -> Any:
    return cell


def _create(table: str, names: list[str], columns: list[WebColumn], commented: bool) -> str:
    lines = []
    for at, (name, column) in enumerate(zip(names, columns, strict=True)):
        comma = "," if at < len(names) - 1 else ""
        comment = f" -- {column.natural}" if commented else ""
        lines.append(f"  {quoted(name)} {column.type}{comma}{comment}")
    return f"CREATE TABLE {quoted(table)} (\n" + "\n".join(lines) + "\n)"


def web_databases(folder: Path) -> Iterator[Database]:
    """The databases that `convert` wrote, with their headers as natural names."""
    for stem, (table, *naturals) in json.loads((folder / "names.json").read_text()).items():
        path = folder / f"{stem}.sqlite"
        schema = sqlite_schema(path, infer_keys=False)
        own = schema.tables[0].name.lower()
        columns = zip(schema.columns, naturals, strict=True)
        named = {(own, column.name.lower()): natural for column, natural in columns}
        yield Database(f"web_{stem}", path, renamed(schema, {(own, ""): table, **named}))
