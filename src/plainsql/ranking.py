"""The learned re-ranker: which of the candidates is right, once they have run.

Between the first candidate and the best of eight lie more than ten points of
execution accuracy, and no rule of thumb closes the gap: preferring rows to
emptiness even hurts. So a small model, trained on beams over databases the
parser had not seen, weighs what the parser says of a candidate (its `features`)
together with what happened when it ran. One further outcome, "none of these",
makes its probabilities honest: they are the confidences of the answer.

Notation: K candidates, F = len(SIGNALS) of the translator, R = len(RESULT_SIGNALS).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plainsql.errors import ModelError
from plainsql.records import Candidate, Rows, comparable

Floats = NDArray[np.float64]
RESULT_SIGNALS: tuple[str, ...] = (
    "rank",
    "first",
    "behind_best",
    "share",
    "not_run",
    "empty",
    "one_cell",
    "null_cell",
    "zero_cell",
    "has_null",
    "log_rows",
    "columns",
    "doubled_rows",
    "agreeing",
    "agreeing_share",
    "agrees_with_first",
    "only_one_with_rows",
    "columns_of_majority",
)
RANKER = "ranker.json"  # its file, in the folder of the translator's weights
_ARRAYS = ("mean", "scale", "weights")
_COMPARED_ROWS = 200  # two results count as the same by their size and these rows


@dataclass(frozen=True, slots=True)
class Ranker:
    """A conditional logit: one weight for each standardised signal.

    `none` is the logit of "no candidate is right". A hidden layer learned the
    training beams and chose worse on databases left out.
    """

    signals: tuple[str, ...]  # F + R names, to be compared with the running code's
    mean: Floats  # (F + R,)
    scale: Floats  # (F + R,)
    weights: Floats  # (F + R,)
    none: float

    @classmethod
    def load(cls, path: Path) -> Ranker:
        """Read what `save` wrote. Raises `ModelError`."""
        try:
            found = json.loads(path.read_text("utf-8"))
            arrays = {name: np.asarray(found[name], np.float64) for name in _ARRAYS}
            ranker = cls(tuple(found["signals"]), none=float(found["none"]), **arrays)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"The re-ranker {path} can't be read: {error}", hint="Install plainsql again."
            ) from error
        if ranker.signals[-len(RESULT_SIGNALS) :] != RESULT_SIGNALS:
            raise ModelError(
                f"The re-ranker {path} is of another version.", hint="Install plainsql again."
            )
        return ranker

    def knows(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the candidates carry the signals this re-ranker was trained on."""
        own = len(self.signals) - len(RESULT_SIGNALS)
        return all(len(candidate.features) == own for candidate in candidates)

    def save(self, path: Path) -> None:
        """Write as JSON, numbers rounded to six digits."""
        form = {
            "signals": self.signals,
            "none": self.none,
            **{name: np.round(getattr(self, name), 6).tolist() for name in _ARRAYS},
        }
        path.write_text(json.dumps(form) + "\n", "utf-8")

    def logits(self, signals: Floats) -> Floats:  # (K, F + R) -> (K,)
        """One logit a candidate."""
        standard = np.clip((signals - self.mean) / self.scale, -5, 5)
        logits: Floats = standard @ self.weights
        return logits

    def probabilities(self, signals: Floats) -> Floats:  # (K, F + R) -> (K,)
        """How probably each candidate is the right one; they sum to less than one."""
        logits = np.append(self.logits(signals), self.none)
        weights = np.exp(logits - logits.max())
        shares: Floats = weights / weights.sum()
        return shares[:-1]


def result_signals(
    candidates: Sequence[Candidate], results: Sequence[Rows | None]
) -> Floats:  # (K, R)
    """What happened when the candidates ran; None for those that did not give rows."""
    scores = np.array([candidate.score for candidate in candidates])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    prints = [fingerprint(rows) for rows in results]
    width: dict[int, float] = {}
    for rows, share in zip(results, shares, strict=True):
        if rows is not None:
            width[len(rows.columns)] = width.get(len(rows.columns), 0.0) + float(share)
    usual = max(width, key=lambda key: width[key], default=0)
    table = [
        _one(i, rows, scores, shares, prints, usual, results) for i, rows in enumerate(results)
    ]
    return np.array(table, np.float64)


def _one(
    i: int,
    rows: Rows | None,
    scores: Floats,
    shares: Floats,
    prints: Sequence[object],
    usual: int,
    results: Sequence[Rows | None],
) -> tuple[float, ...]:
    same = [j for j, other in enumerate(prints) if other is not None and other == prints[i]]
    behind = float(scores.max() - scores[i])
    ran = rows is not None
    cells = rows.rows if rows is not None else ()
    one = cells[0][0] if len(cells) == 1 and len(cells[0]) == 1 else ...
    with_rows = sum(bool(r is not None and r.rows) for r in results)
    return (
        float(i),
        float(i == 0),
        min(behind, 20.0),
        float(shares[i]),
        float(not ran),
        float(ran and not cells),
        float(one is not ...),
        float(one is None),
        float(one == 0),
        float(any(cell is None for row in cells[:_COMPARED_ROWS] for cell in row)),
        math.log1p(len(cells)),
        float(len(rows.columns)) if rows is not None else 0.0,
        float(len(set(cells[:_COMPARED_ROWS])) < len(cells[:_COMPARED_ROWS])),
        float(len(same)),
        float(sum(shares[j] for j in same)),
        float(ran and prints[i] == prints[0]),
        float(bool(cells) and with_rows == 1),
        float(rows is not None and len(rows.columns) == usual),
    )


def fingerprint(rows: Rows | None) -> object:
    """Equal for results that hold the same rows, whatever their order."""
    if rows is None:
        return None
    shown = (tuple(map(comparable, row)) for row in rows.rows[:_COMPARED_ROWS])
    head = tuple(sorted(map(repr, shown)))
    return len(rows.columns), len(rows.rows), head
