"""Embedded engines in processes of their own: same answers, nothing shared, nothing left."""

from __future__ import annotations

import gc
import io
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from plainsql.errors import (
    ConnectError,
    DeniedError,
    ExecutionError,
    MissingExtra,
    PlainsqlError,
    QueryTimeout,
    ResourceLimit,
    SchemaError,
    UsageError,
)
from plainsql.execution import Engine, Limits, open_engine, worker_client
from plainsql.execution import worker_wire as wire
from plainsql.execution.base import in_process_engine
from plainsql.execution.limits import Deadline
from plainsql.execution.targets import parse_target
from plainsql.execution.worker_client import MOST_WORKERS, WorkerEngine
from plainsql.execution.worker_process import Late, WorkerProcess
from plainsql.schema.model import Column, ColumnType, Schema, Table

SCRIPT = """
CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, length DOUBLE, port_id INT);
CREATE TABLE port (id INTEGER PRIMARY KEY, town TEXT);
INSERT INTO boat VALUES (1, 'Möwe', 7.5, 1), (2, 'Gull', 31, 2), (3, NULL, NULL, 2);
INSERT INTO port VALUES (1, 'Kiel'), (2, 'Cork');
"""
ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
UNSTOPPABLE = "SELECT length(lpad('x', 2000000000, 'y'))"  # for DuckDB's own means
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and /proc")


def make(folder: Path, kind: str) -> Path:
    path = folder / f"boats.{kind}"
    connect = sqlite3.connect if kind == "sqlite" else duckdb.connect
    with closing(connect(str(path))) as connection:
        for statement in SCRIPT.strip().split(";\n"):
            connection.execute(statement.rstrip(";"))
        connection.commit()
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("worker")
    return {kind: make(folder, kind) for kind in ("sqlite", "duckdb")}


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def pair(
    request: pytest.FixtureRequest, files: dict[str, Path]
) -> Iterator[tuple[WorkerEngine, Engine]]:
    """The same database in a worker, and in this process."""
    target = parse_target(files[request.param])
    with WorkerEngine(target) as worker:
        engine = in_process_engine(target)
        yield worker, engine
        engine.close()


@pytest.fixture
def engine(files: dict[str, Path]) -> Iterator[WorkerEngine]:
    with WorkerEngine(files["sqlite"]) as opened:
        yield opened


def workers(engine: WorkerEngine) -> list[int]:
    return [process.pid for process in engine._pool._all]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def until(condition: object, seconds: float = 2.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


# The same answers as in this process.
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, name, length FROM boat ORDER BY id",
        "SELECT id, id, 'x' AS id FROM port ORDER BY 1",
        "SELECT town FROM port WHERE id > 7",
        "SELECT 9223372036854775807, 1e300, 'it''s', NULL",
        "WITH c AS (SELECT 1 AS n) SELECT count(*) FROM c",
    ],
)
def test_rows(pair: tuple[WorkerEngine, Engine], sql: str) -> None:
    worker, engine = pair
    there, here = worker.run(sql), engine.run(sql)
    assert (there.columns, there.rows, there.truncated) == (here.columns, here.rows, False)
    assert there.elapsed_ms > 0
    with worker.stream(sql) as stream:
        assert stream.columns == here.columns
        assert tuple(row for batch in stream for row in batch) == here.rows


def test_limits(pair: tuple[WorkerEngine, Engine]) -> None:
    worker, _ = pair
    rows = worker.run("SELECT id FROM boat ORDER BY id", limit=2)
    assert (rows.rows, rows.truncated) == (((1,), (2,)), True)
    assert len(worker.run(ENDLESS, limit=50).rows) == 50


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nam FROM boat",
        "SELECT * FROM boats",
        "SELEC 1",
        "DELETE FROM boat",
        "SELECT 1; SELECT 2",
        "",
        "SELECT '" + "x" * 30_000 + "'",
        "SELECT '\ud800'",
    ],
)
def test_errors_are_the_same(pair: tuple[WorkerEngine, Engine], sql: str) -> None:
    worker, engine = pair
    seen = []
    for asked in (worker, engine):
        with pytest.raises(PlainsqlError) as caught:
            asked.run(sql)
        seen.append((type(caught.value), caught.value.message, caught.value.hint))
        with pytest.raises(type(caught.value)), asked.stream(sql) as stream:
            list(stream)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("limit", "timeout"), [(0, 1), (5, 0), (5, float("nan"))])
