"""Rows that cross the pipe by columns: what arrives is what was sent, or one error."""

from __future__ import annotations

import math
import pickle
import random
import struct
from array import array
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainsql.errors import ExecutionError, QueryTimeout
from plainsql.execution import worker_wire as wire
from plainsql.execution.base import in_process_engine
from plainsql.execution.targets import parse_target
from plainsql.execution.worker_client import WorkerEngine
from plainsql.execution.worker_columns import Chunk, Column, rows_of_columns

CELLS = (type(None), bool, int, float, str, bytes, Decimal)
WHOLE = {"b": 8, "h": 16, "i": 32, "q": 64}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4).map(
    lambda number: number if len(str(number)) < 40 else Decimal("1.5000")
)
# The code of a column, and what its cells may be.
KINDS: list[tuple[str, st.SearchStrategy[Any]]] = [
    *((code, st.integers(-(2 ** (n - 1)), 2 ** (n - 1) - 1)) for code, n in WHOLE.items()),
    *((code.upper(), st.integers(0, 2**n - 1)) for code, n in WHOLE.items()),
    ("d", st.floats()), ("?", st.booleans()), ("t", TEXT), ("y", st.binary(max_size=9)),
    ("n", st.none()), ("N", st.integers(-(2**127), 2**128)), ("D", DECIMALS),
]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    """Codes of columns, and their cells, some of them NULL."""
    rows = draw(st.integers(1, 40))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    columns = []
    for code, cells in kinds:
        nullable = code == "n" or draw(st.booleans())
        made = st.one_of(st.none(), cells) if nullable else cells
        columns.append(draw(st.lists(made, min_size=rows, max_size=rows)))
    return [code for code, _ in kinds], columns


def bits(flags: Sequence[bool]) -> bytes:
    padded = [*flags, *[False] * (-len(flags) % 8)]
    return bytes(
        sum(padded[at + bit] << bit for bit in range(8)) for at in range(0, len(padded), 8)
    )


def column(code: str, cells: Sequence[Any]) -> Column:
    """Cells as an engine would give them."""
    valid = bits([cell is not None for cell in cells]) if None in cells and code != "n" else b""
    if code == "n":
        return code, b"", b"", b""
    if code == "?":
        return code, valid, b"", bits([bool(cell) for cell in cells])
    if code in "tyND":
        texts = [b"" if c is None else c if code == "y" else str(c).encode() for c in cells]
        ends = array("i", [len(cells) % 5])  # a part of a column doesn't begin at 0
        for text in texts:
            ends.append(ends[-1] + len(text))
        return code, valid, ends.tobytes(), b"".join(texts)
    return code, valid, b"", array(code, [0 if cell is None else cell for cell in cells]).tobytes()


def chunk(codes: Sequence[str], columns: Sequence[Sequence[Any]]) -> Chunk:
    made = [column(code, cells) for code, cells in zip(codes, columns, strict=True)]
    return Chunk(len(columns[0]), made)


def exact(rows: Sequence[tuple[Any, ...]]) -> list[list[str]]:
    """Cells by type and text: True isn't 1, -0.0 isn't 0.0, and NaN is itself."""
    return [[f"{type(cell).__name__} {cell!r}" for cell in row] for row in rows]


@settings(max_examples=300, deadline=None)
@given(tables())
def test_what_arrives_is_what_was_sent(table: tuple[list[str], list[list[Any]]]) -> None:
    codes, columns = table
    payload = chunk(codes, columns).payload()
    assert exact(rows_of_columns(bytearray(payload))) == exact(list(zip(*columns, strict=True)))


