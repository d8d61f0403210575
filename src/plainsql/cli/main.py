"""`plainsql`: finds the verb, runs it, turns errors into one line and an exit code.

Verbs are imported when they are called, so that `plainsql --help` reads no
database, model or array library.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from plainsql import __version__
from plainsql.cli.output import note, print_error, print_json_error
from plainsql.errors import PlainsqlError, UsageError

# A verb is the click command called `command` in plainsql.cli.<verb>.
VERBS = {
    "ask": "Answer a question from a database.",
    "demo": "Make a small database and answer questions about it.",
    "describe": "Show the tables, columns and keys of a database.",
    "index": "Read the values of a database, so that questions can name them.",
    "run": "Run SQL that the guard allows; show the rows or write them to a file.",
    "check": "Judge whether SQL may be run; it is not run.",
    "eval": "Measure accuracy on a data set of questions and gold SQL.",
    "data": "Prepare pairs of question and SQL for training.",
    "train": "Fine-tune a language model, or the parser, on your pairs.",
    "generate": "Write SQL with a language model, tuned or not.",
    "merge": "Merge an adapter into its base model.",
    "quantize": "Make a model's weights smaller, and compare the ways to do so.",
    "export": "Write a model for other runtimes: safetensors, GGUF, ONNX.",
    "doctor": "Check the installation, piece by piece.",
}
_WITH_JSON_FLAG = frozenset(VERBS) - {"eval"}  # whose --json names a file

INTERRUPTED = 130  # what shells report after SIGINT
PIPE_CLOSED = 141  # ... and after SIGPIPE
TERMINATED = 143  # ... and after SIGTERM
INTERNAL_ERROR = 1


class Terminated(BaseException):
    """SIGTERM, as an exception: files half written and workers are cleaned up on its way."""


class Verbs(click.Group):
    """The verbs by name, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"plainsql.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, name="plainsql")
@click.version_option(__version__, prog_name="plainsql")
def program() -> None:
    """Questions in plain language, answered from your own database, offline.

    Exit codes: 0 answered, 1 internal error, 2 usage, 3 unanswerable,
    4 ambiguous, 5 refused by policy, 6 the SQL failed or timed out, 7 cannot
    connect (or a broken installation).

    Settings come from flags, then PLAINSQL_* variables, then plainsql.toml,
    then the user's config.toml.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises."""
    try:
        code = _invoke(list(arguments) or ["--help"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_stdout()
        return PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        print_error("interrupted")
        return INTERRUPTED
    except Terminated:
        print_error("terminated")
        return TERMINATED
    except Exception as error:
        if os.environ.get("PLAINSQL_DEBUG"):
            _print_traceback(error)
        return _report(_as_plainsql(error), arguments)


def _invoke(arguments: list[str]) -> int:
    """What `click.Command.main` does, without its own handling of errors and pipes."""
    try:
        with program.make_context("plainsql", arguments) as context:
            code = program.invoke(context)
    except click.exceptions.Exit as request:
        return request.exit_code
    return code if isinstance(code, int) else 0


def _as_plainsql(error: Exception) -> PlainsqlError:
    """Click's errors and unexpected ones as errors of plainsql's own tree."""
    if isinstance(error, PlainsqlError):
        return error
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "plainsql"
        return UsageError(error.format_message(), hint=f"See {command} --help.")
    message = f"Internal error: {type(error).__name__}: {error}"
    return PlainsqlError(message, hint="PLAINSQL_DEBUG=1 shows where it happened.")


def _report(error: PlainsqlError, arguments: Sequence[str]) -> int:
    """One line on stderr, an object on stdout where --json was asked for."""
    try:
        if arguments and arguments[0] in _WITH_JSON_FLAG and "--json" in arguments:
            print_json_error(error)
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    print_error(error.message, error.hint)
    return error.exit_code


def _print_traceback(error: Exception) -> None:
    """Where it happened, for a bug report. Drivers put passwords into their messages."""
    from plainsql.execution.redaction import redact

    note(redact("".join(traceback.format_exception(error))).rstrip())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _forget_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """The entry point: never ends in a traceback, not even for an odd terminal encoding."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))
