"""The nodes a query may point to: tables, columns and value candidates in reach."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.not_covered import NotCovered
from plainsql.logical_form.symbols import CODE, CONSTANTS, SYMBOLS
from plainsql.records import Value, ValueCandidate
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, ColumnType, Schema


class Space:
    """Binds actions to one schema and one question's values.

    Nodes stand in the order tables, columns, values; node n is action
    `len(SYMBOLS) + n`. `tables` and `columns` are schema indexes: a narrowed
    schema simply has fewer of them.
    """

    def __init__(
        self,
        schema: Schema,
        graph: JoinGraph,
        tables: tuple[int, ...],
        columns: tuple[int, ...],
        values: tuple[ValueCandidate, ...],
    ) -> None:
        self.schema = schema
        self.graph = graph
        self.tables = tables
        self.columns = columns
        self.values = values
        self.first_column = len(tables)
        self.first_value = len(tables) + len(columns)
        self.node_count = self.first_value + len(values)
        self.action_count = len(SYMBOLS) + self.node_count

    # -- actions to names and back ----------------------------------------

    def kind(self, action: int) -> str:
        """What a pointer action points to: "table", "column" or "value"."""
        node = action - len(SYMBOLS)
        if node < self.first_column:
            return "table"
        return "column" if node < self.first_value else "value"

    def table_action(self, table: int) -> int:
        """Raises `NotCovered` (a ValueError) for a table out of reach."""
        return len(SYMBOLS) + _position(self._table_nodes, table, "table")

    def column_action(self, column: int) -> int:
        """Raises `NotCovered` (a ValueError) for a column out of reach."""
        return len(SYMBOLS) + _position(self._column_nodes, column, "column")

    def value_action(self, value: Value) -> int | None:
        """The candidate equal to the value, ignoring case at last, or a constant."""
        for same in (_same, _alike):
            for position, candidate in enumerate(self.values):
                if same(candidate.value, value):
                    return len(SYMBOLS) + self.first_value + position
        for name, number in CONSTANTS.items():
            if _same(number, value):
                return CODE[name]
        return None

    def table_at(self, action: int) -> int:
        return self.tables[action - len(SYMBOLS)]

    def column_at(self, action: int) -> int:
        return self.columns[action - len(SYMBOLS) - self.first_column]

    def value_at(self, action: int) -> Value:
        return self.values[action - len(SYMBOLS) - self.first_value].value

    @cached_property
    def _table_nodes(self) -> dict[int, int]:
        return {table: i for i, table in enumerate(self.tables)}

    @cached_property
    def _column_nodes(self) -> dict[int, int]:
        return {column: self.first_column + i for i, column in enumerate(self.columns)}

    # -- arrays over nodes: T tables, C columns, V values, N = T + C + V ----

    @cached_property
    def node_table(self) -> NDArray[np.int64]:
        """(N,) position in `tables` of each node's table, -1 for values."""
        position = {table: i for i, table in enumerate(self.tables)}
        owners = [position[self.schema.table_of[column]] for column in self.columns]
        return np.array([*range(len(self.tables)), *owners, *([-1] * len(self.values))], np.int64)

    @cached_property
    def component(self) -> NDArray[np.int64]:
        """(T,) tables with the same number can be joined through keys."""
        seen: dict[int, int] = {}
        for table in self.tables:
            if table not in seen:
                _flood(self.graph, table, seen)
        return np.array([seen[table] for table in self.tables], np.int64)

    @cached_property
    def adjacent(self) -> NDArray[np.bool_]:
        """(T, T) whether a key links two tables directly."""
        near = [self.graph.neighbours(table) for table in self.tables]
        return np.array([[b in near[a] for b in self.tables] for a in range(len(near))], bool)

    @cached_property
    def key_partner(self) -> NDArray[np.bool_]:
        """(C, C) whether two columns are the two ends of a key."""
        linked = np.zeros((len(self.columns), len(self.columns)), bool)
        nodes = {column: i for i, column in enumerate(self.columns)}
        for key in self.schema.foreign_keys:
            for name, other in zip(key.columns, key.ref_columns, strict=True):
                a = nodes.get(self.schema.column_index(key.table, name))
                b = nodes.get(self.schema.column_index(key.ref_table, other))
                if a is not None and b is not None:
                    linked[a, b] = linked[b, a] = True
        return linked

    @cached_property
    def found_in(self) -> NDArray[np.bool_]:
        """(C, V) whether a value occurs as a cell of a column."""
        nodes = {column: i for i, column in enumerate(self.columns)}
        found = np.zeros((len(self.columns), len(self.values)), bool)
        for v, value in enumerate(self.values):
            for column in value.columns:
                if column in nodes:
                    found[nodes[column], v] = True
        return found

    @cached_property
    def numeric_value(self) -> NDArray[np.bool_]:
        """(V,) whether a value is a number."""
        return np.array([_number(v.value) is not None for v in self.values], bool)

    @cached_property
    def whole_value(self) -> NDArray[np.bool_]:
        """(V,) whether a value can be a LIMIT."""
        return np.array([isinstance(v.value, int) and v.value > 0 for v in self.values], bool)

    def columns_of_type(self, *types: ColumnType) -> NDArray[np.bool_]:
        """(C,) whether a column has one of the types."""
        return np.array([self.schema.columns[c].type in types for c in self.columns], bool)

    @cached_property
    def numeric_column(self) -> NDArray[np.bool_]:
        """(C,) columns that SUM and AVG make sense of: by type, or by what they hold."""
        return np.array([_holds_numbers(self.schema.columns[c]) for c in self.columns], bool)

    @cached_property
    def date_column(self) -> NDArray[np.bool_]:
        """(C,) columns that may hold dates."""
        return self.columns_of_type(ColumnType.TIME, ColumnType.TEXT, ColumnType.OTHER)

    @cached_property
    def number_column(self) -> NDArray[np.bool_]:
        """(C,) columns declared as numbers: compared with numbers alone."""
        return self.columns_of_type(ColumnType.NUMBER)

    @cached_property
    def full_date_column(self) -> NDArray[np.bool_]:
        """(C,) columns whose samples are all days or times: a bare year never equals them."""
        return np.array([_holds_dates(self.schema.columns[c]) for c in self.columns], bool)

    @cached_property
    def width(self) -> NDArray[np.int64]:
        """(T,) number of columns a star over the table stands for."""
        return np.array([len(self.schema.tables[t].columns) for t in self.tables], np.int64)


def _flood(graph: JoinGraph, start: int, seen: dict[int, int]) -> None:
    """Numbers every table that keys connect with `start`."""
    queue = [start]
    seen[start] = start
    while queue:
        for other in graph.neighbours(queue.pop()):
            if other not in seen:
                seen[other] = start
                queue.append(other)


def _position(nodes: dict[int, int], key: int, what: str) -> int:
    try:
        return nodes[key]
    except KeyError:
        raise NotCovered(f"{what} {key} out of reach") from None


def _same(a: Value, b: Value) -> bool:
    return str(a) == str(b) or (_number(a) is not None and _number(a) == _number(b))


def _alike(a: Value, b: Value) -> bool:
    return str(a).strip().lower() == str(b).strip().lower()


def _holds_numbers(column: Column) -> bool:
    if column.type in (ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.OTHER):
        return True
    return all(_number(sample) is not None for sample in column.samples)


_FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _holds_dates(column: Column) -> bool:
    return bool(column.samples) and all(_FULL_DATE.match(sample) for sample in column.samples)


def _number(value: Value) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
