"""A whole evaluation: with a function of the test's own, and from the command line."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from plainsql.cli.main import run
from plainsql.errors import ModelError, UnanswerableError
from plainsql.evaluation.datasets import Example
from plainsql.evaluation.error_classes import ErrorClass
from plainsql.evaluation.predictions import UNANSWERED
from plainsql.evaluation.report import compare_with, read_earlier, to_json, write_json
from plainsql.evaluation.report_text import print_report
from plainsql.evaluation.run import Options, Prediction, evaluate, from_predictions

EXAMPLES = (
    Example("How many singers?", "SELECT count(*) FROM singer", "concerts", position=0),
    Example("Names from France?", "SELECT name FROM singer WHERE country = 'France'", "concerts",
            position=1),
    Example("Name and age?", "SELECT name, age FROM singer", "concerts", position=2),
    Example("Broken?", "SELECT nothing FROM singer", "concerts", position=3),
    Example("Oldest?", "SELECT name FROM singer ORDER BY age DESC LIMIT 1", "concerts",
            position=4),
    Example("Weather?", "SELECT max(year) FROM concert", "concerts", position=5),
)  # fmt: skip
ANSWERS = {
    "How many singers?": Prediction("SELECT count(*)\nFROM singer", ms=10),
    "Names from France?": Prediction(
        "SELECT name FROM singer WHERE country = 'Japan'",
        ("SELECT age FROM singer", "SELECT name FROM singer WHERE country = 'France'"),
        ms=20,
    ),
    "Name and age?": Prediction("SELECT age, name FROM singer", ms=30),
    "Broken?": Prediction("SELECT 1", ms=40),
    "Oldest?": Prediction("SELECT nam FROM singer", ms=50),
}


def ask_one(path, question, schema):
    assert path.exists()
    if question not in ANSWERS:
        raise UnanswerableError("Nothing matches.")
    return ANSWERS[question]


def evaluated(path: Path, asker=ask_one, examples=EXAMPLES, **options):
    return evaluate(examples, asker, {"concerts": path}, options=Options(**options))


def test_every_question_has_its_outcome(concerts: Path):
    report = evaluated(concerts)
    found = [(o.same, o.same_in_order, o.exact, o.executes) for o in report.outcomes]
    assert found == [
        (True, True, True, True),
        (False, False, True, True),  # exact match ignores the value
        (True, False, True, True),
        (False, False, None, False),
        (False, False, False, False),
        (False, False, False, False),
    ]
    assert [o.error_class for o in report.outcomes] == [
        None,
        ErrorClass.CONDITION_VALUE,
        None,
        None,
        ErrorClass.EXECUTION_FAILED,
        ErrorClass.UNANSWERED,
    ]
    assert [o.level for o in report.outcomes[:3]] == ["easy", "easy", "medium"]
    assert report.outcomes[5].message == "Nothing matches."


def test_figures_leave_out_failed_golds(concerts: Path):
    report = evaluated(concerts)
    assert [outcome.position for outcome in report.gold_failures] == [3]
    assert report.score.questions == 5
    assert report.score.execution == pytest.approx(2 / 5)
    assert report.score.execution_in_order == pytest.approx(1 / 5)
    assert report.score.exact_match == pytest.approx(3 / 5)
    assert report.score.executable == pytest.approx(3 / 5)
    assert report.score.oracle is None
    assert report.latency is not None
    assert report.latency.p50 == 30
    assert list(report.by_level()) == ["easy", "medium"]
    assert report.by_database()["concerts"] == report.score


@pytest.mark.parametrize(("alternatives", "oracle"), [(1, 2 / 5), (2, 3 / 5), (9, 3 / 5)])
def test_the_oracle_looks_at_alternatives(concerts: Path, alternatives, oracle):
    report = evaluated(concerts, alternatives=alternatives)
    assert report.score.oracle == pytest.approx(oracle)


def test_gold_against_gold_is_perfect(concerts: Path):
    examples = [example for example in EXAMPLES if example.position != 3]
    report = evaluated(concerts, from_predictions([e.sql for e in examples]), examples)
    whole = report.score
    assert whole.execution == whole.execution_in_order == whole.exact_match == 1
    assert (report.latency, report.error_classes()) == (None, {})


def test_predictions_are_written_as_they_come(concerts: Path):
    written = io.StringIO()
    evaluate(EXAMPLES, ask_one, {"concerts": concerts}, predictions=written)
    lines = written.getvalue().splitlines()
    assert len(lines) == len(EXAMPLES)
    assert lines[0] == "SELECT count(*) FROM singer"
    assert lines[5] == UNANSWERED


def test_difficulty_and_evidence_of_the_data_set(concerts: Path):
    asked = []

    def remember(path, question, schema):
        asked.append(question)
        return Prediction("SELECT 1")

    example = Example("Who?", "SELECT 1", "concerts", "he is he", "challenging")
    report = evaluated(concerts, remember, [example], with_evidence=True)
    assert asked == ["Who? he is he"]
    assert list(report.by_level()) == ["challenging"]


def test_a_crash_of_the_translator_is_one_wrong_answer(concerts: Path):
    def crash(path, question, schema):
        raise ZeroDivisionError("oh")

    report = evaluated(concerts, crash, EXAMPLES[:2])
    assert report.error_classes() == {ErrorClass.CRASHED: 2}
    assert report.outcomes[0].message == "ZeroDivisionError: oh"


def test_a_missing_model_ends_the_run(concerts: Path):
    def fail(path, question, schema):
        raise ModelError("no weights")

    with pytest.raises(ModelError):
        evaluated(concerts, fail)


def test_an_unreadable_database_fails_its_golds(tmp_path: Path):
    path = tmp_path / "concerts.sqlite"
    path.write_text("no database")
    report = evaluated(path)
    assert len(report.gold_failures) == len(EXAMPLES)
    assert report.score.execution is None
    assert report.interval.low == 0


def test_ctrl_c_reports_what_was_asked(concerts: Path):
    def interrupt(path, question, schema):
        if question == "Name and age?":
            raise KeyboardInterrupt
        return ask_one(path, question, schema)

    report = evaluated(concerts, interrupt)
    assert report.interrupted
    assert (len(report.outcomes), report.total) == (2, 6)
    assert "Interrupted after 2 of 6 questions." in printed(report)


def test_a_ctrl_c_that_was_swallowed_still_ends_the_run(concerts: Path):
    def swallow(path, question, schema):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        return ask_one(path, question, schema)

    before = signal.getsignal(signal.SIGINT)
    report = evaluated(concerts, swallow)
    assert (report.interrupted, len(report.outcomes)) == (True, 0)
    assert signal.getsignal(signal.SIGINT) is before


def printed(report, comparison=None) -> str:
    file = io.StringIO()
    print_report(report, Console(file=file, width=100), comparison)
    return file.getvalue()


def test_the_printed_report(concerts: Path):
    report = evaluated(concerts, alternatives=2, dataset="cases.json", translator="test")
    text = printed(report)
    assert "cases.json · test · 6 questions" in text
    assert "Execution accuracy  40.0 %" in text
    assert "Oracle among 3      60.0 %" in text
    assert "30 ms median" in text
    assert "Gold queries that failed, in no figure: 1" in text
    assert re.search(r"easy +3 +33\.3 +33\.3 +66\.7 +66\.7 +66\.7", text)
    assert re.search(r"unanswered +1 +33\.3", text)


def test_json_and_comparison(concerts: Path, tmp_path: Path):
    report = evaluated(concerts)
    path = tmp_path / "report.json"
    write_json(report, path)
    data = json.loads(path.read_text())
    assert data == json.loads(json.dumps(to_json(report)))
    assert data["score"]["execution"] == pytest.approx(0.4)
    assert data["outcomes"][1]["error_class"] == "condition value"
    better = evaluated(concerts, from_predictions([example.sql for example in EXAMPLES]))
    found = compare_with(better, read_earlier(path))
    assert found is not None
    assert (found.questions, found.only_first, found.only_second) == (5, 3, 0)
    assert "+60.0 points" in printed(better, found)
    assert compare_with(better, {}) is None


@pytest.fixture
def cases(concerts: Path, tmp_path: Path) -> Path:
    """A data set beside a folder `dbs` with its database."""
    folder = tmp_path / "dbs" / "concerts"
    folder.mkdir(parents=True)
    shutil.copy(concerts, folder / "concerts.sqlite")
    entries = [{"question": e.question, "query": e.sql, "db_id": e.db} for e in EXAMPLES]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(entries))
    (tmp_path / "gold.sql").write_text("".join(e.sql + "\n" for e in EXAMPLES))
    return path


def command(cases: Path, *arguments: str) -> int:
    return run(["eval", str(cases), "--databases", str(cases.parent / "dbs"), *arguments])


def test_the_command_scores_a_file(cases: Path, capsys):
    gold = str(cases.parent / "gold.sql")
    out = cases.parent / "out.json"
    assert command(cases, "--from-predictions", gold, "--json", str(out)) == 0
    assert "Execution accuracy  100.0 %" in capsys.readouterr().out
    assert json.loads(out.read_text())["translator"] == "gold.sql"
    again = command(cases, "--from-predictions", gold, "--limit", "2", "--compare", str(out))
    assert again == 0
    assert "McNemar p = 1" in capsys.readouterr().out


class Fixed:
    """A translator that always proposes the same query."""

    name = "fixed"

    def propose(self, question, schema, links, n):
        from plainsql.records import Candidate

        return [Candidate("SELECT count(*) FROM singer", -0.1, self.name)]


def test_the_command_asks_the_flow(cases: Path, monkeypatch, capsys):
    from plainsql import ask

    monkeypatch.setattr(ask, "translator_of", lambda settings: Fixed())
    out = cases.parent / "predicted.sql"
    assert command(cases, "--limit", "2", "--alternatives", "1", "--predictions", str(out)) == 0
    text = capsys.readouterr().out
    assert "cases.json · fixed · 2 questions" in text
    assert "Execution accuracy  50.0 %" in text
    assert out.read_text() == "SELECT count(*) FROM singer\n" * 2


USAGE = [
    (["--limit", "0"], 2),
    (["--only-db", "nowhere"], 2),
    (["--from-predictions", "gold.sql", "--alternatives", "2"], 2),
    (["--from-predictions", "gold.sql", "--predictions", "new.sql"], 2),
    (["--from-predictions", "nothing.sql"], 2),
    (["--compare", "gold.sql"], 2),
    (["--translator", "nobody"], 2),
]


@pytest.mark.parametrize(("arguments", "code"), USAGE)
def test_usage_errors(cases: Path, monkeypatch, arguments, code):
    monkeypatch.chdir(cases.parent)
    assert command(cases, *arguments) == code


def test_a_missing_database_leaves_the_predictions_file_alone(cases: Path):
    shutil.rmtree(cases.parent / "dbs" / "concerts")
    kept = cases.parent / "kept.sql"
    kept.write_text("SELECT 1\n")
    assert command(cases, "--predictions", str(kept)) == 7
    assert kept.read_text() == "SELECT 1\n"
