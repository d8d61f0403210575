"""Language models on odd databases and behind broken servers, from the question to the rows."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from model_servers import HANG_UP, Body, Scripted, always, answer, piece, streamed
from plainsql import connect
from plainsql.cli.main import run
from plainsql.records import Status
from plainsql.settings import Settings

SINGERS = "SELECT name FROM singer"
ONE_ROUND = Settings(repair_rounds=0)


def prompts(server: Scripted) -> list[str]:
    """What each request said to the model."""
    return ["\n".join(turn["content"] for turn in body["messages"]) for body in server.requests]


# --- servers that won't do, on the command line ------------------------------


def refused(status: int, message: str = "no") -> Callable[[dict[str, Any]], tuple[int, Body]]:
    return lambda body: (status, json.dumps({"error": {"message": message}}).encode())


SERVERS: dict[str, tuple[Callable[[dict[str, Any]], tuple[int, Body]], str]] = {
    "wrong key": (refused(401), "refuses the key"),
    "no permission": (refused(403), "doesn't permit"),
    "no such model": (refused(404), "has no model 'm'"),
    "half a stream": (lambda body: (200, [piece("SELECT"), HANG_UP]), "broke off"),
    "HTML": (lambda body: (200, b"<html>"), "did not answer as"),
    "a context of nothing": (refused(400, "context length is 300 tokens"), "takes about"),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_broken_server_is_one_sentence_and_exit_code_7(
    concerts: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    script, message = SERVERS[kind]
    with Scripted(script) as server:
        command = ["ask", "Which singers are there?", "-d", str(concerts)]
        assert run([*command, "--translator", server.name]) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "hint: " in err
    assert "Traceback" not in err


def test_nobody_listens(concerts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Scripted(always("x")) as server:
        pass
    assert run(["ask", "Which singers?", "-d", str(concerts), "--translator", server.name]) == 7
    assert "can't be reached" in capsys.readouterr().err


@pytest.mark.parametrize("text", [
    "", "I can't help with that.", "The answer is 42.", "{\"sql\": ", "<think>SELECT 1",
])  # fmt: skip
def test_a_model_that_refuses_is_no_answer(concerts: Path, text: str) -> None:
    with (
        Scripted(lambda body: (200, streamed(text))) as server,
        connect(concerts, translator=server.name, settings=ONE_ROUND) as database,
    ):
        found = database.ask("Which singers are there?")
    assert (found.status, found.sql) == (Status.UNANSWERABLE, "")


# --- a schema that changes ---------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_a_schema_that_changes_between_questions(concerts: Path, cached: bool) -> None:
    """A new prompt, a new answer: nothing that was kept is stale."""

    def script(body: dict[str, Any]) -> tuple[int, Body]:
        known = "shoe_size" in json.dumps(body["messages"])
        return 200, streamed("SELECT shoe_size FROM singer" if known else SINGERS)

    question = "Which singers have which shoes?"
    settings = Settings(answer_cache=cached, repair_rounds=0)
    with (
        Scripted(script) as server,
        connect(concerts, translator=server.name, settings=settings) as database,
    ):
        before = database.ask(question)
        assert database.ask(question).sql == before.sql == SINGERS
        first = len(server.requests)
        with closing(sqlite3.connect(concerts)) as connection, connection:
            connection.execute("ALTER TABLE singer ADD COLUMN shoe_size INTEGER DEFAULT 44")
        after = database.ask(question)
    assert after.sql == "SELECT shoe_size FROM singer"
    assert set(after.rows) == {(44,)}
    assert len(server.requests) > first
    assert "shoe_size" in prompts(server)[-1]
    assert "shoe_size" not in prompts(server)[0]


# --- names -------------------------------------------------------------------

ODD = """
CREATE TABLE "order details" ("unit price" REAL, "select" TEXT, "na""me" TEXT, "größe" INTEGER,
    "日本" TEXT, "it's" TEXT, "group by" INTEGER);
INSERT INTO "order details" VALUES (2.5, 'a', 'b', 3, 'c', 'd', 4);
CREATE TABLE "table" ("from" TEXT);
INSERT INTO "table" VALUES ('here');
"""
ODD_QUERIES: dict[str, tuple[Any, ...]] = {
    'SELECT "unit price" FROM "order details"': (2.5,),
    'SELECT "select" FROM "order details"': ("a",),
    'SELECT "na""me" FROM "order details"': ("b",),
    'SELECT größe FROM "order details" WHERE größe > 2': (3,),
    'SELECT "日本" FROM "order details" AS d': ("c",),
    'SELECT d."it\'s", d."group by" FROM "order details" AS d': ("d", 4),
    'SELECT "from" FROM "table"': ("here",),
}


@pytest.fixture(params=["sqlite", "duckdb"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database of names that need quotes."""
    path = tmp_path / f"odd.{request.param}"
    if request.param == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        with closing(duckdb.connect(str(path))) as connection:
            connection.execute(ODD)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(ODD)
    return path


@pytest.mark.parametrize("streams", [True, False])
def test_names_that_need_quotes(odd: Path, streams: bool) -> None:
    queries = list(ODD_QUERIES)

    def script(body: dict[str, Any]) -> tuple[int, Body]:
        (number,) = re.findall(r"of order (\d)", body["messages"][-1]["content"])
        text = f"```sql\n{queries[int(number)]};\n```"
        return 200, streamed(*text) if streams else answer(text)

    settings = Settings(alternatives=0, repair_rounds=0)
    with (
        Scripted(script) as server,
        connect(odd, translator=server.name, settings=settings) as database,
    ):
        for at, (sql, row) in enumerate(ODD_QUERIES.items()):
            found = database.ask(f"What is the unit price of order {at}?")
            assert (found.sql, found.rows) == (sql, (row,))
    (prompt, *_) = prompts(server)
    for name in ('"order details"', '"unit price"', '"select"', '"na""me"', "größe", "日本"):
        assert name in prompt


def test_two_tables_of_one_name_in_two_schemas(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "shops.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute(
            "CREATE SCHEMA north; CREATE SCHEMA south;"
            "CREATE TABLE north.orders (id INTEGER, total DOUBLE);"
            "CREATE TABLE south.orders (id INTEGER, weight DOUBLE);"
            "INSERT INTO north.orders VALUES (1, 10.0); INSERT INTO south.orders VALUES (2, 20.0);"
        )
    sql = "SELECT n.total, s.weight FROM north.orders AS n, south.orders AS s"
    with (
        Scripted(lambda body: (200, streamed(sql))) as server,
        connect(path, translator=server.name, settings=ONE_ROUND) as database,
    ):
        found = database.ask("What are total and weight of the orders?")
    assert found.sql == sql
    assert found.rows == ((10.0, 20.0),)
    assert "north.orders" in prompts(server)[0]
    assert "south.orders" in prompts(server)[0]
