"""A translator that answers from a script: for tests, where no model is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema


class ScriptedTranslator:
    """Proposes the SQL written down for a question, in the order written.

    `otherwise` is proposed for questions that `script` does not hold. Scores
    are 0, -1, -2, … so that the order is also the ranking.
    """

    name = "scripted"

    def __init__(self, script: Mapping[str, Sequence[str]], otherwise: Sequence[str] = ()) -> None:
        self._script = dict(script)
        self._otherwise = tuple(otherwise)

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """The first `n` statements of the script for `question`."""
        statements = self._script.get(question, self._otherwise)
        return [Candidate(sql, -float(i), self.name) for i, sql in enumerate(statements[:n])]
