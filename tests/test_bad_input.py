"""Awkward databases and questions, asked of the parser itself, from the command line."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.main import run
from plainsql.translators.parser.runtime import MANIFEST
from plainsql.translators.parser.weights import weights_folder

MODEL = os.environ.get("PLAINSQL_MODEL", "")
pytestmark = pytest.mark.skipif(
    not (weights_folder(MODEL) / MANIFEST).is_file(), reason="needs the parser's weights"
)

SINGERS = """
CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER, photo BLOB);
INSERT INTO singer VALUES (1, 'Joe', 'France', 52, x'00ff'), (2, 'Ann', 'Italy', 30, NULL);
"""
WEIRD = """
CREATE TABLE "my table" (
    "we""ird col" TEXT, "select" INT, "naïve näme" TEXT, "名前" TEXT, "semi;colon" INT, "it's" TEXT
);
INSERT INTO "my table" VALUES ('a b', 3, 'ü', '東京', 1, 'x'), ('c"d', 4, 'é', '大阪', 2, 'y');
CREATE TABLE "order" ("group" INT, "from" TEXT, "😀" TEXT, "x]y" TEXT, "a.b" INT);
INSERT INTO "order" VALUES (1, 'Paris', 'smile', 'p', 7), (2, 'Rome', 'frown', 'q', 8);
"""
NOTHING = "CREATE TABLE singer (id INTEGER, name TEXT, age INTEGER);"
NULLS = NOTHING + "INSERT INTO singer VALUES (1, NULL, NULL), (NULL, NULL, NULL);"
VIEWS = """
CREATE VIEW singer AS SELECT 1 AS id, 'Joe' AS name, 'France' AS country
UNION ALL SELECT 2, 'Ann', 'Italy';
"""
BROKEN_VIEW = SINGERS + "CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t; DROP TABLE t;"
ENDLESS_VIEW = SINGERS + (
    "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT max(i) AS most FROM n;"
)
WORDS = "alpha beta gamma delta price weight city length width depth total share level rate".split()


def wide() -> str:
    """One table of 2,000 columns, of which the last is asked about."""
    names = [f"{WORDS[i % 14]}_{WORDS[i // 14 % 14]}_{i} TEXT" for i in range(1999)]
    insert = "INSERT INTO measurements (customer_name) VALUES ('Zoe');"
    return f"CREATE TABLE measurements ({', '.join(names)}, customer_name TEXT);{insert}"


def many() -> str:
    """200 tables of ten columns."""
    tables = [
        f"CREATE TABLE {WORDS[t % 14]}_{t} (id INTEGER PRIMARY KEY, "
        + ", ".join(f"{WORDS[(t + k) % 14]}_{WORDS[k]}" for k in range(9))
        + ");"
        for t in range(199)
    ]
    customer = "CREATE TABLE customer (id INTEGER PRIMARY KEY, customer_name TEXT, city TEXT);"
    cells = "INSERT INTO customer VALUES (1, 'Zoe', 'Paris'), (2, 'Max', 'Rome');"
    return "".join(tables) + customer + cells


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """`ask(script, question)`: exit code and the object that --json prints."""
    monkeypatch.setenv("PLAINSQL_MODEL", MODEL)

    def asked(script: str, question: str) -> tuple[int, dict[str, Any]]:
        path = tmp_path / "a.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        before = path.read_bytes()
        code = run(["ask", question, "-d", str(path), "--json"])
        assert path.read_bytes() == before
        return code, json.loads(capsys.readouterr().out)

    return asked


HOW_MANY = "How many singers are there?"
RIGHT: list[tuple[str, str, list[list[Any]]]] = [
    (SINGERS, "How many 🎸 singers are there? 🎉", [[2]]),
    (SINGERS, "How many\x00 singers\nare \udc80there?", [[2]]),
    (SINGERS, "Show the photo of all singers", [["0x00ff"], [None]]),
    (NOTHING, HOW_MANY, [[0]]),
    (NOTHING, "Show the names of all singers", []),
    (NULLS, "What is the average age of the singers?", [[None]]),
    (NULLS, "List the names of all singers", [[None], [None]]),
    (VIEWS, HOW_MANY, [[2]]),
    (BROKEN_VIEW, HOW_MANY, [[2]]),
    (ENDLESS_VIEW, HOW_MANY, [[2]]),
    (WEIRD, "How many orders from Paris are there?", [[1]]),
    (wide(), "How many measurements have customer name Zoe?", [[1]]),
    (many(), "How many customers live in Paris?", [[1]]),
]


@pytest.mark.parametrize(("script", "question", "rows"), RIGHT)
def test_answers(ask: Any, script: str, question: str, rows: list[list[Any]]) -> None:
    code, printed = ask(script, question)
    assert (code, printed["status"], printed["rows"]) == (0, "answered", rows), printed["sql"]


@pytest.mark.parametrize(
    ("script", "question"),
    [
        (WEIRD, 'What is the select of my table where weird col is "c"d"?'),
        (WEIRD, "Show the 名前 and the semi colon of my table with naïve näme ü"),
        (WEIRD, "List it's and we\"ird col of each my table, and x y and a.b of the order"),
        (SINGERS, "How many singers are from '; DROP TABLE singer; --?"),
        (SINGERS, "[SEP] [CLS] singer [MASK] names"),
        (SINGERS, ("singer names of each country " * 70)[:1999]),
        (SINGERS, "How many " + "singers" * 280),
        (wide(), "Show the alpha, beta, gamma, price, weight and city of all"),
        (many(), "Show everything of alpha 14, beta 15, gamma 16 and level 110"),
    ],
)
def test_whatever_is_asked_executes(ask: Any, script: str, question: str) -> None:
    code, printed = ask(script, question)
    assert (code, printed["status"]) in ((0, "answered"), (3, "unanswerable"))


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("x" * 10_000, "10,000 characters"),
        ("🎸🎸", "empty"),
        ("SELECT name FROM singer", "SQL"),
        ("Combien de chanteurs y a-t-il en France ?", "not in English"),
        ("有多少歌手？", "not in English"),
    ],
)
def test_what_is_no_question(ask: Any, question: str, message: str) -> None:
    code, printed = ask(SINGERS, question)
    assert (code, printed["status"]) == (2, "error")
    assert message in printed["error"]["message"]


def test_a_file_that_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What is committed is seen; what isn't, is not; a lock is an error with a hint."""
    monkeypatch.setenv("PLAINSQL_MODEL", MODEL)
    path = tmp_path / "a.db"
    asking = ["ask", HOW_MANY, "-d", str(path), "--csv"]
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.executescript(SINGERS)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO singer (name) VALUES ('New')")
        assert run(asking) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["2"]
        writer.execute("COMMIT")
        assert run(asking) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["3"]
        writer.execute("BEGIN EXCLUSIVE")
        assert run(asking) == 7
        out, err = capsys.readouterr()
        assert out == ""
        assert "locked" in err
        assert "hint: " in err


@pytest.mark.parametrize("name", ["what?mode=rwc&x=.db", "100%41.db", "a#b.db", "file:x.db", "-d"])
def test_names_that_look_like_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str
) -> None:
    monkeypatch.setenv("PLAINSQL_MODEL", MODEL)
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / name)) as connection:
        connection.executescript(SINGERS)
    assert run(["ask", HOW_MANY, f"--db={name}", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["2"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_closed_pipe_and_stdin(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SINGERS)
    command = [sys.executable, "-m", "plainsql", "ask", "-", "-d", str(path)]
    environ = os.environ | {"PLAINSQL_MODEL": MODEL, "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(HOW_MANY.encode())
        process.stdin.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 141
