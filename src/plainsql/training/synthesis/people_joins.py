"""Recipes across tables: labels instead of ids, counts per parent, without any, self-joins."""

from __future__ import annotations

from plainsql.logical_form.tree import In, Literal, Select
from plainsql.training.synthesis.corpus import Role
from plainsql.training.synthesis.scene import Asked, Col, Link, Scene, Slot, Tab, recipe
from plainsql.training.synthesis.shapes import (
    agg,
    among,
    col,
    compare,
    count,
    down,
    equal,
    up,
)


def _tabs(link: Link) -> dict[str, Slot]:
    return {"child": Tab(link.child), "parent": Tab(link.parent)}


@recipe(
    "[Show|List|What are] the name of the {parent} of each {child}",
    "[List|Show] each {child} with its {parent}",
    "[Show|Give me] [all|the|] {child+} and their {parent+}",
    "{child+} with {parent} names",
    "Which {parent} does each {child} belong to?",
    weight=2.5,
)
def label_of_parent(s: Scene) -> Asked:
    link = s.link(labelled=True)
    own, other = s.label(link.child), s.label(link.parent)
    return Asked(Select((col(own), col(other))), _tabs(link))


@recipe(
    "[What|Which] {a} and {parent} does each {child} have?",
    "{a} of each {child} with the {p} of its {parent}",
    "[Show|List] the {a} of [each|every] {child} and the {p} of its {parent}",
    "For each {child}, [show|list] its {a} and the {p} of its {parent}",
    weight=2.0,
)
def columns_of_both(s: Scene) -> Asked:
    link = s.link()
    a, p = s.column(link.child), s.column(link.parent)
    texts = (
        "{a} of each {child} with the {p} of its {parent}",
        "[Show|List] the {a} of [each|every] {child} and the {p} of its {parent}",
        "For each {child}, [show|list] its {a} and the {p} of its {parent}",
        "{child} {a} and {parent} {p}",
    )
    return Asked(Select((col(a), col(p))), {**_tabs(link), "a": Col(a), "p": Col(p)}, texts)


@recipe(
    "How many {child+} does each {parent} have?",
    "number of {child+} per {parent}",
    "{child} count by {parent}",
    "[Show|List] each {parent} with [its|the] number of {child+}",
    "For [each|every] {parent}, [show|give] the [name and the|] number of {child+}",
    weight=2.5,
)
def count_per_parent(s: Scene) -> Asked:
    link = s.link(labelled=True)
    key = s.label(link.parent)
    query = Select((col(key), count(link.child)), group_by=(col(link.target),))
    return Asked(query, _tabs(link))


@recipe(
    "[Which|What] {parent} has the most {child+}?",
    "{parent} with the [most|largest number of|highest number of] {child+}",
    "[Find|Name] the {parent} [that has|with] the most {child+}",
    weight=1.5,
)
def parent_with_most(s: Scene) -> Asked:
    return _by_number(s, True)


@recipe(
    "[Which|What] {parent} has the fewest {child+}?",
    "{parent} with the [fewest|smallest number of|lowest number of] {child+}",
)
def parent_with_fewest(s: Scene) -> Asked:
    return _by_number(s, False)


def _by_number(s: Scene, most: bool) -> Asked:
    link = s.link(labelled=True)
    order = down(count(link.child)) if most else up(count(link.child))
    query = Select(
        (col(s.label(link.parent)),),
        group_by=(col(link.target),),
        order_by=(order,),
        limit=Literal(1),
    )
    return Asked(query, _tabs(link))


@recipe(
    "[What|Which] are the {k} {parent+} with the most {child+}?",
    "top {k} {parent+} by number of {child+}",
    "[Show|List] the {k} {parent+} that have the most {child+}",
)
def parents_with_most(s: Scene) -> Asked:
    link, k = s.link(labelled=True), s.some()
    query = Select(
        (col(s.label(link.parent)),),
        group_by=(col(link.target),),
        order_by=(down(count(link.child)),),
        limit=Literal(k),
    )
    return Asked(query, {**_tabs(link), "k": k})


@recipe(
    "[Which|What] {parent+} have [more than|over] {k} {child+}?",
    "{parent+} with more than {k} {child+}",
    "[List|Show|Find] [the|all|] {parent+} that have more than {k} {child+}",
)
def parents_above(s: Scene) -> Asked:
    link, k = s.link(labelled=True), s.some(1, 4)
    query = Select(
        (col(s.label(link.parent)),),
        group_by=(col(link.target),),
        having=compare("GT", count(link.child), k),
    )
    return Asked(query, {**_tabs(link), "k": k})


