"""plainsql generate as its users meet it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.main import run
from plainsql.evaluation import writing
from plainsql.translators.language_model.decoding import GREEDY
from taught_model import ANSWERS, DROP, FRENCH, HOW_MANY, PROSE, SHOES, concerts_model

Generate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a model that knows `ANSWERS`, and its database."""
    return concerts_model(tmp_path_factory.getbasetemp())


@pytest.fixture
def generate(
    taught: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Generate:
    """`generate(question, flag, …)`: exit code, stdout, stderr."""
    monkeypatch.chdir(taught[0].parent)  # the model is called "model" here

    def run_it(*arguments: str, db: bool = True) -> tuple[int, str, str]:
        database = ["-d", str(taught[1])] if db else []
        code = run(["generate", "model", *arguments, *database])
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


def test_sql_on_stdout_the_rest_on_stderr(generate: Generate) -> None:
    code, out, err = generate(HOW_MANY)
    assert (code, out) == (0, ANSWERS[HOW_MANY] + "\n")
    assert "tokens in" in err


def test_in_a_process_of_its_own(taught: tuple[Path, Path]) -> None:
    model, database = taught
    done = subprocess.run(
        [sys.executable, "-m", "plainsql", "generate", str(model), "-", "-d", str(database),
         "--execute"],
        input=FRENCH.encode(), capture_output=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == ANSWERS[FRENCH]
    assert lines[2:] == ["name", "------------", "Justin Brown", "Rose White", "John Nizinik",
                         "Tribal King"]  # fmt: skip
    (remark,) = done.stderr.decode().splitlines()  # nothing of the libraries' own chatter
    assert "tokens in" in remark


@pytest.mark.parametrize("flags", [["--candidates", "3"], ["--beams", "3", "--candidates", "3"]])
def test_several_candidates_with_their_scores(generate: Generate, flags: list[str]) -> None:
    code, out, _ = generate(HOW_MANY, *flags)
    scores = [float(line.split(maxsplit=1)[0]) for line in out.splitlines()]
    assert code == 0
    assert out.splitlines()[0].endswith(ANSWERS[HOW_MANY])
    assert 1 < len(scores) <= 3
    assert scores == sorted(scores, reverse=True)


def test_json_holds_everything(generate: Generate) -> None:
    flags = ("--json", "--show-prompt", "--candidates", "2", "--strategy", "beam", "--execute")
    code, out, err = generate(FRENCH, *flags)
    found = json.loads(out)
    assert code == 0
    assert list(found) == [
        "schema_version", "status", "model", "question", "sql", "candidates", "texts", "prompt",
        "columns", "rows", "truncated",
    ]  # fmt: skip
    assert (found["status"], found["model"], found["question"]) == ("generated", "model", FRENCH)
    assert found["sql"] == found["candidates"][0]["sql"] == ANSWERS[FRENCH]
    assert found["rows"][0] == ["Justin Brown"]
    assert set(found["texts"][0]) == {"text", "score", "tokens", "finished"}
    assert found["prompt"].endswith(f"### Question\n{FRENCH}\n\n### Response\n")
    assert FRENCH in err


def test_sampling_is_repeatable_and_can_be_turned_up(generate: Generate) -> None:
    hot = ("--json", "--temperature", "5", "--top-k", "0", "--top-p", "1", "--candidates", "2")
    _, first, _ = generate(HOW_MANY, *hot)
    assert generate(HOW_MANY, *hot)[1] == first
    assert generate(HOW_MANY, *hot, "--seed", "1")[1] != first
    assert len({text["text"] for text in json.loads(first)["texts"]}) == 2


def test_no_sql(generate: Generate) -> None:
    code, out, err = generate(PROSE)
    assert (code, out) == (3, "")
    assert "wrote no SQL" in err
    assert "--raw" in err
    assert generate(PROSE, "--raw")[:2] == (0, ANSWERS[PROSE] + "\n")
    code, out, _ = generate(PROSE, "--json")
    assert (code, json.loads(out)["status"]) == (0, "no_sql")
    assert generate(PROSE, "--execute", "--raw")[0] == 3


def test_a_text_cut_by_the_limit_is_said_to_be(generate: Generate) -> None:
    code, out, err = generate(FRENCH, "--max-new-tokens", "2", "--raw")
    assert code == 0
    assert ANSWERS[FRENCH].startswith(out.strip())
    assert "--max-new-tokens" in err


def test_streaming(generate: Generate) -> None:
    code, out, err = generate(FRENCH, "--stream", "--raw")
    assert (code, out) == (0, ANSWERS[FRENCH] + "\n")
    code, out, err = generate(FRENCH, "--stream")
    assert (code, out) == (0, ANSWERS[FRENCH] + "\n")
    assert ANSWERS[FRENCH] in err


@pytest.mark.parametrize(
    ("question", "code", "message"),
    [(DROP, 5, "guard refused"), (SHOES, 6, "shoe_size"), ("", 2, "empty")],
)
def test_execution_is_guarded(generate: Generate, question: str, code: int, message: str) -> None:
    found, out, err = generate(question, "--execute")
    assert (found, out) == (code, "")
    assert message in err
    found, out, err = generate(question, "--execute", "--json")
    assert found == code
    assert json.loads(out)["status"] == "error"


def test_without_execute_nothing_is_run(generate: Generate) -> None:
    assert generate(DROP)[:2] == (0, "DROP TABLE singer\n")


def test_a_prompt_of_ones_own(generate: Generate, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    _, out, _ = generate(HOW_MANY, "--json", "--show-prompt")
    prompt.write_text(json.loads(out)["prompt"], encoding="utf-8")
    flags = ("--prompt-file", str(prompt))
    assert generate(*flags, db=False)[:2] == (0, ANSWERS[HOW_MANY] + "\n")
    code, out, _ = generate(*flags, "--execute")
    assert (code, out.split()) == (0, [*ANSWERS[HOW_MANY].split(), "count(*)", "--------", "6"])


CONFLICTS: list[tuple[list[str], str]] = [
    ([], "Give one of"),
    (["how many?", "--prompt-file", "x"], "Give one of"),
    (["how many?", "--questions", "x"], "Give one of"),
    (["--questions", "x.json"], "--databases"),
    (["--questions", "x.json", "--databases", ".", "--stream"], "--stream"),
    (["how many?", "--out", "x"], "--questions"),
    (["how many?", "--stream", "--json"], "--stream and --json"),
    (["how many?", "--stream", "--candidates", "2"], "streamed"),
    (["how many?", "--strategy", "greedy", "--candidates", "2"], "beam or sample"),
    (["how many?", "--strategy", "best"], "best"),
    (["how many?", "--temperature", "0"], "temperature"),
    (["how many?", "--quantization", "int3"], "int3"),
    (["--prompt-file", "nothing.txt"], "can't be read"),
    (["--prompt-file", "prompt.txt", "--execute"], "needs a database"),
]


@pytest.mark.parametrize(("arguments", "message"), CONFLICTS)
def test_what_can_not_be_asked(generate: Generate, arguments: list[str], message: str) -> None:
    code, out, err = generate(*arguments, db="how many?" in arguments)
    assert code == 2
    assert (out == "") == ("--json" not in arguments)
    assert message in err


def test_no_model_there(capsys: pytest.CaptureFixture[str], concerts: Path) -> None:
    assert run(["generate", "./nothing", HOW_MANY, "-d", str(concerts)]) == 7
    assert "There is no model './nothing'" in capsys.readouterr().err


def test_no_database(generate: Generate) -> None:
    code, _, err = generate(HOW_MANY, db=False)
    assert code == 2
    assert "No database" in err


# --- files -------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Five questions as CSV, without SQL."""
    path = tmp_path / "questions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "db"])
        writer.writerows([question, "concerts"] for question in ANSWERS)
    return path


@pytest.fixture
def ask_all(generate: Generate, questions: Path, taught: tuple[Path, Path]) -> Generate:
    """`ask_all(flag, …)` over the questions of the file."""
    places = ("--questions", str(questions), "--databases", str(taught[1].parent))

    def run_it(*flags: str, **_: Any) -> tuple[int, str, str]:
        return generate(*places, *flags, db=False)

    return run_it


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def without_scores(text: str) -> list[dict[str, Any]]:
    """The last digits of a score depend on what shares its batch."""
    return [record | {"candidates": len(record["candidates"])} for record in lines(text)]


def test_a_file_of_questions(ask_all: Generate) -> None:
    code, out, _ = ask_all("--batch-size", "2")
    found = lines(out)
    assert code == 0
    assert [record["position"] for record in found] == list(range(len(ANSWERS)))
    assert [record["question"] for record in found] == list(ANSWERS)
    expected = ["" if question == PROSE else sql for question, sql in ANSWERS.items()]
    assert [record["sql"] for record in found] == expected
    assert [record["error"] for record in found if not record["sql"]] == ["The model wrote no SQL."]
    assert found[0]["candidates"][0]["score"] == pytest.approx(0, abs=0.1)


def test_a_file_executed_with_whole_texts(ask_all: Generate) -> None:
    _, out, _ = ask_all("--execute", "--raw")
    found = {record["question"]: record for record in lines(out)}
    assert found[FRENCH]["rows"] == 4
    assert "refused" in found[DROP]["error"]
    assert "shoe_size" in found[SHOES]["error"]
    assert found[PROSE]["texts"][0]["text"] == ANSWERS[PROSE]


def test_an_interrupted_file_goes_on(ask_all: Generate, tmp_path: Path) -> None:
    _, whole, _ = ask_all()
    out = tmp_path / "out.jsonl"
    for kept in ("", whole.splitlines(keepends=True)[0], whole[: len(whole) // 2], whole):
        out.write_text(kept, encoding="utf-8")
        code, _, err = ask_all("--out", str(out))
        assert code == 0
        assert without_scores(out.read_text(encoding="utf-8")) == without_scores(whole)
        there = kept.count("\n")
        assert (f"({there} of 5 questions are there already)" in err) == bool(there)


def test_a_file_of_another_run_is_not_touched(ask_all: Generate, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ask_all("--out", str(out), "--limit", "1")
    before = out.read_text()
    for flags in (("--candidates", "2"), ("--max-new-tokens", "9"), ("--raw",)):
        code, _, err = ask_all("--out", str(out), *flags)
        assert (code, out.read_text()) == (2, before)
        assert "--restart" in err
    assert ask_all("--out", str(out), "--candidates", "2", "--restart")[0] == 0
    assert len(lines(out.read_text())) == 5
    out.write_text("not JSON\n")
    assert ask_all("--out", str(out))[0] == 2
    assert out.read_text() == "not JSON\n"


def test_evidence_is_told_when_asked_for(
    generate: Generate,
    taught: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "one.jsonl"
    entry = {"question": HOW_MANY, "db_id": "concerts", "evidence": "a singer sings"}
    path.write_text(json.dumps(entry))
    prompts: list[str] = []
    real = writing.generate

    def recording(loaded: Any, texts: list[str], settings: Any) -> Any:
        prompts.extend(texts)
        return real(loaded, texts, settings)

    monkeypatch.setattr(writing, "generate", recording)
    flags = ("--questions", str(path), "--databases", str(taught[1].parent))
    for more in ((), ("--evidence",)):
        assert generate(*flags, *more, db=False)[0] == 0
    assert ["\nNote: a singer sings\n" in prompt for prompt in prompts] == [False, True]


def test_missing_databases_are_named_before_the_model_is_loaded(
    generate: Generate, tmp_path: Path
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"question": HOW_MANY, "db": "nowhere"}))
    code, _, err = generate("--questions", str(path), "--databases", str(tmp_path), db=False)
    assert code == 7
    assert "nowhere" in err


def test_the_defaults_in_the_help_are_true(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for shown in (GREEDY.beams, GREEDY.temperature, GREEDY.top_p, GREEDY.top_k, GREEDY.seed):
        assert f"[default: {shown}]" in text
