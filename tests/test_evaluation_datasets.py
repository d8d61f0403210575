"""Data sets, database files, and files of predictions."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.errors import ConnectError, UsageError
from plainsql.evaluation.datasets import Example, database_paths, load_dataset, select
from plainsql.evaluation.predictions import UNANSWERED, align, one_line, read_predictions

SPIDER = {"db_id": "shop", "question": "How many?", "query": "SELECT 1", "sql": {"from": {}}}
BIRD = {
    "db_id": "shop",
    "question": "How many?",
    "SQL": "SELECT 1",
    "evidence": "one is 1",
    "difficulty": "simple",
}
ONE = Example("How many?", "SELECT 1", "shop")

FILES = [
    ("a.json", json.dumps([SPIDER]), ONE),
    ("a.json", json.dumps([BIRD]), Example("How many?", "SELECT 1", "shop", "one is 1", "simple")),
    ("a.jsonl", '{"question": "How many?", "sql": "SELECT 1", "db": "shop"}\n\n', ONE),
    ("a.JSONL", '{"question": "How many?", "query": "SELECT 1", "db_id": "shop"}', ONE),
    ("a.csv", "question,sql,db\nHow many?,SELECT 1,shop\n", ONE),
    ("a.csv", "\ufeffDB_ID,Query,Question\nshop,SELECT 1,How many?\n", ONE),
]


@pytest.mark.parametrize(("name", "text", "example"), FILES)
def test_every_form_gives_the_same_example(tmp_path: Path, name, text, example):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert load_dataset(path) == (example,)


BAD_FILES = [
    ("a.json", "[]", "empty"),
    ("a.json", "{}", "list of questions"),
    ("a.json", "[", "not a readable"),
    ("a.json", "[1]", "entry 1: expected an object"),
    ("a.json", json.dumps([SPIDER, {"question": "?", "query": "SELECT 1"}]), "entry 2: no db_id"),
    ("a.json", json.dumps([{"db_id": "shop", "query": "SELECT 1"}]), "entry 1: no question"),
    ("a.json", json.dumps([{"db_id": "shop", "question": "?", "sql": {}}]), "entry 1: no query"),
    ("a.csv", "question,sql,db\nHow many?,,shop\n", "entry 1: no query"),
    ("a.csv", "", "empty"),
    ("a.jsonl", "{}\n{", "not a readable"),
    ("a.txt", "", "unknown kind"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES)
def test_bad_files_are_explained(tmp_path: Path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_dataset(path)


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file"):
        load_dataset(tmp_path / "a.json")


EXAMPLES = tuple(
    Example(f"q{i}", "SELECT 1", db, position=i) for i, db in enumerate(["a", "b", "a", "c"])
)

SELECTIONS = [
    ({}, [0, 1, 2, 3]),
    ({"only": ["a"]}, [0, 2]),
    ({"exclude": ["a"]}, [1, 3]),
    ({"only": ["a", "b"], "exclude": ["b"]}, [0, 2]),
    ({"limit": 2}, [0, 1]),
    ({"exclude": ["a"], "limit": 1}, [1]),
]


@pytest.mark.parametrize(("filters", "positions"), SELECTIONS)
def test_selection(filters, positions):
    assert [example.position for example in select(EXAMPLES, **filters)] == positions


@pytest.mark.parametrize("filters", [{"only": ["z"]}, {"exclude": ["z"]}])
def test_an_unknown_database_is_no_filter(filters):
    with pytest.raises(UsageError, match="'z'"):
        select(EXAMPLES, **filters)


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(UsageError, match="No questions are left"):
        select(EXAMPLES, exclude=["a", "b", "c"])


def test_databases_lie_in_folders_or_flat(tmp_path: Path):
    for name in ("a/a.sqlite", "b.sqlite", "c/c.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = database_paths(tmp_path, ["a", "b", "a", "c"])
    assert {name: str(path.relative_to(tmp_path)) for name, path in found.items()} == {
        "a": "a/a.sqlite",
        "b": "b.sqlite",
        "c": "c/c.db",
    }


def test_all_missing_databases_are_named(tmp_path: Path):
    (tmp_path / "b.sqlite").touch()
    with pytest.raises(ConnectError, match="No database file for a, c under"):
        database_paths(tmp_path, ["a", "b", "c"])


LINES = [
    ("SELECT 1", "SELECT 1"),
    ("  SELECT\n\t1 ;\n", "SELECT 1"),
    ("SELECT 1 -- one\n, 2 /* two\n */ + 3", "SELECT 1 , 2 + 3"),
    ("SELECT 'a  b', '--x'", "SELECT 'a  b', '--x'"),
    ("SELECT 'a\nb'", "SELECT ('a' || char(10) || 'b')"),
    ("SELECT 'it''s\t\r'", "SELECT ('it''s' || char(9) || char(13))"),
    ("SELECT '\n'", "SELECT (char(10))"),
    ('SELECT "a\nb" FROM t', 'SELECT "a b" FROM t'),
    ("SELECT [a  b] FROM `c  d`", "SELECT [a  b] FROM `c  d`"),
    ("", UNANSWERED),
    ("-- nothing", UNANSWERED),
]


@pytest.mark.parametrize(("sql", "line"), LINES)
def test_a_query_becomes_one_line(sql, line):
    assert one_line(sql) == line


@pytest.mark.parametrize("text", ["plain", "two\nlines", "\ttabbed\r\n", "it's\nhers", "\n"])
def test_strings_keep_their_value_on_one_line(text):
    quoted = text.replace("'", "''")
    with closing(sqlite3.connect(":memory:")) as connection:
        (value,) = connection.execute(one_line(f"SELECT '{quoted}'")).fetchone()
    assert value == text


def test_the_line_of_an_unanswered_question_never_runs():
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such column"),
    ):
        connection.execute(UNANSWERED)


def test_predictions_are_read_line_by_line(tmp_path: Path):
    path = tmp_path / "predicted.sql"
    path.write_text(f"SELECT 1\tshop\n{UNANSWERED}\n\nSELECT 2\n")
    assert read_predictions(path) == ("SELECT 1", "", "", "SELECT 2")


def test_unreadable_predictions_are_explained(tmp_path: Path):
    with pytest.raises(UsageError, match="can't be read"):
        read_predictions(tmp_path / "predicted.sql")


def test_predictions_cover_the_data_set_or_the_selection():
    assert align(["a", "b", "c"], [0, 2], 3) == ("a", "c")
    assert align(["a", "c"], [0, 2], 3) == ("a", "c")
    with pytest.raises(UsageError, match="4 predictions for 2 questions"):
        align(["a"] * 4, [0, 2], 3)
