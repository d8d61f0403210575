"""Values that PostgreSQL refuses for their types, though other engines take them.

Booleans compared with numbers and the other way round, and ROUND(x, 2) of a double.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from plainsql.logical_form.kinds import Kind, column_kind
from plainsql.schema.model import Column, Schema

Change = tuple[exp.Expr, exp.Expr]


def fit_types(tree: exp.Expr, dialect: str, schema: Schema | None) -> None:
    """Put values of the right type in place of the others."""
    for node, better in list(misfits(tree, dialect, schema)):
        node.replace(better)


def misfits(tree: exp.Expr, dialect: str, schema: Schema | None) -> Iterator[Change]:
    """Values of a wrong type, with what should stand there."""
    if dialect != "postgres" or schema is None:
        return
    tables = {table.name.lower() for table in tree.find_all(exp.Table)}
    columns = {
        column.name.lower(): column for column in schema.columns if column.table.lower() in tables
    }
    for comparison in tree.find_all(exp.EQ, exp.NEQ):
        yield from _booleans(comparison, columns)
    for rounded in tree.find_all(exp.Round):
        number = rounded.this
        if rounded.args.get("decimals") is not None and _is_double(number, columns):
            yield number, exp.Cast(this=number.copy(), to=exp.DataType.build("DECIMAL"))


def _is_double(node: exp.Expr, columns: dict[str, Column]) -> bool:
    found = (columns.get(column.name.lower()) for column in node.find_all(exp.Column))
    doubles = (column_kind(column, "postgres") is Kind.DOUBLE for column in found if column)
    return not isinstance(node, exp.Cast) and any(doubles)


def _booleans(node: exp.Expr, columns: dict[str, Column]) -> Iterator[Change]:
    column, value = node.this, node.expression
    found = columns.get(column.name.lower()) if isinstance(column, exp.Column) else None
    if found is None:
        return
    kind = column_kind(found, "postgres")
    if kind is Kind.BOOLEAN and isinstance(value, exp.Literal) and value.name in ("0", "1"):
        yield value, exp.Boolean(this=value.name == "1")
    elif kind is Kind.INTEGER and isinstance(value, exp.Boolean):
        yield value, exp.Literal.number(int(value.this))
