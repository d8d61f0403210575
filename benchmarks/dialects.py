"""Do the logical form's queries give the same rows from every engine?

    python benchmarks/dialects.py --spider DIR --engine duckdb|postgresql|mysql [--url URL]

Copies the databases of Spider's dev set and as many again of its training set into the
engine, writes every gold query of dev that the logical form covers in the engine's
dialect, runs it through the guard, and compares the rows with SQLite's (see
plainsql.evaluation.dialects). Printed are the share of equal results, each difference
with its reason, and the seconds. `--split train` compares the training queries over
the copied training databases instead.

Without `--url` a server of its own is started and removed again (for PostgreSQL and
MariaDB; DuckDB needs none). With it, the URL's user must be allowed to create databases;
those made are named plainsql_dialects_* and dropped at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from plainsql.errors import PlainsqlError
from plainsql.evaluation.datasets import Example, database_path, load_dataset
from plainsql.evaluation.dialects import Outcome, Side, compare_sides
from plainsql.evaluation.loading import CopiedTable, aligned_schema, copy_tables, read_tables
from plainsql.execution.base import open_engine
from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.schema.graph import JoinGraph

ENGINES = ("duckdb", "postgresql", "mysql")
PREFIX = "plainsql_dialects_"
# Compares texts as SQLite does: by their bytes, blanks at the end included.
COLLATION = "utf8mb4_nopad_bin"
SPLITS = {"dev": ("dev.json",), "train": ("train_spider.json", "train_others.json")}
TRAINING_DATABASES = 26


class Place(Protocol):
    """Where copies are made."""

    def copy(self, name: str, tables: Sequence[CopiedTable]) -> str:
        """Make a database of these tables; the target to open it by."""
        ...


class DuckDBPlace:
    """Files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copy(self, name: str, tables: Sequence[CopiedTable]) -> str:
        import duckdb

        path = self.folder / f"{name}.duckdb"
        with duckdb.connect(path) as connection:
            connection.begin()
            copy_tables(tables, "duckdb", connection.execute)
            connection.commit()
        return str(path)


@dataclass
class PostgreSQLPlace:
    """Databases of a server."""

    url: str
    made: list[str] = field(default_factory=list)

    def copy(self, name: str, tables: Sequence[CopiedTable]) -> str:
        import psycopg

        name = PREFIX + name.lower()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        self.made.append(name)
        with psycopg.connect(_with_database(self.url, name)) as connection:
            copy_tables(tables, "postgres", lambda s, p: connection.execute(s, p or None))
        return _with_database(self.url, name)

    def close(self) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in self.made:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@dataclass
class MySQLPlace:
    """Databases of a server, collated as SQLite compares."""

    url: str
    made: list[str] = field(default_factory=list)

    def connect(self) -> Any:
        import pymysql

        parts = urlsplit(self.url)
        return pymysql.connect(
            host=parts.hostname, port=parts.port or 3306, user=_unquoted(parts.username),
            password=_unquoted(parts.password), charset="utf8mb4", autocommit=False,
        )  # fmt: skip

    def copy(self, name: str, tables: Sequence[CopiedTable]) -> str:
        name = PREFIX + name
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE {COLLATION}")
            cursor.execute(f"USE `{name}`")
            self.made.append(name)
            copy_tables(tables, "mysql", lambda s, p: cursor.execute(s, p or None))
            connection.commit()
        return _with_database(self.url, name)

    def close(self) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            for name in self.made:
                cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def _unquoted(text: str | None) -> str:
    from urllib.parse import unquote

    return unquote(text or "")


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def place(engine: str, url: str) -> Iterator[Place]:
    """Where copies for `engine` go: the server at `url`, or one started for this run."""
    if engine == "duckdb":
        with tempfile.TemporaryDirectory() as folder:
            yield DuckDBPlace(Path(folder))
    elif url:
        with closing(_server_place(engine, url)) as found:
            yield found
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from servers import started_mariadb, started_postgresql

        start = started_postgresql if engine == "postgresql" else started_mariadb
        with closing(start()) as server:
            yield _server_place(engine, server.url_admin)


def _server_place(engine: str, url: str) -> PostgreSQLPlace | MySQLPlace:
    return PostgreSQLPlace(url) if engine == "postgresql" else MySQLPlace(url)


