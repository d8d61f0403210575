"""Opening a SQLite file for reading only, with an error for each way it can fail."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from plainsql.errors import ConnectError

# What SQLite answers when it may not set up a write-ahead log beside a database that
# uses one. Without a log there is nobody who writes, and the file alone is the database.
_LOG_REFUSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100  # bytes


def open_read_only(path: str | Path, *, timeout: float = 5.0) -> sqlite3.Connection:
    """A connection that can't write, to an existing SQLite file.

    `timeout` is how many seconds to wait for a lock. Text that isn't UTF-8 is
    read with replacement characters. The connection may be used from another
    thread. Raises ConnectError if there is no such file, or it is not a
    readable SQLite database.
    """
    file = Path(os.path.expanduser(path)).absolute()
    check_file(file)
    try:
        return _connected(file, "mode=ro", timeout)
    except sqlite3.DatabaseError as error:
        if _code(error) not in _LOG_REFUSED or _has_leftovers(file):
            raise explained(error, file) from error
    try:
        return _connected(file, "mode=ro&immutable=1", timeout)
    except sqlite3.DatabaseError as error:
        raise explained(error, file) from error


def _has_leftovers(file: Path) -> bool:
    """True where changes wait in a log beside the file, or half of one is to be undone."""
    beside = (Path(f"{file}-wal"), Path(f"{file}-journal"))
    return any(log.exists() and log.stat().st_size > 0 for log in beside)


def explained(error: sqlite3.DatabaseError, file: str | Path) -> ConnectError:
    """A driver's error in reading `file` as one that says what to do."""
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        hint = "Another program is writing to it; try again when it has finished."
        return ConnectError(f"The database {file} is locked.", hint=hint)
    if code == sqlite3.SQLITE_NOTADB:
        return _not_a_database(Path(file))
    if code == sqlite3.SQLITE_CORRUPT:
        hint = f"Recover what is left with: sqlite3 '{file}' .recover"
        return ConnectError(f"The database {file} is damaged: {error}.", hint=hint)
    if code in _LOG_REFUSED and _has_leftovers(Path(file)):
        hint = (
            "Open it once with the program that writes it, or copy it and the files beside it"
            " to a folder you may write to and open the copy with sqlite3."
        )
        message = f"The database {file} was not closed cleanly: changes wait in a file beside it."
        return ConnectError(message, hint=hint)
    hint = "Check the file, its permissions and those of its folder."
    return ConnectError(f"Can't read the database {file}: {error}.", hint=hint)


def check_file(file: Path) -> None:
    """Raise ConnectError for what is no SQLite file by its first bytes and its size.

    Nothing of it is read by SQLite.
    """
    try:
        there = file.exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ConnectError(
            f"Can't read {file}: {error.strerror}.", hint="Check the path."
        ) from error
    if not there:
        raise ConnectError(f"There is no file {file}.", hint=_similar_hint(file))
    if file.is_dir():
        hint = "Give the path of a SQLite file, for example one that ends in .sqlite or .db."
        raise ConnectError(f"{file} is a folder, not a database file.", hint=hint)
    if not file.is_file():  # opening a pipe or a device could wait for ever
        raise ConnectError(f"{file} is not a regular file.", hint="Give the path of a SQLite file.")
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEADER)
            size = stream.seek(0, os.SEEK_END)
    except OSError as error:
        hint = f"Give yourself the right to read it: chmod u+r '{file}'"
        raise ConnectError(f"Can't read {file}: {error.strerror}.", hint=hint) from error
    if head and not head.startswith(_MAGIC):
        raise _not_a_database(file)
    if size < _promised(head) and not _has_leftovers(file):
        hint = "The rest is missing, as after a broken download: fetch or restore the file again."
        raise ConnectError(f"The database {file} is cut off after {size:,} bytes.", hint=hint)


def _promised(head: bytes) -> int:
    """The bytes that a header says its file has, 0 where it doesn't say.

    SQLite itself notices only whole missing pages. The count of pages holds if the
    two change counters agree (https://www.sqlite.org/fileformat.html, 1.3.7).
    """
    if len(head) < _HEADER or head[24:28] != head[92:96]:
        return 0
    page_size = int.from_bytes(head[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    possible = page_size >= 512 and page_size.bit_count() == 1  # else SQLite says what is wrong
    return int.from_bytes(head[28:32], "big") * page_size if possible else 0


def _similar_hint(file: Path) -> str:
    """Names a database in the same folder, if there is one."""
    if not file.parent.is_dir():
        return f"The folder {file.parent} does not exist either; check the path."
    endings = {".sqlite", ".sqlite3", ".db"}
    near = sorted(other.name for other in file.parent.iterdir() if other.suffix in endings)
    return f"In that folder: {', '.join(near[:5])}." if near else "Check the path."


def _not_a_database(file: Path) -> ConnectError:
    hint = "It is another kind of file, or encrypted: decrypt or export it to plain SQLite first."
    return ConnectError(f"{file} is not a SQLite database.", hint=hint)


def _connected(file: Path, options: str, timeout: float) -> sqlite3.Connection:
    # No cache of compiled statements: an authorizer must see each one compiled.
    connection = sqlite3.connect(
        f"{file.as_uri()}?{options}",
        uri=True,
        timeout=timeout,
        check_same_thread=False,
        cached_statements=0,
    )
    connection.text_factory = decoded
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the file
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def decoded(text: bytes) -> str:
    """A text of the database, with replacement characters where it isn't UTF-8."""
    return text.decode("utf-8", "replace")


def _code(error: sqlite3.Error) -> int:
    """The primary result code; extended codes carry more in the upper bytes."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
