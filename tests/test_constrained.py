"""Constrained decoding: whatever the model, what it writes is SQL over what there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llguidance", reason="needs the extra `constrained`")
pytest.importorskip("transformers", reason="needs the extra `train`")

import numpy as np

from grammar_schemas import SCHEMAS, compiler, hostile, schema_of
from plainsql.execution.guard import judge
from plainsql.execution.policy import POLICIES, generic_policy
from plainsql.records import Links, Question
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions
from plainsql.translators.language_model import translator as translator_module
from plainsql.translators.language_model.constrained import NotCovered, grammar_of, processor
from plainsql.translators.language_model.constrained import words as grammar_words
from plainsql.translators.language_model.constrained.masks import Machine, Masks, vocabulary_of
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.generation import GenerationSettings, generate
from plainsql.translators.language_model.loading import Loaded, load
from plainsql.translators.language_model.translator import LanguageModelTranslator
from random_queries import Writer, bare, vocabulary
from tiny_models import tiny_model, tiny_tokenizer

SINGERS = schema_of(
    {
        "singer": ["singer_id", "name", "country", "age"],
        "concert": ["concert_id", "title", "year", "singer_id"],
        "review": ["concert_id", "stars", "count"],
    },
    ["concert.singer_id=singer.singer_id", "review.concert_id=concert.concert_id"],
)

WRONG_NAMES = re.compile(
    r"no such (table|column|function)|ambiguous|not found|does not exist|Referenced|syntax error"
    r"|incomplete input|misuse|wrong number|do not have the same|out of range",
    re.IGNORECASE,
)
OPERATORS = re.compile(r"(Scalar|Aggregate) Function with name \S+ does not exist")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A real BPE of 700 tokens."""
    return tiny_tokenizer(700)


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_texts_are_queries_over_what_there_is(name: str, tokenizer: Any) -> None:
    schema = SCHEMAS[name]()
    writer, complaint_of = Writer(schema, vocabulary(tokenizer)), compiler(schema)
    for _ in range(20):
        text = writer.text()
        verdict = judge(bare(text), schema=schema, dialect=schema.dialect)
        assert verdict.allowed, (verdict.reason, text)
        complaint = complaint_of(bare(text))
        assert not WRONG_NAMES.search(complaint), (complaint, text)


# --- what is in the grammar, and what is not -----------------------------------


def accepts(schema: Schema, sql: str, tokenizer: Any) -> bool:
    """Whether a text can be written, token by token, and may end there."""
    words = vocabulary(tokenizer)
    masks = Masks(Machine(grammar_of(schema), words))
    state = masks.start()
    for token in tokenizer(sql, add_special_tokens=False)["input_ids"]:
        if not masks.allowed(state)[token]:
            return False
        masks.advance(state, token)
    return bool(masks.allowed(state)[tokenizer.eos_token_id])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM singer",
        "select Name from SINGER where Age > 3.5 and country = 'It''s';",
        "SELECT singer.name FROM singer",
        'SELECT "name" FROM "singer" WHERE "singer"."age" IS NOT NULL',
        "SELECT T1.name FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id = T2.singer_id",
        "SELECT T2.name FROM concert AS T1 JOIN singer AS T2 ON T2.singer_id = T1.singer_id",
        "SELECT s.name, c.title FROM singer s LEFT JOIN concert c ON s.singer_id = c.singer_id",
        "SELECT stars, name FROM review AS T1 JOIN concert AS T2 ON T1.concert_id = T2.concert_id "
        "JOIN singer AS T3 ON T2.singer_id = T3.singer_id WHERE T3.age BETWEEN 20 AND 30",
        "SELECT name FROM singer WHERE singer_id NOT IN (SELECT singer_id FROM concert)",
        "SELECT name FROM singer WHERE age = (SELECT max(age) FROM singer) LIMIT 3 OFFSET 1",
        "SELECT country, avg(age) AS average FROM singer GROUP BY country HAVING count(*) > 1 "
        "ORDER BY count(DISTINCT name) DESC NULLS LAST LIMIT 1",
        "SELECT name FROM singer UNION ALL SELECT title FROM concert ORDER BY 1 DESC",
        "SELECT name FROM singer WHERE NOT (age > 3 OR name LIKE '%a%') AND country IN ('a', 'b')",
        "SELECT count(*) FROM (SELECT DISTINCT name, country FROM singer) AS found",
        "SELECT sum(CASE WHEN age > 30 THEN 1 ELSE 0 END) * 100.0 / count(*) FROM singer",
        "SELECT round(avg(age), 2), upper(name), CAST(age AS real) FROM singer",
        "SELECT 1 + (SELECT count(*) FROM singer) - (SELECT count(*) FROM concert)",
        "SELECT strftime('%Y', year) FROM concert WHERE EXISTS (SELECT * FROM singer)",
        "SELECT T1.*, T2.title FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id=T2.singer_id",
        "SELECT count FROM review",
        "SELECT count, stars FROM review ORDER BY count",
        "SELECT\n  name,\n  age\nFROM singer\nORDER BY age",
        "```sql\nSELECT name FROM singer;\n```",
    ],
)
def test_what_models_write_can_be_written(sql: str, tokenizer: Any) -> None:
    assert accepts(SINGERS, sql, tokenizer)
    assert judge(extract_sql(sql), schema=SINGERS).allowed


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "DROP TABLE singer",
        "SELECT name FROM singers",
        "SELECT title FROM singer",  # of another table
        "SELECT T2.name FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id = T2.singer_id",
        "SELECT T3.name FROM singer AS T1",
        "SELECT T1.name, T2.title FROM singer AS T1",  # T2 is missing
        "SELECT singer_id FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id = T2.singer_id",
        "SELECT name FROM singer AS T1 JOIN concert AS T2 ON T1.age = T2.year",  # no key
        "SELECT name FROM singer WHERE singer_id IN (SELECT name FROM concert)",
        "SELECT name FROM singer WHERE singer_id IN (SELECT singer_id, year FROM concert)",
        "SELECT name FROM singer WHERE count(*) > 1",
        "SELECT name FROM singer UNION SELECT title, year FROM concert",
        "SELECT name FROM singer ORDER BY 3",
        "SELECT name FROM singer; SELECT 1",
        "SELECT name FROM singer -- all",
        "SELECT load_extension('x') FROM singer",
        "SELECT name FROM singer, concert",
    ],
)
def test_what_is_wrong_cannot_be_written(sql: str, tokenizer: Any) -> None:
    assert not accepts(SINGERS, sql, tokenizer)


