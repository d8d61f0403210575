"""The command line as its users meet it: what is printed where, and the exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.main import VERBS, run
from plainsql.cli.output import aligned
from plainsql.errors import UsageError
from plainsql.settings import Settings, load_settings
from plainsql.translators import base
from plainsql.translators.fake import ScriptedTranslator

HOW_MANY = "How many singers are there?"
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0)"
    " SELECT count(*) FROM n, singer"
)
SCRIPT = {
    HOW_MANY: ["SELECT count(*) FROM singer", "SELECT name FROM singer"],
    "Which singers are from France?": [
        "SELECT name, age FROM singer WHERE country = 'France' ORDER BY name"
    ],
    "Which singers are to be dropped?": ["DROP TABLE singer"],
    "Which singers have big shoes?": ["SELECT shoe_size FROM singer"],
    "Which singers sing for ever?": [ENDLESS],
    "Which singers are unheard of?": [],
}


def scripted() -> ScriptedTranslator:
    """What `--translator scripted` names in these tests."""
    return ScriptedTranslator(SCRIPT, ["SELECT count(*) FROM singer"])


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(base.BUILT_IN, "scripted", "test_cli:scripted")
    monkeypatch.setenv("PLAINSQL_TRANSLATOR", "scripted")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ask(concerts: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """`ask(question, flag, …)`: exit code, stdout, stderr."""

    def run_ask(*arguments: str) -> tuple[int, str, str]:
        code = run(["ask", *arguments, "-d", str(concerts)])
        out, err = capsys.readouterr()
        return code, out, err

    return run_ask


def plainsql(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "plainsql", *arguments],
        input=stdin, capture_output=True, check=False, env={**os.environ, **(env or {})},
    )  # fmt: skip


def test_ask_prints_sql_rows_and_sentence(ask: Any) -> None:
    code, out, err = ask("Which singers are from France?")
    assert code == 0
    assert out.splitlines() == [
        "SELECT name, age FROM singer WHERE country = 'France' ORDER BY name",
        "",
        "name          age",
        "------------  ---",
        "John Nizinik   43",
        "Justin Brown   29",
        "Rose White     41",
        "Tribal King    25",
        "",
        "4 rows with name and age; the first is John Nizinik, 43.",
    ]
    assert "confidence 100%" in err


def test_ask_words_without_quotation_marks(ask: Any) -> None:
    assert ask(*HOW_MANY.split())[1].startswith("SELECT count(*)")


def test_json_is_one_object(ask: Any) -> None:
    code, out, _ = ask(HOW_MANY, "--json")
    printed = json.loads(out)
    assert (code, out.count("\n")) == (0, 1)
    assert printed["schema_version"] == 1
    assert (printed["status"], printed["rows"]) == ("answered", [[6]])
    assert [set(other) for other in printed["alternatives"]] == [{"sql", "confidence"}]
    assert "explain" not in printed
    assert json.loads(ask(HOW_MANY, "--json", "--explain")[1])["explain"] == []


def test_csv_and_sql_only(ask: Any) -> None:
    _, out, _ = ask("Which singers are from France?", "--csv")
    assert list(csv.reader(io.StringIO(out)))[:2] == [["name", "age"], ["John Nizinik", "43"]]
    assert ask(HOW_MANY, "--sql-only")[1] == "SELECT count(*) FROM singer\n"


def test_alternatives_limit_and_no_exec(ask: Any) -> None:
    _, out, _ = ask(HOW_MANY, "--alternatives", "3")
    assert out.endswith("SELECT name FROM singer\n")
    code, out, err = ask("Which singers are from France?", "--limit", "1")
    assert code == 0
    assert "More than 1 row" in out
    assert "cut after 1 rows" in err
    code, out, _ = ask("Which singers sing for ever?", "--no-exec")
    assert (code, out) == (0, ENDLESS + "\n")
    assert json.loads(ask(HOW_MANY, "--no-exec", "--json")[1])["status"] == "not_executed"


EXIT_CODES = [
    ([HOW_MANY], 0, ""),
    ([""], 2, "empty"),
    (["🎸🎸"], 2, "empty"),
    (["word " * 2000], 2, "9,999 characters; 2,000"),
    (["SELECT name FROM singer"], 2, "SQL, not a question"),
    ([], 2, "Missing argument"),
    ([HOW_MANY, "--frobnicate"], 2, "No such option"),
    ([HOW_MANY, "--limit", "many"], 2, "--limit"),
    ([HOW_MANY, "--limit", "0"], 2, "at least 1"),
    ([HOW_MANY, "--timeout", "0"], 2, "more than 0"),
    ([HOW_MANY, "--timeout", "inf"], 2, "timeout"),
    ([HOW_MANY, "--timeout", "nan"], 2, "timeout"),
    ([HOW_MANY, "--alternatives", "-1"], 2, "alternatives"),
    ([HOW_MANY, "--csv", "--json"], 2, "Only one of"),
    ([HOW_MANY, "--csv", "--no-exec"], 2, "--no-exec"),
    ([HOW_MANY, "--translator", "nobody"], 2, "no translator 'nobody'"),
    (["qwrtz plmk zxcvb?"], 3, "Nothing in this database matches"),
    (["Which singers are unheard of?"], 3, "No query was found"),
    (["Which singers are to be dropped?"], 5, "refused"),
    (["Which singers have big shoes?"], 6, "shoe_size"),
    (["Which singers sing for ever?", "--timeout", "0.1"], 6, "stopped"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), EXIT_CODES)
def test_exit_codes(ask: Any, arguments: list[str], code: int, message: str) -> None:
    exit_code, out, err = ask(*arguments)
    assert exit_code == code
    assert message in err
    if code:
        assert out == "" or "--json" in arguments
        assert err.startswith("plainsql: ")
        assert len(err.splitlines()) <= 2
        assert "Traceback" not in err


@pytest.mark.parametrize(("arguments", "code", "message"), EXIT_CODES)
def test_json_errors(ask: Any, arguments: list[str], code: int, message: str) -> None:
    exit_code, out, _ = ask(*arguments, "--json")
    assert exit_code == code
    printed = json.loads(out)
    if code == 3:
        assert printed["status"] == "unanswerable"
    elif code:
        assert printed["status"] == "error"
        assert set(printed["error"]) == {"type", "message", "hint"}


def test_ambiguous_has_its_own_exit_code(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAINSQL_AMBIGUITY_MARGIN", "1")
    code, out, err = ask(HOW_MANY)
    assert code == 4
    assert out.startswith("SELECT count(*)")
    assert "about as likely" in err


def test_databases_that_cannot_be_asked(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "letter.db").write_text("This is a letter, not a database. " * 50)
    (tmp_path / "empty.db").touch()
    with closing(sqlite3.connect(tmp_path / "bare.db")) as connection:
        connection.executescript("CREATE TABLE t (a); DROP TABLE t;")
    cases = {
        "missing.db": 7, "letter.db": 7, "empty.db": 7, "bare.db": 7,
        "postgresql://user:secret@127.0.0.1:9/db": 7, "https://user:secret@host/db": 2,
    }  # fmt: skip
    for target, code in cases.items():
        for verb in (["ask", HOW_MANY], ["describe"], ["check", "SELECT 1"]):
            assert run([*verb, "-d", target]) == code, (verb, target)
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith("plainsql: ")
            assert "hint: " in err
            assert "secret" not in err


def test_no_database_is_a_usage_error(capsys: Any) -> None:
    assert run(["ask", HOW_MANY]) == 2
    assert "PLAINSQL_DB" in capsys.readouterr().err


def test_question_from_stdin(concerts: Path, monkeypatch: Any, capsys: Any) -> None:
    cases = [(HOW_MANY.encode() + b"\n", 0), (b"", 2), (b"\xff\xfe", 2), (b"select 1", 2)]
    for question, code in cases:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(question)))
        assert run(["ask", "-", "-d", str(concerts)]) == code
        out, _ = capsys.readouterr()
        assert bool(out) == (code == 0)


def test_bad_input_needs_no_model(concerts: Path) -> None:
    for question in (b"", b"\xff\xfe", b"select 1"):
        done = plainsql(
            "ask", "-", "-d", str(concerts), stdin=question, env={"PLAINSQL_TRANSLATOR": "parser"}
        )
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.startswith(b"plainsql: ")


DESCRIBED = ["singer", "concert", "country", "year"]


def test_describe(concerts: Path, capsys: Any) -> None:
    for flags in ([], ["--json"], ["--ddl"]):
        assert run(["describe", "-d", str(concerts), *flags]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert all(word in out for word in DESCRIBED)
        if flags == ["--json"]:
            assert json.loads(out)["schema_version"] == 1
        if flags == ["--ddl"]:
            assert "CREATE TABLE" in out
    assert run(["describe", "-d", str(concerts), "--json", "--ddl"]) == 2


def test_describe_marks_inferred_keys(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "untold.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT);"
            "CREATE TABLE house (id INTEGER PRIMARY KEY, city_id INTEGER);"
            "INSERT INTO city VALUES (1, 'Ghent'), (2, 'Delft');"
            "INSERT INTO house VALUES (1, 1), (2, 2), (3, 2);"
        )
    assert run(["describe", "-d", str(path)]) == 0
    assert "inferred" in capsys.readouterr().out


CHECKS = [
    ("SELECT name FROM singer", 0),
    ("SELECT name FROM singer;", 0),
    ("DROP TABLE singer", 5),
    ("SELECT 1; SELECT 2", 5),
    ("SELECT * FROM sqlite_master", 5),
    ("SELECT * FROM elsewhere", 5),
    ("", 5),
    ("How many singers?", 5),
]


@pytest.mark.parametrize(("sql", "code"), CHECKS)
def test_check(concerts: Path, capsys: Any, sql: str, code: int) -> None:
    assert run(["check", sql, "-d", str(concerts)]) == code
    out, err = capsys.readouterr()
    assert out == ("allowed\n" if code == 0 else "")
    assert err.startswith("plainsql: refused: ") == (code == 5)
    assert run(["check", sql, "-d", str(concerts), "--json"]) == code
    printed = json.loads(capsys.readouterr().out)
    assert (printed["status"], printed["sql"]) == ("denied" if code else "allowed", sql)


def test_check_reads_bytes_and_needs_no_database() -> None:
    cases = [(b"SELECT a FROM any_table", 0), (b"SELECT '\xff'", 5), (b"SELECT 1\x00", 5), (b"", 5)]
    for statement, code in cases:
        done = plainsql("check", "-", stdin=statement)
        assert done.returncode == code, (statement, done.stderr)


def test_demo(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "new folder" / "demo.sqlite"
    assert run(["demo", "--path", str(path), "--examples"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) >= 5
    assert str(path) in err
    assert path.is_file()
    before = path.read_bytes()
    assert run(["demo", "--path", str(path), "--examples", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == out.splitlines()
    assert path.read_bytes() == before
    assert run(["demo", "--examples"]) == 0
    assert (Path(os.environ["XDG_DATA_HOME"]) / "plainsql" / "demo.sqlite").is_file()


def test_doctor(capsys: Any) -> None:
    """With a translator that knows no table of the demo database, only the self-test fails."""
    assert run(["doctor", "--json"]) == 7
    printed = json.loads(capsys.readouterr().out)
    broken = [check["name"] for check in printed["checks"] if not check["ok"]]
    assert (printed["status"], broken) == ("broken", ["self-test"])
    assert run(["doctor"]) == 7
    assert "FAIL  self-test" in capsys.readouterr().out


def test_help_of_every_verb(capsys: Any) -> None:
    for arguments in ([], ["--help"], *([verb, "--help"] for verb in VERBS)):
        assert run(arguments) == 0
        assert "Usage: plainsql" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert "plainsql, version" in capsys.readouterr().out
    assert run(["frobnicate"]) == 2
    assert "plainsql --help" in capsys.readouterr().err


def test_unexpected_errors_are_one_line(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("plainsql.rounds.choose", broken)
    code, out, err = ask(HOW_MANY)
    assert (code, out) == (1, "")
    assert err.splitlines()[0] == "plainsql: Internal error: RuntimeError: two lines"
    monkeypatch.setenv("PLAINSQL_DEBUG", "1")
    code, out, err = ask(HOW_MANY)
    assert (code, out) == (1, "")
    assert err.startswith("Traceback")
    assert "in broken" in err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plainsql.rounds.choose", interrupted)
    code, _, err = ask(HOW_MANY)
    assert (code, err) == (130, "plainsql: interrupted\n")


def test_a_reader_that_leaves_is_no_error(concerts: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "plainsql", "describe", "-d", str(concerts), "--ddl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stream:
        assert stream.read() == b""
    assert process.wait() == 141


def test_an_encoding_without_the_letters_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "cities.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE stad (größe INT, 名 TEXT);")
    done = plainsql("describe", "-d", str(path), env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_a_table_and_no_color_is_honoured(concerts: Path, no_color: bool) -> None:
    parent, child = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    code = (
        "from plainsql.cli.output import print_rows;"
        "print_rows(('name', 'age'), [('[red]Joe\\x1b[31m', 52), (None, 3)])"
    )
    if no_color:
        env["NO_COLOR"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=child, stderr=subprocess.PIPE, env=env, check=False
    )
    os.close(child)
    printed = os.read(parent, 10_000).decode()
    os.close(parent)
    assert done.returncode == 0, done.stderr
    assert "[red]Joe\\x1b[31m" in printed
    assert "─" in printed
    assert not any(f"\x1b[3{color}" in printed for color in range(8)) or not no_color


def test_aligned_counts_wide_letters_twice() -> None:
    assert aligned(("a", "n"), [("東京", 1), ("x\ny", None)]).splitlines() == [
        "a        n",
        "----  ----",
        "東京     1",
        "x y   NULL",
    ]


def settings_from(tmp_path: Path, toml: str = "", user: str = "", **env: str) -> Settings:
    folder = tmp_path / "config" / "plainsql"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(user)
    (tmp_path / "plainsql.toml").write_text(toml)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), **env}
    return load_settings({"limit": None}, environ=environ, folder=tmp_path)


def test_settings_the_nearest_place_wins(tmp_path: Path) -> None:
    assert settings_from(tmp_path).limit == 1000
    assert settings_from(tmp_path, user="limit = 1").limit == 1
    assert settings_from(tmp_path, user="limit = 1", toml="limit = 2").limit == 2
    assert settings_from(tmp_path, toml="limit = 2", PLAINSQL_LIMIT="3").limit == 3
    environ = {"PLAINSQL_LIMIT": "3", "PLAINSQL_DEBUG": "1", "HOME": str(tmp_path)}
    assert load_settings({"limit": 4}, environ=environ, folder=tmp_path).limit == 4


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("limit = 'many'", "a whole number"),
        ("limit = 1.5", "a whole number"),
        ("limit = true", "a whole number"),
        ("db = 3", "text"),
        ("limit = 0", "at least 1"),
        ("timeout = nan", "more than 0"),
        ("colour = 'red'", "no setting 'colour'"),
        ("limit = ", "not valid TOML"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, toml: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings_from(tmp_path, toml=toml)
