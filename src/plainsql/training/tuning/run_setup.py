"""A run before its first step: everything that can be checked without reading weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from plainsql.errors import UsageError
from plainsql.training.data.prepared import PreparedData, load_prepared
from plainsql.training.tuning.checkpoints import (
    Checkpoint,
    RunFolder,
    Standing,
    check_unused,
    last_checkpoint,
)
from plainsql.training.tuning.config import TrainConfig, flag
from plainsql.training.tuning.run_facts import is_main_process, processes, run_facts, sha256
from plainsql.translators.language_model.devices import choose_device
from plainsql.translators.language_model.loading import quiet
from plainsql.translators.language_model.model_info import PromptFormat


@dataclass(frozen=True, slots=True)
class Run:
    """One run before its first step: the settings, the data, and where it starts."""

    config: TrainConfig
    folder: RunFolder
    prepared: PreparedData
    prompt: PromptFormat
    device: str
    start: Checkpoint | None
    facts: dict[str, Any]

    @property
    def standing(self) -> Standing:
        """Where the checkpoint left off; the beginning where there is none."""
        if self.start is None:
            return Standing()
        standing = self.start.standing()
        # Killed between two renames of saving it: the next evaluation's model is the best.
        return standing if self.folder.best.is_dir() else replace(standing, best_step=0)


def setup(
    config: TrainConfig, *, resume: bool = False, force: bool = False, command: Sequence[str] = ()
) -> Run:
    """Check all that can be checked without weights. Raises as `train` does."""
    quiet()
    for name in ("base", "data", "out"):
        if not getattr(config, name):
            raise UsageError(f"{flag(name)} is missing.", hint="See plainsql train --help.")
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    prepared = load_prepared(Path(config.data))
    hashes = {path.name: sha256(path) for path in (prepared.train, prepared.validation)}
    folder = RunFolder(Path(config.out))
    if is_main_process():
        check_unused(folder, resume=resume, force=force)
        if force:
            folder.clear()
    facts = run_facts(config, hashes, command)
    earlier = folder.read_run() if resume else {}
    if earlier:
        _check_same(config, earlier, facts)
        facts = {**facts, **{name: earlier[name] for name in _KEPT if name in earlier}}
    start = last_checkpoint(folder.checkpoints) if resume else None
    prompt = prompt_format(config, prepared.prompt)
    return Run(config, folder, prepared, prompt, device, start, facts)


# What a resumed run takes over from run.json.
_KEPT = ("finished", "outcome", "base_fingerprint")


def prompt_format(config: TrainConfig, prepared: PromptFormat) -> PromptFormat:
    """The format the data was prepared for, with what the settings change."""
    names = {item.name for item in fields(PromptFormat)}
    given = {name: getattr(config, name) for name in names if getattr(config, name, None)}
    return replace(prepared, **given)


def _check_same(config: TrainConfig, earlier: dict[str, Any], facts: dict[str, Any]) -> None:
    """Refuse to resume what would not be the same run."""
    changed = config.changes(earlier.get("config", {}))
    for name, digest in facts["data_sha256"].items():
        if earlier.get("data_sha256", {}).get(name, digest) != digest:
            changed.append(f"{name} has other content")
    if earlier.get("processes", 1) != processes():
        changed.append(f"{earlier['processes']} -> {processes()} processes")
    if changed:
        raise UsageError(
            f"The run can't be resumed, since it has changed: {'; '.join(changed)}.",
            hint="Resume with the same settings and data, or start anew with --force.",
        )


def method_options(config: TrainConfig, device: str) -> Any:
    """The settings that decide how the model is loaded and what of it is trained."""
    from plainsql.training.tuning.loop import precision
    from plainsql.training.tuning.methods import MethodOptions

    names = {item.name for item in fields(MethodOptions)}
    given = {name: getattr(config, name) for name in names if hasattr(config, name)}
    if config.compute_dtype == "auto":  # one arithmetic for adapters and 4-bit weights
        given["compute_dtype"] = precision(config, device)
    return MethodOptions(**given)
