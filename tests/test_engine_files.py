"""Folders and globs of data files as databases: what becomes a table, of which types."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

duckdb = pytest.importorskip("duckdb", reason="pip install 'plainsql[duckdb]'")

from plainsql.errors import ConnectError, PlainsqlError, ResourceLimit, SchemaError  # noqa: E402
from plainsql.execution import files, files_cache  # noqa: E402
from plainsql.execution.base import open_engine  # noqa: E402
from plainsql.execution.duckdb_engine import DuckDBEngine  # noqa: E402
from plainsql.execution.files import DataFile, Source, sources, table_name  # noqa: E402
from plainsql.execution.limits import Limits  # noqa: E402
from plainsql.execution.targets import parse_target  # noqa: E402

Content = str | bytes


def put(folder: Path, contents: dict[str, Content]) -> Path:
    """Files by their paths below `folder`."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def parquet(path: Path, select: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


def tables(target: object) -> dict[str, list[str]]:
    """The columns of every table, as name and type."""
    with DuckDBEngine(target) as engine:  # type: ignore[arg-type]
        return {
            table.name: [f"{c.name} {c.declared_type}" for c in table.columns]
            for table in engine.introspect().tables
        }


# One CSV file each: its content, the types of its columns, its first row.
CSV: dict[str, tuple[Content, list[str], tuple[object, ...]]] = {
    "plain": ("id,name\n1,Ann\n2,Bob\n", ["id BIGINT", "name VARCHAR"], (1, "Ann")),
    "leading zeros": ("zip,n\n01234,1\n99999,2\n", ["zip VARCHAR", "n BIGINT"], ("01234", 1)),
    "a late leading zero": (
        "zip\n" + "12345\n" * 30_000 + "01234\n", ["zip VARCHAR"], ("12345",)
    ),
    "a late word": ("n\n" + "1\n" * 30_000 + "x\n", ["n VARCHAR"], ("1",)),
    "a late decimal": ("n\n" + "1\n" * 30_000 + "1.5\n", ["n DOUBLE"], (1.0,)),
    "decimal points": ("a,b\n1.5,-.5\n2,1e3\n", ["a DOUBLE", "b DOUBLE"], (1.5, -0.5)),
    "decimal commas": ("a;b\n1,5;x\n2,5;y\n", ["a VARCHAR", "b VARCHAR"], ("1,5", "x")),
    "thousands": ('a\n"1,000"\n"2,000"\n', ["a VARCHAR"], ("1,000",)),
    "telephone": ("t\n+491234\n+491235\n", ["t VARCHAR"], ("+491234",)),
    "large numbers": (
        "a,b\n9223372036854775808,1\n2,2\n", ["a HUGEINT", "b BIGINT"], (2**63, 1)
    ),
    "huge numbers": ("a\n" + "9" * 40 + "\n", ["a DOUBLE"], (1e40,)),
    "booleans": ("a\ntrue\nFALSE\n", ["a BOOLEAN"], (True,)),
    "yes and no": ("a\nyes\nno\n", ["a VARCHAR"], ("yes",)),
    "missing values": ("a,b\n1,\n,x\n", ["a BIGINT", "b VARCHAR"], (1, None)),
    "nothing in a column": ("a,b\n1,\n2,\n", ["a BIGINT", "b VARCHAR"], (1, None)),
    "dates": (
        "d,t\n2024-01-02,2024-01-02 10:00:00\n", ["d DATE", "t TIMESTAMP"],
        ("2024-01-02", "2024-01-02T10:00:00"),
    ),
    "times with a zone": (
        "z,c\n2024-01-02T10:00:00Z,10:30\n", ["z TIMESTAMP WITH TIME ZONE", "c TIME"],
        ("2024-01-02T10:00:00+00:00", "10:30:00"),
    ),
    "no dates": ("d\n2024-02-30\n2024-01-01\n", ["d VARCHAR"], ("2024-02-30",)),
    "days first": ("d\n02/01/2024\n13/01/2024\n", ["d DATE"], ("2024-01-02",)),
    "months first": ("d\n02/01/2024\n01/13/2024\n", ["d DATE"], ("2024-02-01",)),
    "days or months": ("d\n02/01/2024\n03/01/2024\n", ["d VARCHAR"], ("02/01/2024",)),
    "points": ("d\n31.12.2024\n01.02.2024\n", ["d DATE"], ("2024-12-31",)),
    "quoted line breaks": (
        'id,t\n1,"one\ntwo"\n2,"say ""hi"""\n', ["id BIGINT", "t VARCHAR"], (1, "one\ntwo")
    ),
    "late quotes": (
        "id,t\n" + "1,x\n" * 30_000 + '2,"a,b"\n', ["id BIGINT", "t VARCHAR"], (1, "x")
    ),
    "inches": ('id,t\n1,5" pipe\n2,6" pipe\n', ["id BIGINT", "t VARCHAR"], (1, '5" pipe')),
    "byte order mark": ("\ufeffid,name\n1,Änn\n", ["id BIGINT", "name VARCHAR"], (1, "Änn")),
    "utf-16": ("id,name\n1,Änn\n".encode("utf-16"), ["id BIGINT", "name VARCHAR"], (1, "Änn")),
    "latin-1": ("id,name\n1,Köln\n".encode("latin-1"), ["id BIGINT", "name VARCHAR"], (1, "Köln")),
    "windows": ("id,name\n1,5 €\n".encode("cp1252"), ["id BIGINT", "name VARCHAR"], (1, "5 €")),
    "a late byte that is no utf-8": (
        b"n\n" + b"x\n" * 700_000 + b"K\xf6ln\n", ["n VARCHAR"], ("x",)
    ),
    "carriage returns": ("a,b\r\n1,2\r\n", ["a BIGINT", "b BIGINT"], (1, 2)),
    "pipes": ("a|b\n1|2\n", ["a BIGINT", "b BIGINT"], (1, 2)),
    "no header": ("1,2.5,x\n3,4.5,y\n", ["column0 BIGINT", "column1 DOUBLE", "column2 VARCHAR"],
                  (1, 2.5, "x")),
    "comments": ("# made by x\nid,name\n1,a\n", ["id BIGINT", "name VARCHAR"], (1, "a")),
    "names twice": ("a,a,A,\n1,2,3,4\n", ["a BIGINT", "a_1 BIGINT", "A_2 BIGINT", "column3 BIGINT"],
                    (1, 2, 3, 4)),
    "odd names": ('"a ""b""",select,{x}\n1,2,3\n', ['a "b" BIGINT', "select BIGINT", "{x} BIGINT"],
                  (1, 2, 3)),
    "blanks": ("id, name\n 1, Ann\n 2, Bob\n", ["id BIGINT", "name VARCHAR"], (1, " Ann")),
}  # fmt: skip


