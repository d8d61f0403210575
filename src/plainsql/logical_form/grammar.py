"""The grammar automaton: which actions may come next, in training and decoding alike.

It is a pushdown automaton whose stack holds the states still to come. Beside
the stack each SELECT block carries what it has said so far, so that the masks
(see `masks`) keep to queries that execute and make sense.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.actions import to_tree
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import STATE_CODE, SYMBOLS
from plainsql.logical_form.tree import (
    ARITHMETIC,
    COMPARISONS,
    DATE_PARTS,
    LIKE_MODES,
    SET_OPERATIONS,
    Query,
)

_S = len(SYMBOLS)
ARGUMENT_STATE = {
    "COUNT": "COUNT_ARGUMENT",
    "SUM": "NUMBER_ARGUMENT",
    "AVG": "NUMBER_ARGUMENT",
    "SUM_DISTINCT": "NUMBER_ARGUMENT",
    "AVG_DISTINCT": "NUMBER_ARGUMENT",
    "MIN": "ANY_ARGUMENT",
    "MAX": "ANY_ARGUMENT",
    "COUNT_DISTINCT": "ANY_ARGUMENT",
}
# States in which `a - b` may hold aggregates: `max(x) - min(x)`.
_AGGREGABLE = ("QUERY", "ITEM", "MORE_ITEMS", "HAVING_LEFT", "ORDER_KEY", "AGGREGATE_OPERAND")
_CLAUSES: dict[str, tuple[str, ...]] = {
    "DISTINCT": ("ITEM",),
    "WHERE": ("LEFT", "OPERATOR", "MORE_WHERE"),
    "GROUP": ("GROUP_KEY", "MORE_GROUP"),
    "HAVING": ("HAVING_LEFT", "OPERATOR", "MORE_HAVING"),
    "ASC": ("ORDER_KEY", "MORE_ORDER"),
    "DESC": ("ORDER_KEY", "MORE_ORDER"),
    "LIMIT": ("LIMIT_VALUE", "MORE_LIMIT"),
    "PER": ("PER_COLUMN", "MORE_JOIN"),
    "JOIN": ("JOIN_TABLE", "MORE_JOIN"),
    "ON": ("ON_LEFT", "ON_RIGHT", "MORE_JOIN"),
    "END": (),
}
_OPERATORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(COMPARISONS, ("RIGHT",)),
    **dict.fromkeys(LIKE_MODES, ("TEXT",)),
    "BETWEEN": ("BOUND", "BOUND"),
    "IN": ("QUERY",),
    "IS_NULL": (),
    "NOT": ("NEGATED_OPERATOR",),
}
# After one of these an expression continues the same list.
_LISTS = {
    "QUERY": "MORE_ITEMS",
    "ITEM": "MORE_ITEMS",
    "MORE_ITEMS": "MORE_ITEMS",
    "MORE_GROUP": "MORE_GROUP",
}
_ITEM_STATES = ("QUERY", "ITEM", "MORE_ITEMS")
_NUMBER_STARTS = frozenset(
    (
        "COUNT",
        "SUM",
        "AVG",
        "COUNT_DISTINCT",
        "SUM_DISTINCT",
        "AVG_DISTINCT",
        *ARITHMETIC,
        *DATE_PARTS,
    )
)


@dataclass(frozen=True, slots=True)
class Block:
    """What one SELECT block has said so far. Nodes are positions in the `Space`."""

    tables: frozenset[int] = frozenset()  # positions in Space.tables
    items: tuple[tuple[int, ...], ...] = ()  # finished select items, as actions
    item: tuple[int, ...] = ()  # actions of the item being written
    selected: tuple[int, ...] = ()  # column nodes in the items
    conditions: tuple[int, ...] = ()  # column nodes left of an operator
    groups: tuple[int, ...] = ()  # column nodes in GROUP BY
    width: int = 0  # columns of the finished items
    arity: int = 0  # columns the block must have; 0: free
    star: bool = False  # the sibling left of a set operation is a star
    aggregated: bool = False  # an item aggregates
    grouped: bool = False
    ordered: bool = False
    left: int = -1  # column node left of the operator being written
    left_number: bool = False  # what stands left is a number whatever the column
    sibling: int = -1  # first column node of the block left of a set operation
    join_left: int = -1  # left column node of the ON being written


@dataclass(frozen=True, slots=True)
class State:
    """The automaton between two actions."""

    stack: tuple[str, ...]  # states to come, the current one first
    blocks: tuple[Block, ...]  # enclosing SELECT blocks, outermost first
    actions: tuple[int, ...] = ()
    last: int = -1  # the node pointed to last
    used: frozenset[int] = frozenset()  # nodes pointed to so far

    @property
    def name(self) -> str:
        """The current state, one of STATES."""
        return self.stack[0] if self.stack else "CLOSED"

    @property
    def code(self) -> int:
        """The current state as a number."""
        return STATE_CODE[self.name]

    @property
    def depth(self) -> int:
        """Nesting depth, 0 in the outermost block."""
        return max(len(self.blocks) - 1, 0)

    @property
    def done(self) -> bool:
        """Whether the query is complete."""
        return not self.stack


class Automaton:
    """The grammar over one `Space`."""

    def __init__(self, space: Space) -> None:
        from plainsql.logical_form.masks import Masks
        from plainsql.logical_form.relations import Relations

        self.space = space
        self._masks = Masks(space)
        self._relations = Relations(self._masks)

    def start(self) -> State:
        """The state before the first action."""
        return State(("QUERY",), (Block(),))

    def allowed(self, state: State) -> NDArray[np.bool_]:
        """(S + N,) the actions that may come next. Never empty before the end."""
        return self._masks.allowed(state)

    def relations(self, state: State) -> NDArray[np.uint8]:
        """(N, R) how each node relates to what stands already (see RELATIONS)."""
        return self._relations.relations(state)

    def step(self, state: State, action: int) -> State:
        """The state after an action, which must be an allowed one."""
        name, rest = state.stack[0], state.stack[1:]
        symbol = SYMBOLS[action] if action < _S else ""
        node = action - _S
        block = self._note(state.blocks[-1], name, rest, symbol, action)
        stack = _follow(name, symbol) + rest
        blocks = _enter(state.blocks[:-1], block, symbol)
        if stack[:1] == ("MORE_ITEMS",) and blocks[-1].item:
            blocks = (*blocks[:-1], self._finish_item(blocks[-1]))
        return State(
            stack,
            blocks,
            (*state.actions, action),
            node if node >= 0 else state.last,
            state.used | {node} if node >= 0 else state.used,
        )

    def tree(self, state: State) -> Query:
        """The query a finished state has written."""
        return to_tree(state.actions, self.space)

    # -- what a block remembers -------------------------------------------

    def _note(
        self, block: Block, name: str, rest: tuple[str, ...], symbol: str, action: int
    ) -> Block:
        if name in ("LEFT", "HAVING_LEFT"):
            block = replace(block, left=-1, left_number=symbol in _NUMBER_STARTS)
        if block.item or (name in _ITEM_STATES and not _is_clause(symbol)):
            block = replace(block, item=(*block.item, action))
        if symbol == "GROUP":
            return replace(block, grouped=True)
        if symbol in ("ASC", "DESC"):
            return replace(block, ordered=True)
        return self._note_node(block, name, rest, action - _S) if action >= _S else block

    def _note_node(self, block: Block, name: str, rest: tuple[str, ...], node: int) -> Block:
        table = int(self.space.node_table[node])
        if table >= 0 and table not in block.tables:
            block = replace(block, tables=block.tables | {table})
        if not self.space.first_column <= node < self.space.first_value:
            return block
        if "OPERATOR" in rest[:1]:
            return replace(block, left=node, conditions=(*block.conditions, node))
        if name in ("GROUP_KEY", "MORE_GROUP") or "MORE_GROUP" in rest[:1]:
            return replace(block, groups=(*block.groups, node))
        if name == "ON_LEFT" or "ON_RIGHT" in rest[:1]:
            return replace(block, join_left=node)
        if block.item:
            return replace(block, selected=(*block.selected, node))
        return block

    def _finish_item(self, block: Block) -> Block:
        first = block.item[0]
        star = _S <= first < _S + self.space.first_column
        width = int(self.space.width[first - _S]) if star else 1
        names = {SYMBOLS[action] for action in block.item if action < _S}
        return replace(
            block,
            items=(*block.items, block.item),
            item=(),
            width=block.width + width,
            aggregated=block.aggregated or bool(names & {*ARGUMENT_STATE, "SHARE"}),
        )


def _is_clause(symbol: str) -> bool:
    return symbol in _CLAUSES or symbol in SET_OPERATIONS


def _follow(name: str, symbol: str) -> tuple[str, ...]:
    """The states an action puts in place of the current one."""
    if name in ("OPERATOR", "NEGATED_OPERATOR"):
        return _OPERATORS[symbol]
    if symbol in ("AND", "OR"):
        left = "HAVING_LEFT" if name == "MORE_HAVING" else "LEFT"
        return (left, "OPERATOR", name)
    if symbol in SET_OPERATIONS:
        return ("QUERY",)
    if symbol in _CLAUSES:
        return _CLAUSES[symbol]
    parts = _parts(name, symbol)
    return (*parts, _LISTS[name]) if name in _LISTS else parts


def _parts(name: str, symbol: str) -> tuple[str, ...]:
    """The states that complete an expression begun by `symbol`."""
    if symbol in ARGUMENT_STATE:
        return (ARGUMENT_STATE[symbol],)
    if symbol in ARITHMETIC:
        return ("AGGREGATE_OPERAND",) * 2 if name in _AGGREGABLE else ("OPERAND",) * 2
    if symbol in DATE_PARTS:
        return ("DATE_COLUMN",)
    return {
        "SECOND": ("SECOND_COLUMN",),
        "SHARE": ("LEFT", "OPERATOR"),
        "SUB": ("QUERY",),
        "COUNT_ROWS": ("QUERY",),
    }.get(symbol, ())


def _enter(outer: tuple[Block, ...], block: Block, symbol: str) -> tuple[Block, ...]:
    """The blocks after an action: nested queries open one, END closes one."""
    if symbol == "END":
        return outer
    if symbol in ("IN", "SUB"):
        return (*outer, block, Block(arity=1))
    if symbol == "COUNT_ROWS":
        return (*outer, block, Block())
    if symbol in SET_OPERATIONS:
        first = block.items[0][0] - _S if block.items[0][0] >= _S else -1
        star = first >= 0 and not block.selected
        return (*outer, Block(arity=block.width, star=star, sibling=first))
    return (*outer, block)
