"""Trying candidates: each is judged by the guard, the first ones are run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plainsql.budget import current
from plainsql.choosing import Trial
from plainsql.errors import DeniedError, ExecutionError, PlainsqlError, QueryTimeout, ResourceLimit
from plainsql.execution.base import hidden_names
from plainsql.execution.guard import judge
from plainsql.execution.transpile import to_dialect
from plainsql.records import Candidate, Verdict
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.execution.base import Engine


SIDE_SECONDS = 0.5  # for each candidate after the first that gave rows
GRACE = 1.0  # seconds that what was proposed may still run when the question's time is up


@dataclass(slots=True)
class Trying:
    """Tries the candidates of one question, round by round.

    `timeout` are the seconds that all its SQL may take, of which `spent` are gone.
    """

    engine: Engine
    schema: Schema
    access: Access
    limit: int
    timeout: float
    spent: float = 0.0

    def round(self, candidates: Sequence[Candidate], wanted: int) -> list[Trial]:
        """As `try_candidates`, in the time that is left. Raises `ConnectError`."""
        begin = time.monotonic()
        left = min(self.timeout - self.spent, max(current().left(), GRACE))
        trials = try_candidates(
            candidates,
            self.engine,
            self.schema,
            access=self.access,
            wanted=wanted,
            limit=self.limit,
            timeout=left,
        )
        self.spent += time.monotonic() - begin
        return trials


def try_candidates(
    candidates: Sequence[Candidate],
    engine: Engine,
    schema: Schema,
    *,
    access: Access | None = None,
    wanted: int,
    limit: int,
    timeout: float,
) -> list[Trial]:
    """One trial for each candidate, in their order.

    All are judged; they are run until `wanted` of them have given rows or
    `timeout` seconds have passed for all together. One that is refused or fails for
    being in another engine's dialect is tried a second time in this one's. Raises
    `ConnectError`.
    """
    deadline = time.monotonic() + timeout
    tries = _Tries(engine, schema, access, wanted, limit, deadline)
    return [tries.trial(candidate) for candidate in candidates]


@dataclass(slots=True)
class _Tries:
    """The trials of one question. `deadline` in seconds of the monotonic clock."""

    engine: Engine
    schema: Schema
    access: Access | None
    wanted: int
    limit: int
    deadline: float
    succeeded: int = 0

    def trial(self, candidate: Candidate) -> Trial:
        """What became of the candidate, or of its second form where the first failed."""
        trial = self._tried(candidate)
        again = _in_own_dialect(trial, self.engine.dialect, self.schema)
        second = self._tried(again) if again is not None else trial
        trial = second if second.possible else trial
        self.succeeded += trial.rows is not None
        return trial

    def _tried(self, candidate: Candidate) -> Trial:
        trial, verdict = _judged(candidate, self.engine.dialect, self.schema, self.access)
        if not trial.possible or self.succeeded >= self.wanted:
            return trial
        left = self.deadline - time.monotonic()
        # Once there are rows, the others only inform the choice: a slow one is let go.
        left = min(left, SIDE_SECONDS) if self.succeeded else left
        return _run(self, candidate, verdict.sql, left)


def _in_own_dialect(trial: Trial, dialect: str, schema: Schema) -> Candidate | None:
    """The refused or failed candidate in the engine's dialect; None where it was that already."""
    if trial.possible or isinstance(trial.error, QueryTimeout | ResourceLimit):
        return None
    sql = to_dialect(trial.candidate.sql, dialect, schema)
    return replace(trial.candidate, sql=sql) if sql != trial.candidate.sql else None


def _judged(
    candidate: Candidate, dialect: str, schema: Schema, access: Access | None
) -> tuple[Trial, Verdict]:
    verdict = judge(candidate.sql, dialect=dialect, schema=schema, access=access)
    if verdict.allowed:
        return Trial(candidate), verdict
    message = f"The guard refused the query: {verdict.reason}."
    denied = DeniedError(message, hint=f"SQL: {candidate.sql}")
    return Trial(candidate, error=denied), verdict


def _run(tries: _Tries, candidate: Candidate, sql: str, seconds: float) -> Trial:
    """The trial of running `sql`, the text that was judged (with the policy's rules in it)."""
    try:
        if seconds <= 0:
            raise QueryTimeout("No time was left to run this reading of the question.")
        with hidden_names(tries.access):
            rows = tries.engine.run(sql, limit=tries.limit, timeout=seconds)
        return Trial(candidate, rows)
    except (ExecutionError, DeniedError) as error:
        return Trial(candidate, error=error)


def failure(trials: Sequence[Trial]) -> PlainsqlError:
    """Why no trial is possible: the error of the best that ran, else of the best refused."""
    failed = [(trial.candidate, trial.error) for trial in trials if trial.error is not None]
    ran = [pair for pair in failed if isinstance(pair[1], ExecutionError)]
    candidate, error = (ran or failed)[0]
    error.hint = error.hint or f"SQL: {candidate.sql}"
    return error
