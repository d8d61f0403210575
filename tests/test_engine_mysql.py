"""The MySQL engine alone, against a real MariaDB: values, limits, errors, what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plainsql.errors import (
    ConnectError,
    ConnectionLost,
    DeniedError,
    ExecutionError,
    QueryTimeout,
    ResourceLimit,
    UsageError,
)
from plainsql.execution import Engine, open_engine, run_guarded
from plainsql.execution.limits import Limits
from servers import MariaDBServer

pytest.importorskip("pymysql", reason="pip install 'plainsql[mysql]'")

from plainsql.execution.mysql import MySQLEngine

SCRIPT = r"""
CREATE TABLE port (id INT PRIMARY KEY, town VARCHAR(40) COMMENT 'where it is');
CREATE TABLE boat (
    id INT PRIMARY KEY, name VARCHAR(40), length DOUBLE, port_id INT,
    FOREIGN KEY (port_id) REFERENCES port (id)
);
CREATE TABLE number (n INT PRIMARY KEY);
CREATE TABLE secret (word VARCHAR(20));
CREATE SEQUENCE ticket;
INSERT INTO port VALUES (1, 'Kiel'), (2, 'Cork');
INSERT INTO boat VALUES (1, 'Möwe', 7.5, 1), (2, 'Gull', 31, 2), (3, NULL, NULL, 2);
INSERT INTO number SELECT seq FROM seq_1_to_3000;
INSERT INTO secret VALUES ('xyzzy');
CREATE PROCEDURE adds() BEGIN
    START TRANSACTION READ WRITE; INSERT INTO port VALUES (99, 'x'); COMMIT;
END;
CREATE FUNCTION added() RETURNS INT BEGIN INSERT INTO port VALUES (98, 'x'); RETURN 1; END;
CREATE TABLE odd (id INT PRIMARY KEY, tiny BOOLEAN, one BIT(1), eight BIT(8), big BIGINT UNSIGNED,
    exact DECIMAL(65, 30), real4 FLOAT, real8 DOUBLE, day DATE, moment DATETIME(6),
    stamp TIMESTAMP(3) NULL, span TIME(2), yr YEAR, doc JSON, pick ENUM('a', 'b'),
    several SET('x', 'y'), bin BINARY(3), raw BLOB, place POINT, uid UUID, net INET6,
    words TEXT, fixed CHAR(5), latin VARCHAR(5) CHARACTER SET latin1);
SET sql_mode = '', time_zone = '+02:00';
INSERT INTO odd VALUES (1, 1, b'1', b'101', 18446744073709551615,
    12345678901234567890123456789012345.123456789012345678901234567891, 1.5, 1e308,
    '2024-02-29', '2024-05-01 10:00:00.500000', '2024-05-01 10:00:00.250', '838:59:59.00', 2024,
    '{"ä": [1, 2]}', 'b', 'x,y', x'00ff', x'00ff80', ST_GeomFromText('POINT(1 2)'),
    '123e4567-e89b-12d3-a456-426614174000', '2001:db8::1', 'Größe 😀', 'ab', 'ä');
INSERT INTO odd VALUES (2, -128, b'0', b'11111111', 0, -0.000000000000000000000000000001, -0.0, -1,
    '0000-00-00', '0000-00-00 00:00:00', '2024-05-01 10:00:00', '-00:00:01.50', 0, 'null', '', '',
    '', '', NULL, NULL, '::', '', '', '');
