"""A tiny Llama that knows a handful of answers by heart: for tests of the whole flow.

    folder = taught_model(tmp_path / "model", {"How many singers are there?": "SELECT …"}, database)

It is trained on the prompts that `LanguageModelTranslator` builds, in a few seconds.
`concerts_model` is one for all tests of a process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import plainsql
from conftest import CONCERTS
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.translator import LanguageModelTranslator
from tiny_models import tiny_model

PROMPT = PromptFormat(style="instruct", schema_form="text", max_input_tokens=320)
MOST_STEPS, RATE, LEARNED = 250, 5e-3, 0.005  # about 130 steps are enough


HOW_MANY = "How many singers are there?"
FRENCH = "Which singers are from France?"
DROP = "Drop the singers"
SHOES = "Which singers have big shoes?"
PROSE = "What do the singers think?"
ANSWERS = {
    HOW_MANY: "SELECT count(*) FROM singer",
    FRENCH: "SELECT name FROM singer WHERE country = 'France'",
    DROP: "DROP TABLE singer",
    SHOES: "SELECT shoe_size FROM singer",
    PROSE: "I do not know.",
}


@cache
def concerts_model(root: Path) -> tuple[Path, Path]:
    """A model that gives `ANSWERS`, and the database they are about, in `root`/taught."""
    folder = root / "taught"
    folder.mkdir()
    database = make_concerts(folder)
    return taught_model(folder / "model", ANSWERS, database), database


def make_concerts(folder: Path) -> Path:
    """The database of the concerts, written into `folder`."""
    database = folder / "concerts.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(CONCERTS)
    return database


def taught_model(
    folder: Path, answers: Mapping[str, str], database: Path, *, prompt: PromptFormat = PROMPT
) -> Path:
    """Write a model into `folder` that answers the questions of `answers`; return the folder."""
    import torch

    tiny_model("llama", folder, chat=prompt.style == "chat")
    ModelInfo("full", prompt=prompt).write(folder)
    translator = LanguageModelTranslator(folder)
    batch = _batch(translator, answers, database)
    model = translator.loaded.model.train()
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for _ in range(MOST_STEPS):
        loss = model(**batch).loss
        if loss.item() < LEARNED:
            break
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < LEARNED, f"the model did not learn: {loss.item()}"
    model.eval().save_pretrained(folder)
    replace(translator.info, dtype="float32").write(folder)
    return folder


def _batch(
    translator: LanguageModelTranslator, answers: Mapping[str, str], database: Path
) -> dict[str, Any]:
    """Prompts and answers, padded on the right, with labels on the answers alone."""
    import torch

    tokenizer = translator.loaded.tokenizer
    rows, labels = [], []
    with plainsql.connect(database, translator=translator) as opened:
        for question, sql in answers.items():
            prompt = translator.prompt(question, opened.schema, opened.link(question))
            assert not prompt.schema_cut
            before = tokenizer(prompt.text)["input_ids"]
            after = [*tokenizer(sql, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            rows.append(torch.tensor(before + after))
            labels.append(torch.tensor([-100] * len(before) + after))
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True, padding_value=tokenizer.pad_token_id),
        "labels": pad(labels, batch_first=True, padding_value=-100),
    }
