"""Identifiers as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainsql.schema import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.names import (
    column_name,
    natural_name,
    singular,
    singular_phrase,
    vocabulary,
    with_names_of_keys,
    with_natural_names,
)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        # case and punctuation
        ("student", "student"),
        ("first_name", "first name"),
        ("StudentID", "student id"),
        ("student-id", "student id"),
        ("Official ratings_(millions)", "official ratings millions"),
        ("HTTPServer", "http server"),
        ("countryCode", "country code"),
        ("RAM_MiB", "ram mib"),
        ("WiFi", "wifi"),
        ("isAVA", "is ava"),
        ("customerIDs", "customer ids"),
        ("__x__", "x"),
        ("Größe_cm", "größe cm"),
        ("名前", "名前"),
        # abbreviations
        ("stuid", "student id"),
        ("StuID", "student id"),
        ("stu_fname", "student first name"),
        ("LName", "last name"),
        ("EMP_LNAME", "employee last name"),
        ("dept_no", "department number"),
        ("DEPT_CODE", "department code"),
        ("qty", "quantity"),
        ("tot_amt", "total amount"),
        ("cust_addr", "customer address"),
        ("prod_desc", "product description"),
        ("yr", "year"),
        ("pct_change", "percent change"),
        ("avg_price", "average price"),
        ("lat", "latitude"),
        ("long", "longitude"),
        ("long_name", "long name"),
        ("dob", "date of birth"),
        ("no_of_loans", "number of loans"),
        ("no_show", "no show"),
        ("available_yn", "available yes or no"),
        # run together
        ("custid", "customer id"),
        ("createdate", "create date"),
        ("lettergrade", "letter grade"),
        ("useracct", "user account"),
        ("playlist", "playlist"),
        ("hybrid", "hybrid"),
        ("percentage", "percentage"),
        ("membership", "membership"),
        ("liquid", "liquid"),
        # digits
        ("address1", "address 1"),
        ("q1", "q1"),
        ("% Change 2007", "change 2007"),
        ("2nd_name", "2nd name"),
        # marks of kinds of tables
        ("tbl_orders", "orders"),
        ("t_orders", "orders"),
        ("dim_customer", "customer"),
        ("fact_sales", "sales"),
        ("fact_id", "fact id"),
        ("t", "t"),
        # nothing to read
        ("", "unnamed"),
        ("  ", "unnamed"),
        ("%", "%"),
    ],
)
def test_natural_name(identifier: str, expected: str) -> None:
    assert natural_name(identifier) == expected


@pytest.mark.parametrize(
    ("identifier", "others", "expected"),
    [
        ("gearratio", ["gear_type", "final_ratio"], "gear ratio"),
        ("gearratio", ["gear_type"], "gearratio"),
        ("keyphrasename", ["keyphrase"], "keyphrase name"),
        ("matrixvalue", ["matrices"], "matrix value"),
    ],
)
def test_words_of_the_schema_cut_names(identifier: str, others: list[str], expected: str) -> None:
    assert natural_name(identifier, vocabulary(others)) == expected


@pytest.mark.parametrize(
    ("identifier", "table", "expected"),
    [
        ("pid", "people", "person id"),
        ("cName", "college", "college name"),
        ("alid", "airlines", "airline id"),
        ("apid", "airports", "airport id"),
        ("pid", "movie", "pid"),
        ("id", "movie", "id"),
        ("movie_id", "movie", "movie id"),
        ("title", "movie", "title"),
        ("customer_name", "customers", "customer name"),  # the table's name is kept
    ],
)
def test_column_name(identifier: str, table: str, expected: str) -> None:
    assert column_name(identifier, table) == expected


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("cities", "city"),
        ("people", "person"),
        ("classes", "class"),
        ("boxes", "box"),
        ("campuses", "campus"),
        ("houses", "house"),
        ("addresses", "address"),
        ("status", "status"),
        ("analysis", "analysis"),
        ("series", "series"),
        ("movies", "movie"),
        ("students", "student"),
        ("bus", "bus"),
        ("class", "class"),
    ],
)
def test_singular(plural: str, expected: str) -> None:
    assert singular(plural) == expected


def test_singular_phrase_changes_the_last_word() -> None:
    assert singular_phrase("sales orders") == "sales order"
    assert singular_phrase("people") == "person"


@given(st.text(max_size=40))
def test_any_identifier_has_a_tidy_name(identifier: str) -> None:
    name = natural_name(identifier)
    assert name
    assert name == name.strip()


def test_names_of_a_schema() -> None:
    def table(name: str, *columns: str) -> Table:
        return Table(name, tuple(Column(name, c, ColumnType.NUMBER, "") for c in columns), "")

    key = ForeignKey("writes", ("aid",), "author", ("aid",))
    schema = Schema("s", (table("author", "aid"), table("writes", "aid", "pid")), (key,))
    named = with_natural_names(schema)
    assert [column.natural for column in named.columns] == ["author id", "aid", "pid"]
    named = with_names_of_keys(named)
    assert [column.natural for column in named.columns] == ["author id", "author id", "pid"]
    assert [table.natural for table in named.tables] == ["author", "writes"]
