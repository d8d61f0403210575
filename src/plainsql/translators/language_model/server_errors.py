"""What can go wrong with a model server, as errors of one sentence that say what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from plainsql.errors import ModelError
from plainsql.translators.language_model.server_records import KEYS, Address, ContextTooSmall

NOT_FOUND = 404
# Statuses of what may pass: a time-out at the server, a conflict, too many requests.
_PASSING = frozenset({408, 409, 429})
# Statuses with which servers answer a parameter that they don't know.
_DISLIKES = frozenset({400, 422, 500, 501})
_LONGEST_WAIT = 8.0  # seconds, where the server names none
_TOO_LONG = re.compile(
    r"context|maximum.{0,20}length|too long|exceed|n_ctx|max_model_len|max_total_tokens", re.I
)
_NUMBER = re.compile(r"\d{2,7}")


class Silent(ModelError):
    """The server did not answer in time."""


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """The client's errors inside the block as `ModelError`."""
    import openai

    try:
        yield
    except openai.APITimeoutError as error:
        raise silent(address) from error
    except openai.APIConnectionError as error:
        raise unreachable(address) from error
    except openai.APIStatusError as error:
        raise _status(address, error.status_code) from error
    except openai.OpenAIError as error:
        raise nonsense(address) from error
    except Exception as error:
        # What breaks while a body is read comes from the HTTP library itself, and
        # which one that is depends on the client's version.
        if not _of_http(error):
            raise
        slow = "Timeout" in type(error).__name__
        raise (silent(address) if slow else unreachable(address)) from error


def _of_http(error: Exception) -> bool:
    return type(error).__module__.startswith("httpx")


def until_hang_up(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """`chunks` as if the server had ended where it hung up: what is missing shows then."""
    try:
        yield from chunks
    except Exception as error:
        if not _is_hang_up(error):
            raise


def wait_before_retry(error: Exception, tried: int) -> float | None:
    """Seconds to wait before asking again, None where that would not help.

    As the server says (Retry-After), else 0.5, 1, 2 … after the first, second, third try.
    Silence is no reason to ask again: the server would only begin anew.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        if error.status_code not in _PASSING and error.status_code < 500:
            return None
        said = error.response.headers.get("retry-after", "")
        return float(said) if re.fullmatch(r"\d+(\.\d+)?", said) else _pause(tried)
    return _pause(tried) if _is_hang_up(error) else None


def _is_hang_up(error: Exception) -> bool:
    import openai

    slow = isinstance(error, openai.APITimeoutError) or "Timeout" in type(error).__name__
    return not slow and (isinstance(error, openai.APIConnectionError) or _of_http(error))


def _pause(tried: int) -> float:
    return min(0.5 * 2**tried, _LONGEST_WAIT)


def too_long(text: str) -> ContextTooSmall | None:
    """The error of a prompt that the model can't read, where `text` complains of that."""
    if not _TOO_LONG.search(text):
        return None
    return ContextTooSmall(
        "The question and its schema are too long for the model.", _largest(text)
    )


def _largest(text: str) -> int | None:
    """The model's limit, where the message names it: the smaller of the numbers in it."""
    numbers = [int(number) for number in _NUMBER.findall(text.replace(",", ""))]
    likely = [number for number in numbers if number >= 256 and number not in (400, 422)]
    return min(likely) if likely else None


def silent(address: Address) -> ModelError:
    """No answer in time."""
    return Silent(
        f"The model server at {address.host} did not answer in time.",
        hint="It may still be loading the model: try again, or ask a smaller model.",
    )


def unreachable(address: Address) -> ModelError:
    """No connection, or one that ended."""
    return ModelError(
        f"The model server at {address.host} can't be reached, or hung up.",
        hint=f"Is it running? The address asked is {address.url}.",
    )


def broken_off(address: Address) -> ModelError:
    """Half an answer, twice."""
    return ModelError(
        f"The model server at {address.host} broke off in the middle of its answer.",
        hint="Its own log says why; it may be short of memory.",
    )


def nonsense(address: Address) -> ModelError:
    """An answer of another kind."""
    return ModelError(
        f"The server at {address.host} did not answer as an OpenAI-compatible one does.",
        hint="Check the URL: it mostly ends in /v1.",
    )


def _status(address: Address, code: int) -> ModelError:
    said = _STATUS.get(code)
    if said is None:
        return ModelError(
            f"The model server at {address.host} failed with status {code}.",
            hint="Its own log says why; try again later.",
        )
    message, hint = said(address)
    return ModelError(message, hint=hint)


_Said = Callable[[Address], tuple[str, str]]
_STATUS: dict[int, _Said] = {
    401: lambda at: (f"The model server at {at.host} refuses the key.", f"Set {KEYS[0]}."),
    403: lambda at: (
        f"The model server at {at.host} doesn't permit this key to use {at.model}.",
        f"Set {KEYS[0]} to a key that may.",
    ),
    NOT_FOUND: lambda at: (
        f"The server at {at.host} has no model {at.model!r}, or nothing at {at.url}.",
        "Its list of models is at /models below the URL, which mostly ends in /v1.",
    ),
    429: lambda at: (
        f"The model server at {at.host} has too many requests, or the quota is used up.",
        "Wait a little and try again.",
    ),
}


def is_known(status: int) -> bool:
    """Whether there is something to say about `status`."""
    return status in _STATUS


def complaint_of(error: Any) -> str:
    """The server's own words where it may not like a parameter; not to be shown to anybody."""
    return f"{error.body} {error}" if error.status_code in _DISLIKES else ""