def test_senseless_requests(engine: WorkerEngine, limit: int, timeout: float) -> None:
    with pytest.raises(UsageError):
        engine.run("SELECT 1", limit=limit, timeout=timeout)


def test_schema_and_plan(pair: tuple[WorkerEngine, Engine]) -> None:
    worker, engine = pair
    schema = worker.introspect()
    assert schema == engine.introspect()
    assert schema.table_index("boat") == engine.introspect().table_index("boat")
    assert worker.dialect == engine.dialect == schema.dialect
    sql = "SELECT town FROM port WHERE id = 1"
    assert worker.explain(sql) == engine.explain(sql)
    with pytest.raises(PlainsqlError):
        worker.explain("SELECT * FROM nothing")


def test_protections(pair: tuple[WorkerEngine, Engine]) -> None:
    worker, engine = pair
    found = worker.protections()
    names = [protection.name for protection in found]
    assert len(set(names)) == len(names)
    assert {protection.name for protection in engine.protections()} < set(names)
    assert found[0].active
    assert isinstance(worker, Engine)
    assert worker.notes == ()


def test_permitted_tables(files: dict[str, Path]) -> None:
    with WorkerEngine(files["sqlite"], tables=frozenset({"port"})) as engine:
        assert engine.run("SELECT count(*) FROM port").rows == ((2,),)
        with pytest.raises(DeniedError):
            engine.run("SELECT count(*) FROM boat")


def test_large_results_and_cells(files: dict[str, Path]) -> None:
    long = "replace(printf('%990d', 0), ' ', 'abcdefghij')"
    numbers = ENDLESS.replace("FROM c)", "FROM c WHERE n < 2000)")
    limits = Limits(result_bytes=1_000_000, cell_chars=5_000)
    with WorkerEngine(files["sqlite"], limits=limits) as engine:
        rows = engine.run(numbers.replace("SELECT n FROM c", f"SELECT {long} FROM c"), limit=9999)
        assert rows.truncated
        assert [len(str(cell)) for cell in rows.rows[0]] == [5_000]
        assert len(rows.rows) == 199
        with engine.stream(numbers.replace("SELECT n FROM c", f"SELECT {long} FROM c")) as stream:
            total = sum(len(str(cell)) for batch in stream for (cell,) in batch)
    assert total > 19_000_000


# Deadlines.
@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("sqlite", ENDLESS.replace("SELECT n FROM", "SELECT count(*) FROM")),
        ("sqlite", "SELECT length(printf('%.*c', 1000000000, 'x'))"),
        ("duckdb", ENDLESS.replace("SELECT n FROM", "SELECT count(*) FROM")),
        ("duckdb", UNSTOPPABLE),
        ("duckdb", "SELECT " + "(" * 50_000 + "1" + ")" * 50_000),
    ],
)
def test_stopped_in_time(files: dict[str, Path], kind: str, sql: str) -> None:
    limits = Limits(sql_chars=200_000, memory_bytes=6_000_000_000, cell_bytes=2_000_000_000)
    with WorkerEngine(files[kind], limits=limits) as engine:
        assert engine.run("SELECT 1").rows == ((1,),)
        started = time.monotonic()
        with pytest.raises(ExecutionError) as caught:
            engine.run(sql, timeout=0.3)
        assert time.monotonic() - started < 1.3
        assert isinstance(caught.value, QueryTimeout | ResourceLimit) or "(((" in sql
        assert engine.run("SELECT 2").rows == ((2,),)


def test_the_message_names_the_seconds_asked_for(engine: WorkerEngine) -> None:
    with (
        pytest.raises(QueryTimeout, match=r"after 0\.2 seconds"),
        engine.stream(
            ENDLESS.replace("SELECT n FROM", "SELECT count(*) FROM"), timeout=0.2
        ) as stream,
    ):
        list(stream)


def test_a_deadline_shorter_than_a_start(engine: WorkerEngine) -> None:
    """The first query is not made to pay for the start of the process."""
    assert engine.run("SELECT 1", timeout=0.001).rows == ((1,),)


