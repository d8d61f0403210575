from __future__ import annotations

import time

import pytest

from plainsql.linking.names import match_names
from plainsql.linking.words import tokenize_question
from plainsql.records import NameMatch
from plainsql.schema.model import Column, ColumnType, Schema, Table

COLUMNS = {
    ("student", "students"): [
        ("stuID", "student id"),
        ("fName", "first name"),
        ("home_city", "home city"),
        ("birth_date", "date of birth"),
        ("sex", "sex"),
    ],
    ("dept", "department"): [
        ("id", "id"),
        ("name", "name"),
        ("phone_no", "phone no"),
        ("enrollment", "enrollment"),
        ("zipcode", "zipcode"),
    ],
}


def schema_of(tables: dict[tuple[str, str], list[tuple[str, str]]]) -> Schema:
    return Schema(
        "test",
        tuple(
            Table(
                name,
                tuple(Column(name, raw, ColumnType.TEXT, words) for raw, words in columns),
                natural,
            )
            for (name, natural), columns in tables.items()
        ),
    )


SCHEMA = schema_of(COLUMNS)

# question, words, kind, table.column, score
MATCHES = [
    ("ids of students", "students", "exact", "student", 1.0),
    ("the first names", "first names", "exact", "student.fName", 1.0),
    ("the firstname", "firstname", "exact", "student.fName", 1.0),
    ("the student id", "student id", "exact", "student.stuID", 1.0),
    ("the stuID", "stuID", "exact", "student.stuID", 1.0),
    ("the student_id", "student_id", "exact", "student.stuID", 1.0),
    ("department name", "department name", "exact", "dept.name", 1.0),
    ("department identifier", "department identifier", "exact", "dept.id", 1.0),
    ("their phone number", "phone number", "exact", "dept.phone_no", 1.0),
    ("phone num", "phone num", "exact", "dept.phone_no", 1.0),
    ("the zip code", "zip code", "exact", "dept.zipcode", 1.0),
    ("which city", "city", "partial", "student.home_city", 0.5),
    ("the birth date", "birth date", "partial", "student.birth_date", 0.6667),
    ("those enrolled", "enrolled", "partial", "dept.enrollment", 0.9),
    ("each depart", "depart", "partial", "dept", 0.9),
    ("every departmental", "departmental", "partial", "dept", 0.7),
    ("by enrol", "enrol", "partial", "dept.enrollment", 0.9),
]


def shown(match: NameMatch) -> str:
    table = SCHEMA.tables[match.table].name
    return table if match.column is None else f"{table}.{SCHEMA.columns[match.column].name}"


@pytest.mark.parametrize(("text", "words", "kind", "name", "score"), MATCHES)
def test_match(text: str, words: str, kind: str, name: str, score: float) -> None:
    question = tokenize_question(text)
    found = [
        (" ".join(w.text for w in question.words[m.start : m.end]), m.kind.value, m.score)
        for m in match_names(question, SCHEMA)
        if shown(m) == name
    ]
    assert (words, kind, score) in found


@pytest.mark.parametrize("text", ["", "How many are there?", "the of and", "no such thing"])
def test_no_match(text: str) -> None:
    assert match_names(tokenize_question(text), SCHEMA) == ()


def test_longest_first_and_partial_never_repeats_exact() -> None:
    matches = match_names(tokenize_question("first name"), SCHEMA)
    assert [(m.start, m.end) for m in matches] == sorted(
        ((m.start, m.end) for m in matches), key=lambda span: (span[0], -span[1])
    )
    first_name = SCHEMA.column_index("student", "fName")
    assert [m.kind.value for m in matches if m.column == first_name] == ["exact"]


def test_every_match_is_inside_the_question() -> None:
    question = tokenize_question("home cities, birth dates and ids of students by department")
    for match in match_names(question, SCHEMA):
        assert 0 <= match.start < match.end <= len(question.words)
        assert 0 < match.score <= 1
        assert match.column is None or SCHEMA.table_of[match.column] == match.table


def test_two_thousand_columns_are_fast() -> None:
    words = "name city date price status code first last order customer".split()
    wide = schema_of(
        {
            (f"t{i}", f"table {words[i % 10]}"): [
                (f"c{i}_{j}", f"{words[j % 10]} {words[(i + j) % 10]}") for j in range(20)
            ]
            for i in range(100)
        }
    )
    question = tokenize_question("the " + " ".join(words) + " of all orders with a price over ten")
    match_names(question, wide)  # builds the index
    start = time.process_time()
    match_names(question, wide)
    assert time.process_time() - start < 0.2  # 10 ms on an idle core
