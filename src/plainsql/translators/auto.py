"""The parser, and a language model for the questions that the parser is unsure of."""

from __future__ import annotations

from pathlib import Path

from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema
from plainsql.translators.base import AUTO, Translator


class AutoTranslator:
    """Two translators as one: `first` is always asked, `second` where `ask` finds that it must.

    Whether it must is known only after the first one's queries were tried, so `propose`
    speaks for the first alone.
    """

    name = AUTO

    def __init__(self, first: Translator, second: Translator) -> None:
        self.first = first
        self.second = second

    @property
    def folder(self) -> Path | None:
        """The weights of the first, beside which its word vectors and its re-ranker lie."""
        return getattr(self.first, "folder", None)

    def warm_up(self) -> None:
        """Load the weights of the first now; the second may never be needed."""
        getattr(self.first, "warm_up", lambda: None)()

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """The candidates of the first. Raises as it does."""
        return self.first.propose(question, schema, links, n)
