"""Pairs of question and SQL, linked and parsed once, stored for the parser's training.

    python -m plainsql.training.parser_pairs --spider DIR --out FOLDER \\
        [--spider-syn FILE] [--jsonl FILE …]

writes `databases.pkl`, `pairs-<source>.pkl` and `pairs-validation.pkl`. Questions
that Spider's development set also asks are left out of every source.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from plainsql.linking.embedding import WordVectors
from plainsql.linking.link import link
from plainsql.linking.value_index import ValueIndex
from plainsql.logical_form.actions import to_actions
from plainsql.logical_form.canonical import canonical
from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.logical_form.space import Space
from plainsql.logical_form.tree import ColumnRef, Comparison, Literal, Query, walk
from plainsql.records import Links, Question, ValueCandidate, ValueKind
from plainsql.schema.enrich import enrich
from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Column, ColumnType, Schema, Table
from plainsql.schema.names import with_natural_names
from plainsql.schema.spider import load_tables_json
from plainsql.settings import load_settings
from plainsql.training.encoder_files import encoder_folder, encoder_tokenizer
from plainsql.training.word_table import write_words
from plainsql.translators.parser.runtime import SCALES, WORDS

VALIDATION_DATABASES = frozenset(
    "flight_1 cre_Doc_Tracking_DB e_government activity_1 wrestler icfp_1 csu_1 "
    "insurance_fnol music_4 gas_company".split()
)


@cache
def join_graph(schema: Schema) -> JoinGraph:
    """The join graph of a schema, made once."""
    return JoinGraph(schema)


@dataclass(frozen=True, slots=True)
class Pair:
    """One question with its gold SQL over the schema `key`."""

    key: str
    question: str
    sql: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A pair, linked and parsed."""

    key: str
    links: Links
    tree: Query


@dataclass(frozen=True, slots=True)
class Database:
    """A schema to train on; `path` is "" when only its shape is known."""

    schema: Schema
    path: str


def spider_databases(folder: Path) -> dict[str, Database]:
    """Every Spider database twice: as tables.json gives it, and as found in the file."""
    found: dict[str, Database] = {}
    for name, schema in load_tables_json(folder / "tables.json").items():
        path = folder / "database" / name / f"{name}.sqlite"
        found[f"{name}/given"] = Database(enrich(schema, sqlite_schema(path)), str(path))
        found[f"{name}/found"] = Database(sqlite_schema(path), str(path))
    return found


def word_vectors(folder: Path) -> WordVectors:
    """The encoder's word embeddings as the shipped model has them: int8 rows with scales.

    Written to `folder` on first use.
    """
    words, scales = folder / WORDS, folder / SCALES
    if not scales.exists():
        from safetensors.numpy import load_file

        table = load_file(encoder_folder() / "model.safetensors")
        write_words(table["embeddings.word_embeddings.weight"], folder)
    return WordVectors.open(encoder_tokenizer(), words, scales)


def prepare(
    pairs: Iterable[Pair], databases: dict[str, Database], vectors: WordVectors
) -> Iterator[Prepared]:
    """Links and parses; pairs outside the grammar or with unseen literals are left out."""
    for pair in pairs:
        try:
            yield prepare_one(pair, databases, vectors)
        except NotCovered:
            continue


def prepare_one(pair: Pair, databases: dict[str, Database], vectors: WordVectors) -> Prepared:
    """One pair, linked and parsed. Raises `NotCovered` with the reason it can't be used."""
    database = databases[pair.key]
    graph = join_graph(database.schema)
    tree = canonical(from_sql(pair.sql, database.schema, graph), database.schema)
    index = _index(database.path, pair.key, databases)
    links = link(pair.question, database.schema, index, vectors)
    if not database.path:
        links = _with_gold_cells(links, tree)
    _check(links, tree, database.schema, graph)
    return Prepared(pair.key, links, tree)


_indexes: dict[str, ValueIndex] = {}


def _index(path: str, key: str, databases: dict[str, Database]) -> ValueIndex | None:
    if not path:
        return None
    if key not in _indexes:
        if len(_indexes) > 64:
            _indexes.pop(next(iter(_indexes))).close()
        cache = load_settings().cache_dir or None
        _indexes[key] = ValueIndex.open(path, databases[key].schema, cache)
    return _indexes[key]


def _check(links: Links, tree: Query, schema: Schema, graph: JoinGraph) -> None:
    """Raises `NotCovered` when the pair can't be written over the whole schema."""
    values = tuple(links.values)
    everything = Space(
        schema, graph, tuple(range(len(schema.tables))), tuple(range(len(schema.columns))), values
    )
    to_actions(tree, everything)


