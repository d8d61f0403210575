"""Where pairs are read from: files, and data sets of the Hugging Face Hub, row by row."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from plainsql.entries import SUFFIXES, Entry, entries
from plainsql.errors import DataError, MissingExtra, UsageError
from plainsql.training.data.formats import AUTO, LOOKED_AT, Format, Row, format_of, read_row
from plainsql.training.data.wikisql import Headers, read_headers
from plainsql.translators.language_model.libraries import quiet

_BLOCK = 1 << 20  # bytes
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """One source. `path` is None for a data set that the library `datasets` loads."""

    name: str  # as it was given
    path: Path | None
    split: str = "train"  # of a data set with several
    validation: bool = False  # all of it is for validation


def find_source(name: str, *, split: str = "train", validation: bool = False) -> Source:
    """A file where there is one, else a folder or the id of a data set on the Hub.

    Raises `DataError` for what can be neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path.name}: unknown kind of data set.", hint=f"Use {', '.join(SUFFIXES)}."
            )
        return Source(name, path, split, validation)
    if path.is_dir() or (_HUB_ID.fullmatch(name) and path.suffix.lower() not in SUFFIXES):
        return Source(name, None, split, validation)
    raise DataError(
        f"{name}: no such file.",
        hint="Give a file, or the id of a data set on the Hub: OWNER/NAME.",
    )


class Rows:
    """The rows of one source, read as they are asked for.

    `format` is known from the start. Raises `DataError` when the source can't be
    read, or is of no known form.
    """

    def __init__(self, source: Source, wanted: str = AUTO) -> None:
        self.source = source
        self._digest = hashlib.sha256()
        found = self._entries()
        first = list(islice(found, LOOKED_AT))
        if not first:
            raise DataError(f"{source.name}: the data set is empty.", hint="Give one with rows.")
        self.format: Format = format_of((e.value for e in first), wanted, source.name)
        self._headers = self._read_headers()
        self._waiting: Iterable[Entry] = chain(first, found)

    def __iter__(self) -> Iterator[Row]:
        for entry in self._waiting:
            if entry.error:
                yield Row(entry.line, error=entry.error)
            else:
                yield read_row(self.format, entry.line, entry.value, self._headers)

    def sha256(self) -> str:
        """Of the file, in hexadecimal; of the rows read so far where there is no file."""
        if self.source.path is None:
            return self._digest.hexdigest()
        with self.source.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def expected(self) -> int | None:
        """About how many rows there are, where counting lines tells it."""
        path = self.source.path
        if path is None or path.suffix.lower() == ".json":
            return None
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))

    def _entries(self) -> Iterator[Entry]:
        if self.source.path is None:
            for number, value in enumerate(_hub_rows(self.source), 1):
                self._digest.update(json.dumps(value, default=str, sort_keys=True).encode())
                yield Entry(number, value)
            return
        try:
            yield from entries(self.source.path)
        except UsageError as error:
            raise DataError(error.message, hint=error.hint) from error

    def _read_headers(self) -> Headers:
        path = self.source.path
        if path is None or self.format.name != "wikisql":
            return Headers({})
        try:
            return read_headers(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path.stem}.tables.jsonl can't be used: {error!r}") from error


def _hub_rows(source: Source) -> Iterator[dict[str, Any]]:
    """The rows of a data set, streamed. Raises `DataError`, `MissingExtra`."""
    quiet()  # it tells of each attempt to connect
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtra("Reading a data set of the Hub", "train") from error
    try:
        yield from load_dataset(source.name, split=source.split, streaming=True)
    except Exception as error:  # of many kinds: network, files, formats, unknown names
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"{source.name}: not a data set that can be loaded: {said}",
            hint="Check its id, --hub-split, and the network.",
        ) from error
