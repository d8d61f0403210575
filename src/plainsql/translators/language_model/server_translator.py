"""A model on a server as a translator: one greedy answer and a few drawn ones, as candidates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from plainsql.errors import ModelError, QuestionError
from plainsql.records import Candidate, Links, Origin
from plainsql.schema.model import Column, Schema, Table
from plainsql.translators.language_model.chat_template import Message
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import Prompt
from plainsql.translators.language_model.schema_text import schema_blocks
from plainsql.translators.language_model.server import (
    ContextTooSmall,
    Reply,
    Request,
    Server,
    Timing,
    parse_address,
)
from plainsql.translators.language_model.server_prompt import server_messages

PROMPT = PromptFormat(style="chat", max_input_tokens=6000, max_output_tokens=512)
SAMPLES, TEMPERATURE, TOP_P = 4, 0.7, 0.95
_LEAST_TOKENS = 256  # of a prompt; below, no schema is worth showing
PRIVACY = ("names-only", "schema", "samples")


class ServerTranslator:
    """Proposes what a model behind an OpenAI-compatible server writes.

    `privacy` says what of the database a prompt may hold: "names-only" (tables,
    columns, keys), "schema" (types and comments too; the default), or "samples" (a few
    values of each column as well). The question is always sent.
    """

    def __init__(
        self,
        name: str,
        *,
        privacy: str = "schema",
        samples: int = SAMPLES,
        form: PromptFormat = PROMPT,
        timing: Timing | None = None,
    ) -> None:
        if privacy not in PRIVACY:
            raise ValueError(f"privacy must be one of {PRIVACY}, not {privacy!r}")
        self.server = Server(parse_address(name), timing)
        self._privacy = privacy
        self._samples = samples
        self._form = form

    @property
    def name(self) -> str:
        """`openai:MODEL@URL`."""
        return str(self.server.address)

    def describe(self) -> str:
        """The model, and whether its server has it. Raises `ModelError`."""
        models = self.server.check()
        if models and self.server.address.model not in models:
            shown = ", ".join(models[:8])
            raise ModelError(
                f"The server at {self.server.address.host} has no model"
                f" {self.server.address.model!r}.",
                hint=f"It has {shown}.",
            )
        return f"{self.server.address.model} at {self.server.address.host}"

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """At most `n` different queries, the likeliest first; none where no text holds SQL.

        A schema too long for the model is narrowed and asked about again. Raises
        `QuestionError`, `ModelError` (`ContextTooSmall`), and `MissingExtra`.
        """
        form = replace(self._form, dialect=schema.dialect)
        while True:
            prompt, messages = self._messages(form, question, schema, links)
            try:
                replies = self._replies(messages, n)
            except ContextTooSmall as error:
                form = _narrower(form, prompt, error)
                continue
            return _candidates(replies, self.name, self._sent(prompt))[:n]

    def _sent(self, prompt: Prompt) -> Origin:
        """What left the machine with the question."""
        shown = ", ".join(prompt.tables) or "none"
        note = f"{_SHOWN[self._privacy]} were sent to {self.server.address.host} with the question"
        return Origin(f"tables {shown}", SENT, note=note)

    def _messages(
        self, form: PromptFormat, question: str, schema: Schema, links: Links
    ) -> tuple[Prompt, list[Message]]:
        shown = disclosed(schema, self._privacy)
        blocks = schema_blocks(shown, links, _FORMS[self._privacy])
        prompt, messages = server_messages(form, question, blocks, db=schema.name)
        if prompt.too_long:
            raise QuestionError(
                "The question is too long for this model: it leaves no room for the schema.",
                hint=f"About {form.max_input_tokens} tokens fit; ask shorter.",
            )
        return prompt, messages

    def _replies(self, messages: Sequence[Message], n: int) -> list[Reply]:
        limit = self._form.max_output_tokens
        replies = self.server.ask(Request(messages, max_tokens=limit))
        drawn = min(n - 1, self._samples)
        if drawn > 0:
            replies += self.server.ask(Request(messages, drawn, TEMPERATURE, TOP_P, limit, seed=1))
        return replies


SENT = "sent"  # the role of an origin that tells what left the machine
_SHOWN = {
    "names-only": "their names, columns and keys",
    "schema": "their names, columns, types, keys and comments",
    "samples": "their names, columns, types, keys, comments and sample values",
}
_FORMS = {"names-only": "names", "schema": "ddl", "samples": "samples"}


def disclosed(schema: Schema, privacy: str) -> Schema:
    """The schema without what may not leave the machine."""
    if privacy == "samples":
        return schema
    return replace(schema, tables=tuple(_bare(table, privacy) for table in schema.tables))


def _bare(table: Table, privacy: str) -> Table:
    columns = tuple(_bare_column(column, privacy) for column in table.columns)
    changes: dict[str, Any] = {"comment": ""} if privacy == "names-only" else {}
    return replace(table, columns=columns, **changes)


def _bare_column(column: Column, privacy: str) -> Column:
    if privacy == "names-only":
        return replace(column, samples=(), comment="", declared_type="")
    return replace(column, samples=())


def _narrower(form: PromptFormat, prompt: Prompt, error: ContextTooSmall) -> PromptFormat:
    """Room for less of the schema, as the server said or half of it. Raises `ContextTooSmall`."""
    half = min(form.max_input_tokens, prompt.tokens) // 2
    said = (error.limit or 0) - form.max_output_tokens
    room = said if 0 < said < half * 2 else half
    if room < _LEAST_TOKENS:
        read = f"reads {error.limit:,}" if error.limit else "reads fewer"
        raise ContextTooSmall(
            f"The prompt takes about {prompt.tokens:,} tokens, and the model {read}.", error.limit
        ) from error
    return replace(form, max_input_tokens=room)


def _candidates(replies: Sequence[Reply], name: str, sent: Origin) -> list[Candidate]:
    """The different queries, each scored by how probable the model finds it.

    Where the server gives no log-probabilities, by the share of the answers that
    agree: what self-consistency counts (Wang et al. 2022, arXiv 2203.11171). The
    greedy answer, the first, wins a tie.
    """
    pairs = [(extract_sql(reply.text), reply.score) for reply in replies]
    written = [(sql, score) for sql, score in pairs if sql]
    counts = Counter(sql for sql, _ in written)
    scores: dict[str, float] = {}
    for sql, score in written:
        share = math.log(counts[sql] / len(written))
        scores[sql] = max(scores.get(sql, -math.inf), share if score is None else score)
    found = [Candidate(sql, score, name, (sent,)) for sql, score in scores.items()]
    return sorted(found, key=lambda candidate: -candidate.score)
