"""SQLite files copied into other engines, opened as users open them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plainsql.evaluation.dialects import Side
from plainsql.evaluation.loading import aligned_schema, copy_tables, read_tables
from plainsql.execution.base import open_engine
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.tree import Query
from plainsql.schema.graph import JoinGraph
from servers import MariaDBServer, PostgreSQLServer

ENGINES = ("duckdb", "postgres", "mysql")


class Copies:
    """An SQLite file and its copies, opened by the engines that users have."""

    def __init__(self, path: Path, targets: dict[str, str]) -> None:
        self.engine = open_engine(str(path), worker=False)
        schema = self.engine.introspect()
        self.reference = Side(self.engine, schema, JoinGraph(schema))
        self.sides: dict[str, Side] = {}
        for dialect, target in targets.items():
            engine = open_engine(target, worker=False)
            found = aligned_schema(schema, engine.introspect())
            self.sides[dialect] = Side(engine, found, JoinGraph(found))

    def read(self, sql: str) -> Query:
        return from_sql(sql, self.reference.schema, self.reference.graph)

    def close(self) -> None:
        for side in (self.reference, *self.sides.values()):
            side.engine.close()


def duckdb_copy(path: Path) -> str:
    duckdb = pytest.importorskip("duckdb")
    target = path.with_suffix(".duckdb")
    with duckdb.connect(target) as connection:
        copy_tables(read_tables(path), "duckdb", connection.execute)
    return str(target)


def postgres_copy(path: Path, server: PostgreSQLServer) -> str:
    server.create(path.stem)
    with server.connect(path.stem) as connection:
        copy_tables(read_tables(path), "postgres", lambda s, p: connection.execute(s, p or None))
    server.let_read(path.stem)
    return server.url(path.stem)


def mysql_copy(path: Path, server: MariaDBServer) -> str:
    server.create(path.stem)
    with server.connect(path.stem) as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE `{path.stem}` COLLATE utf8mb4_nopad_bin")
        copy_tables(read_tables(path), "mysql", lambda s, p: cursor.execute(s, p or None))
    return server.url(path.stem)


# One fixture an engine: where a server isn't installed, the others are still tested.
def copies_fixture(file: str, dialect: str) -> Any:
    @pytest.fixture(scope="module")
    def copies(request: pytest.FixtureRequest) -> Iterator[Copies]:
        path: Path = request.getfixturevalue(file)
        if dialect == "duckdb":
            target = duckdb_copy(path)
        elif dialect == "postgres":
            target = postgres_copy(path, request.getfixturevalue("postgresql_server"))
        else:
            target = mysql_copy(path, request.getfixturevalue("mariadb_server"))
        with closing(Copies(path, {dialect: target})) as opened:
            yield opened

    return copies
