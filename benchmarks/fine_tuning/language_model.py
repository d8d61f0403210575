"""What each way to fine-tune and quantize costs and brings, on a model made on the spot.

    python benchmarks/fine_tuning/language_model.py --wikisql DIR --out DIR

pre-trains a Llama of 9 million parameters on WikiSQL in a shorthand (see
pretraining.py), then tunes it to plainsql's own prompt, DDL and SQL, on tables that
pre-training never saw, by each method; then quantizes the result in each way. All
is measured on questions over tables of neither part: the share for which exactly
the gold query is written. DIR/train.jsonl is the WikiSQL file.

Every step is a process of its own, and is skipped where DIR/results.json has its
result: the same command goes on after an interruption. `--smoke` does all steps with
next to no data in a few minutes. The tables go to stdout and to OUT/measured.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import plan
import tables

HOUR = 60.0  # minutes that the default sizes take
TASKS = Path(__file__).with_name("tasks.py")


def main() -> None:
    """Do the steps that have no result yet, then print the tables."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = _sizes(options)
    places = plan.Places(
        rows=options.wikisql / "train.jsonl" if options.wikisql.is_dir() else options.wikisql,
        out=options.out,
        base=options.base or options.out / "base",
    )
    results = Results(options.out / "results.json", {"sizes": asdict(sizes)})
    for step in plan.steps(places, sizes, pretrained=options.base is not None):
        if step.name not in results.steps:
            results.add(step.name, run(step, options.out, sizes.threads))
    base = {"base": _pretraining(places.base), **results.steps}
    text = tables.markdown(base, sizes, _command())
    (options.out / "measured.md").write_text(text, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wikisql", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--minutes", type=float, default=HOUR, help="what the run may take on two idle cores [60]"
    )
    parser.add_argument("--questions", type=int, default=0, help="asked in each test [500]")
    parser.add_argument("--base", type=Path, help="a base of an earlier run: no pre-training")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="all steps, next to no data")
    return parser.parse_args()


def _sizes(options: argparse.Namespace) -> plan.Sizes:
    sizes = plan.SMOKE if options.smoke else plan.Sizes().scaled(options.minutes / HOUR)
    questions = options.questions or sizes.test
    return replace(sizes, threads=options.threads, seed=options.seed, test=questions)


def _pretraining(base: Path) -> dict[str, Any]:
    """How a base of an earlier run was made, where that is written down."""
    path = base / "pretraining.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


class Results:
    """The results so far, in a file that is whole at any time."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings
        self.steps: dict[str, dict[str, Any]] = {}
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known["settings"] != settings:
                sys.exit(f"{path} is of other settings: remove it, or give another --out.")
            self.steps = known["steps"]

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Keep the result of one more step."""
        self.steps[name] = result
        text = json.dumps({"settings": self._settings, "steps": self.steps}, indent=1)
        partial = self._path.with_suffix(".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(self._path)


def run(step: plan.Step, out: Path, threads: int) -> dict[str, Any]:
    """The result of one step, done in a process of its own."""
    asked, result = out / "task.json", out / "result.json"
    asked.write_text(json.dumps({"threads": threads, **step.task}), encoding="utf-8")
    result.unlink(missing_ok=True)
    print(f"{time.strftime('%H:%M:%S')} {step.name}", file=sys.stderr, flush=True)
    # stdout is for the tables alone
    command = [sys.executable, str(TASKS), str(asked), str(result)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode or not result.is_file():
        sys.exit(f"The step {step.name!r} failed; see above. The same command tries it again.")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    for path in (asked, result):
        path.unlink()
    return found


def _command(arguments: Sequence[str] = ()) -> str:
    """How the run was started, without the places of the data."""
    given = list(arguments or sys.argv[1:])
    shown = {"--wikisql": "DIR", "--out": "DIR", "--base": "DIR"}
    words = [shown.get(given[at - 1], word) if at else word for at, word in enumerate(given)]
    return " ".join(["python benchmarks/fine_tuning/language_model.py", *words])


if __name__ == "__main__":
    main()
