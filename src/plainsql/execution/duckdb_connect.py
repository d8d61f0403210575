"""Connections to DuckDB that a query can do no harm on.

The settings are those of
https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from plainsql.errors import ConnectError
from plainsql.execution.duckdb_errors import ERRORS, opening_error
from plainsql.execution.limits import Limits

_EXPRESSION_DEPTH = 250

# From the start, also while a file is opened that may ask for an extension.
_FROM_THE_START: dict[str, str | bool | int | float | list[str]] = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "max_temp_directory_size": "0B",
    "max_expression_depth": str(_EXPRESSION_DEPTH),
}
# Then, in this order. A folder of temporary files would be made whatever its size may
# be, and is no longer changed once access is off.
_THEN = {"temp_directory": "", "enable_external_access": "false", "lock_configuration": "true"}
_IS_LOCKED = (
    "SELECT current_setting('lock_configuration'), current_setting('enable_external_access')"
)
_ONLY_AT_START = frozenset({"allow_unsigned_extensions"})  # and off by default


def configuration(limits: Limits) -> dict[str, str | bool | int | float | list[str]]:
    """The settings that a connection is opened with, before `lock_down`."""
    memory = {"memory_limit": f"{limits.heap_bytes}B"} if limits.heap_bytes else {}
    return {"threads": str(max(1, limits.threads)), **memory, **_FROM_THE_START}


def lock_down(connection: duckdb.DuckDBPyConnection, limits: Limits) -> None:
    """Take everything from a connection that a query could do harm with, for good.

    A second connection to a file shares the settings of the first in this process.
    """
    if connection.execute(_IS_LOCKED).fetchone() == (True, False):
        return
    for name, value in (configuration(limits) | _THEN).items():
        if name not in _ONLY_AT_START:
            connection.execute(f"SET {name} = '{value}'")


def connect(path: Path, limits: Limits) -> duckdb.DuckDBPyConnection:
    """A read-only, locked connection to the file `path`. Raises ConnectError."""
    try:
        connection = duckdb.connect(str(path), read_only=True, config=configuration(limits))
    except ERRORS as error:
        raise opening_error(error, path) from error
    secure(connection, path, limits)
    return connection


def secure(connection: duckdb.DuckDBPyConnection, path: Path, limits: Limits) -> None:
    """`lock_down`, or close the connection and raise ConnectError, naming `path`."""
    try:
        lock_down(connection, limits)
    except BaseException as error:
        connection.close()
        if isinstance(error, ERRORS):
            raise opening_error(error, path) from error
        raise


def checked(path: Path) -> Path:
    """`path` as it is, when it is a readable file. Raises ConnectError.

    note: DuckDB must not be asked first: it would wait for ever for a pipe.
    """
    try:
        if path.is_dir():
            hint = "Give the path of a DuckDB file; a folder is read if it holds data files."
            raise ConnectError(f"{path} is a folder, not a database file.", hint=hint)
        if not path.exists():
            raise ConnectError(f"There is no file {path}.", hint="Check the path.")
        if not path.is_file():
            raise ConnectError(f"{path} is not a regular file.", hint="Give the path of a file.")
        path.open("rb").close()
    except OSError as error:
        hint = f"Give yourself the right to read it: chmod u+r '{path}'"
        raise ConnectError(f"Can't read {path}: {error.strerror}.", hint=hint) from error
    return path.resolve()
