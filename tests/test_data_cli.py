"""plainsql data prepare, show and report, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plainsql.cli.main import run

PAIRS = """question,sql
How many singers are there?,SELECT count(*) FROM singer
How many of them?,SELECT count(*) FROM singer
Who is French?,SELECT name FROM singer WHERE country = 'France'
Which concerts?,SELECT title FROM concert
What is this?,SELECT nothing FROM singer
"""


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS)
    return str(path)


def test_from_a_csv_to_prompts(
    tmp_path: Path, concerts: Path, pairs: str, capsys: pytest.CaptureFixture[str]
):
    out = str(tmp_path / "out")
    arguments = ["--db", str(concerts), "--split-by", "query", "--validation-fraction", "0.3"]
    assert run(["data", "prepare", pairs, *arguments, "--out", out]) == 0
    printed = capsys.readouterr()
    assert "5 rows, 4 kept, 1 rejected" in printed.out
    assert "1: the SQL does not execute" in printed.out
    assert "plainsql data show" in printed.err
    assert run(["data", "show", out, "-n", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("### Instruction\n")
    assert "\n### Response\nSELECT " in printed.out
    assert run(["data", "show", out, "-n", "1", "--validation"]) == 0
    assert capsys.readouterr().out.startswith("### Instruction\n")
    assert run(["data", "report", out]) == 0
    assert "5 rows, 4 kept, 1 rejected" in capsys.readouterr().out


def test_the_report_as_json(
    tmp_path: Path, concerts: Path, pairs: str, capsys: pytest.CaptureFixture[str]
):
    out = str(tmp_path / "out")
    flags = ["--db", str(concerts), "--preset", "colab", "--max-output-tokens", "64", "--json"]
    assert run(["data", "prepare", pairs, *flags, "--out", out]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["rows"] == 5
    assert report["prompt"]["max_input_tokens"] == 384
    assert report["prompt"]["max_output_tokens"] == 64
    assert "Nothing to validate on" in printed.err
    assert run(["data", "report", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_a_report_with_the_lengths_of_a_tokenizer(
    tmp_path: Path, concerts: Path, pairs: str, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("transformers")
    from tiny_models import tiny_tokenizer

    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    out = str(tmp_path / "out")
    assert run(["data", "prepare", pairs, "--db", str(concerts), "--out", out, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    flags = ["--tokenizer", str(tmp_path / "tokenizer"), "--json"]
    assert run(["data", "report", out, *flags]) == 0
    after = json.loads(capsys.readouterr().out)
    assert after["counted_by"] == str(tmp_path / "tokenizer")
    assert after["train"]["examples"] == before["train"]["examples"]
    assert after["train"]["prompt_tokens"] != before["train"]["prompt_tokens"]


FAILURES = [
    (["prepare", "missing.jsonl", "--out", "{out}"], "no such file"),
    (["prepare", "{pairs}", "--out", "{out}"], "No example is left"),
    (["prepare", "{pairs}", "--db", "{db}", "--strict", "--out", "{out}"], "line 6"),
    (["prepare", "{pairs}", "--db", "{db}", "--style", "rap", "--out", "{out}"], "'rap'"),
    (["show", "{out}"], "no prepared data"),
    (["report", "{out}"], "no prepared data"),
]


@pytest.mark.parametrize(("arguments", "message"), FAILURES)
def test_failures_are_one_line_and_exit_code_2(
    tmp_path: Path,
    concerts: Path,
    pairs: str,
    capsys: pytest.CaptureFixture[str],
    arguments,
    message,
):
    names = {"out": str(tmp_path / "out"), "pairs": pairs, "db": str(concerts)}
    assert run(["data", *(part.format(**names) for part in arguments)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", [[], ["prepare"], ["show"], ["report"]])
def test_help(verb, capsys: pytest.CaptureFixture[str]):
    assert run(["data", *verb, "--help"]) == 0
    assert "Usage: plainsql data" in capsys.readouterr().out
