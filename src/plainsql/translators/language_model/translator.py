"""A language model as a translator: the prompt it was trained with, its texts, their SQL."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql.budget import current
from plainsql.errors import MissingExtra
from plainsql.records import Attempt, Candidate, Links
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.answer_cache import (
    AnswerCache,
    answer_key,
    files_mark,
    schema_hash,
)
from plainsql.translators.language_model.asking import Asked, best_of, prompt_for, too_long
from plainsql.translators.language_model.constrained import NotCovered, grammar_of, processor
from plainsql.translators.language_model.decoding import (
    Generated,
    GenerationSettings,
    Processor,
    inner,
)
from plainsql.translators.language_model.disclosure import narrowed
from plainsql.translators.language_model.examples import Examples
from plainsql.translators.language_model.extract import whole_sql
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.prompts import Prompt

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded, LoadOptions

_log = logging.getLogger(__name__)

BEAMS = 4
# A model that nobody tuned here has no prompt of its own, reads far more than a
# tuned one is trained with, and explains what it writes. It runs here, so that it may
# see values.
_UNTUNED = PromptFormat(schema_form="samples", max_input_tokens=2048, max_output_tokens=256)
_UNKNOWN_LENGTH = 1024


class LanguageModelTranslator:
    """Proposes what the model at `source` writes; loads it on first use.

    `source` is a folder (an adapter, a complete model, the output of `plainsql
    train`) or a Hub id. By default candidates come from beam search over 4 beams:
    it always gives the same, and its texts differ from each other, where samples
    of a sure model repeat one. Queries are returned as they were written; whether
    they may run and do run is judged later, as for every translator. A model that was
    tuned here is asked as it was trained; another is also shown examples
    (`asking.examples`) and the cells that the question names.
    """

    def __init__(
        self,
        source: str | Path,
        settings: GenerationSettings | None = None,
        options: LoadOptions | None = None,
        asking: ModelOptions | None = None,
    ) -> None:
        self.source = str(source)
        self._asking = asking or ModelOptions()
        self._settings = settings
        self._options = options
        self._examples = Examples(self._asking.examples) if self._asking.examples else None
        self._cache = AnswerCache(self._asking.cache_dir, enabled=self._asking.cache)
        self.remark = ""  # what is worth telling of the last question

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
        the model can't read at once, `ModelError` where it can't be used, `OutOfBudget`
        where the time of the question was over before a query was written.
        """
        settings = replace(self.settings, candidates=min(n, self.settings.candidates))
        prompt = self.prompt(question, schema, links)
        if prompt.too_long:
            raise too_long(self.info.prompt)
        return self._kept(prompt, schema, [settings])[:n]

    def repair(
        self, question: str, schema: Schema, links: Links, attempts: Sequence[Attempt], n: int
    ) -> list[Candidate]:
        """At most `n` queries in place of those that did not do: the likeliest, then drawn ones.

        None where the prompt has no room for them. Raises as `propose` does.
        """
        prompt = self.prompt(question, schema, links, attempts=attempts)
        if prompt.too_long or not attempts:
            return []
        return self._kept(prompt, schema, self._searches(n, BEAMS))[:n]

    def _searches(self, n: int, most_drawn: int) -> list[GenerationSettings]:
        """For the likeliest text, and for at most `most_drawn` of the n - 1 others."""
        limit = self.settings.max_new_tokens
        drawn = min(n - 1, most_drawn)
        searches = [GenerationSettings(max_new_tokens=limit)]
        if drawn > 0:
            searches.append(GenerationSettings("sample", drawn, max_new_tokens=limit, seed=1))
        return searches

    def prompt(
        self,
        question: str,
        schema: Schema,
        links: Links | None,
        evidence: str = "",
        attempts: Sequence[Attempt] = (),
    ) -> Prompt:
        """The prompt for `question`: built as in training, for a model that was tuned here."""
        form = replace(self.info.prompt, dialect=schema.dialect)
        if links is not None:
            schema, links = narrowed(schema, links)
        asked = Asked(question, schema, links, attempts, evidence)
        untuned = self.info.kind == "base"
        examples = self._examples if untuned else None
        return prompt_for(asked, form, self.loaded.tokenizer, examples=examples, hits=untuned)

    def _kept(
        self, prompt: Prompt, schema: Schema, searches: Sequence[GenerationSettings]
    ) -> list[Candidate]:
        """The candidates of all searches, from the cache where it has them."""
        key = self._key(prompt, schema, searches)
        kept = self._cache.get(key)
        if kept is not None:
            return [Candidate(sql, score, self.name) for sql, score in kept]
        texts, whole = self._texts(prompt, schema, searches)
        found = candidates(texts, self.name)
        if whole:
            self._cache.put(key, [(one.sql, one.score) for one in found])
        elif not found:
            current().check()
        return found

    def _texts(
        self, prompt: Prompt, schema: Schema, searches: Sequence[GenerationSettings]
    ) -> tuple[list[Generated], bool]:
        """What the searches wrote, and whether time and tokens sufficed for all of them."""
        budget, texts = current(), list[Generated]()
        for search in searches:
            if texts and (budget.exhausted() or budget.tokens_left() <= prompt.tokens):
                return texts, False
            most = int(min(search.max_new_tokens, budget.room(prompt.tokens)))
            found = self._search(prompt, schema, replace(search, max_new_tokens=most))
            budget.spend(prompt.tokens + sum(text.tokens for text in found))
            texts += found
        cut = any(not text.finished for text in texts)
        return texts, not (cut and budget.exhausted())

    def _search(
        self, prompt: Prompt, schema: Schema, search: GenerationSettings
    ) -> list[Generated]:
        """What one search writes after the prompt."""
        from plainsql.translators.language_model.generation import generate

        masks = self._masks(schema, prompt.tables) if self._asking.constrained else []
        return generate(self.loaded, [prompt.text], search, masks)[0]

    def _masks(self, schema: Schema, shown: Sequence[str]) -> list[Processor]:
        """What keeps the model to SQL over the tables that the prompt shows, where it can be."""
        try:
            return [processor(grammar_of(schema, places(schema, shown)), self.loaded)]
        except (NotCovered, MissingExtra) as error:
            self.remark = f"not held to a grammar: {error}"
            _log.info("%s is %s", self.name, self.remark)
            return []

    def _key(self, prompt: Prompt, schema: Schema, searches: Sequence[GenerationSettings]) -> str:
        how = [asdict(search) for search in searches]
        marks = (schema_hash(schema, prompt.tables), self._identity, prompt.text, how)
        return answer_key(*marks, self._asking.constrained)

    @cached_property
    def _identity(self) -> list[Any]:
        """What tells this model from another, and from itself with other weights."""
        from plainsql.translators.language_model.loading import LoadOptions, base_source, resolve

        options = self._options or LoadOptions()
        folder, info = resolve(self.source, options), self.info
        places = [folder]
        if info.base:
            places.append(Path(base_source(folder, info, options.base)))
        there = files_mark(place for place in places if place.exists())
        return [there, asdict(options), info.base, info.quantization]

    def describe(self) -> str:
        """The model in a few words: "llama, 0.2 million parameters, lora of ./base"."""
        model = inner(self.loaded.model)
        count, kind = model.num_parameters(), str(model.config.model_type)
        info = self.info
        made = f"{info.method or info.kind} of {info.base}" if info.base else info.kind
        quantized = f", {info.quantization}" if info.quantization else ""
        return f"{kind}, {count / 1e6:,.1f} million parameters, {made}{quantized}"


