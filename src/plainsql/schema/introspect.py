"""Read the schema of a SQLite database: structure, comments, samples, keys.

All look-ups bind names as parameters or quote them, and all that reads rows is
bounded: a table with a million rows costs about as much as one with a hundred
thousand.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plainsql.errors import SchemaError
from plainsql.schema.column_types import Scalar, column_type
from plainsql.schema.comments import Comments, parse_comments
from plainsql.schema.keys import infer_foreign_keys
from plainsql.schema.model import Column, ForeignKey, Schema, Table
from plainsql.schema.names import with_names_of_keys, with_natural_names
from plainsql.schema.sqlite_file import explained, open_read_only

MAX_SAMPLE_ROWS = 200  # rows looked at for sample values
MAX_SAMPLE_LENGTH = 80  # characters kept of a sample value
MAX_COUNTED_ROWS = 100_000  # beyond, the number of rows is an estimate
MAX_VALUES_COMPARED = 200  # distinct values looked up to confirm a key
STATEMENT_SECONDS = 0.25  # for one optional statement (a view can be costly)
TOTAL_SECONDS = 10.0  # for all of them

# Tables that full-text and R-tree indexes keep their own data in.
_SHADOWS = (
    "data idx content docsize config segments segdir stat node parent rowid vocab "
    "chunks info auxiliary metadatachunks metadatatext00"
)
_HIDDEN = 1  # table_xinfo: a column of a virtual table that SELECT * leaves out


def sqlite_schema(path: str | Path, *, samples: int = 3, infer_keys: bool = True) -> Schema:
    """The schema of the SQLite file at `path`, opened read-only.

    `samples` distinct values are kept of each column; keys that are not
    declared are inferred from names and values unless told otherwise.
    Raises ConnectError if the file can't be read as a database, SchemaError if
    it has no tables.
    """
    with closing(open_read_only(path)) as connection:
        try:
            return read_schema(connection, Path(path).stem, samples=samples, infer_keys=infer_keys)
        except sqlite3.DatabaseError as error:
            raise explained(error, path) from error


def read_schema(
    connection: sqlite3.Connection, name: str, *, samples: int = 3, infer_keys: bool = True
) -> Schema:
    """`sqlite_schema` over an open connection, whose progress handler it takes over.

    Raises SchemaError if there are no tables, and what sqlite3 raises.
    """
    reader = _Reader(connection)
    try:
        tables = tuple(_read_table(reader, raw, samples) for raw in _raw_tables(reader))
        if not tables:
            hint = "Create tables in it, or check that this is the file you mean."
            raise SchemaError(f"The database {name} has no tables.", hint=hint)
        return _with_keys(reader, with_natural_names(Schema(name, tables)), infer_keys)
    finally:
        connection.set_progress_handler(None, 0)


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


class _Reader:
    """Runs statements; those through `within_limits` may be given up."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._end = time.monotonic() + TOTAL_SECONDS
        self._deadline = float("inf")
        # About 1 ms between two looks at the clock.
        connection.set_progress_handler(self._expired, 20_000)

    def _expired(self) -> bool:
        return time.monotonic() > self._deadline

    def rows(self, sql: str, *values: Scalar) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    def within_limits(self, sql: str, *values: Scalar) -> list[tuple[Any, ...]] | None:
        """The rows, or None if they take too long or can't be had (a broken view)."""
        self._deadline = min(time.monotonic() + STATEMENT_SECONDS, self._end)
        try:
            return self.rows(sql, *values)
        except sqlite3.OperationalError:
            return None
        finally:
            self._deadline = float("inf")


@dataclass(frozen=True, slots=True)
class _RawColumn:
    name: str
    declared: str
    key_position: int  # 1, 2, … within the primary key; 0: not in it


@dataclass(frozen=True, slots=True)
class _RawTable:
    name: str
    is_view: bool
    columns: tuple[_RawColumn, ...]
    comments: Comments


def _raw_tables(reader: _Reader) -> Iterator[_RawTable]:
    """Tables and views in the order of their creation, without internal ones."""
    entries = reader.rows(
        "SELECT name, type, coalesce(sql, '') FROM sqlite_master "
        "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY rowid"
    )
    shadows = _shadow_names(entries)
    for name, kind, sql in entries:
        columns = () if name.lower() in shadows else _raw_columns(reader, name)
        if columns:
            yield _RawTable(name, kind == "view", columns, parse_comments(sql))


def _shadow_names(entries: Sequence[tuple[str, str, str]]) -> frozenset[str]:
    virtual = [name for name, _, sql in entries if sql[:14].upper() == "CREATE VIRTUAL"]
    return frozenset(f"{name}_{end}".lower() for name in virtual for end in _SHADOWS.split())


def _raw_columns(reader: _Reader, table: str) -> tuple[_RawColumn, ...]:
    """The columns; none for a broken view or a virtual table of an unknown module."""
    found = reader.within_limits(
        "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid", table
    )
    return tuple(
        _RawColumn(name, _declared(declared), position)
        for name, declared, position, hidden in found or ()
        if hidden != _HIDDEN
    )


def _declared(text: str | None) -> str:
    """A declared type without the quotes some tools put around it."""
    text = (text or "").strip()
    return text[1:-1].replace('""', '"') if text[:1] == '"' == text[-1:] else text


def _read_table(reader: _Reader, raw: _RawTable, samples: int) -> Table:
    values = _sample_values(reader, raw)
    columns = (
        Column(
            table=raw.name,
            name=column.name,
            type=column_type(column.declared, values[at]),
            natural="",
            declared_type=column.declared,
            primary_key=column.key_position > 0,
            comment=raw.comments.of(column.name),
            samples=tuple(str(value) for value in values[at][:samples]),
        )
        for at, column in enumerate(raw.columns)
    )
    count = _row_count(reader, raw)
    return Table(raw.name, tuple(columns), "", raw.is_view, raw.comments.table, count)


