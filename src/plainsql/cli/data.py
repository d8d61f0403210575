"""plainsql data: pairs of question and SQL, prepared for training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plainsql.cli.output import aligned, emit, note, print_json

if TYPE_CHECKING:
    from plainsql.training.data.options import PrepareOptions

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_OUT = click.Path(path_type=Path)
_TOKENIZER_HELP = "Measure lengths by this tokenizer: a folder or a Hub id. [default: an estimate]"


@click.group("data")
def command() -> None:
    """Prepare pairs of question and SQL for training.

    \b
    plainsql data prepare pairs.csv --db shop.sqlite --split-by query --out prepared
    plainsql data show prepared
    plainsql data report prepared --tokenizer Qwen/Qwen2.5-Coder-0.5B
    """


@command.command("prepare")
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", type=_OUT, required=True, metavar="DIR", help="The folder to write.")
@click.option("--force", is_flag=True, help="Replace what was prepared there before.")
@click.option(
    "--format",
    metavar="NAME",
    default="auto",
    help="spider, bird, wikisql, sql-create-context or pairs. [default: told from the fields]",
)
@click.option("--databases", type=_FOLDER, help="DIR/<db>/<db>.sqlite or DIR/<db>.sqlite.")
@click.option("-d", "--db", type=_FILE, help="The database of all rows that name none.")
@click.option("--tables", type=_FILE, help="A tables.json with the schemas, in Spider's form.")
@click.option(
    "--hub-split", default="train", metavar="NAME", help="Of a Hub data set. [default: train]"
)
@click.option("--style", default="instruct", help="instruct, chat or minimal. [default: instruct]")
@click.option("--schema-form", default="ddl", help="ddl, text or samples. [default: ddl]")
@click.option("--dialect", default="sqlite", help="The SQL of the pairs. [default: sqlite]")
@click.option(
    "--preset",
    type=click.Choice(["colab"]),
    help="Lengths for one small GPU: 384 tokens of prompt, 128 of SQL, as by default.",
)
@click.option("--max-input-tokens", type=click.IntRange(min=32), help="[default: 384]")
@click.option("--max-output-tokens", type=click.IntRange(min=8), help="[default: 128]")
@click.option("--tokenizer", default="", metavar="NAME", help=_TOKENIZER_HELP)
@click.option("--evidence", is_flag=True, help="Keep BIRD's evidence with each question.")
@click.option(
    "--validation-fraction",
    type=float,
    default=0.1,
    metavar="X",
    help="About this share of the examples, in whole databases. [default: 0.1]",
)
@click.option("--validation-db", multiple=True, metavar="NAME", help="This database. Repeatable.")
@click.option("--validation", multiple=True, metavar="SOURCE", help="This source. Repeatable.")
@click.option(
    "--split-by",
    type=click.Choice(["database", "query"]),
    default="database",
    help="query: for one database only; no query is on both sides. [default: database]",
)
@click.option(
    "--execute/--no-execute", default=True, help="Run each query on its database, if there is one."
)
@click.option("--timeout", type=float, default=10.0, help="Seconds for a query. [default: 10]")
@click.option("--strict", is_flag=True, help="Stop at the first row that can't be used.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="N rows of each source.")
@click.option("--seed", type=int, default=0, help="Of the choice of databases. [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def prepare_command(as_json: bool, **flags: Any) -> None:
    """Read SOURCES, check every pair, and write examples to train on.

    A source is a .json, .jsonl or .csv file of Spider, BIRD, WikiSQL,
    sql-create-context or of your own (question, sql, and db or schema), or the id
    of a data set on the Hub. Rows that can't be used are counted and listed in
    rejected.jsonl. Databases are only read.

    \b
    plainsql data prepare train_spider.json --databases database --tables tables.json --out spider
    plainsql data prepare pairs.csv --db shop.sqlite --split-by query --out shop
    plainsql data prepare b-mc2/sql-create-context --schema-form text --out contexts
    """
    from plainsql.training.data.prepare import prepare

    options = _options(flags)
    with _progress_bar() as progress:
        report = prepare(options, progress)
    for warning in report.warnings:
        note(f"note: {warning}")
    _print_report(report.to_dict(), as_json)
    if not as_json:
        note(f"Written to {options.out}. Next: plainsql data show {options.out}")


@command.command("show")
@click.argument("folder", type=_OUT)
@click.option("-n", "count", type=click.IntRange(min=1), default=3, help="Examples. [default: 3]")
@click.option("--validation", is_flag=True, help="Of the validation side.")
@click.option("--tokenizer", default="", metavar="NAME", help=_TOKENIZER_HELP)
def show_command(folder: Path, count: int, validation: bool, tokenizer: str) -> None:
    """Print the first prompts and responses of FOLDER, as a model will read them."""
    from plainsql.training.data.measuring import prompts, tokenizer_of
    from plainsql.training.data.prepared import load_prepared

    data = load_prepared(folder)
    path = data.validation if validation else data.train
    name = tokenizer or data.manifest.get("tokenizer", "")
    if data.prompt.style == "chat" and not name:
        note("note: a stand-in for the chat template; --tokenizer NAME shows the model's own.")
    measure = tokenizer_of(name)
    for number, (prompt, response) in enumerate(prompts(path, data, measure, count), 1):
        note(f"--- example {number}: {prompt.tokens} tokens of prompt ---")
        emit(prompt.text + response + "\n")


@command.command("report")
@click.argument("folder", type=_OUT)
@click.option("--tokenizer", default="", metavar="NAME", help=_TOKENIZER_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def report_command(folder: Path, tokenizer: str, as_json: bool) -> None:
    """Print the report of FOLDER again; with --tokenizer, with the lengths by that one."""
    from dataclasses import asdict

    from plainsql.training.data.measuring import measure, tokenizer_of
    from plainsql.training.data.prepared import load_prepared

    data = load_prepared(folder)
    report = dict(data.manifest["report"])
    if tokenizer:
        counted_by = tokenizer_of(tokenizer)
        for name, path in (("train", data.train), ("validation", data.validation)):
            report[name] = asdict(measure(path, data, counted_by)) | {
                "groups": report[name]["groups"]
            }
        report["counted_by"] = tokenizer
    _print_report(report, as_json)


def _options(flags: dict[str, Any]) -> PrepareOptions:
    from plainsql.settings import load_settings
    from plainsql.training.data.options import PRESETS, PrepareOptions
    from plainsql.translators.language_model.model_info import PromptFormat

    settings = load_settings()
    lengths: dict[str, Any] = dict(PRESETS[flags.pop("preset") or "colab"])
    lengths |= {name: given for name in lengths if (given := flags.pop(name)) is not None}
    names = ("style", "schema_form", "dialect")
    form = PromptFormat(**lengths, **{name: flags.pop(name) for name in names})
    return PrepareOptions(
        prompt=form,
        validation_dbs=flags.pop("validation_db"),
        cache_dir=settings.cache_dir,
        model=settings.model,
        **flags,
    )


def _print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    from plainsql.training.data.report import summary_rows

    for line in aligned(("what", "found"), list(summary_rows(report))).splitlines()[2:]:
        emit(line)


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int | None], None]]:
    """A function to call after each row; draws only where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
