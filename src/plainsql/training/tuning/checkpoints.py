"""Checkpoints that are there whole or not at all, and the folder a run lives in.

A checkpoint is written below `checkpoints/.partial`, listed with the size of every
file in `complete.json`, flushed to the disk, and renamed. What a crash or a full
disk leaves behind has no such list, and is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from plainsql.errors import TrainingError, UsageError

COMPLETE = "complete.json"
PARTIAL = ".partial"
PREFIX = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands at a checkpoint, beside weights, optimizer and generators."""

    best_step: int = 0  # 0: no model was evaluated yet
    best_accuracy: float = 0.0
    best_loss: float = 0.0
    stale: int = 0  # evaluations since the best one
    tokens: int = 0  # seen in training so far
    seconds: float = 0.0  # of training so far, those before a resume included
    peak_memory_mb: float = 0.0

    def is_beaten_by(self, accuracy: float, loss: float) -> bool:
        """Whether a model of that accuracy is better; ties are decided by the loss."""
        if not self.best_step:
            return True
        return (accuracy, -loss) > (self.best_accuracy, -self.best_loss)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run, by name."""

    path: Path

    @property
    def best(self) -> Path:
        """The best model so far, complete enough to be loaded."""
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        """What `--resume` continues from."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The settings, as `plainsql train --config` reads them."""
        return self.path / "config.toml"

    @property
    def run(self) -> Path:
        """Seed, versions, hashes of the data, and the outcome."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The run as a page for people."""
        return self.path / "report.md"

    @property
    def curves(self) -> Path:
        """The course of loss and accuracy, as a picture."""
        return self.path / "curves.png"

    def read_run(self) -> dict[str, Any]:
        """What `run.json` holds; {} where there is none that can be read."""
        try:
            found = json.loads(self.run.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_run(self, values: dict[str, Any]) -> None:
        """Replace `run.json` in one step. Raises OSError."""
        write_whole(self.run, json.dumps(values, indent=1) + "\n")

    def in_use(self) -> bool:
        """Whether a run, or anything with the name of its files, lies here."""
        return any(
            path.exists()
            for path in (self.best, self.checkpoints, self.run, self.metrics, self.config)
        )

    def clear(self) -> None:
        """Remove the files of a run, and nothing else."""
        for folder in (self.best, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.metrics, self.config, self.run, self.report, self.curves):
            file.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises OSError."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def check_unused(folder: RunFolder, *, resume: bool, force: bool) -> None:
    """Refuse to write over a run. Raises `UsageError` that says which flag allows it."""
    if resume and force:
        raise UsageError("--resume continues a run and --force discards it: give one of them.")
    if resume or force or not folder.in_use():
        return
    if folder.read_run().get("finished"):
        raise UsageError(
            f"{folder.path} holds a finished run.",
            hint="Choose another --out, or --force to discard that run.",
        )
    raise UsageError(
        f"{folder.path} holds an unfinished run.",
        hint="--resume continues it, --force discards it; or choose another --out.",
    )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    step: int

    def standing(self) -> Standing:
        """Where the run stood when it was written."""
        return Standing(**_listed(self.path)["standing"])

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The checkpoint in a folder; None when it is not whole."""
        number = path.name.removeprefix(PREFIX)
        if not number.isdecimal() or not _is_whole(path):
            return None
        return cls(path, int(number))


def _listed(path: Path) -> dict[str, Any]:
    found = json.loads((path / COMPLETE).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path / COMPLETE} is not an object")
    return found


def _is_whole(path: Path) -> bool:
    """Whether every file is there with the size it was written with."""
    try:
        sizes = _listed(path)["files"]
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def complete_checkpoints(folder: Path) -> list[Checkpoint]:
    """All whole checkpoints, oldest first."""
    found = (Checkpoint.at(path) for path in folder.glob(f"{PREFIX}*"))
    return sorted((item for item in found if item), key=lambda item: item.step)


def last_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint: half-written ones are passed over."""
    found = complete_checkpoints(folder)
    return found[-1] if found else None


def commit(partial: Path, target: Path, standing: Standing) -> None:
    """Make a written folder a checkpoint: list its files, flush them, rename it.

    Raises OSError; `target` is then as it was before.
    """
    files = {str(path.relative_to(partial)): path for path in _files(partial)}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    write_whole(partial / COMPLETE, json.dumps({"standing": asdict(standing), "files": sizes}))
    for path in files.values():
        _flush(path)
    if target.exists():  # half-written by a version without this order, or damaged
        shutil.rmtree(target)
    partial.rename(target)
    _flush(target.parent)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows can't open folders, and needs no flush of names
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` whole checkpoints, and what is not whole."""
    whole = [item.path for item in complete_checkpoints(folder)]
    for path in folder.glob(f"{PREFIX}*"):
        if path not in whole[-keep:]:
            shutil.rmtree(path, ignore_errors=True)


def discard_partial(folder: Path) -> None:
    """Give back the room that an unfinished checkpoint takes."""
    with suppress(OSError):
        shutil.rmtree(folder / PARTIAL)


def failed_save(folder: RunFolder, error: Exception) -> TrainingError:
    """The error for a checkpoint that can't be written: says what is still there."""
    last = last_checkpoint(folder.checkpoints)
    kept = f"The last good checkpoint is {last.path}" if last else "No checkpoint was written yet"
    best = f", the best model {folder.best}" if folder.best.is_dir() else ""
    return TrainingError(
        f"Saving failed: {' '.join(str(error).split())[:300]}. {kept}{best}.",
        hint="Free some space or lower --save-total-limit; the command with --resume goes on.",
    )
