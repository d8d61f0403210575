"""Does retrieval keep the right tables of a schema that is far too large to read?

    python benchmarks/retrieval.py --spider DIR [--databases] [--seed 0]

All databases of DIR/tables.json become one schema (876 tables for Spider's 166
databases); a table whose name several databases have is called DATABASE_TABLE. For
each question of dev.json, and for as many of train_spider.json drawn by the seed, the
tables of its gold query must be among those kept. `--databases` copies the rows of
DIR/database into one SQLite file too, and adds the cells that questions mention.

Then the same over a made-up schema of 10,000 tables and 150,000 columns, for time and
memory; the last column of the first table is the ratio to spelling alone.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import sqlglot
from sqlglot import exp

from plainsql.linking.embedding import WordVectors
from plainsql.linking.link import link
from plainsql.linking.retrieval import KEPT, SchemaIndex, Weights
from plainsql.linking.retrieval_build import open_index
from plainsql.linking.value_index import ValueIndex
from plainsql.linking.words import tokenize_question
from plainsql.records import ValueCandidate
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.names import with_natural_names
from plainsql.schema.render import quote_name
from plainsql.schema.spider import load_tables_json
from plainsql.translators.parser.weights import weights_folder, word_table

T = TypeVar("T")

ALONE = {"neighbours": 0.0, "components": 0.0}
VARIANTS: dict[str, tuple[Weights, int]] = {  # and the bridges that may be kept
    "spelling": (Weights(meaning=0, **ALONE), 0),
    "meaning": (Weights(spelling=0, **ALONE), 0),
    "both": (Weights(**ALONE), 0),
    "both, and what joined tables have": (Weights(), 0),
    "... and closed under joins": (Weights(), 2),
}
KEPT_TABLES = (5, 10, KEPT)
TABLES, COLUMNS = 10_000, 15
ROWS = 2000  # copied of a table


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, the tables of its gold query, and the cells that it mentions."""

    question: str
    tables: frozenset[int]
    cells: tuple[ValueCandidate, ...] = ()


