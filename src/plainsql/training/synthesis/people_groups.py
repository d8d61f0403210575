"""Recipes: counts, sums and averages, over all rows and for each group."""

from __future__ import annotations

from plainsql.logical_form.tree import Arithmetic, Between, Literal, Select, Share
from plainsql.training.synthesis.corpus import Role
from plainsql.training.synthesis.scene import Asked, Col, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import agg, col, compare, count, down, equal, up, value_of


@recipe(
    "[What is|Show me|Give me|] the average {n} [per|for each|by] {c} [of|across] the {t+}",
    "avg {n} by {c}",
    "[avg|average|mean] {n} [per|by] {c} for {t+}",
    "For each {c} of {t+}, what is the average {n}?",
    "How does the average {n} of {t+} vary by {c}?",
    "{t} average {n} grouped by {c}",
)
def average_by_category(s: Scene) -> Asked:
    t = s.table()
    c, n = s.category(t), s.number(t)
    return Asked(
        Select((col(c), agg("AVG", n)), group_by=(col(c),)), {"t": Tab(t), "c": Col(c), "n": Col(n)}
    )


@recipe(
    "[What is|Show|Get] the total {n} [per|for each|by] {c} of {t+}",
    "total {n} by {c}",
    "sum of {n} per {c} for {t+}",
    "How much {n} do the {t+} of each {c} have in total?",
    "Add up the {n} of {t+} for every {c}",
)
def total_by_category(s: Scene) -> Asked:
    t = s.table()
    c, n = s.category(t), s.number(t)
    return Asked(
        Select((col(c), agg("SUM", n)), group_by=(col(c),)), {"t": Tab(t), "c": Col(c), "n": Col(n)}
    )


@recipe(
    "[How many {t+} are there|What is the number of {t+}] [per|for each|in each] {c}",
    "number of {t+} by {c}",
    "{t+} per {c}",
    "count {t+} by {c}",
    "Break down the [number|count] of {t+} by {c}.",
    "[Show|Give me] a count of {t+} for [each|every] {c}",
    weight=1.5,
)
def count_by_category(s: Scene) -> Asked:
    t = s.table()
    c = s.category(t)
    return Asked(Select((col(c), count(t)), group_by=(col(c),)), {"t": Tab(t), "c": Col(c)})


@recipe(
    "How many {t+} are there [per|for each|by] {c}, [most frequent first|largest count first]?",
    "number of {t+} per {c}, sorted from most to least",
    (
        "[Rank|Order|Sort] the {c+} by [how many {t+} they have|number of {t+}], highest "
        "first, with the counts"
    ),
    "Show each {c} with its number of {t+}, [in descending order of the number|most common first]",
)
def count_by_category_sorted(s: Scene) -> Asked:
    t = s.table()
    c = s.category(t)
    return Asked(
        Select((col(c), count(t)), group_by=(col(c),), order_by=(down(count(t)),)),
        {"t": Tab(t), "c": Col(c)},
    )


@recipe(
    (
        "[How many|What is the number of] [different|distinct|unique] {c+} [do the {t+} "
        "have|are there among the {t+}]?"
    ),
    "number of [different|distinct|unique] {c+} of {t+}",
    "count distinct {c} in {t+}",
    "How many [different|unique] {c+} are [there|listed] in {t+}?",
    "[count|number of] unique {c+} [in|of] the {t} [table|data]",
    weight=2.0,
)
def count_distinct(s: Scene) -> Asked:
    t = s.table()
    c = s.column(t, Role.CATEGORY, Role.TEXT, Role.NAME)
    return Asked(Select((agg("COUNT", c, True),)), {"t": Tab(t), "c": Col(c)})


