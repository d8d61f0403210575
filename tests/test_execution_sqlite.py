"""The SQLite engine alone: what it refuses, its limits, its errors, files in every state."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plainsql.errors import (
    ConnectError,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    QueryTimeout,
    ResourceLimit,
    UsageError,
)
from plainsql.execution import Engine, Limits, judge, open_engine, run_guarded
from plainsql.execution.limits import Deadline
from plainsql.execution.sqlite import SQLiteEngine

SCRIPT = """
CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, length REAL, port_id INT);
CREATE TABLE port (id INTEGER PRIMARY KEY, town TEXT, tags TEXT);
CREATE TABLE secret (id INTEGER PRIMARY KEY, word TEXT);
CREATE VIEW word_count AS SELECT count(word) AS words FROM secret;
CREATE VIEW harbour AS SELECT town, name FROM port JOIN boat ON boat.port_id = port.id;
CREATE TABLE number (n INT);
CREATE INDEX boat_name ON boat (name);
INSERT INTO boat VALUES (1, 'Möwe', 7.5, 1), (2, 'Gull', 31, 2), (3, NULL, NULL, 2);
INSERT INTO port VALUES (1, 'Kiel', '["north", "sail"]'), (2, 'Cork', '[]');
INSERT INTO secret VALUES (1, 'xyzzy');
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000)
INSERT INTO number SELECT n FROM c;
"""
ENDLESS = [
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
    "SELECT count(*) FROM number a, number b, number c WHERE a.n + b.n + c.n < 0",
    "SELECT max(a.n * b.n % 1000003) FROM number a, number b, number c",
    "SELECT a.n FROM number a, number b, number c ORDER BY a.n * b.n * c.n LIMIT 1",
]


def make(path: Path, script: str = SCRIPT) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("engine") / "boats.sqlite")


@pytest.fixture
def engine(path: Path) -> Iterator[SQLiteEngine]:
    with SQLiteEngine(path) as opened:
        yield opened


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def test_rows(engine: SQLiteEngine) -> None:
    rows = engine.run("SELECT id, name, length, x'00FF' AS raw FROM boat ORDER BY id")
    assert rows.columns == ("id", "name", "length", "raw")
    assert rows.rows[0] == (1, "Möwe", 7.5, b"\x00\xff")
    assert rows.rows[2] == (3, None, None, b"\x00\xff")
    assert not rows.truncated
    assert rows.elapsed_ms > 0


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM boat", ((3,),)),
        ("SELECT id, id FROM port WHERE id = 1", ((1, 1),)),
        ("SELECT t.value FROM port, json_each(port.tags) AS t", (("north",), ("sail",))),
        ("SELECT tags ->> 0 FROM port WHERE id = 1", (("north",),)),
        ("SELECT words FROM word_count", ((1,),)),
        ("WITH c AS (SELECT 1 AS n) SELECT count(*) FROM c", ((1,),)),
        ("SELECT name FROM boat WHERE name LIKE 'g%'", (("Gull",),)),
        ("VALUES (1), (2)", ((1,), (2,))),
        ("SELECT 1; -- the end", ((1,),)),
        ("SELECT name FROM boat WHERE 0", ()),
        ("SELECT CAST(x'4DFF' AS TEXT)", (("M\ufffd",),)),
        ("SELECT 9e999, 9223372036854775807", ((float("inf"), 2**63 - 1),)),
        ("SELECT row_number() OVER (ORDER BY id) FROM port", ((1,), (2,))),
    ],
)
def test_queries(engine: SQLiteEngine, sql: str, expected: tuple[object, ...]) -> None:
    assert engine.run(sql).rows == expected


@pytest.mark.parametrize(
    ("limit", "count", "truncated"), [(1, 1, True), (2, 2, True), (3, 3, False), (9, 3, False)]
)
def test_row_limit(engine: SQLiteEngine, limit: int, count: int, truncated: bool) -> None:
    rows = engine.run("SELECT id FROM boat", limit=limit)
    assert (len(rows.rows), rows.truncated) == (count, truncated)


def test_an_endless_query_with_a_row_limit_ends(engine: SQLiteEngine) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    assert len(engine.run(endless, limit=50).rows) == 50


# The engine without the guard.
REFUSED = [
    "DELETE FROM boat",
    "INSERT INTO boat (id) VALUES (9) RETURNING id",
    "UPDATE boat SET name = 'x'",
    "WITH x AS (SELECT 1) DELETE FROM boat",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t (a)",
    "CREATE TEMP VIEW boat AS SELECT 1",
    "DROP TABLE boat",
    "ALTER TABLE boat RENAME TO b",
    "REINDEX",
    "ANALYZE",
    "BEGIN",
    "SAVEPOINT a",
    "PRAGMA query_only = 0",
    "PRAGMA user_version = 7",
    "PRAGMA table_info(boat)",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA hard_heap_limit",
    "ATTACH '{folder}/new.db' AS x",
    "ATTACH 'file:{folder}/new.db?mode=rwc' AS x",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.db'",
    "EXPLAIN DELETE FROM boat",
    "SELECT sql FROM sqlite_master",
    "SELECT count(*) FROM sqlite_master",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM pragma_table_info('boat')",
    "SELECT * FROM dbstat",
    "SELECT load_extension('x')",
    "SELECT randomblob(10)",
    "SELECT zeroblob(10)",
    "SELECT last_insert_rowid(), changes()",
    "SELECT sqlite_version()",
    "SELECT 1; DELETE FROM boat",
    "COMMIT; DELETE FROM boat",
    "SELECT 1; SELECT 2",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_the_engine_alone_refuses(tmp_path: Path, sql: str) -> None:
    database = make(tmp_path / "a.db")
    before = state(tmp_path)
    with SQLiteEngine(database) as engine:
        with pytest.raises(PlainsqlError) as caught:
            engine.run(sql.format(folder=tmp_path))
        assert isinstance(caught.value, DeniedError | ExecutionError)
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
    assert state(tmp_path) == before


@pytest.mark.parametrize("sql", [s for s in REFUSED if not s.startswith(("ATTACH", "VACUUM"))])
def test_refusals_are_denials(engine: SQLiteEngine, sql: str) -> None:
    with pytest.raises(DeniedError) as caught:
        engine.run(sql)
    assert caught.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM secret",
        "SELECT count(*) FROM number",
        "SELECT count(word) FROM secret",
        "SELECT 1 WHERE 'xyzzy' IN secret",
        "SELECT 1 WHERE 7 IN number",
        "SELECT 1 FROM boat WHERE EXISTS (SELECT 1 FROM number)",
        "WITH word_count AS (SELECT id FROM secret) SELECT * FROM word_count",
        "WITH harbour AS (SELECT word FROM secret) SELECT * FROM harbour",
        "SELECT town FROM port",
    ],
)
def test_tables_outside_the_permitted_set(path: Path, sql: str) -> None:
    with (
        SQLiteEngine(path, tables=frozenset({"BOAT", "word_count", "harbour"})) as engine,
        pytest.raises(DeniedError),
    ):
        engine.run(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM boat",
        "SELECT count(*) FROM boat",
        "SELECT words FROM word_count",
        "SELECT count(*) FROM harbour",
        "SELECT town FROM harbour WHERE name = 'Gull'",
        "WITH secret AS (SELECT 1 AS n) SELECT n FROM secret",
        "WITH c AS (SELECT name FROM boat) SELECT count(*) FROM c",
        "SELECT value FROM json_each('[1]')",
    ],
)
def test_permitted_tables_and_what_views_are_made_of(path: Path, sql: str) -> None:
    permitted = frozenset({"Boat", "word_count", "harbour"})
    with SQLiteEngine(path, tables=permitted) as engine:
        assert engine.run(sql).rows


@pytest.mark.parametrize("sql", ENDLESS)
def test_deadline(engine: SQLiteEngine, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        engine.run(sql, timeout=0.2)
    assert 0.15 < time.monotonic() - started < 1.2
    assert "--timeout" in caught.value.hint
    assert engine.run("SELECT 1").rows == ((1,),)


def test_deadline_holds_while_rows_are_read(engine: SQLiteEngine) -> None:
    slow = "SELECT a.n FROM number a, number b WHERE (a.n * b.n) % 1999999 = 7"
    with pytest.raises(QueryTimeout):
        engine.run(f"SELECT * FROM ({slow}) UNION ALL SELECT * FROM ({ENDLESS[0]})", timeout=0.3)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_senseless_timeouts(engine: SQLiteEngine, timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        engine.run("SELECT 1", timeout=timeout)


@pytest.mark.parametrize("limit", [0, -5])
def test_senseless_limits(engine: SQLiteEngine, limit: int) -> None:
    with pytest.raises(UsageError, match="rows"):
        engine.run("SELECT 1", limit=limit)


TEN = "replace(printf('%990d', 0), ' ', 'abcdefghij')"  # about 10,000 characters


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT group_concat({TEN}) FROM number",  # 20 MB in one cell
        f"SELECT length(json_group_array({TEN})) FROM number",
        "WITH RECURSIVE c(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM c) SELECT max(s) FROM c",
        "SELECT " + "+".join(["1"] * 600),
        " UNION ".join(["SELECT 1"] * 90),
        "SELECT max(" + ",".join(["1"] * 40) + ")",
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
        "SELECT '" + "x" * 30_000 + "'",
    ],
)
def test_resources(engine: SQLiteEngine, sql: str) -> None:
    with pytest.raises(ResourceLimit):
        engine.run(sql, limit=10_000)
    assert engine.run("SELECT 1").rows == ((1,),)


def test_large_results_are_cut(engine: SQLiteEngine) -> None:
    rows = engine.run(f"SELECT {TEN} FROM number", limit=10_000)  # 20 MB in all
    assert rows.truncated
    assert 900 < len(rows.rows) < 1020


def test_result_bytes_can_be_set(path: Path) -> None:
    with SQLiteEngine(path, limits=Limits(result_bytes=40)) as engine:
        assert engine.run("SELECT 'four'").rows == (("four",),)
        rows = engine.run("SELECT 'four' UNION ALL SELECT 'a text of more than twenty letters'")
        assert (rows.rows, rows.truncated) == ((("four",),), True)


def test_long_cells_are_cut(path: Path) -> None:
    with SQLiteEngine(path, limits=Limits(cell_chars=6)) as engine:
        rows = engine.run("SELECT 'seven letters', x'01020304050607', 12345678, 'four'")
        assert rows.rows == (("seven ", b"\1\2\3\4\5\6", 12345678, "four"),)
        assert rows.truncated
        assert not engine.run("SELECT 'sixsix'").truncated


def test_streams_are_whole(engine: SQLiteEngine) -> None:
    with engine.stream(f"SELECT n, {TEN} FROM number ORDER BY n") as stream:
        assert stream.columns[0] == "n"
        counts = [len(batch) for batch in stream]
    assert sum(counts) == 2000
    assert max(counts) <= 16  # rows of 10 kB come a few at a time


def test_leaving_a_stream_ends_its_query(engine: SQLiteEngine) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    with engine.stream(endless, timeout=60) as stream:
        assert next(iter(stream))[0] == (1,)
    assert engine.run("SELECT 1").rows == ((1,),)
    with pytest.raises(ZeroDivisionError), engine.stream(endless):
        raise ZeroDivisionError
    assert engine.run("SELECT 1").rows == ((1,),)


def test_bad_text_after_many_good_rows(tmp_path: Path) -> None:
    """The rows before it come once, in their order, and those after it too."""
    script = """
        CREATE TABLE t (n INT, a TEXT);
        WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 3000)
        INSERT INTO t SELECT n, CASE WHEN n IN (2222, 2999) THEN CAST(x'61FF' AS TEXT) ELSE n END
        FROM c;
    """
    with SQLiteEngine(make(tmp_path / "a.db", script)) as engine:
        with engine.stream("SELECT n, a FROM t") as stream:
            rows = [row for batch in stream for row in batch]
        assert [n for n, _ in rows] == list(range(1, 3001))
        assert [text for _, text in rows if "\ufffd" in str(text)] == ["a\ufffd"] * 2
        assert engine.run("SELECT a FROM t WHERE n = 1").rows == (("1",),)


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        ("SELECT nam FROM boat", "no such column", "boat.name"),
        ("SELECT b.lenght FROM boat b", "no such column", "boat.length"),
        ("SELECT qqqqq FROM boat", "no such column", "No column"),
        ("SELECT * FROM boats", "no such table", "boat"),
        ("SELECT * FROM xyz", "no such table", "The tables are boat"),
        ("SELECT id FROM boat, port", "ambiguous", "table.column"),
        ("SELECT lowre('A')", "no such function", "lowre"),
        ("SELEC 1", "syntax error", ""),
        ("SELECT abs()", "wrong number of arguments", ""),
        ("SELECT ?", "", ""),
        ("-- nothing", "no result", "SELECT"),
        ("", "no result", "SELECT"),
        ("SELECT 1\x00; DELETE FROM boat", "", ""),
        ("SELECT '\ud800'", "", ""),
    ],
)
def test_execution_errors(engine: SQLiteEngine, sql: str, message: str, hint: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        engine.run(sql)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message


def test_explain(engine: SQLiteEngine) -> None:
    plan = engine.explain("SELECT town FROM port WHERE id IN (SELECT port_id FROM boat)")
    lines = plan.splitlines()
    assert any("port" in line for line in lines)
    assert any(line.startswith("  ") and "boat" in line for line in lines)
    with pytest.raises(DeniedError):
        engine.explain("DELETE FROM boat")


def test_introspect(engine: SQLiteEngine) -> None:
    schema = engine.introspect()
    assert schema.dialect == engine.dialect == "sqlite"
    assert "boat" in [table.name for table in schema.tables]


def test_virtual_tables_can_be_read(tmp_path: Path) -> None:
    script = "CREATE VIRTUAL TABLE note USING fts5(body); INSERT INTO note VALUES ('calm sea');"
    with SQLiteEngine(make(tmp_path / "a.db", script)) as engine:
        for _ in range(2):
            assert engine.run("SELECT body FROM note").rows == (("calm sea",),)


def test_wide_tables_open(tmp_path: Path) -> None:
    columns = ", ".join(f"column_{i} INT" for i in range(1500))
    script = f"CREATE TABLE wide ({columns}); INSERT INTO wide (column_7) VALUES (7)"
    with SQLiteEngine(make(tmp_path / "a.db", script)) as engine:
        assert engine.run("SELECT column_7 FROM wide").rows == ((7,),)


def test_bad_utf8_becomes_replacement_characters(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'61FF62' AS TEXT))"
    with SQLiteEngine(make(tmp_path / "a.db", script)) as engine:
        assert engine.run("SELECT a FROM t").rows == (("a\ufffdb",),)


# Opening.
def test_open_engine_fits_the_protocol(path: Path) -> None:
    for target in (str(path), path, f"sqlite:///{path}"):
        engine = open_engine(target)
        assert isinstance(engine, Engine)
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
        engine.close()


def test_a_database_is_known_by_its_bytes(tmp_path: Path) -> None:
    open_engine(make(tmp_path / "boats.data")).close()


@pytest.mark.parametrize(
    "target",
    [
        "",
        ":memory:",
        "ftp://ann:hunter2@localhost/db",
        "postgresql://ann:hunter2@localhost/db?service=hunter2",
        "sqlite:///file:x.db?mode=rwc",
        "sqlite:///x.db?mode=rwc",
        "sqlite://x.db",
        "sqlite:///",
        "x\x00.db",
    ],
)
def test_unsupported_targets(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_engine(target)
    assert "SQLite" in caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("table.csv", b"a,b\n1,2\n", ConnectError),
        ("data.duckdb", b"\x00" * 8 + b"DUCK" + b"\x00" * 90, ConnectError),
        ("notes.db", b"these are notes, not a database", ConnectError),
        ("cut.db", b"SQLite format 3\x00" + b"\x00" * 40, ConnectError),
    ],
)
def test_files_of_other_kinds(
    tmp_path: Path, name: str, content: bytes, error: type[PlainsqlError]
) -> None:
    (tmp_path / name).write_bytes(content)
    before = state(tmp_path)
    with pytest.raises(error) as caught:
        SQLiteEngine(tmp_path / name)
    assert caught.value.hint
    assert state(tmp_path) == before


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConnectError) as caught:
        open_engine(tmp_path / "none.db")
    assert caught.value.exit_code == 7
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    """Also within its last page, which SQLite would read as empty."""
    database = make(tmp_path / "a.db")
    database.write_bytes(database.read_bytes()[:-100])
    with pytest.raises(ConnectError, match="cut off"):
        open_engine(database)


def test_a_view_of_a_dropped_table_hides_nothing_else(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a); CREATE VIEW v AS SELECT a FROM t; DROP TABLE t;"
    with SQLiteEngine(make(tmp_path / "a.db", SCRIPT + script)) as engine:
        assert engine.run("SELECT count(*) FROM boat").rows[0][0] > 0
        with pytest.raises(ExecutionError, match="no such table"):
            engine.run("SELECT * FROM v")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="is a folder"):
        SQLiteEngine(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300 + ".db", "~nobody-of-that-name/a.db", "a" * 5000])
def test_paths_that_cannot_exist(name: str) -> None:
    with pytest.raises(ConnectError) as caught:
        open_engine(name)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["what?mode=rwc&x=.db", "100%41.db", "a#b.db", "größe ü.db"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    make(tmp_path / "plain.db").rename(tmp_path / name)
    engine = open_engine(tmp_path / name)
    with pytest.raises(DeniedError):
        engine.run("CREATE TABLE t (a)")
    assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
    engine.close()
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_damaged_file(tmp_path: Path) -> None:
    database = make(tmp_path / "a.db")
    content = bytearray(database.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    database.write_bytes(content)
    with pytest.raises(ConnectError), SQLiteEngine(database) as engine:
        engine.run("SELECT * FROM boat, number")


def test_after_closing(path: Path) -> None:
    engine = SQLiteEngine(path)
    engine.close()
    engine.close()
    with pytest.raises(ConnectError, match="closed"):
        engine.run("SELECT 1")


# Other programs at work on the same file.
QUICK = Limits(busy_seconds=0.1)


def test_locked_by_a_writer(tmp_path: Path) -> None:
    database = make(tmp_path / "a.db")
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as writer,
        SQLiteEngine(database, limits=QUICK) as engine,
    ):
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConnectError, match="locked") as caught:
            engine.run("SELECT count(*) FROM boat")
        assert "Another program" in caught.value.hint
        with pytest.raises(ConnectError, match="locked"):
            SQLiteEngine(database, limits=QUICK)
        writer.execute("ROLLBACK")
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)


def test_rows_written_meanwhile_are_seen(tmp_path: Path) -> None:
    for mode in ("DELETE", "WAL"):
        database = make(tmp_path / f"{mode}.db", f"PRAGMA journal_mode = {mode};" + SCRIPT)
        with (
            closing(sqlite3.connect(database, isolation_level=None)) as writer,
            SQLiteEngine(database) as engine,
        ):
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO boat (id) VALUES (4)")
            assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
            writer.execute("COMMIT")
            assert engine.run("SELECT count(*) FROM boat").rows == ((4,),)
            writer.execute("CREATE TABLE fresh (a)")
            assert engine.run("SELECT count(*) FROM fresh").rows == ((0,),)


def test_read_only_file_and_folder(tmp_path: Path) -> None:
    database = make(tmp_path / "a.db")
    database.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with SQLiteEngine(database) as engine:
            assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
    finally:
        tmp_path.chmod(0o755)


def test_a_left_over_journal_is_reported(tmp_path: Path) -> None:
    """A writer that died in the middle: only another writer can repair the file."""
    database = make(tmp_path / "a.db")
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        rows = [("x" * 900,)] * 300
        writer.executemany("INSERT INTO boat (name) VALUES (?)", rows)
        copy.write_bytes(database.read_bytes())
        (tmp_path / "copy.db-journal").write_bytes((tmp_path / "a.db-journal").read_bytes())
    before = state(tmp_path)
    with pytest.raises(ConnectError, match="not closed cleanly") as caught:
        SQLiteEngine(copy)
    assert "Open it once with the program that writes it" in caught.value.hint
    assert state(tmp_path) == before


def test_a_deleted_file_stays_readable_until_closed(tmp_path: Path) -> None:
    database = make(tmp_path / "a.db")
    with SQLiteEngine(database) as engine:
        database.unlink()
        assert engine.run("SELECT count(*) FROM boat").rows == ((3,),)
        with pytest.raises(ExecutionError, match="no such column"):
            engine.run("SELECT nam FROM boat")
    assert not list(tmp_path.iterdir())


def test_threads_take_turns(engine: SQLiteEngine) -> None:
    results: dict[int, object] = {}

    def ask(marker: int) -> None:
        results[marker] = engine.run(f"SELECT {marker}, count(*) FROM number").rows

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: ((i, 2000),) for i in range(24)}


def test_waiting_for_a_turn_counts(engine: SQLiteEngine) -> None:
    def hog() -> None:
        with pytest.raises(QueryTimeout):
            engine.run(ENDLESS[0], timeout=0.8)

    thread = threading.Thread(target=hog)
    thread.start()
    time.sleep(0.1)
    with pytest.raises(QueryTimeout):
        engine.run("SELECT 1", timeout=0.1)
    thread.join()


def test_deadline_ignores_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(60)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert not deadline.passed()
    assert 59 < deadline.remaining() <= 60


# Guard and engine together.
def test_run_guarded(engine: SQLiteEngine) -> None:
    schema = engine.introspect()
    rows = run_guarded(engine, "SELECT count(*) FROM boat", schema=schema)
    assert rows.rows == ((3,),)
    with pytest.raises(DeniedError, match="secret") as caught:
        run_guarded(engine, "SELECT * FROM secret", tables=frozenset({"boat"}))
    assert caught.value.exit_code == 5
    with pytest.raises(DeniedError, match="more than one"):
        run_guarded(engine, "SELECT 1; SELECT 2")
    slow = "number a JOIN number b ON a.n > b.n JOIN number c ON b.n > c.n"
    with pytest.raises(QueryTimeout):
        run_guarded(engine, f"SELECT sum(a.n * b.n * c.n) FROM {slow}", timeout=0.1)


PIECES = [
    "SELECT",
    "*",
    "name",
    "count(*)",
    "FROM boat",
    "FROM port",
    "JOIN number ON 1",
    "WHERE id > 1",
    "GROUP BY 1",
    "ORDER BY 2",
    "LIMIT 3",
    "UNION",
    ",",
    "(",
    ")",
    ";",
    "AS",
    "WITH x AS",
    "DELETE FROM boat",
    "PRAGMA user_version = 3",
    "INTO copy",
    "RETURNING *",
    "ATTACH 'made.db' AS made",
    "VACUUM INTO 'made.db'",
    "/* */",
    "--\n",
    "'x'",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_changes_the_folder(path: Path, pieces: list[str]) -> None:
    """What the guard accepts, and what it doesn't, run by the engine: no byte changes."""
    sql = "SELECT " + " ".join(pieces)
    here = os.getcwd()
    os.chdir(path.parent)  # where ATTACH and VACUUM INTO would write
    before = state(path.parent)
    try:
        with SQLiteEngine(path) as engine:
            engine.run(sql, limit=5, timeout=0.2)
    except (ExecutionError, DeniedError) as error:
        assert error.message  # noqa: PT017 - most texts made here are not SQL
    finally:
        os.chdir(here)
    assert state(path.parent) == before
    assert judge(sql).sql == sql
