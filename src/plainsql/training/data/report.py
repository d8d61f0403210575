"""What preparing a data set found: counts, lengths, and what was left out and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from plainsql.translators.language_model.model_info import PromptFormat

QUANTILES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


class Lengths:
    """A histogram of lengths: its memory is bounded by the longest, not by their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, length: int) -> None:
        """Count one text of `length` tokens."""
        self._counts[length] += 1

    def quantile(self, share: float) -> int:
        """The smallest length that at least `share` of the texts do not exceed; 0 of none."""
        wanted, seen = math.ceil(share * self._counts.total()), 0
        for length in sorted(self._counts):
            seen += self._counts[length]
            if seen >= wanted:
                return length
        return 0

    def summary(self) -> dict[str, int]:
        """The quantiles that are reported."""
        return {name: self.quantile(share) for name, share in QUANTILES.items()}


@dataclass(frozen=True, slots=True)
class SourceCount:
    """What became of the rows of one source."""

    path: str
    format: str
    sha256: str
    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    rejected: int = 0
    held_out: int = 0  # their database is for validation, and they are not


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the split. Lengths are in tokens, see `PrepareReport.counted_by`."""

    examples: int = 0
    groups: int = 0  # databases, or sets of tables where there are no databases
    prompt_tokens: dict[str, int] = field(default_factory=dict)
    response_tokens: dict[str, int] = field(default_factory=dict)
    schema_cut: int = 0  # examples whose schema does not fit whole
    question_too_long: int = 0  # ... whose question leaves no room for any schema
    response_too_long: int = 0


class SideCounter:
    """Counts the examples of one side into a `Side`."""

    def __init__(self, form: PromptFormat) -> None:
        self._form = form
        self._groups: set[str] = set()
        self._prompts, self._responses = Lengths(), Lengths()
        self._counts: Counter[str] = Counter()

    @property
    def groups(self) -> list[str]:
        """The databases, or groups of tables, of the examples, sorted."""
        return sorted(self._groups)

    def add(self, group: str, prompt: int, response: int, *, cut: bool, too_long: bool) -> None:
        """Count one example with its lengths in tokens."""
        self._groups.add(group)
        self._prompts.add(prompt)
        self._responses.add(response)
        self._counts["examples"] += 1
        self._counts["schema_cut"] += cut
        self._counts["question_too_long"] += too_long
        self._counts["response_too_long"] += response > self._form.max_output_tokens

    def side(self) -> Side:
        """What was counted so far."""
        return Side(
            examples=self._counts["examples"],
            groups=len(self._groups),
            prompt_tokens=self._prompts.summary(),
            response_tokens=self._responses.summary(),
            schema_cut=self._counts["schema_cut"],
            question_too_long=self._counts["question_too_long"],
            response_too_long=self._counts["response_too_long"],
        )


@dataclass(frozen=True, slots=True)
class Narrowing:
    """How well linking chooses the tables of schemas that don't fit.

    `lost` examples would miss a table of their gold query: in training it is
    put in all the same, in validation it stays lost, as it would in use.
    """

    narrowed: int = 0
    lost: int = 0
    still_lost: int = 0  # in training: the tables of the query alone don't fit

    @property
    def recall(self) -> float:
        """Share of narrowed examples that keep every table of their query, 1 of none."""
        return 1 - self.lost / self.narrowed if self.narrowed else 1.0


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """The whole of it; `to_dict` is what `--json` prints and prepare.json holds."""

    prompt: PromptFormat
    counted_by: str  # the tokenizer that lengths are measured with, or "estimate"
    sources: tuple[SourceCount, ...]
    train: Side
    validation: Side
    narrowing: Narrowing
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows
    contradictions: int = 0  # questions with more than one query
    executed: int = 0  # queries that ran on their database
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(source.rows for source in self.sources)

    @property
    def duplicates(self) -> int:
        """Rows left out because an equal one came before."""
        return sum(source.duplicates for source in self.sources)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        found = asdict(self)
        found["narrowing"]["recall"] = round(self.narrowing.recall, 4)
        found["rows"], found["duplicates"] = self.rows, self.duplicates
        found["examples_per_second"] = round(self.rows / self.seconds, 1) if self.seconds else 0.0
        return found


def summary_rows(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A report's `to_dict` as pairs of a name and a text, for people."""
    for source in report["sources"]:
        yield "source", _source_text(source)
    for reason, number in report["rejected"].items():
        yield "rejected", f"{number:,}: {reason}"
    yield "questions with several queries", f"{report['contradictions']:,}"
    yield "queries executed", f"{report['executed']:,}"
    for name in ("train", "validation"):
        yield from _side_rows(name, report[name])
    yield from _narrowing_rows(report["narrowing"])
    yield "tokens counted by", report["counted_by"]
    yield "time", f"{report['seconds']:.1f} s, {report['examples_per_second']:,.0f} rows a second"


def _source_text(source: dict[str, Any]) -> str:
    counts = ((source[name], name.replace("_", " ")) for name in
              ("rows", "kept", "duplicates", "rejected", "held_out"))  # fmt: skip
    shown = ", ".join(f"{number:,} {name}" for number, name in counts if number or name == "kept")
    return f"{source['path']} ({source['format']}): {shown}"


def _side_rows(name: str, side: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield name, f"{side['examples']:,} examples over {side['groups']:,} databases or tables"
    if not side["examples"]:
        return
    for text in ("prompt", "response"):
        lengths = ", ".join(f"{key} {value:,}" for key, value in side[f"{text}_tokens"].items())
        yield f"  {text} tokens", lengths
    share = side["schema_cut"] / side["examples"]
    yield "  schema cut", f"{side['schema_cut']:,} ({share:.1%})"
    yield "  question too long", f"{side['question_too_long']:,}"
    yield "  response too long", f"{side['response_too_long']:,}"


def _narrowing_rows(narrowing: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not narrowing["narrowed"]:
        return
    text = (
        f"{narrowing['narrowed']:,} examples; linking keeps every table of the query in"
        f" {narrowing['recall']:.1%}, loses one in {narrowing['lost']:,}"
    )
    yield "narrowing", text
