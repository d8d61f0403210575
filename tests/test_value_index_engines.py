"""The index of values of databases that are no SQLite files: found, kept, bounded, discreet."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plainsql.ask import Database, connect
from plainsql.cli.main import run
from plainsql.execution.access import Access
from plainsql.linking.index_build import TooSlow
from plainsql.linking.index_columns import (
    THOROUGH,
    Budget,
    ColumnSource,
    ColumnValues,
    columns_to_read,
)
from plainsql.linking.value_index import ValueIndex
from plainsql.records import Cell, ValueKind
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.settings import Settings
from plainsql.translators.fake import ScriptedTranslator

SCRIPT = """
CREATE TABLE singer (
    singer_id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, country VARCHAR(40), age INTEGER,
    born DATE, note TEXT
);
CREATE TABLE concert (
    concert_id INTEGER PRIMARY KEY, title VARCHAR(40), year INTEGER, fee DECIMAL(8, 2)
);
INSERT INTO singer VALUES
    (1, 'Joe Sharp', 'Netherlands', 52, '1972-01-01', NULL),
    (2, 'Timbaland', 'United States', 32, '1992-02-02', 'Yes'),
    (3, 'Justin Brown', 'France', 29, '1995-03-03', 'No'),
    (4, 'Rose White', 'France', 41, NULL, 'Yes');
INSERT INTO concert VALUES
    (1, 'Auditions', 2014, 10.50), (2, 'Super Bootcamp', 2014, 20), (3, 'Home Visits', 2015, 10.50);
