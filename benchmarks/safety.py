"""What hostile statements do to real databases, and what harmless ones give.

    python benchmarks/safety.py --cases cases.json --fixture fixture.sql
        [--postgresql URL|start|none] [--mysql URL|start|none] [--without guard|engine|limits]
        [--spider FOLDER] [--doors 60] [--json FILE]

Cases are a JSON list of objects: `id`; `engine` (any, sqlite, duckdb, postgres or
mysql) and `not_engines`; `category`; `sql`, or `sql_parts` as [[text, count], ...]
where it is long; `expected` (deny or allow). The fixture is a script in SQLite's SQL;
the other engines get the same tables, rows and views. Servers are started on loopback
(`start`) where their programs are installed, or given by the URL of a role that may
make tables there.

Each statement goes through `run_guarded`, as `ask` does it; with `--without` one of
the three layers is left out: the guard, the engine's protections (a bare driver with
all rights instead), or the limits. Looked at after every statement: the database
(bytes of a file; tables, rows, roles, functions and settings of a server), files in
the working directory, files whose path the statement spells, and (under `unshare -n`)
connections. A child process that is left would be counted as a file of the worker.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safety_databases import ENGINES, Place, network_use, open_places, read_fixture
from safety_doors import Doors, sample
from safety_guard import Gold, Speed, gold, speeds
from safety_runs import GRACE, Case, Outcome, Runner, read_cases


def main() -> None:
    """Run what was asked for and print tables; exit code 1 where something went wrong."""
    options = _options()
    report: dict[str, Any] = {"without": options.without or "nothing"}
    tables = options.tables or _tables(options)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="safety-") as name:
        folder, scratch = Path(name), Path(name) / "scratch"
        scratch.mkdir()
        os.chdir(scratch)
        urls = {"postgres": options.postgresql, "mysql": options.mysql}
        places = open_places(read_fixture(options.fixture), options.fixture, folder, urls)
        try:
            engines = tuple(place.dialect for place in places)
            cases = read_cases(options.cases, engines)
            outcomes = _outcomes(places, cases, tables, scratch, options)
            wrong += _print_outcomes(outcomes, options, report)
            if options.doors:
                wrong += _print_doors(places, cases, tables, folder, options.doors, report)
        finally:
            for place in places:
                place.close()
    _print_speeds(speeds(cases, tables), report)
    if options.spider:
        _print_gold(list(gold(options.spider)), report)
    if options.json:
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    raise SystemExit(bool(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--fixture", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--postgresql", default="start", metavar="URL|start|none")
    parser.add_argument("--mysql", default="start", metavar="URL|start|none")
    parser.add_argument("--without", choices=("guard", "engine", "limits"), default="")
    parser.add_argument("--tables", type=lambda text: frozenset(text.split(",")))
    parser.add_argument("--forbidden", default="app_secrets", help="tables that may not be read")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds a statement may run")
    parser.add_argument(
        "--doors", type=int, default=0, metavar="N", help="N through each front end"
    )
    parser.add_argument("--spider", type=lambda text: Path(text).resolve())
    parser.add_argument("--json", type=lambda text: Path(text).resolve(), metavar="FILE")
    return parser.parse_args()


def _tables(options: argparse.Namespace) -> frozenset[str]:
    """All tables and views of the fixture that are not forbidden."""
    made = {item.name for item in read_fixture(options.fixture)}
    return frozenset(made - set(options.forbidden.split(",")))


def _outcomes(
    places: Sequence[Place],
    cases: Sequence[Case],
    tables: frozenset[str],
    scratch: Path,
    options: argparse.Namespace,
) -> list[Outcome]:
    outcomes = []
    for place in places:
        runner = Runner(place, tables, scratch, options.without, options.timeout)
        started = time.perf_counter()
        own = [case for case in cases if case.engine == place.dialect]
        outcomes += [runner.run(case) for case in own]
        runner.close()
        print(f"{place.dialect}: {len(own)} statements in {time.perf_counter() - started:.0f} s")
    return outcomes


def _print_outcomes(
    outcomes: Sequence[Outcome], options: argparse.Namespace, report: dict[str, Any]
) -> int:
    """Tables of how the cases ended; the number that didn't end as they should."""
    latest = options.timeout + GRACE
    print(f"\nWithout {options.without or 'any layer missing'}, deadline {options.timeout:g} s\n")
    rows = []
    for engine in ENGINES:
        for allowed in (False, True):
            own = [o for o in outcomes if (o.case.engine, o.case.allowed) == (engine, allowed)]
            if own:
                rows.append(_counted(engine, allowed, own, latest))
    print_table(rows)
    strange = [o for o in outcomes if not o.right or o.seconds > latest]
    for outcome in strange:
        case, effects = outcome.case, ", ".join(outcome.effects)
        told = f"{outcome.ended} in {outcome.seconds:.2f} s {effects} {outcome.detail[:120]}"
        print(f"  {case.id} ({case.engine}, {case.category}): {told}")
    report["outcomes"] = rows
    report["exceptions"] = [
        {"id": o.case.id, "engine": o.case.engine, "category": o.case.category, "ended": o.ended}
        | {"seconds": round(o.seconds, 3), "effects": o.effects, "detail": o.detail}
        for o in strange
    ]
    report["network counted"] = network_use() >= 0
    texts = {o.case.id: [] for o in outcomes}
    for outcome in outcomes:
        texts[outcome.case.id].append(outcome.right)
    for allowed, word in ((False, "to be denied"), (True, "to be allowed")):
        ids = {o.case.id for o in outcomes if o.case.allowed is allowed}
        good = sum(all(texts[name]) for name in ids)
        print(f"texts {word}: {good} of {len(ids)} as expected on every engine they are for")
        report[f"texts {word}"] = [good, len(ids)]
    return len(strange)


