"""Writes all synthetic data: `python -m plainsql.training.synthesis --spider DIR … --out DIR`."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainsql.schema.model import Schema
from plainsql.training.synthesis.corpus import Database, spider_databases
from plainsql.training.synthesis.output import Pair, question_key, write_pairs, write_text
from plainsql.training.synthesis.people import ask_many
from plainsql.training.synthesis.sampling import fill_many, learn_templates
from plainsql.training.synthesis.synonyms import dictionary, training_rewordings
from plainsql.training.synthesis.web_tables import convert, web_databases
from plainsql.training.synthesis.wikisql import wikisql_pairs

PARTS = ("web", "templates", "people", "wikisql", "synonyms")
Triple = tuple[str, str, str]  # db_id, question, query


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the public data lies and how much to make of it."""

    spider: Path
    squall: Path
    wikisql: Path
    out: Path
    seed: int
    scale: float  # 1.0: the full size

    def rng(self, part: str) -> random.Random:
        """A generator of its own for each part: parts may be made alone."""
        return random.Random(f"{self.seed} {part}")


def training_triples(spider: Path) -> list[Triple]:
    """Spider's training pairs and Spider-Syn's questions, where they are beside it."""
    files = [spider / "train_spider.json", spider / "train_others.json"]
    files += sorted(spider.parent.glob("spider_syn/train*.json"))
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
    return [(row["db_id"], row["question"], row["query"]) for row in rows]


def dev_questions(spider: Path) -> frozenset[str]:
    """Keys of the questions that no training set may hold."""
    path = spider / "dev.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return frozenset(question_key(row["question"]) for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the parts asked for and prints what was written."""
    options = _options(arguments)
    sources = Sources(
        options.spider, options.squall, options.wikisql, options.out, options.seed, options.scale
    )
    for part in PARTS:
        if part in options.parts:
            start = time.monotonic()
            count = _MAKERS[part](sources)
            print(f"{part}: {count} in {time.monotonic() - start:.0f} s", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="plainsql.training.synthesis", description=__doc__)
    for name in ("spider", "squall", "wikisql", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    return parser.parse_args(arguments)


def make_web(sources: Sources) -> int:
    """SQLite files of the web tables."""
    folder = sources.squall / "tables"
    return convert(folder, sources.out / "web", sources.rng("web"))


def _databases(sources: Sources) -> tuple[list[Database], list[Database], list[Triple]]:
    """Training databases with rows, web tables, training triples."""
    triples = training_triples(sources.spider)
    spider = spider_databases(sources.spider, sorted({db_id for db_id, _, _ in triples}))
    return spider, list(web_databases(sources.out / "web")), triples


def make_templates(sources: Sources) -> int:
    """Templates of training pairs over training databases and web tables."""
    rng = sources.rng("templates")
    spider, web, triples = _databases(sources)
    templates = learn_templates(triples, {d.db_id: d for d in spider})
    print(f"templates learned: {len(templates)}", flush=True)
    live = [d for d in spider if any(d.rows_of)]
    banned = dev_questions(sources.spider)
    pairs = fill_many(templates, live, int(50_000 * sources.scale), rng, banned=banned)
    single = [t for t in templates if len(t.table_slots) == 1]
    more = fill_many(single, web, int(18_000 * sources.scale), rng, banned=banned)
    return _write(sources.out / "templates.jsonl", pairs + more, rng)


def make_people(sources: Sources) -> int:
    """Everyday questions over training databases and web tables."""
    rng = sources.rng("people")
    spider, web, _ = _databases(sources)
    banned = dev_questions(sources.spider)
    live = [d for d in spider if any(d.rows_of)]
    pairs = ask_many(live, int(15_000 * sources.scale), rng, banned=banned)
    pairs += ask_many(web, int(8_000 * sources.scale), rng, banned=banned, most=1)
    return _write(sources.out / "people.jsonl", pairs, rng)


def make_wikisql(sources: Sources) -> int:
    """A sample of WikiSQL's training questions."""
    rng = sources.rng("wikisql")
    total, banned = int(20_000 * sources.scale), dev_questions(sources.spider)
    pairs = wikisql_pairs(sources.wikisql / "train.jsonl", total, rng, banned=banned)
    return _write(sources.out / "wikisql.jsonl", pairs, rng)


def make_synonyms(sources: Sources) -> int:
    """Other words for the names of training databases and web tables."""
    spider, web, _ = _databases(sources)
    names = {name for database in (*spider, *web) for name in _natural_names(database.schema)}
    found = dictionary(names, training_rewordings(sources.spider))
    text = json.dumps(found, ensure_ascii=False, indent=0)
    write_text(sources.out / "synonyms.json", text)
    return len(found)


def _natural_names(schema: Schema) -> list[str]:
    tables = [table.natural for table in schema.tables]
    return tables + [column.natural for column in schema.columns]


def _write(path: Path, pairs: list[Pair], rng: random.Random) -> int:
    rng.shuffle(pairs)
    return write_pairs(path, pairs)


_MAKERS = {
    "web": make_web,
    "templates": make_templates,
    "people": make_people,
    "wikisql": make_wikisql,
    "synonyms": make_synonyms,
}

if __name__ == "__main__":
    main()
