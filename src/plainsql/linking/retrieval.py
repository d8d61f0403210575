"""Which tables of a large schema a question may need: at most twenty of thousands.

Each word of the question looks for the word of a table most like it, by spelling
(1.0) or by meaning (less), and the table's score is the sum over the question's words,
weighted by how rare the found word is: late interaction as in ColBERT
(https://arxiv.org/abs/2004.12832), with static word vectors in place of a network.
A word that a table lacks may be found, for less, in a table it joins with, and for still
less anywhere its joins lead: a question is answered by tables that belong together.

What is kept is closed under joins: a table comes with the bridges that connect it to
those kept before, since pruning a join costs more than a distractor.

Notation: Q words of the question, V different words of the schema, D dimensions of a
word vector, T tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plainsql.linking.vocabulary import STOP_WORDS
from plainsql.linking.words import is_word, stem
from plainsql.records import Question, ValueCandidate, ValueKind

if TYPE_CHECKING:
    from plainsql.linking.embedding import WordVectors

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

KEPT = 20
"""Tables kept. Schemas of fewer are not narrowed."""
BRIDGES = 2  # tables between two kept ones that are kept with them, at most
_LOOKED_AT = 3 * KEPT  # best tables that the kept ones are taken from
# Stop words of questions that mean something as the name of a column.
_IGNORED = STOP_WORDS - {"name", "number", "count"}


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much; chosen on the training questions of Spider, flat around here."""

    spelling: float = 1.0  # of words found by spelling; 0 leaves them to their meaning
    stems: float = 0.9  # of words with the same light stem
    meaning: float = 0.8  # of words found by their vectors, times their cosine squared
    least_cosine: float = 0.3
    column: float = 0.7  # of a word in a column's name, against one in the table's
    both: float = 0.2  # of a word in both
    neighbour: float = 0.8  # of a word in a table one join away
    component: float = 0.6  # of a word anywhere joins lead to
    neighbours: float = 2.0  # how much the score with neighbours counts beside the own
    components: float = 2.0  # ... and that with everything joined
    cell: float = 0.9  # of a word that is, or is part of, a cell of the table


@dataclass(frozen=True, slots=True)
class Groups:
    """Members of each of N groups one after another; `starts` (N,) is where each begins.

    No group is empty, so that numpy's `reduceat` gives one value for each.
    """

    members: Ints
    starts: Ints

    @classmethod
    def of(cls, groups: Iterable[Collection[int]], otherwise: Sequence[int]) -> Groups:
        """`otherwise` holds, for each group, the one member of it where it is empty."""
        filled = [sorted(group) or [other] for group, other in zip(groups, otherwise, strict=True)]
        lengths = [len(group) for group in filled]
        members = np.fromiter((item for group in filled for item in group), np.int32, sum(lengths))
        starts = np.cumsum([0, *lengths[:-1]], dtype=np.int32) if lengths else members
        return cls(members, starts)

    def best(self, values: Floats) -> Floats:
        """The largest of `values` (Q, members' range) in each group: (Q, N)."""
        found: Floats = np.maximum.reduceat(values[:, self.members], self.starts, axis=1)
        return found


