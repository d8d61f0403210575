"""What each way to tune and to quantize costs and brings, on plainsql's own parser.

    python benchmarks/fine_tuning/parser_methods.py --spider DIR --out DIR

asks Spider's development set (for report only: nothing is chosen by it) and does what a
user with a database of their own does. The ten databases on which the shipped parser was
validated, and not trained, are split by query: it is tuned on the questions of one half,
over all ten together, and asked those of the other, before and after. The settings are
those of `plainsql train --config parser`, the method apart.

Every row is a process of its own and is skipped where OUT/results has its result: the same
command goes on after an interruption. Two rows run at once, each on one thread. About 30
minutes on two idle cores. The table goes to stdout and to OUT/measured.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from plainsql.translators.language_model.libraries import quiet

quiet()  # before the libraries are imported: some speak while they are

from parser_rows import ROWS, Row, prepare  # noqa: E402

from plainsql.evaluation.statistics import bootstrap_interval, compare_paired  # noqa: E402

WORKER = Path(__file__).with_name("parser_rows.py")
REFERENCE = "int8"  # the row that the tuned ones are compared with: what is shipped
NONE = "–"
Results = dict[str, dict[str, Any]]


def main() -> None:
    """Do the rows that have no result yet, then print the table."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    _check_settings(options)
    prepare(options.spider, options.out, options.seed, options.limit)
    (options.out / "results").mkdir(exist_ok=True)
    rows = [row for row in ROWS if not options.rows or row.name in options.rows]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda row: run(row, options), rows))
    text = markdown(_results(options.out))
    (options.out / "measured.md").write_text(text, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spider", type=Path, required=True, metavar="DIR", help="Spider's data")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="a row may take; one that is cut goes on later"
    )
    parser.add_argument("--jobs", type=int, default=2, help="rows at once, one thread each")
    parser.add_argument("--limit", type=int, default=0, help="questions of each kind; 0: all")
    parser.add_argument("--rows", nargs="*", default=[], help="only these rows")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="a setting of the tuning"
    )
    return parser.parse_args()


def _check_settings(options: argparse.Namespace) -> None:
    """Refuse to mix results of different settings in one folder."""
    settings = {"seed": options.seed, "limit": options.limit, "set": options.set}
    known = options.out / "settings.json"
    if known.is_file() and json.loads(known.read_text()) != settings:
        sys.exit(f"{options.out} has results of other settings: give another --out.")
    known.write_text(json.dumps(settings))


def run(row: Row, options: argparse.Namespace) -> None:
    """Measure one row, unless that was done."""
    result = options.out / "results" / f"{row.name}.json"
    if result.is_file():
        return
    task = options.out / "results" / f"{row.name}.task"
    values = {
        "row": row.name,
        "spider": str(options.spider.absolute()),
        "out": str(options.out.absolute()),
        "seed": options.seed,
        "limit": options.limit,
        "threads": 1,
        "tuning": dict(_setting(text) for text in options.set),
    }
    task.write_text(json.dumps(values))
    print(f"{time.strftime('%H:%M:%S')} {row.title}", file=sys.stderr, flush=True)
    command = [sys.executable, str(WORKER), str(task), str(result)]
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        try:
            process.wait(60 * options.minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # a checkpoint is written
    task.unlink()
    if not result.is_file():
        print(f"{row.title}: not finished; the same command goes on.", file=sys.stderr)


def _setting(text: str) -> tuple[str, Any]:
    """ "epochs=2" as a name and a value."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _results(out: Path) -> Results:
    found = {}
    for row in ROWS:
        path = out / "results" / f"{row.name}.json"
        if path.is_file():
            found[row.name] = json.loads(path.read_text())
    return found


# --- the table -------------------------------------------------------------------------------

COLUMNS = (
    "parser", "trained weights", "on disk", "minutes", "memory", "Spider dev, EX",
    "own databases, EX", "of these in float32", "against the shipped one",
)  # fmt: skip


def markdown(results: Results) -> str:
    """The rows that are there, as a table, with what the figures are."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    reference = results.get(REFERENCE, {}).get("test", [])
    for row in ROWS:
        if row.name in results:
            lines.append(" | ".join(_cells(row, results[row.name], reference)))
    return "\n".join(f"| {line} |" for line in lines) + "\n\n" + _legend(results) + "\n"


def _cells(row: Row, found: dict[str, Any], reference: Sequence[bool]) -> list[str]:
    tuned = bool(row.tuning)
    adapter = found.get("adapter_bytes", 0)
    size = f"{found['bytes'] / 1e6:.1f} MB"
    compared = _against(found["test"], reference) if tuned else NONE
    return [
        row.title,
        f"{found['trainable']:,}" if tuned else NONE,
        f"{size} (adapter {adapter / 1e6:.1f} MB)" if adapter else size,
        f"{found['minutes']:.1f}" if tuned else NONE,
        f"{found['training_mb']:,.0f} MB" if tuned else NONE,
        _share(found["dev"]),
        _share(found["test"]),
        _percent(found["test_float"]) if tuned else NONE,
        compared,
    ]


def _percent(right: Sequence[bool]) -> str:
    return f"{100 * sum(right) / max(1, len(right)):.1f}"


def _share(right: Sequence[bool]) -> str:
    """Percent of right answers with a 95 % interval."""
    interval = bootstrap_interval(right)
    return f"{_percent(right)} ({100 * interval.low:.0f}-{100 * interval.high:.0f})"


def _against(right: Sequence[bool], reference: Sequence[bool]) -> str:
    """The difference to the shipped parser on the same questions."""
    if len(right) != len(reference) or not right:
        return NONE
    found = compare_paired(right, reference)
    changed = f"{found.only_first} better, {found.only_second} worse"
    return f"{100 * found.difference:+.1f} ({changed}, p = {found.p_value:.2g})"


def _legend(results: Results) -> str:
    counts = next(iter(results.values()), {"dev": [], "test": []})
    pairs = next((found["examples"] for found in results.values() if "examples" in found), 0)
    return (
        f"EX: execution accuracy in percent with a 95 % interval; {len(counts['dev'])} questions of"
        f" Spider's development set (without wta_1, schemas of tables.json, re-ranked),"
        f" {len(counts['test'])} over the ten databases (as found in their files, not re-ranked:"
        f" the shipped re-ranker was fitted on them). Tuned on {pairs} other questions over the"
        " same databases; no gold query is on both sides. Minutes and memory are those of the"
        " training, on one thread. Tuned parsers are asked as int8."
    )


if __name__ == "__main__":
    main()
