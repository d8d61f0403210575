"""The DuckDB engine alone: values, limits, errors, files in every state."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from math import inf, isnan, nan
from pathlib import Path

import pytest

duckdb = pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")

from boats import make, state  # noqa: E402
from plainsql.errors import (  # noqa: E402
    ConnectError,
    DeniedError,
    ExecutionError,
    QueryTimeout,
    ResourceLimit,
    UsageError,
)
from plainsql.execution.base import Engine, open_engine  # noqa: E402
from plainsql.execution.duckdb_cells import valid_json  # noqa: E402
from plainsql.execution.duckdb_engine import DuckDBEngine  # noqa: E402
from plainsql.execution.duckdb_errors import opening_error  # noqa: E402
from plainsql.execution.duckdb_parse import without_semicolon  # noqa: E402
from plainsql.execution.limits import Limits  # noqa: E402

ENDLESS = [
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
    "SELECT count(*) FROM number a, number b, number c WHERE hash(a.n, b.n, c.n) = 42",
    "SELECT max(a.n * b.n % 1000003 + c.n) FROM number a, number b, number c",
    "SELECT a.n FROM number a, number b, number c ORDER BY a.n * b.n * c.n LIMIT 1",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("engine") / "boats.duckdb")


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[DuckDBEngine]:
    with DuckDBEngine(path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id, name, length FROM boat ORDER BY id LIMIT 1", ((1, "Möwe", 7.5),)),
        ("SELECT count(*) FROM boat", ((3,),)),
        ("SELECT id, id FROM port WHERE id = 1", ((1, 1),)),
        ("FROM harbour WHERE name = 'Gull'", (("Cork", "Gull"),)),
        ("TABLE word_count", ((1,),)),
        ("VALUES (1), (2)", ((1,), (2,))),
        ("SELECT 1; -- the end", ((1,),)),
        ("/* a */ SELECT DATE '2024-05-01' -- b\n ;;", (("2024-05-01",),)),
        ("SELECT name FROM boat WHERE false", ()),
        ("WITH c AS (SELECT 1 AS n) SELECT count(*) FROM c", ((1,),)),
        ("SELECT twice(21)", ((42,),)),
        ("FROM first_boats(2)", ((1,), (2,))),
        ("SELECT load FROM yard.crane", ((12.5,),)),
        ("SELECT unnest(tags) FROM port WHERE id = 1", (("north",), ("sail",))),
        ("PIVOT boat ON id % 2 USING count(*) GROUP BY port_id ORDER BY ALL",
         ((1, 0, 1), (2, 1, 1))),
        ("SELECT * FROM (PIVOT boat ON port_id IN (1, 2) USING count(*) GROUP BY id) ORDER BY 1",
         ((1, 1, 0), (2, 0, 1), (3, 0, 1))),
        ("SELECT column_name FROM (DESCRIBE port) LIMIT 2", (("id",), ("town",))),
        ("SELECT d FROM (SELECT DATE '2024-01-01' + id AS d FROM boat ORDER BY id DESC)",
         (("2024-01-04",), ("2024-01-03",), ("2024-01-02",))),
        ("SELECT CURRENT_DATE = CURRENT_DATE, row_number() OVER (ORDER BY id) FROM port",
         ((True, 1), (True, 2))),
    ],
)  # fmt: skip
def test_queries(engine: DuckDBEngine, sql: str, expected: tuple[object, ...]) -> None:
    assert engine.run(sql).rows == expected


def test_rows(engine: DuckDBEngine) -> None:
    rows = engine.run('SELECT id, id, now() AS t, length AS "a b" FROM boat')
    assert rows.columns == ("id", "id", "t", "a b")
    assert not rows.truncated
    assert rows.elapsed_ms > 0


# What DuckDB has, what it becomes.
VALUES: list[tuple[str, object]] = [
    ("NULL", None),
    ("true", True),
    ("127::TINYINT", 127),
    ("9223372036854775808", 2**63),
    ("'-170141183460469231731687303715884105728'::HUGEINT", -(2**127)),
    ("340282366920938463463374607431768211455::UHUGEINT", 2**128 - 1),
    ("'12345678901234567890123456789012345678901234567890'::BIGNUM", int("1234567890" * 5)),
    ("0.1::FLOAT", 0.1),
    ("'inf'::FLOAT", inf),
    ("'-Infinity'::DOUBLE", -inf),
    ("1234567890123456789012345678.0123456789::DECIMAL(38, 10)",
     Decimal("1234567890123456789012345678.0123456789")),
    ("0::DECIMAL(10, 2)", Decimal("0.00")),
    ("DATE '2024-05-01'", "2024-05-01"),
    ("DATE '0001-01-01'", "0001-01-01"),
    ("DATE '0000-01-01'", "0000-01-01"),
    ("'0044-03-15 (BC)'::DATE", "-43-03-15"),
    ("DATE '9999-12-31'", "9999-12-31"),
    ("'infinity'::DATE", "infinity"),
    ("'-infinity'::DATE", "-infinity"),
    ("TIMESTAMP '2024-05-01 10:00:00'", "2024-05-01T10:00:00"),
    ("TIMESTAMP '2024-05-01 10:00:00.25'", "2024-05-01T10:00:00.25"),
    ("TIMESTAMP_NS '2024-05-01 10:00:00.123456789'", "2024-05-01T10:00:00.123456789"),
    ("TIMESTAMP_S '2024-05-01 10:00:00'", "2024-05-01T10:00:00"),
    ("'0044-03-15 (BC) 10:00:00'::TIMESTAMP", "-43-03-15T10:00:00"),
    ("'infinity'::TIMESTAMP", "infinity"),
    ("TIMESTAMPTZ '2024-05-01 10:00:00+02'", "2024-05-01T08:00:00+00:00"),
    ("TIME '10:00:01.5'", "10:00:01.5"),
    ("TIMETZ '10:00:00+02'", "10:00:00+02:00"),
    ("TIMETZ '10:00:00+05:30'", "10:00:00+05:30"),
    ("INTERVAL '1 year 2 months 3 days 4 hours'", "1 year 2 months 3 days 04:00:00"),
    ("[1, 2, NULL]", "[1,2,null]"),
    ("['x', 'é\"']", '["x","é\\""]'),
    ("['nan', 'inf', '1.5']::DOUBLE[]", '["NaN","Infinity",1.5]'),
    ("{'a': 1, 'b': {'c': 'é', 'd': [DATE '2024-05-01']}}",
     '{"a":1,"b":{"c":"é","d":["2024-05-01"]}}'),
    ("MAP {'k': 1, 'l': 2}", '{"k":1,"l":2}'),
    ("MAP {1: 2}", '{"1":2}'),
    ("array_value(1, 2, 3)", "[1,2,3]"),
    ("union_value(n := 1)", '{"n":1}'),
    ("row(1, 'x')", '[1,"x"]'),
    ("'\\x00\\xFF'::BLOB", b"\x00\xff"),
    ("'\\xFF'::BLOB::VARCHAR", "\\xFF"),
    ("'a' || chr(0) || 'b'", "a\x00b"),
    ("'𝄞'", "𝄞"),
    ("uuid '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
    ("'101'::BIT", "101"),
    ("'sad'::ENUM ('happy', 'sad')", "sad"),
    ("'{\"a\": [1, NaN]}'::VARCHAR", '{"a": [1, NaN]}'),
    ("'{\"a\": 1}'::JSON", '{"a": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), VALUES, ids=[sql for sql, _ in VALUES])
def test_values(
    engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch, sql: str, expected: object
) -> None:
    (run,) = engine.run(f"SELECT {sql} AS v").rows
    with engine.stream(f"SELECT {sql} AS v, 1 AS one") as stream:
        (streamed,) = [row for batch in stream for row in batch]
    assert run == (expected,)
    assert streamed == (expected, 1)
    assert type(run[0]) is type(expected)


def test_not_a_number(engine: DuckDBEngine) -> None:
    assert all(isnan(v) for v in engine.run("SELECT 'nan'::DOUBLE, 'nan'::FLOAT").rows[0])


def test_values_of_a_table(tmp_path: Path) -> None:
    """All odd types at once, from disk, in batches, with NULLs between."""
    items = ", ".join(f"{sql} AS v{at}" for at, (sql, _) in enumerate(VALUES) if sql != "NULL")
    nulls = ", ".join("NULL" for sql, _ in VALUES if sql != "NULL")
    script = f"CREATE TABLE t AS SELECT {items}; INSERT INTO t SELECT {nulls} FROM range(3000);"
    script += f"INSERT INTO t SELECT {items};"
    path = make(tmp_path / "t.duckdb", script)
    with DuckDBEngine(path) as engine, engine.stream("SELECT * FROM t") as stream:
        rows = [row for batch in stream for row in batch]
    expected = tuple(value for sql, value in VALUES if sql != "NULL")
    assert rows[0] == rows[-1] == expected
    assert rows[1:-1] == [(None,) * len(expected)] * 3000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":NaN}', '{"a":"NaN"}'),
        ("[-Infinity,Infinity,1.0]", '["-Infinity","Infinity",1.0]'),
        ('["NaN","say \\"NaN",NaN]', '["NaN","say \\"NaN","NaN"]'),
        ('"NaN"', '"NaN"'),
        ("[1,2]", "[1,2]"),
    ],
)
def test_json_without_words_of_its_own(text: str, expected: str) -> None:
    assert valid_json(text) == expected
    json.loads(valid_json(text), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("limit", "count", "truncated"), [(1, 1, True), (2, 2, True), (3, 3, False), (9, 3, False)]
)
def test_row_limit(engine: DuckDBEngine, limit: int, count: int, truncated: bool) -> None:
    rows = engine.run("SELECT id FROM boat", limit=limit)
    assert (len(rows.rows), rows.truncated) == (count, truncated)


def test_an_endless_query_with_a_row_limit_ends(engine: DuckDBEngine) -> None:
    assert len(engine.run("SELECT * FROM range(100000000000)", limit=50).rows) == 50


def test_streaming_takes_no_memory(engine: DuckDBEngine) -> None:
    import tracemalloc

    tracemalloc.start()
    with engine.stream("SELECT range, 'row ' || range FROM range(300000)", timeout=60) as stream:
        assert stream.columns[0] == "range"
        assert sum(len(batch) for batch in stream) == 300_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_leaving_a_stream_ends_its_query(engine: DuckDBEngine) -> None:
    with engine.stream("SELECT a.n FROM number a, number b, number c") as stream:
        assert next(iter(stream))
    assert engine.run("SELECT 1").rows == ((1,),)


# Limits.
@pytest.mark.parametrize("sql", ENDLESS)
def test_deadline(engine: DuckDBEngine, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        engine.run(sql, timeout=0.2)
    assert 0.15 < time.monotonic() - started < 1.2
    assert "--timeout" in caught.value.hint
    assert engine.run("SELECT 1").rows == ((1,),)


def test_deadline_holds_while_rows_are_read(engine: DuckDBEngine) -> None:
    with pytest.raises(QueryTimeout):  # noqa: PT012
        sql = "SELECT a.n FROM number a, number b, number c"
        with engine.stream(sql, timeout=0.3) as stream:
            for _ in stream:
                pass


def test_deadlines_of_many_queries(engine: DuckDBEngine) -> None:
    """Short after long and long after short: one thread wakes up for all."""
    for timeout in (30.0, 0.1, 20.0, 0.05, 10.0):
        started = time.monotonic()
        if timeout > 1:
            assert engine.run("SELECT 1", timeout=timeout).rows == ((1,),)
        else:
            with pytest.raises(QueryTimeout):
                engine.run(ENDLESS[1], timeout=timeout)
            assert time.monotonic() - started < timeout + 0.6


def test_interrupt_from_another_thread(engine: DuckDBEngine) -> None:
    timer = threading.Timer(0.2, engine.interrupt)
    timer.start()
    started = time.monotonic()
    with pytest.raises(ExecutionError):
        engine.run(ENDLESS[1], timeout=20)
    timer.join()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("timeout", [0, -1, nan, inf])
def test_senseless_timeouts(engine: DuckDBEngine, timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        engine.run("SELECT 1", timeout=timeout)


@pytest.mark.parametrize("limit", [0, -5])
def test_senseless_limits(engine: DuckDBEngine, limit: int) -> None:
    with pytest.raises(UsageError, match="rows"):
        engine.run("SELECT 1", limit=limit)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT string_agg(a.n::VARCHAR || repeat('x', 1000), ',') FROM number a, number b",
        "SELECT " + "+".join(["1"] * 600),
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT " + "NOT " * 3000 + "true",
        "SELECT '" + "x" * 30_000 + "'",
    ],
)
def test_resources(engine: DuckDBEngine, sql: str) -> None:
    with pytest.raises(ResourceLimit):
        engine.run(sql, limit=10_000, timeout=20)
    assert engine.run("SELECT 1").rows == ((1,),)


def test_large_results_are_cut(path: Path) -> None:
    with DuckDBEngine(path, limits=Limits(result_bytes=50_000, cell_chars=100)) as engine:
        rows = engine.run("SELECT repeat('x', 1000) FROM number", limit=5000)
        assert rows.truncated
        assert 300 < len(rows.rows) < 600
        assert rows.rows[0] == ("x" * 100,)


def test_more_threads_can_be_set(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b.duckdb"
    copy.write_bytes(path.read_bytes())
    with DuckDBEngine(copy, limits=Limits(threads=2, heap_bytes=100_000_000)) as engine:
        sql = "SELECT name, value FROM duckdb_settings() WHERE name IN ('threads', 'memory_limit')"
        assert engine._opened is not None
        found = dict(engine._opened.connection.execute(sql).fetchall())
    assert found == {"threads": "2", "memory_limit": "95.3 MiB"}


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        ("SELECT nam FROM boat", "nam", "boat.name"),
        ("SELECT b.lenght FROM boat b", "lenght", "boat.length"),
        ("SELECT id,\n  qqqqq FROM boat", "(line 2, column 3)", "No column"),
        ("SELECT * FROM boats", "(line 1, column 15)", "boat"),
        ("SELECT * FROM xyz", "xyz", "The tables are boat"),
        ("SELECT boat.id FROM boat, port WHERE id = 1", "Ambiguous", "table.column"),
        ("SELECT lowre('A')", "lowre", "lowre"),
        ("SELECT 'é', lowre('A')", "(line 1, column 13)", "lowre"),
        ("SELEC 1", "syntax error", ""),
        ("SELECT id, count(*) FROM boat", "GROUP BY", "GROUP BY"),
        ("SELECT abs()", "No function matches", ""),
        ("SELECT ?", "parameters", ""),
        ("SELECT name::INT FROM boat WHERE id = 1", "Möwe", ""),
        ("SELECT CURRENT_DATE, name::INT FROM boat WHERE id = 1", "(line 1, column 26)", ""),
        ("-- nothing", "no result", "SELECT"),
        ("", "no result", "SELECT"),
        ("SELECT '\ud800'", "UTF-8", "characters"),
        ("SELECT 'x", "unterminated", ""),
        ("SELECT /* x", "unterminated", ""),
        ("SELECT error('oh no')", "oh no", ""),
        ("SELECT (SELECT id FROM boat)", "More than one row", ""),
    ],
)
def test_execution_errors(engine: DuckDBEngine, sql: str, message: str, hint: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        engine.run(sql)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1 ; -- x\n ;", "SELECT 1 "),
        ("SELECT ';' -- ;", "SELECT ';' "),
        ("SELECT 'é', \"ü;\" /* ; */ ;", "SELECT 'é', \"ü;\" "),
        ("SELECT $$;$$;;", "SELECT $$;$$"),
        ("-- nothing", ""),
    ],
)
def test_without_semicolon(sql: str, text: str) -> None:
    assert without_semicolon(sql) == text


def test_explain(engine: DuckDBEngine) -> None:
    plan = engine.explain("SELECT town FROM port WHERE id > 1;")
    assert "port" in plan
    assert len(plan.splitlines()) > 3
    with pytest.raises(DeniedError):
        engine.explain("DELETE FROM boat")
    with pytest.raises(DeniedError):
        engine.explain("ANALYZE SELECT 1")


def test_protections(engine: DuckDBEngine, path: Path) -> None:
    found = {item.name: item for item in engine.protections()}
    assert found["read-only"].active
    assert not found["table scope"].active
    with DuckDBEngine(path, tables=frozenset({"boat"})) as scoped:
        assert {item.name: item for item in scoped.protections()}["table scope"].active


def test_threads_take_turns(engine: DuckDBEngine) -> None:
    found: list[object] = []

    def ask(number: int) -> None:
        found.extend(engine.run(f"SELECT {number}, sum(n) FROM number").rows)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(number, 1_999_000) for number in range(16)]  # type: ignore[type-var]


def test_a_closed_database(path: Path) -> None:
    engine = DuckDBEngine(path)
    engine.close()
    engine.close()
    for use in (lambda: engine.run("SELECT 1"), engine.introspect):
        with pytest.raises(ConnectError, match="closed"):
            use()


# Opening.
@pytest.mark.parametrize("worker", [True, False])
def test_open_engine_fits_the_protocol(path: Path, worker: bool) -> None:
    for target in (str(path), path, f"duckdb:///{path}"):
        engine = open_engine(target, worker=worker)
        assert isinstance(engine, Engine)
        assert engine.dialect == "duckdb"
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
        engine.close()


def _with_version(data: bytes, version: int) -> bytes:
    """A database file whose header names another storage version, with its checksum."""
    head = bytearray(data[:4096])
    struct.pack_into("<Q", head, 12, version)
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", head[8:]):
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    struct.pack_into("<Q", head, 0, checksum)
    return bytes(head) + data[4096:]


FILES = {
    "empty": (lambda data: b"", "not a DuckDB database"),
    "text": (lambda data: b"id,name\n" * 2000, "not a DuckDB database"),
    "start": (lambda data: data[:5000], "cut off"),
    "head": (lambda data: data[:30], "cut off"),
    "flipped": (lambda data: data[:5000] + b"\xff\xfe" + data[5002:], "damaged"),
    "newer": (lambda data: _with_version(data, 100_000), "another version"),
    "older": (lambda data: _with_version(data, 1), "another version"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_databases(path: Path, tmp_path: Path, name: str) -> None:
    change, message = FILES[name]
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(change(path.read_bytes()))
    before = state(tmp_path)
    with pytest.raises(ConnectError, match=message) as caught:
        DuckDBEngine(broken)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert state(tmp_path) == before


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    script = "CREATE TABLE t AS SELECT range AS n, md5(range::VARCHAR) AS m FROM range(50000)"
    database = make(tmp_path / "a.duckdb", script)
    data = database.read_bytes()
    for share in (0.6, 0.2):  # the catalogue lies anywhere: seen at once, or later
        database.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ConnectError) as caught, DuckDBEngine(database) as engine:
            engine.run("SELECT count(*), max(m) FROM t")
        assert "cut off" in caught.value.message


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConnectError) as caught:
        DuckDBEngine(tmp_path / "none.duckdb")
    assert caught.value.exit_code == 7
    assert not list(tmp_path.iterdir())


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").mkdir()
    with pytest.raises(ConnectError):
        DuckDBEngine(tmp_path / "x.duckdb")


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.duckdb")
    with pytest.raises(ConnectError, match="not a regular file"):
        DuckDBEngine(tmp_path / "p.duckdb")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_rights(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "c.duckdb"
    copy.write_bytes(path.read_bytes())
    copy.chmod(0)
    with pytest.raises(ConnectError) as caught:
        DuckDBEngine(copy)
    assert "chmod" in caught.value.hint


WRITER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("INSERT INTO number VALUES (-1)")
print("written", flush=True)
sys.stdin.read()
"""


