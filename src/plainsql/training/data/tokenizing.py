"""Prepared examples as tokens: what the loss is taken on, and what it is not.

    {"question", "schema", "response", …} ─ tokenize ─▶ input_ids, attention_mask, labels

Prompt and response are tokenized apart and put together as numbers. Tokenized as
one text, a BPE may merge the last character of the prompt with the first of the
response into one token, a token that is not there when the model is asked: it
would have learned to go on from a prompt that it never sees. So the prompt's
tokens here are the very ones of use (`prompts.prompt_ids`), and the response's
are those the model has to produce, ended by EOS.

    causal   input_ids  prompt ids  response ids  EOS  pad …
             labels     -100 …      response ids  EOS  -100 …
    seq2seq  input_ids  prompt ids  pad …         labels  response ids  EOS  -100 …

A schema is cut where a prompt is too long, a question or a response never is:
such an example is left out and counted.
"""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from plainsql.errors import DataError, ModelError
from plainsql.training.data.prepared import row_prompt
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import Prompt, prompt_ids

IGNORED = -100  # the label that torch's cross entropy leaves out
PADDINGS = ("longest", "max_length")
QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)

_TEXT, _INT = datasets.Value("string"), datasets.Value("int32")
# Said in advance: guessed from the first rows, a column of empty lists has no type.
ROW_FEATURES = datasets.Features(
    {
        "instruction": _TEXT,
        "schema": datasets.List(
            {"table": _TEXT, "text": _TEXT, "rank": _INT, "order": datasets.List(_INT)}
        ),
        "question": _TEXT,
        "response": _TEXT,
        "db": _TEXT,
        "evidence": _TEXT,
    }
)
_TOKENS = datasets.List(_INT)
TOKEN_FEATURES = datasets.Features(
    {
        "input_ids": _TOKENS,
        "attention_mask": datasets.List(datasets.Value("int8")),
        "labels": _TOKENS,
    }
)


@dataclass(frozen=True, slots=True)
class LengthReport:
    """Lengths in tokens, special ones included, and what did not fit.

    `input` and `output` map "p50", "p90", "p95", "p99" and "max" to lengths of the
    prompts and responses of all examples, those left out too; the schema is already
    cut, and a response that is too long counts as one token more than fits.
    """

    examples: int
    kept: int
    schema_cut: int  # kept, with tables or columns left out of the prompt
    question_too_long: int  # left out: no room for the question, or for any of its schema
    response_too_long: int  # left out
    input: dict[str, int]
    output: dict[str, int]


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Examples ready for a `Trainer`. `dataset` has input_ids, attention_mask, labels."""

    dataset: datasets.Dataset
    report: LengthReport


def tokenize(
    source: str | Path | Iterable[Mapping[str, Any]],
    tokenizer: Any,
    form: PromptFormat,
    family: str = "causal",
    padding: str = "longest",
    *,
    folder: str | Path | None = None,
    batch_size: int = 256,
) -> Tokenized:
    """Tokenize prepared rows: a JSONL file of any size, or rows in memory.

    A file goes through Arrow files on disk, in `folder` or in a temporary one that
    goes when the process ends; memory does not grow with it. With padding "longest",
    rows keep their length and `collator` pads each batch; with "max_length", inputs
    are padded to `form.max_input_tokens` (causal: plus `form.max_output_tokens`) and
    labels alike. Raises `DataError` for rows of another form, `ModelError` for a
    tokenizer without EOS.
    """
    work = _Work(tokenizer, form, family, padding)
    with _silent():
        rows, cache = _rows(source, folder)
        if not len(rows):
            return Tokenized(_table(TOKEN_FEATURES, []), work.report())
        dataset = rows.map(
            work,
            batched=True,
            batch_size=batch_size,
            remove_columns=rows.column_names,
            features=TOKEN_FEATURES,
            load_from_cache_file=False,
            cache_file_name=cache,
            # Given, since datasets would otherwise pickle the tokenizer to make one.
            new_fingerprint=f"{rows._fingerprint}-tokens",
        )
    return Tokenized(dataset, work.report())


def collator(tokenizer: Any, family: str, padding: str = "longest") -> Any:
    """What makes batches of tokenized rows: pads them on the right, labels with -100.

    Generation pads causal prompts on the left; training must not, or positions
    would depend on the longest row of a batch. So it works on a copy.
    """
    from transformers import DataCollatorForSeq2Seq

    ours = copy.copy(tokenizer)
    ours.padding_side = "right"
    # On fixed lengths there is nothing left to pad.
    return DataCollatorForSeq2Seq(ours, padding=True, label_pad_token_id=IGNORED)


# --- one batch of rows ---------------------------------------------------------


@dataclass
class _Work:
    """Maps batches of rows to batches of tokens, and counts on the way."""

    tokenizer: Any
    form: PromptFormat
    family: str
    padding: str
    examples: int = 0
    kept: int = 0
    schema_cut: int = 0
    question_too_long: int = 0
    response_too_long: int = 0
    inputs: Counter[int] = field(default_factory=Counter)
    outputs: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise DataError(
                f"No padding {self.padding!r}.", hint=f"Paddings: {', '.join(PADDINGS)}."
            )
        if self.tokenizer.eos_token_id is None:
            raise ModelError(
                "The tokenizer has no end-of-sequence token, so a model could not learn to stop.",
                hint='Set "eos_token" in its tokenizer_config.json.',
            )

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[list[int]]]:
        """Columns of rows to columns of tokens; rows that don't fit are left out."""
        made: dict[str, list[list[int]]] = {name: [] for name in TOKEN_FEATURES}
        answers = self._responses([text or "" for text in batch["response"]])
        for at, answer in enumerate(answers):
            prompt = self._prompt({name: values[at] for name, values in batch.items()})
            if not self._fits(prompt, answer):
                continue
            ids = prompt_ids(
                self.tokenizer, prompt.text, self.family, max_length=self.form.max_input_tokens
            )
            for name, values in self._padded(*self._example(ids, answer)).items():
                made[name].append(values)
        return made

    def _prompt(self, row: Mapping[str, Any]) -> Prompt:
        try:
            return row_prompt(self.form, row, self.tokenizer)
        except (KeyError, TypeError, AttributeError) as error:
            shown = repr(row.get("question"))
            raise _malformed(f"the row of the question {shown} is not whole") from error

    def _responses(self, texts: list[str]) -> list[list[int]]:
        """The tokens of responses, EOS included, at most one more than fit."""
        limit = {"truncation": True, "max_length": self.form.max_output_tokens + 1}
        if self.family == "seq2seq":
            found = self.tokenizer(text_target=texts, **limit)["input_ids"]
        else:
            found = self.tokenizer(texts, add_special_tokens=False, **limit)["input_ids"]
        end = self.tokenizer.eos_token_id
        return [list(ids) if ids and ids[-1] == end else [*ids, end] for ids in found]

    def _fits(self, prompt: Prompt, answer: Sequence[int]) -> bool:
        """Count an example; True where it can be learned from whole."""
        self.examples += 1
        self.inputs[prompt.tokens] += 1
        self.outputs[min(len(answer), self.form.max_output_tokens + 1)] += 1
        fits = not prompt.too_long and len(answer) <= self.form.max_output_tokens
        self.question_too_long += prompt.too_long
        self.response_too_long += not prompt.too_long and not fits
        self.kept += fits
        self.schema_cut += fits and prompt.schema_cut
        return fits

    def _example(self, prompt: list[int], answer: list[int]) -> tuple[list[int], list[int]]:
        """Input ids and labels of one example."""
        if self.family == "seq2seq":
            return prompt, answer
        return prompt + answer, [IGNORED] * len(prompt) + answer

    def _padded(self, ids: list[int], labels: list[int]) -> dict[str, list[int]]:
        mask = [1] * len(ids)
        if self.padding == "max_length":
            width, height = self.form.max_input_tokens, self.form.max_output_tokens
            if self.family != "seq2seq":
                width = height = width + height
            ids = ids + [self.tokenizer.pad_token_id] * (width - len(ids))
            mask = mask + [0] * (width - len(mask))
            labels = labels + [IGNORED] * (height - len(labels))
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def report(self) -> LengthReport:
        """What was counted so far."""
        return LengthReport(
            self.examples,
            self.kept,
            self.schema_cut,
            self.question_too_long,
            self.response_too_long,
            quantiles(self.inputs),
            quantiles(self.outputs),
        )


