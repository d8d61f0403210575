"""What a model on disk gets right of prepared questions: asked before and after merging."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plainsql.errors import DataError
from plainsql.training.data.prepared import load_prepared, read_examples, row_prompt
from plainsql.training.tuning.execution_eval import Judge, sample
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.generation import GenerationSettings, generate
from plainsql.translators.language_model.loading import LoadOptions, load
from plainsql.translators.parser.weights import is_parser


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`right` of `total` questions, judged by `rule`."""

    right: int
    total: int
    rule: str

    @property
    def shown(self) -> str:
        """As a person reads it: `81 of 100`."""
        return f"{self.right} of {self.total}"


def measure(
    source: str | Path,
    data: Path,
    databases: Path | None = None,
    limit: int = 100,
    *,
    device: str = "auto",
    seed: int = 0,
) -> Accuracy:
    """Ask the model at `source` at most `limit` held-out questions of the prepared `data`.

    Greedy decoding; the same questions for the same seed. Rows are compared where
    `databases` (default: those the data was prepared with) hold the database, else the
    statements. Raises `DataError` where there is no question.
    """
    prepared = load_prepared(data)
    rows = list(read_examples(prepared.validation)) or list(read_examples(prepared.train))
    if not rows:
        raise DataError(f"{data} holds no question.", hint="Prepare more data.")
    chosen = sample(rows, limit, seed)
    if is_parser(source):
        from plainsql.training.parser_tuning.measuring import predictions

        with Judge(chosen, str(databases or prepared.databases)) as judge:
            judged = judge.judge(predictions(source, chosen, databases or prepared.databases))
        return Accuracy(judged.right, judged.total, judged.rule)
    loaded = load(source, LoadOptions(device=device))
    form = loaded.info.prompt
    prompts = [row_prompt(form, row, loaded.tokenizer).text for row in chosen]
    settings = GenerationSettings(max_new_tokens=form.max_output_tokens)
    written = generate(loaded, prompts, settings)
    answers = [extract_sql(texts[0].text) if texts else "" for texts in written]
    with Judge(chosen, str(databases or prepared.databases), form.dialect) as judge:
        judged = judge.judge(answers)
    return Accuracy(judged.right, judged.total, judged.rule)
