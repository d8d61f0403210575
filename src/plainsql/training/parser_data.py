"""Pairs to training examples: every draw shuffles, cuts and perturbs the schema anew.

The module that the parser's recipe takes its data from (`TrainConfig.data`).
`parser_pairs` has stored the pairs, linked and parsed.
"""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plainsql.linking.embedding import WordVectors
from plainsql.linking.link import match_schema
from plainsql.logical_form.actions import to_actions
from plainsql.logical_form.grammar import Automaton
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import SYMBOLS
from plainsql.logical_form.tables import tables_of
from plainsql.logical_form.tree import Query
from plainsql.records import Links
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from plainsql.training.encoder_files import encoder_tokenizer
from plainsql.training.parser_pairs import Database, Prepared, join_graph, word_vectors
from plainsql.training.synthesis.perturb import perturb_schema
from plainsql.translators.parser.arrays import ModelInput, ModelTarget
from plainsql.translators.parser.features import MAX_TOKENS, FeatureBuilder


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How often an example is changed when it is drawn, as shares of the draws."""

    renamed: float = 0.25  # the schema gets other names
    no_links: float = 0.08  # all name links are dropped
    few_links: float = 0.15  # each name link is dropped with probability one half


class Source:
    """Prepared pairs as an `ExampleSource` (see `batching`)."""

    def __init__(
        self,
        name: str,
        weight: float,
        prepared: Sequence[Prepared],
        databases: dict[str, Database],
        builder: FeatureBuilder,
        synonyms: dict[str, list[str]],
        vectors: WordVectors,
        perturbation: Perturbation = Perturbation(),
    ) -> None:
        self.name = name
        self.weight = weight
        self._prepared = prepared
        self._databases = databases
        self._builder = builder
        self._synonyms = synonyms
        self._vectors = vectors
        self._perturbation = perturbation

    def __len__(self) -> int:
        return len(self._prepared)

    def example(
        self, i: int, rng: np.random.Generator, budget: int
    ) -> tuple[ModelInput, ModelTarget] | None:
        """Example `i` with its schema shuffled, cut to `budget` wordpieces, and perturbed."""
        item = self._prepared[i]
        original = self._databases[item.key].schema
        schema, links = self._perturb(original, item.links, rng)
        tables = self._choose_tables(schema, item, links, rng, budget)
        return make_example(self._builder, links, schema, join_graph(original), tables, item.tree)

    def _perturb(
        self, schema: Schema, links: Links, rng: np.random.Generator
    ) -> tuple[Schema, Links]:
        draw, shares = rng.random(), self._perturbation
        if draw < shares.renamed:
            seed = random.Random(int(rng.integers(2**31)))
            schema = perturb_schema(schema, seed, self._synonyms, float(seed.uniform(0.1, 0.6)))
            links = replace(links, names=match_schema(links.question, schema, self._vectors))
        elif draw < shares.renamed + shares.no_links:
            links = replace(links, names=())
        elif draw < shares.renamed + shares.no_links + shares.few_links:
            kept = tuple(name for name in links.names if rng.random() < 0.5)
            links = replace(links, names=kept)
        return schema, links

    def _choose_tables(
        self,
        schema: Schema,
        item: Prepared,
        links: Links,
        rng: np.random.Generator,
        budget: int,
    ) -> list[int]:
        """The gold tables and, up to the budget, others: linked ones more often."""
        gold = tables_of(item.tree, schema, join_graph(self._databases[item.key].schema))
        linked = {name.table for name in links.names}
        linked |= {schema.table_of[c] for value in links.values for c in value.columns}
        others = [t for t in range(len(schema.tables)) if t not in gold]
        rank = {t: rng.random() * (0.4 if t in linked else 1.0) for t in others}
        chosen = sorted(gold)
        room = budget - sum(self._builder.length(schema, t) for t in chosen)
        for table in sorted(others, key=lambda t: rank[t]):
            room -= self._builder.length(schema, table)
            if room < 0:
                break
            chosen.append(table)
        rng.shuffle(chosen)
        return chosen


def make_example(
    builder: FeatureBuilder,
    links: Links,
    schema: Schema,
    graph: JoinGraph,
    tables: Sequence[int],
    tree: Query,
) -> tuple[ModelInput, ModelTarget] | None:
    """Input and target arrays; None when the automaton or the length forbids the pair."""
    try:
        model_input, space = builder.build(links, schema, graph, tables)
        actions = to_actions(tree, space)
    except ValueError:  # too long, or a literal that was merged away
        return None
    target = make_target(space, actions)
    return None if target is None else (model_input, target)


def make_target(space: Space, actions: Sequence[int]) -> ModelTarget | None:
    """What the automaton says along a gold sequence; None when it forbids a step."""
    automaton = Automaton(space)
    state = automaton.start()
    allowed: list[NDArray[np.bool_]] = []
    relations: list[NDArray[np.uint8]] = []
    states, depths = [], []
    for action in actions:
        mask = automaton.allowed(state)
        if not mask[action]:
            return None
        allowed.append(mask)
        relations.append(automaton.relations(state))
        states.append(state.code)
        depths.append(state.depth)
        state = automaton.step(state, action)
    used = np.zeros(space.node_count, bool)
    used[[action - len(SYMBOLS) for action in actions if action >= len(SYMBOLS)]] = True
    return ModelTarget(
        np.array([-1, *actions[:-1]], np.int64),
        np.array(states, np.int64),
        np.array(depths, np.int64),
        np.stack(allowed),
        np.stack(relations),
        np.array(actions, np.int64),
        used,
    )


@lru_cache(maxsize=2)
def _stored(
    folder: str,
) -> tuple[dict[str, Database], dict[str, list[Prepared]], dict[str, list[str]]]:
    root = Path(folder)
    with (root / "databases.pkl").open("rb") as file:
        databases = pickle.load(file)
    sources = {}
    for path in sorted(root.glob("pairs-*.pkl")):
        with path.open("rb") as file:
            sources[path.stem.removeprefix("pairs-")] = pickle.load(file)
    synonyms = root / "synonyms.json"
    return databases, sources, json.loads(synonyms.read_text()) if synonyms.exists() else {}


def training_sources(folder: str) -> list[Source]:
    """One source per stored file, weighted by its size."""
    databases, sources, synonyms = _stored(folder)
    builder = FeatureBuilder(encoder_tokenizer())
    vectors = word_vectors(Path(folder))
    return [
        Source(name, float(len(items)), items, databases, builder, synonyms, vectors)
        for name, items in sources.items()
        if name != "validation"
    ]


def validation_examples(folder: str) -> list[tuple[ModelInput, ModelTarget]]:
    """The questions of the validation databases over their schemas as given, unperturbed."""
    databases, sources, _ = _stored(folder)
    builder = FeatureBuilder(encoder_tokenizer())
    examples = []
    for item in sources["validation"]:
        schema = databases[item.key].schema
        tables = list(range(len(schema.tables)))
        if sum(builder.length(schema, t) for t in tables) > MAX_TOKENS - 130:
            continue
        graph = join_graph(schema)
        example = make_example(builder, item.links, schema, graph, tables, item.tree)
        if example is not None:
            examples.append(example)
    return examples
