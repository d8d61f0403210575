"""plainsql merge: an adapter becomes part of its base's weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plainsql.cli.output import emit, print_json, print_rows
from plainsql.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from plainsql.training.tuning.merge import MergeReport
    from plainsql.training.tuning.merge_evaluation import Accuracy

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("merge")
@click.argument("adapter")
@click.option("--out", required=True, type=_FOLDER, help="A new folder for the merged model.")
@click.option(
    "--requantize",
    type=click.Choice(["int8", "nf4", "nf4-dq"]),
    help="Quantize the merged weights again.",
)
@click.option("--dtype", default="auto", help="Of the merged weights. [default: the base's]")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps. [default: auto]")
@click.option("--data", type=_FOLDER, help="Prepared data: measure accuracy before and after.")
@click.option("--databases", type=_FOLDER, help="Their databases. [default: those of --data]")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, help="Questions of --data. [default: 100]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(adapter: str, out: Path, as_json: bool, **flags: Any) -> None:
    """Merge ADAPTER, a folder written by plainsql train, into its base model.

    The result is a complete model that needs no adapter: `transformers`, vLLM and
    plainsql load it as any other. A quantized base is dequantized first, as the adapter
    learned to correct its rounding. What changed is measured on the files written.

    \b
    plainsql merge runs/concerts --out merged
    plainsql merge runs/concerts --out merged-4bit --requantize nf4-dq
    plainsql merge runs/concerts --out merged --data prepared --databases database
    """
    if flags["databases"] and not flags["data"]:
        raise UsageError("--databases needs --data, the questions to ask.")
    report, before, after = _run(adapter, out, flags)
    if as_json:
        accuracies = {"before": before and asdict(before), "after": after and asdict(after)}
        print_json({**asdict(report), "out": str(report.out), **accuracies})
    else:
        _show(report, before, after)


def _run(
    adapter: str, out: Path, flags: dict[str, Any]
) -> tuple[MergeReport, Accuracy | None, Accuracy | None]:
    try:
        from plainsql.training.tuning.merge import merge
        from plainsql.training.tuning.merge_evaluation import measure
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("plainsql"):
            raise
        raise MissingExtra("plainsql merge", "train") from error

    data, databases, device = flags["data"], flags["databases"], flags["device"]

    def accuracy(source: str | Path) -> Accuracy | None:
        return measure(source, data, databases, flags["limit"], device=device) if data else None

    before = accuracy(adapter)
    report = merge(adapter, out, flags["requantize"] or "", dtype=flags["dtype"], device=device)
    return report, before, accuracy(out)


def _show(report: MergeReport, before: Accuracy | None, after: Accuracy | None) -> None:
    weights = report.quantization or report.dtype
    emit(f"{report.out}: {report.method} merged into {report.base}")
    rows: list[tuple[str, str]] = [
        ("weights", f"{weights}, {report.size / 1e6:.1f} MB"),
        ("largest difference of a logit", f"{report.max_difference:.2g}"),
        ("mean difference", f"{report.mean_difference:.2g}"),
        ("same likeliest token", f"{100 * report.agreement:.1f} %"),
    ]
    if before and after:
        rows += [(f"{before.rule}, before", before.shown), (f"{after.rule}, after", after.shown)]
    print_rows(("measured", "value"), rows)
