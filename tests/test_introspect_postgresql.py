"""The schema of a PostgreSQL database: what its catalogue says, read by a role that may read."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from plainsql.errors import SchemaError
from plainsql.schema import ColumnType, ForeignKey, Schema
from plainsql.schema.introspect_common import (
    Containment,
    RawColumn,
    RawKey,
    RawTable,
    build_schema,
    with_samples,
)
from plainsql.schema.json_form import from_json, to_json
from plainsql.schema.model import Column, Table
from servers import PostgreSQLServer

pytest.importorskip("psycopg")
from plainsql.execution.postgresql import PostgreSQLEngine

LIBRARY = """
CREATE TYPE genre AS ENUM ('novel', 'poems', 'letters');
CREATE DOMAIN isbn AS varchar(17) CHECK (length(VALUE) > 9);
CREATE TABLE author (
    author_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL, born date, photo bytea, tags text[], notes jsonb, home inet
);
CREATE TABLE book (
    isbn isbn PRIMARY KEY, author_id int REFERENCES author, genre genre, price numeric(6, 2),
    gross numeric GENERATED ALWAYS AS (price * 1.2) STORED, in_print boolean,
    "Odd ""Column" int, published text
);
COMMENT ON TABLE book IS 'what is
    lent';
COMMENT ON COLUMN book.price IS 'in euros, without tax';
CREATE TABLE shelf (room int, place int, PRIMARY KEY (room, place));
CREATE TABLE copy (
    isbn isbn, number int, room int, place int, PRIMARY KEY (isbn, number),
    FOREIGN KEY (isbn) REFERENCES book, FOREIGN KEY (room, place) REFERENCES shelf
);
CREATE VIEW novel AS SELECT isbn, price FROM book WHERE genre = 'novel';
CREATE MATERIALIZED VIEW genre_count AS SELECT genre, count(*) AS books FROM book GROUP BY genre;
CREATE TABLE loan (loan_id int, isbn isbn REFERENCES book, lent_on date NOT NULL)
    PARTITION BY RANGE (lent_on);
CREATE TABLE loan_2023 PARTITION OF loan FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE loan_later PARTITION OF loan FOR VALUES FROM ('2024-01-01') TO ('2030-01-01')
    PARTITION BY LIST (loan_id);
CREATE TABLE loan_rest PARTITION OF loan_later DEFAULT;
CREATE TABLE reader (readerid int PRIMARY KEY, full_name text);
CREATE TABLE visit (visit_no int PRIMARY KEY, reader_id int, book_isbn text, day date);
CREATE TABLE hidden (a int);
CREATE TABLE half_hidden (open int, closed int);
CREATE SCHEMA archive;
CREATE TABLE archive.book (isbn isbn REFERENCES public.book, sold_on timestamptz);
CREATE TABLE archive."Box no." ("id" int PRIMARY KEY);
CREATE SCHEMA locked; CREATE TABLE locked.thing (a int);
CREATE EXTENSION IF NOT EXISTS file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE passwd (line text) SERVER files OPTIONS (filename '/etc/hostname');
INSERT INTO author (name, born, tags) VALUES ('Ann', '1900-01-02', '{a,b}'), ('Bo', NULL, NULL);
INSERT INTO book (isbn, author_id, genre, price, in_print, "Odd ""Column", published)
    SELECT 'isbn-' || 100000 + g, 1 + g % 2, 'novel', g, true, g, '2001-0' || 1 + g % 9 || '-11'
    FROM generate_series(1, 90) g;
INSERT INTO shelf SELECT 1, g FROM generate_series(1, 5) g;
INSERT INTO loan SELECT g, 'isbn-100001', '2023-12-01'::date + g FROM generate_series(1, 60) g;
INSERT INTO reader SELECT g, 'Reader ' || g FROM generate_series(1, 30) g;
INSERT INTO visit SELECT g, 1 + g % 30, 'isbn-' || 100001 + g % 50, '2024-02-01'
    FROM generate_series(1, 99) g;
