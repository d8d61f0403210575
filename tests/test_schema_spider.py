"""The schema files of the Spider and BIRD benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plainsql.errors import SchemaError
from plainsql.schema import ColumnType, ForeignKey, load_tables_json

SPIDER: dict[str, Any] = {
    "db_id": "pets",
    "table_names_original": ["Student", "Has_Pet", "Pets"],
    "table_names": ["student", "has pet", "Pets "],
    "column_names_original": [
        [-1, "*"], [0, "StuID"], [0, "LName"], [1, "StuID"], [1, "PetID"], [2, "PetID"],
        [2, "pet_age"], [2, "born"], [2, "tame"], [2, "photo"],
    ],
    "column_names": [
        [-1, "*"], [0, "student id"], [0, "last name"], [1, "student id"], [1, "pet id"],
        [2, "pet id"], [2, "pet age"], [2, "born"], [2, "tame"], [2, ""],
    ],
    "column_types": [
        "text", "number", "text", "number", "number", "number", "number", "time", "boolean",
        "others",
    ],
    "primary_keys": [1, 5],
    "foreign_keys": [[3, 1]],
}  # fmt: skip

BIRD: dict[str, Any] = {
    "db_id": "school",
    "table_names_original": ["section", "takes"],
    "table_names": ["section", "takes"],
    "column_names_original": [
        [-1, "*"], [0, "course"], [0, "term"], [1, "student"], [1, "course"], [1, "term"],
    ],
    "column_names": [
        [-1, "*"], [0, "course"], [0, "term"], [1, "student"], [1, "course"], [1, "term"],
    ],
    "column_types": ["text", "text", "text", "integer", "text", "date"],
    "primary_keys": [[1, 2], [3, 4, 5]],
    "foreign_keys": [[4, 1], [5, 2]],
}  # fmt: skip


def write(tmp_path: Path, value: object) -> Path:
    path = tmp_path / "tables.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_spider(tmp_path: Path) -> None:
    schemas = load_tables_json(write(tmp_path, [SPIDER, BIRD]))
    assert list(schemas) == ["pets", "school"]
    schema = schemas["pets"]
    assert [(t.name, t.natural) for t in schema.tables] == [
        ("Student", "student"),
        ("Has_Pet", "has pet"),
        ("Pets", "pets"),
    ]
    # the columns are in the file's order, so that column i here is column i + 1 there
    assert [c.name for c in schema.columns] == [n for _, n in SPIDER["column_names_original"][1:]]
    assert [c.natural for c in schema.columns[:2]] == ["student id", "last name"]
    assert schema.columns[8].natural == "photo"  # none given
    assert [c.type for c in schema.columns[4:]] == [
        ColumnType.NUMBER,
        ColumnType.NUMBER,
        ColumnType.TIME,
        ColumnType.BOOLEAN,
        ColumnType.OTHER,
    ]
    assert [c.name for c in schema.columns if c.primary_key] == ["StuID", "PetID"]
    assert schema.foreign_keys == (
        ForeignKey("Has_Pet", ("StuID",), "Student", ("StuID",)),
        ForeignKey("Has_Pet", ("PetID",), "Pets", ("PetID",), inferred=True),
    )


def test_keys_as_listed(tmp_path: Path) -> None:
    schemas = load_tables_json(write(tmp_path, [SPIDER]), infer_keys=False)
    assert not any(key.inferred for key in schemas["pets"].foreign_keys)


def test_bird_has_composite_keys(tmp_path: Path) -> None:
    schema = load_tables_json(write(tmp_path, [BIRD]))["school"]
    assert [c.name for c in schema.columns if c.primary_key] == [
        "course",
        "term",
        "student",
        "course",
        "term",
    ]
    key = ForeignKey("takes", ("course", "term"), "section", ("course", "term"))
    assert schema.foreign_keys == (key,)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [1],
        [{}],
        [{**SPIDER, "column_types": ["text"]}],
        [{**SPIDER, "foreign_keys": [[3, 99]]}],
        [{**SPIDER, "table_names": ["student"]}],
    ],
)
def test_other_files(tmp_path: Path, value: object) -> None:
    with pytest.raises(SchemaError) as caught:
        load_tables_json(write(tmp_path, value))
    assert caught.value.hint


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="Can't read"):
        load_tables_json(tmp_path / "gone.json")
    (tmp_path / "tables.json").write_bytes(b"\xff{")
    with pytest.raises(SchemaError, match="not in the form"):
        load_tables_json(tmp_path / "tables.json")
