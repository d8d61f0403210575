"""A model on a server as a translator: one greedy answer and a few drawn ones, as candidates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace

from plainsql.budget import current
from plainsql.errors import ModelError
from plainsql.records import SENT, Attempt, Candidate, Links, Origin
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.answer_cache import (
    AnswerCache,
    Found,
    answer_key,
    schema_hash,
)
from plainsql.translators.language_model.asking import Asked, best_of, too_long
from plainsql.translators.language_model.chat_template import Message
from plainsql.translators.language_model.disclosure import (
    FORMS,
    PRIVACY,
    disclosed,
    narrowed,
    told,
)
from plainsql.translators.language_model.examples import Examples
from plainsql.translators.language_model.extract import whole_sql
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import Prompt
from plainsql.translators.language_model.repair import without_cells
from plainsql.translators.language_model.server import (
    ContextTooSmall,
    Reply,
    Request,
    Server,
    Timing,
    Usage,
    parse_address,
)
from plainsql.translators.language_model.server_prompt import server_messages

PROMPT = PromptFormat(style="chat", max_input_tokens=6000, max_output_tokens=512)
SAMPLES, TEMPERATURE, TOP_P = 4, 0.7, 0.95
_LEAST_TOKENS = 256  # of a prompt; below, no schema is worth showing


class ServerTranslator:
    """Proposes what a model behind an OpenAI-compatible server writes.

    `options.privacy` says what of the database a prompt may hold: "names-only" (tables,
    columns, keys), "schema" (types and comments too; the default), or "samples" (a few
    values of each column as well, and those that the question names). The question is
    always sent, and examples are where there is a file of them. What was answered before
    is taken from the cache (`options.cache`), and nothing is sent.
    """

    def __init__(
        self,
        name: str,
        *,
        options: ModelOptions | None = None,
        samples: int = SAMPLES,
        form: PromptFormat = PROMPT,
        timing: Timing | None = None,
    ) -> None:
        options = options or ModelOptions()
        if options.privacy not in PRIVACY:
            raise ValueError(f"privacy must be one of {PRIVACY}, not {options.privacy!r}")
        self.server = Server(parse_address(name), timing)
        self._privacy = options.privacy
        self._samples = samples
        self._form = replace(form, schema_form=FORMS[options.privacy])
        self._examples = Examples(options.examples) if options.examples else None
        self._cache = AnswerCache(options.cache_dir, enabled=options.cache)

    @property
    def name(self) -> str:
        """`openai:MODEL@URL`."""
        return str(self.server.address)

    @property
    def usage(self) -> Usage:
        """Requests and tokens so far."""
        return self.server.usage

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
        `QuestionError`, `ModelError` (`ContextTooSmall`, `OutOfBudget`), `UsageError` for a
        broken file of examples, and `MissingExtra`.
        """
        return self._asked(self._shown(question, schema, links), n)

    def repair(
        self, question: str, schema: Schema, links: Links, attempts: Sequence[Attempt], n: int
    ) -> list[Candidate]:
        """At most `n` queries in place of those that did not do. Raises as `propose` does.

        Only with the privacy "samples" is the server told of cells in messages.
        """
        asked = self._shown(question, schema, links)
        if self._privacy != "samples":
            attempts = without_cells(attempts, self.name, question, asked.schema)
        return self._asked(replace(asked, attempts=tuple(attempts)), n) if attempts else []

    def _shown(self, question: str, schema: Schema, links: Links) -> Asked:
        """The question with as much of the schema as may leave the machine."""
        part, links = narrowed(schema, links)
        return Asked(question, disclosed(part, self._privacy), links)

    def _asked(self, asked: Asked, n: int) -> list[Candidate]:
        form = replace(self._form, dialect=asked.schema.dialect)
        prompt, messages = self._messages(form, asked)
        key = self._key(asked, prompt, messages, n)
        kept = self._cache.get(key)
        if kept is not None:
            return self._candidates(kept, (_FROM_CACHE,))
        while True:
            try:
                found, whole = self._found(prompt, messages, n)
                break
            except ContextTooSmall as error:
                form = _narrower(form, prompt, error)
                prompt, messages = self._messages(form, asked)
        if whole:
            self._cache.put(key, found[:n])
        return self._candidates(found[:n], self._sent(prompt, asked))

    def _key(self, asked: Asked, prompt: Prompt, messages: Sequence[Message], n: int) -> str:
        drawn = (min(n - 1, self._samples), TEMPERATURE, TOP_P)
        form = asdict(self._form)
        shown = schema_hash(asked.schema, prompt.tables)
        return answer_key(shown, self.name, list(messages), drawn, form, n)

    def _candidates(self, found: Found, origins: tuple[Origin, ...]) -> list[Candidate]:
        return [Candidate(sql, score, self.name, origins) for sql, score in found]

    def _sent(self, prompt: Prompt, asked: Asked) -> tuple[Origin, ...]:
        """What left the machine with the question."""
        return tuple(told(prompt, asked, self._privacy, self.server.address.host))

    def _messages(self, form: PromptFormat, asked: Asked) -> tuple[Prompt, list[Message]]:
        hits = self._privacy == "samples"
        prompt, messages = server_messages(form, asked, self._examples, hits=hits)
        if prompt.too_long:
            raise too_long(form)
        return prompt, messages

    def _found(self, prompt: Prompt, messages: Sequence[Message], n: int) -> tuple[Found, bool]:
        """The queries in the answers, and whether all answers that were wanted came.

        Once there is one answer, that the drawn ones fail, or that time or tokens run out,
        costs only them.
        """
        first = Request(messages, max_tokens=self._most_tokens(prompt))
        replies = self.server.ask(first)
        drawn = min(n - 1, self._samples)
        if drawn <= 0:
            return _scored(replies), True
        try:
            limit = self._most_tokens(prompt)
            replies += self.server.ask(Request(messages, drawn, TEMPERATURE, TOP_P, limit, seed=1))
        except ModelError:
            if not any(_sql_of(reply) for reply in replies):
                raise
            return _scored(replies), False
        return _scored(replies), True

    def _most_tokens(self, prompt: Prompt) -> int:
        """Tokens that an answer may have. Raises `OutOfBudget`."""
        return int(min(self._form.max_output_tokens, current().room(prompt.tokens)))


_FROM_CACHE = Origin(
    "nothing", SENT, note="the answer was kept from an earlier time; --no-cache asks again"
)


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


def _scored(replies: Sequence[Reply]) -> Found:
    """The different queries, each scored by how probable the model finds it.

    Where the server gives no log-probabilities, by the share of the answers that
    agree: what self-consistency counts (Wang et al. 2022, arXiv 2203.11171). The
    greedy answer, the first, wins a tie.
    """
    written = [(sql, reply.score) for reply in replies if (sql := _sql_of(reply))]
    counts = Counter(sql for sql, _ in written)
    shares = {sql: math.log(count / len(written)) for sql, count in counts.items()}
    return best_of((sql, shares[sql] if score is None else score) for sql, score in written)


def _sql_of(reply: Reply) -> str:
    return whole_sql(reply.text, finished=reply.finished)