ANALYZE book; ANALYZE loan; ANALYZE archive.book;
"""
DATABASE = "library"


@pytest.fixture(scope="module")
def server(postgresql_server: PostgreSQLServer) -> PostgreSQLServer:
    found = postgresql_server
    found.create(DATABASE, LIBRARY, schemas=("archive",))
    found.sql(
        f"""REVOKE SELECT ON hidden, half_hidden FROM {found.reader};
        GRANT SELECT (open) ON half_hidden TO {found.reader};
        GRANT SELECT ON locked.thing TO {found.reader}; REVOKE ALL ON SCHEMA locked FROM PUBLIC""",
        DATABASE,
    )
    return found


@pytest.fixture(scope="module")
def engine(server: PostgreSQLServer) -> Iterator[PostgreSQLEngine]:
    with PostgreSQLEngine(server.url(DATABASE)) as opened:
        yield opened


@pytest.fixture(scope="module")
def schema(engine: PostgreSQLEngine) -> Schema:
    return engine.introspect()


def table(schema: Schema, name: str) -> Table:
    return schema.tables[schema.table_index(name)]


def column(schema: Schema, place: str) -> Column:
    owner, _, name = place.rpartition(".")
    return schema.columns[schema.column_index(owner, name)]


def test_what_may_be_read_is_there(schema: Schema) -> None:
    assert (schema.name, schema.dialect) == (DATABASE, "postgres")
    assert {found.name for found in schema.tables} == {
        "author", "book", "shelf", "copy", "novel", "genre_count", "loan", "reader", "visit",
        "half_hidden", "passwd", "archive.book", "archive.Box no.",
    }  # fmt: skip
    assert [found.name for found in table(schema, "half_hidden").columns] == ["open"]


def test_views_and_partitions(schema: Schema) -> None:
    views = {found.name for found in schema.tables if found.is_view}
    assert views == {"novel", "genre_count"}
    assert table(schema, "loan").row_count == 60
    assert table(schema, "book").row_count == 90
    assert table(schema, "novel").row_count is None


def test_names_in_other_schemas(schema: Schema) -> None:
    archived = table(schema, "archive.book")
    assert (archived.namespace, archived.bare_name) == ("archive", "book")
    assert (archived.natural, table(schema, "book").natural) == ("archive book", "book")
    assert table(schema, "archive.Box no.").bare_name == "Box no."
    assert (table(schema, "book").namespace, table(schema, "book").bare_name) == ("", "book")
    assert from_json(to_json(schema)) == schema


def test_keys(schema: Schema) -> None:
    declared = {key for key in schema.foreign_keys if not key.inferred}
    assert declared == {
        ForeignKey("book", ("author_id",), "author", ("author_id",)),
        ForeignKey("copy", ("isbn",), "book", ("isbn",)),
        ForeignKey("copy", ("room", "place"), "shelf", ("room", "place")),
        ForeignKey("loan", ("isbn",), "book", ("isbn",)),
        ForeignKey("archive.book", ("isbn",), "book", ("isbn",)),
    }
    keys = {f"{c.table}.{c.name}" for c in schema.columns if c.primary_key}
    assert {"copy.isbn", "copy.number", "shelf.room", "shelf.place", "author.author_id"} <= keys


def test_keys_that_were_not_declared(schema: Schema) -> None:
    inferred = {(k.table, k.columns, k.ref_table) for k in schema.foreign_keys if k.inferred}
    assert ("visit", ("reader_id",), "reader") in inferred
    assert ("visit", ("book_isbn",), "book") in inferred


def test_comments_stand_on_one_line(schema: Schema) -> None:
    assert table(schema, "book").comment == "what is lent"
    assert column(schema, "book.price").comment == "in euros, without tax"


@pytest.mark.parametrize(
    ("place", "kind", "declared"),
    [
        ("author.author_id", ColumnType.NUMBER, "integer"),
        ("author.born", ColumnType.TIME, "date"),
        ("author.photo", ColumnType.OTHER, "bytea"),
        ("author.tags", ColumnType.OTHER, "text[]"),
        ("author.notes", ColumnType.OTHER, "jsonb"),
        ("author.home", ColumnType.TEXT, "inet"),
        ("book.isbn", ColumnType.TEXT, "isbn"),
        ("book.genre", ColumnType.TEXT, "genre"),
        ("book.price", ColumnType.NUMBER, "numeric(6,2)"),
        ("book.gross", ColumnType.NUMBER, "numeric"),
        ("book.in_print", ColumnType.BOOLEAN, "boolean"),
        ("book.published", ColumnType.TIME, "text"),
        ('book.Odd "Column', ColumnType.NUMBER, "integer"),
        ("archive.book.sold_on", ColumnType.TIME, "timestamp with time zone"),
    ],
)
def test_types(schema: Schema, place: str, kind: ColumnType, declared: str) -> None:
    found = column(schema, place)
    assert (found.type, found.declared_type) == (kind, declared)


def test_samples(schema: Schema) -> None:
    assert column(schema, "book.genre").samples == ("novel", "poems", "letters")
    assert column(schema, "author.name").samples == ("Ann", "Bo")  # not analysed: from its rows
    assert column(schema, "author.born").samples == ("1900-01-02",)
    assert column(schema, "author.photo").samples == ()
    assert set(column(schema, "book.isbn").samples) <= {f"isbn-{100000 + g}" for g in range(91)}
    assert len(column(schema, "loan.isbn").samples) == 1


def test_the_search_path_decides_what_is_near(server: PostgreSQLServer) -> None:
    server.sql(f"ALTER ROLE {server.reader} SET search_path = archive, public", "postgres")
    try:
        with PostgreSQLEngine(server.url(DATABASE)) as engine:
            names = {found.name for found in engine.introspect().tables}
            assert {"public.book", "book", "author"} <= names
            assert engine.run("SELECT sold_on FROM book").rows == ()
    finally:
        server.sql(f"ALTER ROLE {server.reader} RESET search_path", "postgres")


def test_a_database_without_tables_says_so(server: PostgreSQLServer) -> None:
    server.create("empty")
    with (
        PostgreSQLEngine(server.url("empty")) as engine,
        pytest.raises(SchemaError, match="no tables that can be read"),
    ):
        engine.introspect()


def test_many_tables_soon(server: PostgreSQLServer) -> None:
    """A tenth of what is promised (10,000 tables in under 20 s), with room to spare."""
    columns = ", ".join(f"c{n} int" for n in range(9))
    server.create(
        "many",
        "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format("
        f"'CREATE TABLE t%s (id int PRIMARY KEY, {columns})', i); END LOOP; END $$",
    )
    with PostgreSQLEngine(server.url("many")) as engine:
        started = time.monotonic()
        schema = engine.introspect()
        assert time.monotonic() - started < 6
    assert (len(schema.tables), len(schema.columns)) == (1000, 10_000)


# What all server introspections share


def test_a_schema_of_raw_facts() -> None:
    tables = [
        RawTable("Users", (RawColumn("id", "int", in_primary_key=True), RawColumn("ID", "int"))),
        RawTable("users", (RawColumn("x", "int"),)),  # differs in case alone: left out
        RawTable("nothing", ()),
        RawTable("orders", (RawColumn("user_id", "int"), RawColumn("at", "text")), "sales"),
    ]
    keys = [
        RawKey("sales.orders", ("USER_ID",), "users", ("id",)),
        RawKey("sales.orders", ("user_id",), "elsewhere", ("id",)),
        RawKey("sales.orders", ("gone",), "users", ("id",)),
    ]
    schema = build_schema("shop", "postgres", tables, keys)
    assert [found.name for found in schema.tables] == ["Users", "sales.orders"]
    assert [found.name for found in schema.columns] == ["id", "user_id", "at"]
    assert schema.foreign_keys == (ForeignKey("sales.orders", ("user_id",), "Users", ("id",)),)


def test_samples_are_read_until_the_time_is_up() -> None:
    tables = [RawTable(f"t{n}", (RawColumn("a"), RawColumn("b", values=("x",)))) for n in range(3)]
    rows = [(1, 2), (None, 3), (1, 4), (b"\x00", 5), (" ", 6), ("z", 7)]
    read = with_samples(tables, lambda table: rows if table.name != "t1" else None)
    assert [table.columns[0].values for table in read] == [(1, "z"), (), (1, "z")]
    assert {table.columns[1].values for table in read} == {("x",)}
    assert with_samples(tables, lambda table: rows, seconds=0) == tables


def test_containment_gives_up_in_time() -> None:
    asked: list[str] = []

    def rows(sql: str, parameters: object) -> list[tuple[int, ...]]:
        asked.append(sql)
        return [(4, 3)]

    schema = build_schema("x", "postgres", [RawTable("t", (RawColumn("a"), RawColumn("b")))])
    first, second = schema.columns
    look = Containment(rows, str, str)
    assert look.share(first, second) == 0.75
    assert Containment(rows, str, str, skipped=("t",)).share(first, second) is None
    assert Containment(rows, str, str, seconds=-1).share(first, second) is None
    assert len(asked) == 1
