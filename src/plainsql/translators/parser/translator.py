"""The shipped translator: question and links to executable SQL, offline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from plainsql.errors import ModelError
from plainsql.logical_form.grammar import Automaton, State
from plainsql.logical_form.space import Space
from plainsql.logical_form.symbols import RELATIONS, STATES, SYMBOLS
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import Query
from plainsql.records import Candidate, Links
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema
from plainsql.translators.parser.arrays import ModelInput
from plainsql.translators.parser.beam import Beam, StepModel, beam_search
from plainsql.translators.parser.explain import origins
from plainsql.translators.parser.features import FEATURES, MAX_TOKENS, FeatureBuilder
from plainsql.translators.parser.narrow import BUDGET, narrow
from plainsql.translators.parser.runtime import TOKENIZER, ParserRuntime
from plainsql.translators.parser.signals import signals
from plainsql.translators.parser.weights import weights_folder

MIN_WIDTH = 5
_LANGUAGE = (SYMBOLS, STATES, RELATIONS, FEATURES)


class ParserTranslator:
    """Proposes what beam search under the grammar finds; loads its weights on first use.

    `model` may be given in place of the weights in `folder`: training measures
    with the torch model through the same code.
    """

    name = "parser"

    def __init__(self, folder: Path | None = None, model: StepModel | None = None) -> None:
        self.folder = folder or weights_folder()
        self._given = model
        self._graph: tuple[Schema, JoinGraph] | None = None

    @cached_property
    def model(self) -> StepModel:
        """The network. Raises `ModelError` when the weights can't be used."""
        return self._given or same_language(ParserRuntime.load(self.folder))

    @cached_property
    def builder(self) -> FeatureBuilder:
        """The features; the weights come first, since they check every file."""
        _ = self.model
        return FeatureBuilder(self.folder / TOKENIZER)

    def warm_up(self) -> None:
        """Load the weights now rather than with the first question. Raises `ModelError`."""
        _ = self.builder

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """At most `n` different queries, most probable first. Every one executes.

        Raises `ModelError` when the weights are missing or corrupt.
        """
        graph = self._graph_of(schema)
        model_input, space = self._read(links, schema, graph)
        width = max(n, MIN_WIDTH)
        memory = self.model.encode(model_input)
        automaton = Automaton(space)
        beams = beam_search(self.model, model_input, automaton, width, memory=memory)
        return self._candidates(beams, links, space, memory)[:n]

    def _read(self, links: Links, schema: Schema, graph: JoinGraph) -> tuple[ModelInput, Space]:
        """The input, over less of the schema where the whole does not fit."""
        budget = BUDGET
        while True:
            part = narrow(self.builder, schema, graph, links, budget)
            try:
                return self.builder.build(links, schema, graph, part.tables, part.columns)
            except ValueError:  # cells can make a table longer than its names
                if budget < MAX_TOKENS // 8:
                    raise
                budget = budget * 2 // 3

    def _graph_of(self, schema: Schema) -> JoinGraph:
        """The join graph of the schema asked last: its paths are cached inside."""
        if self._graph is None or self._graph[0] is not schema:
            self._graph = (schema, JoinGraph(schema))
        return self._graph[1]

    def _candidates(
        self, beams: Sequence[Beam[State]], links: Links, space: Space, memory: object
    ) -> list[Candidate]:
        found: dict[str, Candidate] = {}
        for beam in beams:
            tree = Automaton(space).tree(beam.state)
            sql = to_sql(tree, space.schema, space.graph)
            if sql not in found:
                found[sql] = self._candidate(beam, tree, sql, links, space, memory)
        return list(found.values())

    def _candidate(
        self,
        beam: Beam[State],
        tree: Query,
        sql: str,
        links: Links,
        space: Space,
        memory: object,
    ) -> Candidate:
        used_logits = getattr(memory, "used_logits", None)
        return Candidate(
            sql=sql,
            score=beam.log_prob,
            translator=self.name,
            origins=origins(tree, links, space),
            features=signals(beam, tree, links, space, used_logits),
        )


def same_language(runtime: ParserRuntime) -> ParserRuntime:
    """`runtime`, if it was trained with the symbols and features of this version."""
    found = runtime.manifest
    if (found.symbols, found.states, found.relations, found.features) != _LANGUAGE:
        raise ModelError(
            "The model was trained for another version of plainsql.",
            hint="Install plainsql again, or train and export the model with this version.",
        )
    return runtime