def _counted(engine: str, allowed: bool, own: Sequence[Outcome], latest: float) -> dict[str, Any]:
    ended = Counter(outcome.ended for outcome in own)
    return {
        "engine": engine,
        "expected": "allow" if allowed else "deny",
        "statements": len(own),
        **{word: ended[word] for word in ("denied", "stopped", "failed", "ran")},
        "with effects": sum(bool(outcome.effects) for outcome in own),
        "late": sum(outcome.seconds > latest for outcome in own),
        "as expected": sum(outcome.right and outcome.seconds <= latest for outcome in own),
    }


def _print_doors(
    places: Sequence[Place],
    cases: Sequence[Case],
    tables: frozenset[str],
    folder: Path,
    count: int,
    report: dict[str, Any],
) -> int:
    """A sample through Python, `check` and `ask`; the number of disagreements."""
    rows, wrong = [], []
    for place in places:
        doors = Doors(place, tables, folder / f"doors-{place.dialect}")
        own = sample([case for case in cases if case.engine == place.dialect], count)
        for case in own:
            for door, verdict in doors.verdicts(case).items():
                right = verdict == ("allowed" if case.allowed else "denied")
                rows.append((door, place.dialect, case.allowed, right))
                if not right:
                    wrong.append(f"{door}, {place.dialect}, {case.id}: {verdict}")
    table = [
        {"front end": door, "engine": engine}
        | {
            f"{'allowed' if allowed else 'denied'} of {word}": f"{good} of {total}"
            for allowed, word in ((False, "to be denied"), (True, "to be allowed"))
            for good, total in [_share(rows, door, engine, allowed)]
        }
        for door, engine in dict.fromkeys((row[0], row[1]) for row in rows)
    ]
    print("\nThrough each front end\n")
    print_table(table)
    for line in wrong:
        print(f"  {line}")
    report["front ends"], report["front end exceptions"] = table, wrong
    return len(wrong)


def _share(
    rows: Iterable[tuple[str, str, bool, bool]], door: str, engine: str, allowed: bool
) -> tuple[int, int]:
    own = [right for d, e, a, right in rows if (d, e, a) == (door, engine, allowed)]
    return sum(own), len(own)


def _print_speeds(measured: Sequence[Speed], report: dict[str, Any]) -> None:
    print("\nThe guard alone, ms a judgement\n")
    rows = [
        {"texts": s.of, "count": s.count, "p50": round(s.p50, 2)}
        | {"p99": round(s.p99, 2), "max": round(s.longest, 1)}
        for s in measured
    ]
    print_table(rows)
    report["guard ms"] = rows


def _print_gold(found: Sequence[Gold], report: dict[str, Any]) -> None:
    print("\nGold queries\n")
    rows = [
        {"file": g.file, "distinct queries": g.queries, "that execute": g.executed}
        | {"allowed": g.executed - len(g.refused)}
        for g in found
    ]
    print_table(rows)
    for one in found:
        for db, sql, reason in one.refused:
            print(f"  {db}: {reason}: {sql[:150]}")
    report["gold"] = [asdict(one) for one in found]


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """A Markdown table of rows that have the same keys."""
    if not rows:
        return
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print()


if __name__ == "__main__":
    main()
