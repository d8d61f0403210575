"""A prepared folder as examples for the parser: linked, parsed, counted.

Every question is linked by the value index of its database and the base's own word
vectors, as it will be when it is asked. A row that the grammar has no words for, or whose
literal linking doesn't find, can't be learnt; it is counted with the reason.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plainsql.errors import ConnectError, DataError
from plainsql.evaluation.datasets import Example, database_paths
from plainsql.linking.embedding import WordVectors
from plainsql.logical_form.from_sql import NotCovered
from plainsql.schema.enrich import enrich
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.schema.spider import load_tables_json
from plainsql.training.batching import Example as Arrays
from plainsql.training.data.prepared import PreparedData, read_examples
from plainsql.training.parser_data import Perturbation, Source, make_example
from plainsql.training.parser_pairs import Database, Pair, Prepared, join_graph, prepare_one
from plainsql.translators.parser.features import FeatureBuilder
from plainsql.translators.parser.narrow import BUDGET, narrow
from plainsql.translators.parser.runtime import SCALES, TOKENIZER, WORDS

Row = dict[str, Any]  # of train.jsonl or validation.jsonl
GIVEN, FOUND = "given", "found"
_HELD_OUT = 10  # one question in so many is for validation where the data has none
_FEWEST = 20  # with fewer questions none is held out
# The schema is the user's own, so its names stay; losing links keeps the model reading.
PERTURBATION = Perturbation(renamed=0.0, no_links=0.04, few_links=0.1)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many rows can be learnt from, and why the others can't."""

    rows: int
    used: int
    reasons: dict[str, int] = field(default_factory=dict)  # the commonest first

    def __str__(self) -> str:
        share = 100 * self.used / self.rows if self.rows else 0.0
        text = f"{self.used} of {self.rows} pairs can be learnt from ({share:.0f} %)"
        why = "; ".join(f"{reason} ({count})" for reason, count in self.reasons.items())
        return f"{text}; left out: {why}" if why else text


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a tuning run reads."""

    train: tuple[Prepared, ...]
    validation: tuple[Example, ...]  # asked by the ordinary flow, where databases are at hand
    checked: tuple[Prepared, ...]  # the validation rows that can be taught: for the loss
    databases: dict[str, Database]  # by `db/given` and `db/found`
    coverage: Coverage  # of the training rows
    held_out: bool  # validation was taken from the training rows

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each database."""
        known = {key.split("/")[0]: db.path for key, db in self.databases.items()}
        return {name: Path(path) for name, path in known.items() if path}

    @property
    def schemas(self) -> dict[str, Schema]:
        """The schemas of tables.json, by database; {} without one."""
        return {
            key.split("/")[0]: database.schema
            for key, database in self.databases.items()
            if key.endswith(f"/{GIVEN}")
        }


def load_pairs(data: PreparedData, folder: Path, seed: int) -> Pairs:
    """The prepared data, linked for the exported parser in `folder` (about 4 ms a row).

    Raises `DataError` when no row can be used.
    """
    train, validation = list(read_examples(data.train)), list(read_examples(data.validation))
    held_out = not validation
    if held_out:
        train, validation = split_by_query(train, seed)
    names = {row.get("db", "") for row in (*train, *validation)}
    databases = open_databases(names, data.databases, str(data.manifest.get("tables") or ""))
    vectors = word_vectors(folder)
    learnt, coverage = teach(train, databases, vectors)
    if not learnt:
        raise DataError(
            f"The parser can learn from none of the pairs in {data.folder}: {coverage}.",
            hint="It needs SELECT statements over SQLite files; see the reasons above.",
        )
    checked, _ = teach(validation, databases, vectors, first_only=True)
    with_file = {key.split("/")[0] for key, database in databases.items() if database.path}
    asked = [row for row in validation if row.get("db") in with_file]
    return Pairs(
        tuple(learnt), tuple(examples_of(asked)), tuple(checked), databases, coverage, held_out
    )


