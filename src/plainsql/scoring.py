"""A formula for candidates that carry no signals of their own: those of language models.

    weight(candidate) = probability x product of FACTORS[f] ** f(candidate)
    weight(result)    = sum of the weights of the candidates that gave those rows

The result with the largest weight wins, and of its candidates the weightiest. The sum is
a vote by result (Shi et al. 2022, https://arxiv.org/abs/2204.11454, MBR-EXEC; Wang et al.
2022, https://arxiv.org/abs/2203.11171), in which the voices count by their probability.
A factor below 1 makes doubtful what an experienced reader would doubt; what it takes away
goes to nobody, so that a doubtful answer also has a low confidence. The factors were
chosen by `benchmarks/choosing.py` on questions of a training set (docs/language_models.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from plainsql.ranking import fingerprint
from plainsql.records import Candidate, Rows


@dataclass(frozen=True, slots=True)
class Signals:
    """What a query says, beside the rows it gives, of whether it is the right one."""

    missing: int = 0  # texts it looks for in a column that has no such cell
    uncovered: float = 0.0  # the share of what the question names that it doesn't use, 0 to 1
    filtered: bool = False  # whether it leaves rows out


@dataclass(frozen=True, slots=True)
class Factors:
    """By how much one of each takes weight away: a share that is left."""

    empty: float = 0.1  # it gave no rows, or a filtered count of 0
    null: float = 0.5  # it gave rows of NULL alone
    missing: float = 0.5  # each text that its column lacks
    uncovered: float = 0.3  # all that the question names is left out


FACTORS = Factors()


def weights(
    candidates: Sequence[Candidate],
    results: Sequence[Rows | None],
    signals: Sequence[Signals],
    possible: Sequence[bool],
    factors: Factors = FACTORS,
) -> tuple[float, ...]:
    """One weight a candidate; together at most 1. 0 for those that are not `possible`."""
    found = shares(candidates, possible)
    return tuple(
        share * _kept(rows, signal, factors)
        for share, rows, signal in zip(found, results, signals, strict=True)
    )


def shares(candidates: Sequence[Candidate], possible: Sequence[bool]) -> tuple[float, ...]:
    """The scores of the possible candidates as probabilities.

    Scores are log-probabilities: what all together lack of 1 belongs to queries that were
    not proposed. So a reading that the translator held for unlikely stays unlikely when the
    likelier ones turn out not to be possible.
    """
    if not any(possible):
        return tuple(0.0 for _ in candidates)
    pairs = list(zip(candidates, possible, strict=True))
    top = max(candidate.score for candidate, yes in pairs if yes)
    found = [math.exp(candidate.score - top) if yes else 0.0 for candidate, yes in pairs]
    proposed = sum(math.exp(min(candidate.score, 0.0)) for candidate in candidates)
    unproposed = max(1.0 - proposed, 0.0) * math.exp(min(-top, 700.0))
    total = sum(found) + unproposed
    return tuple(weight / total for weight in found)


def _kept(rows: Rows | None, signals: Signals, factors: Factors) -> float:
    """The share of a candidate's probability that its signals leave."""
    kept = math.pow(factors.missing, signals.missing)
    kept *= math.pow(factors.uncovered, signals.uncovered)
    if rows is None:
        return kept
    kind = emptiness(rows, filtered=signals.filtered)
    return kept * (float(asdict(factors)[kind]) if kind else 1.0)


def emptiness(rows: Rows, *, filtered: bool) -> str:
    """ "empty" for no rows or a count of 0 after a filter, "null" for NULL alone, else ""."""
    if not rows.rows or (filtered and rows.rows == ((0,),)):
        return "empty"
    return "null" if all(cell is None for row in rows.rows for cell in row) else ""


def by_result(found: Sequence[float], results: Sequence[Rows | None]) -> list[float]:
    """For each candidate the weight of all that gave the same rows; its own where it found nothing.

    Wrong queries agree on nothing easily: that many found nothing speaks for none of them.
    """
    prints = [
        fingerprint(rows) if rows is not None and not emptiness(rows, filtered=True) else None
        for rows in results
    ]
    sums: dict[object, float] = {}
    for weight, mark in zip(found, prints, strict=True):
        sums[mark] = sums.get(mark, 0.0) + weight
    return [
        weight if mark is None else sums[mark] for weight, mark in zip(found, prints, strict=True)
    ]