def test_only_the_given_tables_can_be_named(tokenizer: Any) -> None:
    words = vocabulary(tokenizer)
    machine = Machine(grammar_of(SINGERS, [0]), words)
    assert [scope.tables for scope in machine.index.scopes] == [(0,)] * 3
    assert grammar_of(SINGERS, [0]) == grammar_of(SINGERS, [0])
    assert grammar_of(SINGERS, [1, 0]) != grammar_of(SINGERS, [0, 1])


def test_blanks_alone_do_not_go_on_for_ever(tokenizer: Any) -> None:
    assert not accepts(SINGERS, "SELECT" + " " * 40 + "name FROM singer", tokenizer)
    assert not accepts(SINGERS, f"SELECT name FROM singer WHERE name = '{'a' * 400}'", tokenizer)


@pytest.mark.parametrize("dialect", [*POLICIES, "oracle"])
def test_its_functions_and_types_are_those_of_the_guard(dialect: str) -> None:
    policy = POLICIES.get(dialect) or generic_policy(dialect)
    for table in (grammar_words._ONE, grammar_words._TWO):
        assert set(grammar_words._of(table, dialect)) <= policy.functions
    schema = replace(SINGERS, dialect=dialect)
    for kind in grammar_words._of(grammar_words._TYPES, dialect):
        verdict = judge(f"SELECT CAST(age AS {kind}) FROM singer", schema=schema, dialect=dialect)
        assert verdict.allowed, (kind, verdict.reason)


@pytest.mark.parametrize("dialect", ["postgres", "mysql", "oracle"])
def test_other_dialects_are_understood_by_the_guard(dialect: str, tokenizer: Any) -> None:
    schema = hostile(dialect)
    writer = Writer(schema, vocabulary(tokenizer))
    for _ in range(8):
        sql = bare(writer.text())
        verdict = judge(sql, schema=schema, dialect=dialect)
        assert verdict.allowed, (verdict.reason, sql)


# --- in generate ---------------------------------------------------------------


