"""PostgreSQL as an engine, on a real server: reading, refusing, stopping, forgetting.

No statement here passes the guard first: what is shown is what the engine does
by itself, for a role that may only read and for the owner of the tables.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from plainsql.errors import (
    ConnectError,
    ConnectionLost,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    QueryTimeout,
    ResourceLimit,
    UsageError,
)
from plainsql.execution.limits import Limits
from plainsql.execution.targets import parse_target
from servers import PostgreSQLServer, program, started_postgresql

pytest.importorskip("psycopg")
import psycopg

from plainsql.execution.grants import examine_role
from plainsql.execution.postgresql import PostgreSQLEngine
from plainsql.execution.postgresql_types import iso_moment

BAKERY = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE place AS (street text, number int);
CREATE TABLE baker (baker_id int PRIMARY KEY, name text NOT NULL, mood mood, born date);
CREATE TABLE bread (
    bread_id int PRIMARY KEY, baker_id int REFERENCES baker, price numeric(6, 2), baked timestamptz
);
CREATE TABLE secret (word text);
CREATE SEQUENCE numbers;
CREATE FUNCTION promote() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
INSERT INTO baker VALUES (1, 'Ann', 'ok', '1980-02-29'), (2, 'Bo', NULL, NULL);
INSERT INTO bread
    SELECT g, 1 + g % 2, g * 1.25, '2024-05-01 10:00+02' FROM generate_series(1, 20) g;
INSERT INTO secret VALUES ('sesame');
"""
DATABASE = "bakery"
OWNER_PASSWORD = "0wner-of-the-tables"


@pytest.fixture(scope="module")
def server(postgresql_server: PostgreSQLServer) -> PostgreSQLServer:
    """The session's server with the bakery, whose tables belong to a role `bakers`."""
    found = postgresql_server
    found.create(DATABASE, BAKERY)
    found.sql(
        f"""REVOKE SELECT ON secret FROM {found.reader};
        REVOKE EXECUTE ON FUNCTION promote() FROM PUBLIC;
        DROP ROLE IF EXISTS bakers; CREATE ROLE bakers LOGIN PASSWORD '{OWNER_PASSWORD}';
        ALTER TABLE baker OWNER TO bakers; ALTER TABLE bread OWNER TO bakers;
        ALTER TABLE secret OWNER TO bakers; ALTER SEQUENCE numbers OWNER TO bakers;
        GRANT CONNECT, TEMP, CREATE ON DATABASE {DATABASE} TO bakers;
        GRANT ALL ON SCHEMA public TO bakers""",
        DATABASE,
    )
    return found


def owner_url(server: PostgreSQLServer) -> str:
    return f"postgresql://bakers:{OWNER_PASSWORD}@{server.host}:{server.port}/{DATABASE}"


@pytest.fixture
def engine(server: PostgreSQLServer) -> Iterator[PostgreSQLEngine]:
    with PostgreSQLEngine(server.url(DATABASE)) as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(server: PostgreSQLServer) -> Iterator[psycopg.Connection]:
    """A superuser's own connection to the bakery."""
    with server.connect(DATABASE) as connection:
        yield connection


@pytest.fixture(scope="module", params=["reader", "owner", "superuser"])
def anyone(request: pytest.FixtureRequest, server: PostgreSQLServer) -> Iterator[PostgreSQLEngine]:
    """The engine as a role that may read, as the tables' owner, and as a superuser."""
    urls = {
        "reader": server.url(DATABASE),
        "owner": owner_url(server),
        "superuser": server.url(DATABASE, admin=True),
    }
    with PostgreSQLEngine(urls[request.param]) as opened:
        yield opened


def running(server: PostgreSQLServer) -> list[str]:
    """Statements that the server is working on in the bakery."""
    with server.connect("postgres") as connection:
        return running_seen_by(connection)


def running_seen_by(connection: psycopg.Connection) -> list[str]:
    sql = (
        "SELECT query FROM pg_stat_activity"
        " WHERE datname = %s AND state = 'active' AND pid <> pg_backend_pid()"
    )
    return [query for (query,) in connection.execute(sql, [DATABASE])]


