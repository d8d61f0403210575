"""plainsql run: a statement of your own, judged, then run, shown or written to a file."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

import click

from plainsql.cli.opening import Opened, opened
from plainsql.cli.options import (
    db_option,
    policy_options,
    read_stdin,
    settings_with_db,
    table_list,
)
from plainsql.cli.output import aligned, note, print_json, print_rows
from plainsql.cli.progress import Progress
from plainsql.errors import DeniedError, UsageError
from plainsql.records import SCHEMA_VERSION, Rows, cell_json

if TYPE_CHECKING:
    from plainsql.execution.base import RowStream
    from plainsql.execution.limits import Batch
    from plainsql.settings import Settings

# Seconds for what is written row by row: as long as somebody waits for a file.
STREAM_SECONDS = 3600.0
_STREAMED = ("csv", "jsonl", "parquet")


class _Writer(Protocol):
    def write(self, batch: Batch) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for, with nothing left to look up."""

    sql: str
    form: str  # table, json, csv, jsonl or parquet
    output: str  # a file; "" is stdout
    limit: int | None
    timeout: float
    safe_csv: bool = False


@click.command("run")
@click.argument("sql")
@db_option
@click.option("--csv", "form", flag_value="csv", help="Write CSV, every row of it.")
@click.option("--jsonl", "form", flag_value="jsonl", help="Write JSON Lines, an object a row.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--parquet", metavar="FILE", help="Write every row to a Parquet file.")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE: the whole result or nothing.")
@click.option(
    "--safe-csv", is_flag=True, help="With --csv: make texts that spreadsheets run harmless."
)
@click.option(
    "--limit",
    type=int,
    metavar="N",
    help="Rows at most. [default: 1000; every row with --csv, --jsonl and --parquet]",
)
@click.option(
    "--timeout",
    type=float,
    metavar="S",
    help="Seconds it may take. [default: 10; 3600 with --csv, --jsonl and --parquet]",
)
@click.option("--explain", is_flag=True, help="Print the engine's plan; don't run the SQL.")
@policy_options
def command(sql: str, form: str | None, parquet: str | None, explain: bool, **flags: Any) -> int:
    """Run SQL, if the guard allows it: one query, only reading, permitted tables only.

    `-` reads the statement from stdin. The result is a table of up to 1000 rows,
    or with --csv, --jsonl or --parquet every row, written as they come in little
    memory. A file appears when it is complete, or not at all.

    \b
    plainsql run "SELECT name, age FROM singer" -d concerts.sqlite
    plainsql run "SELECT * FROM orders" -d postgresql://ann@db/shop --parquet orders.parquet
    plainsql run - -d 'logs/*.csv' --jsonl < query.sql | gzip > rows.gz
    """
    request_flags = {name: flags.pop(name) for name in ("output", "safe_csv", "limit", "timeout")}
    tables = table_list(flags.pop("tables"))
    settings = settings_with_db(flags)
    request = _requested(sql, form, parquet, settings, **request_flags)
    with opened(settings, tables) as database:
        if explain:
            _explain(request, database)
        elif request.form in _STREAMED:
            _stream(request, database)
        else:
            _show(request, database)
    return 0


def _requested(
    sql: str,
    form: str | None,
    parquet: str | None,
    settings: Settings,
    *,
    output: str | None,
    safe_csv: bool,
    limit: int | None,
    timeout: float | None,
) -> _Request:
    """The request that the flags add up to. Raises UsageError for those that clash."""
    if parquet is not None and (form or output):
        raise UsageError("--parquet names its own file.", hint="Drop --output and other forms.")
    if safe_csv and form != "csv":
        raise UsageError("--safe-csv is for --csv.")
    chosen = "parquet" if parquet is not None else form or "table"
    streamed = chosen in _STREAMED
    return _Request(
        read_stdin().decode("utf-8", "surrogateescape") if sql == "-" else sql,
        chosen,
        parquet or output or "",
        limit if limit is not None or streamed else settings.limit,
        timeout or (STREAM_SECONDS if streamed else settings.timeout),
        safe_csv,
    )