@pytest.mark.parametrize("name", CSV)
def test_csv(tmp_path: Path, name: str) -> None:
    content, columns, row = CSV[name]
    put(tmp_path, {"data.csv": content})
    with DuckDBEngine(tmp_path / "data.csv") as engine:
        (table,) = engine.introspect().tables
        assert [f"{c.name} {c.declared_type}" for c in table.columns] == columns
        assert engine.run("SELECT * FROM data LIMIT 1").rows == (row,)
        assert engine.notes == ()
    if not isinstance(content, bytes) and '"' not in content and "#" not in content:
        lines = content.count("\n") - (name != "no header")
        assert table.row_count == lines


@pytest.mark.parametrize(
    ("content", "names"), [("id,name\n", ["id", "name"]), ("id;name", ["id", "name"]), ("x", ["x"])]
)
def test_a_header_alone_is_an_empty_table(tmp_path: Path, content: str, names: list[str]) -> None:
    put(tmp_path, {"data.csv": content})
    assert tables(tmp_path) == {"data": [f"{name} VARCHAR" for name in names]}


def test_a_thousand_columns(tmp_path: Path) -> None:
    names = [f"c{at}" for at in range(1000)]
    row = [str(at) if at % 2 else f"x{at}" for at in range(1000)]
    put(tmp_path, {"wide.csv": "\n".join([",".join(names)] + [",".join(row)] * 20)})
    (columns,) = tables(tmp_path).values()
    assert len(columns) == 1000
    assert columns[:2] == ["c0 VARCHAR", "c1 BIGINT"]


