"""What the execution path costs over a bare driver, and how exactly deadlines hold.

    python benchmarks/execution_overhead.py [--queries 2000] [--rows 1000000]
        [--postgresql URL] [--mysql URL]

Each figure is paired: a call of the driver, then the same through plainsql's engine
(for SQLite and DuckDB: in its worker process), in turns; the medians are compared.
A stream's rows are taken in batches and dropped; its memory is that of a process
which writes them to a CSV file. Deadlines are measured with queries that never end,
some of which only the end of their process stops.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from plainsql.errors import QueryTimeout, ResourceLimit
from plainsql.execution import Engine, Limits, open_engine
from plainsql.execution.targets import parse_target

DIGITS = " UNION ALL ".join(["SELECT 0 AS i", *(f"SELECT {digit}" for digit in range(1, 10))])
NUMBER = "a.i + 10 * b.i + 100 * c.i + 1000 * d.i + 10000 * e.i + 100000 * f.i"
ALL = ", ".join(f"({DIGITS}) {name}" for name in "abcdef")
COLUMNS = "id, name, price, day, count"
TABLE = """CREATE TABLE big
    (id INTEGER PRIMARY KEY, name TEXT, price DOUBLE, day TEXT, count INTEGER)"""
MAKE = {
    "sqlite": f"""INSERT INTO big SELECT n AS id, 'name of thing ' || (n % 5000) AS name,
        n * 0.37 AS price, '2024-0' || (n % 9 + 1) || '-11' AS day,
        CASE WHEN n % 10 THEN n % 997 END AS count FROM (SELECT {NUMBER} AS n FROM {ALL}) s""",
    "duckdb": f"""INSERT INTO big SELECT n::INT AS id, 'name of thing ' || (n % 5000) AS name,
        (n * 0.37)::DOUBLE AS price, '2024-0' || (n % 9 + 1) || '-11' AS day,
        CASE WHEN n % 10 > 0 THEN n % 997 END AS count FROM (SELECT {NUMBER} AS n FROM {ALL}) s""",
}
SMALL = "SELECT count(*), max(name) FROM big WHERE id < 5"
# Servers are given nothing to store.
SERVER_SMALL = "SELECT 5, 'some text', 2.5, 7"
SERVER_STREAM = {
    "postgresql": """SELECT n AS id, 'name of thing ' || n % 5000 AS name,
        n * 0.37::float8 AS price, '2024-05-11' AS day, nullif(n % 10, 0) AS count
        FROM generate_series(1, {rows}) AS t(n)""",
    "mysql": f"""SELECT n AS id, concat('name of thing ', n % 5000) AS name, n * 0.37e0 AS price,
        '2024-05-11' AS day, nullif(n % 10, 0) AS count
        FROM (SELECT {NUMBER} AS n FROM {ALL}) s LIMIT {{rows}}""",
}
COUNTER = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
THREE = "FROM big a, big b, big c"
HOSTILE = {
    "sqlite": [
        COUNTER,
        f"SELECT count(*) {THREE} WHERE a.id + b.id + c.id < 0",
        f"SELECT max(a.id * b.id % 1000003 + c.id) {THREE}",
        f"SELECT a.name {THREE} ORDER BY a.id * b.id * c.id LIMIT 1",
        f"SELECT count(DISTINCT a.id * b.id + c.id) {THREE}",
        f"SELECT a.name, sum(b.price) OVER (ORDER BY b.price * c.price) {THREE}",
        "SELECT length(printf('%.*c', 900000000, 'x'))",
        "SELECT length(replace(printf('%.*c', 400000000, 'x'), 'x', 'yy'))",
    ],
    "duckdb": [
        COUNTER,
        f"SELECT count(*) {THREE} WHERE (a.id::HUGEINT * b.id + c.id) % 1000003 = -1",
        f"SELECT max((a.id::HUGEINT * b.id + c.id) % 1000003) {THREE}",
        f"SELECT count(DISTINCT a.id::HUGEINT * b.id + c.id) {THREE}",
        "SELECT length(lpad('x', 2000000000, 'y'))",
        "SELECT length(lpad('x', 1999999999, 'yz') || 'z')",
        "SELECT length(string_agg(repeat('x', 1000000), '')) FROM big",
        "SELECT " + "(" * 50_000 + "1" + ")" * 50_000,
    ],
}
DEADLINE = 0.1  # seconds
# So much memory that the clock stops the bombs, not the limit on memory.
ROOMY = Limits(
    sql_chars=200_000,
    cell_bytes=1_000_000_000,
    heap_bytes=2_000_000_000,
    memory_bytes=6_000_000_000,
)
CSV = """
import csv, sys
from pathlib import Path
from plainsql.execution import open_engine

def peak():  # not ru_maxrss: that begins with what the parent had at the exec
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

with open_engine(sys.argv[1]) as engine, open(sys.argv[3], "w", newline="") as target:
    engine.run("SELECT 1")
    base = peak()
    with engine.stream(sys.argv[2], timeout=600) as stream:
        writer = csv.writer(target)
        for batch in stream:
            writer.writerows(batch)
    print((peak() - base) / 1000)