def _with_gold_cells(links: Links, tree: Query) -> Links:
    """Without cells at hand: the gold literals, marked as found in their column."""
    values = list(links.values)
    for node in walk(tree):
        if not isinstance(node, Comparison) or not isinstance(node.right, Literal):
            continue
        if isinstance(node.left, ColumnRef) and isinstance(node.right.value, str):
            _mark_cell(values, node.right.value, node.left.column, links.question)
    return replace(links, values=tuple(values))


def _mark_cell(values: list[ValueCandidate], text: str, column: int, question: Question) -> None:
    for i, value in enumerate(values):
        if str(value.value).lower() == text.lower():
            values[i] = replace(value, value=text, kind=ValueKind.CELL, columns=(column,))
            return
    start = question.text.lower().find(text.lower())
    if start >= 0:
        words = [
            i
            for i, word in enumerate(question.words)
            if word.start < start + len(text) and word.end > start
        ]
        if words:
            values.append(ValueCandidate(text, ValueKind.CELL, words[0], words[-1] + 1, (column,)))


# -- reading -----------------------------------------------------------------


def normalised(question: str) -> str:
    """A question for comparison: lower case, words and numbers only."""
    return " ".join(re.findall(r"[a-z0-9]+", question.lower()))


def read_spider(path: Path, variants: tuple[str, ...] = ("given", "found")) -> Iterator[Pair]:
    """Spider's pairs, over each variant of their schemas."""
    for item in json.loads(path.read_text("utf-8")):
        for variant in variants:
            yield Pair(f"{item['db_id']}/{variant}", item["question"], item["query"])


def read_jsonl(path: Path, databases: dict[str, Database]) -> Iterator[Pair]:
    """Generated pairs; databases met for the first time are added to `databases`."""
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        item = json.loads(line)
        key = item["db_id"]
        if f"{key}/found" in databases:  # by turns as given and as found
            key = f"{key}/{('given', 'found')[number % 2]}"
        elif key not in databases:
            schema = sqlite_schema(item["db"]) if item["db"] else _one_table(key, item["schema"])
            databases[key] = Database(schema, item["db"])
        yield Pair(key, item["question"], item["query"])


def _one_table(name: str, form: dict[str, Any]) -> Schema:
    """A schema of one table from its `table`, `columns` and `types`."""
    columns = tuple(
        Column(form["table"], column, ColumnType(kind), "")
        for column, kind in zip(form["columns"], form["types"], strict=True)
    )
    return with_natural_names(Schema(name, (Table(form["table"], columns, ""),)))


def main(arguments: list[str] | None = None) -> None:
    """Prepare every source named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spider", type=Path, required=True, help="folder of the Spider data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--spider-syn", type=Path, help="Spider-Syn's training pairs")
    parser.add_argument("--jsonl", type=Path, nargs="*", default=[], help="generated pairs")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    dev = json.loads((options.spider / "dev.json").read_text("utf-8"))
    store = Store(
        options.out,
        spider_databases(options.spider),
        frozenset(normalised(item["question"]) for item in dev),
        frozenset(item["db_id"] for item in dev),
        word_vectors(options.out),
    )
    spider = [*read_spider(options.spider / "train_spider.json")]
    spider += read_spider(options.spider / "train_others.json")
    store.write("validation", [p for p in spider if held_out(p) and p.key.endswith("/given")])
    store.write("spider", [p for p in spider if not held_out(p)])
    if options.spider_syn:
        store.write("spider_syn", [p for p in read_spider(options.spider_syn) if not held_out(p)])
    for path in options.jsonl:
        pairs = read_jsonl(path, store.databases)
        store.write(path.stem, [p for p in pairs if not held_out(p)])


def held_out(pair: Pair) -> bool:
    """Whether the pair belongs to a validation database."""
    return pair.key.split("/")[0] in VALIDATION_DATABASES


@dataclass(frozen=True, slots=True)
class Store:
    """The output folder, and what no source may contain."""

    folder: Path
    databases: dict[str, Database]
    dev_questions: frozenset[str]
    dev_databases: frozenset[str]
    vectors: WordVectors

    def write(self, name: str, pairs: list[Pair]) -> None:
        """Prepare one source and store it with the databases met so far."""
        kept = [
            pair
            for pair in pairs
            if normalised(pair.question) not in self.dev_questions
            and pair.key.split("/")[0] not in self.dev_databases
        ]
        prepared = list(prepare(kept, self.databases, self.vectors))
        print(f"{name}: {len(pairs)} pairs, {len(prepared)} prepared", file=sys.stderr)
        used = {item.key for item in prepared}
        _dump(prepared, self.folder / f"pairs-{name}.pkl")
        known = self.folder / "databases.pkl"
        before = pickle.loads(known.read_bytes()) if known.exists() else {}
        _dump(before | {key: self.databases[key] for key in used}, known)


def _dump(value: object, path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(value, protocol=5))
    part.replace(path)


if __name__ == "__main__":
    # Pickles name the module of a class: `__main__` would be unreadable elsewhere.
    from plainsql.training.parser_pairs import main as run

    run()