@recipe(
    "[Which|What] {parent+} have at least {k} {child+}?",
    "{parent+} with {k} or more {child+}",
    "[List|Show] {parent+} having at least {k} {child+}",
)
def parents_at_least(s: Scene) -> Asked:
    link, k = s.link(labelled=True), s.some(2, 4)
    query = Select(
        (col(s.label(link.parent)),),
        group_by=(col(link.target),),
        having=compare("GE", count(link.child), k),
    )
    return Asked(query, {**_tabs(link), "k": k})


@recipe(
    "[Which|What] {parent+} have no {child+}?",
    "{parent+} without [any|] {child+}",
    (
        "[List|Show|Find] [the|all|] {parent+} [that do not have any|that have no|without "
        "any|who never had a|with no] {child+}"
    ),
    "{parent+} that never had a {child}",
    weight=3.0,
)
def without_any(s: Scene) -> Asked:
    link = s.link(labelled=True)
    query = Select((col(s.label(link.parent)),), where=_never(link))
    texts: tuple[str, ...] = (
        "[Which|What] {parent+} have no {child+}?",
        "{parent+} without [any|] {child+}",
        (
            "[List|Show|Find] [the|all|] {parent+} [that do not have any|that have "
            "no|without any|with no] {child+}"
        ),
        "[names of|] {parent+} that [don't|do not] have [a {child}|any {child+}]",
    )
    if s.is_person(link.parent):
        texts += ("{parent+} who [never had a {child}|have no {child+}]",)
    return Asked(query, _tabs(link), texts)


def _never(link: Link) -> In:
    return among(link.target, Select((col(link.own),)), negated=True)


@recipe(
    "How many {parent+} have no {child+}?",
    "number of {parent+} without [any|] {child+}",
    "Count the {parent+} that [do not have any|have no] {child+}.",
    "How many {parent+} [don't|do not] have [a {child}|any {child+}]?",
    weight=2.0,
)
def count_without_any(s: Scene) -> Asked:
    link = s.link()
    return Asked(Select((count(link.parent),), where=_never(link)), _tabs(link))


@recipe(
    "What [is|are] the {p} of [the|] {parent+} without [any|] {child+}?",
    "{p} of {parent+} that have no {child+}",
    "[Show|List] the {p+} of {parent+} that [do not|don't] have any {child+}",
    weight=1.5,
)
def column_without_any(s: Scene) -> Asked:
    link = s.link()
    p = s.column(link.parent)
    return Asked(Select((col(p),), where=_never(link)), {**_tabs(link), "p": Col(p)})


@recipe(
    "[Which|What] {parent+} have never had a {child} with {c} {v}?",
    "{parent+} without [any|a] {child} with {c} {v}",
    "[List|Find] {parent+} that have no {child} whose {c} is {v}",
    weight=1.5,
)
def without_such(s: Scene) -> Asked:
    link = s.link(labelled=True)
    c = s.column(link.child, Role.CATEGORY)
    v = s.cell(c)
    inner = Select((col(link.own),), where=equal(c, v))
    query = Select((col(s.label(link.parent)),), where=among(link.target, inner, negated=True))
    return Asked(query, {**_tabs(link), "c": Col(c), "v": v})


@recipe(
    "[Which|What] {parent+} have [at least one|a] {child} with {c} {v}?",
    "{parent+} with a {child} whose {c} is {v}",
    "[List|Find|Show] [the|] {parent+} that have {child+} with {c} {v}",
    weight=1.5,
)
def with_such(s: Scene) -> Asked:
    link = s.link(labelled=True)
    c = s.column(link.child, Role.CATEGORY, Role.TEXT)
    v = s.cell(c)
    distinct = s.rng.random() < 0.4
    query = Select((col(s.label(link.parent)),), distinct=distinct, where=equal(c, v))
    which = "[different|distinct|unique]" if distinct else ""
    texts = (
        f"[Which|What] {which} {{parent+}} have [at least one|a] {{child}} with {{c}} {{v}}?",
        f"{which} {{parent+}} with a {{child}} whose {{c}} is {{v}}",
        f"[List|Find|Show] [the|] {which} {{parent+}} that have {{child+}} with {{c}} {{v}}",
    )
    return Asked(query, {**_tabs(link), "c": Col(c), "v": v}, texts)


