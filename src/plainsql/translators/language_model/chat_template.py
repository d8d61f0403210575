"""Messages through a tokenizer's own chat template, however it is made."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from plainsql.errors import MissingExtra, UsageError

Message = dict[str, str]  # "role" and "content"


def chat_text(messages: list[Message], tokenizer: Any) -> str:
    """The messages through the tokenizer's own template, ready for the answer."""
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(
            "The tokenizer of this model has no chat template.",
            hint="Use --style instruct, or a base model that was tuned for chat.",
        )
    text = _templated(messages, tokenizer)
    # Some templates refuse a system turn (Gemma's), others leave it out without a word.
    if text is None or messages[0]["content"] not in text:
        text = _templated(_folded(messages), tokenizer)
    if text is None:
        raise UsageError(
            "The chat template of this tokenizer refuses a question.",
            hint="Use --style instruct with this model.",
        )
    bos = getattr(tokenizer, "bos_token", None)
    return text.removeprefix(bos) if bos and _adds_bos(tokenizer) else text


def _folded(messages: list[Message]) -> list[Message]:
    system, user, *others = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]


def _templated(messages: list[Message], tokenizer: Any) -> str | None:
    """The rendered text, or None where the template refuses the messages.

    Some templates write today's date, or open a block for thinking aloud: the date
    stands still here, since a prompt must not change overnight, and thinking is off.
    """
    try:
        from jinja2 import TemplateError
    except ImportError as error:
        raise MissingExtra("A chat template", "train") from error
    dated = _dated(tokenizer.chat_template)
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
            **dated,
        )
    except TemplateError:
        return None
    return str(text)


_DATE = datetime(2024, 7, 26)  # the date that Llama 3's template falls back to
_NOW = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")


def _dated(template: Any) -> dict[str, str]:
    """The template with its dates written out, where it has any; no function can be passed."""
    if not isinstance(template, str) or not _NOW.search(template):
        return {}
    return {"chat_template": _NOW.sub(lambda call: repr(_DATE.strftime(call[2])), template)}


def _adds_bos(tokenizer: Any) -> bool:
    """True where the tokenizer itself puts a BOS before a text."""
    ids = list(tokenizer("a")["input_ids"])
    return bool(ids) and ids[0] == getattr(tokenizer, "bos_token_id", None)