MILLION = struct.pack("=IH", 20_000_000, 2) + struct.pack("=cIII", b"n", 0, 0, 0) * 2


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"garbage",
        struct.pack("=IH", 0, 0),
        struct.pack("=IH", 1, 1),
        struct.pack("=IHcIII", 1, 1, b"x", 0, 0, 0),
        struct.pack("=IHcIII", 1, 1, b"\xff", 0, 0, 0),
        struct.pack("=IHcIII", 1, 1, b"q", 0, 0, 4) + b"abcd",
        struct.pack("=IHcIII", 1, 1, b"q", 0, 0, 8) + b"abcd",
        struct.pack("=IHcIII", 1, 1, b"q", 0, 0, 8) + b"abcdefghi",
        struct.pack("=IHcIII", 2, 1, b"q", 0, 0, 8) + b"abcdefgh",
        struct.pack("=IHcIII", 1, 1, b"b", 2, 0, 1) + b"abc",
        struct.pack("=IHcIII", 9, 1, b"?", 0, 0, 1) + b"a",
        struct.pack("=IHcIIIii", 1, 1, b"t", 0, 8, 3, 0, 9) + b"abc",
        struct.pack("=IHcIIIii", 1, 1, b"t", 0, 8, 2, 0, 2) + b"\xc3(",
        struct.pack("=IHcIIIiii", 2, 1, b"t", 0, 12, 2, 0, 1, 2) + "ä".encode(),
        struct.pack("=IHcIIIiii", 2, 1, b"t", 0, 12, 2, 0, 3, 2) + b"ab",
        struct.pack("=IHcIIIiii", 2, 1, b"y", 0, 12, 2, -5, -9, -3) + b"ab",
        struct.pack("=IHcIIIii", 1, 1, b"N", 0, 8, 3, 0, 3) + b"1x2",
        struct.pack("=IHcIIIii", 1, 1, b"N", 0, 8, 99, 0, 99) + b"9" * 99,
        struct.pack("=IHcIIIii", 1, 1, b"D", 0, 8, 3, 0, 3) + b"---",
        MILLION,
    ],
)
def test_payloads_that_cannot_be(payload: bytes) -> None:
    with pytest.raises(ExecutionError, match="can't be read"):
        rows_of_columns(payload)


# Without the two codes by which a pickle numbers its objects: with a large number they take
# memory, as any process of this user can.
BYTES = bytes(set(range(256)) - set(b"rp"))


def mutated(payload: bytes, rng: random.Random) -> bytes:
    changed = bytearray(payload)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.choice(BYTES)])
        elif kind == 1:
            del changed[at : at + rng.randint(1, 9)]
        elif kind == 2:
            changed[at:at] = bytes(rng.choices(BYTES, k=rng.randint(1, 9)))
        else:
            changed[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\x80"])
    return bytes(changed)


def test_mutated_frames_give_rows_of_cells_or_one_error() -> None:
    rng = random.Random(5)
    columns = [
        [n if n % 3 else None for n in range(20)], [f"täxt {n}" for n in range(20)],
        [n * 0.5 for n in range(20)], [Decimal(n) for n in range(20)],
        [b"b" * n for n in range(20)],
    ]  # fmt: skip
    by_columns = chunk("itdDy", columns).payload()
    rows = list(zip(*columns, strict=True))
    frames = [
        (by_columns, rows_of_columns),
        (bytes(wire.packed_rows(rows)), wire.unpacked_rows),
        (bytes(wire.packed_rows([row[:2] for row in rows])), wire.unpacked_rows),
    ]
    refused = 0
    for payload, read in frames:
        for _ in range(4_000):
            try:
                found = read(mutated(payload, rng))
            except ExecutionError:
                refused += 1
                continue
            assert all(type(row) is tuple and len(row) == len(found[0]) for row in found)
            assert all(type(cell) in CELLS for row in found for cell in row)
    assert refused > 3_000


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (wire.unpacked_rows, ((1,),)),
        (wire.unpacked_rows, [[1]]),
        (wire.unpacked_rows, [(1,), (1, 2)]),
        (wire.unpacked_rows, [([],)]),
        (wire.unpacked_rows, 7),
        (wire.unpacked_names, ["a"]),
        (wire.unpacked_names, ("a", 1)),
        (wire.unpacked_result, (("a",), ((1, 2),), True)),
        (wire.unpacked_result, (("a",), [(1,)], True)),
        (wire.unpacked_result, (("a",), ((1,),), 1)),
        (wire.unpacked_result, None),
        (wire.unpacked_ready, ((), ("a",), ())),
        (wire.unpacked_ready, (("a",), ())),
        (wire.unpacked_ready, "ab"),
    ],
)
def test_answers_of_another_shape(read: Any, value: object) -> None:
    with pytest.raises(ExecutionError, match="can't be read"):
        read(pickle.dumps(value))


# The engine.
TYPES = """CREATE TABLE kinds AS SELECT
    i, i % 2 = 0 AS flag, i::TINYINT AS t, abs(i)::USMALLINT AS us, (i * 1000000007)::BIGINT AS b,
    (abs(i)::UBIGINT + 18446744073709550000)::UBIGINT AS ub, i::HUGEINT * 10^30::HUGEINT AS h,
    (i * 1.25)::DECIMAL(12, 3) AS m, (i / 7)::DOUBLE AS d, (i / 7)::FLOAT AS f,
    'text ' || i AS s, repeat('ö', i % 5) AS u, encode('b' || i) AS y,
    DATE '2024-01-31' + i::INT AS day, TIMESTAMP '2024-01-31 10:00:00' + to_seconds(i) AS moment,
    ['x', 'y'][1 + i % 2]::ENUM ('x', 'y') AS e, uuid() AS id, INTERVAL (i) MONTH AS span,
    {'a': i, 'b': [i]} AS nested, TIME '10:11:12' AS clock, i::BIGNUM AS whole
    FROM range(-100, 100) AS r(i)"""
