"""What must be known to repeat a run, and which of several processes this one is."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plainsql import __version__
from plainsql.training.tuning.config import TrainConfig

PACKAGES = (
    "torch", "transformers", "peft", "bitsandbytes", "torchao", "datasets", "accelerate",
)  # fmt: skip
RUN_VERSION = 1


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_facts(
    config: TrainConfig, hashes: Mapping[str, str], command: Sequence[str]
) -> dict[str, Any]:
    """What must be known to repeat a run; `run.json` holds it from the start."""
    return {
        "format_version": RUN_VERSION,
        "finished": False,
        "command": list(command),
        "seed": config.seed,
        "config": asdict(config),
        "data_sha256": dict(hashes),
        "processes": processes(),
        "versions": versions(),
    }


def processes() -> int:
    """How many processes train together; the launcher says so in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes."""
    return int(os.environ.get("RANK", "0")) == 0


def versions() -> dict[str, str]:
    """Of plainsql, Python and the packages that decide what is computed."""
    found = {"plainsql": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {**found, "platform": f"{sys.platform} {platform.machine()}"}


def command_line() -> list[str]:
    """The command that started this process, for run.json."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
