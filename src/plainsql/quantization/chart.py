"""The comparison as a picture: four measures beside each other, a bar for each method."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plainsql.errors import UsageError
from plainsql.quantization.compare import MEGABYTE, Comparison, Row

COLOR, FIRST = "#4c72b0", "#a0a0a0"  # the first bar is what the others are compared with


def write_chart(comparison: Comparison, path: Path) -> None:
    """Draw the measured rows. Raises `UsageError` where the file can't be written."""
    rows = [row for row in comparison.rows if row.measured is not None]
    panels = {
        "weights on disk, MB": [row.size / MEGABYTE for row in rows],
        "peak memory, MB": [_memory(row) for row in rows],
        "ms a question": [row.measured.ms for row in rows if row.measured],
        f"{comparison.rule or 'right'}, %": [100 * (row.accuracy or 0) for row in rows],
    }
    # An Agg canvas of its own: pyplot would keep state and might look for a display.
    figure = Figure(figsize=(13, 1.6 + 0.4 * max(len(rows), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (title, values) in zip(axes, panels.items(), strict=True):
        bars = axis.barh(
            [row.method for row in rows], values, color=[FIRST] + [COLOR] * (len(rows) - 1)
        )
        axis.bar_label(bars, fmt="%.4g", padding=3)
        axis.set_title(title)
        axis.margins(x=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()  # the first row of the table on top
    remarks = dict.fromkeys(f"{row.method}: {row.remark}" for row in rows if row.remark)
    title = f"{Path(comparison.source).name}, {comparison.questions} questions"
    figure.suptitle("\n".join([title, "; ".join(remarks)]).strip())
    _save(figure, path)


def _memory(row: Row) -> float:
    return row.measured.memory / MEGABYTE if row.measured else 0.0


def _save(figure: Figure, path: Path) -> None:
    try:
        # Without a date the same table gives the same file.
        with mpl.rc_context({"svg.hashsalt": "plainsql"}):
            figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:  # ValueError: an ending matplotlib doesn't know
        raise UsageError(
            f"{path}: can't be written: {error}", hint="The picture may be .png, .svg or .pdf."
        ) from error
