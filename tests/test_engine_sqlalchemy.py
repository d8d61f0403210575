"""The engine for any SQLAlchemy URL, against real servers through other drivers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plainsql.errors import (
    ConnectError,
    ConnectionLost,
    DeniedError,
    ExecutionError,
    MissingExtra,
    QueryTimeout,
    UsageError,
)
from plainsql.execution import Engine, open_engine, run_guarded
from plainsql.execution.limits import Limits
from plainsql.execution.targets import Target
from plainsql.schema.model import ForeignKey
from servers import MariaDBServer, PostgreSQLServer

pytest.importorskip("sqlalchemy", reason="pip install SQLAlchemy")

from plainsql.execution.sqlalchemy_engine import SQLAlchemyEngine

TABLES = """
CREATE TABLE port (id INT PRIMARY KEY, town VARCHAR(40) UNIQUE);
CREATE TABLE boat (
    id INT PRIMARY KEY, name VARCHAR(40), length DOUBLE PRECISION, built DATE,
    price DECIMAL(8, 2), port_id INT REFERENCES port (id), FOREIGN KEY (port_id) REFERENCES port (id)
);
CREATE TABLE number (n INT PRIMARY KEY);
CREATE VIEW harbour AS SELECT town, name FROM port JOIN boat ON boat.port_id = port.id;
INSERT INTO port VALUES (1, 'Kiel'), (2, 'Cork');
INSERT INTO boat VALUES (1, 'Möwe', 7.5, '2001-02-03', 12.5, 1), (2, 'Gull', 31, NULL, NULL, 2);
"""  # noqa: E501
SERIES = {
    "postgresql": "INSERT INTO number SELECT * FROM generate_series(1, 3000);",
    "mysql": "INSERT INTO number SELECT seq FROM seq_1_to_3000;",
    "sqlite": "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000) "
    "INSERT INTO number SELECT i FROM c;",
}
ENDLESS = "SELECT count(*) FROM number a, number b, number c WHERE a.n + b.n + c.n < 0"
DRIVERS = {
    "postgresql+pg8000": "pg8000",
    "mysql+mysqlconnector": "mysql.connector",
    "mariadb+pymysql": "pymysql",
    "sqlite+pysqlite": "sqlite3",
}
Opener = Callable[..., SQLAlchemyEngine]


def sqlite_file(folder: Path) -> Path:
    import sqlite3

    path = folder / "boats.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES + SERIES["sqlite"])
    return path


@pytest.fixture(scope="module", params=DRIVERS)
def opener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """Opens the same database through one driver; as its owner when asked."""
    scheme = str(request.param)
    pytest.importorskip(DRIVERS[scheme], reason=f"pip install {DRIVERS[scheme]}")
    if scheme.startswith("sqlite"):
        path = sqlite_file(tmp_path_factory.mktemp("sa"))
        target = Target("sqlalchemy", f"{scheme}:///{path}", scheme=scheme)
        return lambda admin=False, **more: SQLAlchemyEngine(target, **more)
    server: Any
    if scheme.startswith("postgresql"):
        server = request.getfixturevalue("postgresql_server")
        server.create("boats_sa", TABLES + SERIES["postgresql"])
        end = ""
    else:
        server = request.getfixturevalue("mariadb_server")
        server.create("boats_sa", TABLES + SERIES["mysql"])
        # A connection with TLS takes these drivers 50 ms and more.
        end = "?ssl_disabled=true"
    return lambda admin=False, **more: _opened(server, scheme, end, admin, more)


def _opened(
    server: Any, scheme: str, end: str, admin: bool, more: dict[str, Any]
) -> SQLAlchemyEngine:
    url = scheme + ":" + server.url("boats_sa", admin=admin).partition(":")[2] + end
    target = Target(
        "sqlalchemy", url, scheme=scheme, host=server.host, port=server.port, database="boats_sa"
    )
    return SQLAlchemyEngine(target, **more)


@pytest.fixture(scope="module")
def engine(opener: Opener) -> Iterator[SQLAlchemyEngine]:
    with opener() as opened:
        yield opened


def test_rows(engine: SQLAlchemyEngine) -> None:
    assert isinstance(engine, Engine)
    rows = engine.run("SELECT id, name, length, built FROM boat ORDER BY id")
    assert rows.columns == ("id", "name", "length", "built")
    assert rows.rows == ((1, "Möwe", 7.5, "2001-02-03"), (2, "Gull", 31.0, None))
    assert not rows.truncated


def test_text_is_sent_as_it_is(engine: SQLAlchemyEngine) -> None:
    sql = "SELECT name, ':x', '%s' FROM boat WHERE name LIKE 'M%' AND 5 % 3 = 2"
    assert engine.run(sql).rows == (("Möwe", ":x", "%s"),)


def test_limits(engine: SQLAlchemyEngine) -> None:
    rows = engine.run("SELECT n FROM number ORDER BY n", limit=7)
    assert (len(rows.rows), rows.truncated) == (7, True)
    assert len(engine.run("SELECT n FROM number", limit=3000).rows) == 3000
    with engine.stream("SELECT n FROM number ORDER BY n") as stream:
        assert sum(map(len, stream)) == 3000
    with engine.stream("SELECT n FROM number ORDER BY n") as stream:
        assert next(iter(stream))[0] == (1,)
    assert engine.run("SELECT 1").rows == ((1,),)


def test_long_cells_are_cut(opener: Opener) -> None:
    with opener(limits=Limits(cell_chars=5)) as opened:
        rows = opened.run("SELECT 'sixteen letters.', 'four'")
    assert (rows.rows, rows.truncated) == ((("sixte", "four"),), True)


def test_a_deadline_is_kept(engine: SQLAlchemyEngine) -> None:
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(QueryTimeout, match=r"after 0\.3 seconds"):
            engine.run(ENDLESS, timeout=0.3)
        assert time.monotonic() - started < 0.3 + 0.5
    assert engine.run("SELECT 1").rows == ((1,),)


def test_leaving_stops_the_query(engine: SQLAlchemyEngine) -> None:
    started = time.monotonic()
    if engine.name.startswith("mysql+mysqlconnector"):
        return  # it has all rows before the first is seen
    with engine.stream("SELECT a.n FROM number a, number b, number c", timeout=30) as stream:
        next(iter(stream))
    assert time.monotonic() - started < 3
    assert engine.run("SELECT 1").rows == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM boat",
        "INSERT INTO port VALUES (9, 'x')",
        "UPDATE port SET town = 'x'",
        "CREATE TABLE t (a INT)",
        "DROP VIEW harbour",
    ],
)
def test_an_owner_changes_nothing(opener: Opener, sql: str) -> None:
    """Read-only transactions that are rolled back, the guard being off."""
    with opener(admin=True) as opened:
        with pytest.raises((DeniedError, ExecutionError)):
            opened.run(sql)
        assert opened.run("SELECT count(*) FROM port").rows == ((2,),)
        assert opened.run("SELECT count(*) FROM boat").rows == ((2,),)
        assert opened.run("SELECT count(*) FROM harbour").rows == ((2,),)
        with pytest.raises(ExecutionError):
            opened.run("SELECT * FROM t")


def test_errors(engine: SQLAlchemyEngine) -> None:
    engine.introspect()
    with pytest.raises(ExecutionError) as caught:
        engine.run("SELECT nam FROM boat")
    assert "nam" in str(caught.value)
    assert "boat.name" in caught.value.hint
    with pytest.raises(ExecutionError) as caught:
        engine.run("SELECT 1 FROM boatt")
    assert "boat" in caught.value.hint
    assert "SELECT" not in str(caught.value)
    assert "sqlalche" not in str(caught.value)


def test_introspection(engine: SQLAlchemyEngine) -> None:
    schema = engine.introspect()
    assert schema.dialect == engine.dialect
    assert {found.name: found.is_view for found in schema.tables} == {
        "port": False, "boat": False, "number": False, "harbour": True,
    }  # fmt: skip
    assert ForeignKey("boat", ("port_id",), "port", ("id",)) in schema.foreign_keys
    kinds = {column.name: column.type.value for column in schema.columns if column.table == "boat"}
    assert kinds == {
        "id": "number", "name": "text", "length": "number", "built": "time", "price": "number",
        "port_id": "number",
    }  # fmt: skip
    assert set(schema.columns[schema.column_index("port", "town")].samples) == {"Kiel", "Cork"}
    assert schema.columns[schema.column_index("port", "id")].primary_key


def test_explain(engine: SQLAlchemyEngine) -> None:
    assert "boat" in engine.explain("SELECT * FROM boat WHERE id = 1")


def test_all_three_layers(engine: SQLAlchemyEngine) -> None:
    schema = engine.introspect()
    rows = run_guarded(engine, "SELECT town FROM port ORDER BY town", schema=schema, limit=1)
    assert (rows.rows, rows.truncated) == ((("Cork",),), True)
    for sql in ("SELECT 1; DROP TABLE boat", "DELETE FROM boat", "SELECT * FROM secret"):
        with pytest.raises(DeniedError):
            run_guarded(engine, sql, schema=schema)


def test_protections_say_what_is_absent(engine: SQLAlchemyEngine) -> None:
    found = {protection.name: protection for protection in engine.protections()}
    assert not found["engine hardening"].active
    assert found["read-only transactions"].active


def test_a_closed_engine_says_so(opener: Opener) -> None:
    opened = opener()
    opened.close()
    opened.close()
    with pytest.raises(ConnectError, match="closed"):
        opened.run("SELECT 1")


def test_open_engine_gives_this_engine(postgresql_server: PostgreSQLServer) -> None:
    pytest.importorskip("pg8000", reason="pip install pg8000")
    url = postgresql_server.url_reader.replace("postgresql:", "postgresql+pg8000:")
    with closing(open_engine(url)) as opened:
        assert isinstance(opened, SQLAlchemyEngine)
        assert opened.dialect == "postgres"
        assert opened.name == f"postgresql+pg8000://127.0.0.1:{postgresql_server.port}/plainsql"
        assert "canary" not in repr(opened.__dict__)


def test_a_lost_connection_is_an_error_and_the_next_query_works(
    postgresql_server: PostgreSQLServer,
) -> None:
    pytest.importorskip("pg8000", reason="pip install pg8000")
    url = postgresql_server.url_reader.replace("postgresql:", "postgresql+pg8000:")
    with closing(open_engine(url)) as opened:
        ((number,),) = opened.run("SELECT pg_backend_pid()").rows
        terminate(postgresql_server, number)
        ((again,),) = opened.run("SELECT pg_backend_pid()").rows  # nothing had been sent
        assert again != number
        killer = threading.Timer(0.2, terminate, [postgresql_server, again])
        killer.start()
        with pytest.raises(ConnectionLost, match="lost while it was asked"):
            opened.run("SELECT count(*) FROM generate_series(1, 1000000000)", timeout=20)
        killer.join()
        assert opened.run("SELECT 1").rows == ((1,),)


def terminate(server: PostgreSQLServer, number: object) -> None:
    with server.connect() as admin:
        admin.execute(f"SELECT pg_terminate_backend({number})")


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("mssql+pyodbc://a:canary@h/d", MissingExtra, "pip install 'pyodbc'"),
        ("snowflake://a:canary@h/d", MissingExtra, "pip install 'snowflake-sqlalchemy'"),
        ("trino://a:canary@h/d", MissingExtra, "pip install 'trino[sqlalchemy]'"),
        ("nonsense://a:canary@h/d", MissingExtra, "knows no nonsense"),
        ("postgresql+pg8000://a:canary@127.0.0.1:1/d", ConnectError, "Check the URL"),
    ],
)
def test_what_cannot_be_opened(url: str, error: type[Exception], words: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("pg8000", reason="pip install pg8000")
    with pytest.raises(error) as caught:
        open_engine(url)
    hint = getattr(caught.value, "hint", "")
    assert words in hint
    assert "canary" not in str(caught.value) + hint


def test_a_wrong_password_is_not_repeated(mariadb_server: MariaDBServer) -> None:
    pytest.importorskip("mysql.connector", reason="pip install mysql-connector-python")
    url = mariadb_server.url_reader.replace("mysql:", "mysql+mysqlconnector:")
    url = url.replace("canary-r3ader-secret", "canary-wr0ng") + "?ssl_disabled=true"
    with pytest.raises(ConnectError) as caught:
        open_engine(url)
    assert "canary" not in str(caught.value) + caught.value.hint
    assert "denied" in str(caught.value)


def test_dialects_the_guard_cannot_judge_are_refused() -> None:
    from plainsql.execution.sqlalchemy_dialects import sqlglot_name

    assert sqlglot_name("mssql") == "tsql"
    assert sqlglot_name("cockroachdb") == "postgres"
    with pytest.raises(UsageError, match="can't judge"):
        sqlglot_name("firebird")


def test_without_sqlalchemy_one_sentence_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from plainsql.execution import open_engine\n"
        "from plainsql.errors import MissingExtra\n"
        "try: open_engine('oracle://a@b/c')\n"
        "except MissingExtra as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "pip install 'plainsql[sqlalchemy]'"