INSERT INTO odd VALUES (3, 7, NULL, NULL, NULL, NULL, NULL, NULL, '2024-02-00',
    '9999-12-31 23:59:59.999999', NULL, '10:00:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL);
"""
# Each would go on for minutes.
ENDLESS = [
    "SELECT count(*) FROM number a, number b, number c WHERE a.n + b.n + c.n < 0",
    "SELECT max(a.n * b.n % 1000003) FROM number a, number b, number c",
    "SELECT a.n FROM number a, number b, number c ORDER BY a.n * b.n * c.n LIMIT 1",
    "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)"
    " SELECT count(*) FROM c a, c b, c d, c e WHERE a.i * b.i * d.i * e.i < 0",
    "SELECT BENCHMARK(1000000000000, SHA2('a', 512))",  # ended, it gives a row and no error
]


@pytest.fixture(scope="module")
def server(mariadb_server: MariaDBServer) -> MariaDBServer:
    mariadb_server.create("boats", SCRIPT)
    return mariadb_server


def plain_url(server: MariaDBServer, *, admin: bool = False) -> str:
    """Without TLS, which costs a connection 40 ms."""
    return server.url("boats", admin=admin) + "?ssl_mode=DISABLED"


@pytest.fixture(scope="module")
def engine(server: MariaDBServer) -> Iterator[MySQLEngine]:
    with MySQLEngine(plain_url(server)) as opened:
        yield opened


@pytest.fixture(scope="module")
def owner(server: MariaDBServer) -> Iterator[MySQLEngine]:
    with MySQLEngine(plain_url(server, admin=True)) as opened:
        yield opened


def asked(server: MariaDBServer, sql: str) -> list[tuple[Any, ...]]:
    """The rows that an administrator gets."""
    with server.connect("boats") as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def ends(server: MariaDBServer, words: str) -> bool:
    """Whether the server stops working on such statements within a second."""
    end = time.monotonic() + 1
    while found := running(server, words):
        if time.monotonic() > end:
            break
    return not found


def running(server: MariaDBServer, words: str) -> int:
    """How many statements with `words` in them the server is working on."""
    sql = f"SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%{words}%'"
    return int(asked(server, sql + " AND info NOT LIKE '%processlist%'")[0][0])


def test_open_engine_gives_this_engine(server: MariaDBServer) -> None:
    with closing(open_engine(plain_url(server).replace("mysql:", "mariadb:"))) as opened:
        assert isinstance(opened, MySQLEngine)
        assert isinstance(opened, Engine)
        assert opened.dialect == "mysql"
        assert opened.name == f"mariadb://127.0.0.1:{server.port}/boats"
        assert server.reader_password not in repr(opened.__dict__)


def test_rows(engine: MySQLEngine) -> None:
    rows = engine.run("SELECT id, name, length, x'00FF' AS raw FROM boat ORDER BY id")
    assert rows.columns == ("id", "name", "length", "raw")
    assert rows.rows[0] == (1, "Möwe", 7.5, b"\x00\xff")
    assert rows.rows[2] == (3, None, None, b"\x00\xff")
    assert not rows.truncated


VALUES: list[tuple[str, object, object, object]] = [
    ("tiny", 1, -128, 7),
    ("one", True, False, None),
    ("eight", 5, 255, None),
    ("big", 2**64 - 1, 0, None),
    ("exact", Decimal("12345678901234567890123456789012345.123456789012345678901234567891"),
     Decimal("-0.000000000000000000000000000001"), None),
    ("real4", 1.5, -0.0, None),
    ("real8", 1e308, -1.0, None),
    ("day", "2024-02-29", "0000-00-00", "2024-02-00"),
    ("moment", "2024-05-01T10:00:00.500000", "0000-00-00T00:00:00", "9999-12-31T23:59:59.999999"),
    ("stamp", "2024-05-01T08:00:00.250000", "2024-05-01T08:00:00", None),
    ("span", "838:59:59", "-00:00:01.500000", "10:00:00"),
    ("yr", 2024, 0, None),
    ("doc", '{"ä": [1, 2]}', "null", None),
    ("pick", "b", "", None),
    ("several", "x,y", "", None),
    ("bin", b"\x00\xff\x00", b"\x00\x00\x00", None),
    ("raw", b"\x00\xff\x80", b"", None),
    ("uid", "123e4567-e89b-12d3-a456-426614174000", None, None),
    ("net", "2001:db8::1", "::", None),
    ("words", "Größe 😀", "", None),
    ("fixed", "ab", "", None),
    ("latin", "ä", "", None),
]  # fmt: skip


@pytest.mark.parametrize("case", VALUES, ids=lambda case: str(case[0]))
def test_odd_values(engine: MySQLEngine, case: tuple[str, object, object, object]) -> None:
    column, *expected = case
    found = [row[0] for row in engine.run(f"SELECT {column} FROM odd ORDER BY id").rows]
    assert found == expected
    assert [type(cell) for cell in found] == [type(cell) for cell in expected]


def test_a_place_is_its_bytes(engine: MySQLEngine) -> None:
    ((place,),) = engine.run("SELECT place FROM odd WHERE id = 1").rows
    assert place == struct.pack("<IBIdd", 0, 1, 1, 1.0, 2.0)


@pytest.mark.parametrize(
    ("sql", "cell"),
    [
        ("SELECT 'it''s' 'so'", "it'sso"),
        (r"SELECT 'a\'b\\c\n'", "a'b\\c\n"),
        ('SELECT "text"', "text"),
        ("SELECT 1 || 0", 1),
        ("SELECT 5--1", 6),
        ("SELECT 'a' /* b */ # c", "a"),
        ("SELECT NOW() = UTC_TIMESTAMP()", 1),
        ("SELECT @@tx_read_only", 1),
        ("SELECT 1 = 1.0", 1),
        ("SELECT AVG(n) FROM number", Decimal("1500.5000")),
        ("SELECT SUM(length) FROM boat", 38.5),
        ("VALUES (7)", 7),
        ("WITH w AS (SELECT 3 AS x) SELECT x FROM w", 3),
        ("(SELECT 8)", 8),
        ("SELECT CAST(NULL AS CHAR)", None),
        ("SELECT town FROM port WHERE town LIKE 'C%' AND 5 % 3 = 2", "Cork"),
    ],
)
def test_the_server_reads_as_the_guard_does_whatever_its_own_settings(
    server: MariaDBServer, sql: str, cell: object
) -> None:
    mode = "'ANSI,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_TRANS_TABLES'"
    ((old, zone),) = asked(server, "SELECT @@global.sql_mode, @@global.time_zone")
    server.sql(f"SET GLOBAL sql_mode = {mode}, GLOBAL time_zone = '+05:00'")
    try:
        with MySQLEngine(plain_url(server)) as opened:
            for _ in range(2):  # also after the session was reset
                assert opened.run(sql).rows[0][0] == cell
    finally:
        server.sql(f"SET GLOBAL sql_mode = '{old}', GLOBAL time_zone = '{zone}'")


@pytest.mark.parametrize("sql", ENDLESS)
def test_a_deadline_is_kept(engine: MySQLEngine, server: MariaDBServer, sql: str) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeout, match=r"after 0\.3 seconds"):
        engine.run(sql, timeout=0.3)
    assert time.monotonic() - started < 0.3 + 0.5  # 0.2 on a machine with nothing else to do
    assert ends(server, sql[7:30].replace("'", "_"))
    assert engine.run("SELECT 1").rows == ((1,),)


@pytest.mark.parametrize("sql", ENDLESS[:2])
def test_a_query_is_killed_where_the_server_has_no_deadline(
    server: MariaDBServer, sql: str
) -> None:
    with MySQLEngine(plain_url(server)) as opened:
        able = opened._able
        variables = {n: v for n, v in able.variables.items() if n != "max_statement_time"}
        opened._able = replace(able, variables=variables)
        started = time.monotonic()
        with pytest.raises(QueryTimeout):
            opened.run(sql, timeout=0.3)
        assert time.monotonic() - started < 0.3 + 0.5
        assert ends(server, sql[7:30])
        assert opened.run("SELECT 1").rows == ((1,),)


def test_a_slow_reader_meets_the_deadline_too(engine: MySQLEngine) -> None:
    sql = "SELECT a.n FROM number a, number b"
    started = time.monotonic()
    with engine.stream(sql, timeout=0.3) as stream, pytest.raises(QueryTimeout):
        for _ in stream:
            pass
    assert time.monotonic() - started < 0.3 + 0.5


def test_leaving_a_stream_stops_the_query_on_the_server(
    engine: MySQLEngine, server: MariaDBServer
) -> None:
    sql = "SELECT /* gone */ a.n FROM number a, number b, number c"
    with engine.stream(sql, timeout=30) as stream:
        next(iter(stream))
        assert running(server, "gone") == 1
    assert ends(server, "gone")
    assert engine.run("SELECT 1").rows == ((1,),)


def test_an_error_of_the_reader_passes_through(engine: MySQLEngine) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        engine.stream("SELECT n FROM number ORDER BY n") as stream,
    ):
        len(stream.columns) / 0
    assert engine.run("SELECT 1").rows == ((1,),)


def test_a_stream_has_all_rows(engine: MySQLEngine) -> None:
    with engine.stream("SELECT seq, repeat('x', 20) FROM seq_1_to_50000", timeout=30) as stream:
        batches = list(stream)
    assert all(batches)
    assert [row[0] for batch in batches for row in batch] == list(range(1, 50001))


@pytest.mark.parametrize(
    ("sql", "limit", "rows", "truncated"),
    [
        ("SELECT n FROM number", 10, 10, True),
        ("SELECT n FROM number LIMIT 50", 10, 10, True),
        ("SELECT n FROM number LIMIT 10", 10, 10, False),
        ("SELECT n FROM number", 3000, 3000, False),
        ("(SELECT n FROM number) UNION ALL (SELECT n FROM number)", 3000, 3000, True),
        ("SELECT count(*) FROM (SELECT n FROM number) AS t", 1, 1, False),
        ("SELECT a.n, b.n FROM number a, number b", 100, 100, True),
        ("SELECT n FROM number WHERE n IN (SELECT n FROM number WHERE n > 7)", 5000, 2993, False),
    ],
)
def test_the_row_limit(
    engine: MySQLEngine, sql: str, limit: int, rows: int, truncated: bool
) -> None:
    found = engine.run(sql, limit=limit)
    assert (len(found.rows), found.truncated) == (rows, truncated)


def test_large_results_are_cut(server: MariaDBServer) -> None:
    limits = Limits(result_bytes=50_000, cell_chars=1_000)
    with MySQLEngine(plain_url(server), limits=limits) as opened:
        long = opened.run("SELECT repeat('x', 100000), repeat(x'00', 2000), 'y'")
        assert [len(str(cell)) for cell in long.rows[0][::2]] == [1_000, 1]
        assert long.rows[0][1] == bytes(1_000)
        assert long.truncated
        gathered = opened.run("SELECT group_concat(n, 'xxxx') FROM number")
        assert (len(str(gathered.rows[0][0])), gathered.truncated) == (1_000, True)
        many = opened.run("SELECT n, repeat('x', 992) FROM number")
        assert (len(many.rows), many.truncated) == (49, True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + ", ".join(["repeat('x', 16000000)"] * 8),
        "SELECT length(lpad('x', 2000000000, 'y'))",
        "SELECT repeat('x', 1000000000) FROM port",
        "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c",
        "SELECT '" + "x" * 20_000 + "'",
    ],
    ids=lambda sql: sql[:40],
)
def test_too_much_is_a_resource_limit(engine: MySQLEngine, sql: str) -> None:
    with pytest.raises(ResourceLimit) as caught:
        engine.run(sql, timeout=20)
    assert caught.value.hint
    assert engine.run("SELECT 1").rows == ((1,),)


def test_an_endless_recursion_gives_its_first_rows(engine: MySQLEngine) -> None:
    sql = "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i FROM c LIMIT 5"
    assert engine.run(sql).rows == ((1,), (2,), (3,), (4,), (5,))


# What isn't sent at all, whoever asks: nothing else stops some of these for an owner.
REFUSED = [
    "BEGIN NOT ATOMIC START TRANSACTION READ WRITE; DELETE FROM secret; COMMIT; END",
    "CALL adds()",
    "SET SESSION TRANSACTION READ WRITE",
    "SET GLOBAL max_connections = 7",
    "SET @a = 1",
    "PREPARE s FROM 'DELETE FROM secret'",
    "HANDLER secret OPEN",
    "LOCK TABLES secret WRITE",
    "DO GET_LOCK('a', 1)",
    "START TRANSACTION READ WRITE",
    "COMMIT",
    "INSERT INTO port VALUES (5, 'x')",
    "REPLACE INTO port VALUES (1, 'x')",
    "DELETE FROM secret",
    "UPDATE port SET town = 'x'",
    "TRUNCATE secret",
    "DROP TABLE secret",
    "CREATE TABLE t (a INT)",
    "CREATE TEMPORARY TABLE t (a INT)",
    "ANALYZE TABLE port",
    "ANALYZE SELECT * FROM port",
    "FLUSH TABLES",
    "KILL 1",
    "SHUTDOWN",
    "GRANT ALL ON *.* TO a@b",
    "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE secret",
    "SHOW PROCESSLIST",
    "SELECT * FROM secret INTO OUTFILE '/tmp/plainsql-out'",
    "SELECT 1 INTO DUMPFILE '/tmp/plainsql-out'",
    "TABLE secret INTO OUTFILE '/tmp/plainsql-out'",
    "SELECT `load_file`('/etc/passwd')",
    "SELECT LOAD_FILE('/etc/passwd')",
    "/*! DELETE FROM secret */",
    "/*M! DELETE FROM secret */",
    "SELECT 1 /*!50000 INTO OUTFILE '/tmp/plainsql-out' */",
    "/* a */ -- b\n # c\n DELETE FROM secret",
    "((DELETE FROM secret))",
    "SELECT 'open",
    "SELECT /* open",
    "SELECT 1 \x00; DELETE FROM secret",
    "SELECT '\ud800'",
    "-- nothing",
    "",
]


def state(server: MariaDBServer) -> list[object]:
    """What hostile statements could have changed."""
    tables = [
        asked(server, f"SELECT * FROM {table}") for table in ("port", "boat", "secret", "ticket")
    ]
    names = asked(
        server,
        "SELECT table_schema, table_name, table_type FROM information_schema.tables "
        "WHERE table_schema NOT IN ('information_schema') ORDER BY 1, 2",
    )
    users = asked(server, "SELECT user, host FROM mysql.user")
    globals_ = asked(server, "SELECT @@global.max_connections, @@global.read_only")
    locks = asked(server, "SELECT IS_FREE_LOCK('a')")
    files = [path.name for path in Path("/tmp").glob("plainsql-out*")]
    return [*tables, names, users, globals_, locks, files]


def test_statements_that_are_no_queries_are_not_sent(
    server: MariaDBServer, engine: MySQLEngine, owner: MySQLEngine
) -> None:
    before = state(server)
    for who in (engine, owner):
        for sql in REFUSED:
            with pytest.raises(DeniedError):
                who.run(sql)
            with pytest.raises(DeniedError):
                who.explain(sql)
    assert state(server) == before


# Queries by their first word, with effects: read-only transactions and the reset hold them.
WRITING = [
    "SELECT added()",
    "SELECT NEXTVAL(ticket)",
    "SELECT SETVAL(ticket, 500)",
    "SELECT NEXT VALUE FOR ticket",
    "EXPLAIN DELETE FROM secret",
    "WITH w AS (SELECT 1) DELETE FROM secret",
    "SELECT 1; DELETE FROM secret",
    "SELECT GET_LOCK('a', 0)",
    "SELECT @a := 5",
    "SELECT * FROM port FOR UPDATE",
    "EXPLAIN ANALYZE DELETE FROM secret",
]


def test_queries_with_effects_have_none(
    server: MariaDBServer, engine: MySQLEngine, owner: MySQLEngine
) -> None:
    before = state(server)
    for who in (engine, owner):
        for sql in WRITING:
            with suppress(ExecutionError, DeniedError):
                who.run(sql, timeout=2)
            assert state(server) == before, sql
        assert who.run("SELECT @a").rows == ((None,),)
        assert who.run("SELECT @@tx_read_only").rows == ((1,),)


@pytest.mark.parametrize(
    ("sql", "kind", "message", "hint"),
    [
        ("SELECT nam FROM boat", ExecutionError, "Unknown column 'nam'", "boat.name"),
        ("SELECT b.lenght FROM boat b", ExecutionError, "lenght", "boat.length"),
        ("SELECT zzzz FROM boat", ExecutionError, "zzzz", "anything like 'zzzz'"),
        ("SELECT 1 FROM boats", ExecutionError, "boats.boats", "boat"),
        ("SELECT 1 FROM xyz", ExecutionError, "doesn't exist", "The tables are boat"),
        ("SELECT nope(1)", DeniedError, "boats.nope", "read"),
        ("SELECT id FROM boat, port", ExecutionError, "ambiguous", "table.column"),
        ("SELECT 1 FROM WHERE x", ExecutionError, "syntax", "character 15"),
        ("SELECT (1", ExecutionError, "syntax", "ends too early"),
        ("SELECT 9e307 * 10", ExecutionError, "out of range", ""),
        ("SELECT 1 INTO @a", ExecutionError, "no result", "SELECT"),
        ("SELECT * FROM mysql.user", DeniedError, "denied", "read"),
        ("SELECT added()", DeniedError, "refused", "read"),
    ],
)
def test_errors_say_what_to_do(
    engine: MySQLEngine, sql: str, kind: type[Exception], message: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        engine.run(sql)
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert hint in getattr(caught.value, "hint", "")


def test_hints_name_only_tables_that_may_be_read(server: MariaDBServer) -> None:
    with MySQLEngine(plain_url(server), tables=frozenset({"port"})) as opened:
        with pytest.raises(ExecutionError) as caught:
            opened.run("SELECT * FROM secrets")
        assert caught.value.hint == "The tables are port."


def test_a_locked_table_is_not_waited_for(engine: MySQLEngine, server: MariaDBServer) -> None:
    with server.connect("boats") as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES secret WRITE")
        with pytest.raises(ExecutionError) as caught:
            engine.run("SELECT * FROM secret", timeout=5)
    assert "locked" in str(caught.value)


@pytest.mark.parametrize("gone", ["KILL {id}", "KILL HARD CONNECTION {id}"])
def test_a_connection_lost_while_idle_is_made_anew(server: MariaDBServer, gone: str) -> None:
    with MySQLEngine(plain_url(server)) as opened:
        ((number,),) = opened.run("SELECT CONNECTION_ID()").rows
        server.sql(gone.format(id=number))
        assert opened.run("SELECT CONNECTION_ID()").rows != ((number,),)


def test_a_connection_lost_in_a_query_is_an_error(server: MariaDBServer) -> None:
    with MySQLEngine(plain_url(server)) as opened:
        ((number,),) = opened.run("SELECT CONNECTION_ID()").rows
        killer = threading.Timer(0.2, server.sql, [f"KILL {number}"])
        killer.start()
        with pytest.raises(ConnectionLost, match="lost while it was asked"):
            opened.run(ENDLESS[0], timeout=20)
        killer.join()
        assert opened.run("SELECT 1").rows == ((1,),)


def test_interrupt_stops_the_running_query(server: MariaDBServer) -> None:
    with MySQLEngine(plain_url(server)) as opened:
        timer = threading.Timer(0.2, opened.interrupt)
        timer.start()
        started = time.monotonic()
        with pytest.raises(ExecutionError, match="stopped by somebody else"):
            opened.run(ENDLESS[0], timeout=20)
        assert time.monotonic() - started < 2
        timer.join()
        assert opened.run("SELECT 1").rows == ((1,),)


def test_ctrl_c_leaves_nothing_behind(engine: MySQLEngine, server: MariaDBServer) -> None:
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.run("SELECT /* ctrl-c */ count(*) FROM number a, number b, number c", timeout=20)
    timer.join()
    assert ends(server, "ctrl-c")
    assert engine.run("SELECT 1").rows == ((1,),)


def test_threads_take_turns(engine: MySQLEngine) -> None:
    found: dict[int, object] = {}

    def ask(marker: int) -> None:
        for _ in range(10):
            found[marker] = engine.run(f"SELECT {marker}, n FROM number LIMIT 20").rows[0]

    threads = [threading.Thread(target=ask, args=(marker,)) for marker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {marker: (marker, 1) for marker in range(8)}


def test_a_turn_that_does_not_come_is_a_timeout(engine: MySQLEngine) -> None:
    with engine.stream("SELECT n FROM number ORDER BY n"), pytest.raises(QueryTimeout):
        engine.run("SELECT 1", timeout=0.1)


def test_a_closed_engine_says_so(server: MariaDBServer) -> None:
    opened = MySQLEngine(plain_url(server))
    opened.close()
    opened.close()
    with pytest.raises(ConnectError, match="closed"):
        opened.run("SELECT 1")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("canary-r3ader-secret", "canary-wrong"), ConnectError, "refused the user"),
        (("/boats", "/nothing"), ConnectError, "doesn't let this user open"),
        (("127.0.0.1", "127.0.0.2"), ConnectError, "is not there"),
        (("127.0.0.1", "no-such-host.invalid"), ConnectError, "name that can't be resolved"),
        (("?", "?ssl_mode=NEVER&x"), UsageError, "ssl_mode"),
        (("ssl_mode=DISABLED", "ssl_verify_cert=perhaps"), UsageError, "true or false"),
        (("ssl_mode=DISABLED", "ssl_ca=/no/such.pem"), UsageError, "ssl_ca"),
        (("ssl_mode=DISABLED", "connect_timeout=soon"), UsageError, "connect_timeout"),
        (("ssl_mode=DISABLED", "charset=gbk"), UsageError, "utf8mb4"),
        (("ssl_mode=DISABLED", "unix_socket=/no/socket"), ConnectError, "no socket"),
        (("ssl_mode=DISABLED", "local_infile=1"), UsageError, "local_infile"),
        (("ssl_mode=DISABLED", "init_command=DROP"), UsageError, "init_command"),
        (("ssl_mode=DISABLED", "read_default_file=/etc/my.cnf"), UsageError, "read_default_file"),
    ],
)
def test_connect_errors_are_one_sentence_without_secrets(
    server: MariaDBServer, change: tuple[str, str], error: type[Exception], words: str
) -> None:
    url = plain_url(server).replace(*change).replace("&x", "")
    url = url.replace("NEVERssl_mode=DISABLED", "NEVER")
    with pytest.raises(error) as caught:
        MySQLEngine(url)
    text = str(caught.value)
    assert words in text
    assert text.count(". ") == 0
    assert text.endswith(".")
    assert "canary" not in text + getattr(caught.value, "hint", "")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(ConnectError, match="did not answer in time"):
            MySQLEngine(f"mysql://a:b@127.0.0.1:{port}/c?connect_timeout=0.2")
        assert time.monotonic() - started < 1.5


def test_the_password_may_come_from_the_environment(
    server: MariaDBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYSQL_PWD", server.reader_password)
    url = plain_url(server).replace(f":{server.reader_password}@", "@")
    with MySQLEngine(url) as opened:
        assert opened.run("SELECT CURRENT_USER()").rows == (("plainsql_reader@127.0.0.1",),)


def test_tls(server: MariaDBServer, tmp_path: Path) -> None:
    if server.certificate is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    base = server.url("boats")
    authority = f"ssl_ca={server.certificate}"
    for options, cipher in [
        ("", True),
        ("?ssl_mode=DISABLED", False),
        ("?ssl=true", True),
        (f"?{authority}", True),
        (f"?ssl_mode=VERIFY_IDENTITY&{authority}", True),
    ]:
        with MySQLEngine(base + options) as opened:
            ((found,),) = opened.run(
                "SELECT variable_value FROM information_schema.session_status "
                "WHERE variable_name = 'Ssl_cipher'"
            ).rows
            assert bool(found) is cipher, options
    for options in ("?ssl_verify_cert=true", "?ssl_mode=VERIFY_IDENTITY"):
        with pytest.raises(ConnectError, match="certificate"):
            MySQLEngine(base + options)


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def hostile(listener: socket.socket, answer: bytes, heard: list[bytes]) -> None:
    """A server that lets everybody in (or asks for more) and wants a file of the client."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(2)
        greeting = b"\x0a5.7.0\0" + struct.pack("<I", 1) + b"12345678\0" + b"\xff\xf7\x21"
        greeting += b"\x02\x00\xff\x80\x15" + bytes(10) + b"123456789012\0"
        connection.sendall(packet(0, greeting + b"mysql_native_password\0"))
        heard.append(connection.recv(10_000))
        connection.sendall(packet(2, answer))
        try:
            while data := connection.recv(10_000):
                heard.append(data)
                connection.sendall(packet(1, b"\xfb/etc/hostname"))
        except OSError:
            pass


OK = b"\x00\x00\x00\x02\x00\x00\x00"
CLEAR = b"\xfemysql_clear_password\0"


@pytest.mark.parametrize("answer", [OK, CLEAR], ids=["wants a file", "wants the password"])
def test_a_hostile_server_gets_neither_files_nor_passwords(answer: bytes) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hostile, args=(listener, answer, heard))
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(ConnectError):
            MySQLEngine(f"mysql://ann:canary-secret@127.0.0.1:{port}/c?ssl_mode=DISABLED")
        thread.join()
    everything = b"".join(heard)
    assert b"ann" in everything
    assert b"canary" not in everything
    assert Path("/etc/hostname").read_bytes().strip() not in everything


