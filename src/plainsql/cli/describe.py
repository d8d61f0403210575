"""plainsql describe: what a database holds, as plainsql understands it."""

from __future__ import annotations

from typing import Any

import click

from plainsql.cli.opening import opened
from plainsql.cli.options import db_option, policy_options, settings_with_db, table_list
from plainsql.cli.output import emit, print_json
from plainsql.errors import UsageError
from plainsql.records import SCHEMA_VERSION


@click.command("describe")
@db_option
@policy_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--ddl", is_flag=True, help="Print CREATE TABLE statements.")
def command(as_json: bool, ddl: bool, **flags: Any) -> int:
    """Show the tables, columns and keys of a database, as far as the policy lets them be read.

    Keys that are not declared but inferred from names and values are marked. Tables
    outside of the default schema are called schema.table.
    """
    if as_json and ddl:
        raise UsageError("Only one of --json and --ddl can be given.")
    from plainsql.schema.json_form import to_json
    from plainsql.schema.render import as_ddl, as_text

    tables = table_list(flags.pop("tables"))
    settings = settings_with_db(flags)
    with opened(settings, tables) as database:
        schema = database.access.narrow(database.schema)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION} | to_json(schema))
    else:
        emit(as_ddl(schema) if ddl else as_text(schema))
    return 0
