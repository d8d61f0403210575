"""What a model server answers, read while the model writes it.

    bytes ─ events ─▶ JSON objects ─ Answers.add ─▶ [Reply], tokens

An answer comes as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)
whose data are chunks of a chat completion, closed by `[DONE]`; or, from a server that does not
stream, as one object, which is read as if it were the only event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from plainsql.translators.language_model.server_records import Reply
from plainsql.watching import written

_DONE = "[DONE]"
_CUT = "length"  # the reason of an answer that came to the limit of tokens
_SPARE = 16  # pieces beyond the limit of tokens: what opens and closes an answer is a piece too


class BrokenOff(Exception):
    """The answer ended before its end, or a part of it can't be read; `begun` if any of it came."""

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.begun = begun


class Complaint(Exception):
    """An error that the server told in the stream, its status being 200 by then."""


class NotAnAnswer(Exception):
    """What came is no chat completion."""


@dataclass(slots=True)
class _Answer:
    """One of the answers, as far as it has come."""

    parts: list[str] = field(default_factory=list)
    score: float | None = None
    reason: str = ""  # why it ended, "" before it has
    pieces: int = 0  # about as many as tokens

    def add(self, choice: dict[str, Any]) -> None:
        said = choice["delta"] if "delta" in choice else choice["message"]
        self.parts.append(said.get("content") or "")  # None from a model that refuses
        self.pieces += 1
        self.reason = choice.get("finish_reason") or self.reason
        for token in (choice.get("logprobs") or {}).get("content") or []:
            self.score = (self.score or 0.0) + float(token["logprob"])

    def reply(self) -> Reply:
        return Reply("".join(self.parts), self.score, self.reason != _CUT)


class Answers:
    """The answers to one request, gathered event by event."""

    def __init__(self) -> None:
        self.usage: tuple[int, int] | None = None  # tokens read and written, where told
        self._done = False
        self._answers: dict[int, _Answer] = {}

    def add(self, event: str) -> None:
        """Take in the data of one event. Raises `Complaint`, and `NotAnAnswer`."""
        if event.strip() == _DONE:
            self._done = True
            return
        try:
            found = json.loads(event)
            if complaint := found.get("error"):
                raise Complaint(json.dumps(complaint))
            if usage := found.get("usage"):
                self.usage = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
            for choice in found["choices"]:
                self._answers.setdefault(int(choice.get("index") or 0), _Answer()).add(choice)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotAnAnswer(str(error)) from error

    @property
    def pieces(self) -> int:
        """The most that one answer has come in: about its tokens so far."""
        return max((answer.pieces for answer in self._answers.values()), default=0)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing. Some servers send no reason, others no mark at the end."""
        ended = all(answer.reason for answer in self._answers.values())
        return bool(self._answers) and (self._done or ended)

    def cut(self) -> None:
        """Take what there is for all there will be."""
        for answer in self._answers.values():
            answer.reason = answer.reason or _CUT

    def replies(self) -> list[Reply]:
        """The answers, in the server's order."""
        return [self._answers[index].reply() for index in sorted(self._answers)]


def _count(usage: dict[str, Any], name: str) -> int:
    return int(usage.get(name) or 0)


def read_whole(chunks: Iterable[bytes]) -> Answers:
    """The answers in one JSON object. Raises `NotAnAnswer`, and `Complaint`."""
    answers = Answers()
    answers.add(b"".join(chunks).decode("utf-8", "replace"))
    if not answers.replies():
        raise NotAnAnswer("no choices")
    return answers


def read_stream(chunks: Iterable[bytes], most: int) -> Answers:
    """The answers in a stream of events, read to its end or until one has `most` tokens.

    The latter is for servers that don't know when to stop. Raises `BrokenOff`, and `Complaint`.
    """
    answers = Answers()
    for event in events(chunks):
        try:
            answers.add(event)
        except NotAnAnswer as error:
            raise BrokenOff(str(error), begun=answers.pieces > 0) from error
        written(answers.pieces)
        if answers.pieces > most + _SPARE:
            answers.cut()
            return answers
    if not answers.complete:
        raise BrokenOff("the stream ended before the answer", begun=answers.pieces > 0)
    return answers


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event; comments, by which servers keep a line open, are left out."""
    data: list[str] = []
    for line in _lines(chunks):
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data.clear()
    if data:  # an empty line should follow; not every server sends it
        yield "\n".join(data)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
    if held:
        yield held.decode("utf-8", "replace")
