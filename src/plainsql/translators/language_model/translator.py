"""A language model as a translator: the prompt it was trained with, its texts, their SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql.errors import QuestionError
from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema
from plainsql.translators.language_model.decoding import Generated, GenerationSettings, inner
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.prompts import Prompt, build_prompt
from plainsql.translators.language_model.schema_text import schema_blocks

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded, LoadOptions

BEAMS = 4
# A model that nobody tuned here has no prompt of its own, reads far more than a
# tuned one is trained with, and explains what it writes.
_UNTUNED = PromptFormat(max_input_tokens=2048, max_output_tokens=256)
_UNKNOWN_LENGTH = 1024


class LanguageModelTranslator:
    """Proposes what the model at `source` writes; loads it on first use.

    `source` is a folder (an adapter, a complete model, the output of `plainsql
    train`) or a Hub id. By default candidates come from beam search over 4 beams:
    it always gives the same, and its texts differ from each other, where samples
    of a sure model repeat one. Queries are returned as they were written; whether
    they may run and do run is judged later, as for every translator.
    """

    def __init__(
        self,
        source: str | Path,
        settings: GenerationSettings | None = None,
        options: LoadOptions | None = None,
    ) -> None:
        self.source = str(source)
        self._settings = settings
        self._options = options

    @property
    def name(self) -> str:
        """The folder or Hub id it was made with."""
        return self.source

    @cached_property
    def loaded(self) -> Loaded:
        """The model. Raises `ModelError`, and `MissingExtra` without the libraries."""
        from plainsql.translators.language_model.loading import load

        found = load(self.source, self._options)
        return replace(found, info=replace(found.info, prompt=prompt_of(found)))

    def warm_up(self) -> None:
        """Load the model now. Raises as `loaded` does."""
        _ = self.loaded

    @property
    def info(self) -> ModelInfo:
        """What the model is and how it is asked."""
        return self.loaded.info

    @cached_property
    def settings(self) -> GenerationSettings:
        """How it searches: as given, or beam search as long as the answers it learned from."""
        return self._settings or GenerationSettings(
            "beam",
            candidates=BEAMS,
            beams=BEAMS,
            max_new_tokens=self.info.prompt.max_output_tokens,
        )

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """At most `n` different queries (and no more than there are beams), likeliest first.

        None where no text holds SQL. Raises `QuestionError` for a question that
        the model can't read at once, `ModelError` where it can't be used.
        """
        from plainsql.translators.language_model.generation import generate

        prompt = self.prompt(question, schema, links)
        if prompt.too_long:
            raise QuestionError(
                "The question is too long for this model: it leaves no room for the schema.",
                hint=f"The model reads {self.info.prompt.max_input_tokens} tokens; ask shorter.",
            )
        settings = replace(self.settings, candidates=min(n, self.settings.candidates))
        texts = generate(self.loaded, [prompt.text], settings)[0]
        return candidates(texts, self.name)

    def prompt(
        self, question: str, schema: Schema, links: Links | None, evidence: str = ""
    ) -> Prompt:
        """The prompt for `question`, built as in training."""
        form = replace(self.info.prompt, dialect=schema.dialect)
        blocks = schema_blocks(schema, links, form.schema_form)
        return build_prompt(
            form, question, blocks, self.loaded.tokenizer, db=schema.name, evidence=evidence
        )

    def describe(self) -> str:
        """The model in a few words: "llama, 0.2 million parameters, lora of ./base"."""
        model = inner(self.loaded.model)
        count, kind = model.num_parameters(), str(model.config.model_type)
        info = self.info
        made = f"{info.method or info.kind} of {info.base}" if info.base else info.kind
        quantized = f", {info.quantization}" if info.quantization else ""
        return f"{kind}, {count / 1e6:,.1f} million parameters, {made}{quantized}"


def candidates(texts: Iterable[Generated], name: str) -> list[Candidate]:
    """The different queries in `texts`, each with its best score, the best first."""
    best: dict[str, float] = {}
    for text in texts:
        sql = extract_sql(text.text)
        if sql:
            best[sql] = max(text.score, best.get(sql, text.score))
    found = [Candidate(sql, score, name) for sql, score in best.items()]
    return sorted(found, key=lambda candidate: -candidate.score)


def prompt_of(loaded: Loaded) -> PromptFormat:
    """The prompt the model was trained with, or one for a model that was not tuned here."""
    if loaded.info.kind != "base":
        return loaded.info.prompt
    style = "chat" if getattr(loaded.tokenizer, "chat_template", None) else "instruct"
    room = _positions(loaded.model.config) - _UNTUNED.max_output_tokens
    return replace(
        _UNTUNED, style=style, max_input_tokens=max(min(_UNTUNED.max_input_tokens, room), 1)
    )


def _positions(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or _UNKNOWN_LENGTH)
