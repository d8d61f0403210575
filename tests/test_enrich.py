"""A schema from outside, completed by what the file shows."""

from __future__ import annotations

from dataclasses import replace

from plainsql.schema.enrich import enrich
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table


def column(table: str, name: str, **more: object) -> Column:
    return replace(Column(table, name, ColumnType.TEXT, name.lower()), **more)  # type: ignore[arg-type]


def table(name: str, *columns: Column) -> Table:
    return Table(name, columns, name.lower())


KEY = ForeignKey("song", ("singer",), "singer", ("id",))
GIVEN = Schema(
    "given",
    (
        table("singer", column("singer", "id"), column("singer", "name", natural="stage name")),
        table("song", column("song", "singer"), column("song", "writer"), column("song", "lost")),
    ),
    (KEY,),
)


def found(*keys: ForeignKey) -> Schema:
    """The same database as its file has it, in another case, with samples."""
    number = {"type": ColumnType.NUMBER, "declared_type": "INTEGER", "samples": ("1", "2")}
    singer = table(
        "Singer",
        column("Singer", "ID", **number),
        column("Singer", "Name", samples=("Joe",), declared_type="TEXT"),
    )
    song = table("Song", column("Song", "Singer", **number), column("Song", "Writer", **number))
    return Schema("found", (singer, song), keys)


def test_samples_and_declared_types_come_from_the_file() -> None:
    result = enrich(GIVEN, found())
    name = result.columns[result.column_index("singer", "name")]
    assert (name.samples, name.declared_type) == (("Joe",), "TEXT")
    assert result.columns[result.column_index("singer", "id")].samples == ("1", "2")


def test_names_and_kinds_stay_as_given() -> None:
    result = enrich(GIVEN, found())
    assert [c.name for c in result.columns] == [c.name for c in GIVEN.columns]
    assert [c.natural for c in result.columns] == [c.natural for c in GIVEN.columns]
    assert {c.type for c in result.columns} == {ColumnType.TEXT}
    assert (result.name, result.dialect) == (GIVEN.name, GIVEN.dialect)


def test_columns_the_file_lacks_stay() -> None:
    result = enrich(GIVEN, found())
    assert result.columns[result.column_index("song", "lost")] == GIVEN.columns[-1]


def test_keys_of_the_file_are_added_once() -> None:
    same = ForeignKey("Song", ("Singer",), "Singer", ("ID",))
    turned = ForeignKey("Singer", ("ID",), "Song", ("Singer",), inferred=True)
    new = ForeignKey("Song", ("Writer",), "Singer", ("ID",), inferred=True)
    strange = ForeignKey("Song", ("Album",), "Album", ("ID",))
    result = enrich(GIVEN, found(same, turned, new, strange))
    assert result.foreign_keys == (KEY, new)
