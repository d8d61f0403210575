"""A language model behind an OpenAI-compatible server: Ollama, vLLM, llama.cpp, TGI, hosted ones.

    openai:MODEL@URL      openai:qwen2.5-coder@http://localhost:11434/v1

The key comes from the environment alone (`PLAINSQL_API_KEY`, else `OPENAI_API_KEY`), so
that it stands in no command line, settings file or log. Requests go through OpenAI's own
client (https://github.com/openai/openai-python), which retries what may pass (429, 5xx,
connections that fail) with growing waits and obeys Retry-After.
"""

from __future__ import annotations

import json
import os
import re
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from plainsql.errors import MissingExtra, ModelError, UsageError
from plainsql.translators.language_model.chat_template import Message

PREFIX = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"
KEYS = ("PLAINSQL_API_KEY", "OPENAI_API_KEY")
MOST_BYTES = 20_000_000  # of one response
NO_KEY = "none"  # servers of one's own ask for none, and the client insists on one

# What some servers refuse or don't know; left out one by one when they say so.
OPTIONAL = ("logprobs", "seed", "n", "top_p")
_TOO_LONG = re.compile(
    r"context|maximum.{0,20}length|too long|exceed|n_ctx|max_model_len|max_total_tokens", re.I
)
_NUMBER = re.compile(r"\d{2,7}")


@dataclass(frozen=True, slots=True)
class Address:
    """Which model, and where. Has no secret in it."""

    model: str
    url: str = DEFAULT_URL

    @property
    def host(self) -> str:
        """The host and port, for people."""
        return urlsplit(self.url).netloc

    def __str__(self) -> str:
        return f"{PREFIX}{self.model}@{self.url}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds to wait: for a connection, for the next byte, for one question in all."""

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0
    retries: int = 2


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the model. `temperature` 0 is greedy."""

    messages: Sequence[Message]
    count: int = 1  # answers
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `score` is its log-probability, None where the server doesn't tell."""

    text: str
    score: float | None = None
    finished: bool = True


