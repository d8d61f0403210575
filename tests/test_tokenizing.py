"""Examples as tokens: the same prompt as in use, the right labels, nothing cut silently."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plainsql.errors import DataError, ModelError
from plainsql.training.data.tokenizing import (
    IGNORED,
    PADDINGS,
    LengthReport,
    Tokenized,
    collator,
    quantiles,
    tokenize,
)
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import build_prompt, prompt_ids
from plainsql.translators.language_model.schema_text import Block
from tiny_models import CHAT_TEMPLATE, tiny_tokenizer

FORM = PromptFormat(schema_form="text", max_input_tokens=160, max_output_tokens=40)
SINGER = {"table": "singer", "text": "singer(id number pk, name text)", "rank": 0, "order": [1, 0]}
CONCERT = {"table": "concert", "text": "concert(id number pk, year number)", "rank": 1, "order": []}
FAMILIES = ("causal", "seq2seq")


def row(question: str = "How many singers are there?", **more: Any) -> dict[str, Any]:
    return {
        "instruction": "Translate.",
        "schema": [SINGER, CONCERT],
        "question": question,
        "response": "SELECT count(*) FROM singer",
        "db": "concerts",
        "evidence": "",
        **more,
    }


ROWS = [
    row(),
    row("Names?", response="SELECT name FROM singer WHERE country = 'France'"),
    row("Which year?", response="SELECT max(year) FROM concert", evidence="the last one"),
]


@cache
def tokenizer(adds: str = "$A", template: str = "") -> Any:
    from tokenizers.processors import TemplateProcessing

    made = tiny_tokenizer()
    made.chat_template = template or None
    special = [(mark, made.convert_tokens_to_ids(mark)) for mark in ("<s>", "</s>")]
    made.backend_tokenizer.post_processor = TemplateProcessing(single=adds, special_tokens=special)
    return made


def saved(folder: Path, *rows: Mapping[str, Any]) -> Path:
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
    return path


def unpadded(example: Mapping[str, list[int]]) -> tuple[list[int], list[int]]:
    """Input ids where the mask is 1, and labels that count."""
    pairs = zip(example["input_ids"], example["attention_mask"], strict=True)
    ids = [token for token, mask in pairs if mask]
    return ids, [label for label in example["labels"] if label != IGNORED]


# What tokenizers add by themselves: nothing (GPT-2, Qwen), BOS (Llama), EOS (T5), both (BART).
ADDS = ["$A", "<s> $A", "$A </s>", "<s> $A </s>"]


@pytest.mark.parametrize("adds", ADDS)
@pytest.mark.parametrize("style", ["instruct", "chat", "minimal"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_causal_examples_are_the_prompt_of_use_and_the_response(
    adds: str, style: str, padding: str
) -> None:
    words = tokenizer(adds, CHAT_TEMPLATE)
    form = PromptFormat(style, "text", 400, 40)
    made = tokenize(ROWS, words, form, "causal", padding)
    assert made.report.kept == len(made.dataset) == len(ROWS)
    for item, example in zip(ROWS, made.dataset, strict=True):
        blocks = [Block.of(block) for block in item["schema"]]
        prompt = build_prompt(
            form, item["question"], blocks, words, item["db"], evidence=item["evidence"]
        )
        ids = prompt_ids(words, prompt.text)
        inputs, labels = unpadded(example)
        assert inputs == ids + labels
        assert labels[-1] == words.eos_token_id
        assert words.decode(labels[:-1]) == item["response"]
        assert words.eos_token_id not in labels[:-1]
        start = len(ids)
        assert example["labels"][:start] == [IGNORED] * start
        assert example["labels"][start : start + len(labels)] == labels
        assert set(example["labels"][start + len(labels) :]) <= {IGNORED}
        assert len(example["input_ids"]) == (440 if padding == "max_length" else len(inputs))


@pytest.mark.parametrize("adds", ADDS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_seq2seq_examples(adds: str, padding: str) -> None:
    words = tokenizer(adds)
    made = tokenize(ROWS, words, FORM, "seq2seq", padding)
    for item, example in zip(ROWS, made.dataset, strict=True):
        inputs, labels = unpadded(example)
        text = words.decode(inputs, skip_special_tokens=True)
        assert text.endswith("### Response\n")
        assert (inputs[-1] == words.eos_token_id) is adds.endswith("</s>")
        assert labels.count(words.eos_token_id) == 1
        assert labels[-1] == words.eos_token_id
        assert words.decode(labels, skip_special_tokens=True) == item["response"]
        if padding == "max_length":
            assert (len(example["input_ids"]), len(example["labels"])) == (160, 40)


def test_a_merge_over_the_boundary_would_be_another_prompt() -> None:
    """Why prompt and response are tokenized apart."""
    words = tokenizer()
    prompt, response = "SQL:\nSELECT na", "me FROM singer"
    together = words(prompt + response)["input_ids"]
    assert together[: len(words(prompt)["input_ids"])] != words(prompt)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_batches_are_padded_on_the_right(family: str, side: str) -> None:
    words = tiny_tokenizer()
    words.padding_side = side
    made = tokenize(ROWS, words, FORM, family)
    batch = collator(words, family)(list(made.dataset))
    assert words.padding_side == side
    longest = max(len(example["input_ids"]) for example in made.dataset)
    assert tuple(batch["input_ids"].shape) == (3, longest)
    for at, example in enumerate(made.dataset):
        length = len(example["input_ids"])
        assert batch["input_ids"][at, :length].tolist() == example["input_ids"]
        assert batch["attention_mask"][at].tolist() == [1] * length + [0] * (longest - length)
        labels = batch["labels"][at].tolist()
        assert labels[: len(example["labels"])] == example["labels"]
        assert set(labels[len(example["labels"]) :]) <= {IGNORED}


def test_eos_that_pads_is_still_learned() -> None:
    """Many tokenizers have no padding token but EOS: labels are masked by place."""
    words = tiny_tokenizer()
    words.pad_token = words.eos_token
    made = tokenize(ROWS, words, FORM, "causal", "max_length")
    batch = collator(words, "causal", "max_length")(list(made.dataset))
    ends = (batch["labels"] == words.eos_token_id).sum(dim=1)
    assert ends.tolist() == [1, 1, 1]


# --- what does not fit ---------------------------------------------------------------

LONG_QUESTION = row("Who " + "sang and sang " * 60 + "?")
LONG_RESPONSE = row(response="SELECT " + ", ".join(f"column_{i}" for i in range(60)))
LONG_SCHEMA = row(schema=[SINGER, {**CONCERT, "text": f"concert({'year number, ' * 60}id number)"}])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_does_not_fit_is_counted(family: str) -> None:
    words = tokenizer()
    rows = [row(), LONG_QUESTION, LONG_RESPONSE, LONG_SCHEMA]
    made = tokenize(rows, words, FORM, family, "max_length")
    report = made.report
    counts = (report.schema_cut, report.question_too_long, report.response_too_long)
    assert (report.examples, report.kept, counts) == (4, 2, (1, 1, 1))
    texts = [words.decode(unpadded(example)[0]) for example in made.dataset]
    assert len(texts) == 2
    assert all("singer(id number pk, name text)" in text for text in texts)
    assert "concert(" in texts[0]
    assert "concert(" not in texts[1]
    assert all("How many singers are there?" in text for text in texts)
    assert report.output["max"] == FORM.max_output_tokens + 1
    assert report.input["max"] > FORM.max_input_tokens


def test_everything_left_out() -> None:
    made = tokenize([LONG_QUESTION], tokenizer(), FORM)
    assert len(made.dataset) == 0
    assert made.report.kept == 0


@pytest.mark.parametrize("extra", [-1, 0])
def test_a_response_of_exactly_the_limit_is_kept(extra: int) -> None:
    words = tokenizer()
    length = len(words("SELECT count(*) FROM singer")["input_ids"]) + 1  # and EOS
    form = PromptFormat(schema_form="text", max_input_tokens=160, max_output_tokens=length + extra)
    for family in FAMILIES:
        assert tokenize([row()], words, form, family).report.response_too_long == -extra


def test_quantiles() -> None:
    assert quantiles(Counter()) == {}
    assert quantiles(Counter({7: 1})) == dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 7)
    lengths = Counter(range(1, 101))
    assert quantiles(lengths) == {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}


# --- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_gives_what_its_rows_give(tmp_path: Path, family: str) -> None:
    path = saved(tmp_path, *ROWS)
    made = tokenize(path, tokenizer(), FORM, family, folder=tmp_path / "arrow")
    in_memory = tokenize(ROWS, tokenizer(), FORM, family, batch_size=1)
    assert made.report == in_memory.report
    assert list(made.dataset) == list(in_memory.dataset)
    assert made.dataset.column_names == ["input_ids", "attention_mask", "labels"]
    assert made.dataset.cache_files


def test_files_go_where_they_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    made = tokenize(saved(tmp_path, *ROWS), tokenizer(), FORM, folder=tmp_path / "arrow")
    assert all(Path(file["filename"]).is_relative_to(tmp_path) for file in made.dataset.cache_files)
    assert list(Path(os.environ["HOME"]).iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tokenize(saved(tmp_path, *ROWS), tokenizer(), FORM)
    assert len(list(tmp_path.glob("plainsql-tokens-*"))) == 1
    assert capfd.readouterr() == ("", "")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    def length() -> int:
        return len(tokenize(path, tokenizer(), FORM, folder=tmp_path / "arrow").dataset)

    path = saved(tmp_path, *ROWS)
    assert length() == 3
    saved(tmp_path, *ROWS, *ROWS)
    assert length() == 6
    other = tokenize(path, tokenizer(), FORM, "seq2seq", folder=tmp_path / "arrow")
    assert other.dataset[0]["labels"][0] != IGNORED


def test_fields_that_may_be_missing(tmp_path: Path) -> None:
    bare = row()
    del bare["evidence"], bare["db"], bare["instruction"]
    bare["schema"] = [{name: SINGER[name] for name in ("table", "text", "rank")}]
    expected = tokenize([row(schema=[{**SINGER, "order": []}])], tokenizer(), FORM)
    for source in ([bare], saved(tmp_path, bare)):
        made = tokenize(source, tokenizer(), FORM)
        assert list(made.dataset) == list(expected.dataset)


def test_rows_of_later_batches_may_have_other_fields(tmp_path: Path) -> None:
    plain = row(schema=[{**SINGER, "order": []}])
    made = tokenize(saved(tmp_path, *[plain] * 300, row()), tokenizer(), FORM)
    assert made.report.kept == 301


@pytest.mark.parametrize("source", [[], "file"])
def test_no_rows(tmp_path: Path, source: Any) -> None:
    made = tokenize(saved(tmp_path) if source == "file" else source, tokenizer(), FORM)
    assert made == Tokenized(made.dataset, LengthReport(0, 0, 0, 0, 0, {}, {}))
    assert made.dataset.column_names == ["input_ids", "attention_mask", "labels"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json\n", "train.jsonl: JSON parse error"),
        ('{"a": 1}\n', "train.jsonl: "),
        ('{"schema": "x"}\n', "train.jsonl: "),
        ('{"schema": [{"rank": 1}], "question": "Who?", "response": "x"}\n', "'Who\\?'"),
    ],
)
def test_files_of_another_form(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as caught:
        tokenize(path, tokenizer(), FORM)
    assert caught.value.hint == "Prepare the data again."
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        tokenize(tmp_path / "none.jsonl", tokenizer(), FORM)


def test_a_tokenizer_without_an_end() -> None:
    words = tiny_tokenizer()
    words.eos_token = None
    with pytest.raises(ModelError, match="end-of-sequence"):
        tokenize(ROWS, words, FORM)


def test_an_unknown_padding() -> None:
    with pytest.raises(DataError, match="'most'"):
        tokenize(ROWS, tokenizer(), FORM, padding="most")
