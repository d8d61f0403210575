"""Choosing among candidates by what happened when they ran.

Candidates that the guard refuses or that fail are out (execution-guided
decoding, https://arxiv.org/abs/1807.03100). Among the others the re-ranker
decides where the translator's candidates carry its signals, the score where
they carry others, and the formula of `scoring` where they carry none. Candidates
of both kinds are weighed each in their own way, and then against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from plainsql.errors import PlainsqlError
from plainsql.ranking import Floats, Ranker, fingerprint, result_signals
from plainsql.records import Alternative, Candidate, Rows
from plainsql.scoring import FACTORS, Factors, Signals, by_result, shares, weights

SignalsOf = Callable[[str], Signals]  # of a query
# How sure a language model counts as that is all of one mind, beside a re-ranker's measured
# confidences: as sure as the parser must be for the model not to be asked (auto_threshold).
TRUST = 0.7


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what became of it: rows, an error, or neither (not run)."""

    candidate: Candidate
    rows: Rows | None = None
    error: PlainsqlError | None = None

    @property
    def possible(self) -> bool:
        """Whether this candidate may still be the answer."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen trial and, for each trial, the probability that it is right."""

    index: int
    confidences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """How to choose.

    `signals` and `factors` are for candidates without signals of their own, and so is
    `trust`, the most that all of them together are believed.
    """

    ranker: Ranker | None = None
    signals: SignalsOf = lambda sql: Signals()
    trust: float = 1.0
    factors: Factors = FACTORS


def choose(trials: Sequence[Trial], rule: Rule | None = None) -> Choice | None:
    """The best of `trials`; None when none is possible.

    A trial that ran is preferred to one that was not run. Confidences are the
    re-ranker's probabilities, or without one what scores and signals say; 0 for the
    trials that are not possible.
    """
    rule = rule or Rule()
    possible = [i for i, trial in enumerate(trials) if trial.possible]
    if not possible:
        return None
    ran = [i for i in possible if trials[i].rows is not None]
    bare = [not trial.candidate.features for trial in trials]
    if not any(bare):
        found = together = _own(trials, rule.ranker if ran else None)
    else:
        found = _weights(trials, rule) if all(bare) else _pooled(trials, bare, rule)
        together = by_result(found, [trial.rows for trial in trials])
    best = max(ran or possible, key=lambda i: (together[i], found[i], -i))
    return Choice(best, tuple(found))


def _own(trials: Sequence[Trial], ranker: Ranker | None) -> list[float]:
    """By the signals that the candidates carry, where a re-ranker knows them; by their scores."""
    candidates = [trial.candidate for trial in trials]
    possible = [trial.possible for trial in trials]
    if ranker is None or not ranker.knows(candidates):
        return list(shares(candidates, possible))
    chances = map(float, ranker.probabilities(signals_of(trials)))
    return [chance if yes else 0.0 for chance, yes in zip(chances, possible, strict=True)]


def _weights(trials: Sequence[Trial], rule: Rule) -> list[float]:
    """By the formula of `scoring`."""
    found = weights(
        [trial.candidate for trial in trials],
        [trial.rows for trial in trials],
        [rule.signals(trial.candidate.sql) for trial in trials],
        [trial.possible for trial in trials],
        rule.factors,
    )
    return [rule.trust * weight for weight in found]


def _pooled(trials: Sequence[Trial], bare: Sequence[bool], rule: Rule) -> list[float]:
    """Candidates of two kinds of translator, which know nothing of each other.

    Rows for which one has the confidence p and the other q are right unless both are
    wrong: 1 - (1 - p)(1 - q). So rows that both came to beat rows of either alone.
    """
    first = [trial for trial, other in zip(trials, bare, strict=True) if not other]
    second = [trial for trial, other in zip(trials, bare, strict=True) if other]
    chances = iter(_own(first, rule.ranker))
    voices = iter(_weights(second, rule))
    found = [next(voices) if other else next(chances) for other in bare]
    rows = [trial.rows for trial in trials]
    p = by_result([0.0 if other else w for w, other in zip(found, bare, strict=True)], rows)
    q = by_result([w if other else 0.0 for w, other in zip(found, bare, strict=True)], rows)
    shrunk = [
        weight * (1 - (1 - min(a, 1.0)) * (1 - b)) / (a + b) if weight else 0.0
        for weight, a, b in zip(found, p, q, strict=True)
    ]
    total = max(sum(shrunk), 1.0)
    return [weight / total for weight in shrunk]


def confidence(trials: Sequence[Trial], choice: Choice) -> float:
    """How probably the chosen rows are right: readings that gave the same rows count together."""
    if trials[choice.index].rows is None:
        return choice.confidences[choice.index]
    prints = [fingerprint(trial.rows) for trial in trials]
    same = (c for c, p in zip(choice.confidences, prints, strict=True) if p == prints[choice.index])
    return min(sum(same), 1.0)


def signals_of(trials: Sequence[Trial]) -> Floats:  # (K, F + R)
    """What the re-ranker weighs: the translator's signals and the results'."""
    candidates = [trial.candidate for trial in trials]
    own = np.array([candidate.features for candidate in candidates], np.float64)
    return np.hstack([own, result_signals(candidates, [trial.rows for trial in trials])])


def is_ambiguous(trials: Sequence[Trial], choice: Choice, margin: float) -> bool:
    """Whether another reading gave other rows and is within `margin` as probable."""
    chosen, sure = trials[choice.index].rows, choice.confidences[choice.index]
    return any(
        chosen is not None
        and trial.rows is not None
        and trial.rows.rows != chosen.rows
        and abs(sure - confidence) < margin
        for trial, confidence in zip(trials, choice.confidences, strict=True)
    )


def alternatives_to(trials: Sequence[Trial], choice: Choice) -> tuple[Alternative, ...]:
    """The possible readings that were not chosen, the most probable first."""
    others = [
        Alternative(trial.candidate.sql, confidence)
        for i, (trial, confidence) in enumerate(zip(trials, choice.confidences, strict=True))
        if i != choice.index and trial.possible
    ]
    return tuple(sorted(others, key=lambda item: -item.confidence))
