"""plainsql check: the guard's judgement of a statement, which is not run."""

from __future__ import annotations

from typing import Any

import click

from plainsql.cli.opening import opened
from plainsql.cli.options import db_option, policy_options, read_stdin, table_list
from plainsql.cli.output import emit, note, print_error, print_json
from plainsql.errors import DeniedError, UsageError
from plainsql.records import SCHEMA_VERSION, Verdict
from plainsql.settings import Settings, load_settings


@click.command("check")
@click.argument("sql")
@db_option
@policy_options
@click.option(
    "--dialect",
    metavar="NAME",
    help="Without a database: sqlite, duckdb, postgres, mysql, ... [default: sqlite]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(sql: str, as_json: bool, dialect: str | None, **flags: Any) -> int:
    """Judge whether SQL may be run: one query, only reading, permitted tables only.

    The verdict is that of `ask`, with the same policy; nothing is run. `-` reads
    the statement from stdin, byte by byte as it is. Without a database any table
    that the engine doesn't reserve is allowed. Exit code 0: allowed, 5: refused,
    with the reason on stderr.

    \b
    plainsql check "SELECT name FROM singer" -d concerts.sqlite
    plainsql check - -d shop.duckdb --tables users,orders < query.sql
    plainsql check "SELECT pg_sleep(9)" --dialect postgres
    plainsql check "SELECT email FROM users" -d shop.sqlite --role support --json
    """
    tables = table_list(flags.pop("tables"))
    if dialect and flags["db"]:
        raise UsageError("A database has its own dialect.", hint="Drop --dialect, or -d.")
    settings = load_settings(flags)
    given, verdict = _verdict(sql, settings, tables, dialect)
    if as_json:
        status = "allowed" if verdict.allowed else "denied"
        judged = {"status": status, "sql": verdict.sql, "reason": verdict.reason}
        print_json({"schema_version": SCHEMA_VERSION} | judged)
    elif verdict.allowed:
        emit("allowed")
        if verdict.sql != given:
            note(f"runs as: {verdict.sql}")
    if not verdict.allowed:
        print_error(f"refused: {verdict.reason}")
    return 0 if verdict.allowed else DeniedError.exit_code


def _verdict(
    argument: str, settings: Settings, tables: frozenset[str] | None, dialect: str | None
) -> tuple[str, Verdict]:
    """The statement (stdin's where the argument is `-`) and what the guard says of it."""
    from plainsql.execution.access import Access
    from plainsql.execution.guard import judge

    access = Access.from_settings(settings.policy, settings.role).narrowed(tables)
    try:
        sql = read_stdin().decode("utf-8") if argument == "-" else argument
    except UnicodeDecodeError:
        return "", Verdict("", False, "not valid UTF-8")
    if dialect or not settings.db:
        return sql, judge(sql, dialect=dialect or "sqlite", access=access)
    with opened(settings, tables) as database:
        dialect, schema = database.engine.dialect, database.schema
    return sql, judge(sql, schema=schema, dialect=dialect, access=access)
