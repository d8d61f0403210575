"""The re-ranker: what it weighs, what it is sure of, and what it refuses to read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plainsql.choosing import Rule, Trial, choose, confidence, signals_of
from plainsql.errors import ExecutionError, ModelError
from plainsql.ranking import RESULT_SIGNALS, Ranker, result_signals
from plainsql.records import Candidate, Rows

OWN = ("tables", "missed")


def made(**weights: float) -> Ranker:
    """A linear re-ranker with the given weights and 0 elsewhere."""
    names = (*OWN, *RESULT_SIGNALS)
    direct = np.array([weights.get(name, 0.0) for name in names])
    size = len(names)
    return Ranker(
        names,
        np.zeros(size),
        np.ones(size),
        direct,
        none=weights.get("none", 0.0),
    )


def candidate(score: float, tables: float = 1.0, missed: float = 0.0, sql: str = "") -> Candidate:
    return Candidate(sql or f"SELECT {score}", score, "parser", features=(tables, missed))


ONE = Rows(("a",), ((3,),))
NONE = Rows(("a",), ())
NULL = Rows(("a",), ((None,),))
MANY = Rows(("a", "b"), ((1, 2), (1, 2), (3, 4)))


@pytest.mark.parametrize(
    ("signal", "rows", "value"),
    [
        ("not_run", None, 1.0),
        ("not_run", ONE, 0.0),
        ("empty", NONE, 1.0),
        ("empty", ONE, 0.0),
        ("one_cell", ONE, 1.0),
        ("one_cell", MANY, 0.0),
        ("null_cell", NULL, 1.0),
        ("has_null", NULL, 1.0),
        ("zero_cell", Rows(("a",), ((0,),)), 1.0),
        ("zero_cell", ONE, 0.0),
        ("columns", MANY, 2.0),
        ("doubled_rows", MANY, 1.0),
        ("doubled_rows", ONE, 0.0),
    ],
)
def test_a_result_is_read(signal: str, rows: Rows | None, value: float) -> None:
    table = result_signals([candidate(-1.0)], [rows])
    assert table.shape == (1, len(RESULT_SIGNALS))
    assert table[0, RESULT_SIGNALS.index(signal)] == value


def test_agreement_counts_equal_results_in_any_order() -> None:
    turned = Rows(("a", "b"), (MANY.rows[2], MANY.rows[0], MANY.rows[1]))
    table = result_signals([candidate(-1.0), candidate(-2.0), candidate(-3.0)], [MANY, turned, ONE])
    agreeing = table[:, RESULT_SIGNALS.index("agreeing")]
    assert agreeing.tolist() == [2.0, 2.0, 1.0]
    shares = table[:, RESULT_SIGNALS.index("agreeing_share")]
    assert shares[0] == pytest.approx(shares[1])
    assert shares[0] + shares[2] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("weights", "trials", "chosen"),
    [
        # without weights the first of equals wins
        ({}, [Trial(candidate(-1.0), ONE), Trial(candidate(-2.0), MANY)], 0),
        ({"behind_best": -1.0}, [Trial(candidate(-2.0), ONE), Trial(candidate(-1.0), ONE)], 1),
        (
            {"missed": -5.0},
            [Trial(candidate(-1.0, missed=1.0), ONE), Trial(candidate(-2.0), ONE)],
            1,
        ),
        ({"empty": -3.0}, [Trial(candidate(-1.0), NONE), Trial(candidate(-2.0), ONE)], 1),
        # what failed is out whatever the weights say
        (
            {"not_run": 9.0},
            [Trial(candidate(-1.0), None, ExecutionError("no")), Trial(candidate(-2.0), ONE)],
            1,
        ),
    ],
)
def test_the_re_ranker_decides(weights: dict[str, float], trials: list[Trial], chosen: int) -> None:
    choice = choose(trials, Rule(made(**weights)))
    assert choice is not None
    assert choice.index == chosen


def test_confidences_leave_room_for_none() -> None:
    trials = [Trial(candidate(-1.0), ONE), Trial(candidate(-2.0), MANY)]
    for none, total in ((0.0, 2 / 3), (5.0, 2 / (2 + np.exp(5)))):
        choice = choose(trials, Rule(made(none=none)))
        assert choice is not None
        assert sum(choice.confidences) == pytest.approx(total)


def test_readings_with_the_same_rows_count_together() -> None:
    trials = [
        Trial(candidate(-1.0), ONE),
        Trial(candidate(-2.0), MANY),
        Trial(candidate(-3.0), ONE),
    ]
    choice = choose(trials, Rule(made()))
    assert choice is not None
    assert choice.index == 0
    assert choice.confidences == pytest.approx((0.25, 0.25, 0.25))
    assert confidence(trials, choice) == pytest.approx(0.5)


def test_candidates_without_signals_keep_to_their_scores() -> None:
    bare = [
        Trial(Candidate("SELECT 1", -3.0, "other"), ONE),
        Trial(Candidate("SELECT 2", -1.0, "other"), ONE),
    ]
    choice = choose(bare, Rule(made()))
    assert choice is not None
    assert choice.index == 1
    assert choice.confidences == pytest.approx((0.050, 0.368), abs=1e-3)  # e^-3, e^-1


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    ranker = made(missed=-1.25, none=0.5)
    ranker.save(tmp_path / "ranker.json")
    again = Ranker.load(tmp_path / "ranker.json")
    signals = signals_of([Trial(candidate(-1.0, missed=2.0), ONE), Trial(candidate(-2.0), MANY)])
    assert again.signals == ranker.signals
    assert again.probabilities(signals).tolist() == ranker.probabilities(signals).tolist()


@pytest.mark.parametrize("text", ["", "{}", '{"signals": []}', "[1]"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ranker.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ModelError):
        Ranker.load(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranker.json"
    made().save(path)
    form = json.loads(path.read_text("utf-8"))
    form["signals"][-1] = "something_new"
    path.write_text(json.dumps(form), "utf-8")
    with pytest.raises(ModelError, match="another version"):
        Ranker.load(path)
