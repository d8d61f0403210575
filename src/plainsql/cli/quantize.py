"""plainsql quantize: smaller weights, and what each way to get them costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plainsql.cli.output import emit, note, print_json, print_rows
from plainsql.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from plainsql.quantization.compare import Comparison, Progress
    from plainsql.quantization.report import QuantizeReport

# Named here too: the list in quantization.methods can't be imported without torch's room.
METHODS = (
    "nf4", "nf4-dq", "int8", "torchao-int8", "torchao-int4",
    "gguf-q8_0", "gguf-q4_0", "onnx-int8",
)  # fmt: skip
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_ONE = "MODEL"  # the hidden command that a model's name stands for


class QuantizeGroup(click.Group):
    """`compare` is a command; any other word is the model to quantize."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["compare"]:
            return super().parse_args(ctx, args)
        asked = not args or "--help" in args
        return super().parse_args(ctx, ["--help"] if asked else [_ONE, *args])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["MODEL --method METHOD --out DIR | compare MODEL --data DIR"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The flags of both uses, since most readers look for them here."""
        titles = {_ONE: "Options", "compare": "Options of compare"}
        for name, title in titles.items():
            options = (p for p in self.commands[name].params if isinstance(p, click.Option))
            found = (option.get_help_record(ctx) for option in options)
            with formatter.section(title):
                formatter.write_dl([record for record in found if record is not None])


@click.group("quantize", cls=QuantizeGroup)
def command() -> None:
    """Write MODEL with smaller weights, and say what that did to it.

    MODEL is a folder, the output of plainsql train (an adapter is merged first), a Hub
    id, or a parser. METHOD is, for language models:

    \b
    nf4           4 bits; bitsandbytes
    nf4-dq        4 bits, scales quantized too: the smallest for transformers
    int8          8 bits; bitsandbytes
    torchao-int8  8 bits, activations too: fast on CPUs
    torchao-int4  the numbers of 4 bits, stored as 8: to measure, saves no more
    gguf-q8_0     8 bits for llama.cpp (Llama, Mistral, Qwen, Gemma)
    gguf-q4_0     4 bits for llama.cpp
    and for a parser:
    onnx-int8     8 bits

    "compare" quantizes by each method and asks each result the held-out questions of
    prepared data, in a process of its own: size, memory, time, right answers.

    \b
    plainsql quantize runs/concerts --method nf4-dq --out small
    plainsql quantize runs/concerts --method gguf-q4_0 --out for-llama-cpp
    plainsql quantize compare runs/concerts --data prepared --chart methods.png
    plainsql quantize compare runs/concerts --methods nf4-dq,int8 --data prepared
    plainsql quantize compare parser --data prepared --limit 200
    """


@command.command(_ONE, hidden=True)
@click.argument("model")
@click.option("--method", required=True, type=click.Choice(METHODS), help="How; see above.")
@click.option("--out", required=True, type=_FOLDER, help="The folder to write.")
@click.option("--force", is_flag=True, help="Replace a model that lies in --out.")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps. [default: auto]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def one(model: str, method: str, out: Path, force: bool, device: str, as_json: bool) -> None:
    """Quantize MODEL."""
    with needs_extra("plainsql quantize"):
        from plainsql.quantization.quantize import quantize
    report = quantize(model, out, method, force=force, device=device)
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)


@contextmanager
def needs_extra(feature: str) -> Iterator[None]:
    """Silence the libraries that are imported inside, and say which extra a missing one is in."""
    from plainsql.translators.language_model.libraries import quiet

    quiet()
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("plainsql"):
            raise
        raise MissingExtra(feature, "train") from error


def _show(report: QuantizeReport) -> None:
    smaller = report.bytes_before / max(report.bytes_after, 1)
    before, after = (f"{size / 1e6:.1f} MB" for size in (report.bytes_before, report.bytes_after))
    emit(f"{report.out}: {report.source} by {report.method}")
    rows: list[tuple[str, str]] = [
        ("weights", f"{before} to {after}, {smaller:.1f} times smaller"),
        ("error of the logits", f"{100 * report.error:.2g} %"),
    ]
    if report.agreement is not None:
        rows.append(("same likeliest token", f"{100 * report.agreement:.1f} %"))
    print_rows(("measured", "value"), [*rows, ("time", f"{report.seconds:.1f} s")])
    if report.method == "torchao-int4":
        note("The weights have the values of 4 bits, but each is stored in 8.")


@command.command("compare")
@click.argument("model")
@click.option("--methods", default="", metavar="A,B", help="Which. [default: all that apply]")
@click.option("--data", required=True, type=_FOLDER, help="Prepared data with the questions.")
@click.option("--databases", type=_FOLDER, help="Their databases. [default: those of --data]")
@click.option("--limit", type=click.IntRange(min=1), help="Questions to ask. [default: all]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Which of them. [default: 0]")
@click.option("--device", default="auto", help="auto, cpu, cuda or mps. [default: auto]")
@click.option("--keep", type=_FOLDER, help="Keep the quantized models in this folder.")
@click.option("--json", "as_json", type=_FILE, help="Write the table here.")
@click.option("--chart", type=_FILE, help="Draw it here: .png, .svg or .pdf.")
def compare_command(model: str, methods: str, **flags: Any) -> None:
    """Compare ways to quantize MODEL by what they cost and what they get right.

    Each result is asked the questions one at a time, greedily, in a process of its own.
    Right is what returns the gold rows; where the databases aren't at hand, what is the
    same statement. The first row is the model as it is.

    \b
    plainsql quantize compare runs/concerts --data prepared --chart methods.png
    plainsql quantize compare parser --data prepared --limit 200
    """
    with needs_extra("plainsql quantize"):
        from plainsql.quantization.chart import write_chart
        from plainsql.quantization.compare import Options, compare, write_json

    options = Options(
        data=str(flags["data"]),
        databases=str(flags["databases"] or ""),
        limit=flags["limit"] or 0,
        seed=flags["seed"],
        device=flags["device"],
        keep=flags["keep"],
    )
    for path in (flags["as_json"], flags["chart"]):
        _check_writable(path)
    with _progress() as progress:
        table = compare(model, options, [m for m in methods.split(",") if m], progress)
    _show_table(table)
    if flags["as_json"]:
        write_json(table, flags["as_json"])
    if flags["chart"]:
        write_chart(table, flags["chart"])


def _check_writable(path: Path | None) -> None:
    """Hours of measuring must not end in a folder that isn't there."""
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no such folder.", hint="Make it first.")


@contextmanager
def _progress() -> Iterator[Progress]:
    """What is being measured, on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing", total=None)
        yield lambda name, done, total: bar.update(
            task, description=name, completed=done, total=total
        )


def _show_table(table: Comparison) -> None:
    print_rows(table.columns, table.cells())
    note(f"{table.questions} questions, judged by {table.rule}.")
