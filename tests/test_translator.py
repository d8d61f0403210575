"""The parser's translator around a network that only plays: what it proposes executes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from plainsql.errors import ModelError
from plainsql.linking.link import link
from plainsql.linking.value_index import ValueIndex
from plainsql.logical_form.symbols import SYMBOLS
from plainsql.records import Candidate, Links
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.translators.parser.arrays import ModelInput
from plainsql.translators.parser.beam import Floats, Past, StepInput
from plainsql.translators.parser.signals import SIGNALS
from plainsql.translators.parser.translator import ParserTranslator
from shop import open_shop, write_tokenizer

QUESTIONS = [
    "What are the names of customers from France?",
    "How many purchases of more than 4 products are there for each country?",
    "Which 3 employees have the highest salary?",
    'Show products whose title contains "pen" and customers born after 1990-01-01',
    "weather",
]


class Dice:
    """Pseudo-random logits that depend on the step and the beam's last action alone."""

    def __init__(self, seed: int, ending: float = 3.0) -> None:
        self.seed, self.ending = seed, ending

    def encode(self, model_input: ModelInput) -> Dice.Memory:
        return Dice.Memory(len(model_input.node_kinds))

    def empty_past(self) -> Past:
        return Past(np.zeros((1, 1, 1, 0, 1), np.float32), np.zeros((1, 1, 1, 0, 1), np.float32))

    def step(self, memory: Dice.Memory, past: Past, inputs: StepInput) -> tuple[Floats, Past]:
        beams, steps = past.keys.shape[1], past.keys.shape[3]
        logits = np.stack([self._row(memory, int(a), steps) for a in inputs.previous])
        longer = np.zeros((1, beams, 1, steps + 1, 1), np.float32)
        return logits, Past(longer, longer)

    def _row(self, memory: Dice.Memory, previous: int, steps: int) -> Floats:
        rng = np.random.default_rng((self.seed, previous + 1, steps))
        row = 2 * rng.standard_normal(len(SYMBOLS) + memory.nodes)
        row[0] += self.ending * steps / 10  # END comes sooner or later
        return row.astype(np.float32)

    class Memory:
        def __init__(self, nodes: int) -> None:
            self.nodes = nodes
            self.used_logits = np.linspace(-2, 2, nodes).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translator")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def shop(folder: Path) -> tuple[Path, Schema]:
    path, schema, _ = open_shop(folder)
    return path, schema


@pytest.fixture(scope="module")
def links(folder: Path, shop: tuple[Path, Schema]) -> dict[str, Links]:
    with closing(ValueIndex.open(*shop, folder / "cache")) as index:
        return {question: link(question, shop[1], index) for question in QUESTIONS}


def proposals(folder: Path, schema: Schema, links: Links, seed: int, n: int) -> list[Candidate]:
    translator = ParserTranslator(folder, model=Dice(seed))
    return translator.propose(links.question.text, schema, links, n)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("seed", range(6))
def test_every_candidate_executes(
    question: str, seed: int, folder: Path, shop: tuple[Path, Schema], links: dict[str, Links]
) -> None:
    path, schema = shop
    found = proposals(folder, schema, links[question], seed, 8)
    assert 0 < len(found) <= 8
    assert len({candidate.sql for candidate in found}) == len(found)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for candidate in found:
            connection.execute(candidate.sql).fetchmany(50)
            assert candidate.translator == "parser"
            assert len(candidate.features) == len(SIGNALS)
            assert np.isfinite(candidate.features).all()
            assert candidate.score == candidate.features[SIGNALS.index("log_prob")]


@pytest.mark.parametrize("n", [1, 3, 12])
def test_at_most_n_and_always_the_same(
    n: int, folder: Path, shop: tuple[Path, Schema], links: dict[str, Links]
) -> None:
    own = links[QUESTIONS[0]]
    once, again = (proposals(folder, shop[1], own, 1, n) for _ in range(2))
    assert once == again
    assert len(once) <= n
    assert once != proposals(folder, shop[1], own, 2, n)


def test_origins_name_the_words(
    folder: Path, shop: tuple[Path, Schema], links: dict[str, Links]
) -> None:
    own = links[QUESTIONS[0]]
    candidates = [c for seed in range(12) for c in proposals(folder, shop[1], own, seed, 8)]
    origins = {origin for candidate in candidates for origin in candidate.origins}
    words = {origin.part: (origin.words, origin.note) for origin in origins}
    assert words["customer"] == ("customers", "named in the question")
    assert words["customer.name"] == ("names", "named in the question")
    assert words["'France'"] == ("France", "found in the cells (customer.country)")
    assert {origin.role for origin in origins} == {"table", "column", "value", "operation"}
    for candidate in candidates:
        assert len(set(candidate.origins)) == len(candidate.origins)
        assert any(origin.role == "table" for origin in candidate.origins)


def test_signals_count_what_the_links_say(
    folder: Path, shop: tuple[Path, Schema], links: dict[str, Links]
) -> None:
    own = links[QUESTIONS[0]]
    candidates = [c for seed in range(12) for c in proposals(folder, shop[1], own, seed, 8)]
    for candidate in candidates:
        signal = dict(zip(SIGNALS, candidate.features, strict=True))
        assert signal["steps"] >= 2
        assert signal["cells_used"] == ("France" in candidate.sql)
        assert signal["cells_used"] + signal["cells_missed"] == 1
        assert signal["distinct"] >= ("SELECT DISTINCT" in candidate.sql)
        assert signal["set_operations"] >= candidate.sql.count(" INTERSECT ")
        assert signal["used_worst"] < 0


def test_a_question_without_links_is_answered_too(folder: Path, shop: tuple[Path, Schema]) -> None:
    path, schema = shop
    found = proposals(folder, schema, link("blah?", schema), 3, 5)
    with closing(sqlite3.connect(path)) as connection:
        for candidate in found:
            connection.execute(candidate.sql)
    assert found


def test_a_schema_that_does_not_fit_is_narrowed(folder: Path) -> None:
    columns = tuple(
        Column("wide", f"c{i}", ColumnType.TEXT, f"some long name {i}") for i in range(2000)
    )
    schema = Schema("wide", (Table("wide", columns, "wide"),))
    cells = "CREATE TABLE wide (" + ", ".join(f"c{i} TEXT" for i in range(2000)) + ")"
    found = proposals(folder, schema, link("What is some long name 1234?", schema), 1, 3)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(cells)
        for candidate in found:
            connection.execute(candidate.sql)
    assert found


def test_without_weights_the_error_says_so(tmp_path: Path, shop: tuple[Path, Schema]) -> None:
    translator = ParserTranslator(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="nowhere"):
        translator.propose("How many?", shop[1], link("How many?", shop[1]), 1)
