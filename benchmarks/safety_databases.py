"""The databases that `safety.py` lets statements loose on, and how their effects are seen."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

Rows = list[tuple[Any, ...]]
ENGINES = ("sqlite", "duckdb", "postgres", "mysql")
_PATH = re.compile(r"(?:/[\w.-]+)+")


@dataclass(frozen=True, slots=True)
class Made:
    """A table or view of the fixture. `sql` is the query of a view."""

    name: str
    columns: tuple[tuple[str, str], ...]  # name, kind: int, real, text or json
    rows: Rows
    sql: str = ""


def read_fixture(path: Path) -> list[Made]:
    """What a script in SQLite's SQL makes: tables first, then views."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(path.read_text(encoding="utf-8"))
        listed = connection.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite_%' ORDER BY type, rowid"
        ).fetchall()
        return [_made(connection, *row) for row in listed]


def _made(connection: sqlite3.Connection, name: str, kind: str, sql: str) -> Made:
    if kind == "view":
        return Made(name, (), [], sql)
    rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
    info = connection.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall()
    columns = []
    for at, (column, declared) in enumerate(info):
        cells = [row[at] for row in rows if row[at] is not None]
        columns.append((column, _kind(declared.lower(), cells)))
    return Made(name, tuple(columns), rows)


def _kind(declared: str, cells: list[Any]) -> str:
    if "int" in declared:
        return "int"
    if "real" in declared:
        return "real"
    holds_json = cells and all(str(cell)[:1] in ("{", "[") for cell in cells)
    return "json" if holds_json else "text"


_TYPES = {
    "duckdb": {"int": "INTEGER", "real": "DOUBLE", "text": "VARCHAR", "json": "JSON"},
    "postgres": {"int": "integer", "real": "numeric", "text": "text", "json": "jsonb"},
    "mysql": {"int": "INT", "real": "DOUBLE", "text": "TEXT", "json": "JSON"},
}


def script_for(dialect: str, made: list[Made]) -> Iterator[str]:
    """Statements that make the same tables, rows and views in another engine."""
    for item in made:
        name = quoted(item.name, dialect)
        if item.sql:
            yield item.sql.replace('"', "`") if dialect == "mysql" else item.sql
            continue
        types = _TYPES[dialect]
        columns = ", ".join(f"{quoted(c, dialect)} {types[kind]}" for c, kind in item.columns)
        yield f"CREATE TABLE {name} ({columns})"
        for start in range(0, len(item.rows), 500):
            values = ", ".join(map(_values, item.rows[start : start + 500]))
            yield f"INSERT INTO {name} VALUES {values}"


def quoted(name: str, dialect: str) -> str:
    """`name` as the engine quotes it."""
    return f"`{name}`" if dialect == "mysql" else f'"{name}"'


def _values(row: tuple[Any, ...]) -> str:
    return "(" + ", ".join(_literal(cell) for cell in row) + ")"


def _literal(cell: Any) -> str:
    if cell is None:
        return "NULL"
    return repr(cell) if isinstance(cell, int | float) else "'" + cell.replace("'", "''") + "'"


@dataclass
class Place:
    """One loaded database: where it is, how it is watched."""

    dialect: str
    target: str  # what users would give: read-only rights where there are rights
    owner: str  # ... with all rights
    folder: Path | None = None  # of the file, where there is one
    server: Any = field(default=None, repr=False)

    def close(self) -> None:
        """Stop the server, where one was started."""
        if self.server is not None:
            self.server.close()

    def state(self) -> str:
        """Changes when anything in the database does."""
        if self.folder is not None:
            return _files_state(self.folder)
        reader = _postgres_state if self.dialect == "postgres" else _mysql_state
        return hashlib.sha256(repr(list(reader(self.owner))).encode()).hexdigest()


def open_places(made: list[Made], fixture: Path, folder: Path, urls: dict[str, str]) -> list[Place]:
    """SQLite and DuckDB files, and the servers: at the given URLs, or started here."""
    places = [_sqlite_place(fixture, folder / "sqlite"), _duckdb_place(made, folder / "duckdb")]
    for dialect, url in urls.items():
        if url == "none":
            continue
        place = _started(dialect) if url == "start" else Place(dialect, url, url)
        _load(place, made)
        places.append(place)
    return places


def _sqlite_place(fixture: Path, folder: Path) -> Place:
    folder.mkdir(parents=True)
    path = folder / "fixture.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(fixture.read_text(encoding="utf-8"))
    return Place("sqlite", str(path), str(path), folder)


