"""What an evaluation found: one `Outcome` a question, and the figures over them.

Questions whose gold query fails are set apart: they are counted in
`gold_failures` and in no other figure. All shares are between 0 and 1.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plainsql.errors import UsageError
from plainsql.evaluation.error_classes import ErrorClass
from plainsql.evaluation.statistics import (
    Interval,
    PairedComparison,
    bootstrap_interval,
    compare_paired,
    percentile,
)

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one question went. `ms` is the time of the translator, where it was measured."""

    position: int
    db: str
    level: str  # the data set's difficulty, else Spider's hardness
    question: str
    gold: str
    predicted: str = ""
    same: bool = False  # EX
    same_in_order: bool = False  # EX with the columns in the gold's order
    exact: bool | None = None  # exact set match; None when the gold can't be parsed
    executes: bool = False
    oracle: bool | None = None  # EX of the best candidate; None when none were asked for
    ms: float | None = None
    error_class: ErrorClass | None = None  # None for right answers and failed golds
    message: str = ""  # of the translator or the engine
    gold_error: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """Figures over some questions; None where there was nothing to divide by."""

    questions: int
    execution: float | None
    execution_in_order: float | None
    exact_match: float | None
    executable: float | None
    oracle: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the question to the answer."""

    p50: float
    p95: float


@dataclass(frozen=True)
class Report:
    """A whole run. `total` counts the questions that were to be asked."""

    dataset: str
    translator: str
    outcomes: tuple[Outcome, ...]
    total: int
    alternatives: int = 0  # how many beside the answer the oracle may choose from
    keep_distinct: bool = True
    interrupted: bool = False

    @property
    def scored(self) -> tuple[Outcome, ...]:
        """The outcomes whose gold query ran."""
        return tuple(outcome for outcome in self.outcomes if not outcome.gold_error)

    @property
    def gold_failures(self) -> tuple[Outcome, ...]:
        """The outcomes whose gold query failed or ran out of time."""
        return tuple(outcome for outcome in self.outcomes if outcome.gold_error)

    @property
    def score(self) -> Score:
        """The figures over all scored questions."""
        return score(self.scored)

    @property
    def interval(self) -> Interval:
        """The 95 % bootstrap interval of execution accuracy."""
        return bootstrap_interval([outcome.same for outcome in self.scored])

    @property
    def latency(self) -> Latency | None:
        """Latency percentiles; None when no time was measured."""
        times = [outcome.ms for outcome in self.outcomes if outcome.ms is not None]
        p50, p95 = percentile(times, 0.50), percentile(times, 0.95)
        return None if p50 is None or p95 is None else Latency(p50, p95)

    def by_level(self) -> dict[str, Score]:
        """Scores by hardness, in order of first need: easy before hard, then by name."""
        scores = _grouped(self.scored, lambda outcome: outcome.level)
        return dict(sorted(scores.items(), key=lambda item: _level_rank(item[0])))

    def by_database(self) -> dict[str, Score]:
        """Scores by database, the worst first."""
        scores = _grouped(self.scored, lambda outcome: outcome.db)
        return dict(sorted(scores.items(), key=lambda item: (item[1].execution or 0, item[0])))

    def error_classes(self) -> dict[ErrorClass, int]:
        """How many wrong answers are of each class, the commonest first."""
        counts = Counter(o.error_class for o in self.scored if o.error_class is not None)
        return dict(counts.most_common())


_LEVELS = ("easy", "simple", "medium", "moderate", "hard", "challenging", "extra", "unknown")


def _level_rank(level: str) -> tuple[int, str]:
    return (_LEVELS.index(level) if level in _LEVELS else len(_LEVELS), level)


def _grouped(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Score]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return {name: score(members) for name, members in groups.items()}


def score(outcomes: Sequence[Outcome]) -> Score:
    """The figures over some outcomes, none of them with a failed gold."""
    return Score(
        questions=len(outcomes),
        execution=_share([o.same for o in outcomes]),
        execution_in_order=_share([o.same_in_order for o in outcomes]),
        exact_match=_share([o.exact for o in outcomes if o.exact is not None]),
        executable=_share([o.executes for o in outcomes]),
        oracle=_share([o.oracle for o in outcomes if o.oracle is not None]),
    )


def _share(outcomes: Sequence[bool]) -> float | None:
    return sum(outcomes) / len(outcomes) if outcomes else None


def to_json(report: Report) -> dict[str, Any]:
    """The report as the object that `eval --json` writes, outcomes included."""
    return {
        "report_version": REPORT_VERSION,
        "dataset": report.dataset,
        "translator": report.translator,
        "questions": report.total,
        "answered_so_far": len(report.outcomes),
        "interrupted": report.interrupted,
        "keep_distinct": report.keep_distinct,
        "alternatives": report.alternatives,
        "gold_failures": len(report.gold_failures),
        "score": asdict(report.score),
        "execution_interval_95": asdict(report.interval),
        "latency_ms": asdict(report.latency) if report.latency else None,
        "by_level": {name: asdict(item) for name, item in report.by_level().items()},
        "by_database": {name: asdict(item) for name, item in report.by_database().items()},
        "error_classes": {name.value: count for name, count in report.error_classes().items()},
        "outcomes": [asdict(outcome) for outcome in report.outcomes],
    }


def write_json(report: Report, path: Path) -> None:
    """Write the report. Raises UsageError when the file can't be written."""
    text = json.dumps(to_json(report), ensure_ascii=False, indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error}") from error


def read_earlier(path: Path) -> dict[tuple[int, str], bool]:
    """(position, question) -> was it right, from a file that `write_json` wrote.

    Raises UsageError when it is not such a file.
    """
    try:
        outcomes = json.loads(path.read_text(encoding="utf-8"))["outcomes"]
        return {
            (entry["position"], entry["question"]): bool(entry["same"])
            for entry in outcomes
            if not entry["gold_error"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a report of plainsql eval: {error}") from error


def compare_with(
    report: Report, earlier: Mapping[tuple[int, str], bool]
) -> PairedComparison | None:
    """This run against an earlier one, over the questions both have scored; None without any."""
    common = [o for o in report.scored if (o.position, o.question) in earlier]
    if not common:
        return None
    theirs = [earlier[outcome.position, outcome.question] for outcome in common]
    return compare_paired([outcome.same for outcome in common], theirs)
