"""Recipes: rows by conditions: missing values, patterns, alternatives, ranges, averages."""

from __future__ import annotations

from plainsql.logical_form.tree import Between, IsNull, Literal, Select, SetOperation
from plainsql.training.synthesis.corpus import Role
from plainsql.training.synthesis.instantiate import NoFit
from plainsql.training.synthesis.scene import Asked, Col, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import (
    col,
    compare,
    count,
    either,
    equal,
    like,
    value_of,
)


@recipe(
    "[Which|What] {t+} have no {c} [recorded|given|on record|]?",
    "{t+} [without|with no|missing] {c}",
    (
        "[List|Show|Find] the {t+} [whose {c} is missing|that have no {c}|without a known "
        "{c}|where {c} is empty]"
    ),
    "{t+} where {c} is null",
    "For which {t+} is the {c} [unknown|missing|not recorded]?",
    weight=1.5,
)
def missing(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    c = _sometimes_null(s, t, (label,))
    return Asked(Select((col(label),), where=IsNull(col(c))), {"t": Tab(t), "c": Col(c)})


def _sometimes_null(s: Scene, table: int, but: tuple[int | None, ...]) -> int:
    facts = s.database.facts
    columns = s.schema.columns_of(table)
    but = (*but, *(s.database.labels[table],))
    found = [c for c in columns if 0 < facts[c].nulls < facts[c].rows and c not in but]
    found += [c for c in columns if c not in but and s.rng.random() < 0.05]
    if not found:
        raise NoFit("no NULL")
    return s.rng.choice(found)


@recipe(
    "How many {t+} have no {c} [recorded|given|on record|]?",
    "number of {t+} [without|with no|with missing] {c}",
    "Count the {t+} [whose {c} is missing|without a {c}].",
    "How many {t+} are missing a {c}?",
    "count {t+} where {c} is null",
)
def count_missing(s: Scene) -> Asked:
    t = s.table()
    c = _sometimes_null(s, t, ())
    return Asked(Select((count(t),), where=IsNull(col(c))), {"t": Tab(t), "c": Col(c)})


@recipe(
    "How many {t+} have a {c} [recorded|on record|given]?",
    "number of {t+} with a [known|recorded] {c}",
    "Count the {t+} whose {c} is [known|not missing|not null|recorded].",
)
def count_present(s: Scene) -> Asked:
    t = s.table()
    c = _sometimes_null(s, t, ())
    return Asked(
        Select((count(t),), where=IsNull(col(c), negated=True)), {"t": Tab(t), "c": Col(c)}
    )


@recipe(
    (
        "[Which|What] {t+} have [a|] {c} [that contains|containing|with] [the word|the "
        "text|] {v} [in it|]?"
    ),
    "{t+} whose {c} contains {v}",
    "[Find|List|Show] [all|the|] {t+} with {v} in [their|the] {c}",
    "{t+} with {c} like {v}",
    weight=1.5,
)
def containing(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    c = label if s.rng.random() < 0.3 else s.column(t, Role.TEXT, Role.CATEGORY, Role.LONG)
    v = _word_of(s, c)
    return Asked(
        Select((col(label),), where=like("CONTAINS", c, v)), {"t": Tab(t), "c": Col(c), "v": v}
    )


def _word_of(s: Scene, column: int) -> str:
    """A word of a cell that has several, or a few letters of it."""
    values = s.database.facts[column].values
    words = [w.strip(",.()") for v in values for w in str(v).split()]
    words = [w for w in words if w.isalpha() and len(w) > 2]
    if not words:
        raise NoFit("no words")
    word = s.rng.choice(words)
    return word if s.rng.random() < 0.7 or len(word) < 5 else word[: s.rng.randint(3, 4)]


@recipe(
    (
        "[Which|What] {t+} have [a|] {c} [starting|beginning|that starts|that begins] with "
        "[the letter|] {v}?"
    ),
    "{t+} whose {c} [starts|begins] with {v}",
    "[Find|List|Show] {t+} with [a|] {c} starting with {v}",
)
def starting(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    c = label if s.rng.random() < 0.5 else s.column(t, Role.TEXT, Role.CATEGORY)
    letter = str(s.cell(c))[:1]
    if not letter.isalpha():
        raise NoFit("no letter")
    v = letter.upper() if s.rng.random() < 0.7 else letter
    return Asked(
        Select((col(label),), where=like("STARTS", c, v)), {"t": Tab(t), "c": Col(c), "v": v}
    )


@recipe(
    "[Which|What] {t+} have [a|] {c} [ending|that ends] [with|in] {v}?",
    "{t+} whose {c} ends [with|in] {v}",
    "[Find|List|Show] {t+} with [a|] {c} ending in {v}",
)
def ending(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    c = label if s.rng.random() < 0.5 else s.column(t, Role.TEXT, Role.CATEGORY)
    v = str(s.cell(c))[-s.rng.randint(1, 3) :].strip()
    if not v.isalpha():
        raise NoFit("no letters")
    return Asked(
        Select((col(label),), where=like("ENDS", c, v)), {"t": Tab(t), "c": Col(c), "v": v}
    )


@recipe(
    "[Which|What] {t+} do not have {v} in their {c}?",
    "{t+} whose {c} does[n't| not] contain {v}",
    "[Show|List] {t+} without {v} in [the|their] {c}",
)
def not_containing(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    c = s.column(t, Role.TEXT, Role.CATEGORY, Role.NAME)
    v = _word_of(s, c)
    query = Select((col(label),), where=like("CONTAINS", c, v, negated=True))
    return Asked(query, {"t": Tab(t), "c": Col(c), "v": v})


@recipe(
    "[Which|What] {t+} have [the|] {c} {v} or {w}?",
    "{t+} with {c} {v} or {w}",
    "[List|Show|Find] [the|all|] {t+} whose {c} is [either|] {v} or {w}",
    "[Show me|Give me] {t+} [where|with] {c} [is|=] {v} or {w}",
)
def either_value(s: Scene) -> Asked:
    t = s.table(4)
    label = s.label(t)
    c = s.column(t, Role.CATEGORY, Role.TEXT, but=(label,))
    v = s.cell(c)
    w = s.cell(c, (v,))
    query = Select((col(label),), where=either(equal(c, v), equal(c, w)))
    return Asked(query, {"t": Tab(t), "c": Col(c), "v": v, "w": w})


@recipe(
    "How many {t+} have [the|] {c} {v} or {w}?",
    "number of {t+} with {c} {v} or {w}",
    "Count the {t+} whose {c} is [either|] {v} or {w}.",
)
def count_either_value(s: Scene) -> Asked:
    t = s.table(4)
    c = s.category(t)
    v = s.cell(c)
    w = s.cell(c, (v,))
    query = Select((count(t),), where=either(equal(c, v), equal(c, w)))
    return Asked(query, {"t": Tab(t), "c": Col(c), "v": v, "w": w})


@recipe(
    "[Which|What] {d+} have {t+} with [both|] {c} {v} and {t+} with {c} {w}?",
    "{d+} with both {c} {v} {t+} and {c} {w} {t+}",
    "[Find|List] the {d+} [shared by|common to] {t+} with {c} {v} and {t+} with {c} {w}",
)
def shared_by_both(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    d = s.category(t, (c,))
    v = s.cell(c)
    w = s.cell(c, (v,))
    halves = (Select((col(d),), where=equal(c, x)) for x in (v, w))
    query = SetOperation("INTERSECT", *halves)
    return Asked(query, {"t": Tab(t), "c": Col(c), "d": Col(d), "v": v, "w": w})


@recipe(
    "[Which|What] {d+} have {t+} with {c} {v} but [not|no {t+} with] {c} {w}?",
    "{d+} of {t+} with {c} {v} but not of {t+} with {c} {w}",
    "[Find|List] the {d+} that have a {t} with {c} {v} but none with {c} {w}",
)
def one_but_not_other(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    d = s.category(t, (c,))
    v = s.cell(c)
    w = s.cell(c, (v,))
    halves = (Select((col(d),), where=equal(c, x)) for x in (v, w))
    query = SetOperation("EXCEPT", *halves)
    return Asked(query, {"t": Tab(t), "c": Col(c), "d": Col(d), "v": v, "w": w})


@recipe(
    "[Which|What] {d+} have no {t+} with {c} {v}?",
    "{d+} without any {t} with {c} {v}",
    "[List|Find] the {d+} of {t+} [where|in which] no {t} has {c} {v}",
)
def values_without(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    d = s.category(t, (c,))
    v = s.cell(c)
    query = SetOperation("EXCEPT", Select((col(d),)), Select((col(d),), where=equal(c, v)))
    return Asked(query, {"t": Tab(t), "c": Col(c), "d": Col(d), "v": v})


@recipe(
    "[Which|What] {t+} have [a|] {n} between {a} and {b}?",
    "{t+} with {n} between {a} and {b}",
    (
        "[List|Show|Find] [all|the|] {t+} whose {n} is [between {a} and {b}|from {a} to "
        "{b}|at least {a} and at most {b}]"
    ),
    "{t+} {n} {a} to {b}",
)
def in_range(s: Scene) -> Asked:
    t = s.table(4)
    label, n = s.label(t), s.column(t, Role.NUMBER, Role.YEAR)
    a, b = sorted((float(s.amount(n)), float(s.amount(n))))
    low, high = (int(x) if x.is_integer() else x for x in (a, b))
    if low == high:
        raise NoFit("no range")
    query = Select((col(label),), where=Between(col(n), Literal(low), Literal(high)))
    return Asked(query, {"t": Tab(t), "n": Col(n), "a": low, "b": high})


@recipe(
    "[Which|What] {t+} have [a|] {n} [above|over|higher than|greater than] [the|] average?",
    "{t+} with [above average|higher than average] {n}",
    "[List|Show] the {t+} whose {n} is [above|greater than|higher than] the [average|mean] [{n}|]",
    "[Show|Find] {t+} with [a|] {n} above the average of all {t+}",
    weight=1.5,
)
def above_average(s: Scene) -> Asked:
    t = s.table(4)
    label, n = s.label(t), s.number(t)
    query = Select((col(label),), where=compare("GT", n, value_of("AVG", n)))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe(
    "[Which|What] {t+} have [a|] {n} [below|under|lower than] [the|] average?",
    "{t+} with [below average|lower than average] {n}",
    "[List|Show] the {t+} whose {n} is [below|less than|lower than] the [average|mean]",
)
def below_average(s: Scene) -> Asked:
    t = s.table(4)
    label, n = s.label(t), s.number(t)
    query = Select((col(label),), where=compare("LT", n, value_of("AVG", n)))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe(
    "[Which|What] {t+} have [a|] {n} [above|higher than] the average of [those|{t+}] with {c} {v}?",
    "{t+} with more {n} than the average {t} with {c} {v}",
    "List {t+} whose {n} [exceeds|is greater than] the average {n} of {t+} with {c} {v}",
)
def above_average_of(s: Scene) -> Asked:
    t = s.table(5)
    label, n, c = s.label(t), s.number(t), s.category(t)
    v = s.cell(c)
    query = Select((col(label),), where=compare("GT", n, value_of("AVG", n, equal(c, v))))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c), "v": v})
