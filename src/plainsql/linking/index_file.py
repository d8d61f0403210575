"""The index of values as a file of the cache: found again, or written whole."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

Fill = Callable[[sqlite3.Connection, bool], None]
"""Fills an empty database; True: one in memory, which should stay small."""


def meta_of(connection: sqlite3.Connection) -> dict[str, str]:
    """What an index says about itself; {} where it is damaged."""
    try:
        return dict(connection.execute("SELECT name, content FROM meta"))
    except sqlite3.DatabaseError:
        return {}


def found(path: Path, mark: str) -> sqlite3.Connection | None:
    """The index in the file `path` if it is there, whole and made for `mark`."""
    if not path.is_file():
        return None
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
    )
    if meta_of(connection).get("mark") != mark:
        connection.close()
        return None
    return connection


def written(path: Path, mark: str, fill: Fill) -> sqlite3.Connection | None:
    """Fill a temporary file and move it to `path`; None where no file can be written.

    Concurrent builders each write their own file; the last one's stays. Only
    the user can read it: it holds what is in the database.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    except OSError:
        return None
    os.close(handle)
    try:
        _write(Path(name), mark, fill)
        os.replace(name, path)
    except (OSError, sqlite3.Error):  # a full disk, a quota
        return None
    finally:
        Path(name).unlink(missing_ok=True)
    return found(path, mark)


def in_memory(fill: Fill) -> sqlite3.Connection:
    """An index that goes when it is closed."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    with connection:
        _timed(connection, fill, True)
    return connection


def _write(path: Path, mark: str, fill: Fill) -> None:
    connection = sqlite3.connect(path)
    try:
        # A crash leaves a temporary file that nobody reads: no journal needed.
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
        connection.execute("PRAGMA cache_size=-32000")
        with connection:
            _timed(connection, fill, False)
            connection.execute("INSERT INTO meta VALUES ('mark', ?)", (mark,))
    finally:
        connection.close()


def _timed(connection: sqlite3.Connection, fill: Fill, small: bool) -> None:
    """Fill, and note when and how long it took."""
    started = time.monotonic()
    fill(connection, small)
    seconds = time.monotonic() - started
    # The age of a file is a matter of the calendar: no deadline hangs on it.
    notes = [("built", str(int(time.time()))), ("seconds", f"{seconds:.2f}")]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", notes)
