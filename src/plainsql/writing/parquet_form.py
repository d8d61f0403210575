"""Rows as Apache Parquet, through pyarrow.

A query's columns have no declared types here, so each takes the narrowest type
that holds what has come. When a later batch needs a wider one, what is written
is read back, row group by row group, and written again in the wider type: rare,
and memory stays that of one row group.

    nothing < bool | whole < float | decimal(digits, places) | bytes < text

Whole numbers beyond 2^53 among floats, floats among decimals, and NaN among
decimals become text, as `cell_text` writes them: nothing is rounded.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from plainsql.errors import MissingExtra
from plainsql.records import Cell, cell_text
from plainsql.writing.names import unique_names

Row = tuple[Cell, ...]

GROUP_BYTES = 2_000_000  # of Python objects in one row group, roughly: what is held in memory
_CELL = 64  # bytes of a Python object and its place in the row
_DIGITS = 38  # of Arrow's 128-bit decimals
_WHOLE = 2**63
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class Form:
    """The type of a column: its name, and for decimals digits before and after the point."""

    name: str = "null"  # null, bool, whole, float, decimal, bytes, text
    before: int = 0
    after: int = 0
    exact: bool = True  # of whole numbers: whether floats hold them all


NULL, TEXT = Form(), Form("text")
_SIMPLE: dict[type, Form] = {
    type(None): NULL, str: TEXT, bool: Form("bool"), float: Form("float"), bytes: Form("bytes"),
}  # fmt: skip


def form_of(cell: Cell) -> Form:
    """The narrowest form of one cell."""
    if isinstance(cell, Decimal):
        return _of_decimal(cell)
    if type(cell) is int:
        if not -_WHOLE <= cell < _WHOLE:
            return _sized(len(str(abs(cell))), 0)
        return Form("whole", exact=abs(cell) <= _EXACT)
    return _SIMPLE[type(cell)]


def _of_decimal(cell: Decimal) -> Form:
    if not cell.is_finite():
        return TEXT
    _, digits, exponent = cell.as_tuple()
    assert isinstance(exponent, int)
    return _sized(max(len(digits) + exponent, 0), max(-exponent, 0))


def _sized(before: int, after: int) -> Form:
    return Form("decimal", before, after) if before + after <= _DIGITS else TEXT


def widened(one: Form, other: Form) -> Form:
    """The narrowest form that holds the cells of both."""
    if NULL in (one, other) or one == other:
        return other if one == NULL else one
    names = {one.name, other.name}
    if names == {"whole"}:
        return Form("whole", exact=False)
    if names == {"whole", "float"}:
        whole = one if one.name == "whole" else other
        return Form("float") if whole.exact else TEXT
    if names <= {"whole", "decimal"}:
        sides = [
            (19, 0) if form.name == "whole" else (form.before, form.after) for form in (one, other)
        ]
        return _sized(max(s[0] for s in sides), max(s[1] for s in sides))
    return TEXT


class ParquetWriter:
    """Writes batches to `file`; `close` ends it. Raises MissingExtra without pyarrow."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._arrow = _pyarrow()
        self._file = file
        self._names = unique_names(columns)
        self._forms: list[Form] = [NULL] * len(self._names)
        self._writer: Any = None
        self._waiting: list[Row] = []
        self._bytes = 0

    def write(self, batch: Iterable[Row]) -> None:
        """Append rows; they reach the file a row group at a time."""
        for row in batch:
            self._waiting.append(row)
            self._bytes += sum(len(c) for c in row if isinstance(c, str | bytes)) + _CELL * len(row)
            if self._bytes >= GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write what waits, and the file's footer."""
        self._flush()
        if self._writer is None:
            self._open()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that will be thrown away; nothing after `close`."""
        if self._writer is not None and self._writer.is_open:
            with contextlib.suppress(Exception):  # a full disk has been told of already
                self._writer.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        cells = list(zip(*self._waiting, strict=True))
        forms = [
            self._widest(form, column) for form, column in zip(self._forms, cells, strict=True)
        ]
        wider = list(map(self._type, forms)) != list(map(self._type, self._forms))
        if self._writer is not None and wider:
            self._rewrite(forms)
        self._forms = forms
        if self._writer is None:
            self._open()
        self._writer.write_table(self._table(cells))
        self._waiting, self._bytes = [], 0

    def _widest(self, form: Form, column: Sequence[Cell]) -> Form:
        kinds = set(map(type, column))
        for kind in sorted(kinds & _SIMPLE.keys(), key=str):
            form = widened(form, _SIMPLE[kind])
        if int in kinds:
            whole = [cell for cell in column if type(cell) is int]
            form = widened(widened(form, form_of(min(whole))), form_of(max(whole)))
        for cell in column if Decimal in kinds else ():
            if isinstance(cell, Decimal):
                form = widened(form, form_of(cell))
        return form

    def _open(self) -> None:
        from pyarrow.parquet import ParquetWriter as Writer

        self._file.seek(0)
        self._file.truncate()
        # Row groups are too small for dictionaries: without them 1,000,000 rows take 8 MB
        # less of memory, and half of the file.
        schema = self._schema()
        self._writer = Writer(self._file, schema, compression="zstd", use_dictionary=False)

    def _schema(self) -> Any:
        pairs = zip(self._names, map(self._type, self._forms), strict=True)
        return self._arrow.schema(list(pairs))

    def _type(self, form: Form) -> Any:
        arrow = self._arrow
        if form.name == "decimal":
            return arrow.decimal128(_DIGITS, form.after)  # room for more digits before the point
        kinds = {
            "null": arrow.null, "bool": arrow.bool_, "whole": arrow.int64,
            "float": arrow.float64, "bytes": arrow.binary, "text": arrow.string,
        }  # fmt: skip
        return kinds[form.name]()

    def _table(self, cells: Sequence[Sequence[Cell]]) -> Any:
        arrays = [
            self._arrow.array(_fitting(column, form), self._type(form))
            for column, form in zip(cells, self._forms, strict=True)
        ]
        return self._arrow.Table.from_arrays(arrays, schema=self._schema())

    def _rewrite(self, forms: list[Form]) -> None:
        """Write what is written again, in wider forms."""
        from pyarrow.parquet import ParquetFile

        self._writer.close()
        with tempfile.TemporaryFile(dir=_folder_of(self._file)) as copy:
            self._file.seek(0)
            while chunk := self._file.read(1 << 20):
                copy.write(chunk)
            copy.seek(0)
            self._forms = forms
            self._open()
            with ParquetFile(copy) as written:
                for group in range(written.num_row_groups):
                    table = written.read_row_group(group, use_threads=False)  # 9 MB less
                    cells = [column.to_pylist() for column in table.columns]
                    self._writer.write_table(self._table(cells))


def _fitting(column: Sequence[Cell], form: Form) -> list[Any]:
    """Cells as Python values that Arrow takes for `form`."""
    if form.name == "text":
        return [c if c is None or type(c) is str else cell_text(c) for c in column]
    if form.name == "float":
        return [c if c is None else float(c) for c in column]
    if form.name == "decimal":
        return [c if c is None else Decimal(c) for c in column]  # type: ignore[arg-type]
    return list(column)


def _folder_of(file: IO[bytes]) -> str | None:
    """Where there is room for a second copy: beside the first."""
    name = getattr(file, "name", None)
    return os.fspath(Path(name).parent) if isinstance(name, str | os.PathLike) else None


def lean_memory() -> None:
    """Let Arrow give memory back at once, in a process that only writes.

    Its own allocator keeps 20 MB more for an export of 1,000,000 rows.
    """
    arrow = _pyarrow()
    arrow.set_memory_pool(arrow.system_memory_pool())


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("Parquet files", "parquet") from error
    return pyarrow
