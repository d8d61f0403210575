"""A tiny model that has learned the rows of a prepared file by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from plainsql.training.data.prepared import read_examples
from plainsql.translators.language_model.loading import Loaded, load
from plainsql.translators.language_model.prompts import build_prompt
from plainsql.translators.language_model.schema_text import Block

STEPS, RATE = 60, 6e-3


def taught_by_rows(folder: Path, rows: Path) -> Path:
    """Train the model in `folder` on the prompts of `rows`, in a second or two; save it there."""
    loaded = load(folder)
    batch = _batch(loaded, rows)
    model = loaded.model.train()
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for _ in range(STEPS):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05, f"the model did not learn: {loss.item()}"
    model.eval().save_pretrained(folder)
    return folder


def _batch(loaded: Loaded, rows: Path) -> dict[str, Any]:
    """Prompt, response and end of each row; the loss is on the latter two."""
    examples = [_example(loaded, row) for row in read_examples(rows)]
    most = max(len(prompt) + len(answer) for prompt, answer in examples)
    ids, labels = [], []
    for prompt, answer in examples:
        rest = most - len(prompt) - len(answer)
        ids.append([*prompt, *answer, *[loaded.tokenizer.pad_token_id] * rest])
        labels.append([*[-100] * len(prompt), *answer, *[-100] * rest])
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


def _example(loaded: Loaded, row: dict[str, Any]) -> tuple[list[int], list[int]]:
    blocks = [Block(**block) for block in row["schema"]]
    prompt = build_prompt(
        loaded.info.prompt, row["question"], blocks, loaded.tokenizer, row["db"], row["evidence"]
    )
    answer = loaded.tokenizer(row["response"], add_special_tokens=False)["input_ids"]
    ids = loaded.tokenizer(prompt.text)["input_ids"]
    return ids, [*answer, loaded.tokenizer.eos_token_id]
