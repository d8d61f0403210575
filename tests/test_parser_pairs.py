"""Pairs prepared for the parser's training, and the examples drawn from them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plainsql.errors import MissingExtra
from plainsql.linking.words import tokenize_question
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.symbols import RELATIONS, SYMBOLS
from plainsql.logical_form.tables import tables_of
from plainsql.logical_form.tree import Aggregate, Select, Star
from plainsql.records import Links, ValueKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import ColumnType, Schema
from plainsql.training import encoder_files, parser_data, parser_pairs
from plainsql.training.parser_data import (
    Source,
    make_example,
    make_target,
    training_sources,
    validation_examples,
)
from plainsql.training.parser_pairs import (
    VALIDATION_DATABASES,
    Database,
    Pair,
    Prepared,
    held_out,
    normalised,
    read_jsonl,
    read_spider,
)
from plainsql.training.word_table import write_words
from plainsql.translators.parser.arrays import ModelInput, ModelTarget
from plainsql.translators.parser.features import FEATURES, FeatureBuilder
from shop import open_shop, write_tokenizer

HELD_OUT = min(VALIDATION_DATABASES)
TRAIN = [
    ("shop", "What are the names of all customers?", "SELECT name FROM customer"),
    ("shop", "How many customers are there?", "SELECT count(customer_id) FROM customer"),
    ("shop", "Customers from France", "SELECT name FROM customer WHERE country = 'France'"),
    (
        "shop",
        "Which customers bought something?",
        "SELECT c.name FROM customer c JOIN purchase p ON c.customer_id = p.customer_id",
    ),
    ("shop", "Names in capitals", "SELECT upper(name) FROM customer"),  # not covered
    ("shop", "Customers from there", "SELECT name FROM customer WHERE country = 'Mars'"),  # unseen
    ("shop", "How many, PRODUCTS?", "SELECT count(*) FROM product"),  # asked in dev
    (HELD_OUT, "How many products are there?", "SELECT count(*) FROM product"),
    ("away", "How many deliveries?", "SELECT count(*) FROM delivery"),  # a dev database
]
DEV = [("away", "How many products?", "SELECT count(*) FROM product")]
JSONL = [
    {
        "db_id": "shop",
        "db": "",
        "question": "List product titles",
        "query": "SELECT title FROM product",
    },
    {
        "db_id": "shop",
        "db": "",
        "question": "List product prices",
        "query": "SELECT price FROM product",
    },
    {
        "db_id": "web",
        "db": "",
        "question": "Which team is from Rome?",
        "query": "SELECT team FROM teams WHERE city = 'Rome'",
        "schema": {"table": "teams", "columns": ["team", "city"], "types": ["text", "text"]},
    },
]


def spider_form(schema: Schema, name: str) -> dict[str, Any]:
    """A schema as tables.json writes it."""
    columns = [(schema.table_of[i], column) for i, column in enumerate(schema.columns)]
    return {
        "db_id": name,
        "table_names_original": [table.name for table in schema.tables],
        "table_names": [table.natural for table in schema.tables],
        "column_names_original": [[-1, "*"], *([t, c.name] for t, c in columns)],
        "column_names": [[-1, "*"], *([t, c.natural] for t, c in columns)],
        "column_types": ["text", *(c.type.value for _, c in columns)],
        "primary_keys": [i + 1 for i, (_, c) in enumerate(columns) if c.primary_key],
        "foreign_keys": [
            [
                schema.column_index(key.table, key.columns[0]) + 1,
                schema.column_index(key.ref_table, key.ref_columns[0]) + 1,
            ]
            for key in schema.foreign_keys
        ],
    }


def write_json(path: Path, items: list[tuple[str, str, str]]) -> None:
    form = [{"db_id": db, "question": question, "query": sql} for db, question, sql in items]
    path.write_text(json.dumps(form), encoding="utf-8")


def write_spider(folder: Path) -> None:
    path, schema, _ = open_shop(folder)
    names = ("shop", HELD_OUT, "away")
    for name in names:
        place = folder / "database" / name / f"{name}.sqlite"
        place.parent.mkdir(parents=True)
        shutil.copy(path, place)
    forms = [spider_form(schema, name) for name in names]
    (folder / "tables.json").write_text(json.dumps(forms), encoding="utf-8")
    write_json(folder / "train_spider.json", TRAIN)
    write_json(folder / "train_others.json", TRAIN[:1])
    write_json(folder / "dev.json", DEV)
    write_json(folder / "syn.json", [TRAIN[2], TRAIN[7]])
    lines = "\n".join(json.dumps(item) for item in JSONL)
    (folder / "made.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output folder of one run over a small Spider."""
    spider, out = tmp_path_factory.mktemp("spider"), tmp_path_factory.mktemp("out")
    tokenizer = write_tokenizer(out)
    size = len(json.loads(tokenizer.read_text("utf-8"))["model"]["vocab"])
    write_words(np.random.default_rng(0).standard_normal((size, 8)).astype(np.float32), out)
    write_spider(spider)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        patch.setattr(parser_pairs, "encoder_tokenizer", lambda: tokenizer)
        patch.setattr(parser_data, "encoder_tokenizer", lambda: tokenizer)
        made = ["--jsonl", str(spider / "made.jsonl"), "--spider-syn", str(spider / "syn.json")]
        parser_pairs.main(["--spider", str(spider), "--out", str(out), *made])
        yield out
    for index in parser_pairs._indexes.values():
        index.close()
    parser_pairs._indexes.clear()
    parser_data._stored.cache_clear()


