"""Recipes: columns and rows shown, of all rows or of those with a value."""

from __future__ import annotations

from plainsql.logical_form.tree import Select, Star
from plainsql.training.synthesis.corpus import Role
from plainsql.training.synthesis.scene import Asked, Col, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import agg, both, col, compare, count, equal, up


@recipe(
    "What are the {a} and {b} of [the {t+}|each {t}|all {t+}]?",
    "{a} and {b} of [every|each] {t}",
    "{a}, {b} of {t+}",
    weight=2.0,
)
def two_columns(s: Scene) -> Asked:
    t = s.table()
    a = s.column(t)
    b = s.column(t, but=(a,))
    texts = (
        "What are the {a} and {b} of [the {t+}|each {t}|all {t+}]?",
        "{a} and {b} of [every|each] {t}",
        "[Show|List|Give me] [the|] {a+} and {b+} of [all|the|] {t+}",
        "[{a}, {b} of {t+}|show {a} and {b} for {t+}]",
    )
    return Asked(Select((col(a), col(b))), {"t": Tab(t), "a": Col(a), "b": Col(b)}, texts)


@recipe(
    "What are the {a}, {b} and {c} of [each {t}|the {t+}]?",
    "{a}, {b} and {c} of all {t+}",
    "[List|Show] {a}, {b}[,|] and {c} [for|of] [each|every] {t}",
)
def three_columns(s: Scene) -> Asked:
    t = s.table()
    a = s.column(t)
    b = s.column(t, but=(a,))
    c = s.column(t, but=(a, b))
    return Asked(
        Select((col(a), col(b), col(c))), {"t": Tab(t), "a": Col(a), "b": Col(b), "c": Col(c)}
    )


@recipe(
    "What [is|are] the {a} and {b} of [the|] {t+} with {c} {v}?",
    "{a} and {b} of {t+} [where|with] {c} {v}",
    "[Show|Give me|List] the {a} and {b} [for|of] [all|the|] {t+} whose {c} is {v}",
)
def two_columns_where(s: Scene) -> Asked:
    t = s.table()
    c = s.column(t, Role.CATEGORY, Role.TEXT)
    a = s.column(t, but=(c,))
    b = s.column(t, but=(a, c))
    v = s.cell(c)
    query = Select((col(a), col(b)), where=equal(c, v))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b), "c": Col(c), "v": v})


@recipe(
    "[What is|what's|show me] the {a} of [the {t}|] {v}?",
    "{a} of {v}",
    "{v} {a}",
    "[Tell me|Give me] the {a} [for|of] {v}",
    "Which {a} does {v} have?",
    weight=1.5,
)
def of_a_named_row(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    a = s.column(t, but=(label,))
    v = s.cell(label)
    return Asked(Select((col(a),), where=equal(label, v)), {"t": Tab(t), "a": Col(a), "v": v})


@recipe(
    "How many {t+} have [a|] {n} [over|above|greater than|of more than] {v} and [the|] {c} {w}?",
    "number of {t+} with {c} {w} and {n} [over|above] {v}",
    "Count {t+} whose {c} is {w} and [whose|] {n} [exceeds|is above] {v}",
)
def count_two_conditions(s: Scene) -> Asked:
    t = s.table(5)
    n, c = s.number(t), s.category(t)
    v, w = s.amount(n), s.cell(c)
    query = Select((count(t),), where=both(compare("GT", n, v), equal(c, w)))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c), "v": v, "w": w})


@recipe(
    (
        "[Show|List|Give me] [everything|all information|all details] [about|on] [the|] {t+} "
        "with {c} {v}"
    ),
    "all {t+} [where|with] {c} [=|is|] {v}",
    "all columns of {t+} with {c} {v}",
)
def whole_rows(s: Scene) -> Asked:
    t = s.table()
    c = s.column(t, Role.CATEGORY, Role.TEXT)
    v = s.cell(c)
    return Asked(Select((Star(t),), where=equal(c, v)), {"t": Tab(t), "c": Col(c), "v": v})


@recipe(
    "What is the [average|mean] {n} of [the|] {t+} with {c} {v}?",
    "average {n} [for|of] {t+} with {c} {v}",
    "[avg|mean] {n} where {c} is {v}",
    "On average, what {n} do {t+} with {c} {v} have?",
)
def average_where(s: Scene) -> Asked:
    t = s.table(4)
    n, c = s.number(t), s.category(t)
    v = s.cell(c)
    query = Select((agg("AVG", n),), where=equal(c, v))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c), "v": v})


@recipe(
    "What is the total {n} of [all|the|] {t+} with {c} {v}?",
    "total {n} for {t+} with {c} {v}",
    "sum of {n} where {c} is {v}",
    "How much {n} do [the|] {t+} with {c} {v} have [in total|altogether]?",
)
def total_where(s: Scene) -> Asked:
    t = s.table(4)
    n, c = s.number(t), s.category(t)
    v = s.cell(c)
    query = Select((agg("SUM", n),), where=equal(c, v))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c), "v": v})


@recipe(
    "[Which|What] {t+} have [a|] {c} other than {v}?",
    "{t+} [whose {c} is not|not with {c}] {v}",
    "[List|Show] [all|the|] {t+} except those with {c} {v}",
)
def other_than(s: Scene) -> Asked:
    t = s.table(4)
    label, c = s.label(t), s.category(t)
    v = s.cell(c)
    query = Select((col(label),), where=compare("NE", c, v))
    return Asked(query, {"t": Tab(t), "c": Col(c), "v": v})


@recipe(
    "[Which|What] [different|distinct|unique] {c+} are there [among|in|for] [the|] {t+}?",
    "[distinct|unique|different] {c+} of {t+}",
    "[List|Show] [all|the|] [different|distinct|unique] {c+} of [the|] {t+}",
)
def distinct_values(s: Scene) -> Asked:
    t = s.table(4)
    c = s.category(t)
    return Asked(Select((col(c),), distinct=True), {"t": Tab(t), "c": Col(c)})


@recipe(
    "[Show|List] [all|the|] {t+} [sorted|ordered] alphabetically",
    "{t+} in alphabetical order",
    "[List|Show] the {t+} [from A to Z|alphabetically]",
)
def alphabetical(s: Scene) -> Asked:
    t = s.table()
    label = s.label(t)
    return Asked(Select((col(label),), order_by=(up(label),)), {"t": Tab(t)})