def test_tab_separated_and_packed(tmp_path: Path) -> None:
    put(tmp_path, {"a.tsv": "x\ty\n1\t2\n", "b.csv.gz": gzip.compress("x,y\n1,ö\n".encode()),
                   "c.csv.gz": gzip.compress("x,y\n1,ö\n".encode("latin-1")),
                   "d.jsonl.gz": gzip.compress(b'{"x": 1}\n')})  # fmt: skip
    assert tables(tmp_path) == {
        "a": ["x BIGINT", "y BIGINT"],
        "b": ["x BIGINT", "y VARCHAR"],
        "c": ["x BIGINT", "y VARCHAR"],
        "d": ["x BIGINT"],
    }


def test_bad_lines_are_counted_and_shown(tmp_path: Path) -> None:
    put(tmp_path, {"data.csv": "id,name\n1,Ann\n2,Bob,extra\n3,Cy\n4\n"})
    with DuckDBEngine(tmp_path) as engine:
        assert engine.run("SELECT id FROM data").rows == ((1,), (3,))
        (note,) = engine.notes
    assert "2 of the lines of data.csv" in note
    assert "line 3" in note
    assert "line 5" in note


def test_notes_come_from_the_worker(tmp_path: Path) -> None:
    put(tmp_path, {"data.csv": "id,name\n1,Ann\n2,Bob,extra\n", "nothing.csv": ""})
    engine = open_engine(tmp_path)
    assert engine.run("SELECT id FROM data").rows == ((1,),)
    assert len(engine.notes) == 2  # type: ignore[attr-defined]
    engine.close()


