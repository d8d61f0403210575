"""plainsql ask: one question, its SQL, its rows, a sentence about them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from plainsql.cli.opening import prepare
from plainsql.cli.options import (
    db_option,
    policy_options,
    read_stdin,
    settings_with_db,
    table_list,
    translator_option,
)
from plainsql.cli.output import emit, note, print_csv, print_error, print_json, print_rows
from plainsql.cli.progress import Progress
from plainsql.errors import AmbiguousError, UnanswerableError, UsageError
from plainsql.records import MODEL_FAILED, SENT, Answer, Origin, Status
from plainsql.watching import watching

EXIT_CODES = {
    Status.UNANSWERABLE: UnanswerableError.exit_code,
    Status.AMBIGUOUS: AmbiguousError.exit_code,
}


@click.command("ask")
@click.argument("question", nargs=-1, required=True)
@db_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
@click.option(
    "--safe-csv", is_flag=True, help="With --csv: make texts that spreadsheets run harmless."
)
@click.option("--sql-only", is_flag=True, help="Print the SQL and nothing else.")
@click.option(
    "--explain",
    is_flag=True,
    help="Say where each part of the SQL came from, and what was done.",
)
@click.option("--alternatives", type=int, metavar="N", help="List N other readings. [default: 4]")
@click.option("--limit", type=int, metavar="N", help="Rows at most. [default: 1000]")
@click.option("--timeout", type=float, metavar="S", help="Seconds the SQL may run. [default: 10]")
@click.option("--no-exec", is_flag=True, help="Choose the SQL without running it.")
@policy_options
@translator_option
def command(
    question: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    safe_csv: bool,
    sql_only: bool,
    explain: bool,
    no_exec: bool,
    **flags: Any,
) -> int:
    """Answer QUESTION from a database; `-` reads the question from stdin.

    \b
    plainsql ask "How many singers are from France?" -d concerts.sqlite
    echo "Who sang in 2014?" | plainsql ask - -d concerts.sqlite --csv
    """
    _refuse_conflicts(as_json=as_json, as_csv=as_csv, sql_only=sql_only, no_exec=no_exec)
    if safe_csv and not as_csv:
        raise UsageError("--safe-csv is for --csv.")
    answer = _answer(_read(question), flags, execute=not no_exec)
    if as_json:
        print_json(_as_object(answer, explain=explain))
    elif answer.status is Status.UNANSWERABLE:
        pass  # no data: what is to be said goes to stderr
    elif sql_only:
        emit(answer.sql)
    elif as_csv:
        print_csv(answer.columns, answer.rows, safe=safe_csv)
    else:
        print_answer(answer, explain=explain, alternatives=flags["alternatives"] is not None)
    _print_remarks(answer)
    return EXIT_CODES.get(answer.status, 0)


def _refuse_conflicts(*, as_json: bool, as_csv: bool, sql_only: bool, no_exec: bool) -> None:
    if as_json + as_csv + sql_only > 1:
        raise UsageError("Only one of --json, --csv and --sql-only can be given.")
    if as_csv and no_exec:
        raise UsageError("--csv prints rows, and --no-exec makes none.", hint="Drop one of them.")


def _read(words: tuple[str, ...]) -> str:
    if words == ("-",):
        return read_stdin().decode("utf-8", errors="replace")
    return " ".join(words)


def _answer(question: str, flags: dict[str, Any], *, execute: bool) -> Answer:
    from plainsql.ask import connect

    tables = table_list(flags.pop("tables"))
    settings = settings_with_db(flags)
    prepare(settings)
    with connect(settings.db, settings=settings, tables=tables) as database:
        with Progress("tokens written") as progress, watching(progress.update):
            answer = database.ask(question, execute=execute)
        for remark in database.remarks():
            note(f"({remark})")
        for step in answer.trace:
            if step.stage == MODEL_FAILED:
                note(f"({step.what} could not help: {step.why})")
        return answer


def _as_object(answer: Answer, *, explain: bool) -> dict[str, Any]:
    extra = {"explain": [asdict(origin) for origin in answer.origins]} if explain else {}
    return answer.to_dict() | extra


def print_answer(answer: Answer, *, explain: bool = False, alternatives: bool = False) -> None:
    """SQL, rows and sentence for a person, and what else was asked for."""
    emit(answer.sql)
    if answer.columns:
        emit()
        print_rows(answer.columns, answer.rows)
        emit()
        emit(answer.answer)
    if explain:
        emit()
        for origin in answer.origins:
            emit(_explained(origin))
        emit()
        for step in answer.trace:
            emit(f"{step.stage}: {step.what}" + (f" ({step.why})" if step.why else ""))
    if alternatives:
        emit()
        for other in answer.alternatives:
            emit(f"{other.confidence:4.0%}  {other.sql}")


def _explained(origin: Origin) -> str:
    """ "student.age  (column) from “how old”, exact"."""
    words = f"from “{origin.words}”" if origin.words else "not in the question"
    if origin.role == SENT:  # no part of the SQL: what left the machine
        words = ""
    return ", ".join(filter(None, (f"{origin.part}  ({origin.role}) {words}", origin.note)))


def _print_remarks(answer: Answer) -> None:
    if answer.status is Status.UNANSWERABLE:
        guess = f" A blind guess: {answer.sql}" if answer.sql else ""
        print_error(answer.answer, f"plainsql describe shows what can be asked about.{guess}")
        return
    if answer.status is Status.AMBIGUOUS:
        print_error("Two readings are about as likely.", "--alternatives 4 lists the others.")
    if answer.truncated:
        note(f"(cut after {answer.row_count:,} rows; --limit sets how many)")
    note(f"(confidence {answer.confidence:.0%}, {answer.timing_ms['total']:.0f} ms)")
