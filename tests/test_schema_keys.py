"""Foreign keys inferred from names, types and values."""

from __future__ import annotations

import time

import pytest

from plainsql.schema import Column, ColumnType, ForeignKey, Schema, Table, infer_foreign_keys

_TYPES = {
    "": ColumnType.NUMBER,
    "text": ColumnType.TEXT,
    "time": ColumnType.TIME,
    "other": ColumnType.OTHER,
}


def table(outline: str) -> Table:
    """ "author(*aid, name:text)": a star marks the primary key."""
    title, _, rest = outline.rstrip(")").partition("(")
    name, columns = title.removesuffix("?"), []
    for part in rest.split(", "):
        column, _, kind = part.partition(":")
        key = column.startswith("*")
        columns.append(Column(name, column.lstrip("*"), _TYPES[kind], "", primary_key=key))
    return Table(name, tuple(columns), "", is_view=title.endswith("?"))


def schema(*outlines: str, keys: tuple[ForeignKey, ...] = ()) -> Schema:
    tables = tuple(table(outline) for outline in outlines)
    return Schema("s", tables, keys)


def inferred(found: Schema) -> list[str]:
    return [
        f"{key.table}.{'+'.join(key.columns)} = {key.ref_table}.{'+'.join(key.ref_columns)}"
        for key in found.foreign_keys
        if key.inferred
    ]


@pytest.mark.parametrize(
    ("outlines", "expected"),
    [
        # namesakes of the key
        (["paper(*paperId)", "writes(paperId, rank)"], ["writes.paperId = paper.paperId"]),
        (["track(*TrackId)", "playlist_track(*TrackId, *PlaylistId)", "line(*id, TrackId)"],
         ["playlist_track.TrackId = track.TrackId", "line.TrackId = track.TrackId"]),
        # a key that is a key there too refers to the table it is named after
        (["person(*person_id)", "staff(*person_id, wage)"],
         ["staff.person_id = person.person_id"]),
        (["staff(*nr, wage)", "nurse(*nr, ward)"], []),
        # the table and its key
        (["customers(*id, name:text)", "orders(*id, customer_id)"],
         ["orders.customer_id = customers.id"]),
        (["customers(*id)", "orders(*id, customerid)"], ["orders.customerid = customers.id"]),
        (["station(*id)", "trip(*id, id_station)"], ["trip.id_station = station.id"]),
        (["people(*id)", "pets(*id, person_id)"], ["pets.person_id = people.id"]),
        (["country(*code:text)", "city(*id, country_code:text)"],
         ["city.country_code = country.code"]),
        (["tbl_dept(*id)", "tbl_emp(*id, dept_id)"], ["tbl_emp.dept_id = tbl_dept.id"]),
        (["item(*id)", "sale(*id, item_id)"], ["sale.item_id = item.id"]),
        # roles before it
        (["station(*id)", "trip(*id, start_station_id, end_station_id)"],
         ["trip.start_station_id = station.id", "trip.end_station_id = station.id"]),
        (["paper(*paperid)", "cite(citedpaperid, citingpaperid)"],
         ["cite.citedpaperid = paper.paperid", "cite.citingpaperid = paper.paperid"]),
        (["club(*club_id)", "result(*id, club_id_1, club_id_2)"],
         ["result.club_id_1 = club.club_id", "result.club_id_2 = club.club_id"]),
        (["item(*id)", "order_item(*id, n)", "refund(*id, old_order_item_id)"],
         ["refund.old_order_item_id = order_item.id"]),  # the longest name
        (["users(*u_id)", "trust(source_u_id, target_u_id)"],
         ["trust.source_u_id = users.u_id", "trust.target_u_id = users.u_id"]),
        # the last word of a table's name
        (["auth_users(*id)", "posts(*id, user_id)"], ["posts.user_id = auth_users.id"]),
        (["auth_users(*id)", "shop_users(*id)", "posts(*id, user_id)"], []),
        # the table alone, for numbers
        (["pilot(*pilot_id)", "match(*id, winning_pilot)"],
         ["match.winning_pilot = pilot.pilot_id"]),
        (["patient(*ssn)", "stay(*stay_id, patient)"], ["stay.patient = patient.ssn"]),
        (["game(*id)", "stadium(*id, home_games, number_of_game)"], []),
        (["status(*status_id)", "race(*id, status)"], []),
        # rows above in the same table
        (["category(*id, parent_id)"], ["category.parent_id = category.id"]),
        (["staff(*id, manager_id)"], ["staff.manager_id = staff.id"]),
        (["manager(*id)", "staff(*id, manager_id)"], ["staff.manager_id = manager.id"]),
        # composite keys
        (["section(*course_id, *sec_id, *year)", "takes(*student, *course_id, *sec_id, *year)"],
         ["takes.course_id+sec_id+year = section.course_id+sec_id+year"]),
        (["student(*student_id)", "course(*course_id)", "takes(*student_id, *course_id)",
          "grade(*student_id, *course_id, *day)"],
         ["takes.student_id = student.student_id", "takes.course_id = course.course_id",
          "grade.student_id = student.student_id", "grade.course_id = course.course_id"]),
        # the one telling column that two otherwise lonely tables share
        (["list(last:text, classroom)", "teachers(last_name:text, classroom)"],
         ["list.classroom = teachers.classroom"]),
        (["lake(name:text, area)", "state(name:text, area)"], []),
        # what every table has is no key
        (["a(*id, name:text, type:text, year)", "b(*id, name:text, type:text, year)",
          "c(*id, name:text, code:text, status:text)"], []),
        # types that don't fit
        (["day(*day_id:time)", "event(*id, day_id:time)"], []),
        (["people(*id:other)", "pets(*id, person_id:text)"], []),
        (["stadium(*stadium_id)", "concert(*id, stadium_id:text)"],  # codes as text and number do
         ["concert.stadium_id = stadium.stadium_id"]),
        # views are read from, not referred to
        (["customers?(id, name:text)", "orders(*id, customer_id)"], []),
        (["customers(*id)", "best?(customer_id, total)"], ["best.customer_id = customers.id"]),
        # no declared key at all
        (["orders(id, customer_id)", "customers(id, name:text)"],
         ["orders.customer_id = customers.id"]),
    ],
)  # fmt: skip
def test_by_names(outlines: list[str], expected: list[str]) -> None:
    assert inferred(infer_foreign_keys(schema(*outlines))) == expected


