"""Which part of a wrong query is wrong."""

from __future__ import annotations

import pytest

from plainsql.evaluation.error_classes import ErrorClass, classify
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table


def table(name: str, *columns: str) -> Table:
    return Table(name, tuple(Column(name, c, ColumnType.TEXT, c) for c in columns), name)


SCHEMA = Schema(
    "school",
    (
        table("student", "id", "name", "age", "city"),
        table("has_pet", "stu_id", "pet_id"),
        table("pet", "id", "kind", "weight"),
    ),
    (ForeignKey("has_pet", ("stu_id",), "student", ("id",)),),
)
NESTED = "SELECT name FROM student WHERE id IN (SELECT stu_id FROM has_pet WHERE pet_id = 1)"
JOINED = "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id"

CASES = [
    ("SELECT name FROM student", "SELECT kind FROM pet", ErrorClass.TABLES),
    ("SELECT name FROM student", JOINED, ErrorClass.TABLES),
    (JOINED, JOINED.replace("b.stu_id", "b.pet_id"), ErrorClass.JOIN),
    (JOINED, JOINED.replace("JOIN", "LEFT JOIN"), ErrorClass.JOIN),
    ("SELECT name FROM student", "SELECT age FROM student", ErrorClass.SELECT_WRONG),
    ("SELECT name, age FROM student", "SELECT age FROM student", ErrorClass.SELECT_MISSING),
    ("SELECT name FROM student", "SELECT name, age FROM student", ErrorClass.SELECT_EXTRA),
    ("SELECT name, age FROM student", "SELECT age, name FROM student", ErrorClass.SELECT_ORDER),
    ("SELECT max(age) FROM student", "SELECT min(age) FROM student", ErrorClass.AGGREGATION),
    ("SELECT max(age) FROM student", "SELECT age FROM student", ErrorClass.AGGREGATION),
    (
        "SELECT name FROM student WHERE age > 1",
        "SELECT name FROM student",
        ErrorClass.CONDITION_MISSING,
    ),
    (
        "SELECT name FROM student",
        "SELECT name FROM student WHERE age > 1",
        ErrorClass.CONDITION_EXTRA,
    ),
    (
        "SELECT name FROM student WHERE age > 1",
        "SELECT name FROM student WHERE id > 1",
        ErrorClass.CONDITION_COLUMN,
    ),
    (
        "SELECT name FROM student WHERE age > 1",
        "SELECT name FROM student WHERE age >= 1",
        ErrorClass.CONDITION_OPERATOR,
    ),
    (
        "SELECT name FROM student WHERE city LIKE 'a'",
        "SELECT name FROM student WHERE city NOT LIKE 'a'",
        ErrorClass.CONDITION_OPERATOR,
    ),
    (
        "SELECT name FROM student WHERE age > 1",
        "SELECT name FROM student WHERE age > 2",
        ErrorClass.CONDITION_VALUE,
    ),
    (
        "SELECT name FROM student WHERE age > 1 AND id = 2",
        "SELECT name FROM student WHERE id = 2 OR age > 1",
        ErrorClass.CONNECTOR,
    ),
    (
        "SELECT count(*) FROM student GROUP BY city",
        "SELECT count(*) FROM student",
        ErrorClass.GROUP_BY,
    ),
    (
        "SELECT city FROM student GROUP BY city HAVING count(*) > 1",
        "SELECT city FROM student GROUP BY city HAVING count(*) > 2",
        ErrorClass.HAVING,
    ),
    (
        "SELECT name FROM student ORDER BY age",
        "SELECT name FROM student ORDER BY age DESC",
        ErrorClass.ORDER_BY,
    ),
    (
        "SELECT name FROM student ORDER BY age DESC, id ASC",
        "SELECT name FROM student ORDER BY age ASC, id ASC",
        ErrorClass.ORDER_BY,
    ),
    ("SELECT name FROM student LIMIT 1", "SELECT name FROM student LIMIT 2", ErrorClass.LIMIT),
    ("SELECT DISTINCT name FROM student", "SELECT name FROM student", ErrorClass.DISTINCT),
    (
        "SELECT count(DISTINCT name) FROM student",
        "SELECT count(name) FROM student",
        ErrorClass.DISTINCT,
    ),
    (NESTED, JOINED, ErrorClass.NESTING),
    (NESTED, NESTED.replace("pet_id = 1", "pet_id = 2"), ErrorClass.CONDITION_VALUE),
    (NESTED, NESTED.replace("SELECT stu_id", "SELECT pet_id"), ErrorClass.SELECT_WRONG),
    (NESTED, NESTED.replace(" IN", " NOT IN"), ErrorClass.CONDITION_OPERATOR),
    (
        "SELECT name FROM student UNION SELECT kind FROM pet",
        "SELECT name FROM student",
        ErrorClass.SET_OPERATION,
    ),
    (
        "SELECT name FROM student UNION SELECT kind FROM pet",
        "SELECT name FROM student INTERSECT SELECT kind FROM pet",
        ErrorClass.SET_OPERATION,
    ),
    (
        "SELECT name FROM student UNION SELECT kind FROM pet",
        "SELECT name FROM student UNION SELECT weight FROM pet",
        ErrorClass.SELECT_WRONG,
    ),
    ("SELECT name FROM student", "SELECT name FROM student", ErrorClass.OTHER),
    # the other column of a foreign key, and a join written the other way round, are no errors
    (
        JOINED.replace("a.name", "a.id"),
        "SELECT b.stu_id FROM has_pet b JOIN student a ON b.stu_id = a.id LIMIT 1",
        ErrorClass.LIMIT,
    ),
    ("SELECT name FROM student", "SELECT name FROM", ErrorClass.UNPARSED),
]


@pytest.mark.parametrize(("gold", "predicted", "expected"), CASES)
def test_classes(gold, predicted, expected):
    assert classify(gold, predicted, SCHEMA) is expected
