"""Real OpenAI-compatible servers with a tiny model that knows answers.

`transformers serve`, llama.cpp's own `llama-server` (where it is on the PATH) and the server of
llama-cpp-python (where that is installed).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from plainsql.budget import Budget, within
from plainsql.errors import ModelError
from plainsql.records import Links, Question
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions, translator
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.server import Request, Server, Timing, parse_address
from plainsql.translators.language_model.server_translator import ServerTranslator
from taught_model import ANSWERS, FRENCH, HOW_MANY, make_concerts, taught_model

START_SECONDS = 120
CONTEXT = 1024  # tokens, of the tiny model
# The prompt that `openai:` makes, by which the server's own template is tested too.
PROMPT = PromptFormat(style="chat", schema_form="ddl", max_input_tokens=900)


@dataclass(frozen=True)
class Model:
    """A taught model as a folder and as a GGUF file, and the database it knows."""

    folder: Path
    gguf: Path
    database: Path


@dataclass(frozen=True)
class Served:
    """A running server: what it is called in `--translator`, and what it knows."""

    kind: str
    name: str
    database: Path


def transformers(model: Model, port: int) -> tuple[list[str], str]:
    pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn")
    pytest.importorskip("uvicorn", reason="transformers serve needs fastapi and uvicorn")
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model.folder)]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"], "/health"


def llama_server(model: Model, port: int) -> tuple[list[str], str]:
    binary = shutil.which("llama-server")
    if binary is None:
        pytest.skip("llama-server, of llama.cpp, is not on the PATH")
    command = [binary, "--model", str(model.gguf), "--alias", str(model.folder), "--jinja"]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    return [*command, *place, "--ctx-size", str(CONTEXT), "--parallel", "1"], "/health"


def llama_cpp_python(model: Model, port: int) -> tuple[list[str], str]:
    if not all(map(find_spec, ("llama_cpp", "fastapi", "sse_starlette", "starlette_context"))):
        pytest.skip("llama-cpp-python[server] is not installed")
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model.gguf)]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    return [*command, *place, "--n_ctx", str(CONTEXT), "--n_threads", "1"], "/v1/models"


COMMANDS: dict[str, Callable[[Model, int], tuple[list[str], str]]] = {
    "transformers": transformers,
    "llama-server": llama_server,
    "llama-cpp-python": llama_cpp_python,
}


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    from plainsql.quantization.export import export

    folder = tmp_path_factory.mktemp("served")
    database = make_concerts(folder)
    answers = {question: ANSWERS[question] for question in (HOW_MANY, FRENCH)}
    made = taught_model(folder / "model", answers, database, prompt=PROMPT)
    return Model(made, export(made, folder / "gguf", "gguf-f16").file, database)


@pytest.fixture(scope="module", params=COMMANDS)
def served(request: pytest.FixtureRequest, model: Model) -> Iterator[Served]:
    """The name of a translator behind a running server, and the database it knows."""
    port = free_port()
    command, ready = COMMANDS[request.param](model, port)
    process = subprocess.Popen(
        command,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}{ready}", process)
        name = f"openai:{model.folder}@http://127.0.0.1:{port}/v1"
        yield Served(request.param, name, model.database)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize("question", [HOW_MANY, FRENCH])
def test_ask_on_the_command_line(served: Served, question: str) -> None:
    command = [sys.executable, "-m", "plainsql", "ask", question, "-d", str(served.database)]
    done = subprocess.run(
        [*command, "--translator", served.name, "--json", "--explain"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["sql"] == ANSWERS[question]
    assert found["row_count"] > 0
    assert [origin["role"] for origin in found["explain"]] == ["sent"]


def test_describe(served: Served) -> None:
    made = translator(served.name)
    if served.kind == "llama-cpp-python":  # it has one model, by a name of its own
        with pytest.raises(ModelError, match="has no model") as caught:
            made.describe()  # type: ignore[attr-defined]
        assert "It has" in caught.value.hint
    else:
        assert "127.0.0.1" in made.describe()  # type: ignore[attr-defined]


def test_it_streams_and_counts(served: Served) -> None:
    server = Server(parse_address(served.name))
    with within(Budget()) as budget:
        (reply,) = server.ask(Request([{"role": "user", "content": "Hi?"}], max_tokens=4))
    assert reply.text
    assert server.usage.requests <= 3  # it may refuse one parameter, or two
    assert "stream" not in server._refused
    assert 0 < server.usage.output_tokens <= 5
    assert budget.spent == server.usage.input_tokens + server.usage.output_tokens


def test_several_answers_are_drawn(served: Served) -> None:
    server = Server(parse_address(served.name))
    turns = [{"role": "user", "content": "Hi?"}]
    found = server.ask(Request(turns, count=3, temperature=1.5, max_tokens=4, seed=1))
    assert len(found) == 3
    # transformers begins every answer with the same seed.
    assert len({reply.text for reply in found}) > 1 or served.kind == "transformers"


def test_a_deadline_leaves_the_server_free(served: Served) -> None:
    server = Server(parse_address(served.name), Timing(total=0.3))
    endless = Request([{"role": "user", "content": "Hi?"}], temperature=2.0, max_tokens=900)
    started = time.monotonic()
    with suppress(ModelError):  # a fast server may be done by then
        server.ask(endless)
    assert time.monotonic() - started < 5
    assert Server(parse_address(served.name)).ask(Request(endless.messages, max_tokens=1))


def test_a_schema_too_long_is_narrowed(served: Served) -> None:
    """llama.cpp says what its context is; transformers reads on beyond it."""
    one = sqlite_schema(served.database).tables[0]
    tables = tuple(
        type(one)(f"table_{at}", tuple(
            type(c)(f"table_{at}", c.name, c.type, c.natural, c.declared_type) for c in one.columns
        ), f"table {at}")
        for at in range(60)
    )  # fmt: skip
    made = ServerTranslator(served.name, options=ModelOptions(cache=False), samples=0)
    made.propose(HOW_MANY, Schema("wide", tables), Links(Question(HOW_MANY, ())), 1)
    assert made.server.usage.requests > 1 or served.kind == "transformers"
