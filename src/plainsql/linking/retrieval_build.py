"""Building the index that `retrieval` searches, and keeping it on disk.

The file holds the words of each table by a digest of what they were read from, and
the vector of each word: when some tables change, the others' words and vectors are
taken from it. It is a cache: where it can't be read or written, everything is computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plainsql.linking.names import name_words
from plainsql.linking.retrieval import KEPT, Floats, Groups, SchemaIndex
from plainsql.linking.words import is_word, stem, tokenize_question
from plainsql.schema.model import Schema, Table

if TYPE_CHECKING:
    from plainsql.linking.embedding import WordVectors

_FORMAT = 1  # raise it when what is read from names changes
_COMMENT_WORDS = 30  # of one comment
_DIGEST = 16  # characters

# The words of a table's own name, and of its columns' names and all comments.
TableWords = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(slots=True)
class Known:
    """What an earlier build left: words by a table's digest, vectors by word."""

    tables: dict[str, TableWords] = field(default_factory=dict)
    vectors: dict[str, Floats] = field(default_factory=dict)


def is_large(schema: Schema) -> bool:
    """Whether there are more tables than retrieval would keep."""
    return len(schema.tables) > KEPT


def open_index(
    schema: Schema, vectors: WordVectors | None, cache_dir: str | Path | None = None
) -> SchemaIndex:
    """The index of `schema`, with what is known of its words from the last time.

    One file for each database name lies in `cache_dir`; nothing is kept without one.
    """
    file = None if cache_dir is None else _file(Path(cache_dir), schema, vectors)
    known = _read(file)
    digests = [_digest(table) for table in schema.tables]
    words = [
        known.tables.get(digest) or words_of(table)
        for digest, table in zip(digests, schema.tables, strict=True)
    ]
    index = build_index(schema, vectors, words, known.vectors)
    if file is not None and set(digests) != known.tables.keys():
        _write(file, dict(zip(digests, words, strict=True)), index)
    return index


def build_index(
    schema: Schema,
    vectors: WordVectors | None,
    words: Sequence[TableWords] | None = None,
    known: Mapping[str, Floats] | None = None,
) -> SchemaIndex:
    """The index of `schema`. `words` and vectors of words that are `known` are taken as given."""
    words = [words_of(table) for table in schema.tables] if words is None else words
    held = Counter(word for own, others in words for word in {*own, *others})
    vocabulary = ("", *sorted(held))
    number = {word: at for at, word in enumerate(vocabulary)}
    by_stem: dict[str, list[int]] = defaultdict(list)
    for word in vocabulary[1:]:
        by_stem[stem(word)].append(number[word])
    nobody = [0] * len(words)
    joined = _joined(schema)
    component_of = _components(joined)
    return SchemaIndex(
        words=vocabulary,
        vectors=_vectors(vocabulary, vectors, known or {}),
        rarity=_rarity(vocabulary, held, len(words)),
        stems={key: tuple(numbers) for key, numbers in by_stem.items()},
        in_table=Groups.of(({number[word] for word in own} for own, _ in words), nobody),
        in_columns=Groups.of(({number[word] for word in rest} for _, rest in words), nobody),
        neighbours=Groups.of(joined, range(len(joined))),
        component_of=np.array(component_of, np.int32),
        components=Groups.of(_members(component_of), [0] * (max(component_of, default=-1) + 1)),
        table_of=schema.table_of,
    )


# --- words -------------------------------------------------------------------


def words_of(table: Table) -> TableWords:
    """The words by which a question can mean `table`."""
    columns = (word for column in table.columns for word in _name(column.natural))
    comments = (table.comment, *(column.comment for column in table.columns))
    told = (word for comment in comments for word in _prose(comment))
    return tuple(dict.fromkeys(_name(table.natural))), tuple(dict.fromkeys([*columns, *told]))


