"""How nodes relate to what a derivation has said: inputs of the network, as arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plainsql.logical_form.grammar import State
from plainsql.logical_form.masks import Masks
from plainsql.logical_form.symbols import RELATION, RELATIONS


class Relations:
    """The relations of RELATIONS over one `Space`; `masks` knows what is in use and fits."""

    def __init__(self, masks: Masks) -> None:
        self.space = masks.space
        self.masks = masks

    def relations(self, state: State) -> NDArray[np.uint8]:
        """(N, R) how each node relates to what stands already, 0 or 1 each."""
        out = np.zeros((self.space.node_count, len(RELATIONS)), np.uint8)
        if not state.blocks:
            return out
        self._relate_tables(state, out)
        self._relate_columns(state, out)
        self._relate_values(state, out)
        return out

    def _relate_tables(self, state: State, out: NDArray[np.uint8]) -> None:
        space, block = self.space, state.blocks[-1]
        owners = space.node_table[: space.first_value]
        here = self.masks.in_use(block)
        nodes = out[: space.first_value]
        nodes[:, RELATION["table_in_block"]] = here[owners]
        if block.tables:
            next_to = np.any(space.adjacent[list(block.tables)], axis=0)
            nodes[:, RELATION["table_next_to_block"]] = next_to[owners]
        for outer in state.blocks[:-1]:
            nodes[:, RELATION["table_in_outer_block"]] |= self.masks.in_use(outer)[owners]
        if 0 <= state.last < space.first_value:
            same = owners == space.node_table[state.last]
            nodes[:, RELATION["same_table_as_last"]] = same

    def _relate_columns(self, state: State, out: NDArray[np.uint8]) -> None:
        space, block = self.space, state.blocks[-1]
        out[list(block.selected), RELATION["column_selected"]] = 1
        out[list(block.conditions), RELATION["column_in_condition"]] = 1
        out[list(block.groups), RELATION["column_grouped"]] = 1
        out[list(state.used), RELATION["node_used_before"]] = 1
        if state.last >= 0:
            out[state.last, RELATION["last_node"]] = 1
        if block.sibling >= 0:
            out[block.sibling, RELATION["first_item_of_sibling"]] = 1
        first = space.first_column
        columns = out[first : space.first_value]
        if first <= state.last < space.first_value:
            columns[:, RELATION["key_partner_of_last"]] = space.key_partner[state.last - first]
        if len(state.blocks) > 1 and (left := state.blocks[-2].left) >= 0:
            columns[:, RELATION["key_partner_of_outer_left"]] = space.key_partner[left - first]

    def _relate_values(self, state: State, out: NDArray[np.uint8]) -> None:
        space, block = self.space, state.blocks[-1]
        if not space.values:
            return
        values = out[space.first_value :]
        used = out[space.first_value :, RELATION["node_used_before"]]
        values[:, RELATION["value_used"]] = used
        values[:, RELATION["value_type_fits_left"]] = self.masks.fitting(block)
        if block.left >= 0:
            found = space.found_in[block.left - space.first_column]
            values[:, RELATION["value_found_in_left"]] = found
        free = space.found_in[:, used == 0].any(axis=1)
        out[space.first_column : space.first_value, RELATION["column_has_free_value"]] = free
