"""Read the schema of a MySQL or MariaDB database from information_schema.

Only what the user may SELECT is there. Nothing is counted: the numbers of rows
are the storage engine's own estimates. Rows are looked at for samples, a few of
each table and for a few seconds in all.
https://mariadb.com/kb/en/information-schema-tables/
https://dev.mysql.com/doc/refman/8.4/en/information-schema.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from plainsql.schema.introspect_common import (
    MAX_SAMPLE_LENGTH,
    MAX_SAMPLE_ROWS,
    Containment,
    RawColumn,
    RawKey,
    RawTable,
    Rows,
    TryRows,
    build_schema,
    full_name,
    with_samples,
)
from plainsql.schema.model import ColumnType, Schema

_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_TABLES = (
    "SELECT table_schema, table_name, table_type, table_rows, table_comment "
    "FROM information_schema.tables WHERE table_schema IN ({marks}) "
    "AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') "
    "ORDER BY table_schema, create_time IS NULL, create_time, table_name"
)
_COLUMNS = (
    "SELECT table_schema, table_name, column_name, data_type, column_type, column_key, "
    "column_comment, privileges "
    "FROM information_schema.columns WHERE table_schema IN ({marks}) "
    "ORDER BY table_schema, table_name, ordinal_position"
)
_KEYS = (
    "SELECT table_schema, table_name, constraint_name, column_name, "
    "referenced_table_schema, referenced_table_name, referenced_column_name "
    "FROM information_schema.key_column_usage WHERE table_schema IN ({marks}) "
    "AND referenced_table_name IS NOT NULL "
    "ORDER BY table_schema, table_name, constraint_name, ordinal_position"
)
# MariaDB's JSON is LONGTEXT with this check.
_JSON_CHECKS = (
    "SELECT constraint_schema, table_name, check_clause FROM information_schema.check_constraints "
    "WHERE constraint_schema IN ({marks}) AND check_clause LIKE 'json_valid(%%'"
)
_JSON_COLUMN = re.compile(r"json_valid\(`((?:[^`]|``)+)`\)")
_LABEL = re.compile(r"'((?:[^']|'')*)'")

_OTHER = frozenset(
    "geometry point linestring polygon multipoint multilinestring multipolygon geometrycollection "
    "geomcollection binary varbinary tinyblob blob mediumblob longblob json vector".split()
)
_LONG_TEXT = frozenset("char varchar tinytext text mediumtext longtext".split())
_NUMBERS = frozenset(
    "tinyint smallint mediumint int bigint decimal float double year".split()
)  # shown as they are, anything else as text


@dataclass(frozen=True, slots=True)
class _Database:
    """Which databases are read; tables of the default one have bare names."""

    default: str
    names: tuple[str, ...]

    def namespace(self, database: str) -> str:
        """The namespace of a database's tables."""
        return "" if database == self.default else database


def mysql_schema(
    name: str,
    rows: Rows,
    try_rows: TryRows,
    *,
    others: Sequence[str] = (),
    samples: int = 3,
    infer_keys: bool = True,
) -> Schema:
    """The schema of the database that is connected to, called `name`.

    `others` are databases whose tables come too, under their names as namespaces.
    Without a default database all come that the user may read. Statements have
    %s for their parameters. Raises SchemaError when there is no table that can
    be read, and what `rows` raises.
    """
    place = _place(rows, others)
    tables = _tables(rows, try_rows, place)
    keys = list(_keys(_of(rows, _KEYS, place) or [], place))
    sampled = map(_checked_flags, with_samples(tables, lambda t: _sample(try_rows, t)))
    return build_schema(
        name,
        "mysql",
        sampled,
        keys,
        samples=samples,
        infer_keys=infer_keys,
        contained=_containment(try_rows, tables).share,
    )


def _tables(rows: Rows, try_rows: TryRows, place: _Database) -> list[RawTable]:
    """The tables and views that may be read, with their columns, without samples."""
    checks = _json_columns(_of(try_rows, _JSON_CHECKS, place) or [])
    columns = _columns(_of(rows, _COLUMNS, place) or [], checks)
    return [
        RawTable(
            name=table,
            columns=columns.get((database, table), ()),
            namespace=place.namespace(database),
            is_view=kind == "VIEW",
            comment="" if kind == "VIEW" else comment or "",
            row_count=None if kind == "VIEW" or count is None else int(count),
        )
        for database, table, kind, count, comment in _of(rows, _TABLES, place) or []
    ]


def quoted(name: str) -> str:
    """An identifier in backticks, whatever it contains."""
    return "`" + name.replace("`", "``") + "`"


