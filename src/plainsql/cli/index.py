"""plainsql index: read a database's values now, and say what the index holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from plainsql.cli.opening import prepare
from plainsql.cli.options import db_option, policy_options, settings_with_db, table_list
from plainsql.cli.output import emit, note, print_json
from plainsql.cli.progress import Progress
from plainsql.records import SCHEMA_VERSION

if TYPE_CHECKING:
    from plainsql.ask import Database
    from plainsql.linking.value_index import ValueIndex


@click.command("index")
@db_option
@policy_options
@click.option("--refresh", is_flag=True, help="Read everything again, also what is up to date.")
@click.option("--timeout", type=float, metavar="S", help="Seconds in all. [default: 1800]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(refresh: bool, timeout: float | None, as_json: bool, **flags: Any) -> int:
    """Index the values of a database, so that questions can name them.

    A first question does the same by itself, for at most four seconds and a
    second a column. This takes the time that a large server needs, and says
    what the index holds. It only reads, and never what the policy hides.

    \b
    plainsql index -d postgresql://ann@db/shop
    plainsql index -d shop.duckdb --refresh --json
    """
    from dataclasses import replace

    from plainsql.ask import connect
    from plainsql.linking.index_columns import THOROUGH

    tables = table_list(flags.pop("tables"))
    settings = settings_with_db(flags)
    budget = THOROUGH if timeout is None else replace(THOROUGH, seconds=timeout)
    prepare(settings)
    with connect(settings.db, settings=settings, tables=tables) as database:
        with Progress("columns") as progress:
            index = database.index_values(budget, refresh=refresh, done=progress.update)
        report = describe_index(index, database)
        index.close()
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "status": "ok"} | report)
    else:
        _show(report)
    return 0


def describe_index(index: ValueIndex, database: Database) -> dict[str, Any]:
    """What an index holds, as `plainsql index --json` prints it."""
    notes = index.notes()
    texts, numbers = index.size()
    columns = database.schema.columns
    return {
        "database": database.engine.name,
        "file": str(index.file or ""),
        "bytes": index.file.stat().st_size if index.file else 0,
        "built": datetime.fromtimestamp(float(notes["built"]), UTC).isoformat(),
        "seconds": float(notes["seconds"]),
        "tables": len(database.schema.tables),
        "columns": len(columns),
        "columns_with_texts": sum(count > 0 for count in index.counts),
        "texts": texts,
        "numbers": numbers,
        "in_part": [f"{columns[c].table}.{columns[c].name}" for c in index.capped],
    }


def _show(report: dict[str, Any]) -> None:
    emit(f"{report['database']}")
    emit(f"  {report['texts']:,} texts of {report['columns_with_texts']:,} columns")
    emit(f"  {report['numbers']:,} numbers")
    place = report["file"] or "in memory only: no file could be written"
    emit(f"  {place} ({report['bytes'] / 1e6:.1f} MB), built {report['built']}")
    if cut := report["in_part"]:
        shown = ", ".join(cut[:5]) + (", …" if len(cut) > 5 else "")
        note(f"({len(cut):,} columns in part or not at all: {shown})")
