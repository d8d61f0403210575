"""Read the schema of a PostgreSQL database from its catalogue, without counting rows.

What the connected role may not SELECT isn't there. Tables of extensions are left
out, and partitions: their parents stand for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from plainsql.errors import ExecutionError
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
    distinct,
    full_name,
    with_samples,
)
from plainsql.schema.model import ColumnType, Schema

# Kinds of relations: table, view, materialized view, partitioned table, foreign table.
_READABLE = """
    SELECT c.oid, c.relnamespace, c.relname, c.relkind, c.reltuples, n.nspname,
        pg_table_is_visible(c.oid) AS visible, has_table_privilege(c.oid, 'SELECT') AS whole
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT c.relispartition
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND has_schema_privilege(n.oid, 'USAGE')
        AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.deptype = 'e')
"""
# Estimates of VACUUM and ANALYZE; -1 (before 14: 0) where there was none yet. Those of a
# partitioned table's partitions are summed: its own are rarely up to date.
_TABLES = f"""
    WITH RECURSIVE readable AS ({_READABLE}),
    parts AS (
        SELECT oid AS root, oid FROM readable WHERE relkind = 'p'
        UNION ALL
        SELECT p.root, i.inhrelid FROM parts AS p JOIN pg_inherits AS i ON i.inhparent = p.oid
    ),
    sums AS (
        SELECT p.root, sum(c.reltuples) AS rows FROM parts AS p JOIN pg_class AS c ON c.oid = p.oid
        WHERE c.relkind <> 'p' AND c.reltuples >= 0 GROUP BY p.root
    )
    SELECT r.oid, r.nspname, r.relname, r.relkind::text, r.visible,
        coalesce(s.rows, r.reltuples)::int8, d.description
    FROM readable AS r LEFT JOIN sums AS s ON s.root = r.oid
    LEFT JOIN pg_description AS d
        ON d.objoid = r.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
    ORDER BY NOT r.visible, r.oid
"""
_COLUMNS = f"""
    WITH readable AS ({_READABLE})
    SELECT r.oid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        t.typcategory::text, coalesce(nullif(t.typbasetype, 0), t.oid), d.description
    FROM readable AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_description AS d
        ON d.objoid = r.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
        AND (r.whole OR has_column_privilege(r.oid, a.attnum, 'SELECT'))
    ORDER BY r.oid, a.attnum
"""
_ENUMS = "SELECT enumtypid, enumlabel FROM pg_enum ORDER BY enumtypid, enumsortorder"
_FOREIGN_KEYS = """
    SELECT conrelid, conkey, confrelid, confkey FROM pg_constraint
    WHERE contype = 'f' ORDER BY conrelid, oid
"""
_UNIQUE = """
    SELECT indrelid, indisprimary, (indkey::int2[])[0:indnkeyatts - 1] FROM pg_index
    WHERE indisunique AND indpred IS NULL AND indexprs IS NULL
        AND (indisprimary OR indnkeyatts = 1) AND indrelid >= 16384
"""
# Columns' commonest values, else their histogram, as ANALYZE saw them; of tables with
# children those of the whole. The view shows what the role may read.
_VALUES = """
    SELECT schemaname, tablename, attname,
        (coalesce(most_common_vals, histogram_bounds)::text::text[])[1:8]
    FROM pg_stats WHERE coalesce(most_common_vals, histogram_bounds) IS NOT NULL
        AND schemaname <> 'information_schema' AND schemaname !~ '^pg_'
    ORDER BY inherited
"""
# (schema, table, its name in `Schema`) of what the role may read.
TABLE_NAMES = f"""
    SELECT r.nspname, r.relname,
        CASE WHEN r.visible THEN r.relname::text ELSE r.nspname || '.' || r.relname END
    FROM ({_READABLE}) AS r ORDER BY NOT r.visible, r.nspname, r.oid
"""
# (table, column) for hints, without anything else.
COLUMN_NAMES = f"""
    WITH readable AS ({_READABLE})
    SELECT CASE WHEN r.visible THEN r.relname::text ELSE r.nspname || '.' || r.relname END,
        a.attname
    FROM readable AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
    ORDER BY NOT r.visible, r.oid, a.attnum LIMIT 20000
