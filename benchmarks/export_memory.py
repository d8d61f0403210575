"""How much memory and time `plainsql run` takes to write a large result to a file.

    python benchmarks/export_memory.py -d DB "SELECT * FROM big" ["SELECT * FROM big LIMIT 10"]

Each form is written twice, in processes of their own: for the second query, a small
one, and for the first. What the peak memory of the program and of its workers grows
by is what the rows cost; the rest is Python, the engine's driver and pyarrow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FORMS = ("csv", "jsonl", "parquet")
_EVERY = 0.02  # seconds between two looks at the processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--db", required=True)
    parser.add_argument("sql")
    parser.add_argument("small", nargs="?", default="")
    options = parser.parse_args()
    small = options.small or f"{options.sql} LIMIT 10"
    print(f"{'form':<8}  {'seconds':>7}  {'file MB':>7}  {'peak MB, ten rows':>17}  {'more':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            path = Path(folder) / f"out.{form}"
            base, _ = measured(options.db, small, form, path)
            peak, seconds = measured(options.db, options.sql, form, path)
            size = path.stat().st_size / 1e6
            print(f"{form:<8}  {seconds:7.1f}  {size:7.1f}  {base:17.0f}  {peak - base:+5.0f}")


def measured(db: str, sql: str, form: str, path: Path) -> tuple[float, float]:
    """Peak memory, in MB, of the program and its workers together, and its seconds."""
    output = ["--parquet", str(path)] if form == "parquet" else [f"--{form}", "-o", str(path)]
    command = [sys.executable, "-m", "plainsql", "run", sql, "-d", db, *output]
    peaks: dict[int, float] = {}
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while process.poll() is None:
        for pid in family(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), peak_of(pid))
        time.sleep(_EVERY)
    seconds = time.perf_counter() - started
    if process.returncode:
        assert process.stderr is not None
        sys.exit(process.stderr.read().decode())
    return sum(peaks.values()), seconds


def family(pid: int) -> Iterator[int]:
    """A process and those it started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in children.read_text().split():
                yield from family(int(child))


def peak_of(pid: int) -> float:
    """The most memory a process had so far, in MB; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