@dataclass(frozen=True)
class SchemaIndex:
    """What retrieval knows of a schema. Word 0 is no word: tables without a name have it."""

    words: tuple[str, ...]  # V
    vectors: Floats  # (V, D), unit length; no rows without word vectors
    rarity: Floats  # (V,), the inverse document frequency over tables
    stems: Mapping[str, tuple[int, ...]]
    in_table: Groups  # words of each table's own name
    in_columns: Groups  # ... of its columns' names and of comments
    neighbours: Groups  # tables that each joins with
    component_of: Ints  # (T,)
    components: Groups  # tables that joins connect
    table_of: Sequence[int]  # of each column of the schema

    def scores(
        self,
        question: Question,
        vectors: WordVectors | None,
        cells: Sequence[ValueCandidate] = (),
        weights: Weights | None = None,
    ) -> Floats:
        """How much each table fits the question, (T,)."""
        weights = weights or Weights()
        asked = _asked(question)
        if not asked:
            return np.zeros(len(self.component_of), np.float32)
        likeness: Floats = self._likeness(list(asked), vectors, weights) * self.rarity  # (Q, V)
        table, column = self.in_table.best(likeness), self.in_columns.best(likeness)
        column *= weights.column
        own = np.maximum(table, column)  # (Q, T)
        own += weights.both * np.minimum(table, column)
        self._add_cells(own, asked, cells, weights)
        near = np.maximum(own, weights.neighbour * self.neighbours.best(own))
        connected = self.components.best(own)[:, self.component_of]
        far = np.maximum(near, weights.component * connected)
        summed = own.sum(0) + weights.neighbours * near.sum(0) + weights.components * far.sum(0)
        return np.asarray(summed, np.float32)

    def keep(self, scores: Floats, number: int = KEPT, *, bridges: int = BRIDGES) -> list[int]:
        """At most `number` tables, the best first, each behind its bridges' table.

        Ties go to the table that comes first in the schema.
        """
        order = np.argsort(-scores, kind="stable")[: max(_LOOKED_AT, number)]
        kept: dict[int, None] = {}
        for table in map(int, order):
            path = [] if table in kept else self._way(table, kept, bridges)
            if len(kept) + 1 + len(path) <= number:
                kept.update(dict.fromkeys([table, *path]))
            elif len(kept) < number:
                kept[table] = None
            if len(kept) >= number:
                break
        return list(kept)

    def _likeness(
        self, asked: Sequence[str], vectors: WordVectors | None, weights: Weights
    ) -> Floats:
        found = np.zeros((len(asked), len(self.words)), np.float32)
        if vectors is not None and len(self.vectors):
            cosines = np.stack([vectors.vector(word) for word in asked]) @ self.vectors.T
            counted = np.square(np.clip(cosines, 0, 1)) * weights.meaning
            found = np.where(cosines >= weights.least_cosine, counted, np.float32(0))
        for at, word in enumerate(asked):
            for known in self.stems.get(stem(word), ()):
                same = self.words[known] == word
                gain = weights.spelling if same else weights.spelling * weights.stems
                found[at, known] = max(found[at, known], gain)
        return found

    def _add_cells(
        self,
        own: Floats,
        asked: Mapping[str, tuple[int, ...]],
        cells: Sequence[ValueCandidate],
        weights: Weights,
    ) -> None:
        """A cell of a table explains the words that it was found in."""
        gain = weights.cell * float(self.rarity.max(initial=0.0))
        for cell in cells:
            if cell.kind is not ValueKind.CELL:
                continue
            tables = sorted({self.table_of[column] for column in cell.columns})
            for at, positions in enumerate(asked.values()):
                if any(cell.start <= position < cell.end for position in positions):
                    own[at, tables] = np.maximum(own[at, tables], gain * cell.score)

    def _way(self, table: int, kept: Collection[int], bridges: int) -> list[int]:
        """The tables between `table` and the nearest kept one, none where it is far."""
        came_from: dict[int, int] = {table: table}
        front = [table]
        for _ in range(bridges + 1 if kept else 0):
            following = []
            for here in front:
                for there in self._joined(here):
                    if there in came_from:
                        continue
                    came_from[there] = here
                    if there in kept:
                        return _between(there, came_from)
                    following.append(there)
            front = following
        return []

    def _joined(self, table: int) -> list[int]:
        start, ends = self.neighbours.starts[table], self.neighbours.starts[table + 1 : table + 2]
        end = int(ends[0]) if len(ends) else len(self.neighbours.members)
        found: list[int] = self.neighbours.members[start:end].tolist()
        return found


def _asked(question: Question) -> dict[str, tuple[int, ...]]:
    """The words of the question that may name something, with their positions."""
    found: dict[str, tuple[int, ...]] = {}
    for at, word in enumerate(question.words):
        if is_word(word.text) and not {word.lemma, word.text.lower()} & _IGNORED:
            found[word.lemma] = (*found.get(word.lemma, ()), at)
    return found


def _between(end: int, came_from: Mapping[int, int]) -> list[int]:
    """The tables strictly between `end` and the start, from which `came_from` leads."""
    path = []
    here = came_from[end]
    while came_from[here] != here:
        path.append(here)
        here = came_from[here]
    return path