NULLS = "CREATE TABLE nulls AS SELECT {} FROM kinds, range(25)"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path_factory.mktemp("columns") / "kinds.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute(TYPES)
        names = [row[0] for row in connection.execute("DESCRIBE kinds").fetchall()]
        columns = ", ".join(f'CASE WHEN i % 3 > 0 THEN "{name}" END AS "{name}"' for name in names)
        connection.execute(NULLS.format(columns))
    return path


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * EXCLUDE (nested, whole) FROM kinds ORDER BY i",
        "SELECT * EXCLUDE (nested, whole) FROM nulls ORDER BY ALL",
        "SELECT i, nested FROM nulls ORDER BY ALL",
        "SELECT i, whole FROM kinds ORDER BY i",
        "SELECT [0.5::DOUBLE, 'nan'::DOUBLE] FROM kinds",
        "SELECT NULL, 'a' AS a, 2 AS a FROM range(5000)",
        "SELECT * FROM kinds WHERE i > 1000",
        "SELECT 'nan'::DOUBLE, '-inf'::DOUBLE, DATE '0044-03-15 (BC)', 'infinity'::DATE",
        "SELECT true WHERE random() < 2",
        "SELECT repeat('x', (range * 7 % 30000)::BIGINT), range, range % 3 = 0,"
        " CASE WHEN range % 5 > 0 THEN repeat('ö', (range % 99)::BIGINT) END FROM range(3000)",
        "SUMMARIZE kinds",
        "EXPLAIN SELECT 1",
        "PIVOT (SELECT e, flag, i FROM kinds) ON e USING count(*) ORDER BY ALL",
        "SELECT sum(i), avg(i), count(*) FROM kinds GROUP BY flag ORDER BY ALL",
    ],
)
def test_streams_are_the_same_as_in_this_process(kinds: Path, sql: str) -> None:
    target = parse_target(kinds)
    with WorkerEngine(target) as worker, worker.stream(sql, timeout=60) as stream:
        there = [row for batch in stream for row in batch]
        columns = stream.columns
    with closing(in_process_engine(target)) as engine, engine.stream(sql, timeout=60) as stream:
        here = [row for batch in stream for row in batch]
        assert columns == stream.columns
    assert exact(there) == exact(here)


def test_columns_are_sent(kinds: Path) -> None:
    """The driver gives what the quick way needs; else rows would be sent, only slower."""
    from plainsql.execution.duckdb_engine import DuckDBEngine

    with DuckDBEngine(kinds) as engine:
        with engine.stream_columns("SELECT * EXCLUDE (nested, whole) FROM nulls") as (_, found):
            assert {type(rows) for rows in found} == {Chunk}
        with engine.stream_columns("SELECT whole FROM kinds") as (names, found):
            assert names == ("whole",)
            assert {type(rows) for rows in found} == {list}


def test_errors_in_the_midst(kinds: Path) -> None:
    """The same message, place and hint as of rows."""
    sql = "SELECT day,\n CAST(CASE WHEN range > 4000 THEN 'abc' ELSE '1' END AS INT)"
    sql += " FROM kinds, range(5000) WHERE i = 1"
    seen = []
    target = parse_target(kinds)
    for engine in (WorkerEngine(target), in_process_engine(target)):
        with pytest.raises(ExecutionError) as caught, engine.stream(sql) as stream:
            list(stream)
        seen.append((type(caught.value), caught.value.message, caught.value.hint))
        engine.close()
    assert seen[0] == seen[1]
    assert "abc" in seen[0][1]


def test_a_deadline_in_the_midst(kinds: Path) -> None:
    sql = "SELECT range, range % 7 FROM range(100000000000)"
    with WorkerEngine(kinds) as engine:
        with pytest.raises(QueryTimeout), engine.stream(sql, timeout=0.3) as stream:
            list(stream)
        assert engine.run("SELECT 1").rows == ((1,),)


def test_not_a_number_is_itself() -> None:
    payload = chunk("d", [[math.nan, -0.0, math.inf]]).payload()
    assert exact(rows_of_columns(payload)) == [["float nan"], ["float -0.0"], ["float inf"]]
