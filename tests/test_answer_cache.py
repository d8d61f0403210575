"""Answers of models that are kept: what a repeat costs, what is on disk, what damages it."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from plainsql import connect
from plainsql.cli.main import run
from plainsql.records import Attempt, Candidate, Links, Question
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.answer_cache import (
    AnswerCache,
    answer_key,
    files_mark,
    schema_hash,
)
from plainsql.translators.language_model.server_translator import ServerTranslator
from test_model_server import QUICK, SINGERS, Scripted, always, no_links

FOUND = [("SELECT 1", -0.25), ("SELECT 'é\ud800'", -2.0)]
KEY = answer_key("a")


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "cache")


@pytest.fixture
def schema(concerts: Path) -> Schema:
    return sqlite_schema(concerts)


# --- one file -----------------------------------------------------------------


def test_what_is_put_is_got(cache: AnswerCache) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, FOUND)
    assert cache.get(KEY) == FOUND
    assert AnswerCache(cache.path.parent).get(KEY) == FOUND
    assert cache.get(answer_key("b")) is None
    cache.put(KEY, FOUND[:1])
    assert cache.get(KEY) == FOUND[:1]


def test_nothing_found_is_not_kept(cache: AnswerCache) -> None:
    cache.put(KEY, [])
    cache.put(KEY, [("SELECT " + "1" * 200_000, 0.0)])
    assert cache.get(KEY) is None


def test_off_means_off(tmp_path: Path) -> None:
    off = AnswerCache(tmp_path / "cache", enabled=False)
    off.put(KEY, FOUND)
    assert off.get(KEY) is None
    assert not (tmp_path / "cache").exists()


def test_the_oldest_go(tmp_path: Path) -> None:
    small = AnswerCache(tmp_path, most=5)
    keys = [answer_key(number) for number in range(9)]
    for key in keys:
        small.put(key, FOUND)
    assert [small.get(key) is not None for key in keys] == [False] * 4 + [True] * 5


@pytest.mark.parametrize("junk", [b"no database at all" * 100, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_damaged_file_is_replaced_with_a_warning(cache: AnswerCache, junk: bytes) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(junk)
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.get(KEY) is None
    cache.put(KEY, FOUND)
    assert cache.get(KEY) == FOUND


@pytest.mark.parametrize("found", ["no json", "{}", "[1]", '[["a"]]', '[["a", "b"]]', "null"])
def test_a_damaged_entry_is_none(cache: AnswerCache, found: str) -> None:
    cache.put(KEY, FOUND)
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute("UPDATE answers SET found = ?", (found,))
    assert not cache.get(KEY)


def test_another_version_of_the_file_is_begun_anew(cache: AnswerCache) -> None:
    cache.put(KEY, FOUND)
    with closing(sqlite3.connect(cache.path)) as connection, connection:
        connection.execute("DROP TABLE answers")
        connection.execute("PRAGMA user_version=99")
    assert cache.get(KEY) is None
    cache.put(KEY, FOUND)
    assert cache.get(KEY) == FOUND


def test_a_folder_that_can_not_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = AnswerCache(tmp_path / "file")
    blocked.put(KEY, FOUND)
    assert blocked.get(KEY) is None


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_its_owner_reads_it(cache: AnswerCache) -> None:
    cache.put(KEY, FOUND)
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600


WRITER = """
import sys
from plainsql.translators.language_model.answer_cache import AnswerCache, answer_key
cache = AnswerCache(sys.argv[1])
for number in range(40):
    cache.put(answer_key(sys.argv[2], number), [("SELECT 1", 0.0)])
    assert cache.get(answer_key(sys.argv[2], number))
