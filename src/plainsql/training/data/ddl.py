"""A schema from CREATE statements: run by SQLite where it can, else read by sqlglot.

SQLite knows its own language best, and rows that a script inserts become sample
values. A script of another engine is read by sqlglot, statement by statement.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from plainsql.errors import SchemaError
from plainsql.schema.column_types import declared_column_type
from plainsql.schema.introspect import read_schema
from plainsql.schema.keys import infer_foreign_keys
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.names import with_natural_names

MAX_CHARS = 500_000
SECONDS = 2.0  # for one script
_OTHER_DIALECTS = ("mysql", "postgres", "tsql", "oracle", "bigquery", None)
_MEMORY = 64_000_000  # bytes of text or blob

# What a script may do: define tables, views and indexes, and put rows into them. Not to
# attach files, nor to define triggers and virtual tables.
_ALLOWED = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_DROP_TABLE,  # IF EXISTS, as dumps begin
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_TRANSACTION,
    }
)


def schema_of_ddl(ddl: str, name: str, dialect: str = "sqlite") -> Schema:
    """The schema that the statements of `ddl` define, called `name`.

    `dialect` is what sqlglot calls the language they are written in. Raises
    `SchemaError` where they define no table.
    """
    if len(ddl) > MAX_CHARS:
        raise SchemaError(f"The schema has more than {MAX_CHARS:,} characters.")
    try:
        return _executed(ddl, name)
    except (sqlite3.Error, sqlite3.Warning, SchemaError, ValueError) as error:
        schema = _parsed(ddl, name, dialect)
        if schema is None:
            raise SchemaError(
                f"No table could be read from the schema: {error}",
                hint="Give CREATE TABLE statements.",
            ) from error
        return schema


def _executed(ddl: str, name: str) -> Schema:
    """What an empty database in memory holds after the script. Raises sqlite3's errors."""
    end = time.monotonic() + SECONDS
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MEMORY)
        connection.execute("PRAGMA max_page_count=20000")  # 80 MB
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        connection.executescript(ddl)
        connection.set_authorizer(None)
        return read_schema(connection, name)


def _authorize(action: int, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_IGNORE  # dumps begin with some; none of them matters here
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _parsed(ddl: str, name: str, dialect: str) -> Schema | None:
    """What sqlglot makes of the script, None where it finds no table."""
    creates = _creates(ddl, dialect)
    tables = [table for tree in creates if (table := _table(tree)) is not None]
    if not tables:
        return None
    keys = tuple(key for tree in creates for key in _keys(tree))
    known = {table.name.lower() for table in tables}
    kept = tuple(key for key in keys if key.ref_table.lower() in known)
    return infer_foreign_keys(with_natural_names(Schema(name, tuple(tables), kept)))


def _creates(ddl: str, dialect: str) -> list[exp.Create]:
    """The CREATE TABLE statements, by the first dialect that can read the whole script."""
    for tried in dict.fromkeys((dialect, *_OTHER_DIALECTS)):
        try:
            with _quiet_parser():
                trees = sqlglot.parse(ddl, read=tried)
        except (SqlglotError, RecursionError):
            continue
        found = [tree for tree in trees if isinstance(tree, exp.Create) and tree.kind == "TABLE"]
        if found:
            return found
    return []


@contextmanager
def _quiet_parser() -> Iterator[None]:
    """Without sqlglot's remarks about statements it does not know: they are passed over."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _table(tree: exp.Create) -> Table | None:
    form = tree.this
    if not isinstance(form, exp.Schema) or not isinstance(form.this, exp.Table):
        return None
    name = form.this.name
    primary = {
        column.name.lower()
        for key in form.find_all(exp.PrimaryKey)
        for column in key.find_all(exp.Identifier)
    }
    columns = tuple(
        _column(definition, name, primary)
        for definition in form.expressions
        if isinstance(definition, exp.ColumnDef | exp.Identifier)  # the second: without a type
    )
    return Table(name, columns, "") if columns else None


def _column(definition: exp.ColumnDef | exp.Identifier, table: str, primary: set[str]) -> Column:
    declared = definition.args.get("kind")
    text = declared.sql(dialect="sqlite") if declared is not None else ""
    kinds = {type(item.kind) for item in definition.find_all(exp.ColumnConstraint)}
    return Column(
        table=table,
        name=definition.name,
        type=declared_column_type(text) or ColumnType.TEXT,
        natural="",
        declared_type=text,
        primary_key=definition.name.lower() in primary or exp.PrimaryKeyColumnConstraint in kinds,
    )


def _keys(tree: exp.Create) -> Iterator[ForeignKey]:
    """The foreign keys of a table, whether they stand alone or within a column."""
    table = tree.this.this.name if isinstance(tree.this, exp.Schema) else ""
    for reference in tree.find_all(exp.Reference):
        target = reference.this
        owner = reference.find_ancestor(exp.ForeignKey, exp.ColumnDef)
        if not isinstance(target, exp.Schema) or owner is None:
            continue
        own = (
            [owner.name]
            if isinstance(owner, exp.ColumnDef)
            else [column.name for column in owner.expressions]
        )
        others = [column.name for column in target.expressions]
        if table and len(own) == len(others):
            yield ForeignKey(table, tuple(own), target.this.name, tuple(others))
