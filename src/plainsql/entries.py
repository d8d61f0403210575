"""The entries of a .json, .jsonl or .csv file, one at a time, with the lines they stand on.

Memory does not grow with the file: JSON Lines and CSV are read line by line, a
JSON array through a window that holds about one entry more than it must.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from plainsql.errors import UsageError

_WINDOW = 1 << 16  # characters of a JSON array read at once, to begin with
_BETWEEN = re.compile(r"[\s,]*")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it was read. `error` says why `value` is None, "" where it isn't."""

    line: int  # where it begins, from 1
    value: object
    error: str = ""


def entries(path: Path) -> Iterator[Entry]:
    """All entries of the file, in order. A broken line of JSON Lines is an entry in error.

    Raises UsageError when the file is missing, of another kind, or broken so
    that nothing behind the fault can be read.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path.name}: unknown kind of data set.", hint="Use .json, .jsonl or .csv."
        )
    try:
        yield from reader(path)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file.") from error
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise UsageError(f"{path}: not a readable {path.suffix} file: {error}") from error


def _json_array(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8-sig") as file:
        window = _Window(file)
        if window.next_character() != "[":
            raise ValueError("expected a list of questions")
        window.at += 1
        while (character := window.next_character()) != "]":
            if not character:
                raise ValueError(f"the list is not closed (line {window.line()})")
            line = window.line()
            yield Entry(line, window.value())


class _Window:
    """The part of a file of JSON that is looked at; `at` is the place within it."""

    def __init__(self, file: IO[str]) -> None:
        self.at = 0
        self._file = file
        self._text = ""
        self._size = _WINDOW
        self._lines_before = 1
        self._decode: Callable[[str, int], tuple[object, int]] = json.JSONDecoder().raw_decode

    def line(self) -> int:
        """The line of the current place, from 1."""
        return self._lines_before + self._text.count("\n", 0, self.at)

    def next_character(self) -> str:
        """The character behind blanks and commas, "" at the end of the file."""
        while True:
            self.at = _BETWEEN.match(self._text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self._text):
                return self._text[self.at]
            if not self._more():
                return ""

    def value(self) -> object:
        """The JSON value at the current place. Raises ValueError where there is none."""
        while True:
            try:
                value, end = self._decode(self._text, self.at)
                if end < len(self._text):  # else digits may follow
                    self.at, self._size = end, _WINDOW
                    return value
                fault = "the list is not closed"
            except ValueError as error:
                fault = str(error).partition(":")[0]
            # Twice as much at each attempt: a fault costs two readings of the rest, not many.
            self._size *= 2
            if not self._more():
                raise ValueError(f"{fault} (in the entry on line {self.line()})")

    def _more(self) -> bool:
        """Forget what was read, read on; False at the end of the file."""
        more = self._file.read(self._size)
        self._lines_before = self.line()
        self._text, self.at = self._text[self.at :] + more, 0
        return bool(more)


def _json_lines(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if not text.strip():
                continue
            try:
                yield Entry(number, json.loads(text.decode("utf-8")))
            except (ValueError, RecursionError) as error:
                yield Entry(number, None, f"not a line of JSON: {error}")


def _csv(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        _ = reader.fieldnames  # reads the header
        before = reader.line_num
        for row in reader:
            yield Entry(before + 1, row)
            before = reader.line_num


_READERS: dict[str, Callable[[Path], Iterator[Entry]]] = {
    ".json": _json_array,
    ".jsonl": _json_lines,
    ".csv": _csv,
}
SUFFIXES = tuple(_READERS)
