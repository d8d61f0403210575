"""Read the schema of a DuckDB database from its own catalogue functions.

https://duckdb.org/docs/stable/sql/meta/duckdb_table_functions
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from plainsql.schema.column_types import Scalar
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

DEFAULT_NAMESPACE = "main"
MAX_DECLARED = 80  # characters kept of a declared type: an enum can have thousands of labels

# Without `internal` views, whose binding costs more than all else. Files of the user's
# only: other databases can't be attached to a locked connection.
_TABLES = (
    "SELECT schema_name, table_name, false, comment, estimated_size, table_oid "
    "FROM duckdb_tables() WHERE NOT internal AND NOT temporary "
    "AND database_name = current_database()"
)
_VIEWS = (
    "SELECT schema_name, view_name, true, comment, NULL, view_oid "
    "FROM duckdb_views() WHERE NOT internal AND NOT temporary "
    "AND database_name = current_database()"
)
_COLUMNS = (
    "SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() "
    "WHERE NOT internal AND database_name = current_database() "
    "ORDER BY schema_name, table_name, column_index"
)
_CONSTRAINTS = (
    "SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table, "
    "referenced_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
    "AND constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') ORDER BY constraint_index"
)
_LABEL = re.compile(r"'((?:[^']|'')*)'")
_NESTED = re.compile(r"(STRUCT|MAP|UNION|TUPLE|VARIANT|LIST|BIT|GEOMETRY)\b")
_NO_SAMPLES = re.compile(r"BLOB|GEOMETRY|VARIANT")
_AS_THEY_ARE = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|BOOLEAN")

_Place = tuple[str, str]  # schema and table, as in the catalogue


def duckdb_schema(
    name: str, rows: Rows, try_rows: TryRows, *, samples: int = 3, infer_keys: bool = True
) -> Schema:
    """The schema of the database behind `rows`; `try_rows` runs what may be given up.

    Rows are not counted: DuckDB knows their number. Raises SchemaError when there
    are no tables, and what `rows` raises.
    """
    found = [*rows(_TABLES, ()), *rows(_VIEWS, ())]
    places = {(table[0], table[1]) for table in found}
    constraints = rows(_CONSTRAINTS, ())
    columns = _columns(rows(_COLUMNS, ()), constraints)
    tables = with_samples(
        [_table(table, columns) for table in sorted(found, key=lambda table: int(table[5]))],
        lambda table: try_rows(*_sample(table)),
    )
    look_up = {table.full_name: _quoted_place(table) for table in tables}
    contained = Containment(
        try_rows, quoted, look_up.__getitem__, frozenset(t.full_name for t in tables if t.is_view)
    )
    keys = _keys(constraints, places)
    return build_schema(
        name,
        "duckdb",
        tables,
        keys,
        samples=samples,
        infer_keys=infer_keys,
        contained=contained.share,
    )


def quoted(name: object) -> str:
    """An identifier, or a column's name, in double quotes, whatever it contains."""
    return '"' + str(getattr(name, "name", name)).replace('"', '""') + '"'


def _columns(
    rows: Iterable[tuple[Any, ...]], constraints: Iterable[tuple[Any, ...]]
) -> dict[_Place, list[RawColumn]]:
    """The columns of each table, in their order."""
    primary: set[tuple[str, str, str]] = set()
    unique: set[tuple[str, str, str]] = set()
    for schema, table, kind, names, *_ in constraints:
        if kind == "PRIMARY KEY":
            primary |= {(schema, table, name) for name in names}
        elif kind == "UNIQUE" and len(names) == 1:
            unique.add((schema, table, names[0]))
    columns: dict[_Place, list[RawColumn]] = defaultdict(list)
    for schema, table, name, declared, comment in rows:
        key = (schema, table, name)
        column = _column(name, declared, comment, key in primary, key in unique)
        columns[schema, table].append(column)
    return columns


def _column(
    name: str, declared: str, comment: str | None, primary: bool, unique: bool
) -> RawColumn:
    values: tuple[Scalar, ...] = ()
    kind = None
    if declared.startswith("ENUM("):
        values = tuple(label.replace("''", "'") for label in _LABEL.findall(declared))
        kind = ColumnType.TEXT
    elif _NESTED.match(declared) or declared.endswith("]"):
        kind = ColumnType.OTHER
    if len(declared) > MAX_DECLARED:
        declared = declared[: declared.find("(")] if "(" in declared else declared[:MAX_DECLARED]
    return RawColumn(name, declared, primary, comment or "", values, kind, unique)


def _table(row: tuple[Any, ...], columns: dict[_Place, list[RawColumn]]) -> RawTable:
    schema, name, is_view, comment, size, _ = row
    return RawTable(
        name,
        tuple(columns.get((schema, name), ())),
        _namespace(schema),
        bool(is_view),
        comment or "",
        None if size is None else int(size),
    )


def _namespace(schema: str) -> str:
    return "" if schema == DEFAULT_NAMESPACE else schema


def _keys(constraints: Iterable[tuple[Any, ...]], places: set[_Place]) -> Iterator[RawKey]:
    """The declared foreign keys. DuckDB allows them within one schema only."""
    for schema, table, kind, names, target, target_names in constraints:
        if kind == "FOREIGN KEY" and (schema, target) in places:
            namespace = _namespace(schema)
            yield RawKey(
                full_name(namespace, table),
                tuple(names),
                full_name(namespace, target),
                tuple(target_names),
            )


def _quoted_place(table: RawTable) -> str:
    return f"{quoted(table.namespace or DEFAULT_NAMESPACE)}.{quoted(table.name)}"


def _sample(table: RawTable) -> tuple[str, Sequence[object]]:
    """The statement for some rows of a table, each cell short and easily shown."""
    cells = ", ".join(map(_bounded_cell, table.columns))
    return f"SELECT {cells} FROM {_quoted_place(table)} LIMIT {MAX_SAMPLE_ROWS}", ()


def _bounded_cell(column: RawColumn) -> str:
    name = quoted(column.name)
    if column.values or _NO_SAMPLES.match(column.declared):
        return "NULL"
    if _AS_THEY_ARE.fullmatch(column.declared):
        return name
    return f"left(CAST({name} AS VARCHAR), {MAX_SAMPLE_LENGTH})"
