"""How fast `plainsql data prepare` is, and whether its memory grows with the data.

    python benchmarks/prepare_speed.py [--examples 50000] [--small 5000]

Generates its own data: WikiSQL-like rows over tables of their own (three or four
questions a table), and Spider-like rows over 100 SQLite databases of nine tables,
whose schema does not fit the prompt, so that every question is linked and every
query executed. Each size runs in a process of its own; memory is the peak resident
size of that process, libraries included.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

NOUNS = """singer concert stadium student teacher course school city country airport flight airline
customer product basket invoice supplier employee department project doctor patient hospital
museum painting artist album track playlist recipe ingredient restaurant hotel booking guest
machine engineer repair bridge river mountain ship captain harbour festival film actor director
""".split()
FIELDS = """name title year age height weight price rating length capacity budget salary status
colour category address rank score distance duration quantity discount weekday season language
""".split()
WORDS = "amber birch cedar delta ember flint grove hazel indigo jasper karst lotus maple".split()
DATABASES, TABLES, COLUMNS, CELLS = 100, 9, 9, 60


def main() -> None:
    """Measure every kind of data in both sizes and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--small", type=int, default=5_000)
    parser.add_argument("--kinds", nargs="+", default=["wikisql", "spider"])
    parser.add_argument("--measure", nargs=3, metavar=("SOURCE", "DATABASES", "OUT"),
                        help=argparse.SUPPRESS)  # fmt: skip
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    print("kind      rows    seconds   cpu s  rows/s  peak MB  executed  schema cut")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            peaks = [run(kind, size, Path(folder)) for size in (options.small, options.examples)]
            print(f"{kind}: memory of {options.examples:,} to {options.small:,} rows:"
                  f" {peaks[1] / peaks[0]:.2f}")  # fmt: skip


def run(kind: str, size: int, folder: Path) -> float:
    """Prepare `size` rows in a process of their own and return its peak memory in MB."""
    source, databases = folder / f"{kind}-{size}.jsonl", folder / "databases"
    if kind == "spider" and not databases.exists():
        make_databases(databases)
    rows = wikisql_rows(size) if kind == "wikisql" else spider_rows(size)
    with source.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    place = str(databases) if kind == "spider" else ""
    out = folder / f"out-{kind}-{size}"
    command = [sys.executable, __file__, "--measure", str(source), place, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"{kind:8}{size:7,}{found['seconds']:10.1f}{found['cpu']:8.1f}{found['rate']:8.0f}{found['peak']:9.0f}"
          f"{found['executed']:10,}{found['cut']:12,}", flush=True)  # fmt: skip
    return float(found["peak"])


def measure(source: str, databases: str, out: str) -> None:
    """Prepare one source in this process and print what it took, as JSON."""
    from plainsql.training.data.prepare import PrepareOptions, prepare
    from plainsql.training.peak_memory import peak_memory_mb

    place = Path(databases) if databases else None
    cache = str(Path(out).parent / "cache")
    report = prepare(PrepareOptions((source,), Path(out), databases=place, cache_dir=cache))
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "seconds": report.seconds,
        "rate": report.rows / report.seconds,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": peak_memory_mb(),
        "executed": report.executed,
        "cut": report.train.schema_cut + report.validation.schema_cut,
    }
    print(json.dumps(found))


def wikisql_rows(size: int) -> Iterator[dict[str, object]]:
    """Questions about one table each; the columns stand in the row."""
    random_ = random.Random(1)
    columns: list[str] = []
    for number in range(size):
        if number % 4 == 0 or not columns:
            columns = random_.sample(FIELDS, 6)
        shown, by = random_.sample(columns, 2)
        word = f"{random_.choice(WORDS)} {number}"
        yield {
            "table_id": f"1-{number // 4}-1",
            "question": f"What is the {shown} where the {by} is {word}?",
            "query": f'SELECT "{shown}" FROM "table" WHERE "{by}" = \'{word}\'',
            "columns": columns,
        }


def layout(database: int) -> list[tuple[str, list[str]]]:
    """The tables of a database with their columns; the first column is the key."""
    random_ = random.Random(database)
    tables = random_.sample(NOUNS, TABLES)
    return [
        (table, [f"{table}_id", *random_.sample(FIELDS, COLUMNS - 2), "parent_id"])
        for table in tables
    ]


def make_databases(folder: Path) -> None:
    """The SQLite files; each table refers to the one before it."""
    folder.mkdir()
    for number in range(DATABASES):
        random_ = random.Random(number)
        tables = layout(number)
        with closing(sqlite3.connect(folder / f"db_{number}.sqlite")) as connection, connection:
            for at, (table, columns) in enumerate(tables):
                key, *middle, parent = columns
                target = tables[max(at - 1, 0)]
                typed = ", ".join(f"{name} {'TEXT' if i % 2 else 'INTEGER'}"
                                  for i, name in enumerate(middle))  # fmt: skip
                reference = f"REFERENCES {target[0]} ({target[1][0]})"
                connection.execute(f"CREATE TABLE {table} ({key} INTEGER PRIMARY KEY, {typed},"
                                   f" {parent} INTEGER {reference})")  # fmt: skip
                rows = [(i, *(f"{random_.choice(WORDS)} {i}" if j % 2 else random_.randrange(1000)
                              for j in range(len(middle))), i) for i in range(CELLS)]  # fmt: skip
                marks = ",".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def spider_rows(size: int) -> Iterator[dict[str, object]]:
    """Questions about one table or two that join, a database after the other."""
    random_ = random.Random(2)
    each = -(-size // DATABASES)
    for number in range(size):
        database = number // each
        tables = layout(database)
        at = random_.randrange(1, TABLES)
        (table, columns), (other, others) = tables[at], tables[at - 1]
        shown, by = random_.sample(range(1, COLUMNS - 1), 2)
        limit = random_.randrange(5_000)
        if number % 2:
            question = f"List the {columns[shown]} of every {table} whose {columns[by]} is {limit}."
            sql = f"SELECT {columns[shown]} FROM {table} WHERE {columns[by]} = {limit}"
        else:
            question = (f"What is the {others[shown]} of the {other} with a {table} whose"
                        f" {columns[by]} is {limit}?")  # fmt: skip
            joined = f"{table} AS T1 JOIN {other} AS T2 ON T1.parent_id = T2.{others[0]}"
            sql = f"SELECT T2.{others[shown]} FROM {joined} WHERE T1.{columns[by]} = {limit}"
        yield {"db_id": f"db_{database}", "question": question, "query": sql}


if __name__ == "__main__":
    main()
