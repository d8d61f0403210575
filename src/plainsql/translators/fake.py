"""A translator that answers from a script: for tests, where no model is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plainsql.records import Attempt, Candidate, Links
from plainsql.schema.model import Schema


class ScriptedTranslator:
    """Proposes the SQL written down for a question, in the order written.

    `otherwise` is proposed for questions that `script` does not hold. Scores
    are 0, -1, -2, … so that the order is also the ranking. `repairs` are what it
    proposes when it is asked to mend, a round each; what it was told is in `told`.
    """

    name = "scripted"

    def __init__(
        self,
        script: Mapping[str, Sequence[str]],
        otherwise: Sequence[str] = (),
        repairs: Sequence[Sequence[str]] = (),
    ) -> None:
        self._script = dict(script)
        self._otherwise = tuple(otherwise)
        self._repairs = [tuple(statements) for statements in repairs]
        self.told: list[tuple[Attempt, ...]] = []

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """The first `n` statements of the script for `question`."""
        return self._candidates(self._script.get(question, self._otherwise)[:n])

    def repair(
        self, question: str, schema: Schema, links: Links, attempts: Sequence[Attempt], n: int
    ) -> list[Candidate]:
        """The first `n` statements of the next round; none when the rounds are used up."""
        at = len(self.told)
        self.told.append(tuple(attempts))
        return self._candidates(self._repairs[at][:n] if at < len(self._repairs) else ())

    def _candidates(self, statements: Sequence[str]) -> list[Candidate]:
        return [Candidate(sql, -float(i), self.name) for i, sql in enumerate(statements)]
