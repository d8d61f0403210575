"""Reading the schema of real SQLite files."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.errors import ConnectError, SchemaError
from plainsql.schema import ColumnType, ForeignKey, Schema, sqlite_schema
from plainsql.schema.column_types import column_type
from plainsql.schema.comments import parse_comments
from plainsql.schema.sqlite_file import open_read_only

NOBODY = 65534  # the user of no rights, on Linux and macOS alike
WEIRD_NAMES = (
    "my table", 'we"ird', "it's", "select", "naïve", "a.b", "x]y[", "`tick`", "名前", "😀",
    "semi;colon", "-- dash", "100%", "?", ":name", "back\\slash", "new\nline", " padded ",
)  # fmt: skip


def make(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def read(tmp_path: Path, script: str, **options: bool | int) -> Schema:
    return sqlite_schema(make(tmp_path / "db.sqlite", script), **options)  # type: ignore[arg-type]


def test_a_small_database(concerts: Path) -> None:
    schema = sqlite_schema(concerts)
    assert (schema.name, schema.dialect) == ("concerts", "sqlite")
    assert [(t.name, t.row_count, t.is_view) for t in schema.tables] == [
        ("singer", 6, False),
        ("concert", 3, False),
    ]
    singer_id, name, country, age, photo = schema.tables[0].columns
    assert (singer_id.primary_key, name.primary_key) == (True, False)
    assert (singer_id.type, singer_id.declared_type) == (ColumnType.NUMBER, "INTEGER")
    assert (name.natural, name.samples) == ("name", ("Joe Sharp", "Timbaland", "Justin Brown"))
    assert country.samples == ("Netherlands", "United States", "France")
    assert age.samples == ("52", "32", "29")
    assert (photo.type, photo.samples) == (ColumnType.OTHER, ())  # never blobs
    assert schema.foreign_keys == (ForeignKey("concert", ("singer_id",), "singer", ("singer_id",)),)


def test_how_many_samples(concerts: Path) -> None:
    assert sqlite_schema(concerts, samples=0).columns[1].samples == ()
    assert len(sqlite_schema(concerts, samples=5).columns[1].samples) == 5


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("INTEGER", (), "number"),
        ("int unsigned", (), "number"),
        ("VARCHAR2(20)", (), "text"),
        ("CHARACTER VARYING", (), "text"),
        ("NUMERIC(4,0)", (), "number"),
        ("DOUBLE PRECISION", (), "number"),
        ("DATE", (), "time"),
        ("timestamp with time zone", (), "time"),
        ("YEAR", (), "time"),
        ("BOOL", (), "boolean"),
        ("BIT", (), "boolean"),
        ("BLOB", (), "other"),
        ("JSON", (), "other"),
        ("POINT", (), "other"),
        ("INTEGER[]", (), "other"),
        ("uuid", (), "text"),
        # values decide where the type says nothing
        ("", (), "text"),
        ("", (1, 2.5), "number"),
        ("", ("1", "-2.5"), "number"),
        ("", ("007", "12"), "text"),
        ("", (1, "x"), "text"),
        ("", ("2020-01-31", "2021-12-01"), "time"),
        ("VARIANT", (3,), "number"),
        # and where they all contradict it
        ("TEXT", ("2020-01-31 10:00:00", "2021-12-01T10:00:00Z"), "time"),
        ("TEXT", ("2020-01-31", "soon"), "text"),
        ("TEXT", ("1", "2"), "text"),
        ("INTEGER", ("a", "b"), "text"),
        ("INTEGER", ("a", 2), "number"),
    ],
)
def test_column_type(declared: str, values: tuple[str | int | float, ...], expected: str) -> None:
    assert column_type(declared, values) == expected


def test_untyped_columns_of_numbers_are_numbers(tmp_path: Path) -> None:
    schema = read(tmp_path, "CREATE TABLE t (a, b, c); INSERT INTO t VALUES (1, 'x', NULL);")
    assert [c.type.value for c in schema.columns] == ["number", "text", "text"]


def test_views_generated_columns_and_internal_tables(tmp_path: Path) -> None:
    schema = read(
        tmp_path,
        """
        CREATE TABLE item (
            id INTEGER PRIMARY KEY AUTOINCREMENT, price REAL, n INT,
            total REAL GENERATED ALWAYS AS (price * n) VIRTUAL
        );
        INSERT INTO item (price, n) VALUES (2.5, 2), (1.0, 1);
        CREATE VIEW dear AS SELECT id AS item_id, total FROM item WHERE total > 2;
        CREATE VIEW broken AS SELECT x FROM gone;
        CREATE TABLE kept (code TEXT PRIMARY KEY, n INT) WITHOUT ROWID;
        CREATE VIRTUAL TABLE notes USING fts5 (title, body);
        INSERT INTO notes VALUES ('hello', 'world');
        ANALYZE;
        """,
    )
    assert [(t.name, t.is_view, t.row_count) for t in schema.tables] == [
        ("item", False, 2),
        ("dear", True, 1),
        ("kept", False, 0),
        ("notes", False, 1),
    ]
    assert [c.name for c in schema.tables[0].columns] == ["id", "price", "n", "total"]
    assert schema.tables[0].columns[3].samples == ("5.0", "1.0")
    assert [c.name for c in schema.tables[3].columns] == ["title", "body"]
    assert schema.foreign_keys == (ForeignKey("dear", ("item_id",), "item", ("id",), True),)


def test_foreign_keys_as_declared(tmp_path: Path) -> None:
    schema = read(
        tmp_path,
        """
        CREATE TABLE Parent (b INT, a INT, PRIMARY KEY (a, b));
        CREATE TABLE child (
            x INT, y INT, p INT REFERENCES one, q INT REFERENCES ONE (ID), z INT,
            FOREIGN KEY (x, y) REFERENCES parent, FOREIGN KEY (Y, X) REFERENCES parent (B, A),
            FOREIGN KEY (z) REFERENCES gone (id), FOREIGN KEY (z) REFERENCES one (gone),
            FOREIGN KEY (z) REFERENCES parent
        );
        CREATE TABLE one (id INTEGER PRIMARY KEY);
        """,
        infer_keys=False,
    )
    assert schema.foreign_keys == (
        ForeignKey("child", ("p",), "one", ("id",)),
        ForeignKey("child", ("q",), "one", ("id",)),
        ForeignKey("child", ("x", "y"), "Parent", ("a", "b")),  # in the order of the key
        ForeignKey("child", ("y", "x"), "Parent", ("b", "a")),
    )


def test_keys_are_inferred_from_values(tmp_path: Path) -> None:
    script = """
        CREATE TABLE airlines (uid INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE flights (number INT, Airline INT, Seats INT);
        INSERT INTO airlines VALUES (1, 'A'), (2, 'B'), (3, 'C');
        INSERT INTO flights VALUES (10, 1, 100), (11, 2, 120), (12, 3, 2);
    """
    key = ForeignKey("flights", ("Airline",), "airlines", ("uid",), inferred=True)
    assert read(tmp_path, script).foreign_keys == (key,)


def test_values_veto_inferred_keys(tmp_path: Path) -> None:
    script = """
        CREATE TABLE customers (id INTEGER PRIMARY KEY);
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id TEXT);
        CREATE TABLE bills (id INTEGER PRIMARY KEY, customer_id INT);
        INSERT INTO customers VALUES (1), (2);
        INSERT INTO orders VALUES (1, 'a'), (2, 'b');
    """
    expected = (ForeignKey("bills", ("customer_id",), "customers", ("id",), True),)
    assert read(tmp_path, script).foreign_keys == expected


def test_weird_identifiers(tmp_path: Path) -> None:
    def quote(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    columns = ", ".join(f"{quote(name)} INT" for name in WEIRD_NAMES)
    script = "".join(
        f"CREATE TABLE {quote(name)} ({columns}, PRIMARY KEY ({quote(WEIRD_NAMES[0])}));"
        f"INSERT INTO {quote(name)} ({quote(name)}) VALUES (7);"
        for name in WEIRD_NAMES
    )
    script += f'CREATE TABLE "" (a INT REFERENCES {quote(WEIRD_NAMES[1])});'
    schema = read(tmp_path, script)
    assert tuple(t.name for t in schema.tables) == (*WEIRD_NAMES, "")
    for table in schema.tables[:-1]:
        assert tuple(c.name for c in table.columns) == WEIRD_NAMES
        assert [c.name for c in table.columns if c.samples == ("7",)] == [table.name]
        assert table.row_count == 1
    assert all(c.natural for c in schema.columns)
    assert ForeignKey("", ("a",), WEIRD_NAMES[1], (WEIRD_NAMES[0],)) in schema.foreign_keys


def test_text_that_is_not_utf8_and_long_text(tmp_path: Path) -> None:
    schema = read(
        tmp_path,
        "CREATE TABLE t (a TEXT, b TEXT);"
        "INSERT INTO t VALUES (CAST(x'ff41' AS TEXT), printf('%.5000c', 'x'));",
    )
    a, b = schema.columns
    assert a.samples == ("\ufffdA",)
    assert len(b.samples[0]) == 80


def test_two_thousand_columns(tmp_path: Path) -> None:
    columns = ", ".join(f"c{i} INT" for i in range(2000))
    schema = read(tmp_path, f"CREATE TABLE wide ({columns}); INSERT INTO wide (c7) VALUES (1);")
    assert len(schema.columns) == 2000
    assert schema.columns[7].samples == ("1",)


def test_a_million_rows_are_quick(tmp_path: Path) -> None:
    path = make(
        tmp_path / "big.sqlite",
        "CREATE TABLE big (id INTEGER PRIMARY KEY, n INT);"
        "INSERT INTO big WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r "
        "WHERE i < 1000000) SELECT i, i % 10 FROM r;"
        "CREATE VIEW slow AS SELECT count(*) AS c FROM big a JOIN big b ON a.n < b.n;",
    )
    start = time.process_time()  # not of the clock: other programs may be at work
    schema = sqlite_schema(path)
    assert time.process_time() - start < 2.0
    assert [(t.name, t.row_count) for t in schema.tables] == [("big", 1_000_000), ("slow", None)]


def test_row_estimates_come_from_analyze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plainsql.schema.introspect.MAX_COUNTED_ROWS", 2)
    script = """
        CREATE TABLE sparse (id INTEGER PRIMARY KEY, n INT);
        CREATE INDEX n ON sparse (n);
        INSERT INTO sparse VALUES (1, 1), (5, 2), (100, 3);
    """
    assert read(tmp_path, script).tables[0].row_count == 100
    assert read(tmp_path, "ANALYZE").tables[0].row_count == 3


CREATE = """CREATE TABLE airports ( -- where planes land
    apid integer,   -- id (of, the) airport
    /* three
       letters */
    "ia,ta" varchar(3) CHECK ("ia,ta" NOT IN ('--', ',', ')')), b int /* bb */, [c d] int -- cc
    , lat real, -- degrees; south is
                -- negative
    PRIMARY KEY (apid), -- never mind
    -- above e
    e numeric(2, -- inside
      3)
)"""


@pytest.mark.parametrize(
    ("create", "table", "columns"),
    [
        ("CREATE TABLE t (a int)", "", {}),
        (
            CREATE,
            "where planes land",
            {
                "apid": "id (of, the) airport",
                "ia,ta": "three letters",
                "b": "bb",
                "c d": "cc",
                "lat": "degrees; south is negative",
                "e": "above e inside",
            },
        ),
        ("CREATE TABLE t -- one\n -- two\n(a int, -- x\n b int)", "one two", {"a": "x"}),
        ("CREATE TABLE t (a int, /* unclosed", "", {"a": "unclosed"}),
        ("CREATE TABLE t (a int) -- after", "", {"a": "after"}),
        ("CREATE TABLE t (a text DEFAULT '--x', --\n b int)", "", {"a": ""}),
        (
            "CREATE TABLE t (a int, -- " + "long " * 100 + "\n b int)",
            "",
            {"a": ("long " * 40)[:199]},
        ),
    ],
)
def test_comments(create: str, table: str, columns: dict[str, str]) -> None:
    found = parse_comments(create)
    assert found.table == table
    assert {name: found.of(name) for name in columns} == columns


def test_comments_reach_the_schema(tmp_path: Path) -> None:
    schema = read(tmp_path, "CREATE TABLE t ( -- about t\n A int, -- about a\n b int)")
    assert schema.tables[0].comment == "about t"
    assert [c.comment for c in schema.columns] == ["about a", ""]


def test_no_file(tmp_path: Path) -> None:
    make(tmp_path / "real.db", "CREATE TABLE t (a)")
    with pytest.raises(ConnectError, match="no file") as caught:
        sqlite_schema(tmp_path / "unreal.db")
    assert "real.db" in caught.value.hint
    with pytest.raises(ConnectError, match="no file") as caught:
        sqlite_schema(tmp_path / "gone" / "x.db")
    assert "gone" in caught.value.hint
    assert not (tmp_path / "unreal.db").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,name\n1,Ann\n" * 100, "not a SQLite database"),
        (bytes(range(256)) * 16, "not a SQLite database"),  # as if encrypted
        (b"SQLite format 3\x00" + b"\x00" * 20, "not a SQLite database|damaged|Can't read"),
        (b"SQLite format 3\x00" + b"\xff" * 4080, "not a SQLite database|damaged|Can't read"),
    ],
)
def test_no_database(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConnectError, match=message) as caught:
        sqlite_schema(path)
    assert caught.value.hint


def test_a_damaged_database(tmp_path: Path) -> None:
    path = make(tmp_path / "db.sqlite", "CREATE TABLE t (a); INSERT INTO t VALUES (1);")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\x99" * 900 + whole[1000:])
    with pytest.raises(ConnectError, match="damaged") as caught:
        sqlite_schema(path)
    assert ".recover" in caught.value.hint


def test_a_folder_and_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="folder") as caught:
        sqlite_schema(tmp_path)
    assert caught.value.hint
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConnectError, match="regular file"):
        sqlite_schema(tmp_path / "pipe")


@pytest.mark.parametrize("script", ["", "CREATE TABLE t (a); DROP TABLE t;"])
def test_no_tables(tmp_path: Path, script: str) -> None:
    with pytest.raises(SchemaError, match="no tables") as caught:
        read(tmp_path, script)
    assert caught.value.hint


def test_a_locked_database(concerts: Path) -> None:
    with closing(sqlite3.connect(concerts, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConnectError, match="locked") as caught:
            open_read_only(concerts, timeout=0.05)
        writer.execute("ROLLBACK")
    assert caught.value.hint


@pytest.fixture
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of a user who isn't root, as which the test then runs."""
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        if root:
            os.chown(folder, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            folder.chmod(0o755)
            if root:
                os.seteuid(0)


def test_no_permission(ordinary: Path) -> None:
    concerts = make(ordinary / "a.db", "CREATE TABLE t (a)")
    concerts.chmod(0)
    with pytest.raises(ConnectError, match="Permission denied") as caught:
        sqlite_schema(concerts)
    assert "chmod" in caught.value.hint


def test_a_folder_that_may_not_be_entered(ordinary: Path) -> None:
    database = make(ordinary / "a.db", "CREATE TABLE t (a)")
    ordinary.chmod(0)
    with pytest.raises(ConnectError, match="Permission denied"):
        sqlite_schema(database)


def test_write_ahead_log_in_a_folder_without_write_permission(ordinary: Path) -> None:
    database = make(ordinary / "a.db", "PRAGMA journal_mode = WAL; CREATE TABLE t (a);")
    ordinary.chmod(0o555)
    assert len(sqlite_schema(database).tables) == 1


def test_a_waiting_log_in_a_folder_without_write_permission(ordinary: Path) -> None:
    """Rows still in the log are never passed over in silence."""
    database = make(ordinary / "a.db", "PRAGMA journal_mode = WAL; CREATE TABLE t (a);")
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        writer.execute("INSERT INTO t VALUES (1)")
        copies = [ordinary / "b.db", ordinary / "b.db-wal"]
        for copy in copies:
            copy.write_bytes((ordinary / copy.name.replace("b.db", "a.db")).read_bytes())
    ordinary.chmod(0o555)
    with pytest.raises(ConnectError, match="not closed cleanly") as caught:
        open_read_only(copies[0])
    assert "Open it once" in caught.value.hint


@pytest.mark.parametrize("name", ["with space.db", "what?.db", "50%.db", "a#b.db", "naïve.db"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, "CREATE TABLE t (a)")
    assert sqlite_schema(str(path)).name == Path(name).stem


def test_the_connection_can_not_write(concerts: Path) -> None:
    with (
        closing(open_read_only(concerts)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM singer")


@pytest.mark.parametrize(
    ("advisors", "faculty", "expected"),
    [
        ((1121, 1148, 7712), (1082, 1121, 1148, 7712), True),
        ((1121, 1148, 9999), (1082, 1121, 1148, 7712), False),  # one is not there
        ((1, 2, 3), (1, 2, 3, 4), False),  # small numbers are in every key
    ],
)
def test_sparse_values_alone_can_tell_a_key(
    tmp_path: Path, advisors: tuple[int, ...], faculty: tuple[int, ...], expected: bool
) -> None:
    path = tmp_path / "school.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE faculty (facid INTEGER PRIMARY KEY, rank TEXT)")
        connection.execute("CREATE TABLE student (stuid INTEGER PRIMARY KEY, advisor INTEGER)")
        connection.executemany("INSERT INTO faculty (facid) VALUES (?)", [(n,) for n in faculty])
        connection.executemany("INSERT INTO student (advisor) VALUES (?)", [(n,) for n in advisors])
        connection.commit()
    keys = [(key.columns, key.ref_table) for key in sqlite_schema(path).foreign_keys]
    assert ((("advisor",), "faculty") in keys) is expected
