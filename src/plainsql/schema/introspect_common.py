"""What the introspections of servers share: raw facts of a catalogue become a Schema.

    catalogue ─ introspect_<engine> ─▶ [RawTable], [RawKey] ─ build_schema ─▶ Schema

Each engine's module reads its own catalogue through a `Rows` callable, so that
none of them needs a driver. Nothing here counts rows or reads a whole table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from plainsql.errors import SchemaError
from plainsql.schema.column_types import Scalar, column_type
from plainsql.schema.key_names import ValuesContained
from plainsql.schema.keys import infer_foreign_keys
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.names import with_names_of_keys, with_natural_names

# Runs one statement with its parameters, in the driver's own notation.
Rows = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]
# The same for an optional statement: None when it takes too long or fails.
TryRows = Callable[[str, Sequence[object]], list[tuple[Any, ...]] | None]

MAX_SAMPLE_ROWS = 200  # rows looked at for sample values
MAX_SAMPLE_LENGTH = 80  # characters kept of a sample value
MAX_COMMENT = 200  # characters kept of one comment
MAX_VALUES_COMPARED = 200  # distinct values looked up to confirm a key
SAMPLE_SECONDS = 4.0  # for the samples of all tables together
KEY_SECONDS = 4.0  # for all look-ups that confirm keys


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column as its catalogue has it.

    `values` are some of its values where they cost nothing to know (the labels
    of an enum, statistics); `kind` is given where the catalogue tells it surely.
    """

    name: str
    declared: str = ""
    in_primary_key: bool = False
    comment: str = ""
    values: tuple[Scalar, ...] = ()
    kind: ColumnType | None = None
    unique: bool = False  # on its own, by a declared constraint or index


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table or view. `namespace` is "" in the database's default schema."""

    name: str  # bare, as in the catalogue
    columns: tuple[RawColumn, ...]
    namespace: str = ""
    is_view: bool = False
    comment: str = ""
    row_count: int | None = None  # an estimate

    @property
    def full_name(self) -> str:
        """The name by which `Schema` knows it."""
        return full_name(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class RawKey:
    """A declared foreign key between tables named by their full names."""

    table: str
    columns: tuple[str, ...]
    ref_table: str
    ref_columns: tuple[str, ...]


def full_name(namespace: str, name: str) -> str:
    """ "name" in the default schema, "namespace.name" in another."""
    return f"{namespace}.{name}" if namespace else name


def build_schema(
    name: str,
    dialect: str,
    tables: Iterable[RawTable],
    keys: Iterable[RawKey] = (),
    *,
    samples: int = 3,
    infer_keys: bool = True,
    contained: ValuesContained | None = None,
) -> Schema:
    """The schema of what a catalogue holds: names in words, types, keys, samples.

    Keys to or from tables that aren't among `tables` (no right to read them)
    are left out. `contained` may confirm inferred keys by values (see
    `Containment`). Raises SchemaError when there is no table at all.
    """
    raw = _distinct(tables)
    if not raw:
        hint = "Check the database's name, and that your role may read its tables."
        raise SchemaError(f"The database {name} has no tables that can be read.", hint=hint)
    schema = with_natural_names(Schema(name, tuple(_table(t, samples) for t in raw), (), dialect))
    schema = replace(schema, foreign_keys=tuple(_known_keys(schema, keys)))
    if infer_keys:
        schema = infer_foreign_keys(schema, contained, unique=frozenset(_unique(raw)))
    return with_names_of_keys(schema)


def _distinct(tables: Iterable[RawTable]) -> list[RawTable]:
    """Tables that have columns, the first of those whose names differ in case alone."""
    found: dict[str, RawTable] = {}
    for table in tables:
        if table.columns:
            found.setdefault(table.full_name.lower(), table)
    return list(found.values())


def _table(raw: RawTable, samples: int) -> Table:
    name = raw.full_name
    return Table(
        name=name,
        columns=tuple(_column(name, column, samples) for column in _distinct_columns(raw)),
        natural="",
        is_view=raw.is_view,
        comment=one_line(raw.comment),
        row_count=raw.row_count,
        namespace=raw.namespace,
    )


def _distinct_columns(raw: RawTable) -> Iterable[RawColumn]:
    """The columns; of those whose names differ in case alone the first."""
    found: dict[str, RawColumn] = {}
    for column in raw.columns:
        found.setdefault(column.name.lower(), column)
    return found.values()


def _column(table: str, raw: RawColumn, samples: int) -> Column:
    return Column(
        table=table,
        name=raw.name,
        type=raw.kind or column_type(raw.declared, raw.values),
        natural="",
        declared_type=raw.declared,
        primary_key=raw.in_primary_key,
        comment=one_line(raw.comment),
        samples=tuple(str(value)[:MAX_SAMPLE_LENGTH] for value in raw.values[:samples]),
    )


def one_line(comment: str | None) -> str:
    """A comment of the catalogue on one line, cut at MAX_COMMENT characters."""
    return " ".join((comment or "").split())[:MAX_COMMENT].strip()


def _known_keys(schema: Schema, keys: Iterable[RawKey]) -> Iterator[ForeignKey]:
    """The keys whose both ends are in the schema, once each."""
    for key in dict.fromkeys(keys):
        try:
            own = [schema.column_index(key.table, name) for name in key.columns]
            ref = [schema.column_index(key.ref_table, name) for name in key.ref_columns]
        except KeyError:
            continue
        if own and len(own) == len(ref):
            yield ForeignKey(
                schema.columns[own[0]].table,
                tuple(schema.columns[at].name for at in own),
                schema.columns[ref[0]].table,
                tuple(schema.columns[at].name for at in ref),
            )


def _unique(tables: Iterable[RawTable]) -> Iterator[tuple[str, str]]:
    """(table, column), in lower case, for columns unique on their own."""
    for table in tables:
        for column in table.columns:
            if column.unique:
                yield table.full_name.lower(), column.name.lower()


def with_samples(
    tables: Iterable[RawTable],
    read: Callable[[RawTable], Sequence[tuple[Any, ...]] | None],
    *,
    seconds: float = SAMPLE_SECONDS,
) -> list[RawTable]:
    """The tables with values from their rows, for the columns that have none yet.

    `read(table)` gives a bounded number of rows (see MAX_SAMPLE_ROWS), a cell a
    column in their order, None for what can't be shown, or None when they can't
    be had. It is asked for each table in turn until `seconds` have passed.
    """
    end = time.monotonic() + seconds
    done: list[RawTable] = []
    for table in tables:
        wanted = any(not column.values for column in table.columns)
        rows = read(table) if wanted and time.monotonic() < end else None
        done.append(_with_values(table, rows) if rows else table)
    return done


def _with_values(table: RawTable, rows: Sequence[tuple[Any, ...]]) -> RawTable:
    columns = (
        column if column.values else replace(column, values=distinct(row[at] for row in rows))
        for at, column in enumerate(table.columns)
    )
    return replace(table, columns=tuple(columns))


def distinct(values: Iterable[Any]) -> tuple[Scalar, ...]:
    """Different values that can be shown, in their order; NULL, blank and blobs left out."""
    found: dict[str, Scalar] = {}
    for value in values:
        if value is None or isinstance(value, bytes | bytearray | memoryview):
            continue
        plain = value if isinstance(value, str | int | float) else str(value)
        if str(plain).strip():
            found.setdefault(str(plain), plain)
    return tuple(found.values())


@dataclass
class Containment:
    """How many of one column's values another column has, for `infer_foreign_keys`.

    `quote(column)` and `place(column)` write the column's name and its table's as
    this engine takes them. Each look-up is one bounded statement through `rows`;
    after `seconds` in all, nothing is known any more.
    """

    rows: TryRows
    quote: Callable[[str], str]
    place: Callable[[str], str]  # full name of a table -> SQL
    skipped: Collection[str] = ()  # full names of tables too costly to look into: views
    seconds: float = KEY_SECONDS
    _end: float = field(default=0.0, init=False)

    def share(self, column: Column, target: Column) -> float | None:
        """Share, 0 to 1, of distinct sampled values of `column` found in `target`.

        None if either is empty, the look-up takes too long or their types differ.
        """
        self._end = self._end or time.monotonic() + self.seconds
        if time.monotonic() > self._end or {column.table, target.table} & set(self.skipped):
            return None
        found = self.rows(self._question(column, target), ())
        if not found or not found[0][0]:
            return None
        total, hits = found[0]
        if not hits and not self.rows(f"SELECT 1 FROM {self.place(target.table)} LIMIT 1", ()):
            return None  # an empty target proves nothing
        return float(hits or 0) / float(total)

    def _question(self, column: Column, target: Column) -> str:
        name, there = self.quote(column.name), self.quote(target.name)
        return (
            "SELECT count(*), sum(CASE WHEN EXISTS (SELECT 1 FROM "
            f"{self.place(target.table)} AS t WHERE t.{there} = s.v) THEN 1 ELSE 0 END) FROM "
            f"(SELECT DISTINCT v FROM (SELECT {name} AS v FROM {self.place(column.table)} "
            f"WHERE {name} IS NOT NULL LIMIT 2000) AS r LIMIT {MAX_VALUES_COMPARED}) AS s"
        )
