"""Does a query tree give the same rows from two engines that hold the same tables?

The reference is SQLite. Rows are compared as a bag, and in their order as far as the
query names it: numbers within a millionth, booleans as 1 and 0, moments as text. A
result that differs is explained by what its query rests on: `reason`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import isclose
from typing import Any

from plainsql.errors import PlainsqlError
from plainsql.execution.base import Engine, run_guarded
from plainsql.logical_form.grouping import bare_columns
from plainsql.logical_form.joins import plan_joins
from plainsql.logical_form.kinds import NUMBERS, Kind, kind_of
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import (
    Aggregate,
    Arithmetic,
    Between,
    Comparison,
    Expression,
    In,
    Like,
    Literal,
    Query,
    Select,
    SetOperation,
    walk,
)
from plainsql.records import Cell, Rows
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

SECONDS = 30.0  # for one statement
MOST_ROWS = 200_000
TIE = "a tie that LIMIT cuts"
BARE = "a column of any row of its group"
TEXT = "a text column taken for numbers"
MIXED = "a column that held numbers and texts, text in the copy"
COLLATION = "texts compared by the collation"
_TRUTH = {"T": 1, "t": 1, "true": 1, "F": 0, "f": 0, "false": 0}
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}.*)")


@dataclass(frozen=True, slots=True)
class Side:
    """One engine with the schema that its queries are written for."""

    engine: Engine
    schema: Schema
    graph: JoinGraph

    def sql(self, query: Query) -> str:
        """The query in the engine's dialect."""
        return to_sql(query, self.schema, self.graph, self.engine.dialect)

    def rows(self, query: Query) -> Rows:
        """Its rows, through the guard. Raises PlainsqlError."""
        return run_guarded(
            self.engine, self.sql(query), schema=self.schema, limit=MOST_ROWS, timeout=SECONDS
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one query fared. `reason` is "" where both sides gave the same rows."""

    sql: str
    reason: str = ""
    detail: str = ""


def compare_sides(query: Query, reference: Side, copy: Side) -> Outcome:
    """Run the query on both. Raises PlainsqlError when the reference itself fails."""
    wanted = reference.rows(query)
    sql = copy.sql(query)
    try:
        found = copy.rows(query)
    except PlainsqlError as error:
        return Outcome(sql, f"refused: {type(error).__name__}", error.message)
    if same_results(wanted.rows, found.rows, order_places(query)):
        return Outcome(sql)
    detail = f"{len(wanted.rows)} rows, {wanted.rows[:2]}; here {len(found.rows)}, {found.rows[:2]}"
    return Outcome(sql, reason(query, reference, copy), detail)


# -- rows ------------------------------------------------------------------------


def same_results(
    wanted: Sequence[tuple[Cell, ...]],
    found: Sequence[tuple[Cell, ...]],
    places: Sequence[int] = (),
) -> bool:
    """Whether both hold the same bag of rows, and the columns `places` in the same order."""
    if len(wanted) != len(found):
        return False
    truth = _boolean_places(wanted, found)
    left = [_plain(row, truth) for row in wanted]
    right = [_plain(row, ()) for row in found]
    ordered = all(_same(a[p], b[p]) for a, b in zip(left, right, strict=True) for p in places)
    pairs = zip(sorted(left, key=_key), sorted(right, key=_key), strict=True)
    return ordered and all(_same_row(a, b) for a, b in pairs)


def _boolean_places(
    wanted: Sequence[tuple[Cell, ...]], found: Sequence[tuple[Cell, ...]]
) -> Sequence[int]:
    """Columns in which SQLite holds 'T' and 'F', and the copy booleans."""
    columns = zip(zip(*wanted, strict=True), zip(*found, strict=False), strict=False)
    return [
        place
        for place, (left, right) in enumerate(columns)
        if set(left) - {None} <= set(_TRUTH) and set(right) <= {True, False, None}
    ]


def _plain(row: tuple[Cell, ...], truth: Sequence[int]) -> tuple[Any, ...]:
    return tuple(
        _TRUTH.get(str(cell), cell) if place in truth else _plain_cell(cell)
        for place, cell in enumerate(row)
    )


def _plain_cell(cell: Cell) -> Any:
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, Decimal):
        return float(cell)
    return _MOMENT.sub(r"\1 \2", cell) if isinstance(cell, str) else cell


def _key(row: tuple[Any, ...]) -> list[tuple[int, Any]]:
    """Sorts rows so that numbers that are nearly equal stand at the same place."""
    return [
        (0, float(f"{cell:.6g}")) if isinstance(cell, int | float) else (1, repr(cell))
        for cell in row
    ]


def _same_row(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    return len(left) == len(right) and all(map(_same, left, right))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return isclose(left, right, rel_tol=1e-6, abs_tol=1e-6)
    return bool(left == right)


def order_places(query: Query) -> list[int]:
    """The result columns whose order the query fixes: the first keys of ORDER BY shown."""
    if not isinstance(query, Select) or query.limit_per is not None:
        return []
    places: list[int] = []
    for order in query.order_by:
        if order.key not in query.items:
            break
        places.append(query.items.index(order.key))
    return places


# -- reasons ----------------------------------------------------------------------


def reason(query: Query, reference: Side, copy: Side) -> str:
    """Why the rows differ, as far as the query and the tables tell."""
    blocks = [node for node in walk(query) if isinstance(node, Select)]
    if any(_reads_text_as_number(block, copy) for block in blocks):
        return TEXT
    if any(_is_mixed(block, reference, copy) for block in blocks):
        return MIXED
    if any(_has_bare(block, reference) for block in blocks):
        return BARE
    if any(_is_cut_in_a_tie(block, reference) for block in blocks):
        return TIE
    return COLLATION if any(isinstance(node, Like) for node in walk(query)) else "unknown"


def _kind(node: Expression, side: Side) -> Kind:
    return kind_of(node, side.schema, side.engine.dialect)


def _reads_text_as_number(block: Select, copy: Side) -> bool:
    """A sum, a calculation or a comparison with a number, over a column of text."""
    for node in walk(block, into_queries=False):
        match node:
            case Aggregate(function="SUM" | "AVG", argument=argument):
                parts: tuple[Expression, ...] = (argument,)
            case Arithmetic(left=left, right=right):
                parts = (left, right)
            case Comparison(left=left, right=Literal(value=int() | float())):
                parts = (left,)
            case Between(left=left, low=Literal(value=int() | float())):
                parts = (left,)
            case _:
                continue
        if any(_kind(part, copy) is Kind.TEXT for part in parts):
            return True
    return False


def _is_mixed(block: Select, reference: Side, copy: Side) -> bool:
    """Whether the block reads a column declared as numbers in SQLite, text in the copy."""
    read = [node for node in walk(block) if not isinstance(node, Select | SetOperation | In)]
    kinds = ((_kind_in(node, reference), _kind_in(node, copy)) for node in read)
    return any(before in NUMBERS and after is Kind.TEXT for before, after in kinds)


def _kind_in(node: Any, side: Side) -> Kind:
    found: Kind = kind_of(node, side.schema, "sqlite")
    return found


def _has_bare(block: Select, side: Side) -> bool:
    joins = plan_joins(block, side.schema, side.graph)
    return bool(bare_columns(block, joins, side.schema))


def _is_cut_in_a_tie(block: Select, reference: Side) -> bool:
    """Whether the row after the last one that LIMIT keeps ranks the same."""
    if block.limit is None or not block.order_by:
        return False
    sources = plan_joins(block, reference.schema, reference.graph).sources
    tables = tuple(source.table for source in sources if source.instance == 0)
    keys = tuple(order.key for order in block.order_by)
    whole = replace(
        block, items=keys, distinct=False, limit=None, limit_per=None, extra_tables=tables
    )
    if block.limit_per is not None:
        return True  # ranks within each group: not followed up
    ranks = list(_ranks(whole, reference))
    last = int(block.limit.value)
    return 0 < last < len(ranks) and ranks[last - 1] == ranks[last]


def _ranks(query: Select, side: Side) -> Iterator[tuple[Cell, ...]]:
    try:
        yield from side.rows(query).rows
    except PlainsqlError:
        return
