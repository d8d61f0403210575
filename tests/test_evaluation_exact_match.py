"""Exact set match and hardness, by Spider's rules."""

from __future__ import annotations

import pytest

from plainsql.evaluation.exact_match import exact_match, key_map
from plainsql.evaluation.hardness import Hardness, hardness
from plainsql.evaluation.spider_form import ColumnUnit, Query, ValueUnit
from plainsql.evaluation.spider_parse import parse
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table


def table(name: str, *columns: str) -> Table:
    return Table(name, tuple(Column(name, c, ColumnType.TEXT, c) for c in columns), name)


SCHEMA = Schema(
    "school",
    (
        table("Student", "id", "name", "age", "city", "major"),
        table("Has_Pet", "stu_id", "pet_id"),
        table("Pet", "id", "kind", "weight"),
    ),
    (
        ForeignKey("Has_Pet", ("stu_id",), "Student", ("id",)),
        ForeignKey("Has_Pet", ("pet_id",), "Pet", ("id",)),
    ),
)

MATCHES = [
    # reordered parts, names, case
    ("SELECT name, age FROM student", "select AGE, NAME from STUDENT"),
    ("SELECT name FROM student", "SELECT T1.name FROM student AS T1"),
    (
        "SELECT name FROM student WHERE age > 3 AND city = 'x'",
        "SELECT name FROM student WHERE city = 'x' AND age > 3",
    ),
    (
        "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id",
        "SELECT b.name FROM has_pet a JOIN student b ON b.id = a.stu_id",
    ),
    # literals, LIMIT's number and DISTINCT are ignored
    ("SELECT name FROM student WHERE age > 3", "SELECT name FROM student WHERE age > 99"),
    ('SELECT name FROM student WHERE city = "x"', "SELECT name FROM student WHERE city = 'y'"),
    (
        "SELECT name FROM student ORDER BY age LIMIT 1",
        "SELECT name FROM student ORDER BY age LIMIT 3",
    ),
    ("SELECT DISTINCT name FROM student", "SELECT name FROM student"),
    ("SELECT count(DISTINCT city) FROM student", "SELECT count(city) FROM student"),
    # columns joined by a foreign key are one
    (
        "SELECT T1.id FROM student T1 JOIN has_pet T2 ON T1.id = T2.stu_id",
        "SELECT T2.stu_id FROM student T1 JOIN has_pet T2 ON T1.id = T2.stu_id",
    ),
    # aliases and positions in ORDER BY
    (
        "SELECT city, count(*) FROM student GROUP BY city ORDER BY count(*) DESC",
        "SELECT city, count(*) AS n FROM student GROUP BY 1 ORDER BY n DESC",
    ),
    # the two sides of a set operation
    (
        "SELECT name FROM student EXCEPT SELECT name FROM student WHERE age > 1 AND city = 'a'",
        "SELECT name FROM student EXCEPT SELECT name FROM student WHERE city = 'b' AND age > 2",
    ),
    (
        "SELECT name FROM student WHERE id NOT IN (SELECT stu_id FROM has_pet WHERE pet_id = 1)",
        "SELECT name FROM student WHERE id NOT IN (SELECT stu_id FROM has_pet WHERE pet_id = 2)",
    ),
]

MISMATCHES = [
    ("SELECT name FROM student", "SELECT age FROM student"),
    ("SELECT name FROM student", "SELECT name, age FROM student"),
    ("SELECT max(age) FROM student", "SELECT min(age) FROM student"),
    ("SELECT count(*) FROM student", "SELECT count(*) FROM pet"),
    ("SELECT name FROM student WHERE age > 3", "SELECT name FROM student WHERE age >= 3"),
    ("SELECT name FROM student WHERE age > 3", "SELECT name FROM student"),
    (
        "SELECT name FROM student WHERE age > 3 AND city = 'x'",
        "SELECT name FROM student WHERE age > 3 OR city = 'x'",
    ),
    (
        "SELECT name FROM student WHERE city LIKE 'x'",
        "SELECT name FROM student WHERE city NOT LIKE 'x'",
    ),
    ("SELECT name FROM student ORDER BY age", "SELECT name FROM student ORDER BY age DESC"),
    ("SELECT name FROM student ORDER BY age", "SELECT name FROM student ORDER BY age LIMIT 1"),
    ("SELECT name FROM student ORDER BY age, id", "SELECT name FROM student ORDER BY id, age"),
    (
        "SELECT city FROM student GROUP BY city",
        "SELECT city FROM student GROUP BY city HAVING count(*) > 1",
    ),
    (
        "SELECT city FROM student GROUP BY city HAVING count(*) > 1",
        "SELECT city FROM student GROUP BY city HAVING max(age) > 1",
    ),
    (
        "SELECT name FROM student UNION SELECT kind FROM pet",
        "SELECT name FROM student EXCEPT SELECT kind FROM pet",
    ),
    (
        "SELECT name FROM student UNION SELECT kind FROM pet",
        "SELECT name FROM student UNION ALL SELECT kind FROM pet",
    ),
    (
        "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id",
        "SELECT a.name FROM student a LEFT JOIN has_pet b ON a.id = b.stu_id",
    ),
    # Spider compares nested queries as they stand, here: the order of the columns
    (
        "SELECT name FROM student WHERE id IN (SELECT stu_id FROM has_pet)",
        "SELECT name FROM student WHERE id IN (SELECT pet_id FROM has_pet)",
    ),
    ("SELECT name FROM student", "SELECT name FROM"),
    ("SELECT name FROM student", "DROP TABLE student"),
    ("SELECT name FROM student", "SELECT name FROM student; SELECT 1"),
    ("SELECT name FROM student", ""),
]


