"""What prompts ask of a tokenizer, asked once: lengths of tables, its special tokens.

The questions put to one database share its tables. Their lengths are remembered,
which makes cutting a schema cost about as much as tokenizing what is left of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

REMEMBERED = 4096  # texts, of tables mostly: about 4 MB


class TokenizerLike(Protocol):
    """What a prompt needs of a tokenizer; every one of Hugging Face's is one."""

    def __call__(self, text: str) -> Mapping[str, Any]:
        """`{"input_ids": [...]}`, with the special tokens that it adds by itself."""


class TokenizerFacts:
    """Lengths by one tokenizer, and text made safe for it."""

    def __init__(self, tokenizer: TokenizerLike) -> None:
        self._tokenizer = tokenizer
        self._added = self.length("")
        marks = sorted(set(_special_tokens(tokenizer)), key=lambda mark: (-len(mark), mark))
        self._marks = re.compile("|".join(map(re.escape, marks))) if marks else None
        self.part_length = lru_cache(REMEMBERED)(self._part_length)
        self.safe = lru_cache(REMEMBERED)(self._safe)

    def length(self, text: str) -> int:
        """Tokens of a whole text, the special ones that are added included."""
        return len(self._tokenizer(text)["input_ids"])

    def _part_length(self, text: str) -> int:
        """Tokens of a part of a text, without any that are added."""
        return self.length(text) - self._added

    def _safe(self, text: str) -> str:
        """Text that is data, with all broken up that the tokenizer would read as a command."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # no tokenizer takes surrogates
        if self._marks is None:
            return text
        return self._marks.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", text)


def facts_of(tokenizer: Any) -> TokenizerFacts:
    """The facts of `tokenizer`, kept for the last few; its size tells of tokens added since."""
    return _facts(tokenizer, len(tokenizer) if hasattr(tokenizer, "__len__") else 0)


@lru_cache(maxsize=4)
def _facts(tokenizer: Any, size: int) -> TokenizerFacts:
    return TokenizerFacts(tokenizer)


def _special_tokens(tokenizer: Any) -> Iterator[str]:
    """Tokens that act, not those that only are in the added vocabulary (runs of spaces)."""
    yield from (str(token) for token in getattr(tokenizer, "all_special_tokens", ()))
    for token in getattr(tokenizer, "added_tokens_decoder", {}).values():
        text = str(token)
        if len(text.strip()) > 2 and re.search(r"[<>\[\]|]", text):
            yield text
