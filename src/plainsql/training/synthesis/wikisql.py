"""WikiSQL's training questions as clean SQL over one table.

The release has no cells and lists only the columns that some question uses, so
types are guessed from how columns are compared.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import (
    Aggregate,
    ColumnRef,
    Comparison,
    Literal,
    Query,
    Select,
    Star,
    walk,
)
from plainsql.schema.graph import JoinGraph
from plainsql.schema.json_form import to_json
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.training.synthesis.agreement import agree
from plainsql.training.synthesis.output import Pair, question_key
from plainsql.training.synthesis.rewrite import keep, rewrite
from plainsql.training.synthesis.web_tables import WebColumn, identifiers, table_name

_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def read_tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a WikiSQL file by table."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            found[row["table_id"]].append(row)
    return found


def convert_table(table_id: str, rows: list[dict[str, Any]], rng: random.Random) -> list[Pair]:
    """The pairs of one table whose SQL the query tree covers."""
    raw = _raw_schema(table_id, rows[0]["columns"])
    graph = JoinGraph(raw)
    trees = []
    for row in rows:
        try:
            read = _without_quotes(from_sql(row["query"], raw, graph))
            tree = _counting_rows(read, row["question"], raw)
        except NotCovered:
            continue
        if agree(row["question"], to_sql(tree, raw, graph)):
            trees.append((row["question"], tree))
    schema = _named(raw, _number_columns(raw, [tree for _, tree in trees]), rng)
    written = to_json(schema)
    return [
        Pair(
            "",
            f"wikisql_{table_id}",
            tidy(question),
            to_sql(tree, schema, graph),
            "wikisql",
            written,
        )
        for question, tree in trees
    ]


def _without_quotes(tree: Query) -> Query:
    """Texts without quotation marks around them, which titles in WikiSQL have."""

    def bare(literal: Literal, owner: object) -> Literal:
        value = literal.value
        return Literal(value.strip('" ') or value) if isinstance(value, str) else literal

    return rewrite(tree, keep, keep, bare)


def _counting_rows(tree: Query, question: str, schema: Schema) -> Query:
    """COUNT(column) as COUNT(*) where the question does not speak of the column.

    WikiSQL has no COUNT(*) and counts any column instead.
    """
    item = tree.items[0] if isinstance(tree, Select) else None
    if not (isinstance(item, Aggregate) and item.function == "COUNT"):
        return tree
    column = getattr(item.argument, "column", None)
    said = question.lower()
    if column is None or any(w in said for w in schema.columns[column].natural.split()):
        return tree
    assert isinstance(tree, Select)
    return replace(tree, items=(Aggregate("COUNT", Star(0)),))


def tidy(question: str) -> str:
    """Blanks made single, and none before the mark at the end."""
    return re.sub(r"\s+([?.])$", r"\1", re.sub(r"\s+", " ", question).strip())


def _raw_schema(table_id: str, names: Iterable[str]) -> Schema:
    once: dict[str, str] = {}
    for name in names:
        once.setdefault(_natural(name), name)  # headers repeat
    columns = tuple(
        Column("table", name, ColumnType.TEXT, natural) for natural, name in once.items()
    )
    return Schema(table_id, (Table("table", columns, "table"),))


def _natural(name: str) -> str:
    text = re.sub(r"[^\w%]+|_", " ", name.lower().replace("%", " percent "))
    return re.sub(r"\s+", " ", text).strip() or "value"


def _number_columns(schema: Schema, trees: Iterable[Any]) -> frozenset[int]:
    """Columns that are compared with numbers only, or that are added up."""
    numeric: set[int] = set()
    texts: set[int] = set()
    for tree in trees:
        for node in walk(tree):
            match node:
                case Aggregate(function="SUM" | "AVG", argument=ColumnRef(column=column)):
                    numeric.add(column)
            if isinstance(node, Comparison) and isinstance(node.left, ColumnRef):
                value = getattr(node.right, "value", "")
                plain = not isinstance(value, str) or _PLAIN_NUMBER.fullmatch(value)
                ordered = node.operator not in ("EQ", "NE")
                (numeric if plain or ordered else texts).add(node.left.column)
    return frozenset(numeric - texts)


def _named(raw: Schema, numbers: frozenset[int], rng: random.Random) -> Schema:
    """The schema with a telling table name and identifiers in one style."""
    naturals = [column.natural for column in raw.columns]
    table = table_name([WebColumn(natural, "TEXT", ()) for natural in naturals], rng)
    columns = tuple(
        Column(
            table,
            name,
            ColumnType.NUMBER if at in numbers else ColumnType.TEXT,
            naturals[at],
        )
        for at, name in enumerate(identifiers(naturals, rng))
    )
    return Schema(raw.name, (Table(table, columns, table),))


def wikisql_pairs(
    path: Path, total: int, rng: random.Random, *, banned: Collection[str] = ()
) -> list[Pair]:
    """A sample of `total` pairs with distinct questions."""
    tables = sorted(read_tables(path).items())
    rng.shuffle(tables)
    seen = set(banned)
    pairs: list[Pair] = []
    for table_id, rows in tables:
        for pair in convert_table(table_id, rows, rng):
            key = question_key(pair.question)
            if key not in seen and len(key.split()) > 2:
                seen.add(key)
                pairs.append(pair)
        if len(pairs) >= total:
            break
    return pairs[:total]