JSON: dict[str, tuple[str, str, list[str], tuple[object, ...]]] = {
    "an array": ("a.json", '[{"a": 1, "b": "x"}, {"a": 2}]', ["a BIGINT", "b VARCHAR"], (1, "x")),
    "lines": ("a.jsonl", '{"a": 1}\n{"a": 2, "z": "007"}\n', ["a BIGINT", "z VARCHAR"], (1, None)),
    "one object": ("a.json", '{"a": 1.5}', ["a DOUBLE"], (1.5,)),
    "nested": ("a.json", '[{"a": {"b": [1, 2], "c": "é"}}]',
               ["a STRUCT(b BIGINT[], c VARCHAR)"], ('{"b":[1,2],"c":"é"}',)),
    "dates": ("a.ndjson", '{"d": "2024-01-02"}\n', ["d DATE"], ("2024-01-02",)),
    "a late field": ("a.jsonl", '{"a": 1}\n' * 30_000 + '{"b": "x"}\n',
                     ["a BIGINT", "b VARCHAR"], (1, None)),
    "mixed": ("a.jsonl", '{"a": 1}\n{"a": "x"}\n', ["a JSON"], ("1",)),
    "numbers": ("a.json", "[1, 2]", ["json BIGINT"], (1,)),
    "names twice": ("a.json", '[{"a": 1, "A": 2}]', ["a BIGINT", "A_1 BIGINT"], (1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", JSON)
def test_json(tmp_path: Path, name: str) -> None:
    file, content, columns, row = JSON[name]
    put(tmp_path, {file: content})
    with DuckDBEngine(tmp_path / file) as engine:
        (table,) = engine.introspect().tables
        assert [f"{c.name} {c.declared_type}" for c in table.columns] == columns
        assert engine.run("FROM a LIMIT 1").rows == (row,)


def test_lines_that_are_no_json_are_counted(tmp_path: Path) -> None:
    put(tmp_path, {"a.jsonl": '{"a": 1, "b": "x"}\n{"a":\n{"a": 3}\nnothing\n'})
    with DuckDBEngine(tmp_path) as engine:
        assert engine.run("SELECT a FROM a ORDER BY a").rows == ((1,), (3,))
        assert engine.notes == ("2 lines of a.jsonl are no JSON and were left out.",)


def test_parquet(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", "SELECT 1 AS id, [1, 2] AS l, DATE '2024-01-02' AS d")
    with DuckDBEngine(tmp_path) as engine:
        assert engine.run("FROM a").rows == ((1, "[1,2]", "2024-01-02"),)


# What becomes a table.
def test_sub_folders_and_partitions(tmp_path: Path) -> None:
    put(tmp_path, {
        "north/2023.csv": "id,n\n1,2\n", "north/2024.csv": "id,n\n2,3\n",
        "mixed/a.csv": "x\n1\n", "mixed/b.csv": "y\n1\n",
        "top.csv": "id\n1\n", "_hidden/x.csv": "id\n1\n", ".git/x.csv": "id\n1\n",
        ".hidden.csv": "id\n1\n", "notes.txt": "nothing", "README": "x",
        "events/day=2024-01-01/part-0.csv": "id,zip\n1,01\n",
        "events/day=2024-01-02/part-0.csv": "id,zip\n2,11\n",
        "events/day=2024-01-02/part-1.csv": "id,zip\n3,12\n",
    })  # fmt: skip
    parquet(tmp_path / "log/year=2024/month=1/a.parquet", "SELECT 1 AS v")
    parquet(tmp_path / "log/year=2024/month=2/a.parquet", "SELECT 2 AS v, 'x' AS w")
    assert tables(tmp_path) == {
        "a": ["x BIGINT"],
        "b": ["y BIGINT"],
        "events": ["id BIGINT", "zip VARCHAR", "day DATE"],
        "log": ["v INTEGER", "w VARCHAR", "month BIGINT", "year BIGINT"],
        "north": ["id BIGINT", "n BIGINT"],
        "top": ["id BIGINT"],
    }
    with DuckDBEngine(tmp_path) as engine:
        sql = "SELECT day, count(*) FROM events GROUP BY day ORDER BY day"
        assert engine.run(sql).rows == (("2024-01-01", 1), ("2024-01-02", 2))
        assert engine.run("SELECT count(*) FROM north").rows == ((2,),)


def test_files_written_in_different_ways_are_one_table(tmp_path: Path) -> None:
    put(tmp_path, {"s/a.csv": "id,name\n1,Ann\n", "s/b.csv": "name;id\nBob;2\n",
                   "s/c.csv": "id\tname\n3\tKöln\n".encode("latin-1")})  # fmt: skip
    with DuckDBEngine(tmp_path) as engine:
        rows = engine.run("SELECT id, name FROM s ORDER BY id").rows
    assert rows == ((1, "Ann"), (2, "Bob"), (3, "Köln"))


def test_parts_in_the_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path / "sales"
    for number in range(3):
        parquet(folder / f"part-0000{number}-abc.parquet", f"SELECT {number} AS id")
    assert tables(folder) == {"sales": ["id INTEGER"]}


def test_a_partitioned_folder_itself(tmp_path: Path) -> None:
    parquet(tmp_path / "sales/year=2024/x.parquet", "SELECT 1 AS id")
    assert tables(tmp_path / "sales") == {"sales": ["id INTEGER", "year BIGINT"]}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("data/*.csv", ["a", "b"]),
        ("data/*", ["a", "b", "c"]),
        ("data/[ab].csv", ["a", "b"]),
        ("*/a.csv", ["data_a", "more_a"]),
        ("data/a.*", ["a"]),
        ("**/*.csv", ["data_a", "b", "more_a"]),
    ],
)
def test_globs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    put(tmp_path, {"data/a.csv": "x\n1\n", "data/b.csv": "y\n1\n", "data/c.json": '[{"z": 1}]',
                   "more/a.csv": "x\n2\n"})  # fmt: skip
    assert sorted(tables(str(tmp_path / pattern))) == sorted(names)
    monkeypatch.chdir(tmp_path)
    assert sorted(tables(pattern)) == sorted(names)
    engine = open_engine(pattern)
    monkeypatch.chdir("/")
    assert sorted(table.name for table in engine.introspect().tables) == sorted(names)
    engine.close()


def found(*paths: str) -> list[Source]:
    data = [DataFile(Path("/x", path), Path(path).parts, 1, 1) for path in paths]
    return sources(data, "data", lambda file: (file.stem[0],))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("sales.csv", "sales.parquet"), ["sales_csv", "sales_parquet"]),
        (("a.json", "a.jsonl", "b.csv"), ["a_json", "a_jsonl", "b"]),
        (("north/sales.csv", "south/sales.csv"), ["north_sales", "south_sales"]),
        (("x/a.csv", "x/b.csv", "a.csv"), ["x_a", "b", "a"]),
        (("Sales.csv", "sales.parquet"), ["Sales_csv", "sales_parquet"]),
        (("a b.csv", "a-b.csv"), ["a_b", "a_b_2"]),
        (("x/a1.csv", "x/a2.csv"), ["x"]),
        (("part-1.csv", "part-2.csv"), ["data"]),
        (("order.csv", "2024.csv", "ünï.csv", "-.csv"), ["order_", "t_2024", "ünï", "data"]),
    ],
)
def test_names_of_tables(paths: tuple[str, ...], names: list[str]) -> None:
    assert sorted(source.name for source in found(*paths)) == sorted(names)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sales", "sales"),
        ("Sales Report (final)", "Sales_Report_final"),
        ('x"; DROP TABLE users--', "x_DROP_TABLE_users"),
        ("🙂", "data"),
        ("a" * 200, "a" * 60),
        ("e\u0301te\u0301", "été"),
        ("2024-01", "t_2024_01"),
        ("Group", "Group_"),
    ],
)
def test_plain_names(text: str, name: str) -> None:
    assert table_name(text) == name


