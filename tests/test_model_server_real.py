"""A real OpenAI-compatible server, `transformers serve`, with a tiny model that knows answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from plainsql.translators.base import translator
from plainsql.translators.language_model.model_info import PromptFormat
from taught_model import ANSWERS, FRENCH, HOW_MANY, make_concerts, taught_model

pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn")
pytest.importorskip("uvicorn", reason="transformers serve needs fastapi and uvicorn")

START_SECONDS = 120
# The prompt that `openai:` makes, by which the server's own template is tested too.
PROMPT = PromptFormat(style="chat", schema_form="ddl", max_input_tokens=900)


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
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The name of a translator behind a running server, and the database it knows."""
    folder = tmp_path_factory.mktemp("served")
    database = make_concerts(folder)
    answers = {question: ANSWERS[question] for question in (HOW_MANY, FRENCH)}
    model = taught_model(folder / "model", answers, database, prompt=PROMPT)
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"openai:{model}@http://127.0.0.1:{port}/v1", database
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize("question", [HOW_MANY, FRENCH])
def test_ask_on_the_command_line(served: tuple[str, Path], question: str) -> None:
    name, database = served
    command = [sys.executable, "-m", "plainsql", "ask", question, "-d", str(database)]
    done = subprocess.run(
        [*command, "--translator", name, "--json", "--explain"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["sql"] == ANSWERS[question]
    assert found["row_count"] > 0
    assert [origin["role"] for origin in found["explain"]] == ["sent"]


def test_describe(served: tuple[str, Path]) -> None:
    assert "127.0.0.1" in translator(served[0]).describe()  # type: ignore[attr-defined]
