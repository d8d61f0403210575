"""Texts that a grammar permits, written by chance: no model, only masks."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np

from plainsql.schema.model import Schema
from plainsql.translators.language_model.constrained import grammar_of
from plainsql.translators.language_model.constrained.masks import (
    Machine,
    Masks,
    Vocabulary,
    vocabulary_of,
)

MOST_TOKENS = 6_000  # far more than any text of the grammar has
_FENCED = re.compile(r"\s*```(?:\w+)?\s(.*?)\s*```\s*\Z", re.DOTALL)


def vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer made by a test."""
    return vocabulary_of(tokenizer, len(tokenizer), [tokenizer.eos_token_id])


class Writer:
    """Writes by chance. Ends, brackets and quotes are a little likelier than other tokens,

    since texts get some thousand tokens long where every one is as likely.
    """

    def __init__(self, schema: Schema, words: Vocabulary, seed: int = 0) -> None:
        self.machine = Machine(grammar_of(schema), words)
        self.masks = Masks(self.machine)
        self.tokens = 0
        self._random = random.Random(seed)
        self._words = words
        closes = [piece[:1] in (b")", b"'", b";") for piece in words.pieces]
        closes = [close or at in words.ends for at, close in enumerate(closes)]
        self._closing = np.array(closes)

    def text(self) -> str:
        """One text. Raises AssertionError where it doesn't end, or leaves the grammar."""
        state, written = self.masks.start(), b""
        for _ in range(MOST_TOKENS):
            token = self._drawn(self.masks.allowed(state))
            self.tokens += 1
            if token in self._words.ends:
                return written.decode()
            written += self._words.pieces[token]
            self.masks.advance(state, token)
            assert state.matcher is not None, written
            assert not state.done, written
        raise AssertionError(f"no end: {written.decode()}")

    def _drawn(self, mask: Any) -> int:
        closing = np.flatnonzero(mask & self._closing)
        if len(closing) and self._random.random() < 0.3:
            return int(self._random.choice(closing))
        return int(self._random.choice(np.flatnonzero(mask)))


def bare(text: str) -> str:
    """The query without its fence and its semicolon, as `extract_sql` leaves them out."""
    fenced = _FENCED.match(text)
    return (fenced[1] if fenced else text).strip(" \t\n;")