def places(schema: Schema, shown: Sequence[str]) -> tuple[int, ...]:
    """The positions in the schema of the tables of these names."""
    place = {table.name: at for at, table in enumerate(schema.tables)}
    return tuple(place[name] for name in shown if name in place)


def candidates(texts: Iterable[Generated], name: str) -> list[Candidate]:
    """The different queries in `texts`, each with its best score, the best first."""
    found = best_of((whole_sql(text.text, finished=text.finished), text.score) for text in texts)
    return [Candidate(sql, score, name) for sql, score in found]


def prompt_of(loaded: Loaded) -> PromptFormat:
    """The prompt the model was trained with, or one for a model that was not tuned here."""
    if loaded.info.kind != "base":
        return loaded.info.prompt
    chat = bool(getattr(loaded.tokenizer, "chat_template", None))
    return untuned_prompt(_positions(loaded.model.config), chat=chat)


def untuned_prompt(positions: int, *, chat: bool) -> PromptFormat:
    """The prompt for a model that was not tuned here and reads and writes `positions` tokens.

    `chat` says whether it has a chat template.
    """
    style = "chat" if chat else "instruct"
    room = positions - _UNTUNED.max_output_tokens
    return replace(
        _UNTUNED, style=style, max_input_tokens=max(min(_UNTUNED.max_input_tokens, room), 1)
    )


def _positions(config: Any) -> int:
    return int(getattr(config, "max_position_embeddings", None) or _UNKNOWN_LENGTH)
