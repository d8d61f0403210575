"""What is asked of a model on a server, what it answers, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from plainsql.errors import ModelError, UsageError
from plainsql.translators.language_model.chat_template import Message

PREFIX = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"
KEYS = ("PLAINSQL_API_KEY", "OPENAI_API_KEY")


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
    """Seconds to wait: for a connection, for the next byte, for one request in all.

    `retries` is how often a server that is busy, fails or hangs up is asked again; one that
    is silent is not, since it would begin to read the prompt anew.
    """

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
    """Tokens so far, as the server counts them (or estimated where it doesn't), and requests."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class ContextTooSmall(ModelError):
    """The prompt is longer than the model reads; `limit` tokens where that is known."""

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
