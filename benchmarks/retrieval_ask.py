"""Questions asked of 876 tables at once: what is kept, what is written, how long it takes.

    python benchmarks/retrieval_ask.py --spider DIR [--questions 100] [--shown 5] [--seed 0]

All databases of DIR become one SQLite file, rows and all (see retrieval.py). Questions of
dev.json are asked of it with the shipped parser, from start to end as `plainsql ask`
does, and once more of the database they were written for: the last line is the ratio of
the two medians. A question counts as right where its rows are those of the gold query.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from retrieval import Merged, write_merged

from plainsql.ask import Database, connect
from plainsql.errors import PlainsqlError
from plainsql.evaluation.execution_accuracy import Gold, run_gold, same_rows
from plainsql.records import Answer
from plainsql.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of one database: the answer (None: an error) and its milliseconds."""

    answer: Answer | None
    milliseconds: float
    told: str = ""

    def agrees(self, gold: Gold) -> bool:
        """Whether the rows are those of the gold query."""
        if self.answer is None:
            return False
        return same_rows(gold.rows.rows, self.answer.rows, ordered=gold.ordered)


def main() -> None:
    """Ask, print some questions whole, then the table."""
    options = _options()
    rows = json.loads((options.spider / "dev.json").read_text(encoding="utf-8"))
    rows = random.Random(options.seed).sample(rows, options.questions)
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "merged.sqlite"
        write_merged(Merged.of(options.spider / "tables.json"), options.spider / "database", file)
        settings = Settings(cache_dir=work)
        with connect(file, settings=settings) as merged:
            started = time.perf_counter()
            _asked(merged, rows[0]["question"])
            print(f"first question, with all indexes: {time.perf_counter() - started:.1f} s\n")
            pairs = [_pair(merged, row, options.spider, settings, options.shown > i)
                     for i, row in enumerate(rows)]  # fmt: skip
    _print_table(pairs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spider", type=Path, required=True, metavar="DIR")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--shown", type=int, default=5, help="questions printed whole")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.spider = options.spider.resolve()
    return options


@dataclass(frozen=True, slots=True)
class Pair:
    """A question asked of all tables and of its own database."""

    large: Asked
    own: Asked
    large_right: bool
    own_right: bool


def _pair(
    merged: Database, row: dict[str, Any], spider: Path, settings: Settings, shown: bool
) -> Pair:
    question = row["question"]
    large = _asked(merged, question)
    file = spider / "database" / row["db_id"] / f"{row['db_id']}.sqlite"
    with connect(file, settings=settings) as database:
        _asked(database, question)  # reads the schema, opens the index
        own = _asked(database, question)
        gold = run_gold(database.engine, row["query"], timeout=10)
    if shown:
        _print_whole(merged, question, large)
    return Pair(large, own, large.agrees(gold), own.agrees(gold))


def _asked(database: Database, question: str) -> Asked:
    started = time.perf_counter()
    try:
        answer, told = database.ask(question), ""
    except PlainsqlError as error:
        answer, told = None, str(error)
    return Asked(answer, 1000 * (time.perf_counter() - started), told)


def _print_whole(database: Database, question: str, asked: Asked) -> None:
    kept = [database.schema.tables[i].name for i in database.link(question).tables]
    print(f"{question}\n  kept: {', '.join(kept)}")
    if asked.answer is None:
        print(f"  {asked.told}\n")
        return
    shown = "; ".join(str(row) for row in asked.answer.rows[:3])
    more = f" … {asked.answer.row_count} rows" if asked.answer.row_count > 3 else ""
    print(f"  SQL: {asked.answer.sql}\n  rows: {shown}{more}")
    print(f"  {asked.milliseconds:.0f} ms\n")


def _print_table(pairs: list[Pair]) -> None:
    print("| asked of | questions | right | p50 | p95 |")
    print("| --- | ---: | ---: | ---: | ---: |")
    halves = {
        "all tables": [(pair.large, pair.large_right) for pair in pairs],
        "their own database": [(pair.own, pair.own_right) for pair in pairs],
    }
    middles = []
    for name, found in halves.items():
        times = [asked.milliseconds for asked, _ in found]
        middles.append(median(times))
        right = sum(right for _, right in found)
        p95 = quantiles(times, n=20)[-1]
        print(f"| {name} | {len(found)} | {right} | {median(times):.0f} ms | {p95:.0f} ms |")
    print(f"\nall tables against one database: {middles[0] / middles[1]:.1f} times the time")


if __name__ == "__main__":
    main()
