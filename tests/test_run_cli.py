"""`plainsql run`: judged SQL, its rows in every form, streamed in little memory, whole or not."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.main import run
from servers import MariaDBServer, PostgreSQLServer

FRANCE = "SELECT name, age FROM singer WHERE country = 'France' ORDER BY name"
ENDLESS = "SELECT a.n, b.n, c.n, 'some text' AS t FROM num a, num b, num c, num d"


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A database of one table of 1,000 numbers, in a folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "numbers.sqlite")) as connection:
        connection.execute("CREATE TABLE num (n INTEGER PRIMARY KEY, name TEXT, price REAL)")
        rows = ((i, f"name {i}", i / 7) for i in range(1000))
        connection.executemany("INSERT INTO num VALUES (?, ?, ?)", rows)
        connection.commit()
    return folder / "numbers.sqlite"


@pytest.fixture
def ran(concerts: Path, capsys: Any) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(["run", *arguments, "-d", str(concerts)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# Forms


def test_a_table_by_default(ran: Any) -> None:
    code, out, err = ran(FRANCE, "--limit", "2")
    assert code == 0
    assert out.splitlines() == [
        "name          age",
        "------------  ---",
        "John Nizinik   43",
        "Justin Brown   29",
    ]
    assert "cut after 2 rows" in err
    assert "(4 rows, " in ran(FRANCE)[2]


def test_csv_and_json_lines_and_json(ran: Any) -> None:
    _, out, err = ran(FRANCE, "--csv")
    assert list(csv.reader(io.StringIO(out)))[:2] == [["name", "age"], ["John Nizinik", "43"]]
    assert err == ""
    _, out, _ = ran(FRANCE, "--jsonl", "--limit", "1")
    assert [json.loads(line) for line in out.splitlines()] == [{"name": "John Nizinik", "age": 43}]
    _, out, _ = ran(FRANCE, "--json", "--limit", "1")
    printed = json.loads(out)
    assert printed["columns"] == ["name", "age"]
    assert (printed["rows"], printed["truncated"]) == ([["John Nizinik", 43]], True)
    assert list(printed) == [
        "schema_version", "status", "sql", "columns", "rows", "row_count", "truncated",
        "timing_ms",
    ]  # fmt: skip


def test_parquet(ran: Any, tmp_path: Path) -> None:
    reader = pytest.importorskip("pyarrow.parquet", reason="pip install 'plainsql[parquet]'")
    code, out, err = ran("SELECT * FROM singer", "--parquet", str(tmp_path / "s.parquet"))
    assert (code, out) == (0, "")
    assert "(6 rows, " in err
    found = reader.read_table(tmp_path / "s.parquet").to_pylist()
    assert found[2] == {
        "singer_id": 3, "name": "Justin Brown", "country": "France", "age": 29,
        "photo": b"\x00\xff",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["--csv", "--jsonl", "--json", None])
def test_output_holds_what_stdout_would(ran: Any, tmp_path: Path, form: str | None) -> None:
    flags = [form] if form else []
    shown = ran(FRANCE, *flags)[1]
    assert ran(FRANCE, *flags, "--output", str(tmp_path / "out"))[1] == ""
    text = (tmp_path / "out").read_text()
    if form == "--json":
        assert json.loads(text)["rows"] == json.loads(shown)["rows"]
    else:
        assert text == shown


def test_safe_csv(ran: Any) -> None:
    sql = "SELECT '=1+1' AS a, -5 AS b, '-5' AS c"
    assert ran(sql, "--csv")[1].splitlines()[1] == "=1+1,-5,-5"
    assert ran(sql, "--csv", "--safe-csv")[1].splitlines()[1] == "'=1+1,-5,-5"


def test_no_rows(ran: Any) -> None:
    sql = "SELECT name, age FROM singer WHERE 1 = 0"
    assert ran(sql, "--csv")[1] == "name,age\n"
    assert ran(sql, "--jsonl")[1] == ""
    assert ran(sql)[1].splitlines()[0].split() == ["name", "age"]


def test_explain_prints_the_plan_of_what_would_run(ran: Any) -> None:
    code, out, _ = ran("SELECT name FROM singer", "--explain")
    assert (code, out.strip()) == (0, "SCAN singer")
    assert ran("DROP TABLE singer", "--explain")[0] == 5


def test_stdin(ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, code in ((b"SELECT 1 AS one", 0), (b"SELECT '\xff'", 5), (b"", 5)):
        monkeypatch.setattr("plainsql.cli.run.read_stdin", lambda given=given: given)
        assert ran("-", "--csv")[0] == code


# Refusals

REFUSED: list[tuple[list[str], int, str]] = [
    (["DELETE FROM singer", "--csv"], 5, "refused"),
    (["SELECT 1; SELECT 2"], 5, "refused"),
    (["SELECT * FROM sqlite_master"], 5, "refused"),
    (["SELECT name FROM singer", "--tables", "concert"], 5, "refused"),
    (["SELECT no_such FROM singer"], 6, "no_such"),
    (["SELECT name FROM singer", "--limit", "0"], 2, "limit"),
    (["SELECT name FROM singer", "--timeout", "-1"], 2, "timeout"),
    (["SELECT name FROM singer", "--safe-csv"], 2, "--csv"),
    (["SELECT name FROM singer", "--parquet", "x", "--csv"], 2, "--parquet"),
    (["SELECT name FROM singer", "--parquet", "x", "-o", "y"], 2, "--parquet"),
    (["SELECT name FROM singer", "--csv", "-o", "/none/out.csv"], 2, "/none"),
    (["SELECT name FROM singer", "--csv", "-o", "/dev/full"], 1, "No space left"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSED)
def test_what_is_refused(ran: Any, arguments: list[str], code: int, said: str) -> None:
    found, out, err = ran(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("plainsql: ")
    assert said in err


def test_json_errors(ran: Any) -> None:
    code, out, _ = ran("DELETE FROM singer", "--json")
    assert code == 5
    assert json.loads(out)["error"]["type"] == "DeniedError"


def test_a_policy_applies(concerts: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plainsql.toml").write_text(
        "[policy.columns.singer]\nmask = { name = 'somebody' }\n"
        "[policy.rows]\nsinger = \"country <> 'France'\"\n"
    )
    assert run(["run", "SELECT name, age FROM singer", "-d", str(concerts), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["name,age", "somebody,52", "somebody,32"]
    assert run(["run", "SELECT name FROM singer", "-d", str(concerts), "--explain"]) == 0


# Large results

MANY = "SELECT a.n, b.name, a.price FROM num a, num b WHERE a.n < {}"


def test_streamed_forms_have_no_row_limit(numbers: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out.csv"
    assert run(["run", MANY.format(20), "-d", str(numbers), "--csv", "-o", str(out)]) == 0
    assert "(20,000 rows, " in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 20_001
    assert run(["run", MANY.format(20), "-d", str(numbers), "--csv", "--limit", "1500"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1_501


def peak_of(*arguments: str) -> float:
    """The memory, in MB, that a run of its own had at most."""
    code = (
        "import sys; from plainsql.cli.main import run; code = run(sys.argv[1:]);"
        "print(open('/proc/self/status').read(), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith(b"VmHWM"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_memory_does_not_grow_with_the_rows(numbers: Path, tmp_path: Path, form: str) -> None:
    out = str(tmp_path / "out")
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pip install 'plainsql[parquet]'")
        flags = ["--parquet", out]
    else:
        flags = [f"--{form}", "-o", out]
    small = peak_of(MANY.format(1), "-d", str(numbers), *flags)
    large = peak_of(MANY.format(150), "-d", str(numbers), *flags)
    assert large - small < 30, (small, large)


def test_a_timeout_leaves_no_file(numbers: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out.csv"
    started = time.monotonic()
    flags = ["--csv", "-o", str(out), "--timeout", "0.5"]
    assert run(["run", ENDLESS, "-d", str(numbers), *flags]) == 6
    assert time.monotonic() - started < 3
    assert not out.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    assert "stopped after 0.5 seconds" in capsys.readouterr().err


# Being interrupted


class Running:
    """`plainsql run` as a process of its own, known by a mark in its environment."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        self.mark = f"PLAINSQL_TEST_RUN={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "plainsql", "run", *arguments],
            env=os.environ | {name: value, "NO_COLOR": "1"},
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )

    def left(self) -> list[str]:
        """Processes of this run that live, with what they are."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().decode().replace("\0", " "))
        return found

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def started() -> Iterator[Any]:
    runs: list[Running] = []

    def start(*arguments: str, **options: Any) -> Running:
        runs.append(Running(*arguments, **options))
        return runs[-1]

    yield start
    for item in runs:
        item.kill()


def soon(holds: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def part_of(folder: Path) -> bool:
    return any(e.name.endswith(".part") and e.stat().st_size > 100_000 for e in folder.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
    ],
)
def test_interrupted_it_leaves_nothing(
    started: Any, numbers: Path, tmp_path: Path, number: int, group: bool, code: int
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("what was there")
    running = started(ENDLESS, "-d", str(numbers), "--csv", "-o", str(out))
    assert soon(lambda: part_of(tmp_path), 20)
    at = time.monotonic()
    (os.killpg if group else os.kill)(running.process.pid, number)
    _, err = running.process.communicate(timeout=10)
    assert time.monotonic() - at < 2
    assert running.process.returncode == code
    assert b"Traceback" not in err
    assert soon(lambda: not running.left(), 2), running.left()
    assert out.read_text() == "what was there"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "out.csv"]
    assert [entry.name for entry in numbers.parent.iterdir()] == ["numbers.sqlite"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("form", ["--csv", "--jsonl"])
def test_a_closed_pipe_ends_it_quietly(started: Any, numbers: Path, form: str) -> None:
    running = started(ENDLESS, "-d", str(numbers), form)
    stdout, stderr = running.process.stdout, running.process.stderr
    assert stdout.readline()
    stdout.close()
    assert running.process.wait(timeout=5) == 141
    assert stderr.read() == b""
    assert soon(lambda: not running.left(), 2), running.left()


def test_progress_is_shown_at_a_terminal(started: Any, numbers: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    running = started(
        ENDLESS, "-d", str(numbers), "--csv", "-o", str(tmp_path / "out.csv"),
        "--timeout", "0.8", stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    assert running.process.wait(timeout=20) == 6
    said = b""
    with suppress(OSError):  # how Linux tells the end of a terminal
        while chunk := os.read(ours, 4096):
            said += chunk
    os.close(ours)
    assert b"\r\x1b[K" in said
    assert b" rows" in said


# Servers


SHOP = """
CREATE TABLE num (n INTEGER PRIMARY KEY, name VARCHAR(40), price NUMERIC(10, 2), born DATE);
INSERT INTO num VALUES (1, 'one', 1.50, '2024-05-01'), (2, NULL, 12345678.90, NULL);
"""
EXPECTED = "n,name,price,born\n1,one,1.50,2024-05-01\n2,,12345678.90,\n"


def check_server(url: str, capsys: Any) -> None:
    assert run(["run", "SELECT * FROM num ORDER BY n", "-d", url, "--csv"]) == 0
    assert capsys.readouterr().out == EXPECTED
    assert run(["run", "SELECT price FROM num ORDER BY n", "-d", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [[1.5], [12345678.9]]
    assert run(["run", "UPDATE num SET n = 3", "-d", url]) == 5
    assert run(["run", "SELECT * FROM num", "-d", url, "--explain"]) == 0
    assert "num" in capsys.readouterr().out


def test_postgresql(postgresql_server: PostgreSQLServer, capsys: Any) -> None:
    postgresql_server.create("run_cli", SHOP)
    check_server(postgresql_server.url("run_cli"), capsys)


def test_mariadb(mariadb_server: MariaDBServer, capsys: Any) -> None:
    mariadb_server.create("run_cli", SHOP)
    check_server(mariadb_server.url("run_cli"), capsys)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("server", ["postgresql_server", "mariadb_server"])
def test_interrupted_at_a_server(
    server: str, request: pytest.FixtureRequest, started: Any, tmp_path: Path
) -> None:
    database = request.getfixturevalue(server)
    rows = ", ".join(f"({n}, 'name {n}')" for n in range(1000))
    database.create(
        "run_cli", f"CREATE TABLE num (n INT, name VARCHAR(40)); INSERT INTO num VALUES {rows}"
    )
    url = database.url("run_cli")
    running = started(ENDLESS, "-d", url, "--csv", "-o", str(tmp_path / "out.csv"))
    assert soon(lambda: part_of(tmp_path), 30), running.process.stderr
    at = time.monotonic()
    os.killpg(running.process.pid, signal.SIGINT)
    running.process.communicate(timeout=10)
    assert time.monotonic() - at < 2
    assert running.process.returncode == 130
    assert not list(tmp_path.iterdir())
    assert soon(lambda: not running_queries(database), 3)


def running_queries(database: Any) -> list[Any]:
    """Statements over `num` that a server still runs."""
    with database.connect() as connection:
        cursor = connection.cursor()
        if isinstance(database, PostgreSQLServer):
            cursor.execute(
                "SELECT query FROM pg_stat_activity WHERE state = 'active'"
                " AND query LIKE '%num a, num b%' AND pid <> pg_backend_pid()"
            )
        else:
            cursor.execute(
                "SELECT info FROM information_schema.processlist"
                " WHERE info LIKE '%num a, num b%' AND id <> connection_id()"
            )
        return list(cursor.fetchall())
