"""WikiSQL questions with databases to ask, made from what the queries look for.

The copies of WikiSQL with SQL have no cells. So each table gets, for every query over it, a
row that fits the query, and further rows; all other cells are drawn from what any query
compares a column of that name with. A wrong query mostly gives other rows then.
Data: https://github.com/salesforce/WikiSQL (Zhong et al. 2017, arXiv 1709.00103).
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

FURTHER_ROWS = 12
Pools = Mapping[str, Sequence[str]]
Condition = tuple[str, str, str]  # column, operator, value


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its gold query, over the database `db`."""

    db: str
    text: str
    gold: str


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file in lower case, as the model was trained; odd queries are left out.

    WikiSQL's own measure of accuracy ignores case.
    """
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line.lower()) for line in lines]
    return [row for row in rows if conditions(row["query"]) is not None]


def conditions(query: str) -> list[Condition] | None:
    """What a query compares columns with; None where it isn't of WikiSQL's one form."""
    try:
        tree = sqlglot.parse_one(query, read="sqlite")
    except sqlglot.errors.SqlglotError:
        return None
    found = []
    for node in tree.find_all(exp.EQ, exp.GT, exp.LT):
        if not isinstance(node.this, exp.Column):
            return None
        operator = {"eq": "=", "gt": ">", "lt": "<"}[node.key]
        found.append((node.this.name, operator, node.expression.name))
    return found


def pools(rows: Iterable[Mapping[str, Any]]) -> Pools:
    """For each name of a column, the values that queries compare it with."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for column, _, value in conditions(row["query"]) or ():
            found[column].add(value)
    return {column: sorted(values) for column, values in found.items()}


def make(
    rows: Sequence[Mapping[str, Any]], wanted: int, cells: Pools, folder: Path, seed: int = 0
) -> list[Question]:
    """`wanted` questions of `rows`, by chance, with a database for each set of columns."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        tables[tuple(dict.fromkeys(row["columns"]))].append(row)
    chosen = random.Random(seed).sample(list(rows), min(wanted, len(rows)))
    questions = []
    names: dict[tuple[str, ...], str] = {}
    for row in chosen:
        key = tuple(dict.fromkeys(row["columns"]))
        if key not in names:
            names[key] = f"t{len(names)}"
            _write(folder / f"{names[key]}.sqlite", key, tables[key], cells, seed)
        questions.append(Question(names[key], row["question"], row["query"]))
    return questions


def _write(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    cells: Pools,
    seed: int,
) -> None:
    draw = random.Random(f"{seed} {columns}")
    fitting = [conditions(row["query"]) or [] for row in rows[:FURTHER_ROWS]]
    table = [_row(columns, fit, cells, draw) for fit in fitting + [[]] * FURTHER_ROWS]
    draw.shuffle(table)
    quoted = ['"' + column.replace('"', '""') + '" TEXT' for column in columns]
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'CREATE TABLE "table" ({", ".join(quoted)})')
        marks = ",".join("?" * len(columns))
        connection.executemany(f'INSERT INTO "table" VALUES ({marks})', table)
        connection.commit()


def _row(
    columns: Sequence[str], fit: Sequence[Condition], cells: Pools, draw: random.Random
) -> list[str]:
    """A row that fits the conditions."""
    wanted = {column: _fitting(operator, value) for column, operator, value in fit}
    return [wanted.get(column) or _any(column, cells, draw) for column in columns]


def _fitting(operator: str, value: str) -> str:
    if operator == "=":
        return value
    try:
        number = float(value.replace(",", "")) + (1 if operator == ">" else -1)
    except ValueError:
        return value + "z" if operator == ">" else ""
    return f"{number:g}"


def _any(column: str, cells: Pools, draw: random.Random) -> str:
    pool = cells.get(column, ())
    return draw.choice(pool) if len(pool) > 3 else f"{column[:12]} {draw.randrange(40)}"