def test_where_pipes_cannot_be_polled(files: dict[str, Path]) -> None:
    work = worker_client._work(parse_target(files["sqlite"]), None, Limits())
    process = WorkerProcess(work, polls=False)
    try:
        process.wait_ready(20)
        process.ask("run", 5.0, "SELECT 7", 10)
        end = time.monotonic() + 5
        assert wire.unpacked(process.answer(wire.Frame.VALUE, end))[1] == ((7,),)
        process.ask("run", 60.0, ENDLESS.replace("SELECT n FROM", "SELECT count(*) FROM"), 10)
        with pytest.raises(Late):
            process.answer(wire.Frame.VALUE, time.monotonic() + 0.1)
        assert until(lambda: not process.alive())
    finally:
        process.kill()


# Leaving early.
@POSIX
def test_leaving_a_stream_interrupts_its_worker(pair: tuple[WorkerEngine, Engine]) -> None:
    worker, _ = pair
    worker.run("SELECT 1")
    before = workers(worker)
    for _ in range(5):
        started = time.monotonic()
        with worker.stream(ENDLESS, timeout=60) as stream:
            next(iter(stream))
        with pytest.raises(ZeroDivisionError), worker.stream(ENDLESS, timeout=60):
            raise ZeroDivisionError
        assert time.monotonic() - started < 1.0
    assert worker.run("SELECT 1").rows == ((1,),)
    assert workers(worker) == before or worker.dialect == "duckdb"


def test_a_query_beside_a_stream(engine: WorkerEngine) -> None:
    with engine.stream(ENDLESS, timeout=20) as stream:
        first = next(iter(stream))
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
        assert next(iter(stream))[0] == (len(first) + 1,)
    assert len(workers(engine)) == 2


def test_more_streams_than_workers(engine: WorkerEngine) -> None:
    streams = [engine.stream(ENDLESS, timeout=60) for _ in range(MOST_WORKERS)]
    for stream in streams:
        stream.__enter__()
    with pytest.raises(QueryTimeout):
        engine.run("SELECT 1", timeout=0.2)
    for stream in streams:
        stream.__exit__(None, None, None)
    assert engine.run("SELECT 1").rows == ((1,),)


def test_a_slow_consumer_holds_the_worker_back(engine: WorkerEngine) -> None:
    with engine.stream(ENDLESS, timeout=60) as stream:
        next(iter(stream))
        (pid,) = workers(engine)

        def written() -> int:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
            return int(dict(line.split(": ") for line in lines)["wchar"])

        counts: list[int] = []
        assert until(lambda: counts.append(written()) or counts[-1] == counts[-2:][0], 5)
        time.sleep(0.2)
        assert written() < 4_000_000  # the pipe is full


# Processes that die.
@POSIX
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_died_while_idle_is_replaced(engine: WorkerEngine, sent: int) -> None:
    engine.run("SELECT 1")
    (pid,) = workers(engine)
    os.kill(pid, sent)
    assert until(lambda: not alive(pid))
    assert engine.run("SELECT 1").rows == ((1,),)
    assert workers(engine) != [pid]


