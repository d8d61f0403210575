"""Choosing among candidates: each signal alone, votes by result, two translators together."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import pytest

from plainsql.choosing import Rule, Trial, choose, confidence
from plainsql.errors import ExecutionError
from plainsql.records import Candidate, Cell, Rows
from plainsql.scoring import FACTORS, Factors, Signals, emptiness

EVEN = Factors(1.0, 1.0, 1.0, 1.0)


def rows(*cells: Cell) -> Rows:
    return Rows(("a",), tuple((cell,) for cell in cells))


def trial(name: str, score: float, found: Rows | None = None, *, parser: bool = False) -> Trial:
    features = (1.0,) if parser else ()
    return Trial(Candidate(name, score, "parser" if parser else "model", features=features), found)


def failed(name: str, score: float) -> Trial:
    return Trial(Candidate(name, score, "model"), error=ExecutionError("no"))


# Two candidates, of which "a" is the likelier: what speaks against it, and which is chosen.
A, B = -0.6, -0.9
SIGNALS: list[tuple[Rows, Rows, dict[str, Signals], str, str]] = [
    # rows of a, of b, signals, chosen with the shipped factors, chosen without any
    (rows(1), rows(2), {}, "a", "a"),
    (rows(), rows(2), {}, "b", "a"),
    (rows(None, None), rows(2), {}, "b", "a"),
    (rows(0), rows(2), {"a": Signals(filtered=True)}, "b", "a"),
    (rows(0), rows(2), {}, "a", "a"),  # nothing is left out, and there are none
    (rows(1), rows(2), {"a": Signals(missing=1)}, "b", "a"),
    (rows(1), rows(2), {"a": Signals(uncovered=1.0)}, "b", "a"),
    (rows(1), rows(2), {"a": Signals(uncovered=1.0), "b": Signals(uncovered=1.0)}, "a", "a"),
]


@pytest.mark.parametrize(("of_a", "of_b", "signals", "chosen", "without"), SIGNALS)
def test_each_signal_alone_decides(
    of_a: Rows, of_b: Rows, signals: Mapping[str, Signals], chosen: str, without: str
) -> None:
    trials = [trial("a", A, of_a), trial("b", B, of_b)]
    for factors, wanted in ((FACTORS, chosen), (EVEN, without)):
        rule = Rule(signals=lambda sql: signals.get(sql, Signals()), factors=factors)
        choice = choose(trials, rule)
        assert choice is not None
        assert trials[choice.index].candidate.sql == wanted
        assert sum(choice.confidences) <= 1 + 1e-9


def test_agreement_decides() -> None:
    trials = [trial("a", -0.9, rows(1)), trial("b", -1.4, rows(2)), trial("c", -1.5, rows(2))]
    choice = choose(trials)
    assert choice is not None
    assert choice.index == 1  # the likelier of the two that agree
    assert confidence(trials, choice) == pytest.approx(0.247 + 0.223, abs=1e-3)


def test_what_is_doubtful_goes_to_nobody() -> None:
    alone = [trial("a", 0.0, rows())]
    choice = choose(alone)
    assert choice is not None
    assert choice.confidences == (pytest.approx(FACTORS.empty),)


def test_what_failed_is_out_and_what_ran_is_preferred() -> None:
    trials = [failed("a", 0.0), trial("b", -1.0), trial("c", -3.0, rows(1))]
    choice = choose(trials)
    assert choice is not None
    assert choice.index == 2
    assert choice.confidences[0] == 0


EMPTINESS = [
    (rows(), False, "empty"),
    (rows(0), True, "empty"),
    (rows(0), False, ""),
    (rows(None), False, "null"),
    (rows(None, 1), True, ""),
    (rows(""), True, ""),
]


@pytest.mark.parametrize(("found", "filtered", "kind"), EMPTINESS)
def test_emptiness(found: Rows, filtered: bool, kind: str) -> None:
    assert emptiness(found, filtered=filtered) == kind


# The parser's candidates with their confidences, the model's, each with its rows; what is
# chosen, and how sure that is. A model of one mind counts as 0.7 sure.
TOGETHER = [
    # a model of one mind is believed more than an unsure parser, and less than a sure one
    ({"p": (0.4, 1)}, {"m": (1.0, 2)}, "m", 0.7 / 1.1),
    ({"p": (0.8, 1)}, {"m": (1.0, 2)}, "p", 0.8 / 1.5),
    # a model of two minds is not
    ({"p": (0.4, 1)}, {"m": (0.5, 2), "n": (0.5, 3)}, "p", 0.4 / 1.1),
    # what both came to is surer than either: 1 - 0.6 * 0.3
    ({"p": (0.4, 1)}, {"m": (1.0, 1)}, "m", 0.82),
    # ... and beats what either likes best: 1 - 0.7 * 0.72
    ({"p": (0.45, 1), "q": (0.3, 2)}, {"m": (0.6, 3), "n": (0.4, 2)}, "q", 0.496 / 1.366),
    # either may have nothing
    ({}, {"m": (1.0, 2)}, "m", 0.7),
    ({"p": (0.4, 1)}, {}, "p", 0.4),
]


@pytest.mark.parametrize(("parser", "model", "chosen", "sure"), TOGETHER)
def test_two_translators(
    parser: dict[str, tuple[float, int]],
    model: dict[str, tuple[float, int]],
    chosen: str,
    sure: float,
) -> None:
    trials = [trial(n, log(p), rows(at), parser=True) for n, (p, at) in parser.items()]
    trials += [trial(n, log(p), rows(at)) for n, (p, at) in model.items()]
    choice = choose(trials, Rule(trust=0.7))
    assert choice is not None
    assert sum(choice.confidences) <= 1 + 1e-9
    assert trials[choice.index].candidate.sql == chosen
    assert confidence(trials, choice) == pytest.approx(sure, abs=1e-3)