def test_declared_keys_stay_and_are_not_doubled() -> None:
    key = ForeignKey("orders", ("customer_id",), "clients", ("id",))
    given = schema("customers(*id)", "clients(*id)", "orders(*id, customer_id)", keys=(key,))
    assert infer_foreign_keys(given) == given


def test_unique_columns_are_targets() -> None:
    given = schema(
        "airport(*id, iata_code:text)", "flight(*id, iata_code:text)", "gate(*id, iata_code:text)"
    )
    assert inferred(infer_foreign_keys(given)) == []
    found = infer_foreign_keys(given, unique={("airport", "iata_code")})
    assert inferred(found) == [
        "flight.iata_code = airport.iata_code",
        "gate.iata_code = airport.iata_code",
    ]


@pytest.mark.parametrize(
    ("outlines", "share", "expected"),
    [
        (["airlines(*uid, name:text)", "flights(*no, Airline)"], 1.0,
         ["flights.Airline = airlines.uid"]),
        (["airports(*code:text)", "flights(*no, SourceAirport:text)"], 0.95,
         ["flights.SourceAirport = airports.code"]),
        (["airports(*code:text)", "flights(*no, SourceAirport:text)"], 0.8, []),
        (["airports(*code:text)", "flights(*no, SourceAirport:text)"], None, []),
        # the same name, of what is no identifier by name
        (["appellations(*Appelation:text)", "wine(*No, Appelation:text)"], 1.0,
         ["wine.Appelation = appellations.Appelation"]),
        (["appellations(*Appelation:text)", "wine(*No, Appelation:text)"], 0.6, []),
        # values veto what names say
        (["customers(*id)", "orders(*id, customer_id)"], 0.4, []),
        (["customers(*id)", "orders(*id, customer_id)"], 0.6,
         ["orders.customer_id = customers.id"]),
        # no similarity of names, no key
        (["faculty(*facid)", "student(*stuid, advisor)"], 1.0, []),
    ],
)  # fmt: skip
def test_by_values(outlines: list[str], share: float | None, expected: list[str]) -> None:
    found = infer_foreign_keys(schema(*outlines), lambda _column, _target: share)
    assert inferred(found) == expected


def test_many_tables_are_quick() -> None:
    names = ", ".join(f"c{i}:text" for i in range(10))
    outlines = [f"table_{i}(*id, name:text, table_{i // 2}_id, {names})" for i in range(1000)]
    given = schema(*outlines)
    start = time.perf_counter()
    found = infer_foreign_keys(given)
    assert time.perf_counter() - start < 10.0
    assert len(inferred(found)) == 999
