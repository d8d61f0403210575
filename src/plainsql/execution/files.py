"""Data files as one database: CSV, TSV, Parquet, JSON and JSON Lines become tables.

    Target ─ find ─▶ [DataFile] ─ sources ─▶ [Source] ─ files_load ─▶ tables

A file is a table called by its stem; so is a sub-folder whose files have the
same columns, and a folder of hive partitions (`year=2024/…`). Small files are
read into memory. Larger ones are converted once into a DuckDB file in the cache
folder, which every later start opens at once (`files_cache`).
"""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from plainsql.errors import ConnectError, ResourceLimit
from plainsql.execution.limits import Limits
from plainsql.execution.targets import Target

if TYPE_CHECKING:
    import duckdb

# Bytes read, bytes there are, the table that is read next ("" at the end).
Progress = Callable[[int, int, str], None]

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip
SMALL_BYTES = 8_000_000  # of all files together, unpacked: about 0.5 s to read
_PACKED = {".gz": 8, ".parquet": 4}  # how much larger they may be in memory
MAX_FILES = 10_000
MAX_DEPTH = 8  # folders below the one that was named
MAX_NAME = 60  # characters of a table's name
_PART = re.compile(r"part[-_.]?\d+.*", re.IGNORECASE | re.DOTALL)  # part-00000-….snappy
_NO_WORD = re.compile(r"[^\w]+")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: where it is, `parts` of its path below the folder that was named."""

    path: Path
    parts: tuple[str, ...]
    size: int
    modified: int  # nanoseconds

    @property
    def suffix(self) -> str:
        """ ".csv" for "a.csv" and "a.csv.gz"."""
        return Path(self.parts[-1].lower().removesuffix(".gz")).suffix

    @property
    def stem(self) -> str:
        """ "a" for "a.csv" and "a.csv.gz"."""
        name = self.parts[-1]
        return Path(name[:-3] if name.lower().endswith(".gz") else name).stem

    @property
    def weight(self) -> int:
        """Bytes it may take up once it is unpacked."""
        packed = ".gz" if self.parts[-1].lower().endswith(".gz") else self.suffix
        return self.size * _PACKED.get(packed, 1)


@dataclass(frozen=True, slots=True)
class Source:
    """What becomes one table: files of one format, with the hive keys of their folders."""

    name: str
    format: str
    files: tuple[DataFile, ...]
    keys: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Tables that were read: in memory over `connection`, or in the DuckDB file `path`.

    `notes` says, a sentence each, what was left out.
    """

    connection: duckdb.DuckDBPyConnection | None
    path: Path | None
    notes: tuple[str, ...] = ()


def open_files(target: Target, limits: Limits, progress: Progress | None = None) -> Loaded:
    """Read the files of `target`, or find what was read of them before.

    Raises ConnectError for a file that can't be read, ResourceLimit for files
    larger than `limits.file_bytes`, SchemaError when none holds a table.
    """
    from plainsql.execution import files_cache, files_load

    files = find(target)
    check_size(files, limits)
    if sum(file.weight for file in files) <= SMALL_BYTES:
        return files_load.in_memory(files, title(target), limits, progress)
    return files_cache.cached(files, title(target), limits, progress, target.cache_dir)


def prepare(target: Target, limits: Limits, progress: Progress | None = None) -> None:
    """Convert large files now, so that opening them later takes no time.

    For whoever shows progress but opens the database in another process. Does
    nothing for small files. Raises what `open_files` raises.
    """
    from plainsql.execution import files_cache

    files = find(target)
    check_size(files, limits)
    if sum(file.weight for file in files) > SMALL_BYTES:
        files_cache.cached(files, title(target), limits, progress, target.cache_dir)


def title(target: Target) -> str:
    """What a table is called whose files lie right in the folder that was named."""
    path = (target.path or Path(target.url)).absolute()
    return path.stem if path.is_file() else path.name or "data"


def check_size(files: Iterable[DataFile], limits: Limits) -> None:
    """Raise ResourceLimit for more data than may be read."""
    total = sum(file.size for file in files)
    if total > limits.file_bytes:
        raise ResourceLimit(
            f"The data files hold {total / 1e6:,.0f} MB, more than the"
            f" {limits.file_bytes / 1e6:,.0f} MB that are read.",
            hint="Name fewer files (a glob such as 'data/2024-*.csv'), or raise"
            " Limits(file_bytes=…).",
        )