def test_odd_names_of_files(tmp_path: Path) -> None:
    put(tmp_path, dict.fromkeys(("x[1].csv", "y*?.csv", "z'\".csv", "é 🙂.csv"), "a\n1\n"))
    with DuckDBEngine(tmp_path) as engine:
        names = [table.name for table in engine.introspect().tables]
        assert sorted(names) == ["x_1", "y", "z", "é"]
        assert [engine.run(f"FROM {name}").rows for name in names] == [((1,),)] * 4


# Refusals.
@pytest.mark.parametrize("link", ["file", "folder"])
def test_links_out_of_the_folder(tmp_path: Path, link: str) -> None:
    put(tmp_path, {"outside/secret.csv": "a\n1\n", "data/a.csv": "a\n1\n"})
    if link == "file":
        (tmp_path / "data/b.csv").symlink_to(tmp_path / "outside/secret.csv")
        with pytest.raises(ConnectError, match="link to a place outside"):
            DuckDBEngine(tmp_path / "data")
        with pytest.raises(ConnectError, match="link to a place outside"):
            DuckDBEngine(str(tmp_path / "data/*.csv"))
    else:
        (tmp_path / "data/more").symlink_to(tmp_path / "outside")
        assert list(tables(tmp_path / "data")) == ["a"]
        with pytest.raises(ConnectError, match="link to a place outside"):
            DuckDBEngine(str(tmp_path / "data/*/*.csv"))


