"""What goes wrong around an embedded database, a row each: a clear error or right rows, never
a changed byte, a hang or a process left behind."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import pytest

import plainsql
from plainsql.errors import (
    ConnectError,
    ExecutionError,
    PlainsqlError,
    QueryTimeout,
    ResourceLimit,
)
from plainsql.execution import Limits
from plainsql.execution.worker_client import WorkerEngine

KINDS = ("sqlite", "duckdb")
COUNTER = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c{}) "
ENDLESS = COUNTER.format("") + "SELECT count(*) FROM c"
STREAMING = COUNTER.format("") + "SELECT n FROM c"
PRODUCT = "SELECT count(*) FROM number a, number b, number c WHERE a.n * b.n * c.n % 7 = 9"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def make(path: Path, value: str = "old", script: str = "") -> Path:
    duck = path.suffix == ".duckdb"
    with closing(duckdb.connect(str(path)) if duck else sqlite3.connect(path)) as connection:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
        connection.execute("CREATE TABLE number (n INT)")
        connection.execute("CREATE TABLE state (word TEXT)")
        connection.execute(f"INSERT INTO state VALUES ('{value}')")
        connection.execute(
            f"INSERT INTO number {COUNTER.format(' WHERE n < 3000')} SELECT n FROM c"
        )
        connection.commit()
    return path


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("faults")
    return {kind: make(folder / f"a.{kind}") for kind in KINDS}


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, databases: dict[str, Path]) -> Path:
    return databases[request.param]


@pytest.fixture
def own(request: pytest.FixtureRequest, databases: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    kind = getattr(request, "param", "sqlite")
    return Path(shutil.copy(databases[kind], tmp_path / f"a.{kind}"))


both = pytest.mark.parametrize("own", KINDS, indirect=True)


def state(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def pid_of(engine: WorkerEngine) -> int:
    """The process at work, or the one that the next query will use."""
    pool = engine._pool
    busy = [process for process in pool._all if process.busy]
    ready = [process for process in pool._idle if process.protections is not None]
    return (busy or ready or list(pool._all))[-1].pid


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def word(engine: WorkerEngine) -> object:
    return engine.run("SELECT word FROM state").rows[0][0]


# Endless queries.
HOSTILE = {
    "sqlite": [
        ENDLESS,
        PRODUCT,
        "SELECT max(a.n * b.n % 1000003) FROM number a, number b, number c",
        "SELECT a.n FROM number a, number b, number c ORDER BY a.n * b.n * c.n LIMIT 1",
        "SELECT count(DISTINCT a.n * b.n + c.n) FROM number a, number b, number c",
        "SELECT length(printf('%.*c', 900000000, 'x'))",
    ],
    "duckdb": [
        ENDLESS,
        "SELECT count(*) FROM number a, number b, number c WHERE (a.n * b.n + c.n) % 100003 = -1",
        "SELECT max((a.n * b.n + c.n) % 1000003) FROM number a, number b, number c",
        "SELECT sum(sqrt(a.n::DOUBLE * b.n) + c.n) FROM number a, number b, number c",
        "SELECT length(lpad('x', 2000000000, 'y'))",
        "SELECT length(lpad('x', 1999999999, 'yz') || 'z')",
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_queries_stop_in_time(databases: dict[str, Path], kind: str) -> None:
    """One after the other, killed ones among them. The benchmark measures a hundred."""
    random.seed(5)
    queries = [random.choice(HOSTILE[kind]) for _ in range(10)]
    late: list[float] = []
    roomy = Limits(memory_bytes=4_000_000_000, cell_bytes=1_000_000_000, heap_bytes=2_000_000_000)
    with WorkerEngine(databases[kind], limits=roomy) as engine:
        for sql in queries:
            assert word(engine) == "old"
            started = time.monotonic()
            with pytest.raises((QueryTimeout, ResourceLimit)):
                engine.run(sql, timeout=0.15)
            late.append(time.monotonic() - started - 0.15)
        assert word(engine) == "old"
    assert max(late) < 1.0


# Memory.
BOMBS = {
    "sqlite": [
        "SELECT group_concat(printf('%.*c', 1000000, 'x')) FROM number",
        "WITH RECURSIVE c(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM c) SELECT max(s) FROM c",
        "SELECT group_concat(a.n || b.n || c.n) FROM number a, number b, number c",
        "SELECT count(DISTINCT printf('%.*c', 999, b.n) || a.n) FROM number a, number b",
        "SELECT a.n, printf('%.*c', 999, 'x') AS long FROM number a, number b ORDER BY a.n * b.n",
    ],
    "duckdb": [
        "SELECT length(string_agg(repeat('x', 1000000), '')) FROM number",
        "SELECT list(a.n * 3000 + b.n) FROM number a, number b",
        "SELECT DISTINCT a.n * 3000 + b.n, repeat('x', 90) || b.n FROM number a, number b",
        "SELECT length(lpad('x', 2000000000, 'y'))",
    ],
}


@LINUX
@pytest.mark.parametrize(("kind", "sql"), [(k, sql) for k in KINDS for sql in BOMBS[k]])
def test_memory_bombs(databases: dict[str, Path], kind: str, sql: str) -> None:
    limits = Limits(cell_bytes=1_000_000_000)
    with WorkerEngine(databases[kind], limits=limits) as engine:
        assert word(engine) == "old"
        peak = _Peak(pid_of(engine))
        with pytest.raises((ResourceLimit, QueryTimeout)), peak:
            engine.run(sql, timeout=1.0)
        assert peak.bytes < 550_000_000
        assert word(engine) == "old"


class _Peak:
    """The resident memory of a process while something runs, in bytes."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
            self.bytes = max([self.bytes, *found])