@pytest.fixture(scope="module", params=["llama", "t5"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model that knows nothing."""
    return load(tiny_model(request.param, tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize(
    "settings",
    [
        GenerationSettings(max_new_tokens=30),
        GenerationSettings("beam", candidates=4, beams=4, max_new_tokens=30),
        GenerationSettings("sample", candidates=3, temperature=2.0, max_new_tokens=30),
    ],
    ids=lambda settings: settings.strategy,
)
def test_every_strategy_stays_within_the_grammar(
    loaded: Loaded, settings: GenerationSettings
) -> None:
    masks = processor(grammar_of(SINGERS), loaded)
    prompts = ["How many?", "Which singers are from France, and how old are they?"]
    for texts in generate(loaded, prompts, replace(settings, batch_size=1), [masks]):
        for text in texts:
            tokens = loaded.tokenizer(text.text, add_special_tokens=False)["input_ids"]
            state = masks.start()
            for token in tokens:
                assert masks.allowed(state)[token] or not text.finished, text
                masks.advance(state, token)
            if text.finished:
                assert judge(extract_sql(text.text), schema=SINGERS).allowed


def test_prompts_of_one_batch_do_not_disturb_each_other(loaded: Loaded) -> None:
    settings = GenerationSettings("beam", candidates=2, beams=3, max_new_tokens=25)
    prompts = ["How many?", "Which singers are from France?"]
    alone = [
        generate(loaded, [prompt], settings, [processor(grammar_of(SINGERS), loaded)])[0]
        for prompt in prompts
    ]
    together = generate(loaded, prompts, settings, [processor(grammar_of(SINGERS), loaded)])
    assert [[t.text for t in texts] for texts in together] == [
        [t.text for t in texts] for texts in alone
    ]


def test_a_thought_is_free_and_the_answer_behind_it_is_not(tokenizer: Any) -> None:
    thinking = tiny_tokenizer(700)
    thinking.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    words = vocabulary(thinking)
    begin, end = thinking.convert_tokens_to_ids(["<think>", "</think>"])
    masks = Masks(Machine(grammar_of(SINGERS), words))
    state = masks.start()
    free = thinking("DROP")["input_ids"][0]
    assert masks.allowed(state, first=True)[begin]
    masks._step(state, begin)
    assert masks.allowed(state).all()
    masks._step(state, free)
    masks._step(state, end)
    assert not masks.allowed(state)[free]
    prompted = masks._first([begin, free])
    assert masks.allowed(prompted).all()


# --- what can't be covered ---------------------------------------------------------


def test_a_vocabulary_that_cannot_spell_sql_is_not_covered() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE({"<s>": 0, "</s>": 1, "s": 2}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel()
    plain.decoder = decoders.ByteLevel()
    words = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>")
    with pytest.raises(NotCovered, match="no token for"):
        vocabulary_of(words, 3, [1])


def test_a_slow_tokenizer_and_a_schema_without_names_are_not_covered(tokenizer: Any) -> None:
    with pytest.raises(NotCovered, match="can't be used"):
        vocabulary_of(_Slow(), 3, [1])
    nameless = schema_of({"a\x00b": ["c"], "d": ["e\nf"]})
    with pytest.raises(NotCovered, match="no table"):
        Machine(grammar_of(nameless), vocabulary(tokenizer))
    assert grammar_of(nameless).gbnf == ""


class _Slow:
    """A tokenizer that isn't made of the Rust library."""

    def __len__(self) -> int:
        return 3


def test_a_translator_goes_on_without_what_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LanguageModelTranslator(
        tiny_model("llama", tmp_path / "model"),
        GenerationSettings(max_new_tokens=30),
        asking=ModelOptions(cache=False),
    )
    asked = ("How many singers are there?", SINGERS, Links(Question("", ())), 1)

    def refuse(*_: object) -> Any:
        raise NotCovered("the tokenizer can't be used: it is odd")

    made.propose(*asked)
    assert made.remark == ""
    monkeypatch.setattr(translator_module, "processor", refuse)
    made.propose(*asked)
    assert made.remark == "not held to a grammar: the tokenizer can't be used: it is odd"


# --- GBNF --------------------------------------------------------------------------


@pytest.mark.parametrize("make", SCHEMAS.values(), ids=SCHEMAS)
def test_llama_cpp_reads_the_grammar(make: Callable[[], Schema]) -> None:
    text = grammar_of(make()).gbnf
    defined = set(re.findall(r"^(\S+) ::=", text, re.MULTILINE))
    bodies = re.sub(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{[0-9,]+\}', " ", text)
    used = set(re.findall(r"[A-Za-z][A-Za-z0-9]*", bodies))
    assert used <= defined | {"root"}
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs the extra `gguf`")
    assert llama_cpp.LlamaGrammar.from_string(text, verbose=False)


def test_gbnf_and_masks_have_the_same_words() -> None:
    text = grammar_of(SINGERS).gbnf
    assert "[nN] [aA] [mM] [eE]" in text
    assert np.all([name in text for name in ("SELECT", "COUNTALL", "TITLE")])
