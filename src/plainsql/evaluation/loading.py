"""An SQLite database copied into another engine, to compare what both answer.

    tables = read_tables(path)              # names, types that the cells fit, keys that hold
    copy_tables(tables, "postgres", execute)

SQLite lets a column hold anything, other engines don't: a declared type is kept
where every cell fits it, else the column takes the next type that fits, text in
the end. Keys are declared as far as the rows obey them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from plainsql.schema.column_types import declared_column_type
from plainsql.schema.model import Column, ColumnType, Schema
from plainsql.schema.sqlite_file import open_read_only

Execute = Callable[[str, Sequence[Any]], object]
# The neutral types, and each engine's name for them. An INTEGER of SQLite has 64 bits.
TYPES: dict[str, dict[str, str]] = {
    "duckdb": {
        "integer": "BIGINT",
        "double": "DOUBLE",
        "text": "VARCHAR",
        "date": "DATE",
        "timestamp": "TIMESTAMP",
        "time": "TIME",
        "boolean": "BOOLEAN",
        "blob": "BLOB",
    },
    "postgres": {
        "integer": "BIGINT",
        "double": "DOUBLE PRECISION",
        "text": "TEXT",
        "date": "DATE",
        "timestamp": "TIMESTAMP",
        "time": "TIME",
        "boolean": "BOOLEAN",
        "blob": "BYTEA",
    },
    "mysql": {
        "integer": "BIGINT",
        "double": "DOUBLE",
        "text": "LONGTEXT",
        "date": "DATE",
        "timestamp": "DATETIME",
        "time": "TIME",
        "boolean": "BOOLEAN",
        "blob": "LONGBLOB",
    },
}
_TRUE, _FALSE = frozenset({1, "1", "T", "t", "true"}), frozenset({0, "0", "F", "f", "false"})
_DATE = re.compile(r"[1-9]\d{3}-\d{2}-\d{2}")  # MySQL's begin with the year 1000
_TIMESTAMP = re.compile(r"[1-9]\d{3}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}:\d{2}")
_DECIMAL = re.compile(r"(?:NUMERIC|DECIMAL|NUMBER)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.I)
_SHORT, _VARCHAR = 60, 255  # MySQL: lengths of VARCHAR, which alone can be a key there
_PARAMETERS = 8_000  # in one INSERT; PostgreSQL takes 65,535


@dataclass(frozen=True, slots=True)
class CopiedColumn:
    """One column; `kind` is a key of TYPES or "decimal(p,s)", `longest` its longest text."""

    name: str
    kind: str
    longest: int = 0


@dataclass(frozen=True, slots=True)
class CopiedKey:
    """A foreign key that every row obeys; its target is the other table's key, or unique."""

    columns: tuple[str, ...]
    table: str
    ref_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One table with its rows, as SQLite holds them."""

    name: str
    columns: tuple[CopiedColumn, ...]
    rows: tuple[tuple[Any, ...], ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[CopiedKey, ...] = ()

    def cells(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows of some columns."""
        places = [[column.name for column in self.columns].index(name) for name in names]
        return [tuple(row[place] for place in places) for row in self.rows]

    def kinds(self, names: Sequence[str]) -> list[str]:
        """The kinds of some columns."""
        return [column.kind for name in names for column in self.columns if column.name == name]


# -- reading -------------------------------------------------------------------


def read_tables(path: Path) -> tuple[CopiedTable, ...]:
    """The tables of an SQLite file, in its order.

    Raises ConnectError for a file that is no database.
    """
    with closing(open_read_only(path)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace").replace("\0", "")
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%'"
            " ESCAPE '!' ORDER BY rowid"
        )
        tables = [_read_table(connection, name) for (name,) in names.fetchall()]
        keys = {table.name: _read_keys(connection, table, tables) for table in tables}
    return tuple(_with_keys(table, keys) for table in tables)


