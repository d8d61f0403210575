"""Recipes: parts of dates, in conditions and in groups; first and last by date."""

from __future__ import annotations

from plainsql.logical_form.tree import Between, DatePart, Literal, Select
from plainsql.training.synthesis.corpus import Role
from plainsql.training.synthesis.instantiate import NoFit
from plainsql.training.synthesis.scene import Asked, Col, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import (
    agg,
    both,
    col,
    compare,
    count,
    down,
    equal,
    part,
    up,
)

MONTHS = (
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
_UNITS = {
    "YEAR": "year",
    "MONTH": "month",
    "QUARTER": "quarter",
    "WEEKDAY": "weekday",
    "DAY": "day of the month",
}


def _dated(s: Scene) -> tuple[int, int]:
    """A table and a date column of it."""
    tables = {s.schema.table_of[c] for c, f in enumerate(s.database.facts) if f.role is Role.DATE}
    if not tables:
        raise NoFit("no dates")
    table = s.rng.choice(sorted(tables))
    return table, s.column(table, Role.DATE)


def _year(s: Scene, date: int) -> int:
    return int(str(s.rng.choice(s.database.facts[date].values)).strip()[:4])


def _month(s: Scene, date: int) -> tuple[int, int]:
    text = str(s.rng.choice(s.database.facts[date].values)).strip()
    return int(text[:4]), int(text[5:7])


def _said(s: Scene, table: int, date: int) -> str:
    """How the question names the date: not at all if the table has no other."""
    dates = [c for c in s.schema.columns_of(table) if s.role(c) is Role.DATE]
    return "" if len(dates) == 1 and s.rng.random() < 0.5 else "{d}"


@recipe("in {y}", weight=3.0)
def count_in_year(s: Scene) -> Asked:
    t, d = _dated(s)
    y = _year(s, d)
    query = Select((count(t),), where=equal(part("YEAR", d), y))
    texts: tuple[str, ...] = (
        "How many {t+} have [a|] {d} in {y}?",
        "number of {t+} with {d} in {y}",
        "Count the {t+} whose {d} [is|was|falls] in [the year|] {y}",
    )
    if not _said(s, t, d):
        texts = (
            "How many {t+} [were there|are from|are there] in {y}?",
            "number of {t+} in {y}",
            "{t+} count for [the year|] {y}",
            "How many {t+} do we have [for|from] {y}?",
        )
    return Asked(query, {"t": Tab(t), "d": Col(d), "y": y}, texts)


@recipe("by {unit}", weight=5.0)
def count_by_part(s: Scene) -> Asked:
    t, d = _dated(s)
    name = s.rng.choice(("YEAR", "YEAR", "MONTH", "MONTH", "QUARTER", "WEEKDAY"))
    unit = _UNITS[name]
    query = Select((part(name, d), count(t)), group_by=(part(name, d),))
    texts: tuple[str, ...] = (
        f"How many {{t+}} are there [per|for each|in each] {unit} of [the|] {{d}}?",
        f"number of {{t+}} [per|by] {unit} of {{d}}",
        f"{{t+}} by {{d}} {unit}",
        f"Count {{t+}} [by|per] [the|] {unit} of their {{d}}",
    )
    if not _said(s, t, d):
        texts = (
            f"How many {{t+}} [are|were] there [per|each|in each|for every] {unit}?",
            f"number of {{t+}} [per|by] {unit}",
            f"{{t+}} [per|by] {unit}",
            f"[Show|Give me] the number of {{t+}} for each {unit}",
        )
    return Asked(query, {"t": Tab(t), "d": Col(d)}, texts)


@recipe("total by {unit}", weight=5.0)
def measure_by_part(s: Scene) -> Asked:
    t, d = _dated(s)
    n = s.number(t)
    name = s.rng.choice(("YEAR", "MONTH", "MONTH", "QUARTER", "WEEKDAY"))
    function, word = s.rng.choice((("SUM", "total"), ("SUM", "total"), ("AVG", "average")))
    query = Select((part(name, d), agg(function, n)), group_by=(part(name, d),))
    unit, of = _UNITS[name], " of [the|] {d}" if _said(s, t, d) else ""
    texts = (
        f"[What is|Show|Give me] the {word} {{n}} of {{t+}} [per|for each|by] {unit}{of}",
        f"{word} {{n}} of {{t+}} by {unit}{of}",
        f"{{t}} {word} {{n}} per {unit}{of}",
        f"For each {unit}{of}, what is the {word} {{n}} of the {{t+}}?",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d), "n": Col(n)}, texts)


@recipe(
    "[What is|] the total {n} of [the|] {t+} in {y}?",
    "total {n} of {t+} in {y}",
    "sum of {n} for {t+} with {d} in {y}",
    "How much {n} did [the|] {t+} have in {y}?",
    weight=3.0,
)
def total_in_year(s: Scene) -> Asked:
    t, d = _dated(s)
    n, y = s.number(t), _year(s, d)
    function, word = s.rng.choice((("SUM", "total"), ("AVG", "average"), ("MAX", "highest")))
    query = Select((agg(function, n),), where=equal(part("YEAR", d), y))
    of = "with {d} in" if _said(s, t, d) else "in"
    texts = (
        f"What [is|was] the {word} {{n}} of [the|] {{t+}} {of} {{y}}?",
        f"{word} {{n}} of {{t+}} {of} {{y}}",
        f"[Show|Give me] the {word} {{n}} for {{t+}} {of} [the year|] {{y}}",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d), "n": Col(n), "y": y}, texts)


