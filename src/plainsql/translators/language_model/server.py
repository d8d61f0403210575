"""A language model behind an OpenAI-compatible server: Ollama, vLLM, llama.cpp, TGI, hosted ones.

    openai:MODEL@URL      openai:qwen2.5-coder@http://localhost:11434/v1

The key comes from the environment alone (`PLAINSQL_API_KEY`, else `OPENAI_API_KEY`), so
that it stands in no command line, settings file or log. Requests go through OpenAI's own
client (https://github.com/openai/openai-python). Trying again is done here rather than
there, since a wait must end with the time that a question has.
"""

from __future__ import annotations

import os
import re
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

from plainsql.budget import current
from plainsql.errors import MissingExtra
from plainsql.translators.language_model import server_errors as errors
from plainsql.translators.language_model.server_records import (
    KEYS,
    Address,
    ContextTooSmall,
    Reply,
    Request,
    Timing,
    Usage,
    parse_address,
)
from plainsql.translators.language_model.server_stream import (
    Answers,
    BrokenOff,
    Complaint,
    NotAnAnswer,
    read_stream,
    read_whole,
)

__all__ = [
    "Address",
    "ContextTooSmall",
    "Reply",
    "Request",
    "Server",
    "Timing",
    "Usage",
    "parse_address",
]

MOST_BYTES = 20_000_000  # of one response
NO_KEY = "none"  # servers of one's own ask for none, and the client insists on one

# What some servers refuse or don't know; left out one by one when they say so.
OPTIONAL = ("logprobs", "seed", "n", "top_p", "stream_options", "stream")
_STREAMING = frozenset({"stream", "stream_options"})


