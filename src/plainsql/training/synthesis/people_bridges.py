"""Recipes across linking tables and from a table to itself."""

from __future__ import annotations

from plainsql.logical_form.tree import Select, SetOperation
from plainsql.training.synthesis.instantiate import NoFit
from plainsql.training.synthesis.scene import Asked, Link, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import agg, col, count, equal


@recipe(
    "[Which|What] {right+} does [the {left}|] {v} have?",
    "{right+} of {left} {v}",
    "[List|Show] [the|all|] {right+} of the {left} [named|called|] {v}",
    weight=2.0,
)
def across_bridge(s: Scene) -> Asked:
    a, b = s.bridge()
    left, right = s.label(a.parent), s.label(b.parent)
    v = s.cell(left)
    query = Select((col(right),), where=equal(left, v), extra_tables=_through(s, a, b))
    return Asked(query, {"left": Tab(a.parent), "right": Tab(b.parent), "v": v})


def _through(s: Scene, a: Link, b: Link) -> tuple[int, ...]:
    """The linking table where the keys alone would not lead through it."""
    path = s.database.graph.join_tree([a.parent, b.parent])
    if path.tables == (a.parent, a.child, b.parent):
        return ()
    raise NoFit("another way between the tables")


@recipe(
    "How many {right+} does each {left} have?",
    "number of {right+} per {left}",
    "[Show|List] each {left} with its number of {right+}",
    weight=1.5,
)
def count_across_bridge(s: Scene) -> Asked:
    a, b = s.bridge()
    _through(s, a, b)
    query = Select((col(s.label(a.parent)), count(a.child)), group_by=(col(a.target),))
    return Asked(query, {"left": Tab(a.parent), "right": Tab(b.parent)})


@recipe(
    "[Which|What] {left+} have both the {right} {v} and the {right} {w}?",
    "{left+} with both {v} and {w}",
    "[Find|List] {left+} that have [both|] {right+} {v} and {w}",
    weight=2.0,
)
def has_both(s: Scene) -> Asked:
    return _set_across(s, "INTERSECT")


@recipe(
    "[Which|What] {left+} have the {right} {v} but not {w}?",
    "{left+} with {right} {v} but [not|without] {right} {w}",
    "[Find|List] {left+} that have the {right} {v} but not the {right} {w}",
    weight=2.0,
)
def has_one_not_other(s: Scene) -> Asked:
    return _set_across(s, "EXCEPT")


def _set_across(s: Scene, operator: str) -> Asked:
    a, b = s.bridge()
    _through(s, a, b)
    left, right = s.label(a.parent), s.label(b.parent)
    v = s.cell(right)
    w = s.cell(right, (v,))
    first, second = (Select((col(left),), where=equal(right, x)) for x in (v, w))
    query = SetOperation(operator, first, second)
    return Asked(query, {"left": Tab(a.parent), "right": Tab(b.parent), "v": v, "w": w})


@recipe("{t+} and their {role+}", weight=4.0)
def with_their_own_kind(s: Scene) -> Asked:
    link = s.self_key()
    label, role = s.label(link.child), _role_word(s, link.own)
    query = Select((col(label), col(label, 1)), join_hints=((col(link.own), col(link.target, 1)),))
    texts = (
        f"[List|Show|] {{t+}} and their {role}[s|]",
        f"[Who is|What is|Show] the {role} of each {{t}}",
        f"[Show|Give me] the name of each {{t}} and the name of their {role}",
        f"each {{t}} with the name of its {role}",
    )
    return Asked(query, {"t": Tab(link.child)}, texts)


@recipe("how many report to", weight=2.0)
def count_of_own_kind(s: Scene) -> Asked:
    link = s.self_key()
    label, role = s.label(link.child), _role_word(s, link.own)
    query = Select(
        (col(label, 1), count(link.child)),
        group_by=(col(link.target, 1),),
        join_hints=((col(link.own), col(link.target, 1)),),
    )
    texts = (
        f"How many {{t+}} does each {role} have?",
        f"number of {{t+}} per {role}",
        f"[Show|List] each {role} with the number of {{t+}} they have",
    )
    return Asked(query, {"t": Tab(link.child)}, texts)


def _role_word(s: Scene, column: int) -> str:
    words = [w for w in s.database.natural(column).split() if w not in ("id", "code", "number")]
    if not words or words == s.name_of(s.schema.table_of[column]).split():
        raise NoFit("no name for the other row")
    return " ".join(words)


@recipe(
    "How many [different|distinct] {parent+} have {child+}?",
    "number of {parent+} with [at least one|any] {child}",
    "Count the {parent+} that have [at least one|a] {child}",
)
def count_with_any(s: Scene) -> Asked:
    link = s.link()
    return Asked(
        Select((agg("COUNT", link.own, True),)),
        {"child": Tab(link.child), "parent": Tab(link.parent)},
    )