def split_by_query(rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to learn from and about a tenth to validate with; none of those below 20 rows.

    Questions with the same SQL stay together: asked in other words they are no test.
    """
    if len(rows) < _FEWEST:
        return list(rows), []
    chosen = {
        key
        for key in {_query_key(row) for row in rows}
        if int(hashlib.sha256(f"{seed}/{key}".encode()).hexdigest(), 16) % _HELD_OUT == 0
    }
    kept = [row for row in rows if _query_key(row) not in chosen]
    return kept, [row for row in rows if _query_key(row) in chosen]


def _query_key(row: Row) -> str:
    return f"{row.get('db', '')}/{' '.join(row['response'].lower().split())}"


def open_databases(names: Iterable[str], root: str, tables: str) -> dict[str, Database]:
    """The databases that can be learnt over, each as found and, with tables.json, as given."""
    described = load_tables_json(Path(tables)) if tables else {}
    found: dict[str, Database] = {}
    for name in sorted(set(names) - {""}):
        path = _path_of(name, root)
        if path is not None:
            found[f"{name}/{FOUND}"] = Database(sqlite_schema(path), str(path))
        if name in described:
            schema = described[name]
            whole = enrich(schema, sqlite_schema(path)) if path is not None else schema
            found[f"{name}/{GIVEN}"] = Database(whole, str(path or ""))
    return found


def _path_of(name: str, root: str) -> Path | None:
    """The database's file; None when there is none."""
    if not root:
        return None
    try:
        return database_paths(Path(root), [name])[name]
    except ConnectError:
        return None  # counted as a reason by `teach`


def word_vectors(folder: Path) -> WordVectors:
    """The word vectors of an exported parser, those that questions are linked with."""
    return WordVectors.open(folder / TOKENIZER, folder / WORDS, folder / SCALES)


def teach(
    rows: Sequence[Row],
    databases: dict[str, Database],
    vectors: WordVectors,
    *,
    first_only: bool = False,
) -> tuple[list[Prepared], Coverage]:
    """Link and parse rows over every form of their schema (or the first alone)."""
    learnt: list[Prepared] = []
    reasons: Counter[str] = Counter()
    for row in rows:
        keys = [f"{row.get('db', '')}/{form}" for form in (GIVEN, FOUND)]
        keys = [key for key in keys if key in databases][: 1 if first_only else 2]
        made, reason = _taught(row, keys, databases, vectors)
        learnt += made
        reasons.update([reason] if not made else [])
    used = len(rows) - reasons.total()
    return learnt, Coverage(len(rows), used, dict(reasons.most_common()))


def _taught(
    row: Row, keys: Sequence[str], databases: dict[str, Database], vectors: WordVectors
) -> tuple[list[Prepared], str]:
    """A row over each schema that can express it, and the reason of the last that can't."""
    made, reason = [], "its database is not at hand"
    for key in keys:
        try:
            pair = Pair(key, row["question"], row["response"])
            made.append(prepare_one(pair, databases, vectors))
        except NotCovered as error:
            reason = reason_class(str(error))
        except ConnectError as error:
            reason = f"its database can't be read: {error.message}"
    return made, reason


def reason_class(text: str) -> str:
    """A reason without the names in it, so that like ones are counted together."""
    if text.startswith("literal "):
        return "a value that the question doesn't name"
    if text.startswith("not parsed"):
        return "SQL that can't be parsed"
    return re.sub(r"^(unknown (?:column|table|or outer table)) .*", r"\1", text)


def examples_of(rows: Iterable[Row]) -> list[Example]:
    """Rows as an evaluation reads them."""
    return [
        Example(row["question"], row["response"], row["db"], position=at)
        for at, row in enumerate(rows)
    ]


def training_source(pairs: Pairs, builder: FeatureBuilder, vectors: WordVectors) -> Source:
    """The stream of training examples: tables shuffled and cut, some links dropped."""
    return Source("pairs", 1.0, pairs.train, pairs.databases, builder, {}, vectors, PERTURBATION)


def budget_law(rng: np.random.Generator) -> int:
    """Wordpieces a schema may take: half the time what it has when asked, else less.

    Smaller schemas make steps cheaper, and keep the model used to what narrowing leaves.
    """
    return BUDGET if rng.random() < 0.5 else int(rng.integers(50, 126))


def validation_arrays(pairs: Pairs, builder: FeatureBuilder) -> list[Arrays]:
    """The validation rows over the schema as it is when asked, for a teacher-forced loss."""
    found = []
    for item in pairs.checked:
        schema = pairs.databases[item.key].schema
        graph = join_graph(schema)
        part = narrow(builder, schema, graph, item.links)
        example = make_example(builder, item.links, schema, graph, part.tables, item.tree)
        found += [example] if example is not None else []
    return found
