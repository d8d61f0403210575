"""Databases to write questions about: schema, join graph, cells, and what columns are for."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from plainsql.records import Cell
from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import quoted, sqlite_schema
from plainsql.schema.model import Column, ColumnType, Schema
from plainsql.training.synthesis.wording import singular

_MAX_ROWS = 1500  # rows read of a table
_STEPS = 400  # of 10,000 instructions: about a third of a second


class Role(StrEnum):
    """What a column is for, by name, type and values."""

    KEY = "key"
    NAME = "name"
    CATEGORY = "category"  # text with repeated values
    TEXT = "text"
    NUMBER = "number"  # a measure: adding or averaging makes sense
    YEAR = "year"
    DATE = "date"  # ISO 8601, what SQLite's date functions read
    CODE = "code"  # digits that are no measure, times, flags in digits
    LONG = "long"  # paragraphs, addresses on the web


@dataclass(frozen=True, slots=True)
class Facts:
    """A column's role and its cells: distinct values in order of appearance."""

    role: Role
    values: tuple[str | int | float, ...]
    rows: int
    nulls: int


@dataclass(frozen=True)
class Database:
    """A database whose cells can be drawn and whose queries can be run."""

    db_id: str
    path: Path
    schema: Schema

    @cached_property
    def graph(self) -> JoinGraph:
        return JoinGraph(self.schema)

    @cached_property
    def keys(self) -> frozenset[int]:
        """Columns that are an end of a foreign key."""
        return frozenset(column for pair in self.key_pairs for column in pair)

    @cached_property
    def key_pairs(self) -> frozenset[tuple[int, int]]:
        """(referring column, column referred to) of every single-column key."""
        pairs = set()
        for key in self.schema.foreign_keys:
            if len(key.columns) == 1:
                own = self.schema.column_index(key.table, key.columns[0])
                pairs.add((own, self.schema.column_index(key.ref_table, key.ref_columns[0])))
        return frozenset(pairs)

    @cached_property
    def facts(self) -> tuple[Facts, ...]:
        """One for each column of the schema."""
        with closing(self._connect()) as connection:
            return tuple(self._facts(connection))

    def _facts(self, connection: sqlite3.Connection) -> Iterator[Facts]:
        column = 0
        for table in self.schema.tables:
            names = ", ".join(quoted(c.name) for c in table.columns)
            sql = f"SELECT {names} FROM {quoted(table.name)} LIMIT {_MAX_ROWS}"
            rows = connection.execute(sql).fetchall()
            for at, record in enumerate(table.columns):
                cells = [row[at] for row in rows]
                yield column_facts(record, cells, column in self.keys)
                column += 1

    @cached_property
    def labels(self) -> tuple[int | None, ...]:
        """For each table the column that names its rows, None where there is none."""
        return tuple(self._label(table) for table in range(len(self.schema.tables)))

    def _label(self, table: int) -> int | None:
        own = singular(self.schema.tables[table].natural)
        best = ("name", "title", own, f"{own} name", f"{own} title")
        found = [c for c in self.schema.columns_of(table) if self._may_label(c, own)]
        found.sort(key=lambda c: self.schema.columns[c].natural not in best)
        return found[0] if found else None

    def _may_label(self, column: int, own: str) -> bool:
        """Names of rows, but not parts of names: "first name" alone names nobody."""
        natural = self.schema.columns[column].natural
        if set(natural.split()) & _NAME_PARTS:
            return False
        role = self.facts[column].role
        same = singular(natural) == own and role in (Role.TEXT, Role.CATEGORY)
        return role is Role.NAME or same

    def natural(self, column: int) -> str:
        """The name of a column in words."""
        return self.schema.columns[column].natural

    @cached_property
    def rows_of(self) -> tuple[int, ...]:
        """For each table the number of rows read."""
        first = [self.schema.columns_of(t)[0] for t in range(len(self.schema.tables))]
        return tuple(self.facts[c].rows for c in first)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro&immutable=1", uri=True)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    @cached_property
    def _runner(self) -> sqlite3.Connection:
        return self._connect()

    def run(self, sql: str) -> list[tuple[Cell, ...]] | None:
        """Up to 50 rows; None if the statement fails or takes too long."""
        steps = iter(range(_STEPS))
        self._runner.set_progress_handler(lambda: next(steps, None) is None, 10_000)
        try:
            return self._runner.execute(sql).fetchmany(50)
        except sqlite3.Error:
            return None