# The worker dies.
@POSIX
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV], ids=["SIGKILL", "SIGSEGV"])
def test_fifty_deaths_in_mid_query(databases: dict[str, Path], sent: int) -> None:
    with WorkerEngine(databases["sqlite"]) as engine:
        for _ in range(25):
            with engine.stream(STREAMING, timeout=30) as stream:
                batches = iter(stream)
                next(batches)
                os.kill(pid_of(engine), sent)
                with pytest.raises(ExecutionError, match="engine process ended") as caught:
                    list(batches)
            assert not isinstance(caught.value, QueryTimeout)
            assert signal.Signals(sent).name in caught.value.message
            assert word(engine) == "old"


@POSIX
def test_death_in_the_middle_of_a_run(path: Path) -> None:
    with WorkerEngine(path) as engine:
        assert word(engine) == "old"
        pid = pid_of(engine)
        killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(ExecutionError, match="SIGKILL"):
            engine.run(ENDLESS, timeout=30)
        killer.join()
        assert word(engine) == "old"
        assert pid_of(engine) != pid


# The consumer goes.
@LINUX
def test_a_consumer_that_goes_frees_the_worker(path: Path) -> None:
    def ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with WorkerEngine(path) as engine:
        assert word(engine) == "old"
        started = time.monotonic()
        with engine.stream(STREAMING, timeout=60) as stream:
            next(iter(stream))
        assert time.monotonic() - started < 1.0
        assert word(engine) == "old"
        before = ticks(pid_of(engine))
        time.sleep(0.3)
        assert ticks(pid_of(engine)) - before <= 2  # of 10 ms: it is idle


# The file.
def test_a_deleted_file(own: Path) -> None:
    with WorkerEngine(own) as engine:
        assert word(engine) == "old"
        own.unlink()
        assert word(engine) == "old"  # the file lives as long as it is open
        os.kill(pid_of(engine), signal.SIGKILL)
        assert until(lambda: not alive(pid_of(engine)), 2)
        with pytest.raises(ConnectError, match="no file"):
            engine.run("SELECT 1")
        with pytest.raises(ConnectError, match="no file"):
            engine.introspect()
    assert not list(own.parent.iterdir())


def test_a_replaced_file(own: Path) -> None:
    with WorkerEngine(own) as engine:
        assert word(engine) == "old"
        make(own.with_name("new.sqlite"), "new").replace(own)
        assert word(engine) == "new"
        assert [table.name for table in engine.introspect().tables] == ["number", "state"]
        own.write_bytes(b"no database")  # the same file with other bytes
        with pytest.raises(PlainsqlError):
            word(engine)


def test_a_file_replaced_in_mid_query(own: Path) -> None:
    with WorkerEngine(own) as engine:
        with engine.stream("SELECT a.n FROM number a, number b", timeout=30) as stream:
            batches = iter(stream)
            rows = len(next(batches))
            make(own.with_name("new.sqlite"), "new").replace(own)
            rows += sum(map(len, batches))
        assert rows == 9_000_000
        assert word(engine) == "new"


