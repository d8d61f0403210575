"""Schemas with other names for the same things, so that a parser does not rely on spelling."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from plainsql.schema.model import Column, Schema, Table
from plainsql.training.synthesis.abbreviations import abbreviated
from plainsql.training.synthesis.wording import singular

Synonyms = Mapping[str, Sequence[str]]


def perturb_schema(
    schema: Schema, rng: random.Random, synonyms: Synonyms, rate: float = 0.3
) -> Schema:
    """The schema with about `rate` of its natural names changed; identifiers stay.

    Indexes, types and keys are the same, so queries over one are valid over the
    other. A name is replaced by a synonym of it or of one of its words, written
    in short, or loses or gains a hint such as its table's name. No table gets
    two columns of one name, and no two tables one name. Under a millisecond
    for 50 columns.
    """
    taken = {table.natural for table in schema.tables}
    tables = []
    for table in schema.tables:
        natural = _changed(table.natural, rng, synonyms, rate, taken)
        columns = _columns(table, natural, rng, synonyms, rate)
        tables.append(replace(table, natural=natural, columns=columns))
    return replace(schema, tables=tuple(tables))


def _columns(
    table: Table, natural: str, rng: random.Random, synonyms: Synonyms, rate: float
) -> tuple[Column, ...]:
    taken = {column.natural for column in table.columns}
    found = []
    for column in table.columns:
        new = _changed(column.natural, rng, synonyms, rate, taken)
        if new == column.natural and rng.random() < rate / 3:
            new = _with_or_without_table(new, natural, taken)
        found.append(column if new == column.natural else replace(column, natural=new))
    return tuple(found)


def _changed(
    name: str, rng: random.Random, synonyms: Synonyms, rate: float, taken: set[str]
) -> str:
    """Another name that is free, which is then taken; often the same."""
    if rng.random() >= rate:
        return name
    kind = rng.random()
    if kind < 0.65:
        new = _synonym(name, rng, synonyms)
    elif kind < 0.9:
        new = " ".join(abbreviated(word, rng) for word in name.split())
    else:
        new = name.replace(" ", "") if kind < 0.95 else _other_ending(name)
    if not new or new in taken:
        return name
    taken.add(new)
    return new


def _synonym(name: str, rng: random.Random, synonyms: Synonyms) -> str:
    """A synonym of the whole name, or the name with one word replaced."""
    whole = synonyms.get(name) or synonyms.get(singular(name))
    if whole:
        return rng.choice(whole)
    words = name.split()
    places = [at for at, word in enumerate(words) if _others(word, synonyms)]
    if not places:
        return name
    at = rng.choice(places)
    words[at] = rng.choice(_others(words[at], synonyms))
    return " ".join(words)


def _others(word: str, synonyms: Synonyms) -> Sequence[str]:
    return synonyms.get(word) or synonyms.get(singular(word)) or ()


_ENDINGS = {"id": "identifier", "identifier": "id", "number": "no", "name": "title", "code": "id"}


def _other_ending(name: str) -> str:
    """ "student id" -> "student identifier", "student number" -> "student no"."""
    start, blank, last = name.rpartition(" ")
    return start + blank + _ENDINGS.get(last, last) if start else name


def _with_or_without_table(name: str, table: str, taken: set[str]) -> str:
    """The column's name with its table's before it, or without it."""
    own = singular(table) + " "
    new = name[len(own) :] if name.startswith(own) else own + name
    if not new or new in taken:
        return name
    taken.add(new)
    return new