def soon(done: Callable[[], bool], seconds: float = 2.0) -> bool:
    """Whether something comes true within `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# Reading


def test_rows_columns_and_the_cut(engine: PostgreSQLEngine) -> None:
    rows = engine.run("SELECT name, name FROM baker ORDER BY baker_id")
    assert rows.columns == ("name", "name")
    assert rows.rows == (("Ann", "Ann"), ("Bo", "Bo"))
    assert not rows.truncated
    cut = engine.run("SELECT bread_id FROM bread ORDER BY 1", limit=3)
    assert (cut.rows, cut.truncated) == (((1,), (2,), (3,)), True)
    empty = engine.run("SELECT baker_id AS a, name FROM baker WHERE false")
    assert (empty.columns, empty.rows, empty.truncated) == (("a", "name"), (), False)


@pytest.mark.parametrize("sql", ["VALUES (1)", "TABLE baker", "EXPLAIN SELECT 1", "SELECT 1;"])
def test_what_else_gives_rows(engine: PostgreSQLEngine, sql: str) -> None:
    assert engine.run(sql).rows


def test_the_name_has_no_login(engine: PostgreSQLEngine, server: PostgreSQLServer) -> None:
    assert engine.name == f"postgresql://127.0.0.1:{server.port}/{DATABASE}"
    assert server.reader_password not in repr(engine.target)


def test_a_plan_is_shown_and_nothing_run(engine: PostgreSQLEngine) -> None:
    plan = engine.explain("SELECT count(*) FROM baker")
    assert "Seq Scan on baker" in plan
    assert plan.splitlines()[1].startswith("  ")


# expression -> cell. None of these values is like those of other databases.
VALUES: list[tuple[str, object]] = [
    ("NULL", None),
    ("true", True),
    ("9223372036854775807", 2**63 - 1),
    ("9223372036854775808", Decimal(2**63)),
    ("0.10::numeric(5, 2)", Decimal("0.10")),
    ("'NaN'::numeric", "NaN"),
    ("'-Infinity'::numeric", Decimal("-Infinity")),
    ("10::numeric ^ 1000", Decimal(10**1000)),
    ("1e300::float8", 1e300),
    ("0.1::float4", 0.1),
    ("'Infinity'::float8", float("inf")),
    ("'1980-02-29'::date", "1980-02-29"),
    ("'0044-03-15 BC'::date", "0044-03-15 BC"),
    ("'infinity'::date", "infinity"),
    ("'9999-12-31'::date", "9999-12-31"),
    ("'12024-01-01'::date", "12024-01-01"),
    ("'2024-05-01 10:00'::timestamp", "2024-05-01T10:00:00"),
    ("'2024-05-01 10:00:00.5'::timestamp", "2024-05-01T10:00:00.500000"),
    ("'0044-03-15 10:00 BC'::timestamp", "0044-03-15T10:00:00 BC"),
    ("'-infinity'::timestamptz", "-infinity"),
    ("'2024-05-01 10:00+02'::timestamptz AT TIME ZONE 'UTC'", "2024-05-01T08:00:00"),
    ("'24:00'::time", "24:00:00"),
    ("'10:00+05:30'::timetz", "10:00:00+05:30"),
    ("'1 year 2 mons 3 days 4:05:06.7'::interval", "1 year 2 mons 3 days 04:05:06.7"),
    ("""'{"b": 1.10, "a": [1e3, "x  y"]}'::jsonb""", '{"a":[1000,"x  y"],"b":1.10}'),
    (r"""'{"a" : "\" é"}'::json""", r'{"a":"\" é"}'),
    ("ARRAY[1, NULL, 3]", "[1,null,3]"),
    ("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    ("'{}'::int[]", "[]"),
    ("ARRAY['a b', 'c\"d', '{}']", '["a b","c\\"d","{}"]'),
    ("ARRAY['2024-05-01'::date]", '["2024-05-01"]'),
    ("'happy'::mood", "happy"),
    ("ARRAY['sad', 'ok']::mood[]", '["sad","ok"]'),
    ("ROW('Main St', 7)::place", '{"street":"Main St","number":7}'),
    ("ROW(1, NULL, 'a,\"b')", '["1",null,"a,\\"b"]'),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'10.0.0.1'::inet", "10.0.0.1"),
    ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
    ("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
    (r"'\x00ff'::bytea", b"\x00\xff"),
    ("B'101'", "101"),
    ("1234.5::money", "$1,234.50"),
    ("int4range(1, 5)", "[1,5)"),
    ("'{[1,3),[5,7)}'::int4multirange", "{[1,3),[5,7)}"),
    ("'a fat cat'::tsvector", "'a' 'cat' 'fat'"),
    ("'<a>x</a>'::xml", "<a>x</a>"),
    ("'é 😀 \u202e א'", "é 😀 \u202e א"),
    ("'pg_class'::regclass", "pg_class"),
    ("1::oid", 1),
]


@pytest.mark.parametrize(("expression", "cell"), VALUES, ids=[pair[0] for pair in VALUES])
def test_values_become_cells(engine: PostgreSQLEngine, expression: str, cell: object) -> None:
    ((found,),) = engine.run(f"SELECT {expression}").rows
    if cell == "NaN":
        assert isinstance(found, Decimal)
        assert found.is_nan()
    else:
        assert found == cell
        assert type(found) is type(cell)


def test_times_have_the_zone_of_the_server(server: PostgreSQLServer) -> None:
    server.sql(f"ALTER DATABASE {DATABASE} SET TimeZone = 'Asia/Kolkata'", "postgres")
    try:
        with PostgreSQLEngine(server.url(DATABASE)) as engine:
            sql = "SELECT '2024-05-01 10:00+02'::timestamptz"
            assert engine.run(sql).rows == (("2024-05-01T13:30:00+05:30",),)
    finally:
        server.sql(f"ALTER DATABASE {DATABASE} RESET TimeZone", "postgres")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("1900-01-01 00:00:00+00:19:32", "1900-01-01T00:00:00+00:19:32"),
        ("2024-05-01 10:00:00-03 BC", "2024-05-01T10:00:00-03:00 BC"),
        ("10:00:00.123456", "10:00:00.123456"),
        ("infinity", "infinity"),
    ],
)
def test_moments_in_iso_form(text: str, iso: str) -> None:
    assert iso_moment(text) == iso


def test_text_of_a_database_without_an_encoding(server: PostgreSQLServer) -> None:
    with server.connect("postgres") as admin:
        admin.execute("DROP DATABASE IF EXISTS bytes")
        admin.execute(
            "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
            " TEMPLATE template0"
        )
    with PostgreSQLEngine(server.url("bytes", admin=True)) as engine:
        assert engine.run(r"SELECT E'caf\xe9', ARRAY[E'\xff']").rows == (
            ("caf\ufffd", '["\ufffd"]'),
        )


def test_settings_of_a_role_change_no_values(server: PostgreSQLServer) -> None:
    """Nor how literals are read: the guard reads a backslash as itself."""
    settings = ["DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'", "bytea_output = 'escape'"]
    settings += ["standard_conforming_strings = off", "extra_float_digits = -10"]
    for setting in settings:
        server.sql(f"ALTER ROLE {server.reader} SET {setting}", "postgres")
    try:
        with PostgreSQLEngine(server.url(DATABASE)) as engine:
            rows = engine.run(
                r"SELECT '2024-05-01'::date, '1 day'::interval, '\x41'::bytea, 'a\n', 0.1::float8"
            ).rows
        assert rows == (("2024-05-01", "1 day", b"A", r"a\n", 0.1),)
    finally:
        server.sql(f"ALTER ROLE {server.reader} RESET ALL", "postgres")


# Streaming


def test_a_stream_gives_batches(engine: PostgreSQLEngine) -> None:
    with engine.stream("SELECT g, g::text FROM generate_series(1, 1000) g") as stream:
        assert stream.columns == ("g", "g")
        batches = list(stream)
    assert [row for batch in batches for row in batch] == [(g, str(g)) for g in range(1, 1001)]
    assert 1 < len(batches) <= 1000


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"


def test_leaving_a_stream_cancels_it(engine: PostgreSQLEngine, server: PostgreSQLServer) -> None:
    with engine.stream("SELECT generate_series(1, 1000000000)") as stream:
        assert next(iter(stream))
        assert running(server)
        started = time.monotonic()
    assert time.monotonic() - started < 0.5
    assert not running(server)
    assert engine.run("SELECT 1").rows == ((1,),)


def test_an_error_of_the_reader_cancels_it_too(
    engine: PostgreSQLEngine, server: PostgreSQLServer
) -> None:
    with pytest.raises(ZeroDivisionError), engine.stream("SELECT generate_series(1, 1000000000)"):
        raise ZeroDivisionError
    assert not running(server)


def test_an_error_in_mid_stream_is_typed(engine: PostgreSQLEngine) -> None:
    with (
        pytest.raises(ExecutionError, match="division by zero"),
        engine.stream("SELECT 1 / (5000 - g) FROM generate_series(1, 9999) g") as stream,
    ):
        assert sum(len(batch) for batch in stream) < 5000
    assert engine.run("SELECT 1").rows == ((1,),)


def test_many_rows_in_constant_memory(server: PostgreSQLServer) -> None:
    code = (
        "import resource, sys\n"
        "from plainsql.execution.postgresql import PostgreSQLEngine\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with PostgreSQLEngine(sys.argv[1]) as engine:\n"
        "    engine.run('SELECT 1')\n"
        "    base = peak()\n"
        "    sql = \"SELECT g, 'row ' || g, g * 1.5 FROM generate_series(1, 300000) g\"\n"
        "    with engine.stream(sql, timeout=60) as stream:\n"
        "        assert sum(map(len, stream)) == 300000\n"
        "    assert peak() - base < 30_000, peak() - base\n"  # kB
    )
    subprocess.run([sys.executable, "-c", code, server.url(DATABASE)], check=True)


# Limits


@pytest.mark.parametrize(
    "sql",
    [
        ENDLESS,
        "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000) b",
        "SELECT max(length(repeat('x', n))) FROM (" + ENDLESS + ") AS r",
        "SELECT string_agg(repeat('x', 1000000), '') FROM generate_series(1, 1000000)",
        "SELECT length(string_agg(repeat(md5(n::text), 30000), '')) FROM (" + ENDLESS + ") AS r",
        "SELECT array_agg(repeat('x', 100000) || n) FROM (" + ENDLESS + ") AS r",
    ],
)
def test_the_deadline_stops(engine: PostgreSQLEngine, server: PostgreSQLServer, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises((QueryTimeout, ResourceLimit)):
        engine.run(sql, limit=1_000_000_000, timeout=0.3)
    assert time.monotonic() - started < 0.8  # 0.5 s when nothing else runs here
    assert soon(lambda: not running(server))
    assert engine.run("SELECT 1").rows == ((1,),)


@pytest.mark.skipif(sys.platform != "linux", reason="a process's size is told by /proc")
def test_a_huge_cell_is_not_read(server: PostgreSQLServer) -> None:
    code = (
        "import resource, sys\n"
        "from plainsql.errors import ResourceLimit\n"
        "from plainsql.execution.postgresql import PostgreSQLEngine\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with PostgreSQLEngine(sys.argv[1]) as engine:\n"
        "    engine.run('SELECT 1')\n"
        "    base = peak()\n"
        "    try:\n"
        "        engine.run(\"SELECT repeat('x', 300000000)\", timeout=30)\n"
        "    except ResourceLimit as error:\n"
        "        assert 'larger than 32 MB' in str(error)\n"
        "    else:\n"
        "        raise AssertionError\n"
        "    assert peak() - base < 50_000, peak() - base\n"
        "    assert engine.run('SELECT 1').rows == ((1,),)\n"
    )
    subprocess.run([sys.executable, "-c", code, server.url(DATABASE)], check=True)


def test_long_cells_and_large_results_are_cut(server: PostgreSQLServer) -> None:
    limits = Limits(result_bytes=5_000, cell_chars=1_000)
    with PostgreSQLEngine(server.url(DATABASE), limits=limits) as engine:
        rows = engine.run("SELECT repeat('é', 3000)")
        assert rows.rows == (("é" * 1000,),)
        assert rows.truncated
        rows = engine.run("SELECT repeat('x', 900) FROM generate_series(1, 100)")
        assert (len(rows.rows), rows.truncated) == (5, True)


def test_large_cells_below_the_limit_are_read(engine: PostgreSQLEngine) -> None:
    rows = engine.run("SELECT repeat('x', 3000000), n FROM generate_series(1, 40) n")
    assert rows.truncated
    assert [len(str(row[0])) for row in rows.rows] == [1_000_000] * 9


@pytest.mark.parametrize(
    ("sql", "limit", "timeout", "error"),
    [
        ("SELECT 1", 0, 1.0, UsageError),
        ("SELECT 1", 1, 0.0, UsageError),
        ("SELECT 1", 1, float("nan"), UsageError),
        ("SELECT " + "1 + " * 9000 + "1", 1, 1.0, ResourceLimit),
        ("SELECT 1\x00; DROP TABLE baker", 1, 1.0, DeniedError),
        ("SELECT '\ud800'", 1, 1.0, DeniedError),
    ],
)
def test_what_is_refused_before_it_is_run(
    engine: PostgreSQLEngine, sql: str, limit: int, timeout: float, error: type[PlainsqlError]
) -> None:
    with pytest.raises(error):
        engine.run(sql, limit=limit, timeout=timeout)


def test_waiting_for_a_lock_ends(engine: PostgreSQLEngine, server: PostgreSQLServer) -> None:
    with server.connect(DATABASE) as admin:
        admin.execute("BEGIN; LOCK TABLE bread IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ExecutionError, match="lock timeout") as caught:
            engine.run("SELECT count(*) FROM bread", timeout=5)
        assert "Another session" in caught.value.hint


# Refusing, whoever is connected

WRITES = """
INSERT INTO baker VALUES (9, 'Zed')
UPDATE bread SET price = 0
DELETE FROM bread
TRUNCATE bread
WITH gone AS (DELETE FROM bread RETURNING 1) SELECT count(*) FROM gone
WITH made AS (INSERT INTO baker VALUES (9, 'Zed') RETURNING 1) SELECT 1
MERGE INTO baker USING baker b ON false WHEN NOT MATCHED THEN INSERT VALUES (8, 'x')
CREATE TABLE evil (a int)
CREATE TABLE evil AS SELECT * FROM baker
SELECT * INTO evil FROM baker
CREATE TEMP TABLE baker (a int)
CREATE TEMP VIEW baker AS SELECT 1
CREATE FUNCTION evil() RETURNS int LANGUAGE sql AS 'SELECT 1'
CREATE ROLE evil SUPERUSER
CREATE EXTENSION dblink
ALTER TABLE baker ADD COLUMN evil int
ALTER ROLE CURRENT_USER SET statement_timeout = 0
ALTER ROLE CURRENT_USER PASSWORD 'evil'
ALTER SYSTEM SET work_mem = '1GB'
ALTER DATABASE bakery SET statement_timeout = 0
DROP TABLE bread
GRANT ALL ON secret TO PUBLIC
COMMENT ON TABLE baker IS 'evil'
SELECT nextval('numbers')
SELECT setval('numbers', 99)
SELECT * FROM baker FOR UPDATE
COPY baker FROM '/etc/passwd'
COPY baker TO '{folder}/evil'
COPY baker TO PROGRAM 'touch {folder}/evil'
COPY baker TO STDOUT
COPY baker FROM STDIN
DO $$ BEGIN DELETE FROM bread; END $$
CALL evil()
PREPARE evil AS DELETE FROM bread
EXECUTE evil
EXPLAIN ANALYZE DELETE FROM bread
LOCK TABLE bread
NOTIFY evil
LISTEN evil
VACUUM
ANALYZE bread
REINDEX TABLE bread
CLUSTER
CHECKPOINT
LOAD 'evil'
DISCARD ALL
SET default_transaction_read_only = off
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
SET TRANSACTION READ WRITE
SET ROLE postgres
RESET ALL
BEGIN READ WRITE
COMMIT
ROLLBACK
SAVEPOINT evil
PREPARE TRANSACTION 'evil'
SELECT 1; DELETE FROM bread
COMMIT; DELETE FROM bread
;DELETE FROM bread
/* */ DELETE FROM bread
"""


@pytest.mark.parametrize("sql", WRITES.strip().splitlines())
def test_writes_are_refused_without_effect(
    anyone: PostgreSQLEngine, server: PostgreSQLServer, admin: psycopg.Connection, sql: str
) -> None:
    before = state(server, admin)
    with pytest.raises((DeniedError, ExecutionError)):
        anyone.run(sql.replace("{folder}", str(server.folder)), timeout=5)
    assert state(server, admin) == before
    assert_clean(anyone, admin)


# These run, since nothing but the guard refuses them: what they do must not last.
LEFTOVERS = """
SELECT set_config('default_transaction_read_only', 'off', false)
SELECT set_config('transaction_read_only', 'on', false)
SELECT set_config('statement_timeout', '0', false)
SELECT set_config('search_path', 'pg_temp, evil', false)
SELECT set_config('standard_conforming_strings', 'off', false)
SELECT set_config('TimeZone', 'Asia/Tokyo', false)
SELECT set_config('row_security', 'off', false)
SELECT pg_advisory_lock(1)
SELECT pg_advisory_lock(1, 2), pg_advisory_lock_shared(3), pg_advisory_xact_lock(4)
SELECT pg_notify('evil', 'x')
SELECT pg_export_snapshot()
EXPLAIN ANALYZE CREATE TABLE evil AS SELECT 1
SELECT pg_logical_emit_message(true, 'evil', 'x')
SELECT lo_create(0)
SELECT lo_from_bytea(0, 'evil')
"""


@pytest.mark.parametrize("sql", LEFTOVERS.strip().splitlines())
def test_nothing_outlasts_a_query(
    anyone: PostgreSQLEngine, server: PostgreSQLServer, admin: psycopg.Connection, sql: str
) -> None:
    before = state(server, admin)
    with suppress(DeniedError, ExecutionError):  # newer servers refuse some of them
        anyone.run(sql, timeout=5)
    assert state(server, admin) == before
    assert_clean(anyone, admin)


def state(server: PostgreSQLServer, admin: psycopg.Connection) -> list[object]:
    """What a statement could have changed on the server, in the database, in its folder."""
    queries = (
        "SELECT baker_id, name FROM baker ORDER BY 1",
        "SELECT count(*), sum(price) FROM bread",
        "SELECT last_value, is_called FROM numbers",
        "SELECT oid, relname, relacl::text, reloptions::text FROM pg_class"
        " WHERE oid >= 16384 ORDER BY 1",
        "SELECT proname FROM pg_proc WHERE oid >= 16384",
        "SELECT rolname, rolsuper, rolpassword FROM pg_authid ORDER BY 1",
        "SELECT setconfig FROM pg_db_role_setting ORDER BY 1",
        "SELECT oid FROM pg_largeobject_metadata",
        "SELECT extname FROM pg_extension ORDER BY 1",
        "SELECT datname FROM pg_database ORDER BY 1",
        "SELECT gid FROM pg_prepared_xacts",
        "SELECT obj_description('baker'::regclass)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT count(*) FROM pg_ls_dir('pg_snapshots')",
    )
    found: list[object] = [admin.execute(query).fetchall() for query in queries]
    files = sorted(path.name for path in server.folder.iterdir())
    automatic = server.folder / "data" / "postgresql.auto.conf"
    return [*found, files, automatic.read_text()]


def assert_clean(engine: PostgreSQLEngine, admin: psycopg.Connection) -> None:
    """The next query finds the session as if it were the first."""
    names = (
        "default_transaction_read_only", "transaction_read_only", "standard_conforming_strings",
        "row_security", "search_path", "TimeZone",
    )  # fmt: skip
    settings = ", ".join(f"current_setting('{name}')" for name in names)
    ((*on, path, zone),) = engine.run(f"SELECT {settings}").rows
    assert (on, path) == (["on"] * 4, "public, pg_temp")
    assert zone != "Asia/Tokyo"
    assert engine.run("SELECT count(*) FROM baker").rows == ((2,),)
    assert not running_seen_by(admin)


def test_other_tables_are_the_roles_matter(engine: PostgreSQLEngine) -> None:
    for sql in ("SELECT * FROM secret", "SELECT * FROM pg_authid", "SELECT promote()"):
        with pytest.raises(DeniedError, match="permission denied"):
            engine.run(sql)


# Errors


@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        ("SELECT nam FROM baker", "column 8: “nam FROM baker”", "baker.name"),
        ("SELECT b.pric\nFROM bread b", "line 1, column 8", "bread.price"),
        ("SELECT 1\nFROM  bred", "line 2, column 7: “bred”", "Did you mean bread"),
        ("SELECT 1 FROM zzz", "zzz", "The tables are baker, bread"),
        ("SELECT baker_id FROM baker, bread", "ambiguous", "table.column"),
        ("SELECT name, count(*) FROM baker", "GROUP BY", "GROUP BY"),
        ("SELECT median(1)", "median", "no such function"),
        ("SELECT 1 WHERE 'a' + 1", "invalid input syntax", ""),
        ("SELEC 1", "syntax error", ""),
        ("SELECT 1 / 0", "division by zero", ""),
    ],
)
def test_errors_say_where_and_what_else(
    engine: PostgreSQLEngine, sql: str, message: str, hint: str
) -> None:
    with pytest.raises(ExecutionError) as caught:
        engine.run(sql)
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_failed_query_leaves_the_engine_usable(engine: PostgreSQLEngine) -> None:
    for _ in range(3):
        with pytest.raises(ExecutionError):
            engine.run("SELECT nope")
        assert engine.run("SELECT 1").rows == ((1,),)


def test_a_closed_engine_says_so(server: PostgreSQLServer) -> None:
    engine = PostgreSQLEngine(server.url(DATABASE))
    engine.close()
    engine.close()
    with pytest.raises(ConnectError, match="closed"):
        engine.run("SELECT 1")


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("{password}", "canary-wr0ng-secret"), "refused the password of the user", "PGPASSWORD"),
        (("{user}", "nobody_here"), "nobody_here", ""),
        (("{database}", "nowhere"), "no database nowhere", "last slash"),
        (("{port}", "1"), "No PostgreSQL server answers on 127.0.0.1, port 1", "port"),
        (("{host}", "no-such-host.invalid"), "no host called no-such-host.invalid", "URL"),
    ],
)
def test_what_can_be_wrong_with_a_url(
    server: PostgreSQLServer, change: tuple[str, str], message: str, hint: str
) -> None:
    url = "postgresql://{user}:{password}@{host}:{port}/{database}".replace(*change)
    url = url.format(
        user=server.reader, password=server.reader_password, host=server.host, port=server.port,
        database=DATABASE,
    )  # fmt: skip
    with pytest.raises(ConnectError) as caught:
        PostgreSQLEngine(url)
    assert message in str(caught.value)
    assert hint in caught.value.hint
    assert str(caught.value).count("\n") == 0
    shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert "canary" not in shown


def test_the_password_may_come_from_the_environment(
    server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", server.reader_password)
    monkeypatch.setenv(
        "PGOPTIONS", "-c default_transaction_read_only=off -c search_path=pg_catalog"
    )
    url = f"postgresql://{server.reader}@{server.host}:{server.port}/{DATABASE}"
    with PostgreSQLEngine(url) as engine:
        sql = "SELECT count(*), current_setting('default_transaction_read_only') FROM baker"
        assert engine.run(sql).rows == ((2, "on"),)


@pytest.mark.parametrize(
    "parameter",
    ["options=-c%20work_mem=1GB", "service=x", "passfile=/etc/passwd", "sslkey=/x", "nope=1"],
)
def test_dangerous_parameters_are_refused(server: PostgreSQLServer, parameter: str) -> None:
    with pytest.raises(UsageError):
        parse_target(f"{server.url(DATABASE)}?{parameter}")


# Servers that go away, other threads, Ctrl-C


def terminate(server: PostgreSQLServer) -> None:
    with server.connect("postgres") as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [DATABASE]
        )


def test_an_idle_connection_may_be_ended(
    engine: PostgreSQLEngine, server: PostgreSQLServer
) -> None:
    assert engine.run("SELECT 1").rows == ((1,),)
    terminate(server)
    assert engine.run("SELECT 2").rows == ((2,),)


def later(action: Callable[[], None], server: PostgreSQLServer) -> threading.Thread:
    """Do something as soon as a statement runs on the server."""

    def wait_and_act() -> None:
        soon(lambda: bool(running(server)), 5)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_connection_ended_in_mid_query_is_lost(
    engine: PostgreSQLEngine, server: PostgreSQLServer
) -> None:
    thread = later(lambda: terminate(server), server)
    with pytest.raises(ConnectionLost, match="lost"):
        engine.run(f"SELECT count(*) FROM ({ENDLESS}) AS r", timeout=10)
    thread.join()
    assert engine.run("SELECT 1").rows == ((1,),)


def test_cancelled_by_somebody_else(engine: PostgreSQLEngine, server: PostgreSQLServer) -> None:
    def cancel() -> None:
        with server.connect("postgres") as admin:
            admin.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = %s", [DATABASE]
            )

    thread = later(cancel, server)
    with pytest.raises(ExecutionError, match="user request"):
        engine.run(f"SELECT count(*) FROM ({ENDLESS}) AS r", timeout=10)
    thread.join()


def test_a_server_that_is_stopped_and_started_again() -> None:
    server = started_postgresql()
    try:
        with PostgreSQLEngine(server.url_admin) as engine:
            server.stop()  # as pg_ctl stop -m immediate
            with pytest.raises(ConnectError, match="No PostgreSQL server answers"):
                engine.run("SELECT 1", timeout=5)
            server.start()
            assert engine.run("SELECT 1").rows == ((1,),)
            thread = threading.Timer(0.3, server.stop)
            thread.start()
            with pytest.raises(ConnectionLost):
                engine.run(f"SELECT count(*) FROM ({ENDLESS}) AS r", timeout=10)
            thread.join()
    finally:
        server.close()


def test_threads_take_turns(engine: PostgreSQLEngine) -> None:
    answers: dict[int, object] = {}

    def ask(number: int) -> None:
        for _ in range(20):
            answers[number] = engine.run(f"SELECT {number} FROM generate_series(1, 300)").rows

    threads = [threading.Thread(target=ask, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: ((number,),) * 300 for number in range(6)}


def test_a_turn_is_waited_for_until_the_deadline(engine: PostgreSQLEngine) -> None:
    with engine.stream("SELECT generate_series(1, 100000)"):
        started = time.monotonic()
        with pytest.raises(QueryTimeout):
            engine.run("SELECT 1", timeout=0.1)
        assert time.monotonic() - started < 0.4


def test_closing_ends_a_stream(server: PostgreSQLServer) -> None:
    engine = PostgreSQLEngine(server.url(DATABASE))
    with engine.stream("SELECT generate_series(1, 100000000)") as stream:
        batches = iter(stream)
        assert next(batches)
        engine.close()
        with pytest.raises(ConnectionLost):
            list(batches)
    assert soon(lambda: not running(server))


def test_a_secure_connection(tmp_path: Path) -> None:
    openssl = program("openssl", "apt-get install openssl")
    server = started_postgresql()
    try:
        key, certificate = server.folder / "key.pem", server.folder / "certificate.pem"
        subprocess.run(
            [
                openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out",
                certificate,
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        for file in (key, certificate):
            shutil.chown(file, server.folder.owner(), server.folder.group())
            file.chmod(0o600)
        (tmp_path / "root.pem").write_bytes(certificate.read_bytes())
        server.stop()
        server.command += ["-c", "ssl=on", "-c", f"ssl_key_file={key}"]
        server.command += ["-c", f"ssl_cert_file={certificate}"]
        server.start()
        secure = f"{server.url_admin}?sslmode=verify-full&sslrootcert="
        with PostgreSQLEngine(f"{secure}{tmp_path}/root.pem") as engine:
            assert engine.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").rows
            for size in (1, 8_000, 16_384, 40_000, 900_000):
                sql = f"SELECT repeat('x', {size}) FROM generate_series(1, 10)"
                assert engine.run(sql).rows == (("x" * size,),) * 10
            with pytest.raises(ResourceLimit):
                engine.run("SELECT repeat('x', 100000000)")
        with pytest.raises(ConnectError, match="secure connection"):
            PostgreSQLEngine(f"{secure}{tmp_path}/nothing.pem")
    finally:
        server.close()


def test_ctrl_c_leaves_nothing_running(server: PostgreSQLServer, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from plainsql.execution.postgresql import PostgreSQLEngine\n"
        "with PostgreSQLEngine(sys.argv[1]) as engine:\n"
        f"    engine.run('SELECT count(*) FROM ({ENDLESS}) AS r', timeout=60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.url(DATABASE)], stderr=subprocess.DEVNULL
    )
    assert soon(lambda: bool(running(server)), 10)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT
    assert time.monotonic() - started < 2
    assert not running(server)


# Roles


def test_protections_name_what_the_role_has_too_much(server: PostgreSQLServer) -> None:
    def missing(url: str) -> set[str]:
        with PostgreSQLEngine(url) as engine:
            return {found.name for found in engine.protections() if not found.active}

    assert missing(server.url(DATABASE)) == {"role is read-only by default"}
    assert {"role owns no tables", "role can't write", "role can't create"} <= missing(
        owner_url(server)
    )
    assert {"role is no superuser", "no server groups"} <= missing(server.url(DATABASE, admin=True))


def test_the_sql_for_a_role_makes_one_that_lacks_nothing(server: PostgreSQLServer) -> None:
    server.create(
        "granting", BAKERY + 'CREATE SCHEMA "Odd ""one"; CREATE TABLE "Odd ""one"."a b" (x int);'
    )
    server.sql("GRANT EXECUTE ON FUNCTION promote() TO PUBLIC", "granting")
    with PostgreSQLEngine(server.url("granting", admin=True)) as engine:
        script = engine.grant_sql(role="asker")
        only = engine.grant_sql(frozenset({"baker"}))
    assert "promote()" in script
    assert '"bread"' in script
    assert '"bread"' not in only
    server.sql("DROP ROLE IF EXISTS asker", "postgres")
    server.sql(script + "ALTER ROLE asker PASSWORD 'pw-of-asker'", "granting")
    url = f"postgresql://asker:pw-of-asker@{server.host}:{server.port}/granting"
    try:
        with PostgreSQLEngine(url) as engine:
            assert all(found.active for found in examine_role(engine._catalogue))
            assert engine.run('SELECT count(*) FROM "Odd ""one"."a b"').rows == ((0,),)
            assert engine.run("SELECT count(*) FROM baker").rows == ((2,),)
    finally:
        server.sql("DROP OWNED BY asker; DROP ROLE asker", "granting")
