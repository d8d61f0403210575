"""The ask flow over real files, with a translator whose SQL is written down."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import plainsql
from plainsql.ask import Database, anything_linked
from plainsql.choosing import Trial, choose
from plainsql.errors import (
    ConnectError,
    DeniedError,
    ExecutionError,
    PlainsqlError,
    QueryTimeout,
    QuestionError,
    SchemaError,
    UsageError,
)
from plainsql.questions import clean_question, looks_like_sql, refuse_foreign
from plainsql.records import Candidate, Links, Rows, Status
from plainsql.settings import Settings
from plainsql.translators.fake import ScriptedTranslator

HOW_MANY = "How many singers are there?"
COUNT = "SELECT count(*) FROM singer"
NAMES = "SELECT name FROM singer ORDER BY singer_id"
ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i > 0)"
    " SELECT count(*) FROM n, singer"
)


def opened(path: Path, *statements: str, **changes: float) -> Database:
    """The database at `path`, with `statements` as the candidates for any question."""
    settings = replace(Settings(), **changes)  # type: ignore[arg-type]
    return plainsql.connect(path, translator=ScriptedTranslator({}, statements), settings=settings)


def test_an_answer_has_everything(concerts: Path) -> None:
    with opened(concerts, COUNT, NAMES) as database:
        answer = database.ask(HOW_MANY)
    assert answer.status is Status.ANSWERED
    assert (answer.sql, answer.columns, answer.rows) == (COUNT, ("count(*)",), ((6,),))
    assert answer.answer == "Number of singers: 6."
    assert answer.translator == "scripted"
    assert [other.sql for other in answer.alternatives] == [NAMES]
    assert answer.confidence + answer.alternatives[0].confidence == pytest.approx(1)
    assert list(answer.timing_ms) == ["translate", "schema", "link", "execute", "choose", "total"]


def test_to_dict_has_the_documented_keys(concerts: Path) -> None:
    with opened(concerts, "SELECT photo FROM singer WHERE singer_id = 3") as database:
        printed = database.ask("Show the photo of Justin Brown").to_dict()
    assert list(printed) == [
        "schema_version", "status", "question", "sql", "columns", "rows", "row_count",
        "truncated", "answer", "confidence", "alternatives", "translator", "timing_ms", "trace",
    ]  # fmt: skip
    assert printed["rows"] == [["0x00ff"]]


CHOICES = [
    # candidates, the SQL chosen
    (["SELECT shoe_size FROM singer", COUNT], COUNT),  # fails to execute
    (["DROP TABLE singer", COUNT], COUNT),  # refused
    (["SELECT count(*) FROM sqlite_master", COUNT], COUNT),  # refused: not of the schema
    (["SELEC", COUNT, NAMES], COUNT),
    (["SELECT name FROM singer WHERE age > 100", COUNT], COUNT),  # empty, and nobody said 100
]


@pytest.mark.parametrize(("statements", "chosen"), CHOICES)
def test_the_first_candidate_that_runs_is_chosen(
    concerts: Path, statements: Sequence[str], chosen: str | None
) -> None:
    with opened(concerts, *statements) as database:
        assert database.ask(HOW_MANY).sql == (chosen or statements[0])


FAILURES: list[tuple[list[str], type[PlainsqlError], str]] = [
    (["DROP TABLE singer"], DeniedError, "refused"),
    (["SELECT shoe_size FROM singer"], ExecutionError, "no such column"),
    (["DROP TABLE singer", "SELECT shoe_size FROM singer"], ExecutionError, "no such column"),
]


@pytest.mark.parametrize(("statements", "error", "message"), FAILURES)
def test_an_error_is_raised_when_no_candidate_runs(
    concerts: Path, statements: list[str], error: type[PlainsqlError], message: str
) -> None:
    before = concerts.read_bytes()
    with opened(concerts, *statements) as database, pytest.raises(error, match=message) as caught:
        database.ask(HOW_MANY)
    assert type(caught.value) is error
    assert caught.value.hint
    assert concerts.read_bytes() == before


def test_one_deadline_for_all_candidates(concerts: Path) -> None:
    with opened(concerts, *[ENDLESS] * 5) as database, pytest.raises(QueryTimeout):
        database.ask(HOW_MANY, timeout=0.2)


def test_limit_and_alternatives(concerts: Path) -> None:
    with opened(concerts, NAMES, COUNT, "SELECT 1", "SELECT 2") as database:
        answer = database.ask(HOW_MANY, limit=2, alternatives=1)
        assert (answer.row_count, answer.truncated) == (2, True)
        assert len(answer.alternatives) == 1
        for wrong in ({"limit": 0}, {"timeout": 0}, {"timeout": -1.0}, {"alternatives": -1}):
            with pytest.raises(UsageError):
                database.ask(HOW_MANY, **wrong)  # type: ignore[arg-type]


def test_without_execution_nothing_runs(concerts: Path) -> None:
    with opened(concerts, "DROP TABLE singer", ENDLESS) as database:
        answer = database.ask(HOW_MANY, execute=False)
    assert (answer.status, answer.sql, answer.rows) == (Status.NOT_EXECUTED, ENDLESS, ())


@pytest.mark.parametrize(
    ("question", "statements", "guess"),
    [
        (HOW_MANY, [], ""),  # the translator has nothing to propose
        ("qwrtz plmk zxcvb?", [], ""),
        ("qwrtz plmk zxcvb?", [COUNT], COUNT),  # no word means anything: never run
        ("qwrtz plmk zxcvb?", ["DROP TABLE singer"], ""),
    ],
)
def test_unanswerable_is_an_answer(
    concerts: Path, question: str, statements: list[str], guess: str
) -> None:
    with opened(concerts, *statements) as database:
        answer = database.ask(question)
    assert (answer.status, answer.sql, answer.rows) == (Status.UNANSWERABLE, guess, ())
    assert answer.confidence == 0
    assert answer.answer


def test_two_readings_as_good_are_ambiguous_where_asked_for(concerts: Path) -> None:
    cases = [(NAMES, 0.0, Status.ANSWERED), (NAMES, 1.0, Status.AMBIGUOUS)]
    cases += [("SELECT 6", 1.0, Status.ANSWERED)]  # the same rows: nothing to choose
    for other, margin, status in cases:
        with opened(concerts, COUNT, other, ambiguity_margin=margin) as database:
            assert database.ask(HOW_MANY).status is status


def test_a_changed_file_is_read_again(concerts: Path) -> None:
    question = "How many venues in Ghent are there?"
    with opened(concerts, "SELECT count(*) FROM venue") as database:
        assert database.ask(question).status is Status.UNANSWERABLE
        with closing(sqlite3.connect(concerts)) as connection:
            connection.executescript(
                "CREATE TABLE venue (city TEXT); INSERT INTO venue VALUES ('Ghent');"
            )
        assert database.ask(question).rows == ((1,),)


def test_a_given_schema_goes_before_the_file(concerts: Path) -> None:
    with opened(concerts) as database:
        singer, concert = database.schema.tables
    given = plainsql.Schema("given", (replace(singer, natural="vocalist"), concert))
    scripted = ScriptedTranslator({}, [COUNT])
    with plainsql.connect(concerts, schema=given, translator=scripted) as database:
        assert database.schema.name == "given"
        assert database.schema.foreign_keys  # found in the file
        answer = database.ask("How many vocalists are there?")
    assert answer.answer == "Number of vocalists: 6."


def test_a_closed_database_says_so(concerts: Path) -> None:
    database = opened(concerts, COUNT)
    database.ask(HOW_MANY)
    database.close()
    database.close()
    with pytest.raises(ConnectError, match="closed"):
        database.ask(HOW_MANY)


def test_describe_names_every_table(concerts: Path) -> None:
    with opened(concerts) as database:
        assert {"singer", "concert"} <= set(database.describe().replace("(", " ").split())


def test_odd_identifiers_blobs_and_null_columns(tmp_path: Path) -> None:
    path = tmp_path / "odd.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            'CREATE TABLE "order" ("group by" TEXT, "na""me" TEXT, "größe 名" INT, e, b BLOB);'
            """INSERT INTO "order" VALUES ('x', 'y', 1, NULL, x'ff'), ('x', 'y', 2, NULL, NULL);"""
        )
    sql = 'SELECT "group by", "na""me", "größe 名", e, b FROM "order"'
    with opened(path, sql) as database:
        answer = database.ask("Show every order")
    assert answer.rows[0] == ("x", "y", 1, None, b"\xff")


def test_two_thousand_columns(tmp_path: Path) -> None:
    path = tmp_path / "wide.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        for i in range(40):
            columns = ", ".join(f"measure_{i}_{j} REAL" for j in range(50))
            connection.execute(f"CREATE TABLE station_{i} ({columns})")
    with opened(path, "SELECT count(*) FROM station_3") as database:
        assert len(database.schema.columns) == 2000
        assert database.ask("How many stations are there?").rows == ((0,),)


def test_unreadable_databases(tmp_path: Path) -> None:
    (tmp_path / "note.db").write_text("This is a letter, not a database. " * 50)
    (tmp_path / "empty.db").touch()
    (tmp_path / "folder.db").mkdir()
    with closing(sqlite3.connect(tmp_path / "bare.db")) as connection:
        connection.executescript("CREATE TABLE t (a); DROP TABLE t;")
    cases = [("missing.db", ConnectError), ("note.db", ConnectError), ("empty.db", SchemaError),
             ("folder.db", ConnectError), ("bare.db", SchemaError)]  # fmt: skip
    for name, error in cases:
        with pytest.raises(error) as caught, opened(tmp_path / name, "SELECT 1") as database:
            database.ask(HOW_MANY)
        assert caught.value.exit_code == 7
        assert name.split(".")[0] in caught.value.message
        assert caught.value.hint
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize("mode", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_or_written_file(concerts: Path, mode: str) -> None:
    """A reader beside a writer works; a lock on the whole file is an error in time."""
    with closing(sqlite3.connect(concerts, isolation_level=None)) as writer:
        writer.execute(f"BEGIN {mode}")
        writer.execute("UPDATE singer SET age = age + 1")
        if mode == "IMMEDIATE":
            with opened(concerts, COUNT) as database:
                assert database.ask(HOW_MANY).rows == ((6,),)
        else:
            with pytest.raises(ConnectError, match="locked"), opened(concerts, COUNT) as database:
                database.ask(HOW_MANY)
        writer.execute("ROLLBACK")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_no_right_to_read(concerts: Path) -> None:
    concerts.chmod(0)
    with pytest.raises(ConnectError):
        opened(concerts, COUNT).ask(HOW_MANY)


CLEANED = [
    ("How many?", "How many?"),
    ("  How \n many\t? ", "How many ?"),
    ("How many 🎸 singers 👩🏽‍🎤?", "How many singers ?"),
    ("a\x00b\x1b[31mc\u200bd\ud800", "ab[31mcd"),
    ("Cafe\u0301 at 20 °C", "Café at 20 °C"),
    ("Combien de chanteurs ?", "Combien de chanteurs ?"),
    ("歌手は何人いますか", "歌手は何人いますか"),
]


@pytest.mark.parametrize(("typed", "cleaned"), CLEANED)
def test_clean_question(typed: str, cleaned: str) -> None:
    assert clean_question(typed) == cleaned


FOREIGN = """Combien de chanteurs y a-t-il ?|Wie viele Sänger gibt es?|¿Cuántos cantantes hay?
Quanti cantanti ci sono?|Hoeveel zangers zijn er?|有多少歌手？|Сколько певцов?|كم عدد المغنين؟"""


@pytest.mark.parametrize("typed", FOREIGN.replace("\n", "|").split("|"))
def test_other_languages_are_refused(typed: str) -> None:
    with pytest.raises(QuestionError, match="not in English"):
        refuse_foreign(typed)


@pytest.mark.parametrize(
    "typed",
    ["Show the 名前 of all", "Los Angeles teams", "Élise's orders", "2014?", "Die Hard's year"],
)
def test_english_with_foreign_names_is_not(typed: str) -> None:
    refuse_foreign(typed)


@pytest.mark.parametrize("typed", ["", "   \n", "🎸🎸", "?!", "\x00", "x" * 2001, "word " * 2000])
def test_what_is_no_question(typed: str) -> None:
    with pytest.raises(QuestionError) as caught:
        clean_question(typed)
    assert caught.value.exit_code == 2
    assert caught.value.hint


SQL = [
    "SELECT name FROM singer",
    "select * from nowhere",
    "select name, age from singer where age > 30",
    "SELECT count(*) FROM singer;",
    "(SELECT 1 FROM singer)",
    "select 1",
    "select 1 + 1;",
    "with a as (select 1) select * from a",
    "WITH RECURSIVE n(i) AS (SELECT 1) SELECT i FROM n",
    "insert into singer values (1)",
    "DELETE FROM singer",
    "update singer set age = 1",
    "drop table singer",
    "create table t (a int)",
    "explain select 1",
    "PRAGMA table_info(singer)",
    "attach database 'x' as y",
]
ENGLISH = [
    "Select the names of all singers from France",
    "select all singers from France",
    "Select singers older than 30",
    "Select the singer with the highest age.",
    "With which singers did the concert in 2014 start?",
    "Update me on the number of singers",
    "Delete duplicates: which names occur twice?",
    "Create a list of countries",
    "Drop-outs by year?",
    "Explain how many singers are from France",
    "Insert your favourite: which singer is the oldest?",
    "What is 1 + 1?",
]


@pytest.mark.parametrize("text", SQL)
def test_sql_is_not_a_question(concerts: Path, text: str) -> None:
    with opened(concerts, COUNT) as database:
        with pytest.raises(QuestionError, match="SQL") as caught:
            database.ask(text)
        assert "plainsql check" in caught.value.hint


@pytest.mark.parametrize("text", ENGLISH)
def test_english_that_begins_like_sql_is_a_question(concerts: Path, text: str) -> None:
    with opened(concerts) as database:
        assert not looks_like_sql(text, database.schema)


@pytest.mark.parametrize("text", ["Antal sångare ?", "Joe は何人いますか", "singers 🎸"])
def test_odd_languages_do_no_harm(concerts: Path, text: str) -> None:
    with opened(concerts, COUNT) as database:
        assert database.ask(text).status in (Status.ANSWERED, Status.UNANSWERABLE)


def test_numbers_alone_link_nothing(concerts: Path) -> None:
    with opened(concerts) as database:
        assert not anything_linked(database.link("12 or 13"))
        assert anything_linked(database.link("Timbaland"))
        assert anything_linked(database.link("singers"))
        assert isinstance(database.link("x"), Links)


def test_choose_prefers_what_ran_and_shares_confidence() -> None:
    rows = Rows(("a",), ((1,),))
    a, b, c = (Candidate(sql, score, "t") for sql, score in (("a", 0.0), ("b", -1.0), ("c", -2.0)))
    failed = Trial(a, error=ExecutionError("x"))
    choice = choose([failed, Trial(b, rows), Trial(c)])
    assert choice is not None
    assert choice.index == 1
    assert choice.confidences == pytest.approx((0, 0.731, 0.269), abs=1e-3)
    assert choose([failed]) is None
    assert choose([]) is None
    untried = choose([Trial(b), Trial(a)])
    assert untried is not None
    assert untried.index == 1
