"""Training of the re-ranker: it finds the signal that tells right from wrong."""

from __future__ import annotations

import numpy as np
import pytest

from plainsql.ranking import RESULT_SIGNALS
from plainsql.training.ranker_recipe import Beamed, accuracy, cross_validated, fit
from plainsql.translators.parser.signals import SIGNALS

WIDTH = len(SIGNALS) + len(RESULT_SIGNALS)
MISSED = SIGNALS.index("numbers_missed")
NOT_RUN = len(SIGNALS) + RESULT_SIGNALS.index("not_run")


def questions(count: int, seed: int) -> list[Beamed]:
    """Four candidates each; the right one is the one that misses no number."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        signals = rng.normal(size=(4, WIDTH)) * 0.1
        signals[:, NOT_RUN] = 0.0
        right = np.zeros(4, bool)
        right[rng.integers(4)] = True
        signals[:, MISSED] = np.where(right, 0.0, 1.0)
        made.append(Beamed(f"db{number % 4}/given", "spider", signals, right))
    return made


def test_it_learns_what_tells_them_apart() -> None:
    data = questions(400, seed=1)
    ranker = fit(data, decay=0.01)
    fresh = questions(80, seed=2)
    assert accuracy(fresh, None) < 0.5
    assert accuracy(fresh, ranker) > 0.95
    chances = [ranker.probabilities(item.signals) for item in fresh]
    assert all(chance.sum() < 1.0 for chance in chances)
    best = np.mean([chance.max() for chance in chances])
    assert best > 0.6


def test_it_learns_when_nothing_is_right() -> None:
    data = questions(80, seed=3)
    hopeless = [Beamed(item.db, "spider", item.signals, item.right & False) for item in data]
    ranker = fit(hopeless, decay=1e-3)
    sure = [ranker.probabilities(item.signals).sum() for item in hopeless]
    assert np.mean(sure) < 0.3


def test_cross_validation_is_by_database() -> None:
    scores = cross_validated(questions(40, seed=4), decay=1e-3)
    first, chosen, best = scores["spider"]
    assert best == 1.0
    assert chosen > first


def test_what_did_not_run_is_never_chosen() -> None:
    signals = np.zeros((2, WIDTH))
    signals[0, NOT_RUN] = 1.0
    item = Beamed("db/given", "spider", signals, np.array([True, False]))
    assert accuracy([item], None) == pytest.approx(0.0)