def stored(folder: Path, name: str) -> list[Prepared]:
    return list(pickle.loads((folder / f"pairs-{name}.pkl").read_bytes()))


def texts(items: list[Prepared]) -> set[str]:
    return {item.links.question.text for item in items}


def test_what_is_prepared(prepared: Path) -> None:
    spider = stored(prepared, "spider")
    assert texts(spider) == {question for _, question, _ in TRAIN[:4]}
    assert {item.key for item in spider} == {"shop/given", "shop/found"}
    assert len(spider) == 2 * 4 + 2  # over both schemas; the first stands in both files


def test_no_training_source_holds_a_validation_database(prepared: Path) -> None:
    validation = stored(prepared, "validation")
    assert {item.key for item in validation} == {f"{HELD_OUT}/given"}
    assert len(validation) == 1
    for path in prepared.glob("pairs-*.pkl"):
        keys = {item.key.split("/")[0] for item in pickle.loads(path.read_bytes())}
        assert "away" not in keys
        assert (HELD_OUT in keys) == (path.stem == "pairs-validation")


def test_dev_questions_are_dropped(prepared: Path) -> None:
    asked = {normalised(question) for _, question, _ in DEV}
    for path in prepared.glob("pairs-*.pkl"):
        assert not asked & {normalised(text) for text in texts(pickle.loads(path.read_bytes()))}


def test_trees_are_canonical_and_values_linked(prepared: Path) -> None:
    trees = {item.links.question.text: item for item in stored(prepared, "spider")}
    counted = trees["How many customers are there?"].tree
    assert isinstance(counted, Select)
    assert counted.items == (Aggregate("COUNT", Star(0)),)
    values = trees["Customers from France"].links.values
    assert ("France", ValueKind.CELL) in {(value.value, value.kind) for value in values}


def test_generated_pairs(prepared: Path) -> None:
    made = stored(prepared, "made")
    assert [item.key for item in made] == ["shop/given", "shop/found", "web"]
    rome = next(value for value in made[2].links.values if value.value == "Rome")
    assert (rome.kind, rome.columns) == (ValueKind.CELL, (1,))
    databases = pickle.loads((prepared / "databases.pkl").read_bytes())
    assert databases["web"].path == ""
    assert [c.type for c in databases["web"].schema.columns] == [ColumnType.TEXT] * 2
    assert set(databases) == {"web", "shop/given", "shop/found", f"{HELD_OUT}/given"}


def test_readers(tmp_path: Path) -> None:
    write_json(tmp_path / "pairs.json", TRAIN[:1])
    pairs = list(read_spider(tmp_path / "pairs.json"))
    assert [pair.key for pair in pairs] == ["shop/given", "shop/found"]
    assert held_out(Pair(f"{HELD_OUT}/found", "", ""))
    assert not held_out(pairs[0])
    (tmp_path / "made.jsonl").write_text(json.dumps(JSONL[2]), encoding="utf-8")
    databases: dict[str, Database] = {}
    assert [pair.key for pair in read_jsonl(tmp_path / "made.jsonl", databases)] == ["web"]
    assert databases["web"].schema.tables[0].natural == "teams"
    assert normalised("What's the  NAME?") == "what s the name"


# -- examples ----------------------------------------------------------------


@pytest.fixture
def sources(prepared: Path) -> dict[str, Source]:
    return {source.name: source for source in training_sources(str(prepared))}