# Finding them


def find(target: Target) -> tuple[DataFile, ...]:
    """The data files that `target` names, sorted by path.

    Raises ConnectError for none, too many, or a link that leads out of the folder.
    """
    named = target.path or Path(os.path.expanduser(target.url))
    if named.is_file():  # a link given by its own name is meant
        found = [replace(_data_file(named.resolve(), named.resolve().parent), parts=(named.name,))]
    elif named.is_dir() and not _is_pattern(target):
        found = [_data_file(path, named) for path in _below(named, MAX_DEPTH)]
    else:
        root = _root_of_glob(named)
        found = [_data_file(path, root) for path in target.files]
    if not found:
        raise ConnectError(
            f"{named} holds no data files.",
            hint=f"Files ending in {', '.join(FORMATS)} become tables.",
        )
    return tuple(sorted(found, key=lambda file: file.parts))


def is_data(name: str) -> bool:
    """Whether a file of this name is read."""
    lower = name.lower()
    packed = lower.endswith(".gz") and not lower.endswith(".parquet.gz")
    return Path(lower[:-3] if packed else lower).suffix in FORMATS and not name.startswith(".")


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Data files in a folder and its sub-folders, but not those hidden by . or _."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        hint = f"Give yourself the right to read it: chmod u+rx '{folder}'"
        raise ConnectError(f"Can't read {folder}: {error.strerror}.", hint=hint) from error
    for number, entry in enumerate(entries):
        if number >= MAX_FILES:
            raise ConnectError(
                f"{folder} holds more than {MAX_FILES:,} files.", hint="Name fewer, with a glob."
            )
        if entry.is_dir():
            if depth and not entry.name.startswith((".", "_")) and not entry.is_symlink():
                yield from _below(entry, depth - 1)
        elif is_data(entry.name) and (entry.is_file() or entry.is_symlink()):
            yield entry


def _is_pattern(target: Target) -> bool:
    """Whether a glob was named, and not a folder with a name like one."""
    named = target.path is not None and Path(target.url).name == target.path.name
    return glob.has_magic(target.url) and not named


def _root_of_glob(folder: Path) -> Path:
    """The part of a glob's folder that comes before the first wildcard."""
    plain: list[str] = []
    for part in folder.parts:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain) if plain else Path(".")


def _data_file(path: Path, root: Path) -> DataFile:
    """`path` with its size. Raises ConnectError for links that lead out of `root`."""
    try:
        real, folder = path.resolve(strict=True), root.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        reason = getattr(error, "strerror", None) or "its links go in a circle"
        raise ConnectError(f"Can't read {path}: {reason}.", hint="Check the file.") from error
    if not real.is_relative_to(folder):
        raise ConnectError(
            f"The file {path} is a link to a place outside of {root}, which is not followed.",
            hint="Copy the file into the folder, or name it by its own path.",
        )
    return DataFile(real, _parts(path, root), status.st_size, status.st_mtime_ns)


def _parts(path: Path, root: Path) -> tuple[str, ...]:
    try:
        return path.relative_to(root).parts
    except ValueError:
        return (path.name,)


# What becomes one table


def sources(
    files: Iterable[DataFile], title: str, columns: Callable[[DataFile], tuple[str, ...]]
) -> list[Source]:
    """The tables that `files` make, under names that are plain and differ.

    `columns(file)` names a file's columns; it is asked only where several files
    may be parts of one table.
    """
    groups: dict[tuple[str, ...], list[DataFile]] = defaultdict(list)
    for file in files:
        groups[_folder(file)].append(file)
    found: list[Source] = []
    for folder, members in groups.items():
        found += _of_folder(folder, members, title, columns)
    return _named_apart(found)


def _folder(file: DataFile) -> tuple[str, ...]:
    """The folders a file lies in, up to the first hive partition."""
    folders = file.parts[:-1]
    partitions = [at for at, name in enumerate(folders) if "=" in name]
    return folders[: partitions[0]] if partitions else folders


