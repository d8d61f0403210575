"""The examples of a run: tokens to learn from, and held-out questions to be asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from plainsql.errors import DataError
from plainsql.training.data.prepared import read_examples
from plainsql.training.data.tokenizing import tokenize
from plainsql.training.tuning.execution_eval import sample
from plainsql.training.tuning.run_setup import Run
from plainsql.translators.language_model.loading import Loaded


@dataclass(frozen=True, slots=True)
class RunData:
    """`training` and `validation` are `datasets.Dataset`s of tokens.

    `rows` are the validation examples themselves; `validation` is None where there are
    none, or none that fits. `lengths` describes the training examples for the report.
    """

    training: Any
    validation: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    lengths: dict[str, Any] = field(default_factory=dict)


def load_run_data(run: Run, loaded: Loaded) -> RunData:
    """Tokenize both sides. Raises `DataError` when nothing is left to learn from."""
    config, family = run.config, loaded.info.family
    made = tokenize(run.prepared.train, loaded.tokenizer, run.prompt, family, config.padding)
    if not len(made.dataset):
        raise DataError(
            f"No example of {run.prepared.train} can be learned from: the file is empty, or all"
            " prompts or answers are too long.",
            hint="Prepare more data, or raise --max-input-tokens and --max-output-tokens.",
        )
    rows = _validation_rows(run)
    held_out = tokenize(rows, loaded.tokenizer, run.prompt, family, config.padding).dataset
    return RunData(
        training=made.dataset,
        validation=held_out if len(held_out) else None,
        rows=rows if len(held_out) else [],
        lengths=asdict(made.report),
    )


def _validation_rows(run: Run) -> list[dict[str, Any]]:
    if not run.config.eval_examples:
        return []
    rows = list(read_examples(run.prepared.validation))
    return [dict(row) for row in sample(rows, run.config.eval_examples, run.config.seed)]
