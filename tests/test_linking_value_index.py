from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.cache_folder import default_cache_dir
from plainsql.errors import ConnectError
from plainsql.linking.index_build import Limits, build, sqlite_rows
from plainsql.linking.value_index import ValueIndex
from plainsql.linking.words import tokenize_question
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema

DDL = """
CREATE TABLE person(id INTEGER, name TEXT, sex TEXT, city TEXT, state TEXT, zip TEXT, active TEXT,
                    grade INTEGER);
INSERT INTO person VALUES
    (1, 'Joe Sharp', 'M', 'New York City', 'NY', '10001', 'Yes', 7),
    (2, ' OTHA', 'F', 'St. Louis', 'MO', '63101', 'No', 7),
    (3, 'Rose White', 'F', 'San José', 'CA', '95101', 'Yes', 9),
    (4, 'the', 'M', 'Springfield', 'OR', NULL, NULL, NULL);
CREATE TABLE school(id INTEGER, school TEXT, state TEXT, status TEXT, note BLOB);
INSERT INTO school VALUES
    (1, 'University of California', 'New York', 'Completed', x'00ff'),
    (2, 'Hiram College', 'Ohio', 'open', x'00'),
    (3, 'Rose White Middle School for Girls and Boys of All Ages and Denominations', 'OH', 'x', 1);
CREATE TABLE blank(a TEXT, b BLOB);
INSERT INTO blank VALUES (NULL, NULL);
CREATE TABLE empty(a TEXT);
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "people.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DDL)
    return path


@pytest.fixture
def schema(database: Path) -> Schema:
    return sqlite_schema(database)


@pytest.fixture
def index(database: Path, schema: Schema, tmp_path: Path) -> Iterator[ValueIndex]:
    with closing(ValueIndex.open(database, schema, tmp_path / "cache")) as index:
        yield index


# question, cell, words, columns, score
FOUND = [
    ("Where is Joe Sharp?", "Joe Sharp", "Joe Sharp", "person.name", 1.0),
    ("where is joe sharp", "Joe Sharp", "joe sharp", "person.name", 0.98),
    ("Students named OTHA", " OTHA", "OTHA", "person.name", 1.0),
    ("who lives in St Louis", "St. Louis", "St Louis", "person.city", 0.95),
    ("who lives in San Jose", "San José", "San Jose", "person.city", 0.98),
    ("in zip 10001", "10001", "10001", "person.zip", 1.0),
    ("any universities of california", "University of California", "", "school.school", 0.8),
    ("persons of sex F", "F", "F", "person.sex", 1.0),
    ('persons of sex "f"', "F", "f", "person.sex", 0.98),
    ("the female persons", "F", "female", "person.sex", 0.7),
    ("all men", "M", "men", "person.sex", 0.7),
    ("persons in California", "CA", "California", "person.state", 0.7),
    ("persons in NYC", "New York City", "NYC", "person.city", 0.7),
    ("schools at California", "University of California", "California", "school.school", 0.4),
    ("the Hiram school", "Hiram College", "Hiram", "school.school", 0.45),
    ("who lives in Sprinfield", "Springfield", "Sprinfield", "person.city", 0.85),
    ("what is at Hirma College", "Hiram College", "Hirma College", "school.school", 0.85),
    ("the schools that complete", "Completed", "complete", "school.status", 0.5),
    ('named "the"', "the", "the", "person.name", 1.0),
    ("those New York City people", "New York City", "New York City", "person.city", 1.0),
    ("those New York City people", "New York", "New York", "school.state", 1.0),
]


@pytest.mark.parametrize(("text", "cell", "words", "columns", "score"), FOUND)
def test_lookup_finds(
    index: ValueIndex, schema: Schema, text: str, cell: str, words: str, columns: str, score: float
) -> None:
    question = tokenize_question(text)
    found = {c.value: c for c in index.lookup(question)}
    assert cell in found
    item = found[cell]
    typed = text[question.words[item.start].start : question.words[item.end - 1].end]
    assert typed == words or not words
    names = [f"{schema.columns[c].table}.{schema.columns[c].name}" for c in item.columns]
    assert columns in names
    assert item.score == pytest.approx(score, abs=0.02)
    assert item.kind == "cell"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the the of",
        "how many f are m",  # single small letters
        "which state is in it",  # OR, IN... are no words of questions
        "are they in or out",
        "a girl's guide to 'nothing",
    ],
)
def test_lookup_finds_no_noise(index: ValueIndex, text: str) -> None:
    found = [c for c in index.lookup(tokenize_question(text)) if c.value != "F"]
    assert found == []


def test_lookup_is_bounded_ordered_and_repeatable(index: ValueIndex) -> None:
    text = "Joe Sharp, Rose White, OTHA, St. Louis, San José, NY, MO, CA, 10001, 63101, Ohio, Yes"
    first = index.lookup(tokenize_question(text))
    assert len(first) == 8
    assert [c.start for c in first] == sorted(c.start for c in first)
    assert index.lookup(tokenize_question(text)) == first


def test_long_questions(index: ValueIndex) -> None:
    index.lookup(tokenize_question("word " * 3000 + '"Joe Sharp"'))


def test_columns_with(index: ValueIndex, schema: Schema) -> None:
    assert index.columns_with("Joe Sharp") == (schema.column_index("person", "name"),)
    assert index.columns_with(9) == (schema.column_index("person", "grade"),)
    assert index.columns_with(9.0) == index.columns_with(9)
    assert index.columns_with("nowhere") == ()


def test_samples_counts_and_flags(index: ValueIndex, schema: Schema) -> None:
    state = schema.column_index("person", "state")
    assert index.samples_of(state, 2) == ("NY", "MO")
    assert index.samples_of(schema.column_index("person", "grade"), 5) == (7, 9)
    assert index.samples_of(schema.column_index("blank", "a")) == ()
    assert index.counts[state] == 4
    active = schema.column_index("person", "active")
    assert index.flags == ((active, "No"), (active, "Yes"))


def file_of(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_is_built_once_and_again_after_a_change(
    database: Path, schema: Schema, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    ValueIndex.open(database, schema, cache).close()
    built = file_of(cache).stat().st_mtime_ns
    ValueIndex.open(database, schema, cache).close()
    assert file_of(cache).stat().st_mtime_ns == built
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO person(name) VALUES ('Newly Born')")
    with closing(ValueIndex.open(database, schema, cache)) as index:
        assert index.columns_with("Newly Born")


def test_sees_changes_in_the_write_ahead_log(database: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        schema = sqlite_schema(database)
        ValueIndex.open(database, schema, cache).close()
        with writer:
            writer.execute("INSERT INTO person(name) VALUES ('Newly Born')")
        with closing(ValueIndex.open(database, schema, cache)) as index:
            assert index.columns_with("Newly Born")


def test_is_rebuilt_for_another_schema(database: Path, schema: Schema, tmp_path: Path) -> None:
    ValueIndex.open(database, schema, tmp_path / "cache").close()
    turned = Schema(schema.name, tuple(reversed(schema.tables)))
    with closing(ValueIndex.open(database, turned, tmp_path / "cache")) as index:
        assert index.columns_with("Joe Sharp") == (turned.column_index("person", "name"),)


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\x00" * 99])
def test_a_damaged_index_file_is_replaced(
    database: Path, schema: Schema, tmp_path: Path, content: bytes
) -> None:
    cache = tmp_path / "cache"
    ValueIndex.open(database, schema, cache).close()
    file_of(cache).write_bytes(content)
    with closing(ValueIndex.open(database, schema, cache)) as index:
        assert index.columns_with("Joe Sharp")
        assert not index.in_memory


def test_without_a_cache_folder_it_is_in_memory(
    database: Path, schema: Schema, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    with closing(ValueIndex.open(database, schema, blocked / "cache")) as index:
        assert index.in_memory
        assert index.lookup(tokenize_question("Where is Joe Sharp?"))


def test_concurrent_builders_leave_one_whole_file(
    database: Path, schema: Schema, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with closing(ValueIndex.open(database, schema, cache)) as index:
                assert index.lookup(tokenize_question("Where is Joe Sharp?"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(cache.iterdir())) == 1


def test_one_index_serves_many_threads(index: ValueIndex) -> None:
    results: list[object] = []
    question = tokenize_question("Where is Joe Sharp of St. Louis?")
    threads = [
        threading.Thread(target=lambda: results.append(index.lookup(question))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [index.lookup(question)] * 8


def test_errors_say_what_to_do(database: Path, schema: Schema, tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="There is no file"):
        ValueIndex.open(tmp_path / "none.sqlite", schema, tmp_path)
    text = tmp_path / "text.sqlite"
    text.write_text("just some text, which is not a database " * 50)
    with pytest.raises(ConnectError, match="is not a SQLite database"):
        ValueIndex.open(text, schema, tmp_path)
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConnectError, match="locked") as caught:
            ValueIndex.open(database, schema, tmp_path, timeout=0.05)
        assert caught.value.hint


def test_the_database_is_not_written(database: Path, schema: Schema, tmp_path: Path) -> None:
    before = database.read_bytes(), sorted(os.listdir(tmp_path))
    ValueIndex.open(database, schema, tmp_path / "cache").close()
    (tmp_path / "cache").rename(tmp_path.with_name(tmp_path.name + "-cache"))
    assert (database.read_bytes(), sorted(os.listdir(tmp_path))) == before


def test_limits_cap_and_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "many.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t(a TEXT, b TEXT, n INTEGER)")
        rows = [(f"a{i}", "same", i) for i in range(10_000)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    schema = sqlite_schema(path)
    limits = Limits(distinct=5_000, numbers=100)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(":memory:")) as target:
        build(target, schema, sqlite_rows(source, schema), limits)
        assert target.execute("SELECT content FROM meta").fetchone() == ("0",)
        assert target.execute("SELECT count(*) FROM number").fetchone() == (0,)
        (texts,) = target.execute("SELECT count(*) FROM value").fetchone()
    assert 1 < texts <= 5_001


def test_tables_and_texts_that_can_not_be_read_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "odd.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE "odd "" name"("a "" b" TEXT, c)')
        connection.execute("INSERT INTO \"odd \"\" name\" VALUES (CAST(x'ff41' AS TEXT), 'fine')")
        connection.execute("CREATE TABLE gone(a TEXT)")
    schema = sqlite_schema(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE gone")
    with closing(ValueIndex.open(path, schema, tmp_path / "cache")) as index:
        assert index.columns_with("fine") == (1,)
        assert index.counts[0] == 1


def test_an_endless_view_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plainsql.linking.index_build.VIEW_SECONDS", 0.05)
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE river (name TEXT); INSERT INTO river VALUES ('Rhine');"
            "CREATE VIEW numbers AS WITH RECURSIVE n(i) AS"
            " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'n' || i AS text FROM n;"
        )
    schema = sqlite_schema(path)
    with closing(ValueIndex.open(path, schema, tmp_path / "cache")) as index:
        assert index.columns_with("Rhine") == (0,)
        assert index.capped == (1,)


def test_from_rows_indexes_other_engines(schema: Schema) -> None:
    rows = {0: [(1, "Joe Sharp", "M", "Bonn", "NRW", "53111", "Yes", 7)]}
    with closing(ValueIndex.from_rows(schema, lambda table: iter(rows.get(table, ())))) as index:
        (found,) = index.lookup(tokenize_question("who lives in Bonn"))
    assert found.value == "Bonn"


def test_default_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir().name == "plainsql"
    assert default_cache_dir().is_relative_to(tmp_path)
