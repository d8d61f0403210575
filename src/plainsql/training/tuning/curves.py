"""The course of a run as a picture: losses, accuracy and learning rate over steps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Line = Mapping[str, Any]  # of metrics.jsonl


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last one that a crash cut off is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def series(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one name, where a line has it."""
    found = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    return [step for step, _ in found], [value for _, value in found]


def plot_curves(lines: Sequence[Line], path: Path, title: str = "") -> None:
    """Write the picture (PNG, 900 by 600 pixels). Raises OSError.

    note: the figure is drawn by its own canvas, not by pyplot, whose state is
    shared by the whole process.
    """
    figure = Figure(figsize=(9, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(*series(lines, "loss"), color="tab:blue", label="loss in training")
    above.plot(*series(lines, "eval_loss"), "o-", color="tab:orange", label="loss in validation")
    above.set(ylabel="loss (nats a token)", title=title)
    above.legend(loc="upper right")
    below.plot(*series(lines, "accuracy"), "o-", color="tab:green", label="accuracy")
    below.set(ylabel="accuracy", ylim=(-0.02, 1.02), xlabel="step")
    rates = below.twinx()
    rates.plot(*series(lines, "lr"), ":", color="tab:gray")
    rates.set_ylabel("learning rate (dotted)")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    canvas.print_png(path)
