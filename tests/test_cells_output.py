"""Cells of every type: from drivers, into tables, CSV, JSON, JSON Lines, Parquet, DataFrames."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainsql.cli.output import aligned, print_csv, print_json
from plainsql.errors import PlainsqlError, UsageError
from plainsql.evaluation.execution_accuracy import same_rows
from plainsql.execution.cells import plain, plain_row
from plainsql.ranking import fingerprint
from plainsql.records import Answer, Cell, Rows, Status, cell_json, cell_text, comparable
from plainsql.writing.csv_form import CsvWriter, defused
from plainsql.writing.jsonl_form import JsonLinesWriter
from plainsql.writing.names import unique_names
from plainsql.writing.whole_file import whole_file

INF, NAN = float("inf"), float("nan")


# From drivers


class Mood(Enum):
    HAPPY = "happy"


class Level(IntEnum):
    HIGH = 3


class Word(str):
    pass


BERLIN = timezone(timedelta(hours=2))
PLAIN: list[tuple[Any, Cell]] = [
    (None, None),
    (True, True),
    (2**80, 2**80),
    (1.5, 1.5),
    ("text", "text"),
    ("Zürich 東京 😀", "Zürich 東京 😀"),
    (b"\x00\xff", b"\x00\xff"),
    (Decimal("1.10"), Decimal("1.10")),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"ab"), b"ab"),
    (date(2024, 5, 1), "2024-05-01"),
    (date(1, 1, 1), "0001-01-01"),
    (datetime(2024, 5, 1, 10), "2024-05-01T10:00:00"),
    (datetime(2024, 5, 1, 10, 0, 0, 500), "2024-05-01T10:00:00.000500"),
    (datetime(2024, 5, 1, 10, tzinfo=BERLIN), "2024-05-01T10:00:00+02:00"),
    (datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01T10:00:00+00:00"),
    (time(10, 30), "10:30:00"),
    (timedelta(0), "00:00:00"),
    (timedelta(days=1, hours=2), "1 day 02:00:00"),
    (timedelta(days=3, seconds=5, microseconds=500_000), "3 days 00:00:05.5"),
    (-timedelta(days=1, hours=2), "-1 day 02:00:00"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (ip_address("10.0.0.1"), "10.0.0.1"),
    (Mood.HAPPY, "happy"),
    (Level.HIGH, 3),
    (Word("w"), "w"),
    ([1, None, "é"], '[1,null,"é"]'),
    ((1, 2), "[1,2]"),
    ({"a": {"b": [True]}}, '{"a":{"b":[true]}}'),
    (OrderedDict(z=1, a=2), '{"z":1,"a":2}'),
    ({1: date(2024, 5, 1)}, '{"1":"2024-05-01"}'),
    ({"b", "a"}, '["a","b"]'),
    ([Decimal("1.5"), 2**60, NAN, b"\x01"], '[1.5,"1152921504606846976","NaN","0x01"]'),
    ("a\ud800b", "a\ufffdb"),
    ("\ud83d\ude00", "😀"),
    ("\x00", "\x00"),
]


@pytest.mark.parametrize(("value", "cell"), PLAIN, ids=[repr(v)[:30] for v, _ in PLAIN])
def test_values_of_drivers_become_cells(value: Any, cell: Cell) -> None:
    assert plain(value) == cell
    assert type(plain(value)) is type(cell)
    assert plain_row((value, 1)) == (cell, 1)


def test_arrays_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    assert plain(numpy.int64(3)) == 3
    assert plain(numpy.float32(0.5)) == 0.5
    assert plain(numpy.array([[1, 2], [3, 4]])) == "[[1,2],[3,4]]"


# The forms of a cell

FORMS: list[tuple[Cell, str, Any]] = [
    (None, "", None),
    (True, "true", True),
    (False, "false", False),
    (0, "0", 0),
    (-5, "-5", -5),
    (2**53, "9007199254740992", 2**53),
    (2**53 + 1, "9007199254740993", "9007199254740993"),
    (-(2**63), "-9223372036854775808", "-9223372036854775808"),
    (0.1, "0.1", 0.1),
    (1e300, "1e+300", 1e300),
    (NAN, "NaN", "NaN"),
    (INF, "Infinity", "Infinity"),
    (-INF, "-Infinity", "-Infinity"),
    (Decimal("12.50"), "12.50", 12.5),
    (Decimal("100"), "100", 100),
    (Decimal("1E+3"), "1000", 1000),
    (Decimal("1E-7"), "0.0000001", 1e-7),
    (Decimal("123456789012.345"), "123456789012.345", 123456789012.345),
    (Decimal("1234567890123.4567"), "1234567890123.4567", "1234567890123.4567"),
    (Decimal("0.1000000000000000000"), "0.1000000000000000000", 0.1),
    (Decimal("NaN"), "NaN", "NaN"),
    (Decimal("-Infinity"), "-Infinity", "-Infinity"),
    (Decimal("sNaN"), "NaN", "NaN"),
    (b"\x00\xff", "0x00ff", "0x00ff"),
    ("12", "12", "12"),
    ("", "", ""),
]


@pytest.mark.parametrize(("cell", "text", "form"), FORMS, ids=[repr(f[0]) for f in FORMS])
def test_the_forms_of_a_cell(cell: Cell, text: str, form: Any, capsys: Any) -> None:
    assert cell_text(cell) == text
    assert cell_json(cell) == form
    assert type(cell_json(cell)) in (type(form), int, float)
    print_csv(["c", "d"], [(cell, 1)])
    assert next(csv.reader([capsys.readouterr().out.splitlines()[1]])) == [text, "1"]
    answer = Answer(Status.ANSWERED, "q", columns=("c",), rows=((cell,),))
    print_json(answer.to_dict())
    assert json.loads(capsys.readouterr().out)["rows"] == [[form]]
    written = io.StringIO()
    JsonLinesWriter(written, ["c"]).write([(cell,)])
    assert json.loads(written.getvalue()) == {"c": form}


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.decimals() | st.floats() | st.integers() | st.booleans() | st.text() | st.binary())
def test_json_and_csv_are_always_well_formed(cell: Cell) -> None:
    written = io.StringIO()
    JsonLinesWriter(written, ["c"]).write([(cell,)])
    form = json.loads(written.getvalue(), parse_constant=pytest.fail)["c"]
    if isinstance(form, int | float) and not isinstance(form, bool):
        assert isinstance(cell, int | float | Decimal)
        assert form == (float(cell) if isinstance(cell, Decimal) else cell)
    written.getvalue().encode("utf-8")
    table = io.StringIO()
    CsvWriter(table, ["c", "d"]).write([(cell, None)])
    rows = list(csv.reader(io.StringIO(table.getvalue(), newline="")))
    assert rows == [["c", "d"], [cell_text(cell), ""]]


def test_a_table_of_all_types() -> None:
    columns = ["n", "yes", "amount", "what"]
    rows: list[tuple[Cell, ...]] = [
        (1, True, Decimal("2.50"), "a"),
        (20, False, Decimal("-100"), None),
        (None, None, None, b"\x01"),
    ]
    assert aligned(columns, rows).splitlines() == [
        "   n  yes    amount  what",
        "----  -----  ------  ----",
        "   1  true     2.50  a",
        "  20  false    -100  NULL",
        "NULL  NULL     NULL  0x01",
    ]


def test_a_data_frame_keeps_the_types() -> None:
    pytest.importorskip("pandas", reason="pip install 'plainsql[all]'")
    rows = ((1, True, Decimal("2.5"), "x"), (2, False, Decimal("3"), None))
    frame = Answer(Status.ANSWERED, "q", columns=("a", "b", "c", "d"), rows=rows).df()
    assert list(frame["a"]) == [1, 2]
    assert frame["b"].dtype == bool
    assert list(frame["c"]) == [Decimal("2.5"), Decimal("3")]
    assert frame["c"].sum() == Decimal("5.5")


def test_jsonl_names_each_column(tmp_path: Path) -> None:
    written = io.StringIO()
    writer = JsonLinesWriter(written, ["a", "a", 'q"%s', "a_2"])
    writer.write([(1, 2, 3, 4)])
    assert json.loads(written.getvalue()) == {"a": 1, "a_3": 2, 'q"%s': 3, "a_2": 4}


NAMES = [
    ((), ()),
    (("a", "b"), ("a", "b")),
    (("a", "a", "a"), ("a", "a_2", "a_3")),
    (("a", "a", "a_2"), ("a", "a_3", "a_2")),
    (("", ""), ("", "_2")),
]


@pytest.mark.parametrize(("given", "unique"), NAMES)
def test_unique_names(given: Sequence[str], unique: tuple[str, ...]) -> None:
    assert unique_names(given) == unique


# Comparing results

SAME: list[tuple[Cell, Cell, bool]] = [
    (Decimal("0.10"), 0.1, True),
    (Decimal("3"), 3, True),
    (Decimal("3.0"), 3.0, True),
    (NAN, NAN, True),
    (Decimal("NaN"), NAN, True),
    (True, 1, True),
    ("1", 1, False),
    (Decimal("0.3"), 0.1 + 0.2, False),
    (Decimal("1.0000000000000000001"), 1, False),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME)
def test_equal_numbers_are_the_same_cell(one: Cell, other: Cell, same: bool) -> None:
    assert (comparable(one) == comparable(other)) is same
    for ordered in (True, False):
        assert same_rows([(one, "x")], [("x", other)], ordered=ordered) is same
    same_type = same and type(comparable(one)) is type(comparable(other))
    first, second = (fingerprint(Rows(("a",), ((cell,),))) for cell in (one, other))
    assert (first == second) is same_type


# CSV that is safe to open in a spreadsheet

PAYLOADS = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "  @x", "\u00a0=1",
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://x","y")', "＝1+1", "＋1", "－1a", "＠x",
    "-2+3+cmd|' /C calc'!A0", "=\"a\"", "\x00=1", "+A1",
]  # fmt: skip
HARMLESS = ["-5", "+5", "-5.25", "-.5", "+1e9", "a=b", "a@b.example", "", "1-2", "'=1", "x\n=y"]


@pytest.mark.parametrize("text", PAYLOADS)
def test_formulas_are_defused_when_asked(text: str) -> None:
    for safe in (True, False):
        written = io.StringIO()
        writer = CsvWriter(written, [text, "n"], safe=safe)
        writer.write([(text, -5)])
        rows = list(csv.reader(io.StringIO(written.getvalue(), newline="")))
        expected = "'" + text if safe else text
        assert rows == [[expected, "n"], [expected, "-5"]]


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_other_texts_stay(text: str) -> None:
    assert defused(text) == text


# Files that are whole or not there


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o640)
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError])
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(PlainsqlError if error is OSError else error):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "old"


def test_links_are_followed_and_devices_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_file(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"x"
    with whole_file("/dev/null") as file:
        file.write(b"x")
    with pytest.raises(PlainsqlError, match="No space left"), whole_file("/dev/full") as file:
        file.write(b"x" * 100_000)


def test_a_file_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError), whole_file(tmp_path / "none" / "out.csv"):
        pass


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with whole_file(tmp_path / "new") as file:
            file.write(b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


# Parquet


def parquet(path: Path, columns: Sequence[str], *batches: list[tuple[Cell, ...]]) -> Any:
    """What a reader finds after these batches, each a row group of its own."""
    reader = pytest.importorskip("pyarrow.parquet", reason="pip install 'plainsql[parquet]'")
    from plainsql.writing.parquet_form import ParquetWriter

    with whole_file(path) as file:
        writer = ParquetWriter(file, columns)
        for batch in batches:
            writer.write(batch)
            writer._flush()
        writer.close()
    return reader.read_table(path)


D = Decimal
WIDENING: list[tuple[list[list[Cell]], str, list[Any]]] = [
    ([[1], [None]], "int64", [1, None]),
    ([[None], [None]], "null", [None, None]),
    ([[None], [2]], "int64", [None, 2]),
    ([[1], [2.5]], "double", [1.0, 2.5]),
    ([[2**53 + 1], [2.5]], "string", ["9007199254740993", "2.5"]),
    ([[1], ["x"], [2.5]], "string", ["1", "x", "2.5"]),
    ([[True], [None], [False]], "bool", [True, None, False]),
    ([[True], [1]], "string", ["true", "1"]),
    ([[D("1.50")], [D("123.4")]], "decimal128(38, 2)", [D("1.50"), D("123.40")]),
    ([[D("1.5")], [D("0.001")]], "decimal128(38, 3)", [D("1.500"), D("0.001")]),
    ([[1], [D("0.5")]], "decimal128(38, 1)", [D("1.0"), D("0.5")]),
    ([[D("1.5")], [D("NaN")]], "string", ["1.5", "NaN"]),
    ([[D("1.5")], [0.5]], "string", ["1.5", "0.5"]),
    ([[2**63], [1]], "decimal128(38, 0)", [D(2**63), D(1)]),
    ([[D(10) ** 40], [None]], "string", ["1" + "0" * 40, None]),
    ([[b"\x01"], [b""]], "binary", [b"\x01", b""]),
    ([[b"\x01"], ["x"]], "string", ["0x01", "x"]),
    ([[NAN], [INF]], "double", [NAN, INF]),
    ([["2024-05-01"], ["é😀"]], "string", ["2024-05-01", "é😀"]),
]


@pytest.mark.parametrize(
    ("cells", "kind", "expected"), WIDENING, ids=[repr(w[0]) for w in WIDENING]
)
def test_parquet_types_widen_without_loss(
    tmp_path: Path, cells: list[list[Cell]], kind: str, expected: list[Any]
) -> None:
    found = parquet(tmp_path / "a.parquet", ["c"], *([(cell,) for cell in b] for b in cells))
    assert str(found.schema.field("c").type) == kind
    assert str(found.column("c").to_pylist()) == str(expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.parquet"]


def test_parquet_without_rows_and_with_equal_names(tmp_path: Path) -> None:
    assert parquet(tmp_path / "a.parquet", ["a", "a"]).column_names == ["a", "a_2"]
    found = parquet(tmp_path / "b.parquet", ["a", "a"], [(1, "x")], [(2, None)])
    assert found.to_pydict() == {"a": [1, 2], "a_2": ["x", None]}
