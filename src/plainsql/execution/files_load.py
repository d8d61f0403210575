"""Reading data files into tables of DuckDB, before its configuration is locked.

The statements are all of our own making; files are given by list, not by pattern,
and nothing else is read.
"""

from __future__ import annotations

import os
import re
import zlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from plainsql.errors import ConnectError, PlainsqlError, ResourceLimit, SchemaError
from plainsql.execution import files_csv
from plainsql.execution.duckdb_errors import ERRORS, first_line
from plainsql.execution.files import DataFile, Loaded, Progress, Source, sources
from plainsql.execution.files_sql import identifier, literal, path_list
from plainsql.execution.limits import Limits

if TYPE_CHECKING:
    from types import TracebackType

_LOADING_BYTES = 512_000_000  # DuckDB's memory while it reads; beyond it uses the disk
_OBJECT_BYTES = 64_000_000  # of one JSON object
_READING = (*ERRORS, OSError, EOFError, zlib.error)  # the latter: of packed files
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")


def in_memory(
    files: tuple[DataFile, ...], title: str, limits: Limits, progress: Progress | None
) -> Loaded:
    """The tables of `files` in a new database in memory."""
    connection = duckdb.connect(":memory:", config=_configuration(limits))
    try:
        notes = _Loader(connection, title, progress).load(files)
    except BaseException:
        connection.close()
        raise
    return Loaded(connection, None, notes)


def into_file(
    files: tuple[DataFile, ...],
    title: str,
    limits: Limits,
    progress: Progress | None,
    path: Path,
) -> tuple[str, ...]:
    """Write the tables of `files` to a new DuckDB file; the notes on them."""
    config = _configuration(limits) | {"temp_directory": str(path.parent / "spill")}
    with duckdb.connect(str(path), config=config) as connection:
        notes = _Loader(connection, title, progress).load(files)
        connection.execute("CHECKPOINT")
    return notes


def opens(path: Path) -> bool:
    """Whether a converted file can still be read."""
    try:
        duckdb.connect(str(path), read_only=True).close()
    except ERRORS:
        return False
    return True


def _configuration(limits: Limits) -> dict[str, str | bool | int | float | list[str]]:
    memory = max(2 * limits.heap_bytes, _LOADING_BYTES)
    return {
        "memory_limit": f"{memory}B",
        "threads": min(4, os.cpu_count() or 1),
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
    }


class _Loader:
    """Fills one database with the tables of data files."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, title: str, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._title = title
        self._progress = progress
        self._notes: list[str] = []

    def load(self, files: tuple[DataFile, ...]) -> tuple[str, ...]:
        """Make the tables; what was left out, a sentence each.

        Raises ConnectError for a file that can't be read, SchemaError for no table.
        """
        whole = tuple(file for file in files if not self._is_empty(file))
        with files_csv.Reader(self._connection) as csv:
            self._csv = csv
            found = sources(whole, self._title, self._columns)
            done, total = 0, sum(source.size for source in found)
            for source in found:
                self._report(done, total, source.name)
                self._load(source)
                done += source.size
            self._report(done, total, "")
        if not found:
            raise SchemaError(
                f"The data files of {self._title} hold no tables.",
                hint="Each of them is empty; check that these are the files you mean.",
            )
        return tuple(self._notes)

    def _is_empty(self, file: DataFile) -> bool:
        if file.size == 0:
            self._notes.append(f"{_shown(file)} is empty and was left out.")
        return file.size == 0

    def _report(self, done: int, total: int, table: str) -> None:
        if self._progress is not None:
            self._progress(done, total, table)

    def _columns(self, file: DataFile) -> tuple[str, ...]:
        """The names of a file's columns, to see which files belong together."""
        with _explained(file):
            if file.suffix in (".csv", ".tsv"):
                return self._csv.dialect(file).names
            reader = "read_parquet" if file.suffix == ".parquet" else "read_json"
            self._connection.execute(f"SELECT * FROM {reader}({path_list([file.path])}) LIMIT 0")
            return tuple(column[0] for column in self._connection.description or ())

    def _load(self, source: Source) -> None:
        with _explained(source.files[0], len(source.files)):
            if source.format == "csv":
                note = self._csv.load(source, hive_types(source))
            elif source.format == "parquet":
                note = self._create(source, "read_parquet", "")
            else:
                note = self._load_json(source)
        if note:
            self._notes.append(note)

    def _create(self, source: Source, reader: str, options: str) -> str:
        paths = path_list([file.path for file in source.files])
        hive = _hive_options(hive_types(source))
        self._connection.execute(
            f"CREATE OR REPLACE TABLE {identifier(source.name)} AS SELECT * FROM "
            f"{reader}({paths}, union_by_name=true, {hive}{options})"
        )
        return ""

    def _load_json(self, source: Source) -> str:
        """A table of JSON objects; lines that are no JSON are left out and counted."""
        options = f", sample_size=-1, maximum_object_size={_OBJECT_BYTES}"
        try:
            return self._create(source, "read_json", options)
        except duckdb.InvalidInputException:
            if any(file.suffix == ".json" for file in source.files):
                raise
        options += ", format='newline_delimited', ignore_errors=true"
        self._create(source, "read_json", options)
        table = identifier(source.name)
        self._connection.execute(f"SELECT * FROM {table} LIMIT 0")
        names = [column[0] for column in self._connection.description or ()]
        nothing = " AND ".join(f"{identifier(name)} IS NULL" for name in names)
        removed = self._connection.execute(f"DELETE FROM {table} WHERE {nothing}").fetchone()
        lines = removed[0] if removed else 0
        return f"{lines:,} lines of {_shown(source.files[0])} are no JSON and were left out."


def hive_types(source: Source) -> dict[str, str]:
    """The types of hive keys by all their values: whole numbers, dates, else text."""
    values: dict[str, set[str]] = defaultdict(set)
    for file in source.files:
        for part in file.parts[:-1]:
            name, equals, value = part.partition("=")
            if equals and value != "__HIVE_DEFAULT_PARTITION__":
                values[name].add(value)
    return {name: _hive_type(found) for name, found in values.items()}


def _hive_type(values: set[str]) -> str:
    if all(_INTEGER.fullmatch(value) for value in values):
        return "BIGINT"
    return "DATE" if all(_DATE.fullmatch(value) for value in values) else "VARCHAR"


def _hive_options(types: dict[str, str]) -> str:
    if not types:
        return "hive_partitioning=false"
    fields = ", ".join(f"{literal(name)}: {kind}" for name, kind in types.items())
    return f"hive_partitioning=true, hive_types={{{fields}}}"


def _shown(file: DataFile) -> str:
    return "/".join(file.parts)


class _explained:
    """DuckDB's errors in reading a file, as one sentence that names it."""

    def __init__(self, file: DataFile, count: int = 1) -> None:
        others = f" (or one of the {count - 1:,} others of its table)" if count > 1 else ""
        self._name = f"{_shown(file)}{others}"

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, PlainsqlError) or not isinstance(error, _READING):
            return
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
            raise ResourceLimit(
                f"The file {self._name} needs more memory to be read than there is.",
                hint="Split it, or raise Limits(heap_bytes=…).",
            ) from error
        raise ConnectError(
            f"The file {self._name} can't be read: {first_line(error)}.",
            hint="Check that its content is what its ending says, and that it is whole.",
        ) from error