def test_a_process_that_dies_at_its_start(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with WorkerEngine(files["sqlite"]) as engine:
        for _ in range(2):
            with pytest.raises(ConnectError, match="exit code 1"):
                engine.run("SELECT 1")


def test_no_python_to_start(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ConnectError, match="can't be started") as caught:
        WorkerEngine(files["sqlite"])
    assert "worker=False" in caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    for name in ("none.sqlite", "none.duckdb"):
        with pytest.raises(ConnectError, match="no file"):
            open_engine(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_opened_can_be_later(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"SQLite format 3\x00" + b"\x00" * 4080)
    with WorkerEngine(path) as engine:
        for _ in range(2):
            with pytest.raises(ConnectError):
                engine.run("SELECT 1")
        path.unlink()
        make(tmp_path, "sqlite").rename(path)
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)


def test_an_empty_database(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.sqlite").close()
    (tmp_path / "a.sqlite").touch()
    with WorkerEngine(tmp_path / "a.sqlite") as engine, pytest.raises(SchemaError):
        engine.introspect()


def test_missing_driver(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        WorkerEngine(files["duckdb"])
    assert "plainsql[duckdb]" in caught.value.hint


def test_closing(files: dict[str, Path]) -> None:
    engine = WorkerEngine(files["sqlite"])
    engine.run("SELECT 1")
    (pid,) = workers(engine)
    engine.close()
    engine.close()
    assert not alive(pid)
    with pytest.raises(ConnectError, match="closed"):
        engine.run("SELECT 1")


def test_closing_during_a_query(files: dict[str, Path]) -> None:
    engine = WorkerEngine(files["sqlite"])
    caught: list[PlainsqlError] = []

    def ask() -> None:
        try:
            engine.run(ENDLESS.replace("SELECT n FROM", "SELECT count(*) FROM"), timeout=60)
        except PlainsqlError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    (pid,) = workers(engine)
    engine.close()
    thread.join(5)
    assert not thread.is_alive()
    assert [type(error) for error in caught] == [ConnectError]
    assert not alive(pid)


def test_forgotten_engines_take_their_process_with_them(files: dict[str, Path]) -> None:
    engine = WorkerEngine(files["sqlite"])
    engine.run("SELECT 1")
    (pid,) = workers(engine)
    del engine
    gc.collect()
    assert until(lambda: not alive(pid))


# Threads and forks.
def test_threads_do_not_see_each_others_rows(pair: tuple[WorkerEngine, Engine]) -> None:
    worker, _ = pair
    results: dict[int, object] = {}

    def ask(marker: int) -> None:
        seen = []
        for turn in range(4):
            sql = f"SELECT {marker}, {turn}, name FROM boat WHERE id = {1 + marker % 3}"
            seen.append(worker.run(sql, timeout=60).rows)
            with worker.stream(sql, timeout=60) as stream:
                seen.append(tuple(row for batch in stream for row in batch))
        results[marker] = seen

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ["Möwe", "Gull", None]
    assert results == {
        i: [((i, turn, names[i % 3]),) for turn in range(4) for _ in range(2)] for i in range(32)
    }
    assert len(workers(worker)) <= MOST_WORKERS


FORK = """
import os, sys
from plainsql.execution import open_engine

engine = open_engine(sys.argv[1])
assert engine.run("SELECT 1").rows == ((1,),)
mine = {process.pid for process in engine._pool._all}
child = os.fork()
if child == 0:
    for n in range(20):
        assert engine.run(f"SELECT {n}, 'child'").rows == ((n, "child"),)
    assert not mine & {process.pid for process in engine._pool._all}
    engine.close()
    sys.exit(0)
for n in range(20):
    assert engine.run(f"SELECT {n}, 'parent'").rows == ((n, "parent"),)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert engine.run("SELECT 1").rows == ((1,),)
assert mine == {process.pid for process in engine._pool._all}
print("done")
"""


def fresh_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


@POSIX
def test_a_fork_has_processes_of_its_own(files: dict[str, Path]) -> None:
    with fresh_python(FORK, files["sqlite"]) as process:
        out, err = process.communicate(timeout=30)
    assert (out, err) == ("done\n", "")


# What the child gets, and what may come back.
@POSIX
def test_nothing_is_inherited(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "canary-hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    with (tmp_path / "private").open("w") as private:
        os.set_inheritable(private.fileno(), True)
        with WorkerEngine(files["sqlite"]) as engine:
            engine.run("SELECT 1")
            (pid,) = workers(engine)
            assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert b"canary" not in Path(f"/proc/{pid}/cmdline").read_bytes()
            opened = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
            assert os.getpgid(pid) != os.getpgid(0)
    places = {name for name in opened if not name.startswith(("pipe:", "/dev/null"))}
    assert places == {str(files["sqlite"])}


@pytest.mark.skipif(sys.platform != "linux", reason="limits as /proc has them")
def test_limits_of_the_process(files: dict[str, Path]) -> None:
    with WorkerEngine(files["sqlite"], limits=Limits(memory_bytes=300_000_000)) as engine:
        engine.run("SELECT 1")
        (pid,) = workers(engine)
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert limits["Max core file size"] == ["0", "0"]
    soft, hard = limits["Max address space"]
    assert soft == hard
    assert 300_000_000 < int(soft) < 500_000_000


def test_the_worker_loads_next_to_nothing(files: dict[str, Path]) -> None:
    heavy = {"sqlglot", "numpy", "click", "rich", "duckdb", "multiprocessing", "socket", "asyncio"}
    code = (
        "import sys, plainsql.execution.worker, plainsql.execution.sqlite;"
        f"print(*sorted(set(sys.modules) & {heavy!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


class _Planted:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize(
    "payload",
    [
        pickle.dumps(_Planted()),
        pickle.dumps(Path("/etc")),
        pickle.dumps(wire.Work),
        b"",
        b"\x80\x05",
        b"garbage",
        pickle.dumps([1, 2])[:-3],
        b"cplainsql.schema.model\nos\n.",
        b"cdecimal\nDecimal.__init__\n.",
        b"\x80\x04\x8c\x15plainsql.schema.model\x8c\x0aSchema.mro\x93.",
    ],
)
def test_answers_make_no_foreign_objects(payload: bytes) -> None:
    with pytest.raises(ExecutionError, match="can't be read"):
        wire.unpacked(payload)
    assert isinstance(wire.unpacked_error(payload), ExecutionError)


@pytest.mark.parametrize(
    "value",
    [
        [(None, True, 2**70, -1.5, "größe \ud800", b"\x00", Decimal("1.50"))] * 300,
        [],
        (("a", "a"), ((1,),), True),
        Schema("s", (Table("t", (Column("t", "a", ColumnType.TEXT, "a"),), "t"),)),
    ],
)
def test_what_answers_are_made_of(value: object) -> None:
    assert wire.unpacked(wire.packed(value)) == value
    if isinstance(value, list) and value:
        assert wire.unpacked(wire.packed_rows(value)) == value


def test_wide_rows_are_sent_in_pieces() -> None:
    rows = [(n, "x" * 1_000_000) for n in range(20)]
    payloads = wire.batch_payloads(rows)
    assert max(map(len, payloads)) < 5_000_000
    assert [row for payload in payloads for row in wire.unpacked(payload)] == rows


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueryTimeout("late", hint="wait"), QueryTimeout),
        (MissingExtra("DuckDB", "duckdb"), MissingExtra),
        (MemoryError(), ResourceLimit),
        (RuntimeError("password=hunter2"), ExecutionError),
    ],
)
def test_errors_cross_the_pipe(error: Exception, expected: type[PlainsqlError]) -> None:
    there = wire.unpacked_error(wire.packed_error(error))
    assert type(there) is expected
    assert "hunter2" not in there.message
    if isinstance(error, PlainsqlError):
        assert (there.message, there.hint) == (error.message, error.hint)


def test_unknown_errors_are_not_made() -> None:
    for named in ("SystemExit", "QuestionError", "", None, 7, ["x"]):
        assert type(wire.unpacked_error(wire.packed((named, "m", "h")))) is ExecutionError


def test_absurd_lengths_are_refused(files: dict[str, Path]) -> None:
    work = worker_client._work(parse_target(files["sqlite"]), None, Limits())
    process = WorkerProcess(work)
    try:
        process._buffer += wire.HEADER.pack(wire.Frame.VALUE, 4_000_000_000)
        with pytest.raises(ExecutionError, match="can't be read"):
            process.next_frame(time.monotonic() + 1)
    finally:
        process.kill()


def test_the_worker_ends_when_its_input_does(files: dict[str, Path]) -> None:
    work = worker_client._work(parse_target(files["sqlite"]), None, Limits())
    for ready in (True, False):
        process = WorkerProcess(work)
        if ready:
            process.wait_ready(20)
        process._stdin.close()
        assert until(lambda process=process: not process.alive(), 5)
        process.kill()


def test_a_worker_may_not_answer_out_of_turn(files: dict[str, Path]) -> None:
    with WorkerEngine(files["sqlite"]) as engine:
        engine.run("SELECT 1")
        (process,) = engine._pool._all
        process._buffer += wire.frame(wire.Frame.HEAD, wire.packed(("a",)))
        with pytest.raises(ExecutionError, match="can't be read"):
            engine.run("SELECT 1")
        assert engine.run("SELECT 2").rows == ((2,),)


def test_pickles_are_bounded_by_their_source() -> None:
    assert io.BytesIO(wire.frame(wire.Frame.END, b"")).read() == b"\x07\x00\x00\x00\x00"
    assert Deadline(1).seconds == 1
