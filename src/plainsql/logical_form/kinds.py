"""What a value is to an engine with strict types: kinds of columns and expressions.

`ColumnType` says what a column means; a `Kind` says how it is stored: dates kept
as text are TIME to a reader and text to PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, time
from enum import StrEnum

from plainsql.logical_form.tree import (
    Aggregate,
    Arithmetic,
    ColumnRef,
    CountRows,
    DatePart,
    Expression,
    Literal,
    Query,
    Scalar,
    Select,
    Share,
)
from plainsql.records import Value
from plainsql.schema.column_types import declared_column_type
from plainsql.schema.model import Column, ColumnType, Schema


class Kind(StrEnum):
    """Kinds that compare with each other without a cast are one kind here, mostly."""

    UNKNOWN = "unknown"
    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DOUBLE = "double"
    YEAR = "year"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    BOOLEAN = "boolean"
    OTHER = "other"  # JSON, UUIDs, PostgreSQL's enums: equal to texts only as text


NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.DOUBLE, Kind.YEAR})
MOMENTS = frozenset({Kind.DATE, Kind.TIMESTAMP})
_TRUE, _FALSE = frozenset("1 t true y yes".split()), frozenset("0 f false n no".split())
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?")
_TIME = re.compile(r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?")
_OPAQUE = re.compile(r"UUID|GUID|UNIQUEIDENTIFIER|INET")


def column_kind(column: Column, dialect: str) -> Kind:
    """How `column` is stored in an engine of `dialect`, by its declared type."""
    declared = column.declared_type.strip().upper()
    found = declared_column_type(declared) if declared else None
    if found is None:
        return _kind_of_type(column.type) if declared and dialect != "sqlite" else Kind.UNKNOWN
    if found is ColumnType.TIME:
        return _time_kind(declared)
    if found is ColumnType.NUMBER:
        return _number_kind(column, declared, dialect)
    if found is ColumnType.TEXT:
        opaque = _OPAQUE.search(declared) or (dialect == "postgres" and "ENUM" in declared)
        return Kind.OTHER if opaque else Kind.TEXT
    if found is ColumnType.BOOLEAN and dialect == "postgres" and declared.startswith("BIT"):
        return Kind.OTHER
    return Kind.BOOLEAN if found is ColumnType.BOOLEAN else Kind.OTHER


def _kind_of_type(found: ColumnType) -> Kind:
    """For types that users made: an enum, a domain."""
    kinds = {ColumnType.NUMBER: Kind.DECIMAL, ColumnType.BOOLEAN: Kind.BOOLEAN}
    return kinds.get(found, Kind.OTHER)


def _time_kind(declared: str) -> Kind:
    if declared.startswith("YEAR"):
        return Kind.YEAR
    if "DATE" in declared:
        return Kind.TIMESTAMP if "TIME" in declared else Kind.DATE
    return Kind.TIMESTAMP if "STAMP" in declared else Kind.TIME


def _number_kind(column: Column, declared: str, dialect: str) -> Kind:
    if column.type is ColumnType.BOOLEAN and dialect == "mysql":
        return Kind.BOOLEAN  # tinyint(1)
    if "MONEY" in declared and dialect == "postgres":
        return Kind.OTHER
    if "INT" in declared or "SERIAL" in declared:
        return Kind.INTEGER
    return Kind.DECIMAL if re.search(r"DEC|NUM|FIXED|MONEY", declared) else Kind.DOUBLE


def kind_of(node: Expression, schema: Schema, dialect: str) -> Kind:
    """The kind of an expression's values; UNKNOWN for literals and stars."""
    match node:
        case ColumnRef(column=column):
            return column_kind(schema.columns[column], dialect)
        case Aggregate(function="MIN" | "MAX", argument=argument):
            kind = kind_of(argument, schema, dialect)
            return Kind.INTEGER if kind is Kind.BOOLEAN else kind
        case Aggregate(function="COUNT") | DatePart() | CountRows():
            return Kind.INTEGER
        case Aggregate(function="SUM", argument=argument):
            return _calculated((argument,), schema, dialect)
        case Arithmetic(operator="ADD" | "MINUS" | "TIMES", left=left, right=right):
            return _calculated((left, right), schema, dialect)
        case Aggregate() | Arithmetic() | Share():
            return Kind.DOUBLE
        case Scalar(query=query):
            return item_kinds(query, schema, dialect)[0]
    return Kind.UNKNOWN


def _calculated(parts: Iterable[Expression], schema: Schema, dialect: str) -> Kind:
    """Exact numbers stay exact: the sum of integers is a decimal to MySQL."""
    exact = (Kind.INTEGER, Kind.DECIMAL, Kind.YEAR, Kind.BOOLEAN)
    whole = all(kind_of(p, schema, dialect) in exact or isinstance(p, Literal) for p in parts)
    return Kind.DECIMAL if whole else Kind.DOUBLE


def item_kinds(query: Query, schema: Schema, dialect: str) -> tuple[Kind, ...]:
    """The kinds of a query's select items; a set operation's are those they agree on."""
    if isinstance(query, Select):
        return tuple(kind_of(item, schema, dialect) for item in query.items)
    sides = (item_kinds(side, schema, dialect) for side in (query.left, query.right))
    return tuple(common_kind(pair) for pair in zip(*sides, strict=False))


def common_kind(kinds: Iterable[Kind]) -> Kind:
    """A kind in which all can be compared: text where nothing else serves."""
    found = {_group(kind) for kind in kinds} - {Kind.UNKNOWN}
    if len(found) < 2:
        return found.pop() if found else Kind.UNKNOWN
    return Kind.DOUBLE if found == {Kind.DOUBLE, Kind.BOOLEAN} else Kind.TEXT


def _group(kind: Kind) -> Kind:
    if kind in NUMBERS:
        return Kind.DOUBLE
    return Kind.TIMESTAMP if kind in MOMENTS else kind


def agrees(kind: Kind, wanted: Kind) -> bool:
    """Whether values of `kind` need no cast to be compared as `wanted`."""
    return Kind.UNKNOWN in (kind, wanted) or _group(kind) is _group(wanted)


def as_kind(value: Value, kind: Kind) -> Value | bool | None:
    """A literal as a column of this kind can be compared with; None where it can't."""
    text = str(value)
    if kind in NUMBERS:
        return _as_number(value)
    if kind is Kind.BOOLEAN:
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    if kind in MOMENTS or kind is Kind.TIME:
        return text if isinstance(value, str) and _is_moment(text, kind) else None
    if kind is Kind.TEXT:
        return text
    return None if kind is Kind.OTHER else value


def _as_number(value: Value) -> Value | None:
    if not isinstance(value, str):
        return value
    if not _NUMBER.fullmatch(value):
        return None
    try:
        return int(value)
    except ValueError:
        return float(value)


def _is_moment(text: str, kind: Kind) -> bool:
    """Whether an engine reads the text as this kind without losing a part of it."""
    pattern = _TIME if kind is Kind.TIME else _MOMENT
    if not pattern.fullmatch(text) or (kind is Kind.DATE and len(text) > len("2000-01-01")):
        return False
    readers = {Kind.TIME: time.fromisoformat, Kind.DATE: date.fromisoformat}
    try:
        readers.get(kind, datetime.fromisoformat)(text)
    except ValueError:
        return False
    return True
