"""The guard alone: how fast it judges, and what it says of gold queries."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from safety_runs import Case

from plainsql.execution.guard import judge
from plainsql.schema.introspect import sqlite_schema

MOST_CHARACTERS = 20_000
MOST_TOKENS = 4_900
_TOKEN = re.compile(r"\w+|[^\w\s]")
# What queries are made of, over and over: all of it is parsed, and some of it allowed.
_LONG = (
    ",1", " + 1", " OR id = 1", ", id", ", id AS x", ", abs(id)", ", lower(name)", " || name",
    " AND id = 1", ", (1)", ", CASE WHEN id = 1 THEN 2 END", ", CAST(id AS INTEGER)",
    " OR id IN (1, 2)", " OR name LIKE 'a%'", " OR id BETWEEN 1 AND 2", ", users.id", ", 'a'",
    ", coalesce(id, 1)", ", count(*) OVER (ORDER BY id)", ", (SELECT 1)",
)  # fmt: skip
GOLD_STEPS = 200_000_000  # of SQLite's machine: some seconds


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds of processor time that a judgement takes."""

    of: str
    count: int
    p50: float
    p99: float
    longest: float


def speeds(cases: list[Case], tables: frozenset[str]) -> list[Speed]:
    """Over the cases, over those to be allowed, and over inputs made to be slow."""
    texts = [(case.engine, case.sql) for case in cases if len(case.sql) <= MOST_CHARACTERS]
    benign = [(case.engine, case.sql) for case in cases if case.allowed]
    engines = sorted({case.engine for case in cases})
    hard = [(engine, sql) for engine in engines for sql in _hard()]
    full = [(engine, sql) for engine in engines for sql in _full()]
    return [
        _speed("all cases", texts, tables),
        _speed("cases to be allowed", benign, tables),
        _speed(f"hard inputs up to {MOST_CHARACTERS:,} characters", hard, tables),
        _speed(f"inputs of {MOST_TOKENS:,} tokens, just below the cap", full, tables),
    ]


def _speed(of: str, texts: list[tuple[str, str]], tables: frozenset[str]) -> Speed:
    """The best of three runs of each text: what it takes without other work on the machine."""
    for engine, sql in texts[:50]:
        judge(sql, dialect=engine, tables=tables)
    times = sorted(min(_timed(*text, tables) for _ in range(3)) for text in texts)
    return Speed(of, len(times), statistics.median(times), times[int(len(times) * 0.99)], times[-1])


def _timed(engine: str, sql: str, tables: frozenset[str]) -> float:
    started = time.thread_time()
    judge(sql, dialect=engine, tables=tables)
    return (time.thread_time() - started) * 1000


def _hard() -> Iterator[str]:
    """Long, deep, wide: repeated pieces that have made parsers slow."""
    for piece in (
        ",1", " + 1", " OR id = 1", "(", "((", "[", "CASE WHEN 1 THEN ", "NOT ", "- ", "'", '"',
        "/*",
        "-- \n", ";", "SELECT ", " UNION SELECT 1", " JOIN users", ", users", "::int", ".a", "abs(",
        "x AS ", "WITH a AS (SELECT 1) ", "INTERVAL ", "DATE ", "{'a': ", "a -> ", "a[1]", "\\",
        "$a$",
        "1e9", "0x", "é", "🂡", "\t", "users ", "OVER (", " IN (1", "CAST(1 AS ", "ARRAY<",
        "EXISTS(",
    ):  # fmt: skip
        yield _repeated("SELECT 1", piece, "")
        yield _repeated("SELECT id FROM users WHERE id = 1", piece, " ORDER BY id")
    yield "SELECT " + "(" * 31 + "1" + ")" * 31 + " FROM users"
    yield "SELECT * FROM users WHERE id IN (" + ", ".join(map(str, range(2400))) + ")"


def _full() -> Iterator[str]:
    """Queries that are long and no more than that."""
    for piece in _LONG:
        for start in ("SELECT 1", "SELECT id FROM users WHERE id = 1"):
            most = MOST_TOKENS // len(_TOKEN.findall(piece))
            times = min(most, (MOST_CHARACTERS - 60) // len(piece))
            yield start + piece * times + (" FROM users" if start == "SELECT 1" else "")


def _repeated(start: str, piece: str, end: str) -> str:
    """As many of `piece` between `start` and `end` as the guard would look at."""
    return start + piece * ((MOST_CHARACTERS - len(start) - len(end)) // len(piece)) + end


@dataclass(frozen=True, slots=True)
class Gold:
    """The gold queries of one data file: those that execute, and those refused."""

    file: str
    queries: int
    executed: int
    refused: tuple[tuple[str, str, str], ...]  # database, SQL, reason


def gold(folder: Path) -> Iterator[Gold]:
    """What the guard says of the gold SQL of a folder in Spider's form."""
    for name in ("dev.json", "train_spider.json", "train_others.json"):
        path = folder / name
        if path.is_file():
            entries = json.loads(path.read_text(encoding="utf-8"))
            pairs = list(dict.fromkeys((e["db_id"], e["query"]) for e in entries))
            yield _judged(folder, name, pairs)


def _judged(folder: Path, name: str, pairs: list[tuple[str, str]]) -> Gold:
    schemas, executed, refused = {}, 0, []
    for db, sql in pairs:
        path = folder / "database" / db / f"{db}.sqlite"
        if not path.is_file() or not _executes(path, sql):
            continue
        executed += 1
        if db not in schemas:
            schemas[db] = sqlite_schema(path, samples=0, infer_keys=False)
        verdict = judge(sql, schema=schemas[db])
        if not verdict.allowed:
            refused.append((db, sql, verdict.reason))
    return Gold(name, len(pairs), executed, tuple(refused))


def _executes(path: Path, sql: str) -> bool:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = bytes
        connection.set_progress_handler(lambda: True, GOLD_STEPS)
        try:
            connection.execute(sql).fetchmany(1)
        except (sqlite3.Error, sqlite3.Warning):
            return False
    return True
