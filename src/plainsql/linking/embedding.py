"""Words that name a table or a column in other words, by static word vectors.

"pupil" for student, "vocalist" for singer: cosine of centred word embeddings.
The vectors come from the input embeddings of a sentence encoder, so that they
cost one table look-up a word and no model has to run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plainsql.linking.names import NameIndex, match_names, match_order, name_index
from plainsql.linking.per_schema import per_schema
from plainsql.linking.vocabulary import QUESTION_WORDS, STOP_WORDS, listed
from plainsql.records import MatchKind, NameMatch, Question, Word
from plainsql.schema.model import Schema
from plainsql.wordpiece import WordPiece

Vectors = NDArray[np.float32]

THRESHOLD = 0.36
"""Cosine from which a pair counts: of 100 pairs read by hand about 90 in 100 were right
from here on, 65 in 100 between 0.33 and 0.36 ("pupil" and "student" have 0.333)."""
_BEST = 2  # words of names that one word of the question may mean
_MARGIN = 0.1  # the second may be this much less alike than the first
_CHUNK = 4096
# Question words that are often the only mention of a table or a column.
_NOUNS = frozenset(
    listed(
        """people person persons man men woman women category categories description place places
        title titles age size length height price rank work works working time percentage share
        info information detail details letter letters phrase character"""
    )
)
_SKIPPED = (QUESTION_WORDS - _NOUNS) | STOP_WORDS


class WordVectors:
    """A static table of wordpiece vectors.

    Notation: V wordpieces, D dimensions (384 for MiniLM). A word's vector is
    the mean of its pieces' rows less the mean row of the table, normalised.
    """

    def __init__(
        self,
        tokenizer: WordPiece,
        matrix: NDArray[Any],  # (V, D) int8 or float
        scales: NDArray[np.float32] | None = None,  # (V,), for int8
    ) -> None:
        self._tokenizer = tokenizer
        self._matrix = matrix
        self._scales = scales
        self._mean = self._mean_row()
        self._known: dict[str, Vectors] = {}
        self.name_vectors = per_schema(self._name_vectors)

    @classmethod
    def open(
        cls, tokenizer: str | Path, matrix: str | Path, scales: str | Path | None = None
    ) -> WordVectors:
        """From a tokenizer.json and .npy files, which stay on disk (memory-mapped).

        Raises OSError when a file is missing.
        """
        pieces = WordPiece.from_file(tokenizer)
        rows = np.load(matrix, mmap_mode="r")
        return cls(pieces, rows, None if scales is None else np.load(scales))

    @cached_property
    def identity(self) -> str:
        """Changes with the table of vectors: what was computed with another is of no use."""
        some = np.ascontiguousarray(self._matrix[:: max(1, len(self._matrix) // 64)])
        return hashlib.sha256(some.tobytes()).hexdigest()[:16]

    def _rows(self, ids: Sequence[int] | slice) -> Vectors:
        rows = self._matrix[ids].astype(np.float32)
        return rows if self._scales is None else rows * self._scales[ids, None]

    def _mean_row(self) -> Vectors:
        """Mean of the table, in chunks: 47 MB as float32 are never held at once."""
        total = np.zeros(self._matrix.shape[1], dtype=np.float64)
        for start in range(0, len(self._matrix), _CHUNK):
            total += self._rows(slice(start, start + _CHUNK)).sum(axis=0, dtype=np.float64)
        return (total / len(self._matrix)).astype(np.float32)

    def vector(self, word: str) -> Vectors:  # (D,)
        """The unit vector of `word`; zeros when the tokenizer knows none of it."""
        known = self._known.get(word)
        if known is None:
            ids = self._tokenizer.ids(word)
            mean = self._rows(ids).mean(axis=0) - self._mean if ids else 0 * self._mean
            known = self._known[word] = mean / max(float(np.linalg.norm(mean)), 1e-6)
        return known

    def similarity(self, left: str, right: str) -> float:
        """Cosine of two words, in [-1, 1]."""
        return float(self.vector(left) @ self.vector(right))

    def _name_vectors(self, schema: Schema) -> tuple[tuple[str, ...], Vectors]:
        """The words of the names of `schema` and their vectors, (words, D)."""
        words = tuple(w for w in name_index(schema).having if len(w) > 2 and w.isalpha())
        stacked = [self.vector(word) for word in words] or [self._mean]
        return words, np.stack(stacked)


def soft_matches(
    question: Question,
    schema: Schema,
    vectors: WordVectors,
    threshold: float = THRESHOLD,
    names: tuple[NameMatch, ...] | None = None,
) -> tuple[NameMatch, ...]:
    """Names that contain a word of like meaning as one that matched no name.

    `names` are the question's other matches (found anew when None). The score
    is the cosine times the share of the name's words.
    """
    names = match_names(question, schema) if names is None else names
    matched = {i for name in names for i in range(name.start, name.end)}
    index = name_index(schema)
    found: list[NameMatch] = []
    for position, word in enumerate(question.words):
        if position not in matched and _is_candidate(word, position):
            for close, cosine in nearest(word.lemma, schema, vectors, threshold):
                found += _naming(close, cosine, position, index)
    return tuple(sorted(found, key=match_order))


def _is_candidate(word: Word, position: int) -> bool:
    """Whether a word may mean a name: no question word and no proper noun."""
    proper = position > 0 and word.text[0].isupper()
    return len(word.text) > 2 and word.text.isalpha() and not proper and not _is_skipped(word)


def _is_skipped(word: Word) -> bool:
    return word.text.lower() in _SKIPPED


def nearest(
    word: str, schema: Schema, vectors: WordVectors, threshold: float = THRESHOLD
) -> list[tuple[str, float]]:
    """At most two words of the schema's names close to `word`, best first."""
    names, matrix = vectors.name_vectors(schema)
    if not names:
        return []
    cosines = matrix @ vectors.vector(word)  # (words,)
    best = np.argsort(-cosines, kind="stable")[:_BEST]
    least = max(threshold, float(cosines[best[0]]) - _MARGIN)
    return [(names[i], round(float(cosines[i]), 4)) for i in best if cosines[i] >= least]


def _naming(word: str, cosine: float, position: int, index: NameIndex) -> list[NameMatch]:
    return [
        NameMatch(
            position,
            position + 1,
            MatchKind.SOFT,
            thing.table,
            thing.column,
            round(cosine / len(thing.words), 4),
        )
        for thing in (index.things[i] for i in index.having[word])
    ]
