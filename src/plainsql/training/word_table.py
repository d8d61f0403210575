"""Word embeddings as int8 rows with a scale each: shared by linking and the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plainsql.translators.parser.runtime import SCALES, WORDS


def write_words(table: NDArray[np.float32], folder: Path) -> None:
    """Write a (V, D) table to `folder` as int8, each row with its own scale."""
    scales = np.maximum(np.abs(table).max(axis=1), 1e-8) / 127
    np.save(folder / WORDS, np.rint(table / scales[:, None]).astype(np.int8))
    np.save(folder / SCALES, scales.astype(np.float32))