@dataclass(slots=True)
class Usage:
    """Tokens so far, as the server counts them, and requests made."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class ContextTooSmall(ModelError):
    """The prompt is longer than the model reads; `limit` tokens where the server says it."""

    def __init__(self, message: str, limit: int | None) -> None:
        super().__init__(message, hint="Ask over fewer tables, or use a model that reads more.")
        self.limit = limit


def parse_address(text: str) -> Address:
    """`openai:MODEL@URL` or `openai:MODEL`. Raises `UsageError`, without repeating secrets."""
    model, _, url = text.removeprefix(PREFIX).partition("@")
    parts = urlsplit(url or DEFAULT_URL)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _malformed("The URL of a model server holds no user, key or parameters.")
    if not model or parts.scheme not in ("http", "https") or not parts.hostname:
        raise _malformed("A model on a server is named openai:MODEL@URL.")
    return Address(model, (url or DEFAULT_URL).rstrip("/"))


def _malformed(message: str) -> UsageError:
    return UsageError(
        message,
        hint="For example openai:qwen2.5-coder@http://localhost:11434/v1,"
        f" with the key, if there is one, in {KEYS[0]}.",
    )


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
        timing = self.timing
        key = next((os.environ[name] for name in KEYS if os.environ.get(name)), NO_KEY)
        limits = openai.Timeout(timing.read, connect=timing.connect)
        client = openai.OpenAI(
            base_url=self.address.url, api_key=key, timeout=limits, max_retries=timing.retries
        )
        weakref.finalize(self, client.close)  # connections are kept between questions
        return client

    def check(self) -> tuple[str, ...]:
        """The names of the server's models, none where it keeps no list.

        Raises `ModelError` where the server can't be reached or refuses the key.
        """
        with self._explained():
            import openai

            try:
                return tuple(model.id for model in self._client.models.list())
            except openai.APIStatusError as error:
                if error.status_code in _STATUS and error.status_code != _NOT_FOUND:
                    raise
                return ()

    def ask(self, request: Request) -> list[Reply]:
        """The model's answers: at least one, and fewer than wanted where the server is stubborn.

        What the server doesn't know is left out of the request, and not tried again.
        Raises `ModelError`, `ContextTooSmall`, and `MissingExtra` without the client.
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
        for _ in range(len(OPTIONAL) + 1):
            with self._explained():
                try:
                    return self._replies(self._send(request, deadline))
                except self._bad_request() as error:
                    self._refused |= self._refused_by(error)
        raise self._nonsense()

    def _send(self, request: Request, deadline: float) -> bytes:
        """The body of the server's response, read until the deadline at most."""
        sending = self._client.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=list(request.messages),
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            timeout=self._timeout(deadline),
            **self._optional(request),
        )
        self.usage.requests += 1
        body = bytearray()
        with sending as response:
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > deadline:  # an answer that trickles in for ever
                    raise self._silent()
                if len(body) > MOST_BYTES:
                    raise self._nonsense()
        return bytes(body)

    def _timeout(self, deadline: float) -> Any:
        """Of one try: all tries together end at the deadline."""
        import openai

        left = deadline - time.monotonic()
        if left <= 0:
            raise self._silent()
        read = min(self.timing.read, left / (self.timing.retries + 1))
        return openai.Timeout(read, connect=self.timing.connect)

    def _optional(self, request: Request) -> dict[str, Any]:
        """What is not refused, and not what a server does without being told."""
        wanted: dict[str, Any] = {"logprobs": True, "seed": request.seed}
        wanted |= {"n": request.count} if request.count > 1 else {}
        wanted |= {"top_p": request.top_p} if request.top_p < 1 else {}
        return {name: value for name, value in wanted.items() if name not in self._refused}

    def _replies(self, body: bytes) -> list[Reply]:
        try:
            found = json.loads(body)
            usage = found.get("usage") or {}
            self.usage.input_tokens += int(usage.get("prompt_tokens") or 0)
            self.usage.output_tokens += int(usage.get("completion_tokens") or 0)
            replies = [_reply(choice) for choice in found["choices"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._nonsense() from error
        if not replies:
            raise self._nonsense()
        return replies

    def _bad_request(self) -> tuple[type[Exception], ...]:
        import openai

        return openai.BadRequestError, openai.UnprocessableEntityError

    def _refused_by(self, error: Exception) -> frozenset[str]:
        """The optional parameter that `error` complains of. Raises what else it says."""
        text = str(getattr(error, "body", "")) + str(error)
        for name in OPTIONAL:
            if name not in self._refused and re.search(rf"\b{name}\b", text):
                return frozenset({name})
        if _TOO_LONG.search(text):
            raise ContextTooSmall(
                "The question and its schema are too long for the model.", _largest(text)
            ) from error
        raise error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The client's errors as `ModelError`, one sentence each."""
        _ = self._client  # says what to install where the library is missing
        import openai

        try:
            yield
        except openai.APITimeoutError as error:
            raise self._silent() from error
        except openai.APIConnectionError as error:
            raise self._unreachable() from error
        except openai.APIStatusError as error:
            raise self._status(error) from error
        except openai.OpenAIError as error:
            raise self._nonsense() from error
        except Exception as error:
            # What breaks while a body is read comes from the HTTP library itself, and
            # which one that is depends on the client's version.
            if not type(error).__module__.startswith("httpx"):
                raise
            slow = "Timeout" in type(error).__name__
            raise (self._silent() if slow else self._unreachable()) from error

    def _status(self, error: Any) -> ModelError:
        code, host = error.status_code, self.address.host
        said = _STATUS.get(code)
        if said is None:
            return ModelError(
                f"The model server at {host} failed with status {code}.",
                hint="Its own log says why; try again later.",
            )
        message, hint = said(self.address)
        return ModelError(message, hint=hint)

    def _silent(self) -> ModelError:
        return ModelError(
            f"The model server at {self.address.host} did not answer in time.",
            hint="It may still be loading the model: try again, or ask a smaller model.",
        )

    def _unreachable(self) -> ModelError:
        return ModelError(
            f"The model server at {self.address.host} can't be reached, or hung up.",
            hint=f"Is it running? The address asked is {self.address.url}.",
        )

    def _nonsense(self) -> ModelError:
        return ModelError(
            f"The server at {self.address.host} did not answer as an OpenAI-compatible one does.",
            hint="Check the URL: it mostly ends in /v1.",
        )


_NOT_FOUND = 404
_Said = Callable[[Address], tuple[str, str]]
_STATUS: dict[int, _Said] = {
    401: lambda at: (f"The model server at {at.host} refuses the key.", f"Set {KEYS[0]}."),
    403: lambda at: (
        f"The model server at {at.host} doesn't permit this key to use {at.model}.",
        f"Set {KEYS[0]} to a key that may.",
    ),
    _NOT_FOUND: lambda at: (
        f"The server at {at.host} has no model {at.model!r}, or nothing at {at.url}.",
        "Its list of models is at /models below the URL, which mostly ends in /v1.",
    ),
    429: lambda at: (
        f"The model server at {at.host} has too many requests, or the quota is used up.",
        "Wait a little and try again.",
    ),
}


def _reply(choice: dict[str, Any]) -> Reply:
    text = choice["message"].get("content") or ""  # None from a model that refuses
    tokens = (choice.get("logprobs") or {}).get("content") or []
    score = sum(float(token["logprob"]) for token in tokens) if tokens else None
    return Reply(str(text), score, choice.get("finish_reason") != "length")


def _largest(text: str) -> int | None:
    """The model's limit, where the message names it: the smaller of the numbers in it."""
    numbers = [int(number) for number in _NUMBER.findall(text.replace(",", ""))]
    likely = [number for number in numbers if number >= 256 and number not in (400, 422)]
    return min(likely) if likely else None
