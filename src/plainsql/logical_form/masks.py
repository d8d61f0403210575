"""What the automaton allows, as arrays.

The masks keep to queries that execute: tables that keys can join, SUM and AVG
over numbers, no item twice, equal arity on both sides of a set operation, no
aggregate in WHERE. Notation as in `Space`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.grammar import Block, State
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import (
    CODE,
    CONSTANTS,
    MAX_DEPTH,
    SYMBOLS,
)
from plainsql.logical_form.tree import (
    ARITHMETIC,
    COMPARISONS,
    DATE_PARTS,
    LIKE_MODES,
    SET_OPERATIONS,
)
from plainsql.schema.model import ColumnType

MAX_ITEMS = 8
_S = len(SYMBOLS)
_Mask = NDArray[np.bool_]
# The clauses that may follow each part of a block.
_AFTER: dict[str, tuple[str, ...]] = {
    "MORE_ITEMS": ("WHERE", "GROUP", "ASC", "DESC", "LIMIT"),
    "MORE_WHERE": ("AND", "OR", "GROUP", "ASC", "DESC", "LIMIT"),
    "MORE_GROUP": ("HAVING", "ASC", "DESC", "LIMIT"),
    "MORE_HAVING": ("AND", "OR", "ASC", "DESC", "LIMIT"),
    "MORE_ORDER": ("ASC", "DESC", "LIMIT"),
    "MORE_LIMIT": ("PER",),
    "MORE_JOIN": (),
}


class Masks:
    """Masks over one `Space`; stateless but for cached arrays."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.column_table = space.node_table[space.first_column : space.first_value]
        self._handlers: dict[str, Callable[[State, _Mask], None]] = {
            "QUERY": self._query,
            "ITEM": self._item,
            "COUNT_ARGUMENT": self._count_argument,
            "NUMBER_ARGUMENT": self._number_argument,
            "ANY_ARGUMENT": self._any_argument,
            "SECOND_COLUMN": self._second_column,
            "OPERAND": self._operand,
            "AGGREGATE_OPERAND": self._aggregate_operand,
            "DATE_COLUMN": self._date_column,
            "LEFT": self._left,
            "HAVING_LEFT": self._having_left,
            "OPERATOR": self._operator,
            "NEGATED_OPERATOR": self._negated_operator,
            "RIGHT": self._right,
            "TEXT": self._text,
            "BOUND": self._bound,
            "GROUP_KEY": self._group_key,
            "ORDER_KEY": self._order_key,
            "LIMIT_VALUE": self._limit_value,
            "PER_COLUMN": self._any_column,
            "JOIN_TABLE": self._join_table,
            "ON_LEFT": self._on_left,
            "ON_RIGHT": self._on_right,
            "CLOSED": lambda state, mask: None,
        }

    def allowed(self, state: State) -> _Mask:
        """(S + N,) the actions that may come next."""
        mask = np.zeros(self.space.action_count, bool)
        if state.name in _AFTER:
            self._after(state, mask)
        else:
            self._handlers[state.name](state, mask)
        self._no_doubles(state, mask)
        return mask

    # -- helpers ---------------------------------------------------------

    def _columns(self, mask: _Mask) -> _Mask:
        """The part of a mask that stands for columns: (C,), a view."""
        return mask[_S + self.space.first_column : _S + self.space.first_value]

    def _tables(self, mask: _Mask) -> _Mask:
        return mask[_S : _S + self.space.first_column]

    def _values(self, mask: _Mask) -> _Mask:
        return mask[_S + self.space.first_value :]

    def _reach(self, block: Block) -> _Mask:
        """(T,) tables that keys connect with those in use."""
        component = self.space.component
        if not block.tables:
            return np.ones(len(component), bool)
        near: _Mask = component == component[next(iter(block.tables))]
        return near

    def _near(self, block: Block) -> _Mask:
        """(C,) columns of tables within reach."""
        return self._reach(block)[self.column_table]

    def _symbols(self, mask: _Mask, *names: str) -> None:
        for name in names:
            mask[CODE[name]] = True

    def _aggregates(self, state: State, mask: _Mask) -> None:
        near = self._near(state.blocks[-1])
        if near.any():
            self._symbols(mask, "MIN", "MAX", "COUNT_DISTINCT")
        if (near & self.space.numeric_column).any():
            self._symbols(mask, "SUM", "AVG", "SUM_DISTINCT", "AVG_DISTINCT")
        self._symbols(mask, "COUNT")

    def _scalars(self, state: State, mask: _Mask) -> None:
        """Columns and what is computed from one row of columns."""
        near = self._near(state.blocks[-1])
        self._columns(mask)[:] |= near
        if state.blocks[-1].tables:
            self._symbols(mask, "SECOND")
        if (near & self.space.date_column).any():
            self._symbols(mask, *DATE_PARTS)
        if (near & self.space.numeric_column).any():
            self._symbols(mask, *ARITHMETIC)

    def _nestable(self, state: State) -> bool:
        return state.depth < MAX_DEPTH - 1

    def _no_doubles(self, state: State, mask: _Mask) -> None:
        """Takes back the actions that would finish an item said before."""
        block = state.blocks[-1] if state.blocks else Block()
        ends_item = state.name in ("QUERY", "ITEM", "MORE_ITEMS") or state.stack[1:2] == (
            "MORE_ITEMS",
        )
        for item in block.items if ends_item else ():
            if item[:-1] == block.item:
                mask[item[-1]] = False
        if block.items:
            self._no_used_up_dates(block, mask)

    def _no_used_up_dates(self, block: Block, mask: _Mask) -> None:
        """Takes back a date part of which every column has been said: it could not go on."""
        dates = int((self._near(block) & self.space.date_column).sum())
        for part in DATE_PARTS:
            begun = (*block.item, CODE[part])
            if sum(item[:-1] == begun for item in block.items) >= dates:
                mask[CODE[part]] = False

    # -- states ----------------------------------------------------------

    def _query(self, state: State, mask: _Mask) -> None:
        self._item(state, mask)
        self._symbols(mask, "DISTINCT")
        if len(state.blocks) == 1 and not state.blocks[-1].arity:
            self._symbols(mask, "COUNT_ROWS")

    def _item(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        if block.star:
            self._tables(mask)[:] = self.space.width == block.arity
            return
        self._scalars(state, mask)
        self._aggregates(state, mask)
        if not block.arity:
            self._tables(mask)[:] = self._reach(block)
            self._symbols(mask, "SHARE")

    def _after(self, state: State, mask: _Mask) -> None:
        """Between clauses: more of the same, a later clause, or the end."""
        block = state.blocks[-1]
        name = state.name
        if name == "MORE_ITEMS":
            if block.items and block.items[0][0] == CODE["COUNT_ROWS"]:
                self._symbols(mask, "END")
                return
            if block.arity and block.width < block.arity:
                self._item(state, mask)
                return
            if not block.arity and len(block.items) < MAX_ITEMS:
                self._item(state, mask)
        if name == "MORE_GROUP":
            self._group_key(state, mask)
        self._later_clauses(state, mask)

    def _later_clauses(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        stars = sum(_S <= item[0] < _S + self.space.first_column for item in block.items)
        names = _AFTER[state.name]
        if state.name == "MORE_LIMIT" and (stars or not block.ordered):
            names = ()  # the first rows of a group need an order and named items
        self._symbols(mask, *names, "END")
        if (self._reach(block) & ~self.in_use(block)).any():
            self._symbols(mask, "JOIN")
        if len(block.tables) and len(self.space.tables) > 1:
            self._symbols(mask, "ON")
        if not stars or len(block.items) == 1:
            self._symbols(mask, *SET_OPERATIONS)

    def in_use(self, block: Block) -> _Mask:
        """(T,) tables that the block mentions."""
        used = np.zeros(len(self.space.tables), bool)
        used[list(block.tables)] = True
        return used

    def _count_argument(self, state: State, mask: _Mask) -> None:
        self._any_argument(state, mask)
        self._tables(mask)[:] = self._reach(state.blocks[-1])

    def _number_argument(self, state: State, mask: _Mask) -> None:
        self._columns(mask)[:] = self._near(state.blocks[-1]) & self.space.numeric_column
        self._symbols(mask, *ARITHMETIC)

    def _any_argument(self, state: State, mask: _Mask) -> None:
        self._scalars(state, mask)

    def _second_column(self, state: State, mask: _Mask) -> None:
        self._columns(mask)[:] = self.in_use(state.blocks[-1])[self.column_table]

    def _operand(self, state: State, mask: _Mask) -> None:
        dates = self.space.columns_of_type(ColumnType.TIME)  # end_date - start_date
        operands = self.space.numeric_column | dates
        self._columns(mask)[:] = self._near(state.blocks[-1]) & operands
        self._values(mask)[:] = self.space.numeric_value
        self._symbols(mask, *CONSTANTS)

    def _aggregate_operand(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        self._operand(state, mask)
        if not block.ordered or block.grouped or block.aggregated:
            self._aggregates(state, mask)
        if self._nestable(state):
            self._symbols(mask, "SUB")

    def _date_column(self, state: State, mask: _Mask) -> None:
        self._columns(mask)[:] = self._near(state.blocks[-1]) & self.space.date_column

    def _any_column(self, state: State, mask: _Mask) -> None:
        self._columns(mask)[:] = self._near(state.blocks[-1])

    def _left(self, state: State, mask: _Mask) -> None:
        self._scalars(state, mask)

    def _having_left(self, state: State, mask: _Mask) -> None:
        self._scalars(state, mask)
        self._aggregates(state, mask)

    def _operator(self, state: State, mask: _Mask) -> None:
        self._negated_operator(state, mask)
        self._symbols(mask, "NOT")
        block = state.blocks[-1]
        bare = self._bare_numbers(block) if self._left_is_date(block) else None
        # With nothing but a bare year at hand: LIKE '2024%' or the year of the date.
        if bare is None or not bare.any() or not bare.all():
            self._symbols(mask, *COMPARISONS)

    def _negated_operator(self, state: State, mask: _Mask) -> None:
        self._symbols(mask, "IS_NULL")
        if self.space.values:
            self._symbols(mask, "BETWEEN", *LIKE_MODES)
        if self._nestable(state):
            self._symbols(mask, "IN")

    def _right(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        self._bound(state, mask)
        columns = self._columns(mask)
        columns[:] = self._near(block) & self._like_left(block)
        if block.left >= 0:
            columns[block.left - self.space.first_column] = False
        if block.tables:
            self._symbols(mask, "SECOND")
        if self._nestable(state):
            self._symbols(mask, "SUB")

    def _like_left(self, block: Block) -> _Mask:
        """(C,) columns of the same kind as what stands left of the operator."""
        if block.left < 0 or block.left_number:
            return self.space.numeric_column
        column = block.left - self.space.first_column
        types = [self.space.schema.columns[c].type for c in self.space.columns]
        return np.array([kind == types[column] for kind in types], bool)

    def _bound(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        fitting = self.fitting(block)
        if self._left_is_date(block):
            fitting = fitting & ~self._bare_numbers(block)
        self._values(mask)[:] = fitting
        self._symbols(mask, *CONSTANTS)

    def _left_is_date(self, block: Block) -> bool:
        """Whether a column of whole dates stands left of the operator."""
        if block.left < 0 or block.left_number:
            return False
        return bool(self.space.full_date_column[block.left - self.space.first_column])

    def _bare_numbers(self, block: Block) -> _Mask:
        """(V,) numbers that the left column does not hold: "2024" is no day of 2024."""
        held: _Mask = self.space.found_in[block.left - self.space.first_column]
        return self.space.numeric_value & ~held

    def fitting(self, block: Block) -> _Mask:
        """(V,) values that can be compared with what stands left of the operator."""
        numeric = self.space.numeric_value
        if block.left_number:
            return numeric
        if block.left < 0:
            return np.ones(len(numeric), bool)
        column = block.left - self.space.first_column
        if not self.space.number_column[column]:
            return np.ones(len(numeric), bool)
        fitting: _Mask = numeric | self.space.found_in[column]
        return fitting

    def _text(self, state: State, mask: _Mask) -> None:
        self._values(mask)[:] = True

    def _group_key(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        near = self._near(block)
        near[[node - self.space.first_column for node in block.groups]] = False
        self._columns(mask)[:] = near
        if block.tables:
            self._symbols(mask, "SECOND")
        if (near & self.space.date_column).any():
            self._symbols(mask, *DATE_PARTS)

    def _order_key(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        self._scalars(state, mask)
        if block.grouped or block.aggregated:
            self._aggregates(state, mask)

    def _limit_value(self, state: State, mask: _Mask) -> None:
        self._values(mask)[:] = self.space.whole_value
        self._symbols(mask, "VALUE_1", "VALUE_2", "VALUE_3")

    def _join_table(self, state: State, mask: _Mask) -> None:
        block = state.blocks[-1]
        self._tables(mask)[:] = self._reach(block) & ~self.in_use(block)

    def _on_left(self, state: State, mask: _Mask) -> None:
        self._any_column(state, mask)
        self._symbols(mask, "SECOND")

    def _on_right(self, state: State, mask: _Mask) -> None:
        left = state.blocks[-1].join_left
        self._columns(mask)[:] = self.column_table != self.space.node_table[left]
        self._symbols(mask, "SECOND")
