"""plainsql train: tune a language model, or the parser, on prepared pairs."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import Field
from typing import TYPE_CHECKING, Any

import click

from plainsql.cli.output import emit, note, print_json, print_rows
from plainsql.errors import MissingExtra

if TYPE_CHECKING:
    from plainsql.training.tuning.config import TrainConfig

INTERRUPTED = 130  # what shells report after SIGINT


class TrainCommand(click.Command):
    """Its flags are the fields of `TrainConfig`, read when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not any(item.name == "base" for item in self.params):
            from plainsql.training.tuning.config import settings

            self.params += [_option(item) for item in settings()]
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options in the groups of the configuration file."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for item in self.get_params(ctx):
            record = item.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_GROUPS.get(item.name or "", "Options"), []).append(record)
        for title in (*dict.fromkeys(_GROUPS.values()), "Options"):
            with formatter.section(title):
                formatter.write_dl(groups[title])


_GROUPS: dict[str, str] = {}  # of each option that is a setting, by its name


def _option(item: Field[Any]) -> click.Option:
    """The flag of one setting. Its default is the configuration file's, hence None here."""
    _GROUPS[item.name] = item.metadata["group"]
    name, kind = item.name.replace("_", "-"), type(item.default)
    shown = str(item.default).lower() if kind is bool else str(item.default)
    text = item.metadata["doc"] + (f" [default: {shown}]" if shown else "")
    if kind is bool:
        return click.Option([f"--{name}/--no-{name}"], default=None, help=text)
    choices = [choice for choice in item.metadata["choices"] if choice]
    wanted = click.Choice(choices) if choices else kind
    return click.Option([f"--{name}"], type=wanted, default=None, help=text, metavar=_shape(item))


def _shape(item: Field[Any]) -> str | None:
    if item.metadata["choices"]:
        return None
    return {int: "N", float: "X", str: "TEXT"}[type(item.default)]


@click.command("train", cls=TrainCommand)
@click.option("--config", metavar="FILE|RECIPE", help="Settings from a TOML file, or a recipe.")
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
@click.option("--force", is_flag=True, help="Discard the run that lies in --out.")
@click.option("--estimate", is_flag=True, help="Only print how much memory each method needs.")
@click.option("--recipes", is_flag=True, help="Only list the shipped recipes.")
@click.option("--path-of", metavar="RECIPE", help="Only print where a shipped file is.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def command(
    config: str | None,
    resume: bool,
    force: bool,
    estimate: bool,
    recipes: bool,
    path_of: str | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Fine-tune a language model, or the parser, on prepared pairs of question and SQL.

    During training SQL is generated for held-out questions and run; the model with
    the most right rows is kept in OUT/best, which generate, ask, merge and quantize
    take. A flag wins over the configuration file.

    Exit code 0: finished, 130: interrupted, with a checkpoint for --resume.

    \b
    plainsql train --base Qwen/Qwen2.5-Coder-0.5B --data prepared --out runs/one
    plainsql train --config colab_t4 --base MODEL --data prepared --out runs/t4
    plainsql train --config runs/one/config.toml --resume
    plainsql train --base parser --data prepared --out runs/parser
    plainsql train --estimate
    accelerate launch --config_file "$(plainsql train --path-of ddp)" \\
      -m plainsql train --config gpus_8 --base MODEL --data prepared --out runs/eight
    """
    with _needs_extra():
        from plainsql.training.tuning.config import config_path, load_train_config

        if recipes:
            return _list_recipes()
        if path_of:
            emit(str(config_path(path_of)))
            return 0
        if estimate:
            return _estimate(config, settings, as_json)
        return _train(load_train_config(config, settings), resume, force, as_json)


@contextmanager
def _needs_extra() -> Any:
    """A package that is not installed, as the error that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("plainsql"):
            raise
        raise MissingExtra("plainsql train", "train") from error


def _list_recipes() -> int:
    from plainsql.training.tuning.config import shipped

    print_rows(("name", "file"), [(name, str(path)) for name, path in shipped().items()])
    return 0


def _estimate(config: str | None, given: dict[str, Any], as_json: bool) -> int:
    from plainsql.training.tuning.estimates import estimate_table

    table = estimate_table(config, given)
    if as_json:
        print_json(table.to_dict())
    else:
        print_rows(table.columns, table.rows())
        for line in table.assumptions:
            note(line)
    return 0


def _train(config: TrainConfig, resume: bool, force: bool, as_json: bool) -> int:
    # Read by OpenMP when torch is loaded. Threads that wait by spinning make training
    # 20 times as slow (a tiny Llama, 2 cores) while other programs use the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from plainsql.training.tuning.recipe import Stopped, train
    from plainsql.training.tuning.run_facts import command_line, is_main_process
    from plainsql.training.tuning.run_report import summary

    try:
        report = train(config, resume=resume, force=force, command=command_line())
    except Stopped as stop:
        if is_main_process():
            note(f"plainsql: {stop.message}")
            note(f"hint: {stop.hint}")
        return INTERRUPTED
    if is_main_process():
        print_json(report.to_dict()) if as_json else emit(summary(report))
    return 0