"""

# https://www.postgresql.org/docs/current/catalog-pg-type.html#CATALOG-TYPCATEGORY-TABLE
_KINDS = {
    "B": ColumnType.BOOLEAN,
    "D": ColumnType.TIME,
    "E": ColumnType.TEXT,
    "I": ColumnType.TEXT,
    "N": ColumnType.NUMBER,
}
_TEXTUAL = "S"  # its kind is told by its values, which may be dates
_TEXT_LIKE = frozenset(("uuid", "xml"))  # of the category U, whose other types are opaque


@dataclass(frozen=True, slots=True)
class _Facts:
    """Look-ups by oid: what columns need beside their own row of the catalogue."""

    columns: Mapping[int, list[tuple[Any, ...]]]
    enums: Mapping[int, tuple[str, ...]]
    primary: Mapping[int, frozenset[int]]
    unique: Mapping[int, frozenset[int]]
    values: Mapping[tuple[str, str, str], tuple[Scalar, ...]]


def postgresql_schema(
    rows: Rows, try_rows: TryRows, name: str, *, samples: int = 3, infer_keys: bool = True
) -> Schema:
    """The schema `name` of what the connected role may read.

    `rows` runs a statement with $1, $2, … for parameters and gives arrays as
    lists; `try_rows` gives a costly one up. The search path decides which tables
    are known by their bare names. Raises SchemaError if there are none, and what
    `rows` raises.
    """
    found = rows(_TABLES, ())
    facts = _facts(rows)
    names = {
        oid: full_name("" if near else space, table) for oid, space, table, _, near, *_ in found
    }
    tables = [_raw_table(row, facts) for row in found]
    tables = with_samples(tables, lambda table: _read_samples(table, try_rows))
    places = {table.full_name: _place(table) for table in tables}
    contained = Containment(try_rows, quoted, places.__getitem__, _views(tables)).share
    return build_schema(
        name,
        "postgres",
        tables,
        _keys(rows, facts, names),
        samples=samples,
        infer_keys=infer_keys,
        contained=contained,
    )


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def _facts(rows: Rows) -> _Facts:
    columns: dict[int, list[tuple[Any, ...]]] = {}
    for oid, *column in rows(_COLUMNS, ()):
        columns.setdefault(oid, []).append(tuple(column))
    enums: dict[int, tuple[str, ...]] = {}
    for oid, label in rows(_ENUMS, ()):
        enums[oid] = (*enums.get(oid, ()), label)
    primary: dict[int, frozenset[int]] = {}
    unique: dict[int, frozenset[int]] = {}
    for table, is_primary, numbers in rows(_UNIQUE, ()):
        if is_primary:
            primary[table] = frozenset(numbers)
        if len(numbers) == 1:
            unique[table] = unique.get(table, frozenset()) | {numbers[0]}
    return _Facts(columns, enums, primary, unique, _known_values(rows))


def _known_values(rows: Rows) -> dict[tuple[str, str, str], tuple[Scalar, ...]]:
    """Some values of the columns that were analysed; {} where that takes too long."""
    with suppress(ExecutionError):
        return {
            (space, table, column): distinct(value[:MAX_SAMPLE_LENGTH] for value in found if value)
            for space, table, column, found in rows(_VALUES, ())
        }
    return {}


def _raw_table(row: tuple[Any, ...], facts: _Facts) -> RawTable:
    oid, space, name, kind, visible, count, comment = row
    primary = facts.primary.get(oid, frozenset())
    unique = facts.unique.get(oid, frozenset())
    columns = tuple(
        RawColumn(
            column,
            declared,
            number in primary,
            comment or "",
            facts.enums.get(base) or _values(facts, (space, name, column), category),
            _kind(declared, category),
            number in unique,
        )
        for number, column, declared, category, base, comment in facts.columns.get(oid, ())
    )
    is_view = kind in ("v", "m")
    namespace = "" if visible else space
    counted = count if count >= 0 and kind != "v" else None
    return RawTable(name, columns, namespace, is_view, comment or "", counted)


def _values(facts: _Facts, place: tuple[str, str, str], category: str) -> tuple[Scalar, ...]:
    """Values that are known of a column; truth values as SQL writes them."""
    found = facts.values.get(place, ())
    return tuple({"t": "true", "f": "false"}[str(v)] for v in found) if category == "B" else found


def _kind(declared: str, category: str) -> ColumnType | None:
    if category == _TEXTUAL:
        return None
    if declared in _TEXT_LIKE:
        return ColumnType.TEXT
    return _KINDS.get(category, ColumnType.OTHER)


def _keys(rows: Rows, facts: _Facts, names: Mapping[int, str]) -> Iterable[RawKey]:
    """Declared keys between tables that can be read."""
    for table, numbers, target, target_numbers in rows(_FOREIGN_KEYS, ()):
        own = _column_names(facts, table, numbers)
        there = _column_names(facts, target, target_numbers)
        if table in names and target in names and own and there:
            yield RawKey(names[table], own, names[target], there)


def _column_names(facts: _Facts, table: int, numbers: Sequence[int]) -> tuple[str, ...]:
    """Names of a table's columns by their numbers; () where one of them can't be read."""
    known = {column[0]: column[1] for column in facts.columns.get(table, ())}
    return tuple(known[n] for n in numbers) if all(n in known for n in numbers) else ()


def _place(table: RawTable) -> str:
    return (
        f"{quoted(table.namespace)}.{quoted(table.name)}" if table.namespace else quoted(table.name)
    )


def _views(tables: Iterable[RawTable]) -> frozenset[str]:
    return frozenset(table.full_name for table in tables if table.is_view)


def _read_samples(table: RawTable, try_rows: TryRows) -> list[tuple[Any, ...]] | None:
    """The first rows' values as text, for tables that nobody has analysed yet."""
    cells = ", ".join(_bounded_cell(column) for column in table.columns)
    return try_rows(f"SELECT {cells} FROM {_place(table)} LIMIT {MAX_SAMPLE_ROWS}", ())


def _bounded_cell(column: RawColumn) -> str:
    if column.kind is ColumnType.OTHER or column.values:
        return "NULL"
    return f"left({quoted(column.name)}::text, {MAX_SAMPLE_LENGTH})"