def test_links_inside_the_folder(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "a\n1\n"})
    (tmp_path / "b.csv").symlink_to("a.csv")
    assert sorted(tables(tmp_path)) == ["a", "b"]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "a\n1\n"})
    (tmp_path / "b.csv").symlink_to("b.csv")
    with pytest.raises(ConnectError, match=r"b\.csv"):
        DuckDBEngine(tmp_path)


BROKEN: dict[str, Content] = {
    "a.parquet": b"no parquet at all",
    "b.parquet": b"PAR1" + b"\x00" * 100 + b"PAR1",
    "c.json": '[{"a": 1}, {"a"',
    "d.csv.gz": b"no gzip",
    "e.csv": "a,b\n" + '"x\n' * 5,
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_can_not_be_read(tmp_path: Path, name: str) -> None:
    put(tmp_path, {name: BROKEN[name]})
    with pytest.raises(ConnectError) as caught:
        DuckDBEngine(tmp_path)
    assert name in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_empty_files(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "", "b.json": "", "c.csv": "x\n1\n"})
    with DuckDBEngine(tmp_path) as engine:
        assert [table.name for table in engine.introspect().tables] == ["c"]
        assert engine.notes == ("a.csv is empty and was left out.",
                                "b.json is empty and was left out.")  # fmt: skip
    with pytest.raises(SchemaError):
        DuckDBEngine(tmp_path / "a.csv")


def test_a_folder_without_data(tmp_path: Path) -> None:
    put(tmp_path, {"notes.txt": "x"})
    with pytest.raises(ConnectError, match="no data files"):
        DuckDBEngine(tmp_path)


def test_too_much_data(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "a\n" + "1\n" * 1000})
    with pytest.raises(ResourceLimit, match="more than") as caught:
        DuckDBEngine(tmp_path, limits=Limits(file_bytes=1000))
    assert "file_bytes" in caught.value.hint


def test_data_beyond_the_memory_limit(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "a.csv": "a\n"
            + "".join(f"{at} some text that is not short\n" * 9 for at in range(20_000))
        },
    )
    with pytest.raises(ConnectError, match="memory") as caught:
        DuckDBEngine(tmp_path, limits=Limits(heap_bytes=2_000_000))
    assert caught.value.hint


def test_nothing_can_be_written(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "a\n1\n"})
    before = (tmp_path / "a.csv").read_bytes()
    with DuckDBEngine(tmp_path) as engine:
        for sql in ("DELETE FROM a", "COPY a TO 'a.csv'", f"COPY a TO '{tmp_path}/a.csv'",
                    "SELECT * FROM read_csv('a.csv')", "CREATE TABLE b AS FROM a"):  # fmt: skip
            with pytest.raises(PlainsqlError):
                engine.run(sql)
        assert engine.run("FROM a").rows == ((1,),)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == before


