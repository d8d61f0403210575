"""The queries that read a column's distinct values, in any dialect.

These are the program's own: made from the schema's names and nothing else, and
judged by the guard like every other before they run.
"""

from __future__ import annotations

import re

from sqlglot import exp

from plainsql.schema.model import Column, Table

# Rows of a table that are looked at; of a larger one, those that come first.
ROWS = 2_000_000
_TEXT_TYPES = re.compile(r"(?i)\b(var)?char|\btext\b|\bstring\b|\bclob\b|text$")


def distinct_values(
    table: Table, column: Column, dialect: str, *, most: int, length: int | None = None
) -> str:
    """SQL for up to `most` distinct values of a column, without NULL, in no order.

    With `length` they are wanted as text of at most so many characters: enums,
    dates and the like are cast.
    """
    cell = exp.column(exp.to_identifier(column.name, quoted=True))
    found: exp.Expression = cell
    conditions: list[exp.Expression] = [cell.copy().is_(exp.null()).not_()]
    if length is not None:
        if not _TEXT_TYPES.search(column.declared_type):
            found = exp.cast(found, exp.DataType.Type.TEXT)
        conditions.append(exp.LTE(this=exp.Length(this=found.copy()), expression=_number(length)))
    source = exp.table_(
        exp.to_identifier(table.bare_name, quoted=True),
        db=exp.to_identifier(table.namespace, quoted=True) if table.namespace else None,
    )
    named = exp.alias_(found, "v", quoted=True)
    if table.row_count is not None and table.row_count <= ROWS:
        query = exp.select(named).distinct().from_(source).where(*conditions).limit(most)
        return query.sql(dialect=dialect)
    inner = exp.select(named).from_(source).where(*conditions).limit(ROWS)
    value = exp.column(exp.to_identifier("v", quoted=True))
    return exp.select(value).distinct().from_(inner.subquery("s")).limit(most).sql(dialect=dialect)


def _number(value: int) -> exp.Expression:
    return exp.Literal.number(value)