def _of_folder(
    folder: tuple[str, ...],
    members: list[DataFile],
    title: str,
    columns: Callable[[DataFile], tuple[str, ...]],
) -> Iterator[Source]:
    """One table for partitions, parts, and files of a sub-folder that have the same columns."""
    name = folder[-1] if folder else title
    for kind in dict.fromkeys(FORMATS[file.suffix] for file in members):
        same = [file for file in members if FORMATS[file.suffix] == kind]
        in_partitions = [file for file in same if _keys(file)]
        alone = [file for file in same if not _keys(file)]
        if in_partitions:
            yield Source(name, kind, tuple(in_partitions), _keys(in_partitions[0]))
        parts = alone if folder else [file for file in alone if _PART.fullmatch(file.stem)]
        if len(parts) > 1 and _alike(parts, kind, columns):
            yield Source(name, kind, tuple(parts))
            alone = [file for file in alone if file not in parts]
        for file in alone:
            yield Source(file.stem, kind, (file,))


def _keys(file: DataFile) -> tuple[str, ...]:
    """The names of the hive partitions that a file lies in."""
    return tuple(part.partition("=")[0] for part in file.parts[:-1] if "=" in part)


def _alike(
    files: list[DataFile], kind: str, columns: Callable[[DataFile], tuple[str, ...]]
) -> bool:
    """Whether all have the columns of the first; JSON objects may leave some out."""
    sets = [frozenset(name.lower() for name in columns(file)) for file in files]
    if kind != "json":
        return all(names == sets[0] for names in sets)
    every = frozenset[str]().union(*sets)
    return all(2 * len(names) >= len(every) for names in sets)


def _named_apart(found: list[Source]) -> list[Source]:
    """The sources with plain names, made longer where two would be the same.

    Told apart by format ("sales_csv"), then by folder ("north_sales"), then by number.
    """
    plain = [replace(source, name=table_name(source.name)) for source in found]
    for longer in (_with_format, _with_folder):
        clashing = _clashing(plain)
        plain = [longer(s, clashing) if s.name.lower() in clashing else s for s in plain]
    taken: set[str] = set()
    named = []
    for source in plain:
        name = source.name
        numbers = count(2)
        while name.lower() in taken:
            name = f"{source.name}_{next(numbers)}"
        taken.add(name.lower())
        named.append(replace(source, name=name))
    return named


def _clashing(found: list[Source]) -> dict[str, list[Source]]:
    by_name: dict[str, list[Source]] = defaultdict(list)
    for source in found:
        by_name[source.name.lower()].append(source)
    return {name: same for name, same in by_name.items() if len(same) > 1}


def _with_format(source: Source, clashing: dict[str, list[Source]]) -> Source:
    """ "sales_csv" beside "sales_parquet": by the files' endings."""
    endings = [other.files[0].suffix for other in clashing[source.name.lower()]]
    if len(set(endings)) < len(endings):
        return source
    return replace(source, name=f"{source.name}_{source.files[0].suffix[1:]}")


def _with_folder(source: Source, clashing: dict[str, list[Source]]) -> Source:
    folders = source.files[0].parts[:-1]
    return replace(source, name=table_name("_".join((*folders[-2:], source.name))))


def table_name(text: str) -> str:
    """`text` as a name that needs no quotes: letters, digits and _, no reserved word."""
    name = _NO_WORD.sub("_", unicodedata.normalize("NFC", text)).strip("_")[:MAX_NAME]
    if not name:
        return "data"
    if name[0].isdigit():
        name = f"t_{name}"
    return f"{name}_" if name.lower() in RESERVED else name


# Words that can't be a table's name without quotes, in DuckDB and other engines.
RESERVED = frozenset(
    "all analyse analyze and any array as asc asymmetric both by case cast check collate column "
    "constraint create cross current_date current_time current_timestamp default deferrable desc "
    "describe distinct do else end except exists false fetch for foreign from full group having in "
    "initially inner intersect into is join lateral leading left like limit natural not null "
    "offset on only or order outer over pivot pivot_longer pivot_wider placing positional primary "
    "qualify references returning right select semi show some summarize symmetric table then to "
    "trailing true union unique unpivot update user using values variadic when where window with "
    "index key keys schema set view".split()
)
