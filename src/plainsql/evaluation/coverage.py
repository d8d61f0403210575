"""How much SQL the logical form can say: gold -> tree -> actions -> tree -> SQL -> same rows.

    python -m plainsql.evaluation.coverage DATASET.json --databases DIR [--tables tables.json]

prints the share of gold queries that survive the round trip on the real
database, and each that does not with its reason. Every step of the actions must
be allowed by the grammar automaton; the gold's literals count as candidates.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from plainsql.errors import ExecutionError, PlainsqlError
from plainsql.evaluation.datasets import Example, database_paths, load_dataset, select
from plainsql.evaluation.execution_accuracy import compare, run_gold
from plainsql.execution.base import open_engine
from plainsql.logical_form.actions import to_actions
from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.logical_form.grammar import Automaton
from plainsql.logical_form.space import Space
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import Literal, Query, walk
from plainsql.records import ValueCandidate, ValueKind
from plainsql.schema.enrich import enrich
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Schema

_TIMEOUT = 30.0  # seconds a statement


@dataclass(frozen=True, slots=True)
class Trip:
    """The round trip of one gold query; `reason` is "" where it came back whole."""

    example: Example
    sql: str
    reason: str


def round_trip(sql: str, schema: Schema, graph: JoinGraph) -> str:
    """The query written as actions and read back. Raises `NotCovered` with the reason."""
    tree = from_sql(sql, schema, graph)
    space = whole_space(tree, schema, graph)
    automaton = Automaton(space)
    state = automaton.start()
    for action in to_actions(tree, space):
        if not automaton.allowed(state)[action]:
            raise NotCovered(f"the grammar forbids an action in {state.name}")
        state = automaton.step(state, action)
    return to_sql(automaton.tree(state), schema, graph)


def whole_space(tree: Query, schema: Schema, graph: JoinGraph) -> Space:
    """All tables and columns, and the tree's own literals as candidates."""
    literals = dict.fromkeys(node.value for node in walk(tree) if isinstance(node, Literal))
    values = tuple(ValueCandidate(value, ValueKind.QUOTED) for value in literals)
    tables = tuple(range(len(schema.tables)))
    return Space(schema, graph, tables, tuple(range(len(schema.columns))), values)


def trips(examples: Iterable[Example], databases: Path, given: dict[str, Schema]) -> Iterator[Trip]:
    """The round trip of every example. Raises `UsageError` for a missing database."""
    examples = sorted(examples, key=lambda example: example.db)
    paths = database_paths(databases, (example.db for example in examples))
    current, engine = "", None
    for example in examples:
        if engine is None or example.db != current:
            if engine is not None:
                engine.close()
            current, engine = example.db, open_engine(str(paths[example.db]))
            found = engine.introspect()
            schema = enrich(given[current], found) if current in given else found
            graph = JoinGraph(schema)
        try:
            gold = run_gold(engine, example.sql, timeout=_TIMEOUT)
            sql = round_trip(example.sql, schema, graph)
        except ExecutionError as error:
            yield Trip(example, "", f"the gold fails: {error.message}")
            continue
        except NotCovered as error:
            yield Trip(example, "", str(error))
            continue
        outcome = compare(engine, gold, sql, timeout=_TIMEOUT)
        yield Trip(example, sql, "" if outcome.same else outcome.error or "other rows")


def main(arguments: list[str] | None = None) -> None:
    """Print the coverage of a data set and what is not covered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--databases", type=Path, required=True)
    parser.add_argument("--tables", type=Path, help="schemas in Spider's form")
    parser.add_argument("--exclude-db", nargs="*", default=[])
    options = parser.parse_args(arguments)
    from plainsql.schema.spider import load_tables_json

    given = load_tables_json(options.tables) if options.tables else {}
    examples = select(load_dataset(options.dataset), exclude=options.exclude_db)
    done = list(trips(examples, options.databases, given))
    runs = [trip for trip in done if not trip.reason.startswith("the gold fails")]
    whole = sum(not trip.reason for trip in runs)
    print(f"covered: {whole} of {len(runs)} gold queries that run, {100 * whole / len(runs):.2f} %")
    for reason, count in Counter(trip.reason for trip in done if trip.reason).most_common():
        print(f"{count:5d}  {reason}")
        for trip in [trip for trip in done if trip.reason == reason][:3]:
            print(f"       {trip.example.db}: {trip.example.sql}")


if __name__ == "__main__":
    try:
        main()
    except PlainsqlError as error:
        raise SystemExit(f"{error.message} {error.hint}") from error