def _sample_values(reader: _Reader, raw: _RawTable) -> list[list[Scalar]]:
    """Per column its distinct values among the first rows; blobs and NULL left out."""
    cells = ", ".join(_bounded_cell(quoted(column.name)) for column in raw.columns)
    sql = f"SELECT {cells} FROM {quoted(raw.name)} LIMIT {MAX_SAMPLE_ROWS}"
    rows = reader.within_limits(sql) or []
    return [_distinct(row[at] for row in rows) for at in range(len(raw.columns))]


def _bounded_cell(column: str) -> str:
    return (
        f"CASE typeof({column}) WHEN 'blob' THEN NULL "
        f"WHEN 'text' THEN substr({column}, 1, {MAX_SAMPLE_LENGTH}) ELSE {column} END"
    )


def _distinct(values: Iterator[Scalar | None]) -> list[Scalar]:
    found: dict[str, Scalar] = {}
    for value in values:
        if value is not None and str(value).strip():
            found.setdefault(str(value), value)
    return list(found.values())


def _row_count(reader: _Reader, raw: _RawTable) -> int | None:
    """Rows, exact up to MAX_COUNTED_ROWS; an estimate or None beyond."""
    table = quoted(raw.name)
    counted = reader.within_limits(
        f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {MAX_COUNTED_ROWS})"
    )
    if raw.is_view or (counted and counted[0][0] < MAX_COUNTED_ROWS):
        return counted[0][0] if counted and counted[0][0] < MAX_COUNTED_ROWS else None
    # ANALYZE leaves "rows rows-per-key …"; else row numbers bound the rows.
    analysed = reader.within_limits("SELECT stat FROM sqlite_stat1 WHERE tbl = ?", raw.name)
    for (stat,) in analysed or ():
        first = str(stat).split(" ")[0]
        if first.isdigit():
            return int(first)
    spanned = reader.within_limits(f"SELECT max(rowid) - min(rowid) + 1 FROM {table}")
    return spanned[0][0] if spanned else None


def _with_keys(reader: _Reader, schema: Schema, infer_keys: bool) -> Schema:
    declared = tuple(
        key for table in schema.tables for key in _declared_keys(reader, schema, table)
    )
    schema = replace(schema, foreign_keys=declared)
    if infer_keys:
        unique = frozenset(pair for table in schema.tables for pair in _unique(reader, table.name))
        schema = infer_foreign_keys(schema, _Containment(reader).share, unique=unique)
    return with_names_of_keys(schema)


def _declared_keys(reader: _Reader, schema: Schema, table: Table) -> Iterator[ForeignKey]:
    """The declared keys whose target exists, with names spelled as in the schema."""
    rows = reader.rows(
        'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq',
        table.name,
    )
    for identity in dict.fromkeys(row[0] for row in rows):
        parts = [row[1:] for row in rows if row[0] == identity]
        key = _resolved(reader, schema, table.name, parts)
        if key is not None:
            yield key


def _resolved(
    reader: _Reader, schema: Schema, table: str, parts: Sequence[tuple[str, str, str | None]]
) -> ForeignKey | None:
    target = parts[0][0]
    columns = [column for _, column, _ in parts]
    targets = [to for _, _, to in parts if to is not None] or _primary_key(reader, target)
    if len(columns) != len(targets):
        return None
    try:
        return ForeignKey(
            table,
            tuple(schema.columns[schema.column_index(table, name)].name for name in columns),
            schema.tables[schema.table_index(target)].name,
            tuple(schema.columns[schema.column_index(target, name)].name for name in targets),
        )
    except KeyError:  # the key refers to what isn't there
        return None


def _primary_key(reader: _Reader, table: str) -> list[str]:
    """Primary key columns in key order: what a REFERENCES without columns means."""
    rows = reader.rows("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", table)
    return [name for (name,) in rows]


def _unique(reader: _Reader, table: str) -> Iterator[tuple[str, str]]:
    """(table, column), in lower case, for columns unique on their own."""
    rows = reader.rows(
        "SELECT min(i.name), count(*) FROM pragma_index_list(?) AS l "
        'JOIN pragma_index_info(l.name) AS i WHERE l."unique" = 1 AND l.partial = 0 '
        "GROUP BY l.name",
        table,
    )
    yield from ((table.lower(), name.lower()) for name, size in rows if name and size == 1)


class _Containment:
    """How many of one column's values another column has; looked up once each."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def share(self, column: Column, target: Column) -> float | None:
        """Share, 0 to 1, of distinct sampled values of `column` found in `target`.

        None if either is empty or the look-up takes too long.
        """
        name, there = quoted(column.name), quoted(target.name)
        sql = (
            f"SELECT count(*), sum(v IN (SELECT {there} FROM {quoted(target.table)})) FROM "
            f"(SELECT DISTINCT v FROM (SELECT {name} AS v FROM {quoted(column.table)} "
            f"WHERE {name} IS NOT NULL AND {name} <> '' LIMIT 2000) LIMIT {MAX_VALUES_COMPARED})"
        )
        rows = self._reader.within_limits(sql)
        if not rows or not rows[0][0]:
            return None
        total, found = rows[0]
        if not found and not self._reader.within_limits(
            f"SELECT 1 FROM {quoted(target.table)} LIMIT 1"
        ):
            return None  # an empty target proves nothing
        return float(found or 0) / float(total)