def check_shapes(model_input: ModelInput, target: ModelTarget) -> None:
    tokens, nodes, steps = (
        len(model_input.token_ids),
        len(model_input.node_kinds),
        len(target.actions),
    )
    assert model_input.token_types.shape == (tokens,)
    assert model_input.features.shape == (tokens, len(FEATURES))
    assert len(model_input.node_tokens) == nodes
    assert all(own.min() >= 0 and own.max() < tokens for own in model_input.node_tokens)
    assert target.previous.tolist() == [-1, *target.actions[:-1].tolist()]
    assert target.states.shape == target.depths.shape == (steps,)
    assert target.allowed.shape == (steps, len(SYMBOLS) + nodes)
    assert target.allowed[np.arange(steps), target.actions].all()
    assert target.relations.shape == (steps, nodes, len(RELATIONS))
    pointed = target.actions[target.actions >= len(SYMBOLS)] - len(SYMBOLS)
    assert np.flatnonzero(target.used).tolist() == sorted(set(pointed.tolist()))


def test_sources_are_weighted_by_size(sources: dict[str, Source]) -> None:
    assert set(sources) == {"spider", "spider_syn", "made"}
    assert all(source.weight == len(source) > 0 for source in sources.values())


def test_shapes_of_examples(sources: dict[str, Source]) -> None:
    rng = np.random.default_rng(0)
    for source in sources.values():
        for i in range(len(source)):
            for _ in range(5):
                example = source.example(i, rng, 150)
                assert example is not None
                check_shapes(*example)


def arrays(example: tuple[ModelInput, ModelTarget] | None) -> list[Any]:
    assert example is not None
    parts = [getattr(part, name) for part in example for name in part.__slots__]
    return [[own.tolist() for own in p] if isinstance(p, tuple) else p.tolist() for p in parts]


def test_the_same_numbers_give_the_same_example(sources: dict[str, Source]) -> None:
    source = sources["spider"]
    draws = [
        [arrays(source.example(3, np.random.default_rng(seed), 150)) for seed in range(12)]
        for _ in range(2)
    ]
    assert draws[0] == draws[1]
    assert any(draw != draws[0][0] for draw in draws[0])


def test_gold_tables_are_in_reach_whatever_the_budget(prepared: Path) -> None:
    databases = pickle.loads((prepared / "databases.pkl").read_bytes())
    items = stored(prepared, "spider")
    source = {s.name: s for s in training_sources(str(prepared))}["spider"]
    for item in items:
        schema = databases[item.key].schema
        gold = tables_of(item.tree, schema, JoinGraph(schema))
        for budget, most in ((1, len(gold)), (10_000, len(schema.tables))):
            rng = np.random.default_rng(1)
            chosen = source._choose_tables(schema, item, item.links, rng, budget)
            assert gold <= set(chosen)
            assert len(set(chosen)) == len(chosen) == most


def test_validation_examples(prepared: Path) -> None:
    examples = validation_examples(str(prepared))
    assert len(examples) == 1
    check_shapes(*examples[0])


def test_pairs_that_can_not_be_examples(prepared: Path) -> None:
    databases = pickle.loads((prepared / "databases.pkl").read_bytes())
    schema = databases["shop/found"].schema
    graph = JoinGraph(schema)
    builder = FeatureBuilder(prepared / "tokenizer.json")
    links = Links(tokenize_question("customers from France"))
    tree = from_sql("SELECT name FROM customer WHERE country = 'France'", schema, graph)
    assert make_example(builder, links, schema, graph, [0], tree) is None  # no such value
    assert make_example(builder, links, schema, graph, [1], replace(tree, where=None)) is None
    whole = make_example(builder, links, schema, graph, [0], replace(tree, where=None))
    assert whole is not None
    _, space = builder.build(links, schema, graph, [0])
    actions = whole[1].actions.tolist()
    assert make_target(space, actions) is not None
    assert make_target(space, [actions[0], *actions]) is None  # an item twice


def test_a_missing_encoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        encoder_files.encoder_tokenizer()
    assert "plainsql[train]" in caught.value.hint


def test_word_table_rounds_to_bytes(tmp_path: Path) -> None:
    table = np.array([[1.0, -0.5], [0.0, 0.0], [0.001, 0.002]], np.float32)
    write_words(table, tmp_path)
    words = np.load(tmp_path / parser_pairs.WORDS)
    scales = np.load(tmp_path / parser_pairs.SCALES)
    assert words.dtype == np.int8
    assert np.abs(words * scales[:, None] - table).max() <= np.abs(table).max() / 127
