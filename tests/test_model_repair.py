"""Asking a model again: what it is told of its query, and what a server is not told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plainsql.linking.link import link
from plainsql.records import Attempt, Candidate
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions, Repairing
from plainsql.translators.language_model.decoding import GenerationSettings
from plainsql.translators.language_model.prompts import AGAIN
from plainsql.translators.language_model.repair import MOST_ATTEMPTS, failed_of, without_cells
from plainsql.translators.language_model.server_translator import ServerTranslator
from plainsql.translators.language_model.translator import LanguageModelTranslator
from test_model_server import QUICK, SINGERS, Scripted, answer
from tiny_models import tiny_model, tiny_tokenizer

QUESTION = "Which singers are from France?"
BAD = "SELECT nmae FROM singer"
PROBLEM = "no such column: nmae"


@pytest.fixture
def schema(concerts: Path) -> Schema:
    return sqlite_schema(concerts)


def attempt(
    sql: str = BAD, problem: str = PROBLEM, names: tuple[str, ...] = (), by: str = "m"
) -> Attempt:
    return Attempt(Candidate(sql, -1.0, by), problem, names)


# --- what is told -------------------------------------------------------------


def test_each_query_is_told_of_once_and_the_last_ones_only() -> None:
    many = [attempt(f"SELECT {number % 6}") for number in range(12)]
    assert [failed.sql for failed in failed_of(many)] == ["SELECT 3", "SELECT 4", "SELECT 5"]
    assert len(failed_of(many)) == MOST_ATTEMPTS
    (failed,) = failed_of([attempt(names=("singer.name", "singer"))])
    assert failed.remarks == (f"It did not do: {PROBLEM}", "What is there: singer.name, singer")


HIDDEN = {
    PROBLEM: PROBLEM,
    "no such table: SECRET": "no such table: SECRET",  # an engine's own words are no cells
    'invalid input for integer: "Smith"': "invalid input for integer: …",
    "could not convert 'O'Brien's secret' to a number": "could not convert … to a number",
    "Truncated value: 'France' of column `age`": "Truncated value: 'France' of column `age`",
    "unknown column 'age' near 'c4nary'": "unknown column 'age' near …",
    "'c4nary' is not 'France'": "…",
    "value 123456 is out of range": "value … is out of range",
    "value 42 is out of range": "value 42 is out of range",
    "date 2020-13-45 has no month": "date … has no month",
    "it says “c4nary” here": "it says … here",
    "it can't read 'c4nary'": "it can…",
    "": "",
}


@pytest.mark.parametrize(("problem", "told"), HIDDEN.items())
def test_cells_in_messages_are_hidden(schema: Schema, problem: str, told: str) -> None:
    given = [attempt("SELECT age FROM singer WHERE age = 42", problem)]
    (found,) = without_cells(given, "m", QUESTION, schema)
    assert found.problem == told
    assert "c4nary" not in found.problem


def test_only_names_and_queries_of_its_own_are_told_of(schema: Schema) -> None:
    names = ("singer.name", '"singer"."age"', "singer", "c4nary", "'c4nary'")
    given = [attempt(names=names), attempt("SELECT 'c4nary'", by="parser")]
    (found,) = without_cells(given, "m", QUESTION, schema)
    assert found.names == names[:3]
    assert found.candidate.sql == BAD


# --- a server -----------------------------------------------------------------


def repaired(
    schema: Schema, privacy: str, attempts: list[Attempt], n: int = 3
) -> tuple[list[Candidate], list[dict[str, Any]]]:
    texts = (SINGERS, "SELECT 1", SINGERS)
    with Scripted(lambda body: (200, answer(*texts[: body.get("n", 1)]))) as server:
        made = ServerTranslator(server.name, options=ModelOptions(privacy=privacy), timing=QUICK)
        assert isinstance(made, Repairing)
        own = [
            Attempt(Candidate(one.candidate.sql, 0.0, made.name), one.problem, one.names)
            if one.candidate.translator == "m"
            else one
            for one in attempts
        ]
        found = made.repair(QUESTION, schema, link(QUESTION, schema), own, n)
    return found, server.requests


def test_a_server_is_told_in_turns(schema: Schema) -> None:
    found, requests = repaired(schema, "schema", [attempt(names=("singer.name",))])
    assert [one.sql for one in found] == [SINGERS, "SELECT 1"]
    assert [request["temperature"] for request in requests] == [0.0, 0.7]
    turns = requests[0]["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == BAD
    assert turns[3]["content"] == (
        f"### Problem\n-- It did not do: {PROBLEM}\n-- What is there: singer.name\n{AGAIN}"
    )
    told = found[0].origins[-1]
    assert (told.role, told.part) == ("sent", BAD)
    assert PROBLEM in told.note


@pytest.mark.parametrize("privacy", ["names-only", "schema", "samples"])
def test_cells_go_to_a_server_only_where_samples_may(schema: Schema, privacy: str) -> None:
    cell = attempt(problem="could not convert 'c4nary'", names=("'c4nary'", "singer.name"))
    _, requests = repaired(schema, privacy, [cell], 1)
    assert ("c4nary" in json.dumps(requests)) == (privacy == "samples")


def test_nothing_to_tell_is_not_asked(schema: Schema) -> None:
    assert repaired(schema, "schema", [attempt(by="parser")]) == ([], [])
    assert repaired(schema, "schema", []) == ([], [])


# --- a model that runs here ---------------------------------------------------


@pytest.mark.parametrize("style", ["chat", "instruct"])
def test_a_local_model_is_told(schema: Schema, tmp_path: Path, style: str) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    if style == "chat":
        tiny_tokenizer(chat=True).save_pretrained(folder)
    model = LanguageModelTranslator(folder, GenerationSettings(max_new_tokens=4))
    assert isinstance(model, Repairing)
    links = link(QUESTION, schema)
    attempts = [attempt(names=("singer.name",))]
    text = model.prompt(QUESTION, schema, links, attempts=attempts).text
    told = f"-- It did not do: {PROBLEM}\n-- What is there: singer.name\n{AGAIN}"
    if style == "chat":
        ending = f"<s>assistant\n{BAD}</s>\n<s>user\n### Problem\n{told}</s>\n<s>assistant\n"
    else:
        ending = f"### Response\n{BAD}\n\n### Problem\n{told}\n\n### Response\n"
    assert text.endswith(ending)
    found = model.repair(QUESTION, schema, links, attempts, 3)
    assert found == model.repair(QUESTION, schema, links, attempts, 3)
    assert model.repair(QUESTION, schema, links, [], 3) == []
    assert model.repair(QUESTION, schema, links, [attempt("SELECT " + "a, " * 900)], 3) == []
