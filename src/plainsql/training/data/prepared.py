"""A folder that `data prepare` wrote: what is in it, and how it is read.

    train.jsonl, validation.jsonl   one example a line (see `examples.row_of`)
    rejected.jsonl                  the rows that were left out, and why
    prepare.json                    the manifest: sources, prompt format, splits, report

The folder is written under another name and renamed when it is whole, so the
manifest is there only where the rest is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from plainsql.errors import DataError
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import Prompt, build_prompt
from plainsql.translators.language_model.schema_text import Block

MANIFEST = "prepare.json"
TRAIN = "train.jsonl"
VALIDATION = "validation.jsonl"
REJECTED = "rejected.jsonl"
FILES = frozenset({MANIFEST, TRAIN, VALIDATION, REJECTED})
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PreparedData:
    """A prepared folder. `databases` is "" where the examples have no databases."""

    folder: Path
    prompt: PromptFormat
    train: Path
    validation: Path  # an empty file where nothing was held out
    databases: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)


def load_prepared(folder: str | Path) -> PreparedData:
    """The prepared data in `folder`. Raises `DataError` where it is missing or not whole."""
    path = Path(folder).expanduser()
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format_version"]
        if found != FORMAT_VERSION:
            raise ValueError(f"format version {found}, expected {FORMAT_VERSION}")
        prompt = PromptFormat(**_known(manifest["prompt"]))
        databases = str(manifest.get("databases", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path} holds no prepared data: {_said(error)}",
            hint="Make it with: plainsql data prepare SOURCE --out DIR",
        ) from error
    for name in (TRAIN, VALIDATION):
        if not (path / name).is_file():
            raise DataError(
                f"{path} is not whole: there is no {name}.", hint="Prepare the data again."
            )
    return PreparedData(path, prompt, path / TRAIN, path / VALIDATION, databases, manifest)


def read_examples(path: Path) -> Iterator[dict[str, Any]]:
    """The examples of a prepared file, one at a time. Raises `DataError` for a broken line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}, line {number}: {error}", hint="Prepare the data again."
                ) from error


def _known(values: dict[str, Any]) -> dict[str, Any]:
    names = {item.name for item in fields(PromptFormat)}
    if unknown := set(values) - names:
        raise ValueError(f"unknown prompt settings {sorted(unknown)}")
    return values


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no {Path(str(error.filename)).name}"
    if isinstance(error, KeyError):
        return f"{MANIFEST} has no {error.args[0]!r}"
    return str(error)


def row_prompt(form: PromptFormat, row: Mapping[str, Any], tokenizer: Any) -> Prompt:
    """The prompt of one prepared example: the text that `build_prompt` makes in use as well.

    Raises KeyError, TypeError or AttributeError for a row that is not whole.
    """
    return build_prompt(
        form,
        row["question"] or "",
        [Block.of(block) for block in row["schema"] or ()],
        tokenizer,
        row.get("db") or "",
        row.get("evidence") or "",
    )
