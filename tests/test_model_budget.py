"""Language models within the time and the tokens of a question; and their SQL in other dialects."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from plainsql import connect
from plainsql.budget import Budget, OutOfBudget, current, within
from plainsql.linking.link import link
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model.decoding import GenerationSettings
from plainsql.translators.language_model.generation import generate
from plainsql.translators.language_model.server_translator import ServerTranslator
from plainsql.translators.language_model.translator import LanguageModelTranslator
from test_model_server import QUICK, SINGERS, Scripted, always, answer
from tiny_models import tiny_model

QUESTION = "Which singers are there?"
FRESH = ModelOptions(cache=False)


@pytest.fixture
def schema(concerts: Path) -> Schema:
    return sqlite_schema(concerts)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModelTranslator:
    """A random model: it never ends a text by itself."""
    folder = tiny_model("llama", tmp_path_factory.mktemp("model") / "llama")
    settings = GenerationSettings(max_new_tokens=300)
    return LanguageModelTranslator(folder, settings, asking=FRESH)


# --- tokens -------------------------------------------------------------------


def test_the_room_for_an_answer_is_what_the_prompt_leaves() -> None:
    budget = Budget.lasting(60, 1000)
    assert budget.room(400) == 600
    budget.spend(700)
    assert budget.room(299) == 1
    with pytest.raises(OutOfBudget, match="about 300 tokens, and 300 are left") as caught:
        budget.room(300)
    assert "token_budget" in caught.value.hint
    assert Budget.lasting(60).room(10**9) > 10**12


def test_a_server_is_asked_within_the_tokens(schema: Schema) -> None:
    links = link(QUESTION, schema)
    with Scripted(always(*[SINGERS] * 4)) as server:
        made = ServerTranslator(server.name, options=FRESH, timing=QUICK)
        with within(Budget.lasting(60, 10)), pytest.raises(OutOfBudget, match="The prompt takes"):
            made.propose(QUESTION, schema, links, 4)
        assert not server.requests
        with within(Budget.lasting(60, 100_000)) as budget:
            made.propose(QUESTION, schema, links, 4)
        assert budget.spent == 20  # as this server counts: 7 and 3 a request
        assert [request["max_tokens"] for request in server.requests] == [512, 512]


def test_what_came_before_the_tokens_were_used_up_counts(schema: Schema) -> None:
    links = link(QUESTION, schema)
    with Scripted(always(*[SINGERS] * 4)) as server:
        made = ServerTranslator(server.name, options=ModelOptions(), timing=QUICK)
        prompt = made._messages(made._form, made._shown(QUESTION, schema, links))[0]
        with within(Budget.lasting(60, prompt.tokens + 5)):
            (found,) = made.propose(QUESTION, schema, links, 4)
        assert found.sql == SINGERS
        assert [request["max_tokens"] for request in server.requests] == [5]
        made.propose(QUESTION, schema, links, 4)
        assert len(server.requests) == 3  # half an answer was not kept


def test_drawn_answers_that_fail_cost_only_themselves(schema: Schema) -> None:
    def script(body: dict[str, Any]) -> tuple[int, bytes]:
        return (500, b"{}") if body["temperature"] else (200, answer(SINGERS))

    with Scripted(script) as server:
        made = ServerTranslator(server.name, options=FRESH, timing=QUICK)
        (found,) = made.propose(QUESTION, schema, link(QUESTION, schema), 4)
    assert found.sql == SINGERS


def test_an_answer_that_was_cut_off_is_no_candidate(schema: Schema) -> None:
    texts = iter([SINGERS, f"{SINGERS};"])
    with Scripted(lambda _: (200, answer(next(texts), finish="length"))) as server:
        made = ServerTranslator(server.name, options=FRESH, timing=QUICK)
        links = link(QUESTION, schema)
        assert made.propose(QUESTION, schema, links, 1) == []
        assert [one.sql for one in made.propose(QUESTION, schema, links, 1)] == [SINGERS]


def test_a_local_model_writes_within_the_tokens(
    model: LanguageModelTranslator, schema: Schema
) -> None:
    links = link(QUESTION, schema)
    prompt = model.prompt(QUESTION, schema, links)
    with within(Budget.lasting(60, prompt.tokens + 3)) as budget:
        with pytest.raises(OutOfBudget, match="tokens for the question are used up"):
            model.propose(QUESTION, schema, links, 1)
        assert budget.spent == prompt.tokens + 3
        with pytest.raises(OutOfBudget):
            model.propose(QUESTION, schema, links, 1)
    with within(Budget.lasting(60, 10)), pytest.raises(OutOfBudget, match="The prompt takes"):
        model.propose(QUESTION, schema, links, 1)


# --- time ---------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_writing_stops_at_the_deadline(model: LanguageModelTranslator, strategy: Any) -> None:
    settings = GenerationSettings(strategy, max_new_tokens=900)
    started = time.monotonic()
    with within(Budget.lasting(0.2)):
        ((text,),) = generate(model.loaded, ["Question:"], settings)
    assert time.monotonic() - started < 5
    assert not text.finished
    assert 0 < text.tokens < 900


def test_a_local_model_that_runs_out_of_time_says_so(
    model: LanguageModelTranslator, schema: Schema
) -> None:
    links = link(QUESTION, schema)
    model.warm_up()
    with within(Budget.lasting(0.15)), pytest.raises(OutOfBudget, match="time") as caught:
        model.propose(QUESTION, schema, links, 1)
    assert "deadline" in caught.value.hint
    with within(Budget.lasting(0)), pytest.raises(OutOfBudget, match="time"):
        model.propose(QUESTION, schema, links, 1)
    assert not current().exhausted()


# --- other dialects -----------------------------------------------------------

FOREIGN = [
    "SELECT TOP 2 name FROM singer ORDER BY age",
    "```tsql\nSELECT TOP (2) [name] FROM [singer] ORDER BY [age];\n```",
    "SELECT `name` FROM `singer` ORDER BY `age` LIMIT 2;",
    "SELECT s.name::text FROM singer AS s ORDER BY s.age FETCH FIRST 2 ROWS ONLY",
    "SELECT name FROM singer WHERE name ILIKE ‘%’ ORDER BY age LIMIT 2",
    "Use this:\n\nSELECT name FROM singer ORDER BY age ASC NULLS LAST LIMIT 2;\n\nIt sorts by age.",
]


@pytest.mark.parametrize("said", FOREIGN)
def test_other_dialects_are_answered_all_the_same(concerts: Path, said: str) -> None:
    with (
        Scripted(always(*[said] * 4)) as server,
        connect(concerts, translator=server.name, settings=Settings()) as database,
    ):
        found = database.ask("Which two singers are the youngest?")
    assert found.row_count == 2
    assert len(found.columns) == 1
