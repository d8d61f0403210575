"""PostgreSQL's values as cells: most of them are the text that the server writes.

The driver's own date types know no years BC, no 10000 and no infinity, its JSON
loses digits, its ranges and addresses are written unlike the server's. So only
numbers, booleans, blobs and arrays are taken apart here; of the rest the text
is right as it comes, given the settings of `postgresql_session.SETTINGS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Loader, RecursiveLoader
from psycopg.pq import Format
from psycopg.types import TypeInfo
from psycopg.types.string import TextLoader

RECORD = 2249  # the oid of records without a type of their own
# Types whose loaders of the driver's give what `records.Cell` holds.
_DRIVERS_OWN = frozenset("bool int2 int4 int8 oid float4 float8 numeric bytea".split())
_FIELD = re.compile(rb'(?:"((?:[^"]|"")*)"|([^,"]*)),')
_SPACES = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
# 2024-05-01 10:00:00.5+02 BC: date, time, fraction, offset, era
_MOMENT = re.compile(
    r"(?:(\d+-\d\d-\d\d) )?(\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d(?::\d\d)*)?( BC)?", re.ASCII
)


class _Moment(Loader):
    """Times and timestamps: ISO 8601 as Python writes it; "infinity" stays."""

    def load(self, data: Buffer) -> str:
        return iso_moment(bytes(data).decode())


class _Json(Loader):
    """JSON as it is, without the spaces between its parts; digits aren't touched."""

    def load(self, data: Buffer) -> str:
        return _SPACES.sub(lambda part: part[1] or "", bytes(data).decode())


class _LenientText(Loader):
    """Text of a database whose encoding isn't known (SQL_ASCII): what isn't UTF-8 is replaced."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


class _Record(RecursiveLoader):
    """A record as a dict; one without a type of its own, whose fields are texts, as a list."""

    fields: tuple[tuple[str, int], ...] = ()

    def load(self, data: Buffer) -> Any:
        texts = list(_record_fields(bytes(data)))
        if not self.fields:
            return [None if text is None else text.decode("utf-8", "replace") for text in texts]
        return {
            name: None if text is None else self._tx.get_loader(oid, Format.TEXT).load(text)
            for (name, oid), text in zip(self.fields, texts, strict=False)
        }


def _record_fields(data: bytes) -> Iterator[bytes | None]:
    """(1,"a b",,"") -> 1, a b, None and the empty text: how the server writes a record."""
    for field in _FIELD.finditer(data[1:-1] + b","):
        if field[2] is not None:
            yield field[2] or None
        else:
            yield field[1].replace(b'""', b'"').replace(b"\\\\", b"\\")


_SPECIAL: dict[str, type[Loader]] = {
    "record": _Record,
    "time": _Moment,
    "timetz": _Moment,
    "timestamp": _Moment,
    "timestamptz": _Moment,
    "json": _Json,
    "jsonb": _Json,
}


def iso_moment(text: str) -> str:
    """ "2024-05-01 10:00:00.5+02" -> "2024-05-01T10:00:00.500000+02:00"."""
    parts = _MOMENT.fullmatch(text)
    if parts is None:  # infinity
        return text
    day, clock, fraction, offset, era = parts.groups("")
    fraction = fraction.ljust(7, "0") if fraction else ""
    offset += ":00" if len(offset) == 3 else ""
    return f"{day}T{clock}{fraction}{offset}{era}" if day else clock + fraction + offset


@dataclass(frozen=True)
class Context:
    """What the driver's `Transformer` asks for (psycopg.abc.AdaptContext)."""

    connection: psycopg.Connection[Any]
    adapters: AdaptersMap


def adapters(*, lenient: bool = False) -> AdaptersMap:
    """A copy of the adapters with our loaders, to which a connection may add its own."""
    return AdaptersMap(_adapters(lenient))


@cache
def _adapters(lenient: bool) -> AdaptersMap:
    """The driver's adapters with our loaders; `lenient` for databases without an encoding."""
    found = AdaptersMap(psycopg.adapters)
    text = _LenientText if lenient else TextLoader
    arrays = array_oids(found)
    for info in found.types:
        if info.name not in _DRIVERS_OWN and info.oid not in arrays:
            found.register_loader(info.oid, _SPECIAL.get(info.name, text))
    found.register_loader(0, text)  # types the driver doesn't know: enums, extensions
    return found


def array_oids(known: AdaptersMap) -> frozenset[int]:
    """The types that are read as lists."""
    return frozenset(info.array_oid for info in known.types if info.array_oid)


def register_array(context: Context, name: str, oid: int, array_oid: int, delimiter: str) -> None:
    """Let arrays of a type that the database defines (an enum) be read as lists."""
    TypeInfo(name, oid, array_oid, delimiter=delimiter).register(context)


def register_record(context: Context, oid: int, fields: tuple[tuple[str, int], ...]) -> None:
    """Let values of a composite type be read as dicts; `fields` are names and types."""
    context.adapters.register_loader(oid, type("_NamedRecord", (_Record,), {"fields": fields}))