def test_explain(engine: MySQLEngine) -> None:
    sql = "SELECT town FROM port JOIN boat ON boat.port_id = port.id WHERE boat.id = 1"
    plan = engine.explain(sql)
    assert len(plan.splitlines()) == 2
    assert "boat" in plan
    assert "key=PRIMARY" in plan


def test_protections_tell_least_privilege_from_an_owner(
    engine: MySQLEngine, owner: MySQLEngine
) -> None:
    least = {found.name: found.active for found in engine.protections()}
    most = {found.name: found for found in owner.protections()}
    rights = [name for name in least if name.startswith("user ")]
    assert len(rights) == 5
    assert all(least[name] for name in rights)
    assert not any(most[name].active for name in rights)
    assert all(most[name].detail for name in rights)
    assert all(least[name] for name in ("read-only", "deadline", "memory limit of the server"))
    assert "IDENTIFIED" not in repr(most)


def test_grant_sql_makes_a_user_who_may_only_read(
    server: MariaDBServer, owner: MySQLEngine
) -> None:
    script = owner.grant_sql(frozenset({"port", "boat"}), role="narrow")
    server.sql("DROP USER IF EXISTS 'narrow'@'%'")
    statements = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE)
    server.sql(statements)
    server.sql("ALTER USER 'narrow'@'%' IDENTIFIED BY 'narrow-secret' ACCOUNT UNLOCK")
    url = f"mysql://narrow:narrow-secret@127.0.0.1:{server.port}/boats?ssl_mode=DISABLED"
    with MySQLEngine(url) as opened:
        assert opened.run("SELECT count(*) FROM boat").rows == ((3,),)
        with pytest.raises(DeniedError):
            opened.run("SELECT * FROM secret")
        assert {table.name for table in opened.introspect().tables} == {"port", "boat"}
        found = [p for p in opened.protections() if p.name.startswith("user ")]
        assert all(protection.active for protection in found)


def test_all_layers_together(engine: MySQLEngine) -> None:
    schema = engine.introspect()
    rows = run_guarded(engine, "SELECT town FROM port ORDER BY 1", schema=schema)
    assert rows.rows == (("Cork",), ("Kiel",))
    with pytest.raises(DeniedError):
        run_guarded(engine, "SELECT SLEEP(1)", schema=schema)
    with pytest.raises(DeniedError):
        run_guarded(engine, "SELECT * FROM mysql.user", schema=schema)


def test_without_the_driver_one_sentence_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pymysql'] = None\n"
        "from plainsql.execution import open_engine\n"
        "from plainsql.errors import MissingExtra\n"
        "try: open_engine('mysql://a@b/c')\n"
        "except MissingExtra as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pip install 'plainsql[mysql]'"