def _duckdb_place(made: list[Made], folder: Path) -> Place:
    import duckdb

    folder.mkdir(parents=True)
    path = folder / "fixture.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in script_for("duckdb", made):
            connection.execute(statement)
    return Place("duckdb", str(path), str(path), folder)


def _started(dialect: str) -> Place:
    """A server of the tests' kind. Its programs must be installed."""
    from servers import started_mariadb, started_postgresql

    server: Any = started_postgresql() if dialect == "postgres" else started_mariadb()
    return Place(dialect, server.url_reader, server.url_admin, server=server)


def _load(place: Place, made: list[Made]) -> None:
    opened = connection_to(place.dialect, place.owner)
    with closing(opened) as connection, connection.cursor() as cursor:
        for item in reversed(made):
            kind = "VIEW" if item.sql else "TABLE"
            cursor.execute(f"DROP {kind} IF EXISTS {quoted(item.name, place.dialect)}")
        for statement in script_for(place.dialect, made):
            cursor.execute(statement)
    if place.server is not None and place.dialect == "postgres":
        place.server.let_read("plainsql")


def connection_to(dialect: str, url: str) -> Any:
    """A bare autocommit connection to a server, with the rights of the URL."""
    if dialect == "postgres":
        import psycopg

        return psycopg.connect(url, autocommit=True)
    import pymysql

    from plainsql.execution.targets import parse_target

    found = parse_target(url)
    return pymysql.connect(
        host=found.host, port=found.port or 3306, user=found.user, password=found.password or "",
        database=found.database, autocommit=True, charset="utf8mb4",
    )  # fmt: skip


# What changed


def _files_state(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


_POSTGRES_OBJECTS = (
    "SELECT relname, relkind, relacl::text FROM pg_class WHERE relnamespace > 16383 OR"
    " relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT proname FROM pg_proc WHERE oid > 16383 ORDER BY 1",
    "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
    "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_t%' ORDER BY 1",
    "SELECT count(*) FROM pg_largeobject_metadata",
    "SELECT datname FROM pg_database ORDER BY 1",
    "SELECT setconfig::text FROM pg_db_role_setting ORDER BY 1",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
    "SELECT extname FROM pg_extension ORDER BY 1",
)


def _postgres_state(url: str) -> Iterator[Rows]:
    with closing(connection_to("postgres", url)) as connection:
        for query in _POSTGRES_OBJECTS:
            yield connection.execute(query).fetchall()
        tables = (
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace::text = 'public'"
        )
        tables = tables.replace("relnamespace::text", "relnamespace::regnamespace::text")
        for (name,) in connection.execute(tables).fetchall():
            total = (
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM \"{name}\" t"
            )
            yield connection.execute(total).fetchall()


def _mysql_state(url: str) -> Iterator[Rows]:
    with closing(connection_to("mysql", url)) as connection, connection.cursor() as cursor:
        for query in (
            "SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2",
            "SELECT routine_name FROM information_schema.routines ORDER BY 1",
            "SELECT user, host FROM mysql.user ORDER BY 1, 2",
            "SELECT name FROM mysql.func ORDER BY 1",
            "SELECT @@global.general_log, @@global.local_infile, @@global.event_scheduler",
        ):
            cursor.execute(query)
            yield cursor.fetchall()
        cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
        for name, _ in cursor.fetchall():
            cursor.execute(f"CHECKSUM TABLE `{name}`")
            yield cursor.fetchall()


def files_named(sql: str) -> dict[str, tuple[int, int] | None]:
    """Size and time of every absolute path that a statement spells; None: not there."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in set(_PATH.findall(sql)):
        try:
            status = os.stat(path)
            found[path] = (status.st_size, status.st_mtime_ns) if os.path.isfile(path) else (0, 0)
        except OSError:
            found[path] = None
    return found


def network_use() -> int:
    """TCP connections opened and datagrams sent in this network namespace so far.

    -1 where other programs share the namespace, so that the numbers say nothing:
    run the benchmark under `unshare -n` to have it counted.
    """
    interfaces = Path("/proc/net/dev").read_text().splitlines()[2:]
    if any(not line.strip().startswith("lo:") for line in interfaces):
        return -1
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    counters = {
        (names[0], name): int(value)
        for names, values in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }
    return counters["Tcp:", "ActiveOpens"] + counters["Udp:", "OutDatagrams"]
