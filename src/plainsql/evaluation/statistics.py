"""How sure a figure is: intervals, latency percentiles, comparison of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, bounds included, in the unit of the figure."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two runs over the same questions. `difference` is first minus second."""

    questions: int
    only_first: int  # questions only the first run got right
    only_second: int
    difference: float
    interval: Interval  # 95 %, paired bootstrap
    p_value: float  # two-sided exact McNemar test


def bootstrap_interval(
    outcomes: Sequence[bool], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile bootstrap interval of the share of true outcomes, by question.

    Drawing n questions with replacement and counting the right ones is a
    binomial draw, so each resample costs one number instead of n. An empty
    sequence gives [0, 1]: nothing is known.
    """
    count = len(outcomes)
    if count == 0:
        return Interval(0.0, 1.0)
    share = sum(outcomes) / count
    draws = np.random.default_rng(seed).binomial(count, share, size=resamples)
    return _central(draws / count, level)


def _central(figures: np.ndarray, level: float) -> Interval:  # (resamples,)
    tail = (1 - level) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return Interval(float(low), float(high))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the values lie; None without values."""
    return float(np.quantile(np.asarray(values), share)) if values else None


def compare_paired(
    first: Sequence[bool],
    second: Sequence[bool],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> PairedComparison:
    """Compare two runs question by question. Raises ValueError on unequal lengths or none."""
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        raise ValueError("no questions to compare")
    gained = sum(a and not b for a, b in pairs)
    lost = sum(b and not a for a, b in pairs)
    count = len(pairs)
    # as in bootstrap_interval: resampling pairs is one multinomial draw
    shares = np.array([gained, lost, count - gained - lost]) / count
    draws = np.random.default_rng(seed).multinomial(count, shares, size=resamples)
    return PairedComparison(
        questions=count,
        only_first=gained,
        only_second=lost,
        difference=(gained - lost) / count,
        interval=_central((draws[:, 0] - draws[:, 1]) / count, level),
        p_value=mcnemar_exact(gained, lost),
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that the two disagreement counts are a fair coin's.

    McNemar 1947, https://doi.org/10.1007/BF02295996, with the binomial
    distribution itself instead of its approximation.
    """
    total = only_first + only_second
    tail = sum(comb(total, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**total))
