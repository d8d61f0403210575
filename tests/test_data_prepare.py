"""Preparing data: what is kept, what is turned away, what is written."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plainsql.errors import DataError, ModelError, TrainingError, UsageError
from plainsql.training.data import prepare as module
from plainsql.training.data.checks import parse, tidy, used_names
from plainsql.training.data.ledger import Ledger, question_key, sql_key
from plainsql.training.data.measuring import measure, prompts, tokenizer_of
from plainsql.training.data.prepare import PrepareOptions, load_prepared, prepare
from plainsql.training.data.prepared import read_examples
from plainsql.training.data.report import Lengths
from plainsql.translators.language_model.model_info import PromptFormat

GOOD = {"question": "How many singers?", "sql": "SELECT count(*) FROM singer", "db": "concerts"}


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def examples(folder: Path, name: str = "train") -> list[dict[str, Any]]:
    return list(read_examples(folder / f"{name}.jsonl"))


def run(tmp_path: Path, *rows: Any, **options: Any) -> tuple[Any, Path]:
    """Prepare `rows` over the databases of `tmp_path`; the report and the folder."""
    options = {"databases": tmp_path, "validation_fraction": 0.0} | options
    out = options.pop("out", tmp_path / "out")
    source = write(tmp_path / "pairs.jsonl", *rows)
    return prepare(PrepareOptions((source,), out, **options)), out


def test_an_example_holds_all_that_training_needs(tmp_path: Path, concerts: Path):
    report, out = run(tmp_path, GOOD)
    (row,) = examples(out)
    blocks = row.pop("schema")
    assert row == {
        "instruction": "Translate the question into one SQLite SELECT statement."
        " Answer with the SQL only.",
        "question": "How many singers?",
        "response": "SELECT count(*) FROM singer",
        "db": "concerts",
        "evidence": "",
    }
    assert [(block["table"], block["rank"]) for block in blocks] == [("singer", 0), ("concert", 1)]
    assert blocks[1]["text"].startswith("CREATE TABLE concert (")
    data = load_prepared(out)
    assert data.databases == str(tmp_path)
    assert data.prompt == PromptFormat()
    assert data.manifest["splits"] == {"train": ["concerts"], "validation": []}
    assert data.manifest["report"] == json.loads(json.dumps(report.to_dict()))
    ((prompt, response),) = prompts(data.train, data, tokenizer_of(""), 9)
    assert prompt.text.endswith("### Question\nHow many singers?\n\n### Response\n")
    assert response == "SELECT count(*) FROM singer"
    assert report.train.prompt_tokens["max"] == prompt.tokens
    assert measure(data.train, data, tokenizer_of("")) == report.train


REJECTED = [
    ({"sql": "SELECT 1", "db": "concerts"}, "no question"),
    ({"question": " ", "sql": "SELECT 1", "db": "concerts"}, "no question"),
    ({"question": "Q?", "db": "concerts"}, "no SQL"),
    ({"question": "Q?", "sql": " ; -- nothing", "db": "concerts"}, "no SQL"),
    ({"question": "Q?", "sql": "SELECT 1"}, "neither a database nor a schema is named"),
    ({"question": "Q?", "sql": "SELECT 1", "db": "zoo"}, "the database is unknown"),
    ({"question": "Q?", "sql": "SELECT 1", "db": "../concerts"}, "the database is unknown"),
    ({"question": "Q?", "sql": "SELECT 1", "db": "broken"}, "the database can't be read"),
    ({"question": "Q?", "sql": "SELECT 1", "schema": "?"}, "the schema can't be read"),
    ({"question": "Q?", "sql": "SELECT (", "db": "concerts"}, "the SQL does not parse"),
    ({"question": "Q?", "sql": "SELECT 'a", "db": "concerts"}, "the SQL does not parse"),
    (
        {"question": "Q?", "sql": "SELECT " + "(" * 3000 + "1", "db": "concerts"},
        "the SQL does not parse",
    ),
    ({"question": "Q?", "sql": "DROP TABLE singer", "db": "concerts"}, "the SQL is not one query"),
    ({"question": "Q?", "sql": "SELECT 1; SELECT 2", "db": "concerts"}, "the SQL is not one query"),
    (
        {"question": "Q?", "sql": "SELECT a FROM zebra", "db": "concerts"},
        "the SQL names a table that the schema lacks",
    ),
    (
        {"question": "Q?", "sql": "SELECT stripes FROM singer", "db": "concerts"},
        "the SQL does not execute",
    ),
    (
        {"question": "Q?", "sql": "SELECT load_extension('x') FROM singer", "db": "concerts"},
        "the guard refuses the SQL",
    ),
    (
        {
            "question": "Q?",
            "sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0)"
            " SELECT max(i) FROM n",
            "db": "concerts",
        },
        "the SQL takes too long",
    ),
    ("a text", "the row can't be read"),
]


@pytest.mark.parametrize(("bad", "reason"), REJECTED)
def test_bad_rows_are_reported_with_line_and_reason(tmp_path: Path, concerts: Path, bad, reason):
    (tmp_path / "broken.sqlite").write_text("no database" * 200)
    report, out = run(tmp_path, GOOD, bad, timeout=0.2)
    assert report.rejected == {reason: 1}
    assert (report.rows, report.train.examples) == (2, 1)
    (rejected,) = read_examples(out / "rejected.jsonl")
    assert (rejected["line"], rejected["reason"]) == (2, reason)
    with pytest.raises(DataError, match=rf"pairs.jsonl, line 2: {reason}"):
        run(tmp_path, GOOD, bad, timeout=0.2, strict=True, out=tmp_path / "strict")
    assert not (tmp_path / "strict").exists()


def test_half_characters_are_replaced(tmp_path: Path, concerts: Path):
    odd = {**GOOD, "question": "How many \ud800 singers?"}
    for split_by in ("query", "database"):
        _, out = run(tmp_path, odd, split_by=split_by, force=True)
        assert examples(out)[0]["question"] == "How many ? singers?"


def test_without_execution_only_the_names_of_tables_are_checked(tmp_path: Path, concerts: Path):
    bad = {"question": "Q?", "sql": "SELECT stripes FROM singer", "db": "concerts"}
    report, _ = run(tmp_path, GOOD, bad, execute=False)
    assert (report.train.examples, report.executed) == (2, 0)


def test_nothing_left_is_an_error(tmp_path: Path, concerts: Path):
    with pytest.raises(DataError, match="No example is left to train on: 1: no SQL"):
        run(tmp_path, {"question": "Q?", "db": "concerts"})
    with pytest.raises(DataError, match="empty"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_duplicates_are_dropped_and_contradictions_counted(tmp_path: Path, concerts: Path):
    same = {"question": "how many  SINGERS", "sql": "select COUNT( * ) from Singer;"}
    other = {"question": "How many singers?", "sql": "SELECT count(name) FROM singer"}
    elsewhere = {**GOOD, "db": "", "schema": "CREATE TABLE singer (name TEXT)"}
    rows = [GOOD, {**same, "db": "concerts"}, {**other, "db": "concerts"}, elsewhere]
    report, _ = run(tmp_path, *rows)
    assert (report.duplicates, report.contradictions, report.train.examples) == (1, 1, 3)


KEYS = [
    (question_key, "How many?", "how  many", True),
    (question_key, "Über 5?", "über 5", True),
    (question_key, "歌手は何人", "歌手の年齢", False),
    (sql_key, "SELECT a\n FROM t", "select  A from T", True),
    (sql_key, "SELECT 'A'", "SELECT 'a'", False),
    (sql_key, 'SELECT "A  b"', 'SELECT "A b"', False),
    (sql_key, "SELECT a,b", "SELECT a , b", True),
    (sql_key, "SELECT a>=1", "SELECT a >= 1", True),
]


@pytest.mark.parametrize(("key", "one", "other", "equal"), KEYS)
def test_what_counts_as_equal(key, one, other, equal):
    assert (key(one) == key(other)) is equal


def test_the_ledger_lies_on_the_disk(tmp_path: Path):
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        assert all(ledger.is_new("a", f"Question {i}?", "SELECT 1") for i in range(500))
        assert not ledger.is_new("a", "question 7", "SELECT  1")
        assert ledger.is_new("b", "question 7", "SELECT 1")
        assert ledger.is_new("a", "question 7", "SELECT 2")
        assert ledger.contradictions() == 1


TIDY = [
    ("SELECT a ,  b\nFROM t ;", "SELECT a, b FROM t"),
    ("SELECT a FROM t WHERE b > = 1", "SELECT a FROM t WHERE b >= 1"),
    ("SELECT 'a  , b' , c", "SELECT 'a  , b', c"),
    ("SELECT a -- why\nFROM t", "SELECT a FROM t"),
    ("-- nothing", ""),
    ("", ""),
]


@pytest.mark.parametrize(("sql", "expected"), TIDY)
def test_sql_is_tidied(sql, expected):
    assert tidy(sql) == expected


def test_names_of_with_clauses_are_no_tables():
    used = used_names(parse("WITH x AS (SELECT a FROM T) SELECT b FROM x JOIN main.U ON x.a = U.c"))
    assert used.tables == {"t", "u"}
    assert used.columns == {"a", "b", "c"}


def databases(folder: Path, count: int) -> list[dict[str, Any]]:
    """`count` databases db0, db1, … and two questions about each."""
    for number in range(count):
        with closing(sqlite3.connect(folder / f"db{number}.sqlite")) as connection:
            connection.execute("CREATE TABLE t (a, b)")
    return [
        {"question": f"Every {column}?", "sql": f"SELECT {column} FROM t", "db": f"db{number}"}
        for number in range(count)
        for column in "ab"
    ]


def sides(folder: Path) -> tuple[set[str], set[str]]:
    found = (examples(folder, side) for side in ("train", "validation"))
    train, validation = ({row["db"] for row in rows} for rows in found)
    return train, validation


def test_whole_databases_validate(tmp_path: Path):
    rows = databases(tmp_path, 10)
    _, out = run(tmp_path, *rows, validation_fraction=0.2)
    train, validation = sides(out)
    assert (len(train), len(validation), train & validation) == (8, 2, set())
    _, again = run(tmp_path, *reversed(rows), validation_fraction=0.2, out=tmp_path / "again")
    assert sides(again) == (train, validation)
    manifest = load_prepared(out).manifest
    assert manifest["splits"] == {"train": sorted(train), "validation": sorted(validation)}


def test_named_databases_validate(tmp_path: Path):
    rows = databases(tmp_path, 3)
    _, out = run(tmp_path, *rows, validation_dbs=("DB1",))
    assert sides(out) == ({"db0", "db2"}, {"db1"})
    with pytest.raises(UsageError, match="'db9'"):
        run(tmp_path, *rows, validation_dbs=("db9",), out=tmp_path / "x")


def test_a_source_for_validation_takes_its_databases_out_of_training(tmp_path: Path):
    rows = databases(tmp_path, 3)
    held = write(tmp_path / "held.jsonl", rows[0])
    report, out = run(tmp_path, *rows, validation=(held,))
    assert sides(out) == ({"db1", "db2"}, {"db0"})
    assert len(examples(out, "validation")) == 1
    assert {source.path: source.held_out for source in report.sources} == {
        held: 0,
        str(tmp_path / "pairs.jsonl"): 1,  # the other question is a duplicate
    }


def test_databases_are_not_divided_between_sources(tmp_path: Path):
    rows = databases(tmp_path, 6)
    other = write(
        tmp_path / "other.jsonl", *({**r, "question": r["question"] + " Say"} for r in rows)
    )
    source = write(tmp_path / "pairs.jsonl", *rows)
    options = PrepareOptions((source, other), tmp_path / "out", databases=tmp_path)
    report = prepare(replace(options, validation_fraction=0.4))
    train, validation = sides(tmp_path / "out")
    assert not train & validation
    assert len(validation) == 2
    assert (report.train.groups, report.validation.groups) == (4, 2)


def test_schemas_that_share_a_table_stay_together(tmp_path: Path):
    a, b, c, d = (f"CREATE TABLE {name} (x INT, y INT)" for name in "abcd")
    schemas = [a, f"{a};{b}", b, c, d, "CREATE TABLE d (y INT, x INT)"]
    rows = [
        {"question": f"Question {i}?", "context": ddl, "answer": "SELECT 1"}
        for i, ddl in enumerate(schemas)
    ]
    _, out = run(tmp_path, *rows, validation_fraction=0.4)
    validation = {row["question"] for row in examples(out, "validation")}
    one_side = [{"Question 0?", "Question 1?", "Question 2?"}, {"Question 4?", "Question 5?"}]
    assert validation
    assert all(group <= validation or not group & validation for group in one_side)


def test_one_database_can_be_split_by_query(tmp_path: Path, concerts: Path):
    rows = [
        {"question": f"{say} older than {age}?", "sql": f"SELECT name FROM singer WHERE age>{age}"}
        for age in range(20)
        for say in ("Who is", "Singers")
    ]
    report, out = run(tmp_path, *rows, databases=None, db=concerts, validation_fraction=0.2)
    assert report.validation.examples == 0
    assert "--split-by query" in report.warnings[0]
    report, out = run(
        tmp_path,
        *rows,
        databases=None,
        db=concerts,
        validation_fraction=0.2,
        split_by="query",
        out=tmp_path / "by query",
    )
    assert (report.train.examples, report.validation.examples, report.executed) == (32, 8, 40)
    assert load_prepared(out).databases == str(tmp_path)
    train, validation = (
        {row["response"] for row in examples(out, side)} for side in ("train", "validation")
    )
    assert not train & validation


def wide(folder: Path, tables: int) -> None:
    """A database whose schema is far too large for a prompt."""
    columns = ", ".join(f"detail_{i} TEXT" for i in range(12))
    with closing(sqlite3.connect(folder / "wide.sqlite")) as connection:
        for number in range(tables):
            connection.execute(f"CREATE TABLE part{number} (id INTEGER PRIMARY KEY, {columns})")
        connection.execute("CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE zzz (hidden TEXT, other TEXT)")


def test_tables_of_the_query_are_kept_in_training_alone(tmp_path: Path):
    wide(tmp_path, 40)
    found = {"question": "How many singers?", "sql": "SELECT count(*) FROM singer", "db": "wide"}
    lost = {"question": "Which ones?", "sql": "SELECT hidden FROM zzz", "db": "wide"}
    report, out = run(tmp_path, found, lost)
    assert (report.narrowing.narrowed, report.narrowing.lost) == (2, 1)
    assert report.narrowing.recall == 0.5
    assert report.narrowing.still_lost == 0
    assert report.train.schema_cut == 2
    data = load_prepared(out)
    for prompt, response in prompts(data.train, data, tokenizer_of(""), 2):
        assert prompt.tokens <= 384
        assert response.split()[-1] in prompt.tables
    assert all(len(row["schema"]) < 30 for row in examples(out)), "what can't be shown is left out"
    held = write(tmp_path / "held.jsonl", lost)
    write(tmp_path / "t.jsonl", {**GOOD, "db": "", "schema": "CREATE TABLE singer (a INT)"})
    options = PrepareOptions((str(tmp_path / "t.jsonl"),), tmp_path / "b", databases=tmp_path)
    prepare(replace(options, validation=(held,)))
    data = load_prepared(tmp_path / "b")
    ((prompt, _),) = prompts(data.validation, data, tokenizer_of(""), 1)
    assert "zzz" not in prompt.tables, "validation is as in use"


def test_columns_of_the_query_are_kept_where_one_table_is_too_wide(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "flat.sqlite")) as connection:
        columns = ", ".join(f"measured_value_{i} REAL" for i in range(200))
        connection.execute(f"CREATE TABLE readings ({columns}, moisture REAL)")
    row = {"question": "How wet?", "sql": "SELECT moisture FROM readings", "db": "flat"}
    report, out = run(tmp_path, row)
    data = load_prepared(out)
    ((prompt, _),) = prompts(data.train, data, tokenizer_of(""), 1)
    assert "moisture" in prompt.text
    assert (report.train.schema_cut, report.narrowing.lost) == (1, 0)


def test_lengths_and_overlong_parts_are_counted(tmp_path: Path, concerts: Path):
    long_question = {**GOOD, "question": "How many " + "very " * 400 + "loud singers?"}
    long_sql = {**GOOD, "sql": "SELECT " + ", ".join(f"{i}" for i in range(200)) + " FROM singer"}
    report, _ = run(tmp_path, GOOD, long_question, long_sql)
    assert (report.train.question_too_long, report.train.response_too_long) == (1, 1)
    assert report.train.response_tokens["max"] > 200 > report.train.response_tokens["p50"]


def test_quantiles_of_lengths():
    lengths = Lengths()
    assert lengths.summary() == {"p50": 0, "p95": 0, "max": 0}
    for length in range(1, 101):
        lengths.add(length)
    assert lengths.summary() == {"p50": 50, "p95": 95, "max": 100}


def test_evidence_and_forms_of_the_prompt(tmp_path: Path, concerts: Path):
    row = {
        "question": "How many?",
        "SQL": GOOD["sql"],
        "db_id": "concerts",
        "evidence": "of people",
    }
    form = PromptFormat(style="minimal", schema_form="samples", max_input_tokens=100)
    _, out = run(tmp_path, row, evidence=True, prompt=form)
    data = load_prepared(out)
    assert data.prompt == form
    ((prompt, _),) = prompts(data.train, data, tokenizer_of(""), 1)
    assert prompt.text == "Database: concerts\nQuestion: How many?\nNote: of people\nSQL:\n"
    assert "'Joe Sharp'" in examples(out)[0]["schema"][0]["text"]
    _, out = run(tmp_path, row, out=tmp_path / "without")
    assert examples(out)[0]["evidence"] == ""


def test_schemas_of_tables_json_need_no_databases(tmp_path: Path):
    form = {
        "db_id": "shop",
        "table_names_original": ["t"],
        "table_names": ["thing"],
        "column_names_original": [[-1, "*"], [0, "a"]],
        "column_names": [[-1, "*"], [0, "a"]],
        "column_types": ["text", "number"],
        "primary_keys": [1],
        "foreign_keys": [],
    }
    (tmp_path / "tables.json").write_text(json.dumps([form]))
    row = {"question": "Q?", "query": "SELECT a FROM t", "db_id": "shop"}
    report, out = run(tmp_path, row, databases=None, tables=tmp_path / "tables.json")
    assert report.executed == 0
    assert "a NUMERIC" in examples(out)[0]["schema"][0]["text"]


def test_limit_takes_the_first_rows_of_each_source(tmp_path: Path):
    report, _ = run(tmp_path, *databases(tmp_path, 5), limit=3)
    assert report.rows == 3


def test_progress_is_told_row_by_row(tmp_path: Path, concerts: Path):
    seen: list[tuple[int, int | None]] = []
    source = write(tmp_path / "a.jsonl", GOOD, {})
    options = PrepareOptions((source,), tmp_path / "out", databases=tmp_path)
    prepare(options, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_only_prepared_data_is_ever_replaced(tmp_path: Path, concerts: Path):
    _, out = run(tmp_path, GOOD)
    before = (out / "train.jsonl").read_bytes()
    with pytest.raises(UsageError, match="not empty"):
        run(tmp_path, GOOD)
    with pytest.raises(DataError):
        run(tmp_path, {"question": "Q?"}, force=True)
    assert (out / "train.jsonl").read_bytes() == before, "a failure leaves the old data alone"
    run(tmp_path, {**GOOD, "question": "And now?"}, force=True)
    assert examples(out)[0]["question"] == "And now?"
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        run(tmp_path, GOOD, force=True)
    with pytest.raises(UsageError, match="not a folder"):
        run(tmp_path, GOOD, force=True, out=concerts)
    (tmp_path / "empty").mkdir()
    run(tmp_path, GOOD, out=tmp_path / "empty")


def test_an_unwritable_place_and_a_full_disk_are_explained(
    tmp_path: Path, concerts: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(TrainingError, match="can't be written"):
        run(tmp_path, GOOD, out=concerts / "below" / "a file")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "divide", full)
    with pytest.raises(TrainingError, match="No space left"):
        run(tmp_path, GOOD)
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["concerts.sqlite", "pairs.jsonl"]


BROKEN = [
    ("prepare.json", None, "there is no prepare.json"),
    ("prepare.json", "{", "holds no prepared data"),
    ("prepare.json", "[]", "holds no prepared data"),
    ("prepare.json", '{"format_version": 9}', "format version 9"),
    ("prepare.json", '{"format_version": 1}', "no 'prompt'"),
    ("prepare.json", '{"format_version": 1, "prompt": {"colour": 1}}', "unknown prompt settings"),
    ("train.jsonl", None, "not whole"),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN)
def test_a_folder_that_is_not_whole_is_not_taken_for_data(
    tmp_path: Path, concerts: Path, name, text, message
):
    _, out = run(tmp_path, GOOD)
    (out / name).unlink()
    if text is not None:
        (out / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load_prepared(out)


BAD_OPTIONS = [
    ({"sources": ()}, "nothing to prepare"),
    ({"db": Path("a.sqlite"), "databases": Path()}, "not both"),
    ({"db": Path("a.xyz")}, "not the name"),
    ({"validation": ("a",), "validation_dbs": ("b",)}, "not both"),
    ({"split_by": "moon"}, "'moon'"),
    ({"split_by": "query", "validation_dbs": ("b",)}, "leave --split-by out"),
    ({"validation_fraction": 1.0}, "fraction"),
    ({"prompt": PromptFormat(style="rap")}, "style 'rap'"),
    ({"prompt": PromptFormat(schema_form="xml")}, "form 'xml'"),
    ({"prompt": PromptFormat(dialect="cobol")}, "dialect 'cobol'"),
]


@pytest.mark.parametrize(("values", "message"), BAD_OPTIONS)
def test_options_that_make_no_sense_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        PrepareOptions(**({"sources": ("a.jsonl",), "out": Path("out")} | values))


def test_an_unknown_tokenizer_is_explained(tmp_path: Path):
    pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="tokenizer"):
        tokenizer_of(str(tmp_path))


def test_lengths_by_a_real_tokenizer(tmp_path: Path, concerts: Path):
    pytest.importorskip("transformers")
    from tiny_models import tiny_tokenizer

    tokenizer = tiny_tokenizer(chat=True)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    form = PromptFormat(style="chat", max_input_tokens=600)
    report, out = run(tmp_path, GOOD, tokenizer=str(tmp_path / "tokenizer"), prompt=form)
    data = load_prepared(out)
    ((prompt, response),) = prompts(data.train, data, tokenizer, 1)
    assert prompt.text.endswith("<s>assistant\n")
    assert report.train.prompt_tokens["max"] == len(tokenizer(prompt.text)["input_ids"])
    assert report.train.response_tokens["max"] == len(tokenizer(response)["input_ids"]) + 1
    assert measure(data.train, data, tokenizer) == report.train