@recipe(
    (
        "How many [different|distinct|unique] {d+} [are there|do the {t+} have] [for "
        "each|per|in each] {c}?"
    ),
    "[distinct|different|unique] {d} count [by|per] {c} in {t+}",
    "For each {c}, count the [different|distinct] {d+} of the {t+}.",
    "number of unique {d+} per {c} of {t+}",
)
def count_distinct_by(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    d = s.column(t, Role.CATEGORY, Role.TEXT, but=(c,))
    return Asked(
        Select((col(c), agg("COUNT", d, True)), group_by=(col(c),)),
        {"t": Tab(t), "c": Col(c), "d": Col(d)},
    )


@recipe(
    (
        "What are the [minimum and maximum|lowest and highest|smallest and largest] {n} of "
        "[all|the] {t+}?"
    ),
    "min and max {n} of {t+}",
    "[lowest and highest|smallest and biggest] {n} [for|of|among] {t+}",
    "Show the [minimum and maximum|lowest and highest] {n} for the {t+}",
)
def smallest_and_largest(s: Scene) -> Asked:
    t = s.table()
    n = s.number(t)
    return Asked(Select((agg("MIN", n), agg("MAX", n))), {"t": Tab(t), "n": Col(n)})


@recipe(
    "[What is|Show] the [minimum and maximum|lowest and highest] {n} [for each|per|by] {c} of {t+}",
    "min and max {n} [per|by] {c} for {t+}",
    "For [each|every] {c}, give the [smallest and largest|lowest and highest] {n} of its {t+}.",
)
def smallest_and_largest_by(s: Scene) -> Asked:
    t = s.table(5)
    c, n = s.category(t), s.number(t)
    return Asked(
        Select((col(c), agg("MIN", n), agg("MAX", n)), group_by=(col(c),)),
        {"t": Tab(t), "c": Col(c), "n": Col(n)},
    )


@recipe(
    "What [is|are] the average {n} and the total {m} of [all|the] {t+}?",
    "average {n} and total {m} of {t+}",
    "Give me the [mean|average] {n} and the [sum of|total] {m} for the {t+}",
)
def two_measures(s: Scene) -> Asked:
    t = s.table()
    n = s.number(t)
    m = s.number(t, (n,))
    return Asked(Select((agg("AVG", n), agg("SUM", m))), {"t": Tab(t), "n": Col(n), "m": Col(m)})


@recipe(
    "[Show|What are] the number of {t+} and the[ir|] average {n} [for each|per|by] {c}",
    "count and average {n} of {t+} by {c}",
    "For each {c}, how many {t+} are there and what is their average {n}?",
    "{t+} per {c}: how many, and average {n}",
)
def count_and_average_by(s: Scene) -> Asked:
    t = s.table(5)
    c, n = s.category(t), s.number(t)
    return Asked(
        Select((col(c), count(t), agg("AVG", n)), group_by=(col(c),)),
        {"t": Tab(t), "c": Col(c), "n": Col(n)},
    )


@recipe(
    "How many {t+} are there and what is their average {n}?",
    "number of {t+} and average {n}",
    "Count the {t+} and [give|show] their average {n}.",
)
def count_and_average(s: Scene) -> Asked:
    t = s.table()
    n = s.number(t)
    return Asked(Select((count(t), agg("AVG", n))), {"t": Tab(t), "n": Col(n)})


@recipe(
    "What [percentage|percent|share|proportion] of [the|] {t+} [have {c} {v}|have {v} as {c}]?",
    "[percentage|percent|share] of {t+} [with|whose] {c} [is|] {v}",
    "What [percentage|share] of all {t+} has {c} {v}?",
    "% of {t+} with {c} {v}",
    "In percent, how many {t+} have the {c} {v}?",
    weight=2.0,
)
def share_of_value(s: Scene) -> Asked:
    t = s.table(4)
    c = s.column(t, Role.CATEGORY)
    v = s.cell(c)
    return Asked(
        Select(
            (Share(equal(c, v)),),
        ),
        {"t": Tab(t), "c": Col(c), "v": v},
    )


@recipe(
    (
        "What [percentage|percent|share] of [the|] {t+} [have|has] [a|] {n} "
        "[over|above|greater than|of more than] {v}?"
    ),
    "percentage of {t+} with {n} [above|over|more than] {v}",
    "[share|percent] of {t+} whose {n} [is greater than|exceeds] {v}",
    weight=1.5,
)
def share_above(s: Scene) -> Asked:
    t = s.table(4)
    n = s.number(t)
    v = s.amount(n)
    return Asked(Select((Share(compare("GT", n, v)),)), {"t": Tab(t), "n": Col(n), "v": v})


@recipe(
    "[For each|Per|By] {d}, what [percentage|share] of {t+} [has|have] {c} {v}?",
    "percentage of {t+} with {c} {v} [by|per] {d}",
    "What share of the {t+} of each {d} has {c} {v}?",
)
def share_by(s: Scene) -> Asked:
    t = s.table(6)
    c = s.category(t)
    d = s.category(t, (c,))
    v = s.cell(c)
    query = Select((col(d), Share(equal(c, v))), group_by=(col(d),))
    return Asked(query, {"t": Tab(t), "c": Col(c), "d": Col(d), "v": v})


@recipe(
    "Which {c+} have between {a} and {b} {t+}?",
    "{c+} with between {a} and {b} {t+}",
    "List the {c+} that [appear in|have] [at least {a} and at most {b}|from {a} to {b}] {t+}.",
    "{c+} having {a} to {b} {t+}",
)
def groups_between(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    a = s.some(1, 4)
    b = a + s.some(1, 6)
    query = Select((col(c),), group_by=(col(c),), having=Between(count(t), Literal(a), Literal(b)))
    return Asked(query, {"t": Tab(t), "c": Col(c), "a": a, "b": b})


@recipe(
    "Which {c+} have more than {k} {t+}?",
    "{c+} with [more than|over] {k} {t+}",
    "[List|Show|Find] [all|the|] {c+} [shared by|that have] more than {k} {t+}",
)
def groups_above(s: Scene) -> Asked:
    t = s.table(5)
    c, k = s.category(t), s.some(1, 4)
    query = Select((col(c),), group_by=(col(c),), having=compare("GT", count(t), k))
    return Asked(query, {"t": Tab(t), "c": Col(c), "k": k})


@recipe(
    (
        "Which {c+} have an average {n} [above|over|higher than|greater than] {v} "
        "[among|for] the {t+}?"
    ),
    "{c+} [where|whose] [the|] average {n} of [the|] {t+} is [above|over|more than] {v}",
    "[List|Show] the {t} {c+} with an average {n} of more than {v}",
)
def groups_by_average(s: Scene) -> Asked:
    t = s.table(5)
    c, n = s.category(t), s.number(t)
    v = s.amount(n)
    query = Select((col(c),), group_by=(col(c),), having=compare("GT", agg("AVG", n), v))
    return Asked(query, {"t": Tab(t), "c": Col(c), "n": Col(n), "v": v})


@recipe(
    "[Which|What] {c} [has|have] the [most|largest number of|highest number of] {t+}?",
    "{c} with the most {t+}",
    "most common {c} [among|of] [the|] {t+}",
    "What is the most [frequent|common|popular] {c} [of|among] {t+}?",
)
def commonest(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    query = Select((col(c),), group_by=(col(c),), order_by=(down(count(t)),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "c": Col(c)})


@recipe(
    "[Which|What] {c} has the [fewest|smallest number of|lowest number of] {t+}?",
    "{c} with the fewest {t+}",
    "least common {c} [among|of] [the|] {t+}",
)
def rarest(s: Scene) -> Asked:
    t = s.table(5)
    c = s.category(t)
    query = Select((col(c),), group_by=(col(c),), order_by=(up(count(t)),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "c": Col(c)})


@recipe(
    "[Which|What] {c} has the [highest|largest] average {n} [of|among] {t+}?",
    "{c} with the highest average {n} for {t+}",
    "{t} {c} with the best average {n}",
)
def best_on_average(s: Scene) -> Asked:
    t = s.table(5)
    c, n = s.category(t), s.number(t)
    query = Select((col(c),), group_by=(col(c),), order_by=(down(agg("AVG", n)),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "c": Col(c), "n": Col(n)})


@recipe(
    "[Which|What] {k} {c+} have the [highest|largest] total {n} [of|among|for] {t+}?",
    "top {k} {c+} by total {n} of {t+}",
    "The {k} {c+} with the most {n} in total over all {t+}",
)
def top_totals(s: Scene) -> Asked:
    t = s.table(6)
    c, n, k = s.category(t), s.number(t), s.some(2, 5)
    query = Select((col(c),), group_by=(col(c),), order_by=(down(agg("SUM", n)),), limit=Literal(k))
    return Asked(query, {"t": Tab(t), "c": Col(c), "n": Col(n), "k": k})


@recipe(
    (
        "[What is|] the [difference|gap|range] between the [highest|largest|maximum] and "
        "[the|] [lowest|smallest|minimum] {n} of {t+}?"
    ),
    "max minus min {n} of {t+}",
    "By how much does the highest {n} of the {t+} exceed the lowest?",
)
def spread(s: Scene) -> Asked:
    t = s.table()
    n = s.number(t)
    query = Select((Arithmetic("MINUS", agg("MAX", n), agg("MIN", n)),))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe(
    "How many {t+} have [a|] {n} [above|over|higher than] [the|] average?",
    "number of {t+} with above average {n}",
    "Count the {t+} whose {n} is [greater|higher] than the average {n}.",
    "How many {t+} are above the average {n}?",
    weight=1.5,
)
def count_above_average(s: Scene) -> Asked:
    t = s.table(4)
    n = s.number(t)
    query = Select((count(t),), where=compare("GT", n, value_of("AVG", n)))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe(
    "[What is|Give me] the number of {t+} for each {c} and {d}",
    "count of {t+} by {c} and {d}",
    "How many {t+} are there per {c} and {d}?",
)
def count_by_two(s: Scene) -> Asked:
    t = s.table(6)
    c = s.category(t)
    d = s.category(t, (c,))
    query = Select((col(c), col(d), count(t)), group_by=(col(c), col(d)))
    return Asked(query, {"t": Tab(t), "c": Col(c), "d": Col(d)})
