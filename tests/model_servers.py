"""A scripted OpenAI-compatible server on loopback, well-behaved or not.

    with Scripted(always("SELECT 1")) as server:
        Server(parse_address(server.name), QUICK).ask(ASKED)

A script gives, for the body of a request, a status and a body: bytes are one JSON object,
an iterable of bytes is a stream of events, sent piece by piece.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from plainsql.translators.language_model.server import Request, Timing

QUICK = Timing(connect=2, read=1, total=4, retries=1)
ONCE = Timing(connect=2, read=1, total=4, retries=0)
ASKED = Request([{"role": "user", "content": "?"}])

Body = bytes | Iterable[bytes]
Script = Callable[[dict[str, Any]], tuple[int, Body]]
HANG_UP = b""  # a piece at which a stream ends, its last chunk missing


def answer(*texts: str, logprob: float | None = None, finish: str = "stop") -> bytes:
    """A server's response with these answers."""
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish,
            "logprobs": _logprobs(logprob),
        }
        for at, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return json.dumps({"id": "1", "choices": choices, "usage": usage}).encode()


def _logprobs(logprob: float | None) -> dict[str, Any] | None:
    token = {"token": "x", "logprob": logprob}
    return {"content": [token, token]} if logprob is not None else None


def always(*texts: str, **more: Any) -> Script:
    """These answers to everything, as one object."""
    return lambda body: (200, answer(*texts[: body.get("n", 1)], **more))


def event(value: Any) -> bytes:
    """One event of a stream."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"data: {text}\n\n".encode()


def piece(
    text: str | None, *, index: int = 0, finish: str | None = None, logprob: float | None = None
) -> bytes:
    """The event of a piece of an answer."""
    choice = {
        "index": index,
        "delta": {"content": text} if text is not None else {},
        "finish_reason": finish,
        "logprobs": _logprobs(logprob),
    }
    return event({"id": "1", "object": "chat.completion.chunk", "choices": [choice]})


def streamed(*texts: str, **more: Any) -> Iterator[bytes]:
    """A whole stream with one answer in pieces, its tokens and its end."""
    yield from (piece(text, **more) for text in texts)
    yield piece(None, finish="stop")
    yield event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(texts)}})
    yield event("[DONE]")


def slowly(pieces: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """`pieces` with a pause before each but the first."""
    for at, one in enumerate(pieces):
        if at:
            time.sleep(seconds)
        yield one


class Scripted:
    """A server that answers by `script(request's body) -> (status, body)`."""

    def __init__(self, script: Script) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.left_alone = threading.Event()  # who asked hung up before the end of a stream
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._object(200, json.dumps({"data": [{"id": "m", "object": "model"}]}).encode())

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                outer.requests.append(body)
                outer.keys.append(self.headers.get("authorization", ""))
                status, said = script(body)
                if isinstance(said, bytes):
                    self._object(status, said)
                else:
                    self._stream(status, said)

            def _object(self, status: int, body: bytes) -> None:
                with suppress(OSError):  # who asked has hung up
                    self._head(status, "application/json", ("content-length", str(len(body))))
                    self.wfile.write(body)

            def _stream(self, status: int, pieces: Iterable[bytes]) -> None:
                self.close_connection = True
                try:
                    self._head(status, "text/event-stream", ("transfer-encoding", "chunked"))
                    for one in pieces:
                        if one == HANG_UP:
                            return
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(one), one))
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    outer.left_alone.set()

            def _head(self, status: int, kind: str, length: tuple[str, str]) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header(*length)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        serving = partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serving, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self.name = f"openai:m@{self.url}"

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