def main() -> None:
    """Print the tables of docs/retrieval.md."""
    options = _options()
    files = word_table(weights_folder())
    assert files is not None, "the parser's weights have no word vectors"
    vectors = WordVectors.open(*files)
    with tempfile.TemporaryDirectory() as work:
        # first, so that its memory is its own
        _print_scale(vectors, _words(Path(files[0])), options.spider / "dev.json", Path(work))
        merged = Merged.of(options.spider / "tables.json")
        sets = {
            "dev": list(merged.asked(options.spider / "dev.json")),
            "train": list(merged.asked(options.spider / "train_spider.json")),
        }
        chance = random.Random(options.seed)
        sets["train"] = chance.sample(sets["train"], min(len(sets["dev"]), len(sets["train"])))
        index = open_index(merged.schema, vectors)
        print(f"{len(merged.schema.tables)} tables, {len(merged.schema.columns)} columns\n")
        _print_recall(index, vectors, sets)
        if options.databases:
            with_cells = _with_cells(merged, options.spider / "database", Path(work), sets)
            print("\nWith the cells that questions mention:\n")
            _print_recall(index, vectors, with_cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spider", type=Path, required=True, metavar="DIR")
    parser.add_argument("--databases", action="store_true", help="use the rows as well")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


@dataclass(frozen=True)
class Merged:
    """One schema of many; `place` gives the table index of a database's table."""

    schema: Schema
    sources: dict[str, Schema]
    place: dict[tuple[str, str], int]

    @classmethod
    def of(cls, path: Path) -> Merged:
        sources = load_tables_json(path)
        counts = Counter(t.name.lower() for s in sources.values() for t in s.tables)
        taken = {name for name, count in counts.items() if count == 1}
        tables: list[Table] = []
        keys: list[ForeignKey] = []
        place: dict[tuple[str, str], int] = {}
        for db, schema in sources.items():
            names: dict[str, str] = {}
            for table in schema.tables:
                name = table.name if table.name.lower() in taken else f"{db}_{table.name}"
                while table.name.lower() not in taken and name.lower() in taken:
                    name += "_"  # DATABASE_TABLE can be the name of another table
                names[table.name] = name
                place[db, table.name.lower()] = len(tables)
                columns = tuple(replace(column, table=name) for column in table.columns)
                tables.append(replace(table, name=name, columns=columns))
            taken.update(name.lower() for name in names.values())
            keys += [
                replace(key, table=names[key.table], ref_table=names[key.ref_table])
                for key in schema.foreign_keys
            ]
        return cls(Schema("merged", tuple(tables), tuple(keys)), sources, place)

    def asked(self, path: Path) -> Iterator[Asked]:
        """The questions of a file whose gold query can be read."""
        for row in json.loads(path.read_text(encoding="utf-8")):
            try:
                tree = sqlglot.parse_one(row["query"], dialect="sqlite")
            except sqlglot.errors.SqlglotError:
                continue
            names = {table.name.lower() for table in tree.find_all(exp.Table)}
            places = [self.place.get((row["db_id"], name)) for name in names]
            found = frozenset(place for place in places if place is not None)
            if found and len(found) == len(names):
                yield Asked(row["question"], found)


# --- recall ------------------------------------------------------------------


def _print_recall(
    index: SchemaIndex, vectors: WordVectors, sets: dict[str, Sequence[Asked]]
) -> None:
    heads = [f"{name}, {number} kept" for name in sets for number in KEPT_TABLES]
    print(_line(["words found by", *heads, "dev against spelling"]))
    print(_line(["---", *["---:"] * (len(heads) + 1)]))
    first: float | None = None
    for title, (weights, bridges) in VARIANTS.items():
        found = [
            _recall(index, vectors, rows, number, weights, bridges)
            for rows in sets.values()
            for number in KEPT_TABLES
        ]
        dev = found[len(KEPT_TABLES) - 1]
        first = first or dev
        print(_line([title, *(f"{100 * share:.1f} %" for share in found), f"{dev / first:.3f}"]))


def _recall(
    index: SchemaIndex,
    vectors: WordVectors,
    rows: Sequence[Asked],
    number: int,
    weights: Weights,
    bridges: int,
) -> float:
    """The share of questions all of whose tables are kept."""
    right = 0
    for item in rows:
        scores = index.scores(tokenize_question(item.question), vectors, item.cells, weights)
        right += item.tables <= set(index.keep(scores, number, bridges=bridges))
    return right / len(rows)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- cells -------------------------------------------------------------------


def _with_cells(
    merged: Merged, databases: Path, work: Path, sets: dict[str, Sequence[Asked]]
) -> dict[str, Sequence[Asked]]:
    file = work / "merged.sqlite"
    write_merged(merged, databases, file)
    index = ValueIndex.open(file, merged.schema, work)
    with closing(index):
        return {
            name: [
                replace(item, cells=link(item.question, merged.schema, index).values)
                for item in rows
            ]
            for name, rows in sets.items()
        }


def write_merged(merged: Merged, databases: Path, file: Path) -> None:
    """All databases as one SQLite file with the names and keys of the merged schema."""
    with closing(sqlite3.connect(file)) as out, out:
        for table in merged.schema.tables:
            out.execute(_create(table, merged.schema))
        for db, schema in merged.sources.items():
            source = databases / db / f"{db}.sqlite"
            with closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as rows:
                rows.text_factory = lambda data: data.decode("utf-8", "replace")
                for table in schema.tables:
                    _copy(
                        rows, table, out, merged.schema.tables[merged.place[db, table.name.lower()]]
                    )


def _create(table: Table, schema: Schema) -> str:
    numbers = (ColumnType.NUMBER, ColumnType.BOOLEAN)
    parts = [
        f"{quote_name(c.name)} {'NUMERIC' if c.type in numbers else 'TEXT'}" for c in table.columns
    ]
    for key in schema.foreign_keys:
        if key.table == table.name:
            own, theirs = (
                ", ".join(map(quote_name, names)) for names in (key.columns, key.ref_columns)
            )
            parts.append(f"FOREIGN KEY ({own}) REFERENCES {quote_name(key.ref_table)} ({theirs})")
    return f"CREATE TABLE {quote_name(table.name)} ({', '.join(parts)})"


def _copy(rows: sqlite3.Connection, source: Table, out: sqlite3.Connection, target: Table) -> None:
    columns = ", ".join(quote_name(column.name) for column in source.columns)
    query = f"SELECT {columns} FROM {quote_name(source.name)} LIMIT {ROWS}"
    try:
        data = rows.execute(query).fetchall()
    except sqlite3.OperationalError as error:  # tables.json has a table that the file lacks
        print(f"not copied: {target.name}: {error}", file=sys.stderr)
        return
    marks = ", ".join("?" * len(source.columns))
    out.executemany(f"INSERT INTO {quote_name(target.name)} VALUES ({marks})", data)


# --- scale -------------------------------------------------------------------


def _print_scale(vectors: WordVectors, words: Sequence[str], dev: Path, work: Path) -> None:
    seconds, schema = _timed(lambda: with_natural_names(_made_up(words)))
    size = f"{len(schema.tables):,} tables, {len(schema.columns):,} columns"
    print(f"{size} (names in words: {seconds:.1f} s)\n")
    built, _ = _timed(lambda: open_index(schema, vectors, work))
    opened, index = _timed(lambda: open_index(schema, vectors, work))
    times = []
    for row in json.loads(dev.read_text(encoding="utf-8"))[:300]:
        started = time.perf_counter()
        asked = tokenize_question(row["question"])
        index.keep(index.scores(asked, vectors))
        times.append(1000 * (time.perf_counter() - started))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(_line(["index built", "index opened again", "query p50", "query p95", "peak memory"]))
    print(_line(["---:"] * 5))
    p95 = quantiles(times, n=20)[-1]
    taken = [f"{built:.1f} s", f"{opened:.1f} s"]
    print(_line([*taken, f"{median(times):.1f} ms", f"{p95:.1f} ms", f"{peak:.0f} MB"]))
    print()


def _words(tokenizer: Path) -> list[str]:
    """Whole English words among the tokenizer's pieces."""
    pieces = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(
        piece for piece in pieces if piece.isascii() and piece.isalpha() and len(piece) > 3
    )


def _made_up(words: Sequence[str]) -> Schema:
    """Tables and columns of two words each, each table joined to one of the 50 before it."""
    chance = random.Random(0)
    tables: list[Table] = []
    keys: list[ForeignKey] = []
    for number in range(TABLES):
        name = f"{chance.choice(words)}_{chance.choice(words)}_{number}"
        columns = tuple(
            Column(name, f"{chance.choice(words)}_{chance.choice(words)}_{at}", ColumnType.TEXT, "")
            for at in range(COLUMNS)
        )
        tables.append(Table(name, columns, ""))
        if number:
            other = tables[chance.randrange(max(0, number - 50), number)]
            keys.append(ForeignKey(name, (columns[1].name,), other.name, (other.columns[0].name,)))
    return Schema("made-up", tuple(tables), tuple(keys))


def _timed(do: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    found = do()
    return time.perf_counter() - started, found


if __name__ == "__main__":
    main()