@dataclass
class Tally:
    """What was counted; `exceptions` are the queries with other rows."""

    databases: int = 0
    queries: int = 0
    equal: int = 0
    empty: int = 0  # of the equal ones, those over databases without a row
    left_out: Counter[str] = field(default_factory=Counter)
    exceptions: list[tuple[Example, Outcome]] = field(default_factory=list)


def compare_database(path: Path, examples: Sequence[Example], where: Place, tally: Tally) -> None:
    """Copy one database and compare the examples over it."""
    tables = read_tables(path)
    target = where.copy(path.stem, tables)
    equal = tally.equal
    with closing(open_engine(str(path))) as engine, closing(open_engine(target)) as other:
        schema = engine.introspect()
        found = aligned_schema(schema, other.introspect())
        reference = Side(engine, schema, JoinGraph(schema))
        copy = Side(other, found, JoinGraph(found))
        for example in examples:
            _compare(example, reference, copy, tally)
    tally.databases += 1
    tally.empty += 0 if any(table.rows for table in tables) else tally.equal - equal


def _compare(example: Example, reference: Side, copy: Side, tally: Tally) -> None:
    try:
        query = from_sql(example.sql, reference.schema, reference.graph)
        outcome = compare_sides(query, reference, copy)
    except NotCovered:
        tally.left_out["not covered by the logical form"] += 1
        return
    except PlainsqlError:
        tally.left_out["fails on SQLite"] += 1
        return
    tally.queries += 1
    if outcome.reason:
        tally.exceptions.append((example, outcome))
    else:
        tally.equal += 1


def chosen_databases(spider: Path, split: str) -> dict[str, list[Example]]:
    """The databases to copy, each with the examples over it."""
    wanted: dict[str, list[Example]] = {}
    for name, files in SPLITS.items():
        examples = [e for file in files for e in load_dataset(spider / file)]
        databases = sorted({example.db for example in examples})
        step = max(1, len(databases) // TRAINING_DATABASES) if name == "train" else 1
        for db in databases[::step]:
            wanted[db] = [e for e in examples if e.db == db] if name == split else []
    return wanted


def report(tally: Tally, engine: str, seconds: float) -> None:
    """Print what was counted."""
    share = 100 * tally.equal / max(tally.queries, 1)
    print(f"{engine}: {tally.equal} of {tally.queries} equal, {share:.2f} %")
    full = tally.queries - tally.empty
    share = 100 * (tally.equal - tally.empty) / max(full, 1)
    print(f"over databases with rows: {tally.equal - tally.empty} of {full}, {share:.2f} %")
    print(f"{tally.databases} databases copied, {seconds:.0f} s")
    for reason, count in tally.left_out.most_common():
        print(f"left out: {count:4d}  {reason}")
    reasons = Counter(outcome.reason for _, outcome in tally.exceptions)
    for reason, count in reasons.most_common():
        print(f"\n{count:4d}  {reason}")
        for example, outcome in tally.exceptions:
            if outcome.reason == reason:
                print(f"      {example.db}: {outcome.sql}\n        {outcome.detail}")


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison and print its figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spider", type=Path, required=True, help="the folder of dev.json")
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--url", default="", help="a server's URL for a user who may create")
    parser.add_argument("--split", choices=tuple(SPLITS), default="dev")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    start, tally = time.monotonic(), Tally()
    with place(options.engine, options.url) as where:
        for db, examples in chosen_databases(options.spider, options.split).items():
            filled = database_path(options.spider / "database_filled", db)
            path = filled or database_path(options.spider / "database", db)
            if path is not None:
                compare_database(path, examples, where, tally)
    seconds = time.monotonic() - start
    report(tally, options.engine, seconds)
    if options.json:
        options.json.write_text(json.dumps(figures(tally, options.engine, seconds), indent=1))


def figures(tally: Tally, engine: str, seconds: float) -> dict[str, Any]:
    """The counts as JSON."""
    reasons = Counter(outcome.reason for _, outcome in tally.exceptions)
    return {
        "engine": engine,
        "databases": tally.databases,
        "queries": tally.queries,
        "equal": tally.equal,
        "equal_and_empty": tally.empty,
        "left_out": dict(tally.left_out),
        "exceptions": dict(reasons),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
