"""Answers of a model server read while they are written; streams that stall, break or never end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from model_servers import (
    ASKED,
    HANG_UP,
    ONCE,
    QUICK,
    Body,
    Scripted,
    answer,
    event,
    piece,
    slowly,
    streamed,
)
from plainsql.budget import Budget, OutOfBudget, within
from plainsql.errors import ModelError
from plainsql.translators.language_model.server import (
    ContextTooSmall,
    Reply,
    Request,
    Server,
    Timing,
    parse_address,
)
from plainsql.translators.language_model.server_stream import (
    BrokenOff,
    Complaint,
    NotAnAnswer,
    events,
    read_stream,
    read_whole,
)
from plainsql.watching import watching

DONE = event("[DONE]")
END = piece(None, finish="stop")
LONG = Request(ASKED.messages, max_tokens=50)


def asked(server: Scripted, timing: Timing = QUICK, request: Request = ASKED) -> list[Reply]:
    return Server(parse_address(server.name), timing).ask(request)


def always(pieces: Callable[[], Iterable[bytes]]) -> Callable[[dict[str, Any]], tuple[int, Body]]:
    return lambda body: (200, pieces())


# --- reading -----------------------------------------------------------------


@pytest.mark.parametrize(("chunks", "found"), [
    ([b"data: a\n\ndata: b\n\n"], ["a", "b"]),
    ([b"data: a\r\n\r\ndata:b\r\n\r\n"], ["a", "b"]),
    ([b"da", b"ta: ", b"a\n", b"\nda", b"ta: b"], ["a", "b"]),
    ([b": still here\n\n", b"event: x\nid: 1\ndata: a\n\n"], ["a"]),
    ([b"data: one\ndata: two\n\n"], ["one\ntwo"]),
    (["data: é日\n\n".encode()[:8], "data: é日\n\n".encode()[8:]], ["é日"]),
    ([b"data: \xff\n\n"], ["�"]),
    ([], []),
    ([b"<html>"], []),
])  # fmt: skip
def test_events(chunks: list[bytes], found: list[str]) -> None:
    assert list(events(chunks)) == found


WHOLE: list[tuple[Iterable[bytes], list[Reply]]] = [
    (streamed("SELECT", " 1"), [Reply("SELECT 1")]),
    ([piece("SELECT 1"), END], [Reply("SELECT 1")]),  # no mark at the end
    ([piece("SELECT 1"), DONE], [Reply("SELECT 1")]),  # no reason
    ([piece("SELECT 1", finish="length"), DONE], [Reply("SELECT 1", finished=False)]),
    ([piece("a", logprob=-0.5), piece("b", logprob=-0.25, finish="stop")], [Reply("ab", -1.5)]),
    ([piece(None), piece(None, finish="content_filter"), DONE], [Reply("")]),  # it refuses
    (
        [piece("b", index=1), piece("a"), END, piece("!", index=1, finish="stop")],
        [Reply("a"), Reply("b!")],
    ),
    ([answer("SELECT 1").join((b"data: ", b"\n\n")), DONE], [Reply("SELECT 1")]),  # not in pieces
]


@pytest.mark.parametrize(("pieces", "replies"), WHOLE)
def test_streams(pieces: Iterable[bytes], replies: list[Reply]) -> None:
    assert read_stream(pieces, most=100).replies() == replies


def test_tokens_of_a_stream() -> None:
    assert read_stream(streamed("a", "b", "c"), most=100).usage == (7, 3)
    assert read_stream([piece("a"), END], most=100).usage is None


@pytest.mark.parametrize("pieces", [
    [],
    [DONE],
    [piece("SELECT")],
    [piece("SELECT"), b"data: {\"choices\": [{"],
    [piece("SELECT"), event("nonsense"), DONE],
    [event([]), DONE],
    [event({"choices": [{"delta": "x"}]}), DONE],
    [event({"choices": None}), DONE],
    [b"I am sorry, but there is no such thing.\n"],
])  # fmt: skip
def test_streams_that_break_off(pieces: list[bytes]) -> None:
    with pytest.raises(BrokenOff):
        read_stream(pieces, most=100)


def test_complaints_and_nonsense() -> None:
    with pytest.raises(Complaint, match="out of memory"):
        read_stream([piece("SEL"), event({"error": {"message": "out of memory"}})], most=100)
    with pytest.raises(NotAnAnswer):
        read_whole([b'{"choices": []}'])


# --- asking ------------------------------------------------------------------


def test_a_stream_is_asked_for_and_read() -> None:
    with Scripted(always(lambda: streamed("SELECT", " 1"))) as running:
        server, heard = Server(parse_address(running.name), QUICK), list[int]()
        with within(Budget()) as budget, watching(heard.append):
            assert server.ask(ASKED) == [Reply("SELECT 1")]
    (request,) = running.requests
    assert (request["stream"], request["stream_options"]) == (True, {"include_usage": True})
    assert (server.usage.input_tokens, server.usage.output_tokens, budget.spent) == (7, 2, 9)
    assert heard[0] == 1
    assert max(heard) == 3


def test_several_answers_in_one_stream() -> None:
    def script(body: dict[str, Any]) -> tuple[int, Body]:
        texts = [f"answer {at}" for at in range(body["n"])]
        pieces = [piece(text, index=at, finish="stop") for at, text in enumerate(texts)]
        return 200, [*pieces, DONE]

    with Scripted(script) as running:
        found = asked(running, request=Request(ASKED.messages, count=3, temperature=0.7))
    assert [reply.text for reply in found] == ["answer 0", "answer 1", "answer 2"]


@pytest.mark.parametrize("refused", ["stream", "stream_options"])
def test_a_server_that_does_not_stream(refused: str) -> None:
    def script(body: dict[str, Any]) -> tuple[int, Body]:
        if refused in body:
            message = f"Extra inputs are not permitted: '{refused}'"
            return 422, json.dumps({"detail": message}).encode()
        return 200, streamed("yes") if body.get("stream") else answer("yes")

    with Scripted(script) as running:
        server = Server(parse_address(running.name), QUICK)
        assert server.ask(ASKED) == [Reply("yes")]
        assert server.ask(ASKED) == [Reply("yes")]
    assert ["stream" in body for body in running.requests][1:] == [refused != "stream"] * 2


def test_a_server_that_counts_no_tokens_is_estimated() -> None:
    with Scripted(always(lambda: [piece("SELECT name FROM singer"), END])) as running:
        server = Server(parse_address(running.name), QUICK)
        with within(Budget()) as budget:
            server.ask(ASKED)
    assert server.usage.output_tokens in range(4, 9)
    assert budget.spent == server.usage.input_tokens + server.usage.output_tokens


# --- streams that go wrong ---------------------------------------------------

BROKEN: dict[str, Callable[[], Iterable[bytes]]] = {
    "ends": lambda: [piece("SELECT")],
    "hangs up": lambda: [piece("SELECT"), HANG_UP],
    "invalid JSON": lambda: [piece("SELECT"), b'data: {"choices": [{\n\n', DONE],
    "prose": lambda: [b"Sorry, I am only a proxy.\n\n"],
    "nothing": lambda: [],
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_stream_is_asked_for_once_more(kind: str) -> None:
    bodies: Iterator[Iterable[bytes]] = iter([BROKEN[kind](), streamed("SELECT 1")])
    with Scripted(lambda _: (200, next(bodies))) as running:
        assert asked(running) == [Reply("SELECT 1")]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_stream_that_always_breaks_is_an_error(kind: str) -> None:
    with Scripted(always(BROKEN[kind])) as running, pytest.raises(ModelError) as caught:
        asked(running)
    assert "broke off" in caught.value.message or "hung up" in caught.value.message
    assert caught.value.hint
    assert len(running.requests) == 2


def test_what_breaks_a_stream_before_it_begins_is_told_without_one() -> None:
    """The server of llama-cpp-python promises a stream before it looks at the prompt."""

    def script(body: dict[str, Any]) -> tuple[int, Body]:
        if body.get("stream"):
            return 200, [HANG_UP]
        message = "Requested tokens (1500) exceed context window of 1024"
        return 400, json.dumps({"error": {"message": message}}).encode()

    with Scripted(script) as running, pytest.raises(ContextTooSmall) as caught:
        asked(running, ONCE)
    assert caught.value.limit == 1024


def test_an_error_in_the_stream() -> None:
    said = event({"error": {"message": "CUDA out of memory", "code": 500}})
    with (
        Scripted(always(lambda: [piece("SEL"), said])) as running,
        pytest.raises(ModelError, match="broke off"),
    ):
        asked(running)


def test_a_context_too_small_told_in_the_stream() -> None:
    said = event({"error": {"message": "the request exceeds the context size (2048)"}})
    with Scripted(always(lambda: [said])) as running, pytest.raises(ContextTooSmall) as caught:
        asked(running)
    assert caught.value.limit == 2048


def test_a_stalled_stream_is_noticed() -> None:
    timing = Timing(connect=1, read=0.3, total=10, retries=2)
    started = time.monotonic()
    with (
        Scripted(always(lambda: slowly([piece("SELECT"), END], 3))) as running,
        pytest.raises(ModelError, match="in time"),
    ):
        asked(running, timing)
    assert time.monotonic() - started < 2
    assert len(running.requests) == 1  # not asked again: it would only begin anew


def test_the_deadline_of_the_question_ends_a_stream_at_once() -> None:
    endless = always(lambda: slowly((piece("x") for _ in itertools.count()), 0.05))
    started = time.monotonic()
    with (
        Scripted(endless) as running,
        within(Budget.lasting(0.5)),
        pytest.raises(OutOfBudget) as caught,
    ):
        asked(running, Timing(connect=1, read=5, total=60))
    assert time.monotonic() - started < 2
    assert "deadline" in caught.value.hint
    assert running.left_alone.wait(2)


def test_comments_do_not_keep_a_silent_stream_alive_for_ever() -> None:
    pings = always(lambda: slowly((b": ping\n\n" for _ in itertools.count()), 0.05))
    with Scripted(pings) as running, pytest.raises(ModelError, match="in time"):
        asked(running, Timing(connect=1, read=1, total=0.5, retries=0))
    assert running.left_alone.wait(2)


def test_an_answer_that_never_ends_is_cut() -> None:
    """The server does not obey `max_tokens`."""
    endless = always(lambda: (piece("x") for _ in itertools.count()))
    with Scripted(endless) as running:
        (found,) = asked(running, request=LONG)
    assert not found.finished
    assert 50 <= len(found.text) < 100
    assert running.left_alone.wait(2)


def test_an_endless_line_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plainsql.translators.language_model.server.MOST_BYTES", 100_000)
    endless = always(lambda: (b"data: " + b"x" * 10_000 for _ in itertools.count()))
    with Scripted(endless) as running, pytest.raises(ModelError, match="did not answer as"):
        asked(running, ONCE)


def test_ctrl_c_ends_the_request() -> None:
    endless = always(lambda: slowly((piece("x") for _ in itertools.count()), 0.05))
    timer = threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT))
    with Scripted(endless) as running:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            asked(running, Timing(connect=1, read=10, total=60))
        assert running.left_alone.wait(2)


# --- trying again ------------------------------------------------------------


def test_a_wait_that_the_question_has_no_time_for_is_not_begun() -> None:
    started = time.monotonic()
    with (
        Scripted(lambda _: (429, b"{}")) as running,
        within(Budget.lasting(0.3)),
        pytest.raises(ModelError, match="too many requests"),
    ):
        asked(running)
    assert time.monotonic() - started < 0.5
    assert len(running.requests) == 1


def test_tokens_used_up_begin_no_request() -> None:
    with (
        Scripted(always(lambda: streamed("x"))) as running,
        within(Budget(tokens=5)) as budget,
    ):
        asked(running)
        assert budget.spent > 5
        with pytest.raises(OutOfBudget, match="tokens"):
            asked(running)
    assert len(running.requests) == 1