def _name(natural: str) -> Iterator[str]:
    """The words of a name without its numbers, which tell one of many from the next."""
    return (word for word in name_words(natural) if not word.isdigit())


def _prose(comment: str) -> Iterator[str]:
    if comment:
        words = tokenize_question(comment).words[:_COMMENT_WORDS]
        yield from (word.lemma for word in words if is_word(word.text))


def _digest(table: Table) -> str:
    parts = [_FORMAT, table.name, table.natural, table.comment]
    parts += [(column.natural, column.comment) for column in table.columns]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:_DIGEST]


def _rarity(vocabulary: Sequence[str], held: Mapping[str, int], tables: int) -> Floats:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), over tables."""
    counts = np.array([held.get(word, tables) for word in vocabulary], np.float32)
    rarity = np.log1p((tables - counts + 0.5) / (counts + 0.5)).astype(np.float32)
    rarity[0] = 0.0  # no word
    return np.asarray(rarity, np.float32)


def _vectors(
    vocabulary: Sequence[str], vectors: WordVectors | None, known: Mapping[str, Floats]
) -> Floats:  # (V, D)
    if vectors is None:
        return np.zeros((0, 0), np.float32)
    found = [known.get(word) for word in vocabulary[1:]]
    rows = [
        vectors.vector(word) if row is None else row
        for word, row in zip(vocabulary[1:], found, strict=True)
    ]
    nothing = np.zeros_like(vectors.vector("a"))
    return np.stack([nothing, *rows])


# --- joins -------------------------------------------------------------------


def _joined(schema: Schema) -> list[set[int]]:
    joined: list[set[int]] = [set() for _ in schema.tables]
    for key in schema.foreign_keys:
        with suppress(KeyError):  # a key to a table that isn't there
            left, right = schema.table_index(key.table), schema.table_index(key.ref_table)
            if left != right:
                joined[left].add(right)
                joined[right].add(left)
    return joined


def _components(joined: Sequence[set[int]]) -> list[int]:
    """The number of each table's component, counted in the order of tables."""
    found = [-1] * len(joined)
    count = 0
    for start in range(len(joined)):
        if found[start] >= 0:
            continue
        waiting = [start]
        found[start] = count
        while waiting:
            for table in joined[waiting.pop()]:
                if found[table] < 0:
                    found[table] = count
                    waiting.append(table)
        count += 1
    return found


def _members(component_of: Sequence[int]) -> list[list[int]]:
    members: list[list[int]] = [[] for _ in range(max(component_of, default=-1) + 1)]
    for table, component in enumerate(component_of):
        members[component].append(table)
    return members


# --- the file ----------------------------------------------------------------


def _file(folder: Path, schema: Schema, vectors: WordVectors | None) -> Path:
    """One file for a database and a table of vectors: a changed schema takes its place."""
    which = vectors.identity if vectors is not None else ""
    name = hashlib.sha256(repr((schema.name, schema.dialect, which)).encode()).hexdigest()
    return folder / f"tables-{name[:24]}.npz"


def _read(file: Path | None) -> Known:
    if file is None:
        return Known()
    try:
        with np.load(file, allow_pickle=False) as held:
            notes = json.loads(bytes(held["notes"]))
            rows = held["vectors"].astype(np.float32)
        tables = {
            digest: (tuple(own), tuple(rest)) for digest, (own, rest) in notes["tables"].items()
        }
        return Known(tables, dict(zip(notes["words"], rows, strict=False)))
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return Known()  # not there, cut off, or of an older form: it is made anew


def _write(file: Path, tables: Mapping[str, TableWords], index: SchemaIndex) -> None:
    """Write the file whole or not at all; a full or read-only disk is no error."""
    notes = json.dumps({"tables": tables, "words": index.words[1:]}).encode()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                np.savez(out, notes=np.frombuffer(notes, np.uint8), vectors=index.vectors[1:])
            os.replace(name, file)
        finally:
            Path(name).unlink(missing_ok=True)