LOCK = """
import sys, duckdb, sqlite3
path = sys.argv[1]
if path.endswith("duckdb"):
    connection = duckdb.connect(path)
else:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@both
def test_a_file_locked_by_another_process(own: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, own], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"locked\n"
        with WorkerEngine(own, limits=Limits(busy_seconds=0.1)) as engine:
            with pytest.raises(ConnectError, match=r"lock"):
                engine.run("SELECT 1")
            writer.communicate()
            assert word(engine) == "old"


@both
def test_a_folder_that_may_only_be_read(own: Path) -> None:
    before = state(own.parent)
    own.chmod(0o444)
    own.parent.chmod(0o555)
    try:
        with WorkerEngine(own) as engine:
            assert word(engine) == "old"
    finally:
        own.parent.chmod(0o755)
    assert state(own.parent) == before


@pytest.mark.parametrize("left", ["", "-wal"])
def test_a_write_ahead_log(tmp_path: Path, left: str) -> None:
    """Rows that are still in the log are read; those of an open transaction are not."""
    path = make(tmp_path / "a.sqlite", script="PRAGMA journal_mode = WAL")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE state SET word = 'logged'")
        if left:  # as after a crash: the log is there, its writer is not
            path = Path(shutil.copy(path, tmp_path / "copy.sqlite"))
            shutil.copy(tmp_path / "a.sqlite-wal", tmp_path / "copy.sqlite-wal")
        with WorkerEngine(path) as engine:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE state SET word = 'unfinished'")
            assert word(engine) == "logged"
            writer.execute("ROLLBACK")


@both
def test_damaged_bytes(own: Path) -> None:
    """A hostile or broken file does its harm in the worker."""
    content = own.read_bytes()
    random.seed(8)
    for _ in range(5):
        broken = bytearray(content)
        for _ in range(200):
            broken[random.randrange(100, len(broken))] = random.randrange(256)
        own.write_bytes(broken)
        with WorkerEngine(own, limits=Limits(open_seconds=10)) as engine:
            for ask in (lambda: word(engine), engine.introspect):
                with suppress(PlainsqlError):  # anything else, or a death of this process, fails
                    ask()
        assert list(own.parent.iterdir()) == [own]


# Large results.
COPY = """
import csv, sys
from pathlib import Path
from plainsql.execution import open_engine

def peak():  # not ru_maxrss: that begins with what the parent had at the exec
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