@recipe(
    "[Which|What] {child+} [belong to|are of|have] the {parent} {v}?",
    "{child+} of {parent} {v}",
    "[List|Show|Find] [the|all|] {child+} of the {parent} [named|called|] {v}",
    "{v} {child+}",
    weight=2.0,
)
def children_of_named(s: Scene) -> Asked:
    link = s.link(labelled=True)
    p = s.label(link.parent)
    v = s.cell(p)
    query = Select((col(s.label(link.child)),), where=equal(p, v))
    texts = (
        "[Which|What] {child+} [belong to|are from|are of] the {parent} {v}?",
        "{child+} of {parent} {v}",
        "[List|Show|Find] [the|all|] {child+} of the {parent} [named|called|] {v}",
    )
    return Asked(query, {**_tabs(link), "v": v}, texts)


@recipe(
    "How many {child+} does [the {parent}|] {v} have?",
    "number of {child+} of {parent} {v}",
    "Count the {child+} of the {parent} [named|called|] {v}",
    "{child} count for {v}",
    weight=2.0,
)
def count_of_named(s: Scene) -> Asked:
    link = s.link(labelled=True)
    p = s.label(link.parent)
    v = s.cell(p)
    return Asked(Select((count(link.child),), where=equal(p, v)), {**_tabs(link), "v": v})


@recipe(
    "[What is|] the {c} of [the|] {child+} [whose|where the] {parent} has {p} {v}?",
    "{c} of {child+} whose {parent} has {p} {v}",
    "[Show|List] the {c} of {child+} with [a|] {parent} {p} [of|] {v}",
    weight=1.5,
)
def column_by_parent(s: Scene) -> Asked:
    link = s.link()
    c, p = s.column(link.child), s.column(link.parent, Role.CATEGORY, Role.TEXT)
    v = s.cell(p)
    query = Select((col(c),), where=equal(p, v))
    return Asked(query, {**_tabs(link), "c": Col(c), "p": Col(p), "v": v})


@recipe(
    "[What is|Show] the [average|mean] {n} of [the|] {child+} [per|for each|of each] {parent}",
    "average {child} {n} by {parent}",
    "For each {parent}, what is the average {n} of its {child+}?",
    weight=2.0,
)
def average_per_parent(s: Scene) -> Asked:
    return _measure_per_parent(s, "AVG")


@recipe(
    "[What is|Show] the total {n} of [the|] {child+} [per|for each|of each] {parent}",
    "total {child} {n} by {parent}",
    "For each {parent}, what is the total {n} of its {child+}?",
    "sum of {n} of {child+} per {parent}",
    weight=2.0,
)
def total_per_parent(s: Scene) -> Asked:
    return _measure_per_parent(s, "SUM")


def _measure_per_parent(s: Scene, function: str) -> Asked:
    link = s.link(labelled=True)
    key, n = s.label(link.parent), s.number(link.child)
    query = Select((col(key), agg(function, n)), group_by=(col(link.target),))
    return Asked(query, {**_tabs(link), "n": Col(n)})


@recipe(
    "[Which|What] {parent} has the highest total {n} [of|over] its {child+}?",
    "{parent} with the highest total {child} {n}",
    "[Find|Name] the {parent} whose {child+} have the most {n} in total",
)
def parent_by_total(s: Scene) -> Asked:
    link = s.link(labelled=True)
    n = s.number(link.child)
    query = Select(
        (col(s.label(link.parent)),),
        group_by=(col(link.target),),
        order_by=(down(agg("SUM", n)),),
        limit=Literal(1),
    )
    return Asked(query, {**_tabs(link), "n": Col(n)})


@recipe(
    (
        "[How many|What is the number of] {child+} [are there|] [for each|per|by] {p} of "
        "[the|their] {parent}?"
    ),
    "number of {child+} by {parent} {p}",
    "count {child+} per {p} of their {parent}",
    weight=1.5,
)
def count_by_parent_category(s: Scene) -> Asked:
    link = s.link()
    p = s.category(link.parent)
    query = Select((col(p), count(link.child)), group_by=(col(p),))
    return Asked(query, {**_tabs(link), "p": Col(p)})
