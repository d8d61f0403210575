from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.linking.link import link
from plainsql.linking.value_index import ValueIndex
from plainsql.linking.words import tokenize_question
from plainsql.records import Value
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema

DDL = """
CREATE TABLE student(stu_id INTEGER, name TEXT, major TEXT, year TEXT, scholarship TEXT, age INT);
INSERT INTO student VALUES (1, 'Ann Lee', 'Football', '2013', 'Y', 20),
                           (2, 'Bob Ray', 'History', '2014', 'N', 21);
CREATE TABLE river(river_name TEXT, state TEXT);
INSERT INTO river VALUES ('ohio', 'ohio'), ('ohio river', 'indiana');
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Schema, ValueIndex]]:
    path = tmp_path / "students.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DDL)
    schema = sqlite_schema(path)
    with closing(ValueIndex.open(path, schema, tmp_path / "cache")) as index:
        yield schema, index


# question, what is found: value, kind
VALUES: list[tuple[str, list[tuple[Value, str]]]] = [
    ("Who plays Football?", [("Football", "cell")]),
    ("Who plays football?", [("Football", "cell")]),
    ("Who plays Tennis?", [("Tennis", "capitalised")]),
    ('Who plays "football"?', [("Football", "cell"), ("football", "quoted")]),
    ('Who plays "Football"?', [("Football", "cell")]),
    ("Students of 2013", [("2013", "cell"), (2013, "number")]),
    ("Students older than 20", [(20, "number")]),
    ("Where is Ann Lee from?", [("Ann Lee", "cell")]),
    ("students on scholarship", [("N", "cell"), ("Y", "cell")]),
    ("which states has the ohio river", [("ohio", "cell"), ("ohio river", "cell")]),
    ("how many students are there", []),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_values(
    opened: tuple[Schema, ValueIndex], text: str, expected: list[tuple[Value, str]]
) -> None:
    links = link(text, *opened)
    assert [(value.value, value.kind.value) for value in links.values] == expected


def test_a_quotation_ranks_behind_its_cell(opened: tuple[Schema, ValueIndex]) -> None:
    cell, quoted = link('Who plays "football"?', *opened).values
    assert cell.score > quoted.score


def test_numbers_have_the_columns_they_occur_in(opened: tuple[Schema, ValueIndex]) -> None:
    schema, index = opened
    found = {v.value: v.columns for v in link("20 students of 2013", schema, index).values}
    year, age = schema.column_index("student", "year"), schema.column_index("student", "age")
    assert found == {20: (age,), "2013": (year,), 2013: (year,)}


def test_without_an_index_words_that_mean_nothing_are_values(
    opened: tuple[Schema, ValueIndex],
) -> None:
    schema, _ = opened
    (value,) = link("how many students study medieval history", schema).values
    assert (value.value, value.columns, value.score) == ("study medieval history", (), 0.3)


def test_takes_a_question_too_and_repeats_itself(opened: tuple[Schema, ValueIndex]) -> None:
    text = "Which students of 2013 play football or History by name and age?"
    first = link(text, *opened)
    assert first == link(tokenize_question(text), *opened)
    assert first.question.text == text
    keys = [(v.start, v.end, v.kind.value, str(v.value)) for v in first.values]
    assert keys == sorted(keys)


@pytest.mark.parametrize("text", ["", "?", "'", '"', "\x00", "''''", "-", "%"])
def test_odd_questions(opened: tuple[Schema, ValueIndex], text: str) -> None:
    assert link(text, *opened).values == ()