@pytest.mark.parametrize(("gold", "predicted"), MATCHES)
def test_matches(gold, predicted):
    assert exact_match(gold, predicted, SCHEMA) is True
    assert exact_match(predicted, gold, SCHEMA) is True


@pytest.mark.parametrize(("gold", "predicted"), MISMATCHES)
def test_mismatches(gold, predicted):
    assert exact_match(gold, predicted, SCHEMA) is False


@pytest.mark.parametrize("sql", sorted({sql for pair in MATCHES + MISMATCHES[:-4] for sql in pair}))
def test_a_query_matches_itself(sql):
    assert exact_match(sql, sql, SCHEMA) is True


def test_an_unreadable_gold_has_no_match():
    assert exact_match("SELECT FROM WHERE", "SELECT 1", SCHEMA) is None


def test_key_map_names_the_first_column_of_a_group():
    assert key_map(SCHEMA) == {
        "student.id": "student.id",
        "has_pet.stu_id": "student.id",
        "has_pet.pet_id": "has_pet.pet_id",
        "pet.id": "has_pet.pet_id",
    }


def parsed(sql: str) -> Query:
    query = parse(sql, SCHEMA)
    assert query is not None
    return query


def test_unqualified_names_belong_to_the_first_table_that_has_them():
    query = parsed("SELECT name, weight, id FROM pet JOIN student ON 1 = 1")
    columns = [item.value.left.column for item in query.select]
    assert columns == ["student.name", "pet.weight", "pet.id"]


def test_a_nested_query_sees_the_columns_outside():
    query = parsed("SELECT name FROM student WHERE EXISTS (SELECT 1 FROM has_pet WHERE age > 1)")
    inner = query.where.units[0].value
    assert isinstance(inner, Query)
    assert inner.where.units[0].left == ValueUnit(ColumnUnit("student.age"))


def test_a_quoted_name_that_is_no_column_is_a_string():
    assert parsed('SELECT name FROM student WHERE city = "Rome"').where.units[0].value == "'Rome'"
    same = parsed('SELECT name FROM student WHERE city = "name"').where.units[0].value
    assert same == ColumnUnit("student.name")


def test_with_clauses_stand_for_their_queries():
    plain = parsed("SELECT count(*) FROM (SELECT name FROM student)")
    named = parsed("WITH s AS (SELECT name FROM student) SELECT count(*) FROM s")
    assert plain.sources == named.sources


def test_recursive_with_clauses_end():
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT max(i) FROM n"
    assert parsed(sql).sources


def test_order_by_after_a_set_operation_belongs_to_its_last_query():
    query = parsed("SELECT name FROM student UNION SELECT kind FROM pet ORDER BY 1 LIMIT 2")
    assert query.follower is not None
    assert (query.limit, query.follower.limit) == (None, "2")


# The rules count: clauses and joins, nested queries, and what comes more than once.
HARDNESS = [
    ("SELECT name FROM student", Hardness.EASY),
    ("SELECT count(*) FROM student WHERE age > 3", Hardness.EASY),
    ("SELECT name FROM student ORDER BY age DESC", Hardness.EASY),
    ("SELECT name, age FROM student", Hardness.MEDIUM),
    ("SELECT name, age FROM student ORDER BY age", Hardness.MEDIUM),
    ("SELECT name FROM student ORDER BY age LIMIT 1", Hardness.MEDIUM),
    ("SELECT name FROM student WHERE age > 1 AND city = 'a'", Hardness.MEDIUM),
    ("SELECT city, count(*) FROM student GROUP BY city", Hardness.MEDIUM),
    ("SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id", Hardness.EASY),
    (
        "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id WHERE a.age > 3",
        Hardness.MEDIUM,
    ),
    ("SELECT city FROM student GROUP BY city ORDER BY count(*) DESC LIMIT 1", Hardness.HARD),
    ("SELECT name FROM student WHERE age > (SELECT avg(age) FROM student)", Hardness.HARD),
    ("SELECT name FROM student UNION SELECT kind FROM pet", Hardness.HARD),
    (
        "SELECT name, city FROM student WHERE age > (SELECT avg(age) FROM student)",
        Hardness.EXTRA,
    ),
    (
        "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id "
        "WHERE a.age > 3 GROUP BY a.city ORDER BY count(*) LIMIT 1",
        Hardness.EXTRA,
    ),
    # oddities of the published script
    ("SELECT name FROM student WHERE age > 1 OR age < 0", Hardness.MEDIUM),
    ("SELECT max(age), min(age), city FROM student GROUP BY city, major", Hardness.HARD),
    ("SELECT name FROM student WHERE NOT city LIKE 'a%'", Hardness.MEDIUM),
    (  # an OR after `= a column` is not seen
        "SELECT a.name FROM student a JOIN has_pet b ON a.id = b.stu_id OR a.id = b.pet_id",
        Hardness.EASY,
    ),
    ("SELECT name FROM", Hardness.UNKNOWN),
]


@pytest.mark.parametrize(("sql", "level"), HARDNESS)
def test_hardness(sql, level):
    assert hardness(parse(sql, SCHEMA)) is level
