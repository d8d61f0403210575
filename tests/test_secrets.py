"""A password in a URL or in the environment is shown nowhere, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import plainsql
from plainsql.cli.main import run
from plainsql.execution.base import open_engine, run_guarded
from plainsql.execution.targets import parse_target
from plainsql.settings import Settings, load_settings
from plainsql.translators.fake import ScriptedTranslator
from servers import PostgreSQLServer, free_port

CANARY = "c4nary/p@ss:W0rd#"
SPELLINGS = (CANARY, quote(CANARY, safe=""), "c4nary", "W0rd")
SECRET = quote(CANARY, safe="")
QUESTION = "How many singers are there?"
SCRIPT = "CREATE TABLE singer (name VARCHAR(40), age INT); INSERT INTO singer VALUES ('Jo', 5);"
ENDLESS = "SELECT count(*) FROM singer a" + "".join(f", singer b{i}" for i in range(12))


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert_clean(caplog.text)


def assert_clean(*texts: str) -> None:
    for text in texts:
        for spelling in SPELLINGS:
            assert spelling not in text, text


# URLs that can't be opened, whoever listens

UNUSABLE = {
    "closed port": "postgresql://ann:{}@127.0.0.1:{port}/d",
    "closed port, psycopg": "postgresql+psycopg://ann:{}@127.0.0.1:{port}/d",
    "password as a parameter": "postgresql://127.0.0.1:{port}/d?user=ann&password={}",
    "no such host": "postgresql://ann:{}@no-such-host.invalid/d?connect_timeout=2",
    "no such socket": "postgresql://ann:{}@/d?host=/no/such/folder",
    "IPv6": "postgresql://ann:{}@[::1]:{port}/d",
    "closed port, MySQL": "mysql://ann:{}@127.0.0.1:{port}/d",
    "closed port, MariaDB": "mariadb+pymysql://ann:{}@127.0.0.1:{port}/d",
    "no such host, MySQL": "mysql://ann:{}@no-such-host.invalid/d?connect_timeout=2",
    "no such socket, MySQL": "mysql://ann:{}@localhost/d?unix_socket=/no/such/socket",
    "no driver": "mssql+pyodbc://sa:{}@127.0.0.1/d?driver=ODBC+Driver+18+for+SQL+Server",
    "no driver, Oracle": "oracle+oracledb://scott:{}@127.0.0.1/d",
    "no dialect": "snowflake://ann:{}@account/d/s?warehouse=w",
    "no such dialect": "nodatabase://ann:{}@host/d",
    "a token": "trino://ann@127.0.0.1:{port}/c?access_token={}",
    "another driver": "mysql+mysqldb://ann:{}@127.0.0.1:{port}/d",
    "bad port": "postgresql://ann:{}@host:port/d",
    "bad parameter": "postgresql://ann:{}@host/d?no_such=1",
    "hostile parameter": "postgresql://ann:{}@host/d?service=x",
    "hostile parameter, MySQL": "mysql://ann:{}@host/d?local_infile=1",
    "hostile value": "postgresql://ann:x@host/d?sslkey={}",
    "mistyped scheme": "postgresql:/ann:{}@host/d",
    "mistyped slash": "postgresql//ann:{}@host/d",
    "no scheme": "ann:{}@host/d",
    "jdbc": "jdbc:postgresql://ann:{}@host/d",
    "web": "https://ann:{}@host/d",
    "cipher": "sqlite+pysqlcipher://:{}@/d.db",
    "key=value": "host=h user=ann password={} dbname=d",
    "raw password": "postgresql://ann:c4nary/p@ss:W0rd#@host/d",
}  # fmt: skip


@pytest.fixture(params=UNUSABLE)
def unusable(request: pytest.FixtureRequest) -> str:
    return UNUSABLE[request.param].format(SECRET, port=free_port())


@pytest.mark.parametrize(
    "verb",
    [
        ["ask", QUESTION],
        ["ask", QUESTION, "--json"],
        ["run", "SELECT 1", "--csv"],
        ["describe", "--json"],
        ["check", "SELECT 1", "--json"],
        ["index"],
        ["doctor", "--json"],
        ["doctor", "--grant-sql"],
    ],
    ids=" ".join,
)
def test_what_can_not_be_opened(unusable: str, verb: list[str], capsys: Any) -> None:
    assert run([*verb, "-d", unusable]) in (2, 7)
    out, err = capsys.readouterr()
    assert err.startswith("plainsql: ")
    assert_clean(out, err)
    if "--json" in verb:
        assert json.loads(out)["status"] == "error"


def chain_of(error: BaseException) -> str:
    """Everything that an error, and those behind it, say of themselves."""
    told, seen = ["".join(traceback.format_exception(error))], set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        told += [str(found), repr(found), repr(found.args), str(getattr(found, "hint", ""))]
        told += [repr(note) for note in getattr(found, "__notes__", ())]
        waiting += [found.__cause__, found.__context__]
    return "\n".join(told)


def test_what_can_not_be_opened_in_python(unusable: str) -> None:
    def connect() -> None:
        database = plainsql.connect(unusable)
        assert_clean(repr(database), str(database))
        database.describe()

    def introspect() -> None:
        engine = open_engine(unusable)
        assert_clean(repr(engine), str(engine), engine.name)
        engine.introspect()

    for call in (connect, introspect):
        with pytest.raises(plainsql.PlainsqlError) as caught:
            call()
        assert_clean(chain_of(caught.value))


def test_tracebacks_for_bug_reports(
    unusable: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("PLAINSQL_DEBUG", "1")
    assert run(["describe", "-d", unusable]) in (2, 7)
    out, err = capsys.readouterr()
    assert err.startswith("Traceback")
    assert_clean(out, err)


# Mistakes on the command line

MISTAKES = [
    ["{}"],
    ["describe", "{}"],
    ["ask", QUESTION, "-d", "{}", "--no-such-flag"],
    ["ask", QUESTION, "--bd={}"],
    ["ask", QUESTION, "--limit", "{}"],
    ["ask", "-d", "{}"],
    ["ask", "", "-d", "{}"],
    ["ask", "SELECT 1", "-d", "{}"],
    ["ask", QUESTION, "-d", "{}", "--csv", "--json"],
    ["run", "-d", "{}"],
    ["run", "SELECT 1", "-d", "{}", "--limit", "0"],
    ["run", "SELECT 1", "-d", "{}", "--csv", "-o", "/none/x"],
    ["check", "SELECT 1", "-d", "{}", "--dialect", "mysql"],
    ["index", "-d", "{}", "--timeout", "soon"],
    ["eval", "{}"],
    ["describe", "-d", "{}", "--tables", ""],
    ["describe", "-d", "{}", "--role", "nobody"],
]


@pytest.mark.parametrize("arguments", MISTAKES, ids=lambda found: " ".join(found))
def test_mistakes_on_the_command_line(arguments: list[str], capsys: Any) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/d"
    assert run([argument.format(url) for argument in arguments]) != 0
    assert_clean(*capsys.readouterr())


def test_settings_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/d"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLAINSQL_DB", url)
    assert run(["describe"]) == 7
    assert_clean(*capsys.readouterr())
    monkeypatch.delenv("PLAINSQL_DB")
    for text in (
        f'db = "{url}"',
        f'db = ["{url}"]',
        f'db = "{url}"\nlimit = "many"',
        f"db = {url}",
    ):
        (tmp_path / "plainsql.toml").write_text(text)
        assert run(["describe"]) in (2, 7)
        assert_clean(*capsys.readouterr())
    (tmp_path / "plainsql.toml").write_text(f'db = "{url}"')
    assert_clean(repr(load_settings()), repr(Settings(db=url)), repr(parse_target(url)))


@pytest.mark.parametrize("name", ["PGPASSWORD", "MYSQL_PWD"])
def test_passwords_of_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(name, CANARY)
    scheme = {"PGPASSWORD": "postgresql", "MYSQL_PWD": "mysql"}[name]
    for debug in ("", "1"):
        monkeypatch.setenv("PLAINSQL_DEBUG", debug)
        assert run(["describe", "-d", f"{scheme}://ann@127.0.0.1:{free_port()}/d"]) == 7
        assert_clean(*capsys.readouterr())


# Servers that answer


def server_cases(server: Any, other: str) -> dict[str, list[str]]:
    """Command lines that fail at a running server, where the canary is a real password."""
    place = f"127.0.0.1:{server.port}"
    right = f"{server.scheme}://canary:{SECRET}@{place}/secrets"
    return {
        "wrong user": ["describe", "-d", right.replace("canary:", "nobody:")],
        "wrong password": ["describe", "-d", right.replace("canary:", f"{server.reader}:")],
        "wrong database": ["describe", "-d", right.replace("/secrets", "/no_such")],
        "wrong protocol": [
            "describe",
            "-d",
            f"{other}://canary:{SECRET}@{place}/d?connect_timeout=1",
        ],
        "denied": ["run", "DELETE FROM singer", "-d", right],
        "bad SQL": ["run", "SELECT nome FROM singer", "-d", right, "--json"],
        "bad table": ["run", "SELECT * FROM singers", "-d", right],
        "timeout": ["run", ENDLESS, "-d", right, "--timeout", "0.3"],
        "denied table": ["run", "SELECT * FROM hidden", "-d", right],
        "no rights": ["doctor", "-d", right, "--grant-sql", "--tables", "none"],
        "refused question": ["ask", "DROP TABLE singer", "-d", right],
    }


def create_canary(server: Any) -> None:
    server.create("secrets", SCRIPT)
    quoted = "'" + CANARY.replace("'", "''") + "'"
    if isinstance(server, PostgreSQLServer):
        server.sql(
            "DROP ROLE IF EXISTS canary;"
            f"CREATE ROLE canary LOGIN PASSWORD {quoted} IN ROLE {server.reader} INHERIT;"
            "CREATE TABLE IF NOT EXISTS hidden (a INT)",
            "secrets",
        )
    else:
        server.sql(
            f"CREATE OR REPLACE USER canary@'{server.host}' IDENTIFIED BY {quoted};"
            f"GRANT SELECT ON secrets.singer TO canary@'{server.host}';"
            "CREATE TABLE IF NOT EXISTS hidden (a INT)",
            "secrets",
        )


def check_server(server: Any, other: str, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    create_canary(server)
    right = f"{server.scheme}://canary:{SECRET}@127.0.0.1:{server.port}/secrets"
    assert run(["run", "SELECT name FROM singer", "-d", right, "--csv"]) == 0
    assert run(["doctor", "-d", right]) == 0
    assert run(["doctor", "-d", right, "--json"]) == 0
    assert run(["index", "-d", right, "--json"]) == 0
    assert_clean(*capsys.readouterr())
    for debug in ("", "1"):
        monkeypatch.setenv("PLAINSQL_DEBUG", debug)
        for name, arguments in server_cases(server, other).items():
            assert run(arguments) in (2, 5, 6, 7), name
            out, err = capsys.readouterr()
            assert err, name
            assert_clean(out, err)


@pytest.mark.parametrize("server_name", ["postgresql_server", "mariadb_server"])
def test_failures_at_a_server(
    server_name: str,
    request: pytest.FixtureRequest,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = request.getfixturevalue(server_name)
    other = "mysql" if isinstance(server, PostgreSQLServer) else "postgresql"
    check_server(server, other, capsys, monkeypatch)
    url = f"{server.scheme}://canary:{SECRET}@127.0.0.1:{server.port}/secrets"
    engine = open_engine(url)
    assert_clean(repr(engine), str(engine.name), repr(engine.protections()))
    for sql in ("SELECT nome FROM singer", "SELECT 1/0 FROM nothing", "DROP TABLE singer"):
        with pytest.raises(plainsql.PlainsqlError) as caught:
            run_guarded(engine, sql)
        assert_clean(chain_of(caught.value))
    engine.close()
    scripted = ScriptedTranslator({}, ["SELECT nome FROM singer", "DROP TABLE singer"])
    with plainsql.connect(url, translator=scripted) as database:
        assert_clean(repr(database), repr(database.schema))
        with pytest.raises(plainsql.PlainsqlError) as caught:
            database.ask(QUESTION)
        assert_clean(chain_of(caught.value))


def test_a_process_of_its_own_shows_it_nowhere(tmp_path: Path) -> None:
    """Also in what Python itself, the worker or a library prints at the very end."""
    url = f"postgresql://ann:{SECRET}@127.0.0.1:{free_port()}/d"
    environ = os.environ | {"PLAINSQL_DB": url, "PGPASSWORD": CANARY, "PLAINSQL_DEBUG": "1"}
    for verb in (["ask", QUESTION, "--json"], ["doctor", "-d", url]):
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "plainsql", *verb],
            env=environ, capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 7
        assert_clean(done.stdout, done.stderr)
    assert not list(tmp_path.iterdir())