"""
QUESTIONS = [
    "Which singers are from France?",
    "How old is Timbaland?",
    "When was the Super Bootcamp?",
    "Who comes from the netherlands?",
    "Which concerts were in 2014?",
    "Whose fee is 10.5?",
    "What did Justine Brown sing?",
    "Which title has bootcamp in it?",
    "Nothing of all this",
]
ENGINES = ["duckdb", "files", "postgresql", "mysql"]


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "concerts.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCRIPT)
    return path


def as_duckdb(sqlite_file: Path, folder: Path) -> str:
    duckdb = pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")
    path = folder / "concerts.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(SCRIPT)
    return str(path)


def as_files(sqlite_file: Path, folder: Path) -> str:
    pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")
    (folder / "csv").mkdir()
    with closing(sqlite3.connect(sqlite_file)) as connection:
        for table in ("singer", "concert"):
            cursor = connection.execute(f"SELECT * FROM {table}")
            with (folder / "csv" / f"{table}.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([name for name, *_ in cursor.description])
                writer.writerows(cursor)
    return str(folder / "csv")


@pytest.fixture(params=ENGINES)
def target(request: pytest.FixtureRequest, sqlite_file: Path, tmp_path: Path) -> str:
    """The same database in each engine, as a reader may open it."""
    if request.param == "duckdb":
        return as_duckdb(sqlite_file, tmp_path)
    if request.param == "files":
        return as_files(sqlite_file, tmp_path)
    name = {"postgresql": "postgresql_server", "mysql": "mariadb_server"}[request.param]
    server = request.getfixturevalue(name)
    server.create("value_index", SCRIPT)
    return str(server.url("value_index"))


def asked(target: str | Path, **options: Any) -> Database:
    scripted = ScriptedTranslator({}, ["SELECT count(*) FROM singer"])
    return connect(target, translator=scripted, **options)


Found = list[tuple[object, object, int, int, list[str]]]


def cells(database: Database, question: str) -> Found:
    """The cells that linking finds, with the names of their columns."""
    names = [f"{column.table}.{column.name}" for column in database.schema.columns]
    return sorted(
        (str(v.value), v.kind, v.start, v.end, sorted(names[c] for c in v.columns))
        for v in database.link(question).values
    )


def knows(database: Database, cell: str) -> bool:
    """Whether a question about `cell` finds it in the database."""
    found = cells(database, f"Who is from {cell}?")
    return any(text == cell and kind is ValueKind.CELL for text, kind, *_ in found)


def test_questions_find_the_cells_that_they_find_in_an_sqlite_file(
    target: str, sqlite_file: Path
) -> None:
    with asked(sqlite_file) as usual, asked(target) as database:
        for question in QUESTIONS:
            assert cells(database, question) == cells(usual, question), question
        kinds = {kind for q in QUESTIONS for _, kind, *_ in cells(database, q)}
        assert ValueKind.CELL in kinds
        assert database.remarks() == ()


def test_the_shipped_parser_answers(target: str, capsys: Any) -> None:
    assert run(["ask", "How many singers are from France?", "-d", target, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"] == [[2]]
    assert answer["answer"] == "Number of singers: 2."
    question = "What is the total fee of the concerts in 2014?"
    assert run(["ask", question, "-d", target, "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] in ("30.5", "30.50")


def test_it_is_built_once_and_kept_for_the_user_alone(target: str, tmp_path: Path) -> None:
    settings = Settings(cache_dir=str(tmp_path / "cache"))
    with asked(target, settings=settings) as database:
        first = database.index_values()
        assert first.file is not None
        assert stat.S_IMODE(first.file.stat().st_mode) == 0o600
        built = first.file.stat().st_mtime_ns
        first.close()
    with asked(target, settings=settings) as database:
        second = database.index_values()
        assert second.file is not None
        assert second.file.stat().st_mtime_ns == built
        second.close()
        database.index_values(refresh=True).close()
        assert second.file.stat().st_mtime_ns != built
    assert b"secret" not in second.file.read_bytes()


def test_hidden_columns_are_never_indexed(target: str, tmp_path: Path) -> None:
    access = Access(
        columns_denied={"concert": frozenset({"title"})},
        masked={"singer": {"name": "somebody"}},
    )
    settings = Settings(cache_dir=str(tmp_path / "cache"))
    with asked(target, settings=settings) as database:
        assert knows(database, "Timbaland")
    with asked(target, settings=settings, access=access) as database:
        index = database.index_values()
        assert index.file is not None
        text = index.file.read_bytes()
        for hidden in (b"Timbaland", b"Joe Sharp", b"Bootcamp", b"Home Visits"):
            assert hidden not in text
        assert b"France" in text
        index.close()
    with asked(target, settings=settings, access=Access(rows={"singer": "age > 40"})) as database:
        index = database.index_values()
        assert index.file is not None
        assert b"France" not in index.file.read_bytes()
        assert b"Bootcamp" in index.file.read_bytes()
        index.close()
    with asked(target, settings=settings, tables=["concert"]) as database:
        index = database.index_values()
        assert index.file is not None
        assert b"France" not in index.file.read_bytes()
        index.close()


def test_the_command_says_what_it_holds(target: str, capsys: Any) -> None:
    assert run(["index", "-d", target, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tables"] == 2
    assert report["texts"] >= 10
    assert report["numbers"] >= 8
    assert report["in_part"] == []
    assert Path(report["file"]).is_file()
    assert "secret" not in json.dumps(report)
    assert run(["index", "-d", target]) == 0
    out, err = capsys.readouterr()
    assert " texts of " in out
    assert err == ""


def test_new_values_of_files_are_found(sqlite_file: Path, tmp_path: Path) -> None:
    folder = Path(as_files(sqlite_file, tmp_path))
    with asked(folder) as database:
        assert database.ask("How many singers are from Norway?").rows == ((4,),)
        with (folder / "singer.csv").open("a") as file:
            file.write("5,Kari Moen,Norway,30,,\r\n")
        assert database.ask("How many singers are from Norway?").rows == ((5,),)
        assert knows(database, "Norway")


def test_new_values_of_a_duckdb_file_are_found(sqlite_file: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")
    path = as_duckdb(sqlite_file, tmp_path)
    with asked(path) as database:
        assert not knows(database, "Norway")
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO singer VALUES (5, 'Kari', 'Norway', 30, NULL, NULL)")
    with asked(path) as database:
        assert knows(database, "Norway")


@pytest.mark.parametrize("server", ["postgresql_server", "mariadb_server"])
def test_a_slow_view_holds_no_question_up(server: str, request: pytest.FixtureRequest) -> None:
    started = request.getfixturevalue(server)
    series = ", ".join(f"({n})" for n in range(1000))
    started.create(
        "value_index",
        SCRIPT + f"CREATE TABLE n (n INT); INSERT INTO n VALUES {series};"
        "CREATE VIEW slow AS SELECT concat('v', max(a.n * b.n + c.n)) AS v, 'w' AS w"
        " FROM n a, n b, n c;",
    )
    with asked(started.url("value_index")) as database:
        began = time.monotonic()
        assert knows(database, "France")
        assert time.monotonic() - began < 6
        (remark,) = database.remarks()
        assert "plainsql index" in remark


# What is read, in which order and how much: a source that is not a database


def schema_of(*columns: tuple[str, ColumnType], rows: int | None = None) -> Schema:
    made = tuple(Column("t", name, kind, name) for name, kind in columns)
    return Schema("s", (Table("t", made, "t", row_count=rows),), dialect="postgres")


TEXT, NUMBER = ColumnType.TEXT, ColumnType.NUMBER


class Source:
    """Columns by name, and a note of what was read."""

    def __init__(self, schema: Schema, values: dict[str, list[Cell]], mark: str = "") -> None:
        self.schema = schema
        self.values = values
        self.read_columns: list[str] = []
        self.source = ColumnSource("test", mark, self.read)

    def read(self, column: int, most: int, seconds: float) -> ColumnValues:
        assert seconds > 0
        name = self.schema.columns[column].name
        self.read_columns.append(name)
        if name.startswith("slow"):
            raise TooSlow
        if name.startswith("gone"):
            return ColumnValues((), more=True)
        found = self.values.get(name, [])
        return ColumnValues(found[:most], len(found) > most)


def test_order_and_columns_that_are_not_read() -> None:
    other = Table("big", (Column("big", "x", TEXT, "x"),), "big", row_count=10**6)
    kinds = [("n", NUMBER), ("b", ColumnType.OTHER), ("d", ColumnType.TIME), ("x", TEXT)]
    small = schema_of(*kinds, rows=5).tables[0]
    schema = Schema("s", (other, small))
    named = [f"{schema.columns[c].table}.{schema.columns[c].name}" for c in columns_to_read(schema)]
    assert named == ["t.x", "big.x", "t.n", "t.d"]
    assert columns_to_read(schema, frozenset({0, 1})) == [4, 3]


def test_bounds(tmp_path: Path) -> None:
    schema = schema_of(("a", TEXT), ("slow", TEXT), ("gone", TEXT), ("c", TEXT), ("n", NUMBER))
    values: dict[str, list[Cell]] = {
        "a": [f"v{i}" for i in range(10)], "c": ["x" * 61, "ok"], "n": list(range(5000)),
    }  # fmt: skip
    source = Source(schema, values)
    budget = Budget(distinct=5)
    index = ValueIndex.of_columns(source.source, schema, tmp_path, budget=budget)
    assert index.counts == (5, 0, 0, 2, 0)
    assert index.capped == (0, 1, 2)
    assert index.columns_with("ok") == (3,)
    assert index.columns_with(7) == ()
    assert index.size() == (6, 0)
    index.close()
    none = ValueIndex.of_columns(
        source.source, schema, tmp_path, budget=Budget(seconds=0), refresh=True
    )
    assert none.capped == (0, 1, 2, 3, 4)
    none.close()


def test_a_server_is_read_again_when_its_index_is_old(tmp_path: Path) -> None:
    schema = schema_of(("a", TEXT))
    source = Source(schema, {"a": ["x"]})

    def opened(max_age: float, **options: Any) -> int:
        ValueIndex.of_columns(source.source, schema, tmp_path, max_age=max_age, **options).close()
        return len(source.read_columns)

    assert opened(math.inf) == 1
    assert opened(3600) == 1
    assert opened(0) == 2
    (file,) = tmp_path.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE meta SET content = '90' WHERE name = 'seconds'")
    assert opened(0) == 2, "an index that took longer than there is time is kept"
    assert opened(0, budget=THOROUGH) == 3
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE meta SET content = '99999999999' WHERE name = 'built'")
    assert opened(3600) == 4, "made in the future: the clock was wrong"


def test_more_time_completes_an_index(tmp_path: Path) -> None:
    schema = schema_of(("a", TEXT))
    source = Source(schema, {"a": ["x"]}, mark="same")
    for budget, reads in ((Budget(seconds=0), 0), (Budget(), 1), (Budget(), 1), (THOROUGH, 1)):
        ValueIndex.of_columns(source.source, schema, tmp_path, budget=budget).close()
        assert len(source.read_columns) == reads


def test_a_relative_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schema = schema_of(("a", TEXT))
    index = ValueIndex.of_columns(Source(schema, {"a": ["x"]}).source, schema, "cache")
    assert index.file is not None
    assert index.file.parent == tmp_path / "cache"
    index.close()


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    schema = schema_of(("a", TEXT))
    for mark, reads in (("1", 1), ("1", 0), ("2", 1)):
        source = Source(schema, {"a": ["x"]}, mark=mark)
        ValueIndex.of_columns(source.source, schema, tmp_path, max_age=0).close()
        assert len(source.read_columns) == reads


def test_progress_is_told(tmp_path: Path) -> None:
    schema = schema_of(("a", TEXT), ("b", TEXT))
    told: list[tuple[int, int, str]] = []
    source = Source(schema, {"a": ["x"]}).source
    ValueIndex.of_columns(source, schema, tmp_path, done=lambda *step: told.append(step)).close()
    assert [(done, total) for done, total, _ in told] == [(0, 2), (1, 2)]


# What asking loads

COLD = """
import sys
from plainsql.cli.main import run
code = run(["ask", "How many singers are there?", "-d", sys.argv[1]])
loaded = {name.split(".")[0] for name in sys.modules}
print(code, sorted(loaded & {"duckdb", "psycopg", "pymysql", "sqlalchemy", "pyarrow", "pandas"}))
"""


def test_asking_an_sqlite_file_loads_no_other_engine(concerts: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(concerts)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