@recipe("rows in month", weight=2.0)
def in_month(s: Scene) -> Asked:
    t, d = _dated(s)
    y, m = _month(s, d)
    month = MONTHS[m - 1]
    if s.rng.random() < 0.5:
        condition = both(equal(part("YEAR", d), y), equal(part("MONTH", d), m))
        when = f"in {month} {{y}}"
    else:
        condition = equal(part("MONTH", d), m)  # type: ignore[assignment]
        when = f"in [the month of|] {month}"
    asked = f"with [a|] {{d}} {when}" if _said(s, t, d) else when
    if s.rng.random() < 0.5:
        texts: tuple[str, ...] = (
            f"How many {{t+}} [are there|] {asked}?",
            f"number of {{t+}} {asked}",
        )
        return Asked(
            Select((count(t),), where=condition), {"t": Tab(t), "d": Col(d), "y": y}, texts
        )
    label = s.label(t)
    texts = (f"[Which|What] {{t+}} [are|were] {asked}?", f"[Show|List|] {{t+}} {asked}")
    return Asked(Select((col(label),), where=condition), {"t": Tab(t), "d": Col(d), "y": y}, texts)


@recipe("rows in year", weight=2.0)
def rows_in_year(s: Scene) -> Asked:
    t, d = _dated(s)
    label, y = s.label(t), _year(s, d)
    operator, when = s.rng.choice(
        (("EQ", "in"), ("EQ", "in the year"), ("GT", "after"), ("LT", "before"), ("GE", "since"))
    )
    query = Select((col(label),), where=compare(operator, part("YEAR", d), y))
    texts = (
        f"[Which|What] {{t+}} have [a|] {{d}} {when} {{y}}?",
        f"{{t+}} with {{d}} {when} {{y}}",
        f"[List|Show] [the|all|] {{t+}} whose {{d}} is {when} {{y}}",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d), "y": y}, texts)


@recipe(
    "How many {t+} have [a|] {d} between {y} and {z}?",
    "number of {t+} with {d} between {y} and {z}",
    "Count {t+} whose {d} is from {y} to {z}",
    weight=2.0,
)
def between_years(s: Scene) -> Asked:
    t, d = _dated(s)
    y, z = sorted((_year(s, d), _year(s, d)))
    if y == z:
        z += 1
    query = Select((count(t),), where=Between(part("YEAR", d), Literal(y), Literal(z)))
    return Asked(query, {"t": Tab(t), "d": Col(d), "y": y, "z": z})


@recipe("on weekday", weight=2.0)
def on_weekday(s: Scene) -> Asked:
    t, d = _dated(s)
    day = s.rng.randrange(7)
    query = Select((count(t),), where=equal(part("WEEKDAY", d), day))
    name = WEEKDAYS[day]
    asked = f"with [a|] {{d}} on [a|] {name}" if _said(s, t, d) else f"on [a|] {name}"
    texts = (
        f"How many {{t+}} [are|were] there {asked}?",
        f"number of {{t+}} {asked}",
        f"Count the {{t+}} {asked}",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d)}, texts)


@recipe("busiest part", weight=2.0)
def busiest_part(s: Scene) -> Asked:
    t, d = _dated(s)
    name = s.rng.choice(("YEAR", "MONTH", "WEEKDAY", "QUARTER"))
    key = part(name, d)
    query = Select((key,), group_by=(key,), order_by=(down(count(t)),), limit=Literal(1))
    unit = _UNITS[name]
    of = " by {d}" if _said(s, t, d) else ""
    texts = (
        f"[Which|What] {unit} [has|had|saw] the most {{t+}}{of}?",
        f"{unit} with the [most|highest number of] {{t+}}{of}",
        f"In which {unit} were there the most {{t+}}{of}?",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d)}, texts)


@recipe(
    "[Which|What] {t} has the [latest|most recent|last] {d}?",
    "{t} with the [latest|most recent] {d}",
    "[Show|Find] the {t} with the most recent {d}",
)
def latest(s: Scene) -> Asked:
    t, d = _dated(s)
    query = Select((col(s.label(t)),), order_by=(down(d),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "d": Col(d)})


@recipe(
    "[Which|What] {t} has the [earliest|first|oldest] {d}?",
    "{t} with the [earliest|oldest] {d}",
    "[Show|Find] the {t} with the earliest {d}",
)
def earliest(s: Scene) -> Asked:
    t, d = _dated(s)
    query = Select((col(s.label(t)),), order_by=(up(d),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "d": Col(d)})


@recipe(
    "[Which|What|How many] distinct years are there in the {d} of {t+}?",
    "[show|list] the year of [the|each] {d} [of|for] [each|every] {t}",
    "the {d} year of each {t}",
    "[In|] which year is the {d} of each {t}?",
)
def year_of_each(s: Scene) -> Asked:
    t, d = _dated(s)
    query = Select((col(s.label(t)), DatePart("YEAR", col(d))))
    texts = (
        "[Show|List] each {t} with the year of its {d}",
        "{t} and year of {d}",
        "In which year is the {d} of each {t}?",
    )
    return Asked(query, {"t": Tab(t), "d": Col(d)}, texts)