_NAME_PARTS = frozenset(
    "first last middle family given maiden sur fore nick login user file domain".split()
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?")
_KEY_WORDS = frozenset(("id", "ids", "key", "uuid", "fk", "pk"))
_CODE_WORDS = frozenset(
    "code number no zip phone fax ssn isbn # index iata icao telephone mobile postcode zipcode "
    "latitude longitude lat long lng version sequence".split()
)
_YEARS = frozenset(("year", "founded", "established", "season"))


def column_facts(column: Column, cells: Sequence[Any], linked: bool) -> Facts:
    """Facts of a column from its cells; `linked` says that it takes part in a key."""
    present = [c for c in cells if c is not None and not isinstance(c, bytes) and str(c).strip()]
    values = tuple(dict.fromkeys(present))
    role = _role(column, values, len(cells), linked)
    return Facts(role, values, len(cells), len(cells) - len(present))


def _role(column: Column, values: tuple[Any, ...], rows: int, linked: bool) -> Role:
    words = column.natural.split() or [""]
    numeric = bool(values) and all(isinstance(v, int | float) for v in values)
    if words[-1] in _KEY_WORDS or (column.primary_key and (numeric or not values)):
        return Role.KEY
    if linked and (numeric or words[-1] in _CODE_WORDS):
        return Role.KEY
    if values and all(isinstance(v, str) and _DATE.fullmatch(v.strip()) for v in values):
        return Role.DATE
    if numeric:
        return _number_role(words, values)
    if column.type is ColumnType.NUMBER and not values:
        return Role.YEAR if words[-1] in _YEARS else Role.NUMBER
    if column.type is ColumnType.TIME:
        return Role.YEAR if words[-1] in _YEARS else Role.CODE if values else Role.DATE
    return _text_role(words, values, rows)


def _number_role(words: list[str], values: tuple[Any, ...]) -> Role:
    if words[-1] in _YEARS or "year" in words:
        return Role.YEAR if all(1000 < v < 2200 for v in values) else Role.NUMBER
    if words[-1] in ("date", "dates", "time", "day", "month"):
        return Role.CODE
    if words[-1] in _CODE_WORDS or words[0] in ("is", "has") or set(values) <= {0, 1}:
        return Role.CODE
    return Role.NUMBER


def _text_role(words: list[str], values: tuple[Any, ...], rows: int) -> Role:
    texts = [str(value) for value in values]
    if texts and sum(map(len, texts)) / len(texts) > 45:
        return Role.LONG
    named = words[-1] in ("name", "title")
    digits = sum(any(c.isdigit() for c in text) for text in texts)
    if texts and digits > 0.7 * len(texts) and not named:
        return Role.CODE
    if named and words != ["job", "title"]:
        return Role.NAME
    if rows >= 4 and len(values) <= 0.75 * rows:
        return Role.CATEGORY
    return Role.TEXT


def spider_databases(folder: Path, ids: Sequence[str]) -> list[Database]:
    """The Spider databases of these ids, natural names as annotated in `tables.json`."""
    entries = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
    annotated = {entry["db_id"]: _annotated_names(entry) for entry in entries}
    found = []
    for db_id in ids:
        path = folder / "database_filled" / db_id / f"{db_id}.sqlite"
        if not path.exists():
            path = folder / "database" / db_id / f"{db_id}.sqlite"
        schema = sqlite_schema(path)
        found.append(Database(db_id, path, renamed(schema, annotated.get(db_id, {}))))
    return found


def _annotated_names(entry: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Natural names by (table, column) in lower case; the column of a table itself is ""."""
    tables = entry["table_names_original"]
    names = {(t.lower(), ""): n for t, n in zip(tables, entry["table_names"], strict=True)}
    pairs = zip(entry["column_names_original"], entry["column_names"], strict=True)
    for (table, column), (_, natural) in pairs:
        if table >= 0:
            names[tables[table].lower(), column.lower()] = natural
    return {key: _spelled_out(name.lower().strip()) for key, name in names.items()}


def _spelled_out(name: str) -> str:
    return re.sub(r"\s+", " ", name.replace("_", " ")) or "value"


def renamed(schema: Schema, names: dict[tuple[str, str], str]) -> Schema:
    """The schema with these natural names, by (table, column) in lower case."""
    tables = tuple(
        replace(
            table,
            natural=names.get((table.name.lower(), ""), table.natural),
            columns=tuple(
                replace(c, natural=names.get((table.name.lower(), c.name.lower()), c.natural))
                for c in table.columns
            ),
        )
        for table in schema.tables
    )
    return replace(schema, tables=tables)