"""


def main() -> None:
    """Measure each engine and print a few lines for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7, help="streams measured")
    parser.add_argument("--hostile", type=int, default=100, help="endless queries; 0: none")
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--mysql", metavar="URL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("sqlite", "duckdb"):
            path = made(Path(folder), kind)
            stream = f"SELECT {COLUMNS} FROM big LIMIT {options.rows}"
            print(f"{kind}: the worker answers {start_ms(path):.0f} ms after it was started")
            compare(kind, str(path), SMALL, stream, options)
            print(f"  memory while it writes CSV: {csv_megabytes(path, stream):+.0f} MB")
            if options.hostile:
                print("  " + deadlines(kind, path, options.hostile // 2))
    for kind in ("postgresql", "mysql"):
        if url := getattr(options, kind):
            stream = SERVER_STREAM[kind].format(rows=options.rows)
            compare(kind, url, SERVER_SMALL, stream, options)


def made(folder: Path, kind: str) -> Path:
    """A database with a table of a million rows."""
    path = folder / f"big.{kind}"
    with bare(kind, str(path)) as connection:
        connection.execute(TABLE)
        connection.execute(MAKE[kind])
        connection.commit()
    return path


@contextmanager
def bare(kind: str, target: str) -> Iterator[Any]:
    """A connection of the driver, as its documentation opens it."""
    if kind == "sqlite":
        connection: Any = sqlite3.connect(target)
    elif kind == "duckdb":
        import duckdb

        connection = duckdb.connect(target)
    elif kind == "postgresql":
        import psycopg

        connection = psycopg.connect(target, autocommit=True)
    else:
        import pymysql

        url = parse_target(target)
        connection = pymysql.connect(
            host=url.host or "localhost", port=url.port or 3306, user=url.user or None,
            password=url.password or "", database=url.database,
            unix_socket=url.option("unix_socket"), cursorclass=pymysql.cursors.SSCursor,
        )  # fmt: skip
    with closing(connection):
        yield connection


def start_ms(path: Path) -> float:
    """Milliseconds from opening to the first answer, the best of five."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        with closing(open_engine(path)) as engine:
            engine.run("SELECT 1")
            times.append(time.perf_counter() - started)
    return min(times) * 1000


def compare(kind: str, target: str, small: str, stream: str, options: argparse.Namespace) -> None:
    """Print the overhead of small queries and the speed of streams, both paired.

    note: DuckDB gives its file to one process alone, or to several that only read,
    so that the bare connection is opened after the table was made, read-only.
    """
    with closing(open_engine(target, worker=kind in ("sqlite", "duckdb"))) as engine:
        engine.run(small)
        with reading(kind, target) as connection:
            cursor = connection.cursor()
            plain, ours = paired(
                lambda: taken_whole(cursor, small), lambda: engine.run(small), options.queries
            )
            overhead = statistics.median(b - a for a, b in zip(plain, ours, strict=True))
            print(
                f"{kind}: small query p50 {ms(plain)} bare, {ms(ours)} ours,"
                f" overhead {overhead * 1000:.3f} ms, p99 {percentile(ours, 99) * 1000:.2f} ms"
            )
            plain, ours = paired(
                lambda: drained_bare(cursor, stream),
                lambda: drained(engine, stream),
                options.rounds,
            )
            ratio = statistics.median(a / b for a, b in zip(plain, ours, strict=True))
            print(
                f"  {options.rows:,} rows: {statistics.median(plain):.2f} s bare,"
                f" {statistics.median(ours):.2f} s ours: {ratio:.0%} of the driver's speed"
            )


@contextmanager
def reading(kind: str, target: str) -> Iterator[Any]:
    if kind != "duckdb":
        with bare(kind, target) as connection:
            yield connection
        return
    import duckdb

    with closing(duckdb.connect(target, read_only=True)) as connection:
        yield connection


def paired(
    first: Callable[[], object], second: Callable[[], object], count: int
) -> tuple[list[float], list[float]]:
    """Seconds of `count` calls of each, in turns; a tenth before that isn't counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(-max(1, count // 10), count):
        for call, times in zip((first, second), seconds, strict=True):
            started = time.perf_counter()
            call()
            if turn >= 0:
                times.append(time.perf_counter() - started)
    return seconds


def taken_whole(cursor: Any, sql: str) -> object:
    cursor.execute(sql)
    return cursor.fetchall()


def drained_bare(cursor: Any, sql: str) -> None:
    cursor.execute(sql)
    while cursor.fetchmany(1024):
        pass


def drained(engine: Engine, sql: str) -> None:
    with engine.stream(sql, timeout=600) as stream:
        for _ in stream:
            pass


def csv_megabytes(path: Path, sql: str) -> float:
    """How much the memory of a program grows while it writes the rows of `sql`."""
    target = path.with_suffix(".csv")
    done = subprocess.run(
        [sys.executable, "-c", CSV, path, sql, target], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def deadlines(kind: str, path: Path, count: int) -> str:
    """How late `count` endless queries were stopped, those killed with their process too."""
    rng = random.Random(7)
    late, outcomes = [], {"timeout": 0, "resource limit": 0, "other": 0}
    with closing(open_engine(path, limits=ROOMY)) as engine:
        engine.run("SELECT 1")
        for turn in range(count):
            sql = HOSTILE[kind][turn % 8] if turn < 8 else rng.choice(HOSTILE[kind])
            started = time.monotonic()
            try:
                engine.run(sql, timeout=DEADLINE)
                outcomes["other"] += 1
            except QueryTimeout:
                outcomes["timeout"] += 1
            except ResourceLimit:
                outcomes["resource limit"] += 1
            except Exception:
                outcomes["other"] += 1
            late.append(time.monotonic() - started - DEADLINE)
    return (
        f"{count} hostile queries, deadline {DEADLINE} s: stopped {ms(late)} after it (p50),"
        f" {percentile(late, 99) * 1000:.0f} ms (p99), {max(late) * 1000:.0f} ms (worst);"
        f" {outcomes}"
    )


def ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.3f} ms"


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


if __name__ == "__main__":
    main()
