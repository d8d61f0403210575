"""What 100,000 made-up statements do: nothing, quickly, and without an uncaught error.

The inputs are the same on every run. `PLAINSQL_FUZZ_INPUTS` sets their number and
`PLAINSQL_FUZZ_SEED` draws others: a nightly run takes millions.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from fuzzing import Fuzzer
from guarded_shop import ACCESS, CANARIES, READABLE, SCRIPT, VIEW, schema
from plainsql.errors import PlainsqlError
from plainsql.execution.guard import judge
from plainsql.execution.sqlite import SQLiteEngine
from plainsql.records import Verdict
from servers import PostgreSQLServer, postgresql_server

__all__ = ["postgresql_server"]

INPUTS = int(os.environ.get("PLAINSQL_FUZZ_INPUTS", "100000"))
SEED = int(os.environ.get("PLAINSQL_FUZZ_SEED", "1"))
DIALECTS = ["sqlite", "duckdb", "postgres", "mysql", "snowflake"]
WORST_SECONDS = 0.5  # of processor time: a busy machine is no fault of the guard
QUERY_SECONDS = 0.3  # of a query that was accepted
SQLITE_STEPS = 1_000_000  # ... and about as much, for SQLite without our engine

Run = Callable[[str], None]


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory where a file that a statement makes would be seen."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _sqlite_runs(folder: Path) -> Iterator[Run]:
    """By our engine, in this process, and by SQLite as it is: the file opened for writing."""
    path = folder / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{SCRIPT} {VIEW};")
    with closing(SQLiteEngine(path)) as engine, closing(_raw_sqlite(path)) as raw:

        def run(sql: str) -> None:
            with suppress(PlainsqlError):
                engine.run(sql, limit=20, timeout=QUERY_SECONDS)
            with suppress(sqlite3.Error):
                raw.execute(sql).fetchmany(20)

        yield run
        assert raw.total_changes == 0
        assert [row[1] for row in raw.execute("PRAGMA database_list")] == ["main"]


def _raw_sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000_000)
    connection.set_progress_handler(lambda: True, SQLITE_STEPS)
    return connection


def _duckdb_runs(folder: Path) -> Iterator[Run]:
    """By DuckDB without our engine: the file opened for writing, files and URLs readable."""
    duckdb = pytest.importorskip("duckdb")
    path = str(folder / "shop.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(f"{SCRIPT} {VIEW};")
    settings = {
        "threads": "1", "memory_limit": "300MB", "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false", "max_temp_directory_size": "0B",
    }  # fmt: skip
    with duckdb.connect(path, config=settings) as raw:

        def run(sql: str) -> None:
            timer = threading.Timer(QUERY_SECONDS, raw.interrupt)
            timer.start()
            with suppress(duckdb.Error, ValueError, UnicodeError):
                # A PIVOT that must look its columns up first is two for DuckDB.
                found = duckdb.extract_statements(sql)
                assert len(found) == 1 or "PIVOT" in sql.upper()
                raw.execute(sql).fetchmany(20)
            timer.cancel()

        yield run


def _no_runs(_: Path) -> Iterator[Run]:
    yield lambda sql: None


RUNS = {"sqlite": _sqlite_runs, "duckdb": _duckdb_runs}


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_made_up_statement_does_anything(dialect: str, tmp_path: Path, scratch: Path) -> None:
    """No error leaves the guard, none takes long, and what it accepts changes nothing."""
    accepted: dict[str, None] = {}
    count = INPUTS // len(DIALECTS)
    judge("SELECT 1", dialect=dialect)  # loads the dialect
    gc.collect()
    gc.freeze()  # what other tests left is not to be looked through in the guard's time
    for text in Fuzzer(dialect, SEED).texts(count):
        verdict, took = _judged(text, dialect)
        # A second time where the machine was at something else, in this thread, too.
        assert took < WORST_SECONDS or _judged(text, dialect)[1] < WORST_SECONDS, text
        assert verdict.sql == text
        assert bool(verdict.reason) is not verdict.allowed
        if verdict.allowed:
            accepted[text] = None
    gc.unfreeze()
    # Both kinds are there, or nothing was tested.
    assert count / 20 < len(accepted) < count * 0.7
    _run_all(dialect, list(accepted), tmp_path, scratch)


def _judged(text: str, dialect: str) -> tuple[Verdict, float]:
    """The verdict and the seconds of this thread's processor time that it took."""
    started = time.thread_time()
    verdict = judge(text, dialect=dialect, tables=READABLE)
    return verdict, time.thread_time() - started


