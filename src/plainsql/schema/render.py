"""A schema as text: SQLite DDL for machines, a compact outline for people and prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plainsql.schema.column_types import declared_column_type
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table

MAX_EXAMPLE = 40  # characters shown of a sample value

_SQL_TYPES = {
    ColumnType.TEXT: "TEXT",
    ColumnType.NUMBER: "NUMERIC",
    ColumnType.TIME: "DATETIME",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.OTHER: "BLOB",
}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_TYPE = re.compile(r"[A-Za-z_]\w*( [A-Za-z_]\w*)*( ?\( ?\d+( ?, ?\d+)? ?\))?( [A-Za-z_]\w*)*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# https://www.sqlite.org/lang_keywords.html; SQLite accepts some of them as names.
KEYWORDS = _words(
    """
    ABORT ACTION ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN
    BETWEEN BY CASCADE CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS
    CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRABLE DEFERRED DELETE
    DESC DETACH DISTINCT DO DROP EACH ELSE END ESCAPE EXCEPT EXCLUDE EXCLUSIVE EXISTS EXPLAIN FAIL
    FALSE FILTER FIRST FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB GROUP GROUPS HAVING IF IGNORE
    IMMEDIATE IN INDEX INDEXED INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY LAST
    LEFT LIKE LIMIT MATCH MATERIALIZED NATURAL NO NOT NOTHING NOTNULL NULL NULLS OF OFFSET ON OR
    ORDER OTHERS OUTER OVER PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE RECURSIVE
    REFERENCES REGEXP REINDEX RELEASE RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWS
    SAVEPOINT SELECT SET TABLE TEMP TEMPORARY THEN TIES TO TRANSACTION TRIGGER TRUE UNBOUNDED UNION
    UNIQUE UPDATE USING VACUUM VALUES VIEW VIRTUAL WHEN WHERE WINDOW WITH WITHOUT
    """
)


def quote_name(name: str) -> str:
    """An identifier as SQLite takes it: in double quotes unless it is plain."""
    if _PLAIN_NAME.fullmatch(name) and name.upper() not in KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def as_ddl(schema: Schema, *, inferred_keys: bool = False) -> str:
    """CREATE statements that SQLite executes to give the same schema, without rows.

    Names, types, primary keys, declared foreign keys and comments are kept.
    Inferred keys are left out unless asked for; a view becomes a view of the
    same columns over nothing, since a schema does not hold its query.
    """
    keys = [key for key in schema.foreign_keys if inferred_keys or not key.inferred]
    statements = (
        _view_ddl(table) if table.is_view else _table_ddl(table, _keys_of(table, keys))
        for table in schema.tables
    )
    return "\n\n".join(statements)


def _keys_of(table: Table, keys: list[ForeignKey]) -> list[ForeignKey]:
    return [key for key in keys if key.table.lower() == table.name.lower()]


def _table_ddl(table: Table, keys: list[ForeignKey]) -> str:
    head = f"CREATE TABLE {quote_name(table.name)} ("
    lines = [(_column_ddl(column), column.comment) for column in table.columns]
    primary = [quote_name(column.name) for column in table.columns if column.primary_key]
    if primary:
        lines.append((f"PRIMARY KEY ({', '.join(primary)})", ""))
    lines += [(_key_ddl(key), "") for key in keys]
    body = (
        f"  {text}{',' if at < len(lines) - 1 else ''}{_comment_ddl(comment)}"
        for at, (text, comment) in enumerate(lines)
    )
    return "\n".join((head + _comment_ddl(table.comment), *body, ");"))


def _column_ddl(column: Column) -> str:
    return f"{quote_name(column.name)} {_type_ddl(column)}"


def _type_ddl(column: Column) -> str:
    """The declared type where SQLite can parse it and it says the kind, else one that does."""
    declared = column.declared_type
    if declared_column_type(declared) is not column.type and not _PLAIN_TYPE.fullmatch(declared):
        return _SQL_TYPES[column.type]
    words = set(re.findall(r"[A-Z_]+", declared.upper()))
    if _PLAIN_TYPE.fullmatch(declared) and not words & KEYWORDS:
        return declared
    return '"' + declared.replace('"', '""') + '"'


def _key_ddl(key: ForeignKey) -> str:
    columns = ", ".join(map(quote_name, key.columns))
    targets = ", ".join(map(quote_name, key.ref_columns))
    return f"FOREIGN KEY ({columns}) REFERENCES {quote_name(key.ref_table)} ({targets})"


def _comment_ddl(comment: str) -> str:
    return f" -- {' '.join(comment.split())}" if comment.strip() else ""


def _view_ddl(table: Table) -> str:
    cells = ", ".join(
        f"CAST(NULL AS {_SQL_TYPES[column.type]}) AS {quote_name(column.name)}"
        for column in table.columns
    )
    return f"CREATE VIEW {quote_name(table.name)} AS SELECT {cells} WHERE 0;"


def as_text(schema: Schema) -> str:
    """An outline of the schema: types, keys, sample values, a column a line.

    After the M-Schema of XiYan-SQL (https://arxiv.org/abs/2411.08599).
    note: without its brackets, and with one foreign key a line.
    """
    parts = [f"Database {schema.name}: {_counted(len(schema.tables), 'table')}"]
    parts += ["\n".join(_table_text(table)) for table in schema.tables]
    if schema.foreign_keys:
        parts.append("\n".join(("Foreign keys", *map(_key_text, schema.foreign_keys))))
    return "\n\n".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table_text(table: Table) -> Iterator[str]:
    rows = "" if table.row_count is None else f" ({_counted(table.row_count, 'row')})"
    comment = f" - {_one_line(table.comment)}" if table.comment else ""
    yield f"{'View' if table.is_view else 'Table'} {quote_name(table.name)}{rows}{comment}"
    for column in table.columns:
        yield "  " + ", ".join(_column_text(column))


def _column_text(column: Column) -> Iterator[str]:
    yield f"{quote_name(column.name)}: {column.type}"
    if column.primary_key:
        yield "primary key"
    if column.comment:
        yield _one_line(column.comment)
    if column.samples:
        yield "e.g. " + ", ".join(_example(column, sample) for sample in column.samples)


def _example(column: Column, sample: str) -> str:
    text = _one_line(sample)
    text = text if len(text) <= MAX_EXAMPLE else text[: MAX_EXAMPLE - 1] + "…"
    return text if column.type is ColumnType.NUMBER else "'" + text.replace("'", "''") + "'"


def _one_line(text: str) -> str:
    """Text without line breaks and control characters, which could fake an outline."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _key_text(key: ForeignKey) -> str:
    pairs = zip(key.columns, key.ref_columns, strict=False)
    joined = " and ".join(
        f"{quote_name(key.table)}.{quote_name(own)} = {quote_name(key.ref_table)}.{quote_name(ref)}"
        for own, ref in pairs
    )
    return f"  {joined}{' (inferred)' if key.inferred else ''}"