def _place(rows: Rows, others: Sequence[str]) -> _Database:
    default = str(rows("SELECT DATABASE()", ())[0][0] or "")
    if default or others:
        return _Database(default, tuple(dict.fromkeys(filter(None, (default, *others)))))
    found = rows("SELECT schema_name FROM information_schema.schemata ORDER BY 1", ())
    return _Database("", tuple(n for (n,) in found if n.lower() not in _SYSTEM))


def _of(read: Rows | TryRows, sql: str, place: _Database) -> list[tuple[Any, ...]] | None:
    """The rows of a statement over the databases."""
    if not place.names:
        return []
    return read(sql.format(marks=", ".join(["%s"] * len(place.names))), place.names)


def _json_columns(rows: Sequence[tuple[Any, ...]]) -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (database, table, match[1].replace("``", "`"))
        for database, table, clause in rows
        if (match := _JSON_COLUMN.fullmatch(str(clause)))
    )


def _columns(
    rows: Sequence[tuple[Any, ...]], json: frozenset[tuple[str, str, str]]
) -> dict[tuple[str, str], tuple[RawColumn, ...]]:
    """The columns that may be read, by database and table."""
    return {
        key: tuple(
            _column(*row[2:7], is_json=(*key, row[2]) in json)
            for row in group
            if "select" in str(row[7]).lower()
        )
        for key, group in groupby(rows, key=lambda row: (row[0], row[1]))
    }


def _column(
    name: str, kind: str, declared: str, key: str, comment: str, *, is_json: bool
) -> RawColumn:
    kind, declared = kind.lower(), str(declared)
    return RawColumn(
        name=name,
        declared="json" if is_json else declared,
        in_primary_key=key == "PRI",
        comment=comment or "",
        values=_labels(declared) if kind in ("enum", "set") else (),
        kind=ColumnType.OTHER if is_json else _kind(kind, declared),
        unique=key == "UNI",
    )


def _labels(declared: str) -> tuple[str, ...]:
    """What an ENUM or a SET may hold, of "enum('a','b')"."""
    return tuple(label.replace("''", "'") for label in _LABEL.findall(declared))


def _kind(kind: str, declared: str) -> ColumnType | None:
    """The kind of types whose names mislead; None for the others."""
    if kind in _OTHER:
        return ColumnType.OTHER
    if kind in ("enum", "set"):
        return ColumnType.TEXT
    if declared.lower().startswith("tinyint(1)"):  # what BOOLEAN is stored as
        return ColumnType.BOOLEAN
    return None


def _checked_flags(table: RawTable) -> RawTable:
    """TINYINT(1) is a number where other values than 0 and 1 were seen."""
    columns = tuple(
        replace(column, kind=ColumnType.NUMBER)
        if column.kind is ColumnType.BOOLEAN and not set(column.values) <= {0, 1}
        else column
        for column in table.columns
    )
    return replace(table, columns=columns)


def _keys(rows: Sequence[tuple[Any, ...]], place: _Database) -> Iterator[RawKey]:
    for _, group in groupby(rows, key=lambda row: row[:3]):
        parts = list(group)
        database, table, _, _, ref_database, ref_table, _ = parts[0]
        yield RawKey(
            full_name(place.namespace(database), table),
            tuple(part[3] for part in parts),
            full_name(place.namespace(ref_database), ref_table),
            tuple(part[6] for part in parts),
        )


def _sample(read: TryRows, table: RawTable) -> list[tuple[Any, ...]] | None:
    """The first rows, a cell a column: text cut short, NULL for what can't be shown."""
    if not table.columns:
        return None
    cells = ", ".join(map(_sample_cell, table.columns))
    place = _written(table.namespace, table.name)
    return read(f"SELECT {cells} FROM {place} LIMIT {MAX_SAMPLE_ROWS}", ())


def _sample_cell(column: RawColumn) -> str:
    kind = re.split(r"[( ]", column.declared.lower(), maxsplit=1)[0]
    if column.values or column.kind is ColumnType.OTHER:
        return "NULL"
    name = quoted(column.name)
    if kind in _NUMBERS:
        return name
    if kind == "bit":
        return f"{name} + 0"
    text = name if kind in _LONG_TEXT else f"CAST({name} AS CHAR)"
    return f"LEFT({text}, {MAX_SAMPLE_LENGTH})"


def _written(namespace: str, name: str) -> str:
    return f"{quoted(namespace)}.{quoted(name)}" if namespace else quoted(name)


def _containment(read: TryRows, tables: Sequence[RawTable]) -> Containment:
    places = {table.full_name: _written(table.namespace, table.name) for table in tables}
    views = frozenset(table.full_name for table in tables if table.is_view)
    return Containment(read, quoted, lambda name: places[name], views)
