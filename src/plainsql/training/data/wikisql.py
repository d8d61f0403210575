"""WikiSQL's entries: https://github.com/salesforce/WikiSQL (Zhong et al. 2017).

The release writes a query as numbers (`sel`, `agg`, `conds`) over the header of a
table that lies in `<split>.tables.jsonl` beside the questions, or, in copies on
the Hub, in the entry itself. Other copies hold the query as SQL and the columns
by name. Either way the one table is called `table`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainsql.evaluation.datasets import text_field

TABLE = "table"
AGGREGATES = ("", "MAX", "MIN", "COUNT", "SUM", "AVG")
OPERATORS = ("=", ">", "<")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Headers:
    """The tables beside a file of questions, by id; cells are left out."""

    tables: Mapping[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class WikiTable:
    """One table: its id, and the name and type ("text", "real") of each column."""

    name: str
    columns: tuple[tuple[str, str], ...]


def read_headers(path: Path) -> Headers:
    """The headers of `<split>.tables.jsonl` beside the questions at `path`, if it is there.

    Raises OSError, and ValueError or KeyError where the file is of another form.
    """
    beside = path.with_name(f"{path.stem}.tables.jsonl")
    if not beside.is_file():
        return Headers({})
    with beside.open(encoding="utf-8") as lines:
        forms = (json.loads(line) for line in lines if line.strip())
        return Headers({form["id"]: columns_of(form) for form in forms})


def columns_of(form: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The columns of a table with `header` and `types`; headers that repeat are numbered."""
    header = form["header"]
    types = form.get("types") or ["text"] * len(header)
    return tuple(zip(_distinct(map(str, header)), map(str, types), strict=True))


def _distinct(names: Iterable[str]) -> list[str]:
    taken: set[str] = set()
    found = []
    for at, name in enumerate(names):
        plain = " ".join(name.split()) or f"column {at + 1}"
        text, number = plain, 1
        while text.lower() in taken:
            number += 1
            text = f"{plain} {number}"
        taken.add(text.lower())
        found.append(text)
    return found


def table_of(entry: Mapping[str, Any], headers: Headers) -> WikiTable | None:
    """The table an entry is about, None where nobody says what its columns are."""
    within = entry.get("table")
    if isinstance(within, dict):
        return WikiTable(str(within.get("id") or within.get("name") or ""), columns_of(within))
    name = text_field(entry, ("table_id",))
    if isinstance(entry.get("columns"), list):
        # some copies repeat a column
        columns = dict.fromkeys(str(column) for column in entry["columns"])
        return WikiTable(name, tuple((column, "") for column in columns))
    columns_beside = headers.tables.get(name)
    return None if columns_beside is None else WikiTable(name, columns_beside)


def sql_of(entry: Mapping[str, Any], table: WikiTable | None) -> str:
    """The query as SQL. Raises KeyError, IndexError or ValueError for numbers out of range."""
    form = entry.get("sql")
    if not isinstance(form, dict):
        return text_field(entry, ("query", "sql"))
    if table is None:
        return ""  # the row is turned away for its missing table
    item = _quoted(table.columns[int(form["sel"])][0])
    aggregate = AGGREGATES[int(form["agg"])]
    selected = f"{aggregate}({item})" if aggregate else item
    conditions = " AND ".join(_condition(table, *parts) for parts in _conditions(form["conds"]))
    where = f" WHERE {conditions}" if conditions else ""
    return f"SELECT {selected} FROM {_quoted(TABLE)}{where}"


def _conditions(written: Any) -> Iterable[tuple[int, int, Any]]:
    """Triples of column, operator and value; copies on the Hub hold three lists instead."""
    if isinstance(written, dict):
        lists = (written[name] for name in ("column_index", "operator_index", "condition"))
        return list(zip(*lists, strict=True))
    return [(int(column), int(operator), value) for column, operator, value in written]


def _condition(table: WikiTable, column: int, operator: int, value: Any) -> str:
    name, kind = table.columns[column]
    return f"{_quoted(name)} {OPERATORS[operator]} {_literal(value, kind)}"


def _literal(value: Any, kind: str) -> str:
    text = str(value)
    if kind == "real" and _NUMBER.fullmatch(text.strip()):
        return text.strip()
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
