"""The forms that pairs of question and SQL come in, and how an entry of each is read.

| name | fields |
|---|---|
| spider | `question, query, db_id` (https://yale-lily.github.io/spider) |
| bird | `question, SQL, evidence, db_id` (https://bird-bench.github.io) |
| wikisql | `question, table_id, sql: {sel, agg, conds}`, or `…, query, columns` |
| sql-create-context | `question, context, answer`; the context is CREATE TABLE statements |
| pairs | `question`, `sql` or `query`, and `db` and/or `schema` (CREATE statements) |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from plainsql.errors import DataError
from plainsql.evaluation.datasets import DATABASE, EVIDENCE, QUESTION, SQL, text_field
from plainsql.training.data import wikisql

AUTO = "auto"
LOOKED_AT = 20  # entries that the form is told from


@dataclass(frozen=True, slots=True)
class OwnSchema:
    """What a row itself says of its schema, as text so that it can be a key."""

    form: Literal["ddl", "columns", "json"]
    text: str  # CREATE statements; [[name, type], …] of one table; schema.json_form


@dataclass(frozen=True, slots=True)
class Row:
    """One pair as it was read; empty fields were missing."""

    line: int  # where it stands in its source, from 1
    question: str = ""
    sql: str = ""
    db: str = ""
    evidence: str = ""
    own: OwnSchema | None = None
    error: str = ""  # why nothing could be read, "" where it could


Read = Callable[[Mapping[str, Any], wikisql.Headers], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """One form: the fields it is known by, and how they become those of a `Row`."""

    name: str
    fields: tuple[frozenset[str], ...]  # any of these sets of field names is enough
    read: Read


def _pair(entry: Mapping[str, Any], _: wikisql.Headers) -> dict[str, Any]:
    return {
        "question": text_field(entry, QUESTION),
        "sql": text_field(entry, (*SQL, "answer")),
        "db": text_field(entry, DATABASE),
        "evidence": text_field(entry, EVIDENCE),
        "own": _own(entry),
    }


def _own(entry: Mapping[str, Any]) -> OwnSchema | None:
    """The schema within a row: CREATE statements, or an object in plainsql's JSON form."""
    written = entry.get("schema")
    if isinstance(written, dict):
        return OwnSchema("json", json.dumps(written, sort_keys=True))
    ddl = text_field(entry, ("schema", "context", "ddl"))
    return OwnSchema("ddl", ddl) if ddl else None


def _wikisql(entry: Mapping[str, Any], headers: wikisql.Headers) -> dict[str, Any]:
    table = wikisql.table_of(entry, headers)
    written = json.dumps(table.columns) if table is not None else ""
    return {
        "question": text_field(entry, QUESTION),
        "sql": wikisql.sql_of(entry, table),
        "db": table.name if table is not None else text_field(entry, ("table_id",)),
        "own": OwnSchema("columns", written) if written else None,
    }


def _named(*names: str) -> frozenset[str]:
    return frozenset(names)


# In the order in which they are tried: the most telling fields first.
FORMATS = {
    item.name: item
    for item in (
        Format(
            "wikisql",
            (_named("question", "table_id"), _named("question", "table{}", "sql{}")),
            _wikisql,
        ),
        Format("sql-create-context", (_named("question", "context", "answer"),), _pair),
        Format("spider", (_named("question", "query", "db_id"),), _pair),
        Format("bird", (_named("question", "sql", "evidence", "db_id"),), _pair),
        Format("pairs", (_named("question"),), _pair),
    )
}


def format_of(values: Iterable[object], wanted: str, source: str) -> Format:
    """The form called `wanted`, or with "auto" that of the first `values` of a source.

    Raises `DataError` for an unknown name, or where no form has the fields there are.
    """
    if wanted != AUTO:
        if wanted not in FORMATS:
            known = ", ".join((AUTO, *FORMATS))
            raise DataError(f"There is no format {wanted!r}.", hint=f"Formats: {known}.")
        return FORMATS[wanted]
    names = set(_names(values))
    for item in FORMATS.values():
        if any(fields <= names for fields in item.fields):
            return item
    shown = ", ".join(sorted(name for name in names if not name.endswith("{}"))) or "none"
    raise DataError(
        f"{source}: the form is not recognised; the fields are {shown}.",
        hint="Rows need question, sql (or query), and db or schema.",
    )


def _whole(value: Any) -> Any:
    """Text without half characters (lone surrogates), which no tokenizer or engine takes."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _names(values: Iterable[object]) -> Iterator[str]:
    """The fields of any of the values (a row may lack some); with {} those that hold objects."""
    for value in values:
        for key, content in value.items() if isinstance(value, dict) else ():
            name = str(key).strip().lower()
            yield name
            if isinstance(content, dict):
                yield name + "{}"


def read_row(item: Format, line: int, value: object, headers: wikisql.Headers) -> Row:
    """`value` as a row; what can't be read has its `error` set."""
    if not isinstance(value, dict):
        return Row(line, error="not an object with named fields")
    try:
        return Row(
            line, **{name: _whole(field) for name, field in item.read(value, headers).items()}
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        question = text_field(value, QUESTION)
        return Row(line, question, error=f"not in the form of {item.name}: {error!r}")
