"""The typed query tree the parser speaks: what a question asks, without FROM.

Columns and tables are positions in a `Schema` (see `plainsql.schema.model`).
FROM and ON are not part of the tree: `joins.plan_joins` infers them from the
tables in use. What inference would miss stands in `Select.extra_tables` (tables
that only filter) and `Select.join_hints` (which columns join). The idea of
leaving FROM out is SemQL's (Guo et al. 2019, https://arxiv.org/abs/1905.08205)
and NatSQL's (Gan et al. 2021, https://arxiv.org/abs/2109.05153).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plainsql.records import Value

AGGREGATES = ("COUNT", "SUM", "AVG", "MIN", "MAX")
DATE_PARTS = ("YEAR", "MONTH", "DAY", "QUARTER", "WEEKDAY")
ARITHMETIC = {"ADD": "+", "MINUS": "-", "TIMES": "*", "OVER": "/"}
COMPARISONS = {"EQ": "=", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
LIKE_MODES = ("CONTAINS", "STARTS", "ENDS", "LIKE")
SET_OPERATIONS = ("UNION", "UNION_ALL", "INTERSECT", "EXCEPT")


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column by its index; `instance` 1 is the second copy of its table."""

    column: int
    instance: int = 0


@dataclass(frozen=True, slots=True)
class Star:
    """All columns of a table, or inside COUNT its rows."""

    table: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Value


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`function(distinct argument)`; the function is one of AGGREGATES."""

    function: str
    argument: Expression
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`; the operator is a key of ARITHMETIC."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class DatePart:
    """One of DATE_PARTS of a date column, as a number."""

    part: str
    column: ColumnRef


@dataclass(frozen=True, slots=True)
class Share:
    """The percentage of rows for which the condition holds."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Scalar:
    """A sub-query of one column used as a value."""

    query: Query


@dataclass(frozen=True, slots=True)
class CountRows:
    """The number of rows of a whole query: the only item of its block."""

    query: Query


Expression = (
    ColumnRef | Star | Literal | Aggregate | Arithmetic | DatePart | Share | Scalar | CountRows
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`; the operator is a key of COMPARISONS."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Like:
    """A text match; `mode` is one of LIKE_MODES and says where the % stand."""

    mode: str
    left: Expression
    text: Literal
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """`low <= left <= high`."""

    left: Expression
    low: Expression
    high: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class In:
    """Membership in the rows of a sub-query of one column."""

    left: Expression
    query: Query
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """`left IS [NOT] NULL`."""

    left: Expression
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Logic:
    """Conditions joined by `operator`, "AND" or "OR"; at least two."""

    operator: str
    items: tuple[Condition, ...]


Condition = Comparison | Like | Between | In | IsNull | Logic


@dataclass(frozen=True, slots=True)
class Order:
    """One key of ORDER BY."""

    key: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT block. `limit_per` keeps `limit` rows for each of its values."""

    items: tuple[Expression, ...]
    distinct: bool = False
    where: Condition | None = None
    group_by: tuple[Expression, ...] = ()
    having: Condition | None = None
    order_by: tuple[Order, ...] = ()
    limit: Literal | None = None
    limit_per: ColumnRef | None = None
    extra_tables: tuple[int, ...] = ()
    join_hints: tuple[tuple[ColumnRef, ColumnRef], ...] = ()


@dataclass(frozen=True, slots=True)
class SetOperation:
    """Two queries of equal arity joined by one of SET_OPERATIONS."""

    operator: str
    left: Select
    right: Query


Query = Select | SetOperation
Node = Expression | Condition | Order | Query


def children(node: Node) -> Iterator[Node]:
    """The direct parts of a node, in the order they are written."""
    match node:
        case ColumnRef() | Star() | Literal():
            return
        case (
            Aggregate(argument=part)
            | Share(condition=part)
            | Scalar(query=part)
            | CountRows(query=part)
        ):
            yield part
        case DatePart(column=part) | Order(key=part) | IsNull(left=part):
            yield part
        case Arithmetic() | Comparison() | SetOperation():
            yield node.left
            yield node.right
        case Like():
            yield node.left
            yield node.text
        case Between():
            yield from (node.left, node.low, node.high)
        case In():
            yield node.left
            yield node.query
        case Logic():
            yield from node.items
        case Select():
            yield from _select_children(node)


def _select_children(select: Select) -> Iterator[Node]:
    yield from select.items
    if select.where is not None:
        yield select.where
    yield from select.group_by
    if select.having is not None:
        yield select.having
    yield from select.order_by
    if select.limit is not None:
        yield select.limit
    if select.limit_per is not None:
        yield select.limit_per


def walk(node: Node, *, into_queries: bool = True) -> Iterator[Node]:
    """The node and all below it, parents first.

    With `into_queries=False` the walk stays inside one SELECT block: nested
    queries are not entered.
    """
    yield node
    for child in children(node):
        if into_queries or not isinstance(child, Select | SetOperation):
            yield from walk(child, into_queries=into_queries)


def arity(query: Query) -> int:
    """Number of select items (a star counts as one)."""
    return len(query.items) if isinstance(query, Select) else arity(query.left)


def has_aggregate(node: Node) -> bool:
    """Whether the expression or condition aggregates rows in its own block."""
    return any(isinstance(n, Aggregate | Share) for n in walk(node, into_queries=False))