def quantiles(lengths: Counter[int]) -> dict[str, int]:
    """The lengths that the given shares of rows don't exceed; empty without rows."""
    found: dict[str, int] = {}
    total = sum(lengths.values())
    for share in QUANTILES if total else ():
        name = "max" if share == 1 else f"p{round(100 * share)}"
        found[name] = next(_reaching(lengths, share * total))
    return found


def _reaching(lengths: Counter[int], rows: float) -> Iterator[int]:
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= rows - 1e-9:
            yield length


# --- where rows come from ------------------------------------------------------


def _rows(
    source: str | Path | Iterable[Mapping[str, Any]], folder: str | Path | None
) -> tuple[datasets.Dataset, str | None]:
    """The rows as a dataset, and the file that what is made of them goes to (None: memory)."""
    if not isinstance(source, str | Path):
        return _table(ROW_FEATURES, [_row(row) for row in source]), None
    if _is_empty(Path(source)):
        return _table(ROW_FEATURES, []), None
    place = Path(folder) if folder is not None else _temporary()
    place.mkdir(parents=True, exist_ok=True)
    try:
        # note: `load_dataset("json", …)` reads the same way, but reports the use to a server.
        rows = datasets.Dataset.from_json(
            str(source), features=ROW_FEATURES, cache_dir=str(place), split=datasets.Split.TRAIN
        )
    except (datasets.exceptions.DatasetGenerationError, ValueError, OSError) as error:
        said = str(error.__cause__ or error).splitlines() or [""]
        raise _malformed(f"{source}: {said[0]}") from error
    return rows, str(place / f"tokens-{rows._fingerprint}.arrow")


def _table(features: datasets.Features, rows: Sequence[Mapping[str, Any]]) -> datasets.Dataset:
    columns = {name: [row[name] for row in rows] for name in features}
    return datasets.Dataset.from_dict(columns, features=features)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    blocks = [{"order": [], **block} for block in row.get("schema") or ()]
    return {**{name: row.get(name) for name in ROW_FEATURES}, "schema": blocks}


def _is_empty(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not file.read(1)
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error.strerror}",
            hint="Make it with: plainsql data prepare SOURCE --out DIR",
        ) from error


def _malformed(what: str) -> DataError:
    return DataError(f"The prepared data can't be used: {what}", hint="Prepare the data again.")


def _temporary() -> Path:
    """A folder that goes with the process: mapped files must outlive every dataset on them."""
    folder = Path(tempfile.mkdtemp(prefix="plainsql-tokens-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _silent() -> Iterator[None]:
    """Without the bars and remarks of datasets, which come to the terminal unasked."""
    had_bars, verbosity = (
        not datasets.are_progress_bars_disabled(),
        datasets.logging.get_verbosity(),
    )
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if had_bars:
            datasets.enable_progress_bars()
