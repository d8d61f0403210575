"""Verified questions as examples: reading them, choosing them, showing them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plainsql.errors import UsageError
from plainsql.linking.link import link
from plainsql.records import Links
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.asking import Asked, prompt_for
from plainsql.translators.language_model.estimating import EstimatingTokenizer
from plainsql.translators.language_model.examples import Examples, masked, read_examples
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.prompts import Shot
from plainsql.translators.language_model.server_translator import ServerTranslator
from plainsql.translators.language_model.translator import LanguageModelTranslator
from test_model_server import QUICK, SINGERS, Scripted, always
from tiny_models import tiny_model

VERIFIED = [
    ("How many concerts are there?", "SELECT count(*) FROM concert"),
    ("What is the average age of all singers?", "SELECT avg(age) FROM singer"),
    (
        "Which singers are from Netherlands?",
        "SELECT name FROM singer WHERE country = 'Peru'",
    ),
    ("Which concerts were in 2014?", "SELECT concert_name FROM concert WHERE year = 2014"),
    ("Who is the oldest?", "SELECT name FROM singer ORDER BY age DESC LIMIT 1"),
    ("How many pilots are there?", "SELECT count(*) FROM pilot"),
    ("How many singers should go?", "DELETE FROM singer"),
    ("How many of everything?", "SELECT count(*) FROM"),
]
SHOTS = tuple(Shot(question, sql) for question, sql in VERIFIED)


@pytest.fixture
def schema(concerts: Path) -> Schema:
    return sqlite_schema(concerts)


def write(folder: Path, text: str, name: str = "verified.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(*pairs: tuple[str, str]) -> str:
    return "".join(json.dumps({"question": q, "sql": sql}) + "\n" for q, sql in pairs)


@pytest.fixture
def verified(tmp_path: Path) -> Path:
    return write(tmp_path, lines(*VERIFIED))


# --- reading ------------------------------------------------------------------

ONE = Shot("How many?", "SELECT 1")
READ = {
    "sql": ("a.jsonl", '{"question": "How many?", "sql": "SELECT 1"}\n\n'),
    "query": ("a.jsonl", '{"question": " How many? ", "query": "SELECT 1", "db_id": "x"}'),
    "bird": ("a.json", '[{"question": "How many?", "SQL": "SELECT 1", "evidence": ""}]'),
    "spider": ("a.json", '[{"question": "How many?", "sql": {"a": 1}, "query": "SELECT 1"}]'),
    "csv": ("a.csv", "question,sql\nHow many?,SELECT 1\n"),
}


@pytest.mark.parametrize(("name", "text"), READ.values(), ids=READ)
def test_files_that_are_read(tmp_path: Path, name: str, text: str) -> None:
    assert read_examples(write(tmp_path, text, name)) == (ONE,)


BROKEN = {
    "no JSON": ("a.jsonl", '{"question": "a", "sql": "b"}\n{"question": ', "line 2"),
    "no object": ("a.jsonl", '["a", "b"]', "line 1: not an object"),
    "no SQL": ("a.jsonl", '{"question": "a", "sql": "b"}\n\n{"question": "a"}', "line 3.*no SQL"),
    "no question": ("a.jsonl", '{"question": "", "sql": "b"}', "line 1.*no question"),
    "a number": ("a.jsonl", '{"question": "a", "sql": 1}', "line 1.*no SQL"),
    "no list": ("a.json", '{"question": "a", "sql": "b"}', "expected a list"),
    "cut off": ("a.json", '[{"question": "a",\n "sql": "b"},\n {"question"', "line 3"),
    "bytes": ("a.jsonl", "\udcff\udcfe", "line 1"),
    "kind": ("a.txt", "How many?", "unknown kind"),
    "none": ("", "", "no such file"),
}


@pytest.mark.parametrize(("name", "text", "said"), BROKEN.values(), ids=BROKEN)
def test_files_that_are_broken(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / (name or "none.jsonl")
    if name:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=said):
        read_examples(path)


def test_a_broken_file_is_told_when_a_question_is_asked(schema: Schema, tmp_path: Path) -> None:
    options = ModelOptions(examples=str(write(tmp_path, '{"question": 1}')))
    with Scripted(always(SINGERS)) as server:
        made = ServerTranslator(server.name, options=options, timing=QUICK)
        with pytest.raises(UsageError, match="line 1"):
            made.propose("How many?", schema, link("How many?", schema), 1)
        assert not server.requests


# --- choosing -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "values", "said"),
    [
        ("How many singers are there?", (), "How many zzname are there"),
        ("Singers from 'New York' in 2014?", (), "zzname from zzvalue in zzvalue"),
        ("Who is from New York?", ("new york",), "Who is from zzvalue"),
        ("", (), ""),
        ("¿?", ("?",), "zzvalue"),
    ],
)
def test_words_for_this_database_are_masked(
    question: str, values: tuple[str, ...], said: str
) -> None:
    assert masked(question, frozenset({"singer", "age"}), values) == said


NEAREST = {
    "How many singers are there?": SHOTS[0],
    "Which singers are from France?": SHOTS[2],
    "What is the average year of all concerts?": SHOTS[1],
    "Which concerts were in 2015?": SHOTS[3],
}


@pytest.mark.parametrize(("question", "shot"), NEAREST.items())
def test_the_likest_is_last(schema: Schema, verified: Path, question: str, shot: Shot) -> None:
    found = Examples(verified).nearest(question, schema, link(question, schema))
    assert found[-1] == shot
    assert len(found) <= 3
    assert found == Examples(verified).nearest(question, schema, link(question, schema))


def test_what_does_not_fit_the_database_is_passed_over(schema: Schema, verified: Path) -> None:
    question = "How many pilots should go of everything?"
    found = Examples(verified).nearest(question, schema, link(question, schema), 8)
    assert found
    assert {shot.sql for shot in found} <= {shot.sql for shot in SHOTS[:5]}


def test_tables_of_another_namespace_and_of_the_query_itself(tmp_path: Path) -> None:
    pairs = [
        ("How many a?", "WITH x AS (SELECT * FROM SINGER) SELECT count(*) FROM x"),
        ("How many b?", "SELECT count(*) FROM (SELECT * FROM nowhere) AS singer"),
    ]
    schema = Schema("s", sqlite_like("main.Singer"))
    found = Examples(write(tmp_path, lines(*pairs)))
    assert [s.question for s in found.nearest("How many?", schema, link("How many?", schema))] == [
        "How many a?"
    ]


def sqlite_like(name: str) -> tuple:  # type: ignore[type-arg]
    from plainsql.schema.model import Column, ColumnType, Table

    column = Column(name, "name", ColumnType.TEXT, "name")
    return (Table(name, (column,), "singer", namespace=name.partition(".")[0]),)


@pytest.mark.parametrize("question", ["", "?!", '"', "東京", "a" * 3000, "NEAR OR AND * ( ^"])
def test_any_question_can_be_put(schema: Schema, verified: Path, question: str) -> None:
    found = Examples(verified).nearest(question, schema, link(question, schema))
    assert set(found) <= set(SHOTS)


def test_a_file_that_changes_is_read_again(schema: Schema, tmp_path: Path) -> None:
    path = write(tmp_path, lines(VERIFIED[0]))
    examples = Examples(path)
    links = link("How many concerts are there?", schema)
    assert examples.nearest(links.question.text, schema, links) == SHOTS[:1]
    write(tmp_path, lines(VERIFIED[0], VERIFIED[4]))
    found = examples.nearest("How many concerts, and who is the oldest?", schema, links)
    assert set(found) == {SHOTS[0], SHOTS[4]}
    path.unlink()
    with pytest.raises(UsageError, match="no such file"):
        examples.nearest("How many?", schema, links)


# --- showing ------------------------------------------------------------------


def shown(schema: Schema, verified: Path, budget: int, style: str = "instruct") -> tuple[int, bool]:
    """How many examples a prompt of that length holds, and whether it cuts the schema."""
    links = link("How many singers are there?", schema)
    form = PromptFormat(style=style, max_input_tokens=budget)
    asked = Asked("How many singers are there?", schema, links)
    made = prompt_for(asked, form, EstimatingTokenizer(), examples=Examples(verified))
    assert made.tokens <= budget or made.too_long
    assert all(shot.sql in made.text for shot in made.shots)
    return len(made.shots), made.schema_cut


def test_examples_give_way_before_tables_do(schema: Schema, verified: Path) -> None:
    bare = shown_tokens(schema)
    assert shown(schema, verified, 10 * bare) == (3, False)
    found = [shown(schema, verified, budget) for budget in range(bare, 2 * bare, 7)]
    assert found[0] == (0, False)
    assert [count for count, _ in found] == sorted(count for count, _ in found)
    assert {cut for _, cut in found} == {False}
    assert shown(schema, verified, bare - 10)[1]


def shown_tokens(schema: Schema) -> int:
    form = PromptFormat(max_input_tokens=10_000)
    links = link("How many singers are there?", schema)
    asked = Asked("How many singers are there?", schema, links)
    return prompt_for(asked, form, EstimatingTokenizer()).tokens


def test_a_server_is_shown_earlier_turns_and_it_is_told(schema: Schema, verified: Path) -> None:
    question = "Which singers are from France?"
    with Scripted(always(SINGERS)) as server:
        options = ModelOptions(examples=str(verified), cache=False)
        made = ServerTranslator(server.name, options=options, timing=QUICK)
        (found, *_) = made.propose(question, schema, link(question, schema), 1)
        turns = server.requests[0]["messages"]
    assert [turn["role"] for turn in turns] == [
        "system", *["user", "assistant"] * ((len(turns) - 2) // 2), "user",
    ]  # fmt: skip
    assert turns[-3] == {"role": "user", "content": f"### Question\n{VERIFIED[2][0]}"}
    assert turns[-2] == {"role": "assistant", "content": VERIFIED[2][1]}
    sent = [origin for origin in found.origins if "example" in origin.note]
    assert len(sent) == (len(turns) - 2) // 2
    assert sent[-1].part == f"“{VERIFIED[2][0]}”"
    assert "'Peru'" in sent[-1].note
    assert all(origin.role == "sent" for origin in sent)


def test_a_model_tuned_here_is_asked_as_it_was_trained(
    schema: Schema, verified: Path, tmp_path: Path
) -> None:
    question = "How many singers are there?"
    plain = tiny_model("llama", tmp_path / "plain")
    asking = ModelOptions(examples=str(verified))
    links: Links = link(question, schema)
    with_examples = LanguageModelTranslator(plain, asking=asking).prompt(question, schema, links)
    assert with_examples.shots
    ModelInfo("full", prompt=PromptFormat(max_input_tokens=900)).write(plain)
    tuned = LanguageModelTranslator(plain, asking=asking).prompt(question, schema, links)
    assert not tuned.shots
    assert tuned == LanguageModelTranslator(plain).prompt(question, schema, links)