def _explain(request: _Request, database: Opened) -> None:
    """The plan of what would be run: the judged text, with the policy's rules in it."""
    from plainsql.execution.guard import judge

    engine, schema, access = database.engine, database.schema, database.access
    verdict = judge(request.sql, dialect=engine.dialect, schema=schema, access=access)
    if not verdict.allowed:
        raise DeniedError(f"The statement was refused: {verdict.reason}.")
    with _text_output(request.output) as file:
        file.write(engine.explain(verdict.sql) + "\n")


def _show(request: _Request, database: Opened) -> None:
    """A result that is small enough to be held: a table for a person, or one JSON object."""
    from plainsql.execution.base import run_guarded

    assert request.limit is not None
    rows = run_guarded(
        database.engine,
        request.sql,
        schema=database.schema,
        access=database.access,
        limit=request.limit,
        timeout=request.timeout,
    )
    if request.form == "json":
        with _text_output(request.output) as file:
            print_json(as_object(request.sql, rows), file)
    elif request.output:
        with _text_output(request.output) as file:
            file.write(aligned(rows.columns, rows.rows) + "\n")
    else:
        print_rows(rows.columns, rows.rows)
    if rows.truncated:
        note(f"(cut after {len(rows.rows):,} rows; --limit sets how many)")
    elif request.form == "table":
        note(f"({len(rows.rows):,} rows, {rows.elapsed_ms:.0f} ms)")


def as_object(sql: str, rows: Rows) -> dict[str, Any]:
    """The object that `run --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "ok",
        "sql": sql,
        "columns": list(rows.columns),
        "rows": [[cell_json(cell) for cell in row] for row in rows.rows],
        "row_count": len(rows.rows),
        "truncated": rows.truncated,
        "timing_ms": {"total": round(rows.elapsed_ms, 2)},
    }


def _stream(request: _Request, database: Opened) -> None:
    """Every row, as they come, to a file or to stdout."""
    from plainsql.execution.base import stream_guarded

    started = time.monotonic()
    with stream_guarded(
        database.engine,
        request.sql,
        schema=database.schema,
        access=database.access,
        timeout=request.timeout,
    ) as stream:
        count = _write(request, stream)
    if request.output:
        note(f"({count:,} rows, {time.monotonic() - started:.1f} s, {request.output})")


def _write(request: _Request, stream: RowStream) -> int:
    """Write the rows of `stream`; how many there were."""
    count = 0
    with (
        _writer(request, stream.columns) as writer,
        Progress("rows", shown=bool(request.output) or not sys.stdout.isatty()) as progress,
    ):
        for batch in stream:
            part = batch if request.limit is None else batch[: request.limit - count]
            writer.write(part)
            count += len(part)
            progress.update(count)
            if count == request.limit:
                break
    return count


@contextmanager
def _writer(request: _Request, columns: tuple[str, ...]) -> Iterator[_Writer]:
    """A writer in the form that was asked for; ended well when the block is."""
    if request.form == "parquet":
        with _parquet(request.output, columns) as parquet:
            yield parquet
        return
    from plainsql.writing.csv_form import CsvWriter
    from plainsql.writing.jsonl_form import JsonLinesWriter

    with _text_output(request.output) as file:
        writer: _Writer
        if request.form == "csv":
            writer = CsvWriter(file, columns, safe=request.safe_csv)
        else:
            writer = JsonLinesWriter(file, columns)
        yield writer
        writer.close()


@contextmanager
def _parquet(path: str, columns: tuple[str, ...]) -> Iterator[_Writer]:
    from plainsql.writing.parquet_form import ParquetWriter, lean_memory
    from plainsql.writing.whole_file import whole_file

    lean_memory()
    with whole_file(path) as file:
        writer = ParquetWriter(file, columns)
        try:
            yield writer
            writer.close()
        finally:
            writer.abandon()


@contextmanager
def _text_output(path: str) -> Iterator[IO[str]]:
    """The file `path` as UTF-8, whole or not at all; stdout where it is ""."""
    if not path:
        yield sys.stdout
        sys.stdout.flush()
        return
    from plainsql.writing.whole_file import whole_file

    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        yield text
        text.flush()
        text.detach()
