"""A GGUF file as a translator: llama.cpp runs it in this process.

    gguf:PATH      gguf:models/qwen2.5-coder-7b-q4_k_m.gguf, or the folder that it is in

Prompt, repair, cache and budget are those of every local model; what differs is who computes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from plainsql.budget import OutOfBudget
from plainsql.errors import ModelError
from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.answer_cache import files_mark
from plainsql.translators.language_model.asking import too_long
from plainsql.translators.language_model.constrained import grammar_of
from plainsql.translators.language_model.decoding import STOPS, Generated, GenerationSettings
from plainsql.translators.language_model.gguf_file import PROMPT_KEY, find_gguf
from plainsql.translators.language_model.gguf_library import (
    Header,
    file_of,
    library,
    read_header,
)
from plainsql.translators.language_model.gguf_writing import (
    Draw,
    GGUFOptions,
    GrammarRefused,
    Runtime,
)
from plainsql.translators.language_model.loading import Loaded
from plainsql.translators.language_model.model_info import FILE, ModelInfo, PromptFormat
from plainsql.translators.language_model.prompts import Prompt, prompt_ids
from plainsql.translators.language_model.server_records import ContextTooSmall
from plainsql.translators.language_model.translator import (
    LanguageModelTranslator,
    places,
    untuned_prompt,
)

SAMPLES = 4
_UNKNOWN_CONTEXT = 2048  # tokens, of a file that doesn't say what its model reads


class GGUFTranslator(LanguageModelTranslator):
    """Proposes what the model in a GGUF file writes: the likeliest text, and a few drawn ones.

    A file that plainsql wrote is asked with the prompt its model was trained with. Any other
    is asked through its own chat template.
    """

    def __init__(
        self,
        name: str,
        *,
        options: ModelOptions | None = None,
        samples: int = SAMPLES,
        runtime: GGUFOptions | None = None,
    ) -> None:
        super().__init__(name, asking=options)
        self._samples = samples
        self._runtime = runtime or GGUFOptions()

    @cached_property
    def path(self) -> Path:
        """The file. Raises `ModelError`."""
        library()  # says what to install before it says what is wrong with the file
        return file_of(self.source)

    @cached_property
    def header(self) -> Header:
        """What the file says of itself. Raises as `loaded` does."""
        return read_header(self.path)

    @cached_property
    def loaded(self) -> Loaded:
        """The model. Raises `ModelError`, and `MissingExtra` without llama-cpp-python."""
        info = _info(self.path, self.header, self._limit)
        prompt = _fitting(info.prompt, self._limit)
        asked = prompt.max_input_tokens + prompt.max_output_tokens
        runtime = Runtime(self.path, self.header, asked, self._runtime)
        return Loaded(runtime, runtime.tokenizer, replace(info, prompt=prompt))

    @property
    def _limit(self) -> int:
        """The tokens that the model reads and writes at once."""
        return self._runtime.context or self.header.context or _UNKNOWN_CONTEXT

    @cached_property
    def settings(self) -> GenerationSettings:
        """The first search: greedy."""
        return GenerationSettings(max_new_tokens=self.info.prompt.max_output_tokens)

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """At most `n` different queries, the likeliest first; none where no text holds SQL.

        Raises `QuestionError` for a question that the model can't read at once, and
        `ModelError` (`ContextTooSmall`, `OutOfBudget`).
        """
        self.remark = ""
        prompt = self.prompt(question, schema, links)
        if prompt.too_long:
            raise self._too_long(prompt)
        return self._kept(prompt, schema, self._searches(n, self._samples))[:n]

    def _too_long(self, prompt: Prompt) -> Exception:
        form = self.info.prompt
        if form.max_input_tokens + form.max_output_tokens < self._limit:
            return too_long(form)  # its prompt is shorter than what it could read
        return ContextTooSmall(
            f"The question takes {prompt.tokens:,} tokens before any table is shown, and of the"
            f" {self._limit:,} that {self.path.name} reads and writes {form.max_input_tokens:,} are"
            " for the prompt.",
            self._limit,
        )

    def _search(
        self, prompt: Prompt, schema: Schema, search: GenerationSettings
    ) -> list[Generated]:
        """What one search writes after the prompt: one greedy text, or several drawn ones."""
        tokens = prompt_ids(self.loaded.tokenizer, prompt.text)
        grammar = self._grammar(schema, prompt.tables) if self._asking.constrained else ""
        first = self._draw(search, grammar)
        seeds = range(search.seed, search.seed + search.candidates)
        return [self._text(tokens, replace(first, seed=seed)) for seed in seeds]

    def _draw(self, search: GenerationSettings, grammar: str) -> Draw:
        stops = STOPS.get(self.info.prompt.style, ())
        if search.strategy == "greedy":
            return Draw(search.max_new_tokens, stops=stops, grammar=grammar)
        warped = (search.temperature, search.top_p, search.top_k)
        return Draw(search.max_new_tokens, *warped, stops=stops, grammar=grammar)

    def _text(self, tokens: Sequence[int], draw: Draw) -> Generated:
        """One text: without the grammar where llama.cpp can't follow it, "" where time is up."""
        try:
            return self.loaded.model.write(tokens, draw)
        except GrammarRefused as error:
            self.remark = f"not held to a grammar: {error}"
            return self._text(tokens, replace(draw, grammar=""))
        except OutOfBudget:
            return Generated("", 0.0, 0, finished=False)

    def _grammar(self, schema: Schema, shown: Sequence[str]) -> str:
        """GBNF of the queries over the tables that the prompt shows, "" for no grammar."""
        tables = places(schema, shown)
        return _gbnf(schema, tables) if tables else ""

    @cached_property
    def _identity(self) -> list[Any]:
        return [files_mark([self.path]), asdict(self._runtime)]

    def describe(self) -> str:
        """The model in a few words: "llama 7B Q4_0, 6,738.0 million parameters, GGUF"."""
        runtime = self.loaded.model
        return f"{runtime.description}, {runtime.parameters / 1e6:,.1f} million parameters, GGUF"


@lru_cache(maxsize=8)
def _gbnf(schema: Schema, tables: tuple[int, ...]) -> str:
    return grammar_of(schema, tables).gbnf


def _info(path: Path, header: Header, limit: int) -> ModelInfo:
    """How the model is asked: as the file says, or plainsql.json beside it, or its template."""
    written = header.values.get(PROMPT_KEY)
    if written is not None:
        try:
            return ModelInfo("full", prompt=PromptFormat.of(json.loads(written)))
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"{path} can't be used: what it says of its prompt is broken: {error}",
                hint="Export the model again.",
            ) from error
    if (path.parent / FILE).is_file() and find_gguf(path.parent) == path:
        return ModelInfo.read(path.parent)
    return ModelInfo("base", prompt=untuned_prompt(limit, chat=bool(header.template)))


def _fitting(form: PromptFormat, limit: int) -> PromptFormat:
    """The format with no more tokens than the model reads and writes in all."""
    answer = min(form.max_output_tokens, limit // 3)
    return replace(
        form,
        max_output_tokens=max(answer, 1),
        max_input_tokens=max(min(form.max_input_tokens, limit - answer), 1),
    )