def _run_all(dialect: str, texts: list[str], folder: Path, scratch: Path) -> None:
    runs = RUNS.get(dialect, _no_runs)(folder)
    run = next(runs)
    before = _contents(folder)
    for text in texts:
        run(text)
    assert _contents(folder) == before
    assert next(runs, None) is None  # the checks at its end
    assert _contents(folder) == before, "a change was only written on closing"
    assert not list(scratch.iterdir())


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its bytes; what SQLite keeps in memory is no file."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("sqlite", "CREATE TABLE z (a INT)"),
        ("sqlite", "VACUUM INTO 'z'"),
        ("duckdb", "DELETE FROM users"),
        ("duckdb", "COPY users TO 'z.csv'"),
    ],
)
def test_an_effect_would_be_noticed(dialect: str, sql: str, tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(AssertionError):
        _run_all(dialect, [sql], tmp_path, scratch)


@pytest.mark.parametrize("dialect", ["sqlite", "duckdb"])
def test_no_made_up_statement_shows_what_a_policy_hides(dialect: str) -> None:
    """Neither in rows nor in an engine's error messages."""
    run = _shown_by_sqlite() if dialect == "sqlite" else _shown_by_duckdb()
    shop, ran = schema(dialect), 0
    for text in Fuzzer(dialect, SEED).texts(INPUTS // 50):
        verdict = judge(text, dialect=dialect, schema=shop, access=ACCESS)
        if verdict.allowed and not any(canary in text for canary in CANARIES):
            shown = run(verdict.sql)
            assert not [canary for canary in CANARIES if canary in shown], verdict.sql
            ran += 1
    assert ran > INPUTS / 1000


def _shown_by_sqlite() -> Callable[[str], str]:
    raw = sqlite3.connect(":memory:")
    raw.executescript(f"{SCRIPT} {VIEW};")
    raw.set_progress_handler(lambda: True, SQLITE_STEPS)

    def run(sql: str) -> str:
        try:
            return repr(raw.execute(sql).fetchmany(50))
        except sqlite3.Error as error:
            return str(error)

    return run


def _shown_by_duckdb() -> Callable[[str], str]:
    duckdb = pytest.importorskip("duckdb")
    raw = duckdb.connect(":memory:", config={"threads": "1", "memory_limit": "300MB"})
    raw.execute(f"{SCRIPT} {VIEW};")

    def run(sql: str) -> str:
        timer = threading.Timer(QUERY_SECONDS, raw.interrupt)
        timer.start()
        try:
            return repr(raw.execute(sql).fetchmany(50))
        except (duckdb.Error, ValueError) as error:
            return str(error).partition("LINE 1")[0]  # then follows the query itself
        finally:
            timer.cancel()

    return run


ONE = ["SELECT 1", "SELECT ';' -- ;", "SELECT 1 /* ; */", 'SELECT 1 AS ";"']


@pytest.mark.parametrize("text", ONE)
def test_engines_count_one_statement_too(text: str) -> None:
    """The guard's one statement is one for SQLite and DuckDB."""
    duckdb = pytest.importorskip("duckdb")
    assert judge(text).allowed
    assert sqlite3.complete_statement(f"{text}\n;")
    assert len(duckdb.extract_statements(text)) == 1
    twice = f"{text}\n; {text}"
    assert not judge(twice).allowed
    assert len(duckdb.extract_statements(twice)) == 2
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises((sqlite3.Warning, sqlite3.ProgrammingError)),
    ):
        connection.execute(twice)


def test_postgresql_counts_one_statement_too(postgresql_server: PostgreSQLServer) -> None:
    """Its own parser, asked for a prepared statement, finds two in none of those allowed."""
    postgresql_server.create("fuzz", f"{SCRIPT} {VIEW};")
    counted = 0
    with postgresql_server.connect("fuzz") as connection:
        for text in Fuzzer("postgres", SEED).texts(INPUTS // 20):
            if not judge(text, dialect="postgres", tables=READABLE).allowed:
                continue
            error = connection.pgconn.prepare(b"", text.encode("utf-8", "replace")).error_message
            assert b"multiple commands" not in error, text
            counted += 1
        twice = connection.pgconn.prepare(b"", b"SELECT 1; SELECT 2").error_message
    assert b"multiple commands" in twice
    assert counted > INPUTS / 100


def test_the_same_seed_makes_the_same_statements() -> None:
    def made(seed: int) -> list[Any]:
        return list(Fuzzer("sqlite", seed).texts(200))

    assert made(1) == made(1) != made(2)