def _read_table(connection: sqlite3.Connection, name: str) -> CopiedTable:
    quoted = _quoted(name, "sqlite")
    found = connection.execute(f"PRAGMA table_info({quoted})").fetchall()
    rows = [tuple(row) for row in connection.execute(f"SELECT * FROM {quoted}")]
    columns = [
        _column(str(info[1]), str(info[2]), [row[place] for row in rows])
        for place, info in enumerate(found)
    ]
    keyed = sorted((int(info[5]), str(info[1])) for info in found if info[5])
    table = CopiedTable(name, tuple(columns), tuple(rows))
    key = tuple(name for _, name in keyed)
    return replace(table, primary_key=key if key and _is_unique(table, key) else ())


def _is_unique(table: CopiedTable, names: Sequence[str]) -> bool:
    cells = table.cells(names)
    whole = all(cell is not None for row in cells for cell in row)
    kinds = {column.name: column for column in table.columns}
    short = all(kinds[name].longest <= _VARCHAR for name in names)
    # MySQL's usual collations take "a" and "A" for one key.
    return whole and short and len({tuple(map(_folded, row)) for row in cells}) == len(cells)


def _folded(cell: Any) -> Any:
    return cell.lower().rstrip() if isinstance(cell, str) else cell


def _read_keys(
    connection: sqlite3.Connection, table: CopiedTable, tables: Sequence[CopiedTable]
) -> tuple[CopiedKey, ...]:
    """The declared foreign keys that the rows obey."""
    found: dict[int, list[Any]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({_quoted(table.name, 'sqlite')})"):
        found.setdefault(int(row[0]), []).append(row)
    keys = [_key(parts, table, tables) for _, parts in sorted(found.items())]
    return tuple(dict.fromkeys(key for key in keys if key is not None))


def _key(parts: list[Any], table: CopiedTable, tables: Sequence[CopiedTable]) -> CopiedKey | None:
    target = next((t for t in tables if t.name.lower() == str(parts[0][2]).lower()), None)
    if target is None:
        return None
    own = _named(table, [part[3] for part in parts])
    wanted = [part[4] for part in parts]
    other = _named(target, wanted) if all(wanted) else target.primary_key
    if not own or len(own) != len(other) or not _is_unique(target, other):
        return None
    known = set(target.cells(other))
    holds = all(row in known for row in table.cells(own) if None not in row)
    same = table.kinds(own) == target.kinds(other)
    return CopiedKey(own, target.name, other) if holds and same else None


def _named(table: CopiedTable, names: Sequence[str | None]) -> tuple[str, ...]:
    """The names as the table writes them; () where it lacks one."""
    own = {column.name.lower(): column.name for column in table.columns}
    found = [own.get(str(name).lower(), "") for name in names]
    return tuple(found) if all(found) else ()


def _with_keys(table: CopiedTable, keys: Mapping[str, tuple[CopiedKey, ...]]) -> CopiedTable:
    aimed = [key.ref_columns for found in keys.values() for key in found if key.table == table.name]
    unique = tuple(dict.fromkeys(names for names in aimed if names != table.primary_key))
    return replace(table, foreign_keys=keys[table.name], unique=unique)


def _ordered(tables: list[CopiedTable]) -> Iterator[CopiedTable]:
    """Each table after those it refers to; circles are broken where they begin."""
    waiting, done = list(tables), {""}
    while waiting:
        ready = [t for t in waiting if {k.table for k in t.foreign_keys} <= done | {t.name}]
        for table in ready or waiting[:1]:
            waiting.remove(table)
            done.add(table.name)
            yield table


# -- types that the cells fit ---------------------------------------------------


def _column(name: str, declared: str, cells: Sequence[Any]) -> CopiedColumn:
    present = [cell for cell in cells if cell is not None]
    kind = next(kind for kind in _wishes(declared) if _fits(kind, present))
    longest = max((len(str(cell)) for cell in present), default=0) if kind == "text" else 0
    return CopiedColumn(name, kind, longest)


def _wishes(declared: str) -> tuple[str, ...]:
    """The types to try for a declared one, the last of which takes anything."""
    numbers = ("integer", "double", "blob", "text")
    match declared_column_type(declared):
        case ColumnType.TEXT:
            return ("blob", "text")
        case ColumnType.BOOLEAN:
            return ("boolean", *numbers)
        case ColumnType.TIME:
            times = ("date", "timestamp", "time")
            return (*(times[1:] if "STAMP" in declared.upper() else times), "date", *numbers)
        case ColumnType.NUMBER if "INT" in declared.upper():
            return numbers
        case ColumnType.NUMBER:
            exact = _DECIMAL.search(declared)
            scaled = (f"decimal({exact[1]},{exact[2] or 0})",) if exact else ()
            return (*scaled, "double", "text")
    return numbers


def _fits(kind: str, cells: Sequence[Any]) -> bool:
    if kind == "blob" and not cells:
        return False
    return all(_fits_one(kind, cell) for cell in cells)


def _fits_one(kind: str, cell: Any) -> bool:
    match kind:
        case "integer":
            return isinstance(cell, int)
        case "double":
            return isinstance(cell, int | float)
        case "blob":
            return isinstance(cell, bytes)
        case "boolean":
            return cell in _TRUE or cell in _FALSE
        case "date":
            return _is_moment(cell, _DATE, date.fromisoformat)
        case "timestamp":
            return _is_moment(cell, _TIMESTAMP, datetime.fromisoformat)
        case "time":
            return _is_moment(cell, _TIME, time.fromisoformat)
        case "text":
            return True
    return _is_decimal(kind, cell)


def _is_moment(cell: Any, form: re.Pattern[str], read: Callable[[str], object]) -> bool:
    if not isinstance(cell, str) or not form.fullmatch(cell):
        return False
    try:
        read(cell)
    except ValueError:
        return False
    return True


def _is_decimal(kind: str, cell: Any) -> bool:
    """Whether decimal(p,s) holds the number without rounding it."""
    if not isinstance(cell, int | float):
        return False
    precision, scale = map(int, kind[len("decimal(") : -1].split(","))
    if not 0 < precision <= 38 or scale > min(precision, 30):
        return False
    exact = Decimal(repr(cell))
    whole = exact.quantize(Decimal(1).scaleb(-scale)) if abs(exact) < 10**28 else None
    return whole == exact and abs(exact) < 10 ** (precision - scale)


# -- writing -------------------------------------------------------------------


def copy_tables(tables: Sequence[CopiedTable], dialect: str, execute: Execute) -> None:
    """Create the tables in the empty database behind `execute` and fill them.

    `execute(sql, parameters)` runs one statement. Errors are the driver's.
    """
    made: set[str] = set()
    ordered = list(_ordered(list(tables)))
    for table in ordered if dialect == "duckdb" else tables:
        keys = [key for key in table.foreign_keys if dialect == "duckdb" and key.table in made]
        execute(create_table(table, dialect, keys), ())
        made.add(table.name)
    for table in ordered:
        for statement, parameters in _inserts(table, dialect):
            execute(statement, parameters)
    if dialect != "duckdb":  # which takes foreign keys in CREATE TABLE alone
        for table in tables:
            for key in table.foreign_keys:
                target = f"ALTER TABLE {_quoted(table.name, dialect)} ADD "
                execute(target + _key_clause(key, dialect), ())


def create_table(table: CopiedTable, dialect: str, keys: Sequence[CopiedKey] = ()) -> str:
    """The CREATE TABLE of a copy, with these of its foreign keys."""
    keyed = {*table.primary_key, *(name for names in table.unique for name in names)}
    keyed |= {name for key in table.foreign_keys for name in key.columns}
    parts = [
        f"{_quoted(column.name, dialect)} {_type(column, dialect, column.name in keyed)}"
        for column in table.columns
    ]
    if table.primary_key:
        parts.append(f"PRIMARY KEY ({_list(table.primary_key, dialect)})")
    parts += [f"UNIQUE ({_list(names, dialect)})" for names in table.unique]
    parts += [_key_clause(key, dialect) for key in keys]
    return f"CREATE TABLE {_quoted(table.name, dialect)} ({', '.join(parts)})"


def _type(column: CopiedColumn, dialect: str, keyed: bool) -> str:
    if column.kind.startswith("decimal"):
        return column.kind.upper()
    if dialect == "mysql" and column.kind == "text" and (keyed or column.longest <= _VARCHAR):
        # a key of several texts must stay below 3,072 bytes, four a character
        return f"VARCHAR({_VARCHAR if column.longest > _SHORT else _SHORT})"
    return TYPES[dialect][column.kind]


def _key_clause(key: CopiedKey, dialect: str) -> str:
    target = f"{_quoted(key.table, dialect)} ({_list(key.ref_columns, dialect)})"
    return f"FOREIGN KEY ({_list(key.columns, dialect)}) REFERENCES {target}"


def _inserts(table: CopiedTable, dialect: str) -> Iterator[tuple[str, list[Any]]]:
    """The rows as INSERT statements of many rows each, with their parameters."""
    mark = "?" if dialect == "duckdb" else "%s"
    kinds = [column.kind for column in table.columns]
    one = f"({', '.join([mark] * len(kinds))})"
    step = max(1, _PARAMETERS // len(kinds))
    for first in range(0, len(table.rows), step):
        rows = table.rows[first : first + step]
        name = _quoted(table.name, dialect).replace("%", "%%" if mark == "%s" else "%")
        values = [_value(cell, kind) for row in rows for cell, kind in zip(row, kinds, strict=True)]
        yield f"INSERT INTO {name} VALUES {', '.join([one] * len(rows))}", values


def _value(cell: Any, kind: str) -> Any:
    if cell is None:
        return None
    if kind == "boolean":
        return cell in _TRUE
    if kind == "text" and isinstance(cell, bytes):
        return cell.decode("utf-8", "replace").replace("\0", "")
    if kind == "text":
        return str(cell)
    return Decimal(repr(cell)) if kind.startswith("decimal") else cell


def _list(names: Sequence[str], dialect: str) -> str:
    return ", ".join(_quoted(name, dialect) for name in names)


def _quoted(name: str, dialect: str) -> str:
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark


def copied_schema(schema: Schema, tables: Sequence[CopiedTable], dialect: str) -> Schema:
    """The schema of an SQLite file with the types its copy has: what introspecting that finds.

    Tables, columns and keys keep their places and names.
    """
    kinds = {(t.name.lower(), c.name.lower()): c for t in tables for c in t.columns}

    def column(found: Column) -> Column:
        copied = kinds.get((found.table.lower(), found.name.lower()))
        if copied is None:
            return found
        return replace(found, declared_type=_type(copied, dialect, keyed=False))

    copies = (replace(t, columns=tuple(map(column, t.columns))) for t in schema.tables)
    return replace(schema, tables=tuple(copies), dialect=dialect)


def aligned_schema(schema: Schema, found: Schema) -> Schema:
    """The schema of an SQLite file with what introspecting its copy found of types and keys.

    Tables and columns keep their places, so that one query tree fits both; foreign
    keys stay those of `schema`. Raises KeyError for what the copy lacks.
    """
    tables = []
    for table in schema.tables:
        other = found.tables[found.table_index(table.name)]
        names = {column.name.lower(): column for column in other.columns}
        columns = tuple(names[column.name.lower()] for column in table.columns)
        tables.append(replace(other, columns=columns))
    return replace(found, tables=tuple(tables), foreign_keys=schema.foreign_keys)
