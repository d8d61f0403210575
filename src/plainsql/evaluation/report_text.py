"""The report as tables for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from plainsql.evaluation.report import Report, Score
from plainsql.evaluation.statistics import PairedComparison

WORST_DATABASES = 10
SHOWN_FAILURES = 3


def print_report(
    report: Report, console: Console, comparison: PairedComparison | None = None
) -> None:
    """Print the report, and how it compares to an earlier run."""
    console.print(as_text(report, comparison))


def as_text(report: Report, comparison: PairedComparison | None = None) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [Text(line) for line in _summary(report)]
    if comparison:
        parts.append(Text(_comparison_line(comparison)))
    tables = [_levels(report), _databases(report)] if report.scored else []
    tables += [_errors(report)] if report.error_classes() else []
    for table in tables:
        parts += [Text(), table]
    return Group(*parts)


def _summary(report: Report) -> Iterable[str]:
    whole, interval = report.score, report.interval
    yield f"{report.dataset} · {report.translator} · {len(report.outcomes)} questions"
    if report.interrupted:
        yield f"Interrupted after {len(report.outcomes)} of {report.total} questions."
    if whole.execution is not None:
        low, high = 100 * interval.low, 100 * interval.high
        yield f"Execution accuracy  {_percent(whole.execution)} % (95 %: {low:.1f} to {high:.1f})"
        yield f"  columns in order  {_percent(whole.execution_in_order)} %"
        yield f"Exact set match     {_percent(whole.exact_match)} %"
        yield f"Executable          {_percent(whole.executable)} %"
    if whole.oracle is not None:
        candidates = 1 + report.alternatives
        yield f"Oracle among {candidates:<6} {_percent(whole.oracle)} %"
    if report.latency:
        p50, p95 = report.latency.p50, report.latency.p95
        yield f"Latency             {p50:.0f} ms median, {p95:.0f} ms p95"
    if not report.keep_distinct:
        yield "DISTINCT was removed from both queries before they ran."
    yield from _failure_lines(report)


def _failure_lines(report: Report) -> Iterable[str]:
    failures = report.gold_failures
    if failures:
        yield f"Gold queries that failed, in no figure: {len(failures)}"
    for outcome in failures[:SHOWN_FAILURES]:
        yield f"  {outcome.db}, question {outcome.position + 1}: {outcome.gold_error}"


def _comparison_line(comparison: PairedComparison) -> str:
    low, high = 100 * comparison.interval.low, 100 * comparison.interval.high
    return (
        f"Against the earlier run, over {comparison.questions} questions: "
        f"{100 * comparison.difference:+.1f} points (95 %: {low:+.1f} to {high:+.1f}), "
        f"{comparison.only_first} gained, {comparison.only_second} lost, "
        f"McNemar p = {comparison.p_value:.3g}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _table(title: str, first: str, oracle: bool) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first)
    names = ["n", "EX", "in order", "exact", "runs", *(["oracle"] if oracle else [])]
    for name in names:
        table.add_column(name, justify="right")
    return table


def _row(name: str, item: Score, oracle: bool) -> list[str]:
    shares = [item.execution, item.execution_in_order, item.exact_match, item.executable]
    shares += [item.oracle] if oracle else []
    return [name, str(item.questions), *(_percent(share) for share in shares)]


def _levels(report: Report) -> Table:
    oracle = report.score.oracle is not None
    table = _table("By hardness", "level", oracle)
    for name, item in report.by_level().items():
        table.add_row(*_row(name, item, oracle))
    table.add_row(*_row("all", report.score, oracle))
    return table


def _databases(report: Report) -> Table:
    oracle = report.score.oracle is not None
    scores = report.by_database()
    shown = list(scores.items())[:WORST_DATABASES]
    title = "By database" if len(scores) == len(shown) else f"The {len(shown)} worst databases"
    table = _table(title, "database", oracle)
    for name, item in shown:
        table.add_row(*_row(name, item, oracle))
    return table


def _errors(report: Report) -> Table:
    table = Table(title="Wrong answers", title_justify="left", box=None, pad_edge=False)
    table.add_column("class")
    table.add_column("n", justify="right")
    table.add_column("share", justify="right")
    counts = report.error_classes()
    for name, count in counts.items():
        table.add_row(name.value, str(count), _percent(count / sum(counts.values())))
    return table
