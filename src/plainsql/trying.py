"""Trying candidates: each is judged by the guard, the first ones are run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plainsql.choosing import Trial
from plainsql.errors import DeniedError, ExecutionError, PlainsqlError, QueryTimeout
from plainsql.execution.guard import judge
from plainsql.records import Candidate
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from plainsql.execution.base import Engine


SIDE_SECONDS = 0.5  # for each candidate after the first that gave rows


def try_candidates(
    candidates: Sequence[Candidate],
    engine: Engine,
    schema: Schema,
    *,
    wanted: int,
    limit: int,
    timeout: float,
) -> list[Trial]:
    """One trial for each candidate, in their order.

    All are judged; they are run until `wanted` of them have given rows or
    `timeout` seconds have passed for all together. Raises `ConnectError`.
    """
    deadline = time.monotonic() + timeout
    trials: list[Trial] = []
    succeeded = 0
    for candidate in candidates:
        trial = _judged(candidate, engine.dialect, schema)
        if trial.possible and succeeded < wanted:
            left = deadline - time.monotonic()
            # Once there are rows, the others only inform the choice: a slow one is let go.
            left = min(left, SIDE_SECONDS) if succeeded else left
            trial = _run(candidate, engine, limit, left)
            succeeded += trial.rows is not None
        trials.append(trial)
    return trials


def _judged(candidate: Candidate, dialect: str, schema: Schema) -> Trial:
    verdict = judge(candidate.sql, dialect=dialect, schema=schema)
    if verdict.allowed:
        return Trial(candidate)
    message = f"The guard refused the query: {verdict.reason}."
    return Trial(candidate, error=DeniedError(message, hint=f"SQL: {candidate.sql}"))


def _run(candidate: Candidate, engine: Engine, limit: int, seconds: float) -> Trial:
    try:
        if seconds <= 0:
            raise QueryTimeout("No time was left to run this reading of the question.")
        return Trial(candidate, engine.run(candidate.sql, limit=limit, timeout=seconds))
    except (ExecutionError, DeniedError) as error:
        return Trial(candidate, error=error)


def failure(trials: Sequence[Trial]) -> PlainsqlError:
    """Why no trial is possible: the error of the best that ran, else of the best refused."""
    failed = [(trial.candidate, trial.error) for trial in trials if trial.error is not None]
    ran = [pair for pair in failed if isinstance(pair[1], ExecutionError)]
    candidate, error = (ran or failed)[0]
    error.hint = error.hint or f"SQL: {candidate.sql}"
    return error
