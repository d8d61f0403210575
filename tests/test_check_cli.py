"""plainsql check, and the flags by which check, ask and describe narrow what may be read."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guarded_shop import SCRIPT, VIEW
from plainsql.cli.main import run
from plainsql.translators.fake import ScriptedTranslator

POLICY = """
role = "clerk"

[policy]
deny_tables = ["secret"]

[policy.columns]
users = { deny = ["password"], mask = { email = "***" }, null = ["age"] }

[policy.roles.clerk.rows]
orders = "user_id = 1"

[policy.roles.admin.columns]
users = {}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shop as an SQLite file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as connection:
        connection.executescript(f"{SCRIPT} {VIEW};")
    return tmp_path / "shop.sqlite"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["SELECT 1"], 0),
        (["DROP TABLE users"], 5),
        (["SELECT name FROM users", "-d", "shop.sqlite"], 0),
        (["SELECT name FROM nowhere", "-d", "shop.sqlite"], 5),
        (["SELECT name FROM users", "-d", "shop.sqlite", "--tables", "orders, users"], 0),
        (["SELECT name FROM users", "-d", "shop.sqlite", "--tables", "orders"], 5),
        (["SELECT name FROM users", "-d", "shop.sqlite", "--tables", "user"], 2),
        (["SELECT name FROM users", "-d", "shop.sqlite", "--tables", " ,"], 2),
        (["SELECT name FROM users", "--tables", "Users"], 0),
        (["SELECT name FROM users", "--tables", "orders"], 5),
        (["SELECT $$x$$", "--dialect", "postgres"], 0),
        (["SELECT $$x$$", "--dialect", "sqlite"], 5),
        (["SELECT pg_sleep(9)", "--dialect", "postgres"], 5),
        (["SELECT 1", "--dialect", "klingon"], 5),
        (["SELECT 1", "--dialect", "sqlite", "-d", "shop.sqlite"], 2),
        (["SELECT 1", "--role", "clerk"], 2),
        (["SELECT 1", "-d", "missing.sqlite"], 7),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", *arguments]) == code
    shown = capsys.readouterr()
    assert shown.out == ("allowed\n" if code == 0 else "")
    assert shown.err.startswith("plainsql: refused: ") is (code == 5)
    assert bool(shown.err) is bool(code)


@pytest.mark.parametrize(
    ("given", "code", "reason"),
    [
        (b"SELECT name\nFROM users -- all\n", 0, ""),
        ("SELECT 'ä€🂡'".encode(), 0, ""),
        (b"SELECT 1\x00; DROP TABLE users", 5, "control character"),
        (b"SELECT '\xff'", 5, "not valid UTF-8"),
        ("\ufeffSELECT 1".encode(), 5, ""),
        (b"", 5, "no statement"),
        (b"SELECT 1; SELECT 2", 5, "more than one"),
        (b"SELECT '" + b"x" * 100_000 + b"'", 5, "characters"),
    ],
)
def test_stdin_is_read_byte_by_byte(given: bytes, code: int, reason: str, shop: Path) -> None:
    command = [sys.executable, "-m", "plainsql", "check", "-", "-d", str(shop)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == code
    assert reason in done.stderr.decode()


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["check", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    allowed = {"schema_version": 1, "status": "allowed", "sql": "SELECT 1", "reason": ""}
    assert _json(capsys, "SELECT 1") == (0, allowed)
    code, shown = _json(capsys, "DELETE FROM users", "-d", str(shop))
    assert (code, shown["status"], shown["sql"]) == (5, "denied", "DELETE FROM users")
    assert "begin with" in shown["reason"]
    code, shown = _json(capsys, "SELECT 1", "-d", str(shop), "--dialect", "mysql")
    assert (code, shown["status"], shown["error"]["type"]) == (2, "error", "UsageError")


def test_the_policy_file_is_obeyed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.parent / "plainsql.toml").write_text(POLICY)
    database = ("-d", str(shop))
    code, shown = _json(capsys, "SELECT id FROM orders", *database)
    assert code == 0
    assert 'WHERE (t."user_id" = 1)' in shown["sql"]
    code, shown = _json(capsys, "SELECT id FROM orders", *database, "--role", "admin")
    assert (code, shown["sql"]) == (0, "SELECT id FROM orders")
    code, shown = _json(capsys, "SELECT password FROM users", *database)
    assert (code, shown["reason"]) == (5, "column users.password is not allowed")
    assert _json(capsys, "SELECT password FROM users", *database, "--role", "admin")[0] == 0
    assert _json(capsys, "SELECT * FROM secret", *database, "--role", "admin")[0] == 5
    assert _json(capsys, "SELECT * FROM secret", *database, "--tables", "secret")[0] == 5
    assert _json(capsys, "SELECT 1", *database, "--role", "boss")[0] == 2
    assert run(["check", "SELECT id FROM orders", *database]) == 0
    assert "runs as: SELECT id FROM (SELECT" in capsys.readouterr().err


def test_a_mistake_in_the_policy_stops_every_verb(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shop.parent / "plainsql.toml").write_text('[policy.columns]\nusers = { deny = ["pasword"] }')
    for verb in (["check", "SELECT 1"], ["ask", "How many users are there?"], ["describe"]):
        assert run([*verb, "-d", str(shop)]) == 2
        shown = capsys.readouterr().err
        assert "policy.columns.users names a column 'pasword'" in shown
        assert "Did you mean password?" in shown


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every translator answer with the given SQL."""

    def say(sql: str) -> None:
        scripted = ScriptedTranslator({}, [sql])
        monkeypatch.setattr("plainsql.ask.translator_named", lambda *_, **__: scripted)

    return say


@pytest.mark.parametrize(
    ("flags", "sql", "code", "shown"),
    [
        ([], "SELECT count(*) FROM orders", 0, "2"),
        (["--role", "admin"], "SELECT count(*) FROM orders", 0, "6"),
        (["--tables", "users"], "SELECT count(*) FROM orders", 5, "'orders'"),
        ([], "SELECT max(email) FROM users", 0, "***"),
        ([], "SELECT max(password) FROM users", 5, "users.password"),
        ([], "SELECT max(word) FROM secret", 5, "'secret'"),
        ([], "SELECT max(spent) FROM spending", 5, "'spending'"),
    ],
)
def test_ask_has_the_verdict_of_check(
    flags: list[str],
    sql: str,
    code: int,
    shown: str,
    shop: Path,
    says: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (shop.parent / "plainsql.toml").write_text(POLICY)
    says(sql)
    assert run(["check", sql, "-d", str(shop), *flags]) == code
    capsys.readouterr()
    assert run(["ask", "How many users and orders?", "-d", str(shop), "--csv", *flags]) == code
    output = capsys.readouterr()
    assert shown in (output.err if code else output.out)


def test_describe_shows_what_may_be_read(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop.parent / "plainsql.toml").write_text(POLICY)
    for form in ([], ["--json"], ["--ddl"]):
        assert run(["describe", "-d", str(shop), *form]) == 0
        output = capsys.readouterr().out
        assert "email" in output
        for hidden in ("password", "secret", "spending", "ann@x", "pw-1"):
            assert hidden not in output
    assert run(["describe", "-d", str(shop), "--tables", "items"]) == 0
    assert "users" not in capsys.readouterr().out


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--help"]) == 0
    shown = capsys.readouterr().out
    for words in ('plainsql check "SELECT', "--tables", "--role", "--dialect postgres", "< query"):
        assert words in shown
