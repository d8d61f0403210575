"""A tokenizer as training and generation need it: with an end, and with padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plainsql.errors import ModelError

# Tokens that models have for padding without saying so, the best known first.
SPARE = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<|endoftext|>",
)


def load_tokenizer(folder: Path, fallback: Path | None = None, *, trust: bool = False) -> Any:
    """The tokenizer saved in `folder`, else in `fallback`, with a padding token.

    Raises `ModelError` where neither has one, or where it has no end-of-sequence
    token: a model could not learn to stop.
    """
    places = [place for place in (folder, fallback) if place is not None and has_tokenizer(place)]
    if not places:
        raise ModelError(
            f"{folder} has no tokenizer.",
            hint="Copy tokenizer.json and tokenizer_config.json of the base model there.",
        )
    return repaired(_read(places[0], trust), str(places[0]))


def has_tokenizer(folder: Path) -> bool:
    """Whether one of the files that make a tokenizer lies in `folder`."""
    names = (
        *("tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
        *("spiece.model", "vocab.json", "vocab.txt"),
    )
    return any((folder / name).is_file() for name in names)


def _read(folder: Path, trust: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    except Exception as error:  # the Rust reader raises bare Exception
        raise ModelError(
            f"The tokenizer in {folder} can't be read: {error}",
            hint="Copy the tokenizer files of the base model there again.",
        ) from error


def repaired(tokenizer: Any, name: str) -> Any:
    """`tokenizer`, given a padding token if it has none. Raises `ModelError` without EOS.

    A spare token of its own vocabulary is preferred. Where there is none, the end of
    sequence pads: safe here, since labels are masked by length and not by token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {name} has no end-of-sequence token.",
            hint='Set "eos_token" in its tokenizer_config.json to the token that ends a text.',
        )
    if tokenizer.pad_token_id is None:
        vocabulary = tokenizer.get_vocab()
        spare = (token for token in SPARE if token in vocabulary)
        tokenizer.pad_token = next(spare, tokenizer.eos_token)
    return tokenizer