with open_engine(sys.argv[1]) as engine, open(sys.argv[2], "w", newline="") as target:
    engine.run("SELECT 1")
    base = peak()
    writer = csv.writer(target)
    sql = ("SELECT a.n, a.n * 0.5, 'some text of row ' || b.n, '2024-05-' || b.n, b.n AS k"
           " FROM number a, number b WHERE b.n <= 334 LIMIT 1000000")
    with engine.stream(sql, timeout=120) as stream:
        writer.writerow(stream.columns)
        for batch in stream:
            writer.writerows(batch)
    print((peak() - base) // 1_000_000)
"""


@LINUX
def test_a_million_rows_in_constant_memory(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "rows.csv"
    done = subprocess.run(
        [sys.executable, "-c", COPY, path, target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with target.open("rb") as lines:
        assert sum(1 for _ in lines) == 1_000_001
    assert int(done.stdout) <= 30


def test_a_million_rows_are_cut_where_they_are_kept(path: Path) -> None:
    with WorkerEngine(path) as engine:
        rows = engine.run("SELECT a.n, b.n FROM number a, number b", limit=1000)
        assert (len(rows.rows), rows.truncated) == (1000, True)
        sql = "SELECT a.n, b.n FROM number a, number b"
        rows = engine.run(sql, limit=10_000_000, timeout=30)
        assert rows.truncated
        assert 100_000 < len(rows.rows) < 1_000_000


@both
def test_two_thousand_columns_and_equal_names(own: Path) -> None:
    wide = ", ".join(f"{i} AS c{i}" for i in range(2000))
    with closing(
        duckdb.connect(str(own)) if own.suffix == ".duckdb" else sqlite3.connect(own)
    ) as connection:
        connection.execute(f"CREATE TABLE wide AS SELECT {wide}")
        connection.commit()
    with WorkerEngine(own) as engine:
        rows = engine.run("SELECT * FROM wide")
        assert rows.columns == tuple(f"c{i}" for i in range(2000))
        assert rows.rows == (tuple(range(2000)),)
        (table,) = (table for table in engine.introspect().tables if table.name == "wide")
        assert len(table.columns) == 2000
        same = engine.run('SELECT c1, c2 AS c1, c3 AS "c1", c4 AS " " FROM wide')
        assert same.columns == ("c1", "c1", "c1", " ")
        assert same.rows == ((1, 2, 3, 4),)


# Time.
def test_no_deadline_looks_at_the_wall_clock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerEngine(path) as engine:
        for jump in (-1e9, 1e9):
            monkeypatch.setattr(time, "time", lambda jump=jump: jump)
            assert word(engine) == "old"
            started = time.monotonic()
            with pytest.raises(QueryTimeout):
                engine.run(ENDLESS, timeout=0.2)
            assert 0.15 < time.monotonic() - started < 1.2
    folder = Path(plainsql.__file__).parent / "execution"
    for file in folder.rglob("*.py"):
        if file.name == "files_cache.py":
            continue  # how old a cached file is, is a matter of the calendar
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "time":
                assert not (isinstance(node.value, ast.Name) and node.value.id == "time"), file


# The program itself is ended.
ASKING = """
import sys
from plainsql.execution import open_engine

engine = open_engine(sys.argv[1])
engine.run("SELECT 1")
if sys.argv[3] == "beside":
    import threading
    threading.Thread(target=lambda: engine.run(sys.argv[2], timeout=60), daemon=True).start()
print(*[process.pid for process in engine._pool._all], flush=True)
try:
    if sys.argv[3] == "beside":
        import time
        time.sleep(60)
    elif sys.argv[3] == "stream":
        with engine.stream(sys.argv[2], timeout=60) as stream:
            for batch in stream:
                pass
    else:
        engine.run(sys.argv[2], timeout=60)
except KeyboardInterrupt:
    sys.exit(130)
"""
ENDS = [
    (signal.SIGINT, "sqlite", ENDLESS, "run"),
    (signal.SIGINT, "sqlite", STREAMING, "stream"),
    (signal.SIGINT, "sqlite", ENDLESS, "beside"),
    (signal.SIGINT, "duckdb", "SELECT length(lpad('x', 250000000, 'y'))", "run"),
    (signal.SIGTERM, "sqlite", ENDLESS, "run"),
    (signal.SIGTERM, "duckdb", ENDLESS, "run"),
    (signal.SIGKILL, "sqlite", ENDLESS, "run"),
    (signal.SIGKILL, "sqlite", STREAMING, "stream"),
    (signal.SIGKILL, "duckdb", PRODUCT, "run"),
    (signal.SIGKILL, "duckdb", ENDLESS, "beside"),
]


@LINUX
@pytest.mark.parametrize(("sent", "kind", "sql", "how"), ENDS)
def test_nothing_is_left_behind(
    databases: dict[str, Path], sent: signal.Signals, kind: str, sql: str, how: str
) -> None:
    """As from a terminal: the signal goes to the group of the program, not to the worker's."""
    program = subprocess.Popen(
        [sys.executable, "-c", ASKING, databases[kind], sql, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    with program:
        assert program.stdout is not None
        workers = [int(pid) for pid in program.stdout.readline().split()]
        time.sleep(0.2)
        assert all(map(alive, workers))
        started = time.monotonic()
        os.killpg(program.pid, sent)
        code = program.wait(10)
    assert time.monotonic() - started < 2.0
    assert code == (130 if sent == signal.SIGINT else -sent)
    assert until(lambda: not any(map(alive, workers)), 1.0)
    assert not list(_group(program.pid))


def _group(leader: int) -> Iterator[int]:
    """Processes of a group, and those whose command names its leader's worker."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if int(fields[2]) == leader or int(fields[1]) == leader:
                yield int(folder.name)


# Two programs at once.
SUMS = """
import sys
from plainsql.execution import open_engine

with open_engine(sys.argv[1]) as engine:
    for n in range(30):
        assert engine.run(f"SELECT sum(n) + {n}, '{sys.argv[2]}' FROM number").rows == (
            (4501500 + n, sys.argv[2]),
        )
print("done")
"""


def test_two_programs_read_the_same_file(path: Path) -> None:
    before = state(path.parent)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SUMS, path, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for program in running:
        with program:
            assert program.communicate(timeout=60)[0] == "done\n"
    assert state(path.parent) == before