class Server:
    """Asks one model at one address. Safe to call from several threads."""

    def __init__(self, address: Address, timing: Timing | None = None) -> None:
        self.address = address
        self.timing = timing or Timing()
        self.usage = Usage()
        self._refused: frozenset[str] = frozenset()  # of OPTIONAL, by this server

    @cached_property
    def _client(self) -> Any:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra("A model on a server", "openai") from error
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), NO_KEY)
        limits = openai.Timeout(self.timing.read, connect=self.timing.connect)
        client = openai.OpenAI(
            base_url=self.address.url, api_key=key, timeout=limits, max_retries=0
        )
        weakref.finalize(self, client.close)  # connections are kept between questions
        return client

    @contextmanager
    def _explained(self) -> Iterator[None]:
        _ = self._client  # says what to install where the library is missing
        try:
            with errors.explained(self.address):
                yield
        except errors.Silent:
            current().check()  # it was the question's time that was up: say which setting
            raise

    def check(self) -> tuple[str, ...]:
        """The names of the server's models, none where it keeps no list.

        Raises `ModelError` where the server can't be reached or refuses the key.
        """
        with self._explained():
            import openai

            try:
                return tuple(model.id for model in self._client.models.list())
            except openai.APIStatusError as error:
                if errors.is_known(error.status_code) and error.status_code != errors.NOT_FOUND:
                    raise
                return ()

    def ask(self, request: Request) -> list[Reply]:
        """The model's answers: at least one, and fewer than wanted where the server is stubborn.

        What the server doesn't know is left out of the request, and not tried again. All ends
        with the time and the tokens of the question (see `plainsql.budget`). Raises
        `ModelError` (`ContextTooSmall`, `OutOfBudget`), and `MissingExtra` without the client.
        """
        deadline = time.monotonic() + self.timing.total
        replies = self._once(request, deadline)
        seed = request.seed
        while len(replies) < request.count and request.temperature > 0:
            seed += 1
            more = replace(request, count=request.count - len(replies), seed=seed)
            replies += self._once(more, deadline)
        return replies[: request.count]

    def _once(self, request: Request, deadline: float) -> list[Reply]:
        """One request, sent again without what the server refuses, or when it broke off."""
        broken, refused = False, frozenset[str]()
        while True:
            with self._explained():
                try:
                    return self._counted(request, self._patiently(request, deadline, refused))
                except BrokenOff as error:
                    if broken:
                        raise errors.broken_off(self.address) from error
                    # A server that promises a stream and fails then can't tell why any more.
                    broken, refused = True, frozenset() if error.begun else _STREAMING
                except NotAnAnswer as error:
                    raise errors.nonsense(self.address) from error
                except Complaint as error:
                    self._refused |= self._refused_by(error, str(error))
                except self._status_error() as error:
                    self._refused |= self._refused_by(error, errors.complaint_of(error))

    def _patiently(self, request: Request, deadline: float, refused: frozenset[str]) -> Answers:
        """`_send`, tried again where the server may think better of it."""
        for tried in range(self.timing.retries + 1):
            try:
                return self._send(request, deadline, self._refused | refused)
            except Exception as error:
                wait = errors.wait_before_retry(error, tried)
                if wait is None or tried == self.timing.retries or wait >= self._left(deadline):
                    raise
                time.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _left(self, deadline: float) -> float:
        return min(deadline - time.monotonic(), current().left())

    def _send(self, request: Request, deadline: float, refused: frozenset[str]) -> Answers:
        """The server's answers, read until the deadline at most."""
        import openai

        read = min(self.timing.read, self._check(deadline))
        sending = self._client.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=list(request.messages),
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            timeout=openai.Timeout(read, connect=self.timing.connect),
            **_optional(request, refused),
        )
        self.usage.requests += 1
        with sending as response:
            chunks = self._bounded(response.iter_bytes(), deadline)
            if "text/event-stream" in response.headers.get("content-type", ""):
                return read_stream(errors.until_hang_up(chunks), request.max_tokens)
            return read_whole(chunks)

    def _check(self, deadline: float) -> float:
        """Seconds left. Raises `ModelError` for none, `OutOfBudget` for tokens too."""
        current().check()
        left = self._left(deadline)
        if left <= 0:
            raise errors.silent(self.address)
        return left

    def _bounded(self, chunks: Iterable[bytes], deadline: float) -> Iterator[bytes]:
        """`chunks`, ended by an error where they go on for too long."""
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if self._left(deadline) <= 0:  # an answer that trickles in for ever
                raise errors.silent(self.address)
            if size > MOST_BYTES:
                raise errors.nonsense(self.address)
            yield chunk

    def _counted(self, request: Request, answers: Answers) -> list[Reply]:
        """The replies, after their tokens were counted."""
        replies = answers.replies()
        asked = sum(_tokens(turn["content"]) for turn in request.messages)
        written = sum(_tokens(reply.text) for reply in replies)
        read, wrote = answers.usage or (asked, written)
        self.usage.input_tokens += read
        self.usage.output_tokens += wrote
        current().spend(read + wrote)
        return replies

    def _status_error(self) -> type[Exception]:
        import openai

        return openai.APIStatusError

    def _refused_by(self, error: Exception, said: str) -> frozenset[str]:
        """The optional parameter that the server complains of. Raises what else it says."""
        for name in OPTIONAL:
            if name not in self._refused and re.search(rf"\b{name}\b", said):
                return frozenset({name})
        if too_long := errors.too_long(said):
            raise too_long from error
        if isinstance(error, Complaint):
            raise errors.broken_off(self.address) from error
        raise error


def _optional(request: Request, refused: frozenset[str]) -> dict[str, Any]:
    """What is not refused, and not what a server does without being told."""
    wanted: dict[str, Any] = {"logprobs": True, "seed": request.seed, "stream": True}
    wanted |= {"n": request.count} if request.count > 1 else {}
    wanted |= {"top_p": request.top_p} if request.top_p < 1 else {}
    if "stream" not in refused:
        wanted["stream_options"] = {"include_usage": True}
    return {name: value for name, value in wanted.items() if name not in refused}


def _tokens(text: str) -> int:
    """About how many tokens a text has, for servers that don't count."""
    return len(text) // 4 + 1
