"""The words of the grammar: action symbols, automaton states, node relations.

Their order is part of a trained model: a change makes old weights unreadable
(the model's manifest carries these lists, and loading compares them).
"""

from __future__ import annotations

from plainsql.logical_form.tree import (
    AGGREGATES,
    ARITHMETIC,
    COMPARISONS,
    DATE_PARTS,
    LIKE_MODES,
    SET_OPERATIONS,
)

CONSTANTS = {"VALUE_0": 0, "VALUE_1": 1, "VALUE_2": 2, "VALUE_3": 3}
CLAUSES = ("WHERE", "AND", "OR", "GROUP", "HAVING", "ASC", "DESC", "LIMIT", "PER", "JOIN", "ON")

SYMBOLS: tuple[str, ...] = (
    "END",
    "DISTINCT",
    *CLAUSES,
    *SET_OPERATIONS,
    *AGGREGATES,
    "COUNT_DISTINCT",
    "SUM_DISTINCT",
    "AVG_DISTINCT",
    *ARITHMETIC,
    *DATE_PARTS,
    "SHARE",
    "COUNT_ROWS",
    "SECOND",
    *COMPARISONS,
    *LIKE_MODES,
    "BETWEEN",
    "IN",
    "IS_NULL",
    "NOT",
    "SUB",
    *CONSTANTS,
)
CODE = {name: code for code, name in enumerate(SYMBOLS)}

STATES: tuple[str, ...] = (
    "QUERY",
    "ITEM",
    "MORE_ITEMS",
    "COUNT_ARGUMENT",
    "NUMBER_ARGUMENT",
    "ANY_ARGUMENT",
    "SECOND_COLUMN",
    "OPERAND",
    "AGGREGATE_OPERAND",
    "DATE_COLUMN",
    "LEFT",
    "HAVING_LEFT",
    "OPERATOR",
    "NEGATED_OPERATOR",
    "RIGHT",
    "TEXT",
    "BOUND",
    "MORE_WHERE",
    "GROUP_KEY",
    "MORE_GROUP",
    "MORE_HAVING",
    "ORDER_KEY",
    "MORE_ORDER",
    "LIMIT_VALUE",
    "MORE_LIMIT",
    "PER_COLUMN",
    "JOIN_TABLE",
    "ON_LEFT",
    "ON_RIGHT",
    "MORE_JOIN",
    "CLOSED",
)
STATE_CODE = {name: code for code, name in enumerate(STATES)}

RELATIONS: tuple[str, ...] = (
    "table_in_block",
    "table_next_to_block",
    "column_selected",
    "column_in_condition",
    "column_grouped",
    "last_node",
    "same_table_as_last",
    "key_partner_of_last",
    "value_found_in_left",
    "value_type_fits_left",
    "value_used",
    "column_has_free_value",
    "table_in_outer_block",
    "node_used_before",
    "key_partner_of_outer_left",
    "first_item_of_sibling",
)
RELATION = {name: position for position, name in enumerate(RELATIONS)}
MAX_DEPTH = 3
