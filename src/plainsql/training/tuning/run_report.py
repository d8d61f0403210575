"""What a run leaves to read: run.json for machines, report.md and curves.png for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plainsql.training.tuning.checkpoints import failed_save, write_whole
from plainsql.training.tuning.config import TrainConfig
from plainsql.training.tuning.curves import plot_curves, read_metrics
from plainsql.training.tuning.run_setup import Run


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a run ended. `accuracy` and `eval_loss` are those of the model in `best`."""

    best: Path
    out: Path
    method: str
    steps: int
    best_step: int
    accuracy: float | None  # None: nothing was held out, or evaluation was off
    accuracy_rule: str  # "execution accuracy" or "exact match"
    eval_loss: float | None
    train_loss: float
    trainable: int
    total: int
    examples: int
    tokens: int
    seconds: float  # of training, without evaluation and saving
    peak_memory_mb: float
    stopped_early: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The object that `train --json` prints."""
        return {**asdict(self), "best": str(self.best), "out": str(self.out)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainReport:
        """What `to_dict` made."""
        paths = {"best": Path(values["best"]), "out": Path(values["out"])}
        return cls(**{**values, **paths})


def markdown(report: TrainReport, config: TrainConfig, notes: Mapping[str, Any]) -> str:
    """report.md. `notes` are tables to add, by title: each a mapping of name to value."""
    parts = [
        f"# {config.base}, {config.method}\n",
        _table(_outcome(report)),
        f"![Loss and accuracy over steps](curves.png)\n\n`{_use(report)}`\n",
    ]
    for title, values in notes.items():
        parts.append(f"## {title}\n\n{_table(values)}")
    parts.append("## Settings\n\n```toml\n" + config.to_toml() + "```\n")
    return "\n".join(parts)


def _use(report: TrainReport) -> str:
    return f'plainsql ask "…" -d DB --translator {report.best}'


def _outcome(report: TrainReport) -> dict[str, Any]:
    share = 100 * report.trainable / max(report.total, 1)
    accuracy = "not measured" if report.accuracy is None else f"{100 * report.accuracy:.1f} %"
    early = ", stopped early" if report.stopped_early else ""
    return {
        report.accuracy_rule or "accuracy": accuracy,
        "loss in validation": "not measured" if report.eval_loss is None else report.eval_loss,
        "loss in training": report.train_loss,
        "best step": f"{report.best_step} of {report.steps}{early}",
        "trained weights": f"{report.trainable:,} of {report.total:,} ({share:.2f} %)",
        "examples": f"{report.examples:,}",
        "tokens": f"{report.tokens:,}",
        "time in training": f"{report.seconds:.0f} s",
        "peak memory": f"{report.peak_memory_mb:,.0f} MB",
    }


def summary(report: TrainReport) -> str:
    """The outcome as aligned lines, for a terminal."""
    rows = {"best model": report.best, **_outcome(report), "report": report.out / "report.md"}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in rows.items())


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {name} | {_cell(value)} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    return " ".join(str(value).split()).replace("|", "\\|")


# --- files -----------------------------------------------------------------------


def write_beginning(run: Run) -> None:
    """config.toml and run.json, before the first step. Raises `TrainingError`."""
    header = f"plainsql train --config {run.folder.config}"
    try:
        write_whole(run.folder.config, run.config.to_toml(header))
        run.folder.write_run(run.facts)
    except OSError as error:
        raise failed_save(run.folder, error) from error


def write_end(run: Run, report: TrainReport, lengths: dict[str, Any]) -> None:
    """The picture, the report, and the mark that the run is finished. Raises `TrainingError`."""
    notes = {"Data": _data_notes(run, lengths), "Versions": run.facts["versions"]}
    title = f"{run.config.base}, {run.config.method}"
    try:
        plot_curves(read_metrics(run.folder.metrics), run.folder.curves, title)
        write_whole(run.folder.report, markdown(report, run.config, notes))
        run.folder.write_run({**run.facts, "finished": True, "outcome": report.to_dict()})
    except OSError as error:
        raise failed_save(run.folder, error) from error


def _data_notes(run: Run, lengths: dict[str, Any]) -> dict[str, Any]:
    hashes = {f"sha256 of {name}": digest for name, digest in run.facts["data_sha256"].items()}
    prepared = run.prepared.manifest.get("report", {})
    kept = {name: value for name, value in prepared.items() if isinstance(value, int | float | str)}
    return {"folder": run.prepared.folder, **kept, **lengths, **hashes}
