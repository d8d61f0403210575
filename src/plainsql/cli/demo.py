"""plainsql demo: a database to try things on, and questions it answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from plainsql.cli.ask import print_answer
from plainsql.cli.options import translator_option
from plainsql.cli.output import emit, note, print_json
from plainsql.records import SCHEMA_VERSION
from plainsql.settings import load_settings


@click.command("demo")
@click.option("--path", type=click.Path(path_type=Path), help="Where the database is kept.")
@click.option("--examples", is_flag=True, help="Print the questions without answering them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@translator_option
def command(path: Path | None, examples: bool, as_json: bool, **flags: Any) -> int:
    """Make a small database (unless it is there) and answer questions about it."""
    from plainsql.demo import DEMO_QUESTIONS

    database_path = ensure_demo(path or default_path())
    if examples:
        _print_examples(DEMO_QUESTIONS, database_path, as_json=as_json)
        return 0
    return _answer_all(DEMO_QUESTIONS, database_path, flags, as_json=as_json)


def default_path() -> Path:
    """The demo database in the user's folder for data."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join("~", ".local", "share")
    return Path(base).expanduser() / "plainsql" / "demo.sqlite"


def ensure_demo(path: Path) -> Path:
    """`path`, with the demo database made there if nothing was."""
    from plainsql.demo import make_demo

    if not path.exists():
        make_demo(path)
        note(f"(made {path})")
    return path


def _print_examples(questions: tuple[str, ...], path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "db": str(path), "questions": questions})
        return
    for question in questions:
        emit(question)
    note(f'\nplainsql ask "{questions[0]}" -d {path}')


def _answer_all(
    questions: tuple[str, ...], path: Path, flags: dict[str, Any], *, as_json: bool
) -> int:
    from plainsql.ask import connect

    answers = []
    with connect(path, settings=load_settings(flags)) as database:
        for question in questions:
            answers.append(database.ask(question))
            if not as_json:
                emit(f"# {question}")
                print_answer(answers[-1])
                emit()
    if as_json:
        objects = [answer.to_dict() for answer in answers]
        print_json({"schema_version": SCHEMA_VERSION, "db": str(path), "answers": objects})
    else:
        note(f'Ask your own: plainsql ask "…" -d {path}')
    return 0
