"""CSV and TSV files as tables: dialect, encoding, the kind of each column.

DuckDB finds out delimiter, quotes and header. The kind of a column is taken from
all of its values, not from a sample, and only where nothing is lost by it: codes
with leading zeros, numbers with decimal commas and dates that could be read in
two ways stay text.
"""

from __future__ import annotations

import codecs
import gzip
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self, cast

import duckdb

from plainsql.errors import ConnectError
from plainsql.execution.files import DataFile, Source
from plainsql.execution.files_kinds import BLANKS, KINDS, Kind, next_kinds, open_kinds
from plainsql.execution.files_sql import identifier, literal, path_list, plain_path

if TYPE_CHECKING:
    from types import TracebackType

_LINE_BYTES = 4_000_000  # of one line, its quoted line breaks included; DuckDB buffers 16
_SNIFFED_LINES = 20_000  # that DuckDB looks at
_SAMPLE_CELLS = 200_000  # looked at to see which kinds a column can't have
_SAMPLE_ROWS = 1_000
_SHOWN_LINES = 3  # of those that can't be read
_CHUNK = 1 << 20
_REJECTED = "plainsql_rejected"
_SCANNED = "plainsql_scanned"
_TESTS_AT_ONCE = 100

# What happens to lines that can't be read: left out, or left out and noted.
_SKIPPING = "ignore_errors=true"
_REJECTING = f"store_rejects=true, rejects_table='{_REJECTED}', rejects_scan='{_SCANNED}'"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one file is written. `names` are its columns, without hive keys."""

    delimiter: str
    quote: str
    escape: str
    comment: str
    skip: int
    header: bool
    names: tuple[str, ...]


class Reader:
    """Reads CSV files over one connection. A context: it may make temporary copies."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._dialects: dict[Path, Dialect] = {}
        self._readable: dict[Path, Path] = {}  # a file -> itself, or its copy in UTF-8
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._copies is not None:
            self._copies.cleanup()

    def dialect(self, file: DataFile) -> Dialect:
        """How `file` is written. Raises what DuckDB raises when it can't tell."""
        if file.path not in self._dialects:
            self._dialects[file.path] = self._sniffed(self._utf8(file))
        return self._dialects[file.path]

    def load(self, source: Source, hive: dict[str, str]) -> str:
        """Make the table of `source`; a sentence on lines that were left out, or ""."""
        scans = self._scans(source, hive)
        names = self._names(scans)
        kinds = self._kinds(scans, [name for name in names if name not in hive])
        items = ", ".join(
            f"{kinds[name].read(name)} AS {identifier(name)}" if name in kinds else identifier(name)
            for name in names
        )
        self._connection.execute(
            f"CREATE OR REPLACE TABLE {identifier(source.name)} AS"
            f" SELECT {items} FROM ({_union(scans, _REJECTING)})"
        )
        return self._rejected(source)

    def _utf8(self, file: DataFile) -> Path:
        """The file, or a copy of it in UTF-8 where it has another encoding."""
        if file.path not in self._readable:
            encoding = encoding_of(file)
            if encoding == "utf-8":
                self._readable[file.path] = file.path
            else:
                self._readable[file.path] = self._copied(file, encoding)
        return self._readable[file.path]

    def _copied(self, file: DataFile, encoding: str) -> Path:
        """note: DuckDB's own latin-1 has no € and no curly quotes, which Windows writes."""
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="plainsql-")
        # keeps its folders' names: hive partitions are read from them
        target = Path(self._copies.name, str(len(self._readable)), *file.parts)
        target = target.with_name(target.name.removesuffix(".gz"))
        target.parent.mkdir(parents=True)
        with (
            _opened(file) as stream,
            codecs.getreader(encoding)(stream, "replace") as text,
            target.open("w", encoding="utf-8", newline="") as copy,
        ):
            while chunk := text.read(_CHUNK):
                copy.write(chunk)
        return target

    def _sniffed(self, path: Path) -> Dialect:
        found = self._connection.execute(
            "SELECT Delimiter, Quote, Escape, Comment, SkipRows, HasHeader, Columns"
            f" FROM sniff_csv({literal(plain_path(path))}, ignore_errors=true,"
            f" max_line_size={_LINE_BYTES})"
        ).fetchone()
        assert found is not None
        delimiter, quote, escape, comment, skip, header, columns = found
        quote, escape, comment = (_mark(mark) for mark in (quote, escape, comment))
        if not quote and not _has_quotes(path):
            quote = '"'  # none in the sample; there may be some further on
        names = _distinct(column["name"] for column in columns)
        return Dialect(delimiter, quote, escape or quote, comment, int(skip), bool(header), names)

    def _scans(self, source: Source, hive: dict[str, str]) -> list[str]:
        """What to read the files with, one call for all that are written alike."""
        alike: dict[Dialect, list[Path]] = {}
        for file in source.files:
            alike.setdefault(self.dialect(file), []).append(self._utf8(file))
        return [_scan(dialect, paths, hive) for dialect, paths in alike.items()]

    def _names(self, scans: Sequence[str]) -> list[str]:
        self._connection.execute(f"SELECT * FROM ({_union(scans, _SKIPPING)}) LIMIT 0")
        return [column[0] for column in self._connection.description or ()]

    def _kinds(self, scans: Sequence[str], names: Sequence[str]) -> dict[str, Kind]:
        """The kind of each column that isn't text, by all of its values.

        In rounds: what doesn't fit a column's first kind is tried with the next.
        """
        waiting = {name: left for name, left in self._possible(scans, names).items() if left}
        found: dict[str, Kind] = {}
        while waiting:
            tests = [(name, at) for name, left in waiting.items() for at in next_kinds(left)]
            fitting: dict[str, list[int]] = {name: [] for name in waiting}
            for name, at in self._passed(scans, tests):
                fitting[name].append(at)
            found |= {name: KINDS[fits[0]] for name, fits in fitting.items() if len(fits) == 1}
            waiting = {
                name: rest
                for name, left in waiting.items()
                if not fitting[name] and (rest := left[len(next_kinds(left)) :])
            }
        return found

    def _passed(
        self, scans: Sequence[str], tests: Sequence[tuple[str, int]]
    ) -> Iterator[tuple[str, int]]:
        """The tests (column, position in KINDS) that all values of the column pass.

        note: DuckDB plans aggregates in time quadratic in their number.
        """
        for start in range(0, len(tests), _TESTS_AT_ONCE):
            some = tests[start : start + _TESTS_AT_ONCE]
            items = ", ".join(f"bool_and({KINDS[at].fits(name)})" for name, at in some)
            sql = f"SELECT {items} FROM ({_union(scans, _SKIPPING)})"
            row = self._connection.execute(sql).fetchone() or ()
            yield from (test for test, passed in zip(some, row, strict=True) if passed)

    def _possible(self, scans: Sequence[str], names: Sequence[str]) -> dict[str, list[int]]:
        """The kinds that the first values of each column leave open."""
        count = max(20, min(_SAMPLE_ROWS, _SAMPLE_CELLS // max(1, len(names))))
        cells = ", ".join(map(identifier, names))
        rows = self._connection.execute(
            f"SELECT {cells} FROM ({_union(scans, _SKIPPING)}) LIMIT {count}"
        ).fetchall()
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        return {
            name: open_kinds({value.strip(BLANKS) for value in values if value is not None})
            for name, values in zip(names, columns, strict=True)
        }

    def _rejected(self, source: Source) -> str:
        """How many lines could not be read, and the first of them."""
        order = "ORDER BY scan_id, file_id, line"
        errors = self._connection.execute(
            f"SELECT DISTINCT scan_id, file_id, line, error_message FROM {_REJECTED} {order}"
        ).fetchall()
        self._connection.execute(f"DROP TABLE {_REJECTED}; DROP TABLE {_SCANNED}")
        lines = {tuple(error[:3]): str(error[3]) for error in errors}
        if not lines:
            return ""
        kept = self._connection.execute(f"SELECT 1 FROM {identifier(source.name)} LIMIT 1")
        shown = "/".join(source.files[0].parts) + (" and others" if source.files[1:] else "")
        first = "; ".join(
            f"line {place[2]}: {message.splitlines()[0]}"
            for place, message in [*lines.items()][:_SHOWN_LINES]
        )
        if kept.fetchone() is None:
            raise ConnectError(
                f"The file {shown} can't be read as CSV: {first}.",
                hint="Check its delimiter and its quotes.",
            )
        return f"{len(lines):,} of the lines of {shown} can't be read and were left out ({first})."


def encoding_of(file: DataFile) -> str:
    """utf-8, utf-16 by its mark, or cp1252, which is what text of neither kind mostly is."""
    with _opened(file) as stream:
        head = stream.read(_CHUNK)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while head:
                decoder.decode(head)
                head = stream.read(_CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _opened(file: DataFile) -> IO[bytes]:
    """The bytes of a file, unpacked. Raises ConnectError."""
    try:
        if file.path.name.lower().endswith(".gz"):
            return cast(IO[bytes], gzip.open(file.path, "rb"))
        return file.path.open("rb")
    except OSError as error:
        raise ConnectError(
            f"Can't read {file.path}: {error.strerror}.",
            hint=f"Give yourself the right to read it: chmod u+r '{file.path}'",
        ) from error


def _mark(mark: str) -> str:
    """A character of the dialect, as DuckDB's sniffer spells it."""
    return "" if mark == "(empty)" else mark


def _has_quotes(path: Path) -> bool:
    """Whether DuckDB saw quotation marks when it said that there are no quotes."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        return any(b'"' in line for line in islice(stream, _SNIFFED_LINES))


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names of columns without control characters, none of them twice."""
    found: dict[str, str] = {}
    for at, raw in enumerate(names):
        plain = " ".join("".join(c if c.isprintable() else " " for c in raw).split())
        name = base = plain or f"column{at}"
        number = 1
        while name.lower() in found:
            name, number = f"{base}_{number}", number + 1
        found[name.lower()] = name
    return tuple(found.values())


def _scan(dialect: Dialect, paths: Sequence[Path], hive: dict[str, str]) -> str:
    """The start of a call of read_csv that reads every column as text."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in dialect.names)
    kinds = ", ".join(f"{literal(name)}: {kind}" for name, kind in hive.items())
    partitions = f"true, hive_types={{{kinds}}}" if hive else "false"
    return (
        f"read_csv({path_list(paths)}, auto_detect=false, delim={literal(dialect.delimiter)},"
        f" quote={literal(dialect.quote)}, escape={literal(dialect.escape)},"
        f" comment={literal(dialect.comment)}, skip={dialect.skip},"
        f" header={str(dialect.header).lower()}, columns={{{columns}}},"
        f" max_line_size={_LINE_BYTES}, hive_partitioning={partitions}"
    )


def _union(scans: Sequence[str], mode: str) -> str:
    return " UNION ALL BY NAME ".join(f"SELECT * FROM {scan}, {mode})" for scan in scans)
