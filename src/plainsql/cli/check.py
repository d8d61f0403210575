"""plainsql check: the guard's judgement of a statement, which is not run."""

from __future__ import annotations

from typing import Any

import click

from plainsql.cli.options import db_option, read_stdin
from plainsql.cli.output import emit, print_error, print_json
from plainsql.errors import DeniedError
from plainsql.records import SCHEMA_VERSION, Verdict
from plainsql.settings import load_settings


@click.command("check")
@click.argument("sql")
@db_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(sql: str, as_json: bool, **flags: Any) -> int:
    """Judge whether SQL may be run: one query, only reading, known tables only.

    `-` reads the statement from stdin. Without a database any table that the
    engine doesn't reserve is allowed. Exit code 0: allowed, 5: refused.
    """
    verdict = _verdict(sql, load_settings(flags).db)
    if as_json:
        status = "allowed" if verdict.allowed else "denied"
        judged = {"status": status, "sql": verdict.sql, "reason": verdict.reason}
        print_json({"schema_version": SCHEMA_VERSION} | judged)
    elif verdict.allowed:
        emit("allowed")
    if not verdict.allowed:
        print_error(f"refused: {verdict.reason}")
    return 0 if verdict.allowed else DeniedError.exit_code


def _verdict(argument: str, db: str) -> Verdict:
    """The guard's verdict on `argument`, or on stdin where it is `-`."""
    from plainsql.execution.base import open_engine
    from plainsql.execution.guard import judge

    try:
        sql = read_stdin().decode("utf-8") if argument == "-" else argument
    except UnicodeDecodeError:
        return Verdict("", False, "not valid UTF-8")
    if not db:
        return judge(sql)
    engine = open_engine(db)
    try:
        schema = engine.introspect()
    finally:
        engine.close()
    return judge(sql, schema=schema, dialect=schema.dialect)
