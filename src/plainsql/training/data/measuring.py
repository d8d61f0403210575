"""The lengths of prepared examples by a tokenizer, and how they look to a model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from plainsql.errors import MissingExtra, ModelError
from plainsql.training.data.prepared import PreparedData, read_examples, row_prompt
from plainsql.training.data.report import Side, SideCounter
from plainsql.translators.language_model.estimating import EstimatingTokenizer
from plainsql.translators.language_model.libraries import quiet
from plainsql.translators.language_model.prompts import Prompt
from plainsql.translators.language_model.tokenizer_facts import facts_of
from plainsql.translators.language_model.tokenizer_repair import load_tokenizer, repaired

ESTIMATE = "estimate"


def tokenizer_of(name: str) -> Any:
    """The tokenizer in a folder or on the Hub; one that estimates where `name` is "".

    Raises `ModelError` where there is none, `MissingExtra` without transformers.
    """
    if not name:
        return EstimatingTokenizer()
    quiet()
    folder = Path(name).expanduser()
    try:
        if folder.is_dir():
            return load_tokenizer(folder)
        from transformers import AutoTokenizer

        return repaired(AutoTokenizer.from_pretrained(name), name)
    except ImportError as error:
        raise MissingExtra("A tokenizer", "train") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"There is no tokenizer {name!r}: {str(error).partition(chr(10))[0]}",
            hint="Give a folder with a tokenizer, or the id of a model on the Hub.",
        ) from error


def prompts(
    path: Path, data: PreparedData, tokenizer: Any, count: int
) -> Iterator[tuple[Prompt, str]]:
    """The first `count` prompts of a prepared file, each with its response."""
    for row in islice(read_examples(path), count):
        yield row_prompt(data.prompt, row, tokenizer), row["response"]


def measure(path: Path, data: PreparedData, tokenizer: Any) -> Side:
    """The lengths of all examples of a prepared file by `tokenizer`."""
    counter = SideCounter(data.prompt)
    facts = facts_of(tokenizer)
    for row in read_examples(path):
        prompt = row_prompt(data.prompt, row, tokenizer)
        response = facts.part_length(row["response"]) + 1  # and the end
        cut, too_long = prompt.schema_cut, prompt.too_long
        counter.add(row["db"], prompt.tokens, response, cut=cut, too_long=too_long)
    return counter.side()
