"""The schema that each row is about: from a database file, tables.json, or the row itself.

Read once each and kept, as many as fit a bound, so that a data set of any length
over any number of databases is prepared in the same memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from plainsql.errors import ConnectError, PlainsqlError, SchemaError
from plainsql.evaluation.datasets import database_path
from plainsql.execution.sqlite import SQLiteEngine
from plainsql.linking.value_index import ValueIndex
from plainsql.schema.column_types import declared_column_type
from plainsql.schema.enrich import enrich
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.json_form import from_json
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.schema.names import with_natural_names
from plainsql.schema.spider import load_tables_json
from plainsql.training.data.ddl import schema_of_ddl
from plainsql.training.data.formats import OwnSchema, Row
from plainsql.training.data.rejections import Reason, Rejected
from plainsql.training.data.wikisql import TABLE
from plainsql.translators.language_model.schema_text import Block, schema_blocks

MOST_SCHEMAS = 512  # kept of each kind
MOST_OPEN = 32  # connections and indexes

T = TypeVar("T")


@dataclass(frozen=True)
class Known:
    """A schema that rows are about.

    `signatures` are what must not be on both sides of a split: the name of the
    database, or of schemas without one a text for each table with its columns.
    """

    name: str  # of the database, "" where there is none
    schema: Schema
    blocks: tuple[Block, ...]  # all tables, ranked in the schema's order
    signatures: tuple[str, ...]
    path: Path | None = None

    @cached_property
    def tables(self) -> frozenset[str]:
        """The names of its tables and views in lower case."""
        return frozenset(table.name.lower() for table in self.schema.tables)


class Schemas:
    """Finds the schema of a row. Use as a context: databases are open until it ends.

    `databases` is a folder as `evaluation.datasets.database_path` knows it,
    `tables` a tables.json, `form` that of the blocks. Raises `SchemaError` when
    `tables` can't be read.
    """

    def __init__(
        self,
        databases: Path | None,
        tables: Path | None,
        form: str,
        *,
        default: str = "",
        dialect: str = "sqlite",
        cache_dir: str = "",
    ) -> None:
        self._root = databases
        self._given = load_tables_json(tables) if tables is not None else {}
        self._form = form
        self._default = default
        self._dialect = dialect
        self._cache_dir = cache_dir or None
        self._named = lru_cache(MOST_SCHEMAS)(self._read_named)
        self._own = lru_cache(MOST_SCHEMAS)(self._read_own)
        self._engines: _Open[SQLiteEngine] = _Open(lambda engine: engine.close())
        self._indexes: _Open[ValueIndex] = _Open(lambda index: index.close())

    def __enter__(self) -> Schemas:
        return self

    def __exit__(self, *_: object) -> None:
        self._engines.close()
        self._indexes.close()

    def of(self, row: Row) -> Known:
        """The schema that `row` is about: its database's, where there is one, else its own.

        A row that names neither is about the default database. Raises `Rejected`.
        """
        name = row.db or ("" if row.own is not None else self._default)
        found = self._named(name) if name else None
        if isinstance(found, Known):
            return found
        if row.own is not None:
            found = self._own(row.db, row.own)
        if isinstance(found, Known):
            return found
        raise found or Rejected(Reason.NO_SCHEMA)

    def engine(self, known: Known) -> SQLiteEngine | None:
        """The database of a schema, open; None where it has none. Raises ConnectError."""
        path = known.path
        return None if path is None else self._engines.get(path, lambda: SQLiteEngine(path))

    def index(self, known: Known) -> ValueIndex | None:
        """The index of a database's values, built on first use; None where it has none."""
        path = known.path
        if path is None:
            return None
        return self._indexes.get(path, lambda: ValueIndex.open(path, known.schema, self._cache_dir))

    def _read_named(self, name: str) -> Known | Rejected:
        """A failure is returned, not raised, so that it is kept as well."""
        path, given = self._path(name), self._given.get(name)
        if path is None and given is None:
            return Rejected(Reason.UNKNOWN_DATABASE, name)
        try:
            schema = _of_file(path, given) if path is not None else given
        except ConnectError as error:
            return Rejected(Reason.BAD_DATABASE, error.message)
        assert schema is not None
        return Known(name, schema, self._blocks(schema), (name.lower(),), path)

    def _path(self, name: str) -> Path | None:
        # A name comes from the data: it must not lead out of the folder.
        if self._root is None or Path(name).name != name:
            return None
        return database_path(self._root, name)

    def _read_own(self, name: str, own: OwnSchema) -> Known | Rejected:
        try:
            schema = _OWN[own.form](own.text, name, self._dialect)
        except (SchemaError, ValueError, TypeError) as error:
            said = error.message if isinstance(error, PlainsqlError) else str(error)
            return Rejected(Reason.BAD_SCHEMA, said)
        signatures = (name.lower(),) if name else tuple(map(_signature, schema.tables))
        return Known(name, schema, self._blocks(schema), signatures)

    def _blocks(self, schema: Schema) -> tuple[Block, ...]:
        return schema_blocks(schema, None, self._form)


def _of_file(path: Path, given: Schema | None) -> Schema:
    found = sqlite_schema(path)
    return found if given is None else enrich(given, found)


def _of_ddl(text: str, name: str, dialect: str) -> Schema:
    return schema_of_ddl(text, name, dialect)


def _of_json(text: str, name: str, _: str) -> Schema:
    form: Mapping[str, Any] = {"name": name, **json.loads(text)}
    schema = from_json(form)
    if not schema.tables:
        raise SchemaError("The schema has no tables.")
    return schema


def _of_columns(text: str, name: str, _: str) -> Schema:
    """WikiSQL's one table; "real" is its word for numbers."""
    columns = tuple(
        Column(TABLE, column, _kind(kind), "", declared_type=kind)
        for column, kind in json.loads(text)
    )
    if not columns:
        raise SchemaError("The table has no columns.")
    return with_natural_names(Schema(name, (Table(TABLE, columns, ""),)))


def _kind(declared: str) -> ColumnType:
    return declared_column_type(declared) or ColumnType.TEXT


_OWN: dict[str, Callable[[str, str, str], Schema]] = {
    "ddl": _of_ddl,
    "json": _of_json,
    "columns": _of_columns,
}


def _signature(table: Table) -> str:
    """Equal for tables of one name with the same columns, in whatever order."""
    columns = sorted(column.name.lower() for column in table.columns)
    digest = hashlib.sha256(repr(columns).encode()).hexdigest()[:8]
    return f"{table.name.lower()}/{digest}"


class _Open(Generic[T]):
    """Things that are opened on demand; the one unused for longest is closed for a new one."""

    def __init__(self, close: Callable[[T], None]) -> None:
        self._close = close
        self._held: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, open_one: Callable[[], T]) -> T:
        if key not in self._held:
            if len(self._held) >= MOST_OPEN:
                self._close(self._held.popitem(last=False)[1])
            self._held[key] = open_one()
        self._held.move_to_end(key)
        return self._held[key]

    def close(self) -> None:
        """Close all of them."""
        while self._held:
            self._close(self._held.popitem()[1])
