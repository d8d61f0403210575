"""Which tables, columns and types exist for a query, made once for each schema."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from plainsql.execution.policies.base import ColumnCalls, Policy, fold

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.schema.model import Schema

Names = frozenset[str]
Place = tuple[str, str]  # database schema ("" for the default one), table

# What follows a type's name, or stands before it: (9,2), [], public.
_AROUND_TYPE = re.compile(r"[(\[ ].*|^\w+\.")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a query may name.

    `readable`: the tables, None for any. `database`: the one that is open.
    `columns`: those of each table by its bare name, None without a schema.
    `hidden`: columns that no message may suggest, folded.
    """

    readable: frozenset[Place] | None
    database: str = ""
    columns: Mapping[str, Names] | None = None
    hidden: Names = frozenset()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the guard needs of a schema: with 10,000 tables too long to gather each time."""

    places: dict[str, Place]  # Table.name -> where it is
    readable: frozenset[Place]
    columns: dict[str, Names]
    types: Names


# By identity: hashing a schema would read all of it. An entry goes with its schema.
_known: dict[tuple[int, str], tuple[weakref.ref[Schema], _Facts]] = {}


def _facts(schema: Schema, rules: Policy) -> _Facts:
    key = (id(schema), rules.dialect)
    found = _known.get(key)
    if found is not None and found[0]() is schema:
        return found[1]
    facts = _gathered(schema, rules)
    _known[key] = (weakref.ref(schema, lambda _: _known.pop(key, None)), facts)
    return facts


def _gathered(schema: Schema, rules: Policy) -> _Facts:
    places = {
        rules.listed_name(table.name): _place(rules, table.namespace, table.bare_name)
        for table in schema.tables
    }
    columns: dict[str, Names] = {}
    for table in schema.tables if rules.column_calls is not ColumnCalls.NONE else ():
        name = rules.listed_name(table.bare_name)
        own = frozenset(rules.listed_name(column.name) for column in table.columns)
        columns[name] = columns.get(name, frozenset()) | own
    declared = {column.declared_type for column in schema.columns}
    types = frozenset(_AROUND_TYPE.sub("", fold(text)) for text in declared)
    return _Facts(places, frozenset(places.values()), columns, types)


def scope_of(
    rules: Policy, schema: Schema | None, tables: Names | None, access: Access | None
) -> Scope:
    """The tables that may be read: `tables`, else those of `schema`; fewer by `access`."""
    facts = None if schema is None else _facts(schema, rules)
    readable = None if facts is None or tables is not None else facts.readable
    for names in (tables, access.tables if access is not None else None):
        if names is not None:
            listed = frozenset(_listed(name, rules, facts) for name in names)
            readable = listed if readable is None else readable & listed
    database = "" if schema is None else rules.listed_name(schema.name)
    hidden = frozenset() if access is None else access.hidden_columns
    return Scope(readable, database, None if facts is None else facts.columns, hidden)


def _listed(name: str, rules: Policy, facts: _Facts | None) -> Place:
    """The place that a listed name means: as the schema has it, else split at the first dot."""
    place = None if facts is None else facts.places.get(rules.listed_name(name))
    if place is not None:
        return place
    space, dot, bare = name.partition(".")
    return _place(rules, space, bare) if dot and rules.has_spaces else _place(rules, "", name)


def _place(rules: Policy, space: str, name: str) -> Place:
    space = rules.listed_name(space)
    return ("" if space in rules.homes else space, rules.listed_name(name))


def with_types(rules: Policy, schema: Schema | None) -> Policy:
    """The policy with the types of the schema's columns: enums, domains."""
    if rules.named_types is None or schema is None:
        return rules
    return _typed(rules, _facts(schema, rules).types)


@lru_cache(maxsize=64)
def _typed(rules: Policy, names: Names) -> Policy:
    return replace(rules, named_types=(rules.named_types or frozenset()) | names)
