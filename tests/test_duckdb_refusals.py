"""What the DuckDB engine refuses alone, without the guard: each statement, and no effect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

duckdb = pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")

from boats import make, state  # noqa: E402
from plainsql.errors import DeniedError, ExecutionError, PlainsqlError, ResourceLimit  # noqa: E402
from plainsql.execution.duckdb_engine import DuckDBEngine  # noqa: E402


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("engine") / "boats.duckdb")


# The engine without the guard: statements by kind, with a file they may not make.
REFUSED = {
    "writing": [
        "DELETE FROM boat",
        "INSERT INTO boat (id) VALUES (9) RETURNING id",
        "UPDATE boat SET name = 'x'",
        "MERGE INTO boat USING port ON boat.id = port.id WHEN MATCHED THEN DELETE",
        "WITH x AS (SELECT 1) DELETE FROM boat",
        "WITH d AS (DELETE FROM boat RETURNING *) SELECT * FROM d",
        "WITH d AS (INSERT INTO boat (id) VALUES (9) RETURNING id) SELECT * FROM d",
        "WITH d AS (UPDATE boat SET name = 'x' RETURNING id) SELECT * FROM d",
        "WITH a AS (WITH b AS (DELETE FROM boat RETURNING id) FROM b) SELECT * FROM a",
        "SELECT * FROM (WITH d AS (DELETE FROM boat RETURNING id) SELECT * FROM d) AS q",
        "SELECT (WITH d AS (DELETE FROM boat RETURNING id) SELECT max(id) FROM d)",
        "WITH d AS (DELETE FROM boat RETURNING id) PIVOT d ON id USING count(*)",
        "EXPLAIN ANALYZE DELETE FROM boat",
        "EXPLAIN (ANALYZE) DELETE FROM boat",
        "EXPLAIN DELETE FROM boat",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT nextval('counter')",
        "SELECT main.nextval('counter')",
        "SELECT \"nextval\"('counter')",
        "SELECT setval('counter', 7)",
        "TRUNCATE boat",
    ],
    "definitions": [
        "CREATE TABLE t (a INT)",
        "CREATE TABLE t AS SELECT 1",
        "CREATE TEMP TABLE t (a INT)",
        "CREATE TEMP VIEW boat AS SELECT 1",
        "CREATE OR REPLACE TEMP MACRO lower(x) AS 'x'",
        "CREATE SECRET s (TYPE s3, KEY_ID 'x')",
        "CREATE TYPE t AS ENUM ('a')",
        "DROP TABLE boat",
        "ALTER TABLE boat RENAME TO b",
        "COMMENT ON TABLE boat IS 'x'",
        "CREATE INDEX i ON boat (name)",
        "SELECT * INTO t FROM boat",
    ],
    "settings": [
        "SET threads = 4",
        "SET GLOBAL memory_limit = '10GB'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "RESET ALL",
        "PRAGMA threads = 4",
        "PRAGMA enable_profiling",
        "PRAGMA database_list",
        "SET VARIABLE x = 1",
        "USE yard",
        "CALL enable_logging()",
        "CALL pragma_version()",
        "SELECT * FROM enable_logging()",
        "SELECT * FROM enable_profiling()",
        "SELECT write_log('x')",
        "SELECT setseed(0.5)",
        "SELECT * FROM checkpoint()",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
    ],
    "files and networks": [
        "COPY boat TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)",
        "COPY boat FROM '/etc/passwd'",
        "EXPORT DATABASE '{folder}/all'",
        "IMPORT DATABASE '{folder}/all'",
        "ATTACH '{folder}/new.db'",
        "ATTACH '{folder}/a.duckdb' AS again",
        "ATTACH ':memory:' AS m",
        "DETACH boats",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{folder}/x.duckdb_extension'",
        "FORCE INSTALL spatial FROM community",
        "UPDATE EXTENSIONS",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '{folder}/a.csv'",
        'SELECT * FROM "{folder}/a.csv"',
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('{folder}/a.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/*')",
        "SELECT * FROM read_json('{folder}/a.json')",
        "SELECT * FROM read_ndjson_objects('{folder}/a.json')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELECT * FROM parquet_metadata('{folder}/x.parquet')",
        "SELECT * FROM read_duckdb('{folder}/a.duckdb')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "FROM 'https://example.org/x.csv'",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM which_secret('s3://x', 's3')",
        "SELECT getenv('HOME')",
    ],
    "strings run as SQL, and what reads tables by name": [
        "SELECT * FROM query('SELECT * FROM secret')",
        "SELECT * FROM \"query\"('DELETE FROM boat')",
        "SELECT * FROM query_table('secret')",
        "SELECT * FROM query_table(['boat', 'secret'])",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "PRAGMA json_execute_serialized_sql('x')",
        "SELECT * FROM seq_scan('secret')",
        "SELECT * FROM pragma_storage_info('secret')",
        "SELECT * FROM histogram('secret', 'word')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_logs()",
        "SELECT * FROM summary((SELECT 1))",
        "PIVOT (FROM query('SELECT 1 AS a')) ON a USING count(*)",
        "PIVOT (FROM main.\"query\" /* x */ ('SELECT 1 AS a')) ON a USING count(*)",
        "SELECT getvariable('x')",
        "SELECT sleep_ms(10)",
        "SELECT pg_sleep(1)",
    ],
    "several": [
        "SELECT 1; DELETE FROM boat",
        "COMMIT; DELETE FROM boat",
        "SELECT 1; SELECT 2",
        "SELECT 1;\x00 DELETE FROM boat",
        "SELECT 1\x00; DELETE FROM boat",
    ],
}
STATEMENTS = [sql for group in REFUSED.values() for sql in group]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, DuckDBEngine]]:
    """A folder of its own, in which nothing may change, and an engine over it."""
    folder = tmp_path_factory.mktemp("yard")
    (folder / "a.csv").write_text("a,b\n1,2\n")
    (folder / "a.json").write_text('[{"a": 1}]')
    with DuckDBEngine(make(folder / "a.duckdb")) as engine:
        yield folder, engine


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_engine_alone_refuses(
    yard: tuple[Path, DuckDBEngine], monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    folder, engine = yard
    monkeypatch.chdir(folder)
    before = state(folder)
    with pytest.raises(PlainsqlError) as caught:
        engine.run(sql.replace("{folder}", str(folder)))
    assert isinstance(caught.value, DeniedError | ExecutionError)
    assert "xyzzy" not in caught.value.message
    assert state(folder) == before
    rows = engine.run("SELECT count(*), (SELECT last_value FROM duckdb_sequences()) FROM boat")
    assert rows.rows == ((3, None),)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_database_in_memory_refuses_the_same(
    memory: DuckDBEngine, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    assert memory.path is not None
    folder = memory.path
    monkeypatch.chdir(folder)
    before = state(folder)
    with pytest.raises(PlainsqlError):
        memory.run(sql.replace("{folder}", str(folder)))
    assert state(folder) == before
    assert memory.run("SELECT count(*) FROM boat").rows == ((2,),)
    assert [t.name for t in memory.introspect().tables] == ["boat", "port"]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBEngine]:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "boat.csv").write_text("id,name\n1,Gull\n2,Tern\n")
    (folder / "port.json").write_text('[{"id": 1, "town": "Kiel"}]')
    with DuckDBEngine(folder) as engine:
        yield engine


# What holds when the statement isn't looked at: settings and read-only alone.
@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM boat",
        "WITH d AS (DELETE FROM boat RETURNING *) SELECT * FROM d",
        "EXPLAIN ANALYZE DELETE FROM boat",
        "CREATE TABLE t (a INT)",
        "COPY boat TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/all'",
        "ATTACH '{folder}/new.db'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '{folder}/a.csv'",
        "SELECT * FROM glob('/etc/*')",
        "LOAD httpfs",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET temp_directory = '{folder}/spill'",
        "SET log_query_path = '{folder}/log'",
        "PRAGMA profile_output = '{folder}/profile'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "SELECT * FROM folder",
    ],
)
def test_the_settings_alone_refuse(
    yard: tuple[Path, DuckDBEngine], memory: DuckDBEngine, kind: str, sql: str
) -> None:
    folder, engine = yard
    engine = engine if kind == "file" else memory
    assert engine._opened is not None
    before = state(folder)
    with engine._opened.connection.cursor() as cursor:
        if kind == "memory":
            cursor.execute("BEGIN TRANSACTION READ ONLY")
        with pytest.raises(duckdb.Error):
            cursor.execute(sql.replace("{folder}", str(folder))).fetchall()
    assert state(folder) == before
    assert engine.run("SELECT count(*) > 1 FROM boat").rows == ((True,),)


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_nothing_is_spilled_to_disk(
    yard: tuple[Path, DuckDBEngine],
    memory: DuckDBEngine,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    folder, engine = yard
    engine = engine if kind == "file" else memory
    monkeypatch.chdir(folder)
    before = state(folder)
    with pytest.raises(ResourceLimit):
        engine.run("SELECT list(a.range) FROM range(100000) a, range(100000) b", timeout=20)
    assert state(folder) == before
    assert engine.run("SELECT 1").rows == ((1,),)


# The scope.
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM secret",
        'SELECT * FROM "SECRET"',
        "SELECT * FROM main.secret",
        "SELECT * FROM boats.main.secret",
        "SELECT * FROM boats.secret",
        "SELECT * FROM yard.secret",
        "SELECT * FROM number",
        "SELECT * FROM word_count",
        "SELECT 1 WHERE 'xyzzy' IN (SELECT word FROM secret)",
        "SELECT (SELECT max(word) FROM secret)",
        "SELECT id FROM boat ORDER BY (SELECT max(word) FROM secret)",
        "SELECT id FROM boat LIMIT (SELECT max(id) FROM secret)",
        "SELECT count(*) FILTER (WHERE EXISTS (FROM secret)) FROM boat",
        "SELECT * FROM boat UNION ALL BY NAME SELECT * FROM secret",
        "SELECT * FROM boat POSITIONAL JOIN secret",
        "FROM boat SEMI JOIN secret USING (id)",
        "WITH a AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM a",
        "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret",
        "SELECT * FROM boat WHERE id IN (WITH secret AS (SELECT 1) FROM secret) OR 1 IN "
        "(SELECT id FROM secret)",
        "DESCRIBE secret",
        "SUMMARIZE secret",
        "SELECT * FROM (SUMMARIZE secret)",
        "SHOW secret",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "PIVOT secret ON word USING count(*)",
        "PIVOT (FROM secret) ON word IN ('xyzzy') USING count(*)",
        "UNPIVOT secret ON COLUMNS(*)",
        "SELECT [x FOR x IN (SELECT list(word) FROM secret)]",
        "EXPLAIN SELECT * FROM secret WHERE word > 'a'",
        "SELECT * FROM crane",
        "SELECT * FROM 'secret'",
        "SELECT * FROM pragma_table_info('secret')",
        "PIVOT secret/**/ON word USING count(*)",
        "PIVOT 'secret' ON word USING count(*)",
        "PIVOT E's\\x65cret' ON word USING count(*)",
        "PIVOT $$secret$$ ON word USING count(*)",
        'PIVOT main . "secret" ON word USING count(*)',
        'PIVOT "old secret" ON word USING count(*)',
        'SELECT * FROM "old secret"',
    ],
)
def test_tables_outside_the_scope(path: Path, sql: str) -> None:
    permitted = frozenset({"BOAT", "harbour", "yard.crane"})
    with DuckDBEngine(path, tables=permitted) as engine, pytest.raises(PlainsqlError) as caught:
        engine.run(sql)
    assert isinstance(caught.value, DeniedError | ExecutionError)
    assert "xyzzy" not in str(caught.value)
    assert "number" not in caught.value.hint  # names of other tables are no hints


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM boat",
        "SELECT count(*) FROM boats.main.BOAT",
        "FROM harbour",
        "SELECT load FROM yard.crane",
        "WITH secret AS (SELECT 1 AS n) SELECT n FROM secret",
        "WITH c AS (SELECT name FROM boat) SELECT count(*) FROM c",
        "SELECT * FROM range(3)",
        "DESCRIBE boat",
        "PIVOT boat ON name USING count(*)",
    ],
)
def test_tables_in_the_scope(path: Path, sql: str) -> None:
    permitted = frozenset({"Boat", "harbour", "yard.crane"})
    with DuckDBEngine(path, tables=permitted) as engine:
        assert engine.run(sql).rows


HOSTILE = """
CREATE TABLE secret (w VARCHAR);
CREATE SEQUENCE counter;
CREATE VIEW passwords AS SELECT * FROM read_text('/etc/passwd');
CREATE MACRO run(sql) AS TABLE SELECT * FROM query(sql);
CREATE MACRO load(file) AS TABLE SELECT * FROM read_text(file);
CREATE MACRO next() AS nextval('counter');
"""


@pytest.mark.parametrize(
    "sql",
    [
        "FROM passwords",
        "FROM load('/etc/passwd')",
        "FROM run('SELECT * FROM read_text(''/etc/passwd'')')",
        "FROM run('COPY secret TO ''{folder}/out.csv''')",
        "FROM run('INSERT INTO secret VALUES (1)')",
        "FROM run('SELECT 1; DELETE FROM secret')",
        "SELECT next()",
    ],
)
def test_a_hostile_database(tmp_path: Path, sql: str) -> None:
    """What views and macros do is their author's, but it ends at the settings."""
    path = make(tmp_path / "h.duckdb", HOSTILE)
    before = state(tmp_path)
    with DuckDBEngine(path) as engine, pytest.raises(PlainsqlError) as caught:
        engine.run(sql.replace("{folder}", str(tmp_path)))
    assert isinstance(caught.value, DeniedError | ExecutionError)
    assert "root:" not in str(caught.value)
    assert state(tmp_path) == before