"""


def test_several_processes_at_once(cache: AnswerCache) -> None:
    commands = [
        [sys.executable, "-W", "error", "-c", WRITER, str(cache.path.parent), name]
        for name in "abc"
    ]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    kept = [cache.get(answer_key(name, number)) for name in "abc" for number in range(40)]
    assert all(kept)


# --- keys ---------------------------------------------------------------------


def test_keys_differ_with_every_part(schema: Schema, tmp_path: Path) -> None:
    shown = [table.name for table in schema.tables]
    first = schema.tables[0]
    column = replace(first.columns[0], comment="other")
    changed = replace(first, columns=(column, *first.columns[1:]))
    other = replace(schema, tables=(changed, *schema.tables[1:]))
    counted = replace(schema, tables=(replace(first, row_count=99), *schema.tables[1:]))
    assert schema_hash(counted, shown) == schema_hash(schema, shown)
    assert schema_hash(other, shown) != schema_hash(schema, shown)
    assert schema_hash(other, shown[1:]) == schema_hash(schema, shown[1:])
    assert len({answer_key(), answer_key("a"), answer_key("a", "b"), answer_key(["a", "b"])}) == 4
    file = tmp_path / "model" / "weights"
    file.parent.mkdir()
    file.write_text("a")
    before = files_mark([file])
    file.write_text("other")
    assert before != files_mark([file]) == files_mark([file.parent])


# --- a repeat -----------------------------------------------------------------


def test_a_repeat_makes_no_request(concerts: Path) -> None:
    with Scripted(always(*[f"```sql\n{SINGERS};\n```"] * 4)) as server:
        answers = []
        for _ in range(2):
            with connect(concerts, translator=server.name, settings=Settings()) as database:
                answers.append(database.ask("Which singers are there?"))
                after = len(server.requests)
                answers.append(database.ask("Which singers are there?"))
                assert len(server.requests) == after
        assert after == 2  # one greedy answer, and the drawn ones
        with connect(
            concerts, translator=server.name, settings=Settings(answer_cache=False)
        ) as database:
            database.ask("Which singers are there?")
            assert len(server.requests) == 2 * after
    assert {(one.sql, one.rows, one.status) for one in answers} == {
        (answers[0].sql, answers[0].rows, answers[0].status)
    }
    assert answers[0].trace
    assert all(one.timing_ms["total"] > 0 for one in answers)
    assert answers[0].origins[0].part.startswith("tables ")
    assert [origin.part for origin in answers[1].origins] == ["nothing"]  # nothing was sent


def test_the_flag_asks_anew_and_explain_says_what_was_sent(
    concerts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Scripted(always(*[SINGERS] * 4)) as server:
        asked = ["ask", "Which singers?", "-d", str(concerts), "--translator", server.name]
        counts, explained = [], []
        for more in ([], [], ["--no-cache"]):
            assert run([*asked, "--explain", *more]) == 0
            counts.append(len(server.requests))
            explained.append(capsys.readouterr().out)
    assert counts == [2, 2, 4]
    said = ["nothing  (sent)" in text for text in explained]
    assert said == [False, True, False]
    assert "tables singer, concert  (sent)" in explained[0]


def ask(url: str, schema: Schema, question: str = "?", n: int = 3, **options: str) -> None:
    made = ServerTranslator(f"openai:{options.pop('model', 'm')}@{url}",
                            options=ModelOptions(**options), timing=QUICK)  # type: ignore[arg-type]  # fmt: skip
    made.propose(question, schema, no_links(question), n)


def test_what_is_asked_otherwise_is_asked_anew(schema: Schema) -> None:
    less = replace(schema, tables=schema.tables[:1], foreign_keys=())
    failed = [Attempt(Candidate("SELECT x", 0.0, ""), "no x")]
    with Scripted(always(*[SINGERS] * 4)) as server:
        counts = []
        for again in range(2):
            ask(server.url, schema)
            ask(server.url, schema, "Who?")
            ask(server.url, less)
            ask(server.url, schema, n=1)
            ask(server.url, schema, privacy="samples")
            ask(server.url, schema, model="other")
            made = ServerTranslator(server.name, timing=QUICK)
            own = [replace(failed[0], candidate=Candidate("SELECT x", 0.0, made.name))]
            made.repair("?", schema, Links(Question("?", ())), own, 3)
            counts.append(len(server.requests))
            assert again or counts[0] == 13
    assert counts == [13, 13]


def test_an_answer_without_sql_is_asked_for_again(schema: Schema) -> None:
    with Scripted(always("I can't.")) as server:
        ask(server.url, schema, n=1)
        ask(server.url, schema, n=1)
        assert len(server.requests) == 2


def test_neither_question_nor_key_nor_schema_is_on_disk(
    schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAINSQL_API_KEY", "c4nary-key")
    with Scripted(always("SELECT 42")) as server:
        ask(server.url, schema, "What about c4nary?", cache_dir=str(tmp_path / "cache"))
        assert "c4nary-key" in server.keys[0]
    written = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
    assert b"SELECT 42" in written
    for secret in ("c4nary", "singer", "127.0.0.1"):
        assert secret.encode() not in written
    with closing(sqlite3.connect(tmp_path / "cache" / "answers.sqlite")) as connection:
        ((found,),) = connection.execute("SELECT found FROM answers")
    assert [sql for sql, _ in json.loads(found)] == ["SELECT 42"]
