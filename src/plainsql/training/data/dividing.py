"""The second pass: examples go to the side that their group is on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from plainsql.training.data.prepared import TRAIN, VALIDATION
from plainsql.training.data.report import Narrowing, SideCounter
from plainsql.training.data.splits import Groups
from plainsql.training.data.spool import Spooled, read_spool
from plainsql.translators.language_model.model_info import PromptFormat


@dataclass(frozen=True, slots=True)
class Divided:
    """What was written to both sides. `held_out` counts by the source's position."""

    train: SideCounter
    validation: SideCounter
    narrowing: Narrowing
    held_out: Counter[int]


def divide(
    spool: Path, folder: Path, groups: Groups, chosen: Collection[int], form: PromptFormat
) -> Divided:
    """Write train.jsonl and validation.jsonl; `chosen` are the groups to validate on.

    Where there are sources for validation alone, an example of another source
    that shares a group with theirs goes to neither side.
    """
    train, validation = SideCounter(form), SideCounter(form)
    narrowed: Counter[str] = Counter()
    held_out: Counter[int] = Counter()
    given = False  # there are sources for validation alone; they come first
    with (
        (folder / TRAIN).open("w", encoding="utf-8") as train_file,
        (folder / VALIDATION).open("w", encoding="utf-8") as validation_file,
    ):
        for example in read_spool(spool):
            given = given or example.validation
            validates = groups.root(example.group) in chosen
            if validates and given and not example.validation:
                held_out[example.source] += 1
                continue
            _write(example, validation_file if validates else train_file, train=not validates)
            _count(example, validation if validates else train, train=not validates)
            _count_narrowing(example, narrowed, train=not validates)
    return Divided(train, validation, Narrowing(**narrowed), held_out)


def _write(example: Spooled, file: TextIO, *, train: bool) -> None:
    row = {**example.row, "schema": example.view(train=train).schema}
    file.write(json.dumps(row) + "\n")


def _count(example: Spooled, side: SideCounter, *, train: bool) -> None:
    view = example.view(train=train)
    side.add(
        example.scope,
        view.prompt_tokens,
        example.response_tokens,
        cut=view.schema_cut,
        too_long=view.too_long,
    )


def _count_narrowing(example: Spooled, counts: Counter[str], *, train: bool) -> None:
    if example.in_use.schema_cut:
        counts["narrowed"] += 1
        counts["lost"] += example.in_use.lost
        counts["still_lost"] += train and example.view(train=True).lost
