"""Which candidates go back to a language model, and what it is told of them.

Told are the engine's or the guard's words, what is odd about the rows, and the nearest
real names. Nothing that the policy denies is named: what may not be read does not exist.
After self-debugging (Chen et al. 2023, https://arxiv.org/abs/2304.05128).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from plainsql.choosing import Choice, Trial, confidence
from plainsql.errors import ExecutionError, QueryTimeout, ResourceLimit
from plainsql.evidence import Evidence
from plainsql.execution.redaction import redact
from plainsql.records import Attempt
from plainsql.schema.model import Schema
from plainsql.scoring import emptiness

MOST_ATTEMPTS = 3  # told of at once, the likeliest last
DOUBTFUL = 0.5  # below this confidence, that the likeliest candidate failed is reason enough

_UNKNOWN = "It names a table or column that this database does not have."
_EMPTY = {"empty": "It gave no rows, or counted none", "null": "It gave NULL and nothing else"}
_WORD = re.compile(r"\w+")
# What the guard says of names: of denied ones, and of those that aren't there.
_NOT_ALLOWED = re.compile(r"\b(table|column) .* is not allowed")


@dataclass(frozen=True, slots=True)
class Mending:
    """What is wrong with the candidates: why they go back, and as what. No `why`: nothing is."""

    why: str = ""
    attempts: tuple[Attempt, ...] = ()


def mending(
    trials: Sequence[Trial],
    choice: Choice | None,
    evidence: Evidence,
    *,
    translator: str,
    denied: frozenset[str] = frozenset(),
) -> Mending:
    """What `translator` should be told of those of `trials` that it proposed.

    They go back when no trial could be used; when the chosen one found nothing and looks
    for a text that its column lacks; and when the likeliest failed over a name or in the
    engine, and what was chosen has a confidence below `DOUBTFUL`. `denied` are the names,
    in lower case, that the policy keeps from the reader.
    """
    own = [trial for trial in trials if trial.candidate.translator == translator]
    if not own:
        return Mending()
    if choice is None:
        return Mending("no query could be used", _attempts(own, evidence, denied))
    chosen = trials[choice.index]
    if chosen in own and (lacking := _lacking(chosen, evidence)):
        return Mending(lacking, _attempts([chosen], evidence, denied))
    best = max(own, key=lambda trial: trial.candidate.score)
    if _is_mendable(best, evidence) and confidence(trials, choice) < DOUBTFUL:
        return Mending("the likeliest query failed", _attempts([best], evidence, denied))
    return Mending()


def denied_names(whole: Schema, known: Schema) -> frozenset[str]:
    """The names of tables and columns, in lower case, that only `whole` has."""
    return _names(whole) - _names(known)


def _names(schema: Schema) -> frozenset[str]:
    tables = {name for table in schema.tables for name in (table.name, table.bare_name)}
    return frozenset(name.lower() for name in tables | {column.name for column in schema.columns})


def _lacking(trial: Trial, evidence: Evidence) -> str:
    """What a query that found nothing looks for in vain; "" where it found something."""
    if trial.rows is None or not emptiness(trial.rows, filtered=True):
        return ""
    missing = evidence.missing(trial.candidate.sql)
    return _no_cell(missing[0].text) if missing else ""


def _no_cell(text: str) -> str:
    return f"it found nothing, and no cell is {text!r}"


def _is_mendable(trial: Trial, evidence: Evidence) -> bool:
    """Whether another query may do better: not where time or room ran out."""
    if trial.error is None or isinstance(trial.error, QueryTimeout | ResourceLimit):
        return False
    failed = isinstance(trial.error, ExecutionError)
    return failed or bool(evidence.reading(trial.candidate.sql).unknown)


def _attempts(
    trials: Sequence[Trial], evidence: Evidence, denied: frozenset[str]
) -> tuple[Attempt, ...]:
    """The likeliest of `trials` as attempts, the best last: what was said last is obeyed first."""
    best = sorted(trials, key=lambda trial: trial.candidate.score)[-MOST_ATTEMPTS:]
    return tuple(_attempt(trial, evidence, denied) for trial in best)


def _attempt(trial: Trial, evidence: Evidence, denied: frozenset[str]) -> Attempt:
    sql = trial.candidate.sql
    return Attempt(trial.candidate, _problem(trial, evidence, denied), evidence.nearest(sql))


def _problem(trial: Trial, evidence: Evidence, denied: frozenset[str]) -> str:
    """One sentence or two. What names something denied only says that it isn't there."""
    if trial.error is not None:
        message = redact(trial.error.message)
        words = {word.lower() for word in _WORD.findall(message)}
        odd = any(name in message.lower() for name in denied if not _WORD.fullmatch(name))
        return _UNKNOWN if words & denied or odd or _NOT_ALLOWED.search(message) else message
    kind = emptiness(trial.rows, filtered=True) if trial.rows is not None else ""
    cells = "".join(
        f" {evidence.name(sought.column)} has no cell {sought.text!r}."
        for sought in evidence.missing(trial.candidate.sql)
    )
    return f"{_EMPTY.get(kind, 'It is doubtful')}.{cells}"