def test_a_file_that_a_writer_holds(tmp_path: Path) -> None:
    database = make(tmp_path / "a.duckdb")
    command = [sys.executable, "-c", WRITER, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(ConnectError, match="is locked") as caught:
            DuckDBEngine(database)
        assert "close" in caught.value.hint
        writer.kill()
    # What the writer left beside the file is part of the database.
    assert (tmp_path / "a.duckdb.wal").stat().st_size > 0
    before = state(tmp_path)
    with DuckDBEngine(database) as engine:
        assert engine.run("SELECT count(*) FROM number WHERE n = -1").rows == ((1,),)
    assert state(tmp_path) == before


def test_a_file_that_this_process_writes(tmp_path: Path) -> None:
    database = make(tmp_path / "a.duckdb")
    with duckdb.connect(str(database)), pytest.raises(ConnectError, match="open in this program"):
        DuckDBEngine(database)


def test_two_engines_of_one_file(path: Path) -> None:
    with DuckDBEngine(path) as one, DuckDBEngine(path) as two:
        assert one.run("SELECT 1").rows == two.run("SELECT 1").rows
    with DuckDBEngine(path) as again:
        assert again.run("SELECT 1").rows == ((1,),)


def test_a_file_that_is_replaced_or_removed(tmp_path: Path) -> None:
    database = make(tmp_path / "a.duckdb", "CREATE TABLE t AS SELECT 1 AS n")
    other = make(tmp_path / "b.duckdb", "CREATE TABLE t AS SELECT 2 AS n")
    with DuckDBEngine(database) as engine:
        assert engine.run("FROM t").rows == ((1,),)
        other.replace(database)
        assert engine.run("FROM t").rows == ((2,),)
        database.unlink()
        assert engine.run("FROM t").rows == ((2,),)
        database.write_bytes(b"no database")
        with pytest.raises(ConnectError, match="not a DuckDB database"):
            engine.run("FROM t")
        database.unlink()
        make(database, "CREATE TABLE t AS SELECT 3 AS n")
        assert engine.run("FROM t").rows == ((3,),)


def test_special_characters_in_the_path(path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a?b#c%20 [x]'\"é.duckdb"
    odd.write_bytes(path.read_bytes())
    with DuckDBEngine(odd) as engine:
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IO Error: Could not set lock on file", "is locked"),
        ("Corrupt WAL file: found an empty entry", "damaged log"),
        ("IO Error: Cannot open file: Permission denied", "can't be read"),
        ("something else\n\nat length", "something else."),
    ],
)
def test_reasons_of_opening(text: str, expected: str) -> None:
    assert expected in opening_error(duckdb.Error(text), Path("x.duckdb")).message
