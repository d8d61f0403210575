"""What a database is: tables, columns, keys. Frozen, hashable, engine-neutral.

Notation: a *table index* is a position in `Schema.tables`; a *column index* is
a position in `Schema.columns`, the columns of all tables one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import accumulate


class ColumnType(StrEnum):
    """The five kinds of column the translators tell apart."""

    TEXT = "text"
    NUMBER = "number"
    TIME = "time"  # dates, times, timestamps
    BOOLEAN = "boolean"
    OTHER = "other"  # blobs, JSON, arrays, unknown


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `natural` is its name in words: "stuID" -> "student id"."""

    table: str
    name: str
    type: ColumnType
    natural: str
    declared_type: str = ""
    primary_key: bool = False
    comment: str = ""
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view. `row_count` is None where it was not counted.

    `name` is unique in the schema: the bare name in the database's default
    schema, "namespace.name" in another, whose name `namespace` then is.
    """

    name: str
    columns: tuple[Column, ...]
    natural: str
    is_view: bool = False
    comment: str = ""
    row_count: int | None = None
    namespace: str = ""

    @property
    def bare_name(self) -> str:
        """The name inside its namespace: what stands after the dot in SQL."""
        return self.name.removeprefix(f"{self.namespace}.") if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`table.columns` refers to `ref_table.ref_columns`, position by position."""

    table: str
    columns: tuple[str, ...]
    ref_table: str
    ref_columns: tuple[str, ...]
    inferred: bool = False  # not declared, guessed from names, types and values


@dataclass(frozen=True)
class Schema:
    """A whole database. Look-ups by name ignore case, as SQL does."""

    name: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    dialect: str = "sqlite"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns, table after table: what a column index points into."""
        return tuple(column for table in self.tables for column in table.columns)

    @cached_property
    def table_of(self) -> tuple[int, ...]:
        """For each column index, the index of its table."""
        return tuple(i for i, table in enumerate(self.tables) for _ in table.columns)

    @cached_property
    def _first_columns(self) -> tuple[int, ...]:
        return tuple(accumulate((len(table.columns) for table in self.tables), initial=0))

    @cached_property
    def _tables_by_name(self) -> dict[str, int]:
        return {table.name.lower(): i for i, table in enumerate(self.tables)}

    @cached_property
    def _columns_by_name(self) -> dict[tuple[str, str], int]:
        return {(c.table.lower(), c.name.lower()): i for i, c in enumerate(self.columns)}

    @cached_property
    def key_columns(self) -> frozenset[int]:
        """Column indexes of primary keys and of both ends of foreign keys."""
        found = {i for i, column in enumerate(self.columns) if column.primary_key}
        for key in self.foreign_keys:
            found.update(self.column_index(key.table, name) for name in key.columns)
            found.update(self.column_index(key.ref_table, name) for name in key.ref_columns)
        return frozenset(found)

    def table_index(self, name: str) -> int:
        """Index of the table `name`. Raises KeyError when there is none."""
        return self._tables_by_name[name.lower()]

    def column_index(self, table: str, column: str) -> int:
        """Index of `table.column`. Raises KeyError when there is none."""
        return self._columns_by_name[table.lower(), column.lower()]

    def columns_of(self, table: int) -> range:
        """Column indexes of the table with index `table`."""
        first = self._first_columns[table]
        return range(first, first + len(self.tables[table].columns))
