"""One way of asking for every kind of language model: transformers, a server, llama.cpp.

    asked ─ prompt_for ─▶ Prompt ─ the backend ─▶ texts ─▶ candidates

A model tuned here gets the prompt that it was trained with. One that wasn't is also shown
examples, and the cells that the question's words were found in. What is too much is left
out in this order: examples, the least alike first, where the schema would fit without
them; then tables (see `schema_cutting.fit`). Examples get a quarter of the prompt at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plainsql.errors import QuestionError
from plainsql.records import Attempt, Links
from plainsql.schema.model import Schema
from plainsql.translators.language_model.examples import Examples
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import (
    NO_TURNS,
    Prompt,
    Shot,
    Turns,
    build_prompt,
)
from plainsql.translators.language_model.repair import failed_of
from plainsql.translators.language_model.schema_text import schema_blocks
from plainsql.translators.language_model.tokenizer_facts import facts_of

_SHARE = 4  # of a prompt the examples fill one part in four at most


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a model is asked it. `attempts` are those that did not do, for repair."""

    question: str
    schema: Schema  # as much as may be shown; see disclosure
    links: Links | None
    attempts: Sequence[Attempt] = ()
    evidence: str = ""


def prompt_for(
    asked: Asked,
    form: PromptFormat,
    tokenizer: Any,
    *,
    examples: Examples | None = None,
    hits: bool = False,
) -> Prompt:
    """The prompt of a question; with `examples` and `hits` for a model that wasn't tuned here.

    It may be marked `too_long`. Raises `UsageError` for a broken file of examples, and as
    `build_prompt` does.
    """
    schema, links = asked.schema, asked.links
    blocks = schema_blocks(schema, links, form.schema_form, hits=hits)
    failed = failed_of(asked.attempts)

    def built(shots: tuple[Shot, ...]) -> Prompt:
        turns = Turns(shots, failed) if shots or failed else NO_TURNS
        return build_prompt(
            form, asked.question, blocks, tokenizer, schema.name, asked.evidence, turns
        )

    shots = examples.nearest(asked.question, schema, links) if examples and links else ()
    shots = _within(shots, form.max_input_tokens // _SHARE, tokenizer)
    prompt = built(shots)
    if not shots or not (prompt.schema_cut or prompt.too_long):
        return prompt
    return _with_fewer(prompt, [built(shots[at:]) for at in range(1, len(shots) + 1)])


def _with_fewer(full: Prompt, fewer: Sequence[Prompt]) -> Prompt:
    """The first that shows the whole schema; where none does, the first that shows any."""
    if whole := next((p for p in fewer if not (p.schema_cut or p.too_long)), None):
        return whole
    return next((prompt for prompt in (full, *fewer) if not prompt.too_long), fewer[-1])


def _within(shots: tuple[Shot, ...], tokens: int, tokenizer: Any) -> tuple[Shot, ...]:
    """The likest of `shots`, which are the last, that `tokens` hold."""
    facts = facts_of(tokenizer)
    kept: list[Shot] = []
    for shot in reversed(shots):
        tokens -= facts.part_length(f"{shot.question}\n{shot.sql}")
        if tokens < 0:
            break
        kept.append(shot)
    return tuple(reversed(kept))


def too_long(form: PromptFormat) -> QuestionError:
    """The error of a question that leaves no room for the schema."""
    return QuestionError(
        "The question is too long for this model: it leaves no room for the schema.",
        hint=f"The model reads {form.max_input_tokens} tokens; ask shorter.",
    )


def best_of(found: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """The different queries, each with its best score, the best first; "" is none."""
    best: dict[str, float] = {}
    for sql, score in found:
        if sql:
            best[sql] = max(score, best.get(sql, score))
    return sorted(best.items(), key=lambda pair: -pair[1])
