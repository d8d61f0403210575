"""Accuracy of a model in training: prompts once, then generate, extract, judge each time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any

from plainsql.training.data.prepared import row_prompt
from plainsql.training.tuning.callbacks import Interrupt
from plainsql.training.tuning.execution_eval import Judge, Row
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.generation import GenerationSettings, generate
from plainsql.translators.language_model.loading import Loaded
from plainsql.translators.language_model.prompts import Prompt

BATCH = 8  # prompts at once; an interrupt is noticed between batches


class Assessment:
    """Callable: the share of validation examples for which a model writes the right SQL.

    Databases are opened at the first call, in the processes that make one. Use as a
    context.
    """

    def __init__(
        self, rows: Sequence[Row], databases: str, loaded: Loaded, interrupt: Interrupt
    ) -> None:
        self._rows, self._databases = rows, databases
        self._loaded, self._interrupt = loaded, interrupt
        self._opened = ExitStack()

    def __enter__(self) -> Assessment:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @cached_property
    def judge(self) -> Judge:
        """Who compares; its `rule` is the name of the accuracy."""
        dialect = self._loaded.info.prompt.dialect
        return self._opened.enter_context(Judge(self._rows, self._databases, dialect))

    @cached_property
    def _prompts(self) -> list[Prompt]:
        """The prompts of use: made by the function that training's tokens come from, too."""
        form, tokenizer = self._loaded.info.prompt, self._loaded.tokenizer
        return [row_prompt(form, row, tokenizer) for row in self._rows]

    def __call__(self, model: Any) -> float | None:
        """The accuracy of `model`; None when the run was interrupted meanwhile.

        An example whose question does not fit the prompt counts as wrong.
        """
        fitting = [i for i, prompt in enumerate(self._prompts) if not prompt.too_long]
        predictions = [""] * len(self._prompts)
        loaded = replace(self._loaded, model=model)
        most = self._loaded.info.prompt.max_output_tokens
        settings = GenerationSettings(max_new_tokens=most, batch_size=BATCH)
        for start in range(0, len(fitting), BATCH):
            if self._interrupt.seen:
                return None
            chosen = fitting[start : start + BATCH]
            found = generate(loaded, [self._prompts[i].text for i in chosen], settings)
            for i, texts in zip(chosen, found, strict=True):
                predictions[i] = extract_sql(texts[0].text) if texts else ""
        return self.judge.judge(predictions).accuracy
