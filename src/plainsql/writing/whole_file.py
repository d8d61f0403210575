"""A file that appears when it is complete, or not at all.

The text goes to a file beside it, which takes its name at the end: a reader,
a full disk or Ctrl-C never leave half a result under the wanted name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from plainsql.errors import PlainsqlError, UsageError

_MODE = 0o666  # before the umask, as for any new file


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write; `path` holds what was written when the block ends well.

    An existing file is replaced and keeps its permissions; a device or pipe is
    written as it is. Raises UsageError where nothing can be written, PlainsqlError
    for a full disk and the like.
    """
    target = Path(os.path.realpath(path))  # a link stays, what it points to is replaced
    if target.exists() and not target.is_file():
        with _told(target), _opened(target, "wb") as file:
            yield file
        return
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with _told(target), _opened(part, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _told(target):
            _take_name(part, target)
    finally:
        part.unlink(missing_ok=True)


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return open(path, mode, opener=lambda name, flags: os.open(name, flags, _MODE))
    except OSError as error:
        raise UsageError(
            f"{path.parent} takes no file: {error.strerror}.", hint="Name another --output."
        ) from error


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads a pipe has left: no failure
    except OSError as error:
        raise PlainsqlError(
            f"{target} could not be written: {error.strerror or error}.",
            hint="Nothing was kept; check the space on the disk.",
        ) from error


def _take_name(part: Path, target: Path) -> None:
    """Rename, and make the new name last through a power failure."""
    with contextlib.suppress(FileNotFoundError):
        part.chmod(stat.S_IMODE(target.stat().st_mode))
    os.replace(part, target)
    with contextlib.suppress(OSError):  # not every file system can sync a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
