"""Data files that were converted once, kept as DuckDB files in the cache folder.

A file is known by the paths, sizes and times of what it was made of. It is
written beside its place and renamed into it, so that nobody finds half of one;
what was made of an older state is removed, and so is what nobody used lately.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from plainsql.cache_folder import default_cache_dir
from plainsql.errors import ConnectError
from plainsql.execution import files_load
from plainsql.execution.files import DataFile, Loaded, Progress
from plainsql.execution.limits import Limits

_FORMAT = 1  # raise it when files are read in another way
UNUSED_DAYS = 30
_HALF_DONE = ".part"  # the end of a name that is being written


def cached(
    files: tuple[DataFile, ...],
    title: str,
    limits: Limits,
    progress: Progress | None,
    cache_dir: str = "",
) -> Loaded:
    """The converted form of `files`, made now if it isn't there. Raises as `open_files`."""
    folder = cache_folder(cache_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _no_room(folder, error) from error
    made = folder / f"{_source_key(files, title)}-{_state_key(files)}.duckdb"
    notes = _known(made)
    if notes is None:
        notes = _convert(files, title, limits, progress, made)
        _clean(folder, made)
    with suppress(OSError):  # says when it was used last; a read-only cache is fine too
        os.utime(made)
    return Loaded(None, made, notes)


def cache_folder(cache_dir: str = "") -> Path:
    """`files` in `cache_dir`, by default in plainsql's folder for caches."""
    given = cache_dir or os.environ.get("PLAINSQL_CACHE_DIR")
    return (Path(given).expanduser() if given else default_cache_dir()) / "files"


def _source_key(files: Iterable[DataFile], title: str) -> str:
    """Which files they are, whatever is in them."""
    return _digest([title, *(str(file.path) for file in files)])[:16]


def _state_key(files: Iterable[DataFile]) -> str:
    """What state they are in, and what reads them."""
    import duckdb

    state = [(str(file.path), file.parts, file.size, file.modified) for file in files]
    return _digest([_FORMAT, duckdb.__version__, state])[:24]


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def _known(made: Path) -> tuple[str, ...] | None:
    """The notes of a converted file; None where there is none, or a damaged one."""
    try:
        text = _notes_of(made).read_text(encoding="utf-8")
        notes = tuple(str(note) for note in json.loads(text))
    except (OSError, ValueError):
        return None
    return notes if made.is_file() and files_load.opens(made) else None


def _notes_of(made: Path) -> Path:
    return made.with_suffix(".json")


def _convert(
    files: tuple[DataFile, ...],
    title: str,
    limits: Limits,
    progress: Progress | None,
    made: Path,
) -> tuple[str, ...]:
    """Read the files into `made`, whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(suffix=_HALF_DONE, dir=made.parent) as folder:
            half = Path(folder) / made.name
            notes = files_load.into_file(files, title, limits, progress, half)
            _notes_of(half).write_text(json.dumps(notes), encoding="utf-8")
            for path in (half, _notes_of(half)):
                os.chmod(path, 0o600)
                _flush(path)
                os.replace(path, made.parent / path.name)
    except OSError as error:
        raise _no_room(made.parent, error) from error
    return notes


def _flush(path: Path) -> None:
    """Write what the system holds back: a rename must not come before it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _clean(folder: Path, made: Path) -> None:
    """Remove older states of the same files, what is unused, and what was left half done."""
    source = made.name.partition("-")[0]
    for path in folder.iterdir():
        with suppress(OSError):  # somebody else removes it, too
            age = time.time() - path.stat().st_mtime
            older = path.name.startswith(f"{source}-") and path.stem != made.stem
            if path.suffix == _HALF_DONE:
                if age > 86_400:
                    _remove_folder(path)
            elif older or age > UNUSED_DAYS * 86_400:
                path.unlink()


def _remove_folder(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _no_room(folder: Path, error: OSError) -> ConnectError:
    return ConnectError(
        f"The data files can't be converted in {folder}: {error.strerror or error}.",
        hint="Make room there, or set PLAINSQL_CACHE_DIR to another folder.",
    )