# Files too large for memory are converted once.
@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files count as large."""
    monkeypatch.setattr(files, "SMALL_BYTES", 100)
    lines = "".join(f"{at},0{at},name {at}\n" for at in range(500))
    bad = "a,b\n1,2\n3\n"
    return put(tmp_path / "data", {"people.csv": f"id,zip,name\n{lines}", "bad.csv": bad})


def kept() -> list[Path]:
    folder = files_cache.cache_folder()
    return sorted(folder.iterdir()) if folder.exists() else []


def test_large_files_are_converted_once(large: Path) -> None:
    seen: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, table: str) -> None:
        seen.append((done, total, table))

    with DuckDBEngine(large, progress=progress) as engine:
        assert engine.run("SELECT count(*), max(zip) FROM people").rows == ((500, "099"),)
        notes = engine.notes
    total = sum(path.stat().st_size for path in large.iterdir())
    assert seen[0] == (0, total, "bad")
    assert seen[-1] == (total, total, "")
    first = {path.name: path.stat().st_ino for path in kept()}
    assert len(first) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept())

    seen.clear()
    with DuckDBEngine(large, progress=progress) as engine:
        assert engine.run("SELECT count(*) FROM people").rows == ((500,),)
        assert engine.notes == notes
        assert len(notes) == 1
        with pytest.raises(PlainsqlError):
            engine.run("DELETE FROM people")
    assert not seen
    assert {path.name: path.stat().st_ino for path in kept()} == first


def test_changed_files_are_converted_anew(large: Path) -> None:
    DuckDBEngine(large).close()
    before = kept()
    put(large, {"people.csv": "id\n" + "7\n" * 200})
    with DuckDBEngine(large) as engine:
        assert engine.run("SELECT DISTINCT id FROM people").rows == ((7,),)
    assert len(kept()) == 2
    assert kept() != before


def test_a_converted_file_in_use_can_be_replaced(large: Path) -> None:
    with DuckDBEngine(large) as old:
        put(large, {"people.csv": "id\n" + "7\n" * 200})
        with DuckDBEngine(large) as new:
            assert new.run("SELECT count(*) FROM people").rows == ((200,),)
        assert old.run("SELECT count(*) FROM people").rows == ((500,),)


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, None])
def test_a_damaged_conversion_is_made_anew(large: Path, damage: bytes | None) -> None:
    DuckDBEngine(large).close()
    (made,) = (path for path in kept() if path.suffix == ".duckdb")
    if damage is None:
        made.with_suffix(".json").unlink()
    else:
        made.write_bytes(damage)
    with DuckDBEngine(large) as engine:
        assert engine.run("SELECT count(*) FROM people").rows == ((500,),)


def test_a_conversion_that_fails_leaves_nothing(large: Path) -> None:
    put(large, {"x.parquet": b"no parquet"})
    with pytest.raises(ConnectError, match=r"x\.parquet"):
        DuckDBEngine(large)
    assert kept() == []


def test_conversions_at_the_same_time(large: Path) -> None:
    errors: list[BaseException] = []

    def convert() -> None:
        try:
            files.prepare(parse_target(large), Limits())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(kept()) == 2
    with DuckDBEngine(large) as engine:
        assert engine.run("SELECT count(*) FROM people").rows == ((500,),)


def test_what_nobody_uses_is_removed(large: Path, tmp_path: Path) -> None:
    folder = files_cache.cache_folder()
    folder.mkdir(parents=True)
    for name in ("old.duckdb", "new.duckdb"):
        (folder / name).write_bytes(b"x")
    (folder / "x.part").mkdir()
    for name in ("old.duckdb", "x.part"):
        os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    DuckDBEngine(large).close()
    names = {path.name for path in kept()}
    assert "new.duckdb" in names
    assert not names & {"old.duckdb", "x.part"}


def test_a_cache_that_can_not_be_written(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAINSQL_CACHE_DIR", "/dev/null/x")
    with pytest.raises(ConnectError) as caught:
        DuckDBEngine(large)
    assert "PLAINSQL_CACHE_DIR" in caught.value.hint


def test_keys_are_inferred(tmp_path: Path) -> None:
    songs = "".join(f"{at},{at % 5},s\n" for at in range(50))
    artists = "".join(f"{at},a{at}\n" for at in range(5))
    put(tmp_path, {"artist.csv": f"artist_id,name\n{artists}",
                   "song.csv": f"song_id,artist_id,title\n{songs}"})  # fmt: skip
    with DuckDBEngine(tmp_path) as engine:
        (key,) = engine.introspect().foreign_keys
    assert (key.table, key.columns, key.ref_table) == ("song", ("artist_id",), "artist")


@pytest.mark.parametrize(
    "make", [lambda folder: str(folder), lambda folder: folder / "a.csv", lambda f: f"{f}/*.csv"]
)
def test_through_the_worker(tmp_path: Path, make: Callable[[Path], object]) -> None:
    put(tmp_path, {"a.csv": "id\n1\n2\n"})
    engine = open_engine(make(tmp_path))  # type: ignore[arg-type]
    assert engine.run("SELECT sum(id) FROM a").rows == ((3,),)
    engine.close()
