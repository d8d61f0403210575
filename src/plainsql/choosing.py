"""Choosing among candidates by what happened when they ran.

Candidates that the guard refuses or that fail are out (execution-guided
decoding, https://arxiv.org/abs/1807.03100). Among the others the re-ranker
decides where the translator's candidates carry its signals, and the score
where they don't.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plainsql.errors import PlainsqlError
from plainsql.ranking import Floats, Ranker, fingerprint, result_signals
from plainsql.records import Alternative, Candidate, Rows


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


def choose(trials: Sequence[Trial], ranker: Ranker | None = None) -> Choice | None:
    """The best of `trials`; None when none is possible.

    A trial that ran is preferred to one that was not run. Confidences are the
    re-ranker's probabilities, or without one what the scores say; 0 for the
    trials that are not possible.
    """
    possible = [i for i, trial in enumerate(trials) if trial.possible]
    if not possible:
        return None
    ran = [i for i in possible if trials[i].rows is not None]
    known = ranker is not None and ran and ranker.knows([trial.candidate for trial in trials])
    weights = _ranked(trials, ranker) if ranker is not None and known else _shares(trials)
    confidences = tuple(w if t.possible else 0.0 for w, t in zip(weights, trials, strict=True))
    best = max(ran or possible, key=lambda i: (confidences[i], -i))
    return Choice(best, confidences)


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


def _ranked(trials: Sequence[Trial], ranker: Ranker) -> tuple[float, ...]:
    return tuple(map(float, ranker.probabilities(signals_of(trials))))


def _shares(trials: Sequence[Trial]) -> tuple[float, ...]:
    """The scores of the possible trials as probabilities.

    Scores are log-probabilities: what all trials together lack of 1 belongs to
    queries that were not proposed. So a reading that the translator held for
    unlikely stays unlikely when the likelier ones turn out not to be possible.
    """
    top = max(trial.candidate.score for trial in trials if trial.possible)
    weights = [math.exp(trial.candidate.score - top) if trial.possible else 0.0 for trial in trials]
    proposed = sum(math.exp(min(trial.candidate.score, 0.0)) for trial in trials)
    unproposed = max(1.0 - proposed, 0.0) * math.exp(min(-top, 700.0))
    total = sum(weights) + unproposed
    return tuple(weight / total for weight in weights)


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
