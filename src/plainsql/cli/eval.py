"""plainsql eval: accuracy on a data set of questions and gold SQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from plainsql.cli.options import translator_option
from plainsql.cli.output import note
from plainsql.errors import UsageError
from plainsql.settings import Settings, load_settings

if TYPE_CHECKING:
    from plainsql.evaluation.datasets import Example
    from plainsql.evaluation.report import Report
    from plainsql.evaluation.run import AskOne, Options
    from plainsql.schema.model import Schema
    from plainsql.translators.base import Translator

INTERRUPTED = 130  # what shells report after SIGINT

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("eval")
@click.argument("dataset", type=_FILE)
@click.option(
    "--databases",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of the databases: DIR/<db>/<db>.sqlite or DIR/<db>.sqlite.",
)
@click.option("--tables", type=_FILE, help="A tables.json with the schemas, in Spider's form.")
@click.option("--only-db", multiple=True, metavar="NAME", help="Only this database. Repeatable.")
@click.option("--exclude-db", multiple=True, metavar="NAME", help="Not this one. Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N questions.")
@translator_option
@click.option(
    "--alternatives",
    type=click.IntRange(0, 50),
    default=0,
    metavar="N",
    help="Also count a question as right for the oracle if one of N other readings is.",
)
@click.option("--evidence", is_flag=True, help="Add BIRD's evidence to each question.")
@click.option("--timeout", type=float, default=60.0, help="Seconds for a statement. [default: 60]")
@click.option("--strip-distinct", is_flag=True, help="Remove DISTINCT from both queries.")
@click.option("--predictions", type=_FILE, help="Write the SQL here, one query a line.")
@click.option("--from-predictions", type=_FILE, help="Score this file; ask nothing.")
@click.option("--json", "as_json", type=_FILE, help="Write the report and every outcome here.")
@click.option("--compare", type=_FILE, help="Compare with an earlier --json file.")
def command(dataset: Path, databases: Path, **flags: Any) -> int:
    """Ask every question of DATASET and compare the rows with those of its gold SQL.

    DATASET is a .json of Spider or BIRD, or .jsonl or .csv with the columns
    question, sql and db. Databases are only read. Exit code 0: the report is
    complete, 130: it was interrupted and covers what was asked.

    \b
    plainsql eval dev.json --databases database --tables tables.json
    plainsql eval cases.csv --databases . --json report.json
    plainsql eval dev.json --databases database --from-predictions predicted.sql
    """
    from rich.console import Console

    from plainsql.evaluation.report import compare_with, read_earlier, write_json
    from plainsql.evaluation.report_text import print_report

    _refuse_conflicts(flags)
    earlier = read_earlier(flags["compare"]) if flags["compare"] else None
    report = _report(dataset, databases, flags)
    comparison = None if earlier is None else compare_with(report, earlier)
    print_report(report, Console(), comparison)
    if earlier is not None and comparison is None:
        note("The earlier run has no question in common with this one.")
    if flags["as_json"]:
        write_json(report, flags["as_json"])
    return INTERRUPTED if report.interrupted else 0


def _refuse_conflicts(flags: dict[str, Any]) -> None:
    if flags["from_predictions"] and (flags["alternatives"] or flags["translator"]):
        raise UsageError("--from-predictions asks nobody: drop --alternatives and --translator.")
    if flags["from_predictions"] and flags["predictions"]:
        raise UsageError("--from-predictions and --predictions can't be given together.")


def _report(dataset: Path, databases: Path, flags: dict[str, Any]) -> Report:
    from plainsql.evaluation.asking import Asking
    from plainsql.evaluation.datasets import database_paths, load_dataset, select
    from plainsql.evaluation.run import evaluate

    everything = load_dataset(dataset)
    chosen = select(
        everything, only=flags["only_db"], exclude=flags["exclude_db"], limit=flags["limit"]
    )
    paths = database_paths(databases, (example.db for example in chosen))
    schemas = _schemas(flags["tables"])
    with ExitStack() as opened:
        if flags["from_predictions"]:
            name = flags["from_predictions"].name
            ask_one = _from_file(flags["from_predictions"], chosen, len(everything))
        else:
            asked, settings = _translator(flags)
            asking = opened.enter_context(Asking(asked, settings, warm_up=True))
            name, ask_one = asked.name, asking.ask_one
        return evaluate(
            chosen,
            ask_one,
            paths,
            schemas=schemas,
            options=_options(dataset.name, name, flags),
            predictions=_output(flags["predictions"], opened),
        )


def _translator(flags: dict[str, Any]) -> tuple[Translator, Settings]:
    """The translator to measure, and the settings to ask it with."""
    from plainsql.ask import translator_of

    given = ("translator", "language_model", "answer_cache", "alternatives")
    settings = load_settings({name: flags[name] for name in given})
    return translator_of(settings), settings


def _options(dataset: str, translator: str, flags: dict[str, Any]) -> Options:
    from plainsql.evaluation.run import Options

    return Options(
        timeout=flags["timeout"],
        keep_distinct=not flags["strip_distinct"],
        alternatives=flags["alternatives"],
        with_evidence=flags["evidence"],
        progress=True,
        dataset=dataset,
        translator=translator,
    )


def _from_file(path: Path, chosen: Sequence[Example], total: int) -> AskOne:
    from plainsql.evaluation.predictions import align, read_predictions
    from plainsql.evaluation.run import from_predictions

    positions = [example.position for example in chosen]
    return from_predictions(align(read_predictions(path), positions, total))


def _schemas(path: Path | None) -> dict[str, Schema]:
    if path is None:
        return {}
    from plainsql.schema.spider import load_tables_json

    return load_tables_json(path)


def _output(path: Path | None, opened: ExitStack) -> TextIO | None:
    if path is None:
        return None
    try:
        return opened.enter_context(path.open("w", encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error}") from error
