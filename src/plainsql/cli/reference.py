"""docs/cli.md, made from the commands themselves: `python -m plainsql.cli.reference FILE`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click

from plainsql.cli.main import VERBS, program
from plainsql.settings import ENV_PREFIX, Settings

HEADER = """# Command-line reference

Made by `make docs` from the commands' own help; edit the commands, not this file.
"""
SETTINGS = """## Settings

A flag wins over the environment, which wins over `plainsql.toml` in the working
directory, which wins over the user's `config.toml` (in `$XDG_CONFIG_HOME/plainsql`,
by default `~/.config/plainsql`). A TOML file holds lines such as `limit = 50`.

| setting | environment | default | meaning |
|---|---|---|---|"""
ANSWER = """
## The answer as JSON

`plainsql ask --json` prints one object with these keys; `--explain` adds `explain`. Numbers that
a JSON reader would round are texts.

| key | meaning |
|---|---|"""
KEYS = {
    "schema_version": "Of this form: 1. A key may be added without a new number.",
    "status": "`answered`, `not_executed`, `unanswerable` or `ambiguous`; `error` for an error.",
    "question": "As it was understood, on one line.",
    "sql": "The query chosen; with `unanswerable` a guess that was not run, or empty.",
    "columns": "The names of the result's columns.",
    "rows": "A list of lists.",
    "row_count": "How many rows there are here.",
    "truncated": "Whether `limit` cut rows off.",
    "answer": "One sentence about the rows.",
    "confidence": "How probably the rows are right, 0 to 1.",
    "alternatives": "Other readings: `sql` and `confidence` of each.",
    "translator": "Who wrote the query.",
    "timing_ms": "Milliseconds of each stage, and `total`.",
    "trace": "What was done, in order: `stage`, `what` and `why` of each step.",
}
WIDTH = 88


def reference() -> str:
    """The whole document: every command's help, every setting, every key of an answer."""
    context = click.Context(program, info_name="plainsql")
    sections = [HEADER, _section("plainsql", program, None)]
    for verb in VERBS:
        command = program.get_command(context, verb)
        assert command is not None
        sections += _sections(f"plainsql {verb}", command, context)
    keys = [f"| `{name}` | {meaning} |" for name, meaning in KEYS.items()]
    return "\n".join([*sections, SETTINGS, *_setting_rows(), ANSWER, *keys]) + "\n"


def _sections(title: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    """The section of a verb, and of each command of its own."""
    yield _section(title, command, parent)
    if isinstance(command, click.Group):
        inside = click.Context(command, info_name=title.split()[-1], parent=parent)
        for name in command.list_commands(inside):
            found = command.get_command(inside, name)
            if found is not None and not found.hidden:
                yield _section(f"{title} {name}", found, inside)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    name = title.split()[-1]
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH)
    context.terminal_width = WIDTH
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


def _setting_rows() -> list[str]:
    start = Settings()
    return [
        f"| `{item.name}` | `{ENV_PREFIX}{item.name.upper()}` | `{getattr(start, item.name)!r}` |"
        f" {item.metadata['doc']} |"
        for item in fields(Settings)
    ]


def main() -> None:
    """Write the reference; with `--check`, fail where the file differs."""
    os.environ["NO_COLOR"] = "1"
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    path = Path(arguments[0])
    if "--check" not in sys.argv:
        path.write_text(reference(), encoding="utf-8")
    elif path.read_text(encoding="utf-8") != reference():
        sys.exit(f"{path} differs from the commands' help: run make docs")


if __name__ == "__main__":
    main()
