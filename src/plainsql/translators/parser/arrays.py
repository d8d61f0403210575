"""The arrays between features, automaton and model: one example, unbatched.

Notation: T wordpieces, N nodes, L actions, S grammar symbols, F token features,
R relations. An *action* is an integer: `0 … S-1` is a grammar symbol, `S + n`
points to node n. Nodes are the tables, columns and value candidates in reach,
in the order tables, columns, values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KIND_TABLE, KIND_COLUMN, KIND_VALUE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ModelInput:
    """Question and schema as the encoder reads them."""

    token_ids: NDArray[np.int64]  # (T,)
    token_types: NDArray[np.int64]  # (T,) 0 question, 1 schema
    features: NDArray[np.uint8]  # (T, F) binary linking features
    node_kinds: NDArray[np.int64]  # (N,) KIND_*
    node_tokens: tuple[NDArray[np.int64], ...]  # N arrays: token positions whose mean is the node


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """A gold action sequence with what the automaton said at each step."""

    previous: NDArray[np.int64]  # (L,) the action before each step; -1 at the start
    states: NDArray[np.int64]  # (L,) automaton state codes
    depths: NDArray[np.int64]  # (L,) nesting depth, 0 at the top
    allowed: NDArray[np.bool_]  # (L, S + N)
    relations: NDArray[np.uint8]  # (L, N, R) 0/1: how a node relates to what stands already
    actions: NDArray[np.int64]  # (L,) the gold action
    used: NDArray[np.bool_]  # (N,) nodes the gold query uses (auxiliary target)
