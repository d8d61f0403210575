"""No message names a table or a column that the policy hides, though engines know them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guarded_shop import ACCESS, SCRIPT, schema
from plainsql.errors import PlainsqlError
from plainsql.execution.access import Access
from plainsql.execution.base import Engine, hidden_names, in_process_engine, run_guarded
from plainsql.execution.guard import judge
from plainsql.execution.nearest_names import column_hint, table_hint, without_hidden
from plainsql.execution.targets import parse_target
from servers import mariadb_server, postgresql_server

__all__ = ["mariadb_server", "postgresql_server"]

ENGINES = ["sqlite", "duckdb", "postgresql", "mariadb"]
# `users.password` and `orders.note` are denied, `users.email` and `users.age` masked,
# `secret` may not be read; items are open. What the name without "x" is, is never said.
HIDDEN = ["passwordx", "emailx", "agex", "notex", "wordx"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The shop on each engine, read by a role that may read all of it."""
    with closing(in_process_engine(parse_target(_place(request, tmp_path)))) as opened:
        yield opened


def _place(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param in ("postgresql", "mariadb"):
        server = request.getfixturevalue(f"{request.param}_server")
        server.create("hidden_names", SCRIPT)
        return str(server.url("hidden_names"))
    path = folder / f"shop.{request.param}"
    module: Any = pytest.importorskip("duckdb" if request.param == "duckdb" else "sqlite3")
    with closing(module.connect(str(path))) as connection:
        for statement in filter(str.strip, SCRIPT.split(";")):
            connection.execute(statement)
        connection.commit()
    return str(path)


@pytest.mark.parametrize("wanted", HIDDEN)
@pytest.mark.parametrize("table", ["users", "orders", "items"])
def test_no_engine_suggests_a_hidden_column(engine: Engine, wanted: str, table: str) -> None:
    whole = engine.introspect()
    with pytest.raises(PlainsqlError) as refused:
        run_guarded(engine, f"SELECT {wanted} FROM {table}", schema=whole, access=ACCESS)
    told = re.findall(r"\w+", f"{refused.value.message} {refused.value.hint}")
    assert wanted[:-1] not in told


def test_no_engine_suggests_a_hidden_table(engine: Engine) -> None:
    whole = engine.introspect()
    with pytest.raises(PlainsqlError) as refused, hidden_names(ACCESS):
        engine.run("SELECT 1 FROM secrets", limit=1, timeout=9)
    assert "secret" not in re.findall(r"\w+", f"{refused.value.message} {refused.value.hint}")
    assert whole.tables


NAMES = {"users": ["id", "email"], "main.secret": ["word"], "odd.name": ["a.note", "id"]}
SHOWN = [
    (column_hint("emai", NAMES), ""),
    (column_hint("a.notes", NAMES), ""),
    (column_hint("idd", NAMES), "Did you mean users.id?"),
    (table_hint("user", NAMES), "Did you mean users?"),
    (
        table_hint("qqqq", ["users", "secret", "orders"]),
        "The tables are orders, users.",
    ),
    ("Say it in other words.", "Say it in other words."),
]


@pytest.mark.parametrize(("hint", "expected"), SHOWN)
def test_hints_lose_hidden_names(hint: str, expected: str) -> None:
    assert without_hidden(hint, ACCESS.shows) == expected


SUGGESTED = [
    ("SELECT u.emaill FROM users u", Access(), "maybe 'email'"),
    ("SELECT u.emaill FROM users u", ACCESS, ""),
    ("SELECT u.passwor FROM users u", ACCESS, ""),
    ("SELECT u.regio FROM users u", ACCESS, "maybe 'region'"),
    ("SELECT u.wor FROM users u", Access(tables=frozenset({"users"})), ""),
    ("SELECT u.wor FROM users u", Access(), "maybe 'word'"),
]


@pytest.mark.parametrize(("sql", "access", "maybe"), SUGGESTED)
def test_the_guard_suggests_no_hidden_column(sql: str, access: Access, maybe: str) -> None:
    reason = judge(sql, dialect="postgres", schema=schema("postgres"), access=access).reason
    assert "is not known" in reason
    assert reason.partition("known")[2].strip(", ") == maybe
