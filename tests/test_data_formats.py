"""Pairs in all the forms they come in, read as they stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plainsql.entries import entries
from plainsql.errors import DataError, UsageError
from plainsql.training.data.formats import OwnSchema, Row, format_of
from plainsql.training.data.sources import Rows, find_source

Q, SQL = "How many singers are there?", "SELECT count(*) FROM singer"
DDL = "CREATE TABLE singer (name TEXT, age INTEGER)"
COLUMNS = ["name", "born in", "born in"]
OWN = {"name": "shop", "tables": [{"name": "t", "columns": [{"name": "a", "type": "text"}]}]}
WIKI = {"table_id": "1-1", "question": Q, "sql": {"sel": 0, "agg": 3, "conds": [[1, 1, 5]]}}
HEADER = {"id": "1-1", "header": ["Name", "Age", "Age"], "types": ["text", "real", "text"]}
NUMBERED = '[["Name", "text"], ["Age", "real"], ["Age 2", "text"]]'
ON_HUB = {
    "question": Q,
    "table": HEADER,
    "sql": {
        "sel": 2,
        "agg": 0,
        "conds": {"column_index": [0], "operator_index": [0], "condition": ["O'Hara"]},
    },
}

# name of the form, entry, the row it becomes
FORMS = [
    (
        "spider",
        {"db_id": "concerts", "question": Q, "query": SQL, "sql": {"from": {}}},
        Row(1, Q, SQL, "concerts"),
    ),
    (
        "bird",
        {"db_id": "concerts", "question": Q, "SQL": SQL, "evidence": "all of them"},
        Row(1, Q, SQL, "concerts", "all of them"),
    ),
    ("pairs", {"question": Q, "sql": SQL, "db": "concerts"}, Row(1, Q, SQL, "concerts")),
    ("pairs", {"Question": Q, "Query": SQL, "DB": "concerts"}, Row(1, Q, SQL, "concerts")),
    (
        "pairs",
        {"question": Q, "sql": SQL, "schema": DDL},
        Row(1, Q, SQL, own=OwnSchema("ddl", DDL)),
    ),
    (
        "pairs",
        {"question": Q, "sql": SQL, "schema": OWN},
        Row(1, Q, SQL, own=OwnSchema("json", json.dumps(OWN, sort_keys=True))),
    ),
    (
        "pairs",
        {"question": Q, "sql": SQL, "table": "singer", "db": "concerts"},
        Row(1, Q, SQL, "concerts"),
    ),
    (
        "sql-create-context",
        {"question": Q, "context": DDL, "answer": SQL},
        Row(1, Q, SQL, own=OwnSchema("ddl", DDL)),
    ),
    (
        "wikisql",
        {"table_id": "1-1", "question": Q, "query": SQL, "columns": COLUMNS},
        Row(1, Q, SQL, "1-1", own=OwnSchema("columns", '[["name", ""], ["born in", ""]]')),
    ),
    (
        "wikisql",
        WIKI,
        Row(
            1,
            Q,
            'SELECT COUNT("Name") FROM "table" WHERE "Age" > 5',
            "1-1",
            own=OwnSchema("columns", NUMBERED),
        ),
    ),
    (
        "wikisql",
        ON_HUB,
        Row(
            1,
            Q,
            """SELECT "Age 2" FROM "table" WHERE "Name" = 'O''Hara'""",
            "1-1",
            own=OwnSchema("columns", NUMBERED),
        ),
    ),
]


def rows_of(path: Path, wanted: str = "auto") -> Rows:
    return Rows(find_source(str(path)), wanted)


@pytest.mark.parametrize(("name", "entry", "row"), FORMS)
def test_every_form_is_recognised_and_read(tmp_path: Path, name, entry, row):
    (tmp_path / "a.tables.jsonl").write_text(json.dumps(HEADER) + "\n")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(entry) + "\n")
    for rows in (rows_of(path), rows_of(path, name)):
        assert rows.format.name == name
        assert list(rows) == [row]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_files_of_all_kinds_give_the_same_rows(tmp_path: Path, suffix):
    pairs = [{"question": f"{Q}\n{i}", "sql": SQL, "db": "a"} for i in range(3)]
    texts = {
        "json": json.dumps(pairs, indent=1),
        "jsonl": "\ufeff" + "".join(json.dumps(pair) + "\n" for pair in pairs),
        "csv": "question,sql,db\n" + "".join(f'"{Q}\n{i}",{SQL},a\n' for i in range(3)),
    }
    path = tmp_path / f"a.{suffix}"
    path.write_text(texts[suffix], encoding="utf-8")
    lines = {"json": [2, 7, 12], "jsonl": [1, 2, 3], "csv": [2, 4, 6]}
    expected = [Row(line, f"{Q}\n{i}", SQL, "a") for i, line in enumerate(lines[suffix])]
    assert list(rows_of(path)) == expected


def test_a_folder_is_a_data_set_like_those_of_the_hub(tmp_path: Path):
    pytest.importorskip("datasets")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps({"question": Q, "sql": SQL, "db": "a"}) + "\n")
    rows = rows_of(folder)
    assert rows.format.name == "pairs"
    assert list(rows) == [Row(1, Q, SQL, "a")]
    assert len(rows.sha256()) == 64
    with pytest.raises(DataError, match="not a data set that can be loaded"):
        Rows(find_source(str(folder), split="nothing"))


BAD_ENTRIES = [
    ([1], "not an object"),
    (
        {"question": Q, "table_id": "1-1", "sql": {"sel": 9, "agg": 0, "conds": []}},
        "not in the form",
    ),
    ({"question": Q, "table_id": "1-1", "sql": {"agg": 0, "conds": []}}, "not in the"),
    ({"question": Q, "table_id": "1-1", "sql": {"sel": 0, "agg": 0, "conds": [[1]]}}, "not in the"),
]


@pytest.mark.parametrize(("entry", "error"), BAD_ENTRIES)
def test_a_bad_entry_is_a_row_with_its_error(tmp_path: Path, entry, error):
    (tmp_path / "a.tables.jsonl").write_text(json.dumps(HEADER) + "\n")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(WIKI) + "\n" + json.dumps(entry) + "\n{broken\n\xff\n", "latin-1")
    _, bad, broken, undecodable = rows_of(path)
    assert error in bad.error
    assert broken == Row(3, error=broken.error)
    assert "not a line of JSON" in broken.error
    assert "not a line of JSON" in undecodable.error


BAD_SOURCES = [
    ("a.jsonl", "", "empty"),
    ("a.json", "[]", "empty"),
    ("a.csv", "question,sql\n", "empty"),
    ("a.json", "{}", "expected a list"),
    ("a.json", '[{"question": "?"}, {"que', "line 1"),
    ("a.json", '[{"question": "?"}', "not closed"),
    ("a.jsonl", '{"sql": "SELECT 1"}', "not recognised; the fields are sql"),
    ("a.jsonl", "{\n", "not recognised; the fields are none"),
    ("a.txt", "question", "unknown kind"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD_SOURCES)
def test_bad_sources_are_explained(tmp_path: Path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        list(rows_of(path))


@pytest.mark.parametrize("name", ["missing.jsonl", "./missing", "missing", "a/b.csv", "a b/c"])
def test_a_missing_source_is_explained(name):
    with pytest.raises(DataError, match="no such file"):
        find_source(name)


def test_an_unknown_format_is_explained():
    with pytest.raises(DataError, match="no format 'xml'"):
        format_of([], "xml", "a.jsonl")


def test_an_array_is_read_through_a_small_window(tmp_path: Path):
    long = [{"n": i, "text": "x" * (i % 7) * 30_000, "deep": [[{}], i]} for i in range(40)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(long, indent=2))
    assert [entry.value for entry in entries(path)] == long
    path.write_text("[1, 22, 333]\n")
    assert [entry.value for entry in entries(path)] == [1, 22, 333]


def test_deep_nesting_is_an_error_not_a_crash(tmp_path: Path):
    deep = "[" * 100_000
    (tmp_path / "a.json").write_text(deep)
    with pytest.raises(UsageError, match="not a readable"):
        list(entries(tmp_path / "a.json"))
    (tmp_path / "a.jsonl").write_text(deep)
    assert "not a line of JSON" in next(entries(tmp_path / "a.jsonl")).error
