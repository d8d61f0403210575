"""What a hand-written recipe draws from: tables, columns by role, joins, cells of one database."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from plainsql.logical_form.tree import Query
from plainsql.records import Value
from plainsql.training.synthesis.corpus import Database, Role
from plainsql.training.synthesis.instantiate import (
    NoFit,
    is_person,
    number_in_range,
    short_name,
    usable,
)
from plainsql.training.synthesis.wording import NUMBER_WORDS, plural, singular

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Col:
    """A column to be named in the question."""

    column: int


@dataclass(frozen=True, slots=True)
class Tab:
    """A table to be named in the question."""

    table: int


Slot = Col | Tab | Value


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and what the placeholders of its questions stand for.

    `texts` replaces those of the recipe, where the words depend on the columns.
    """

    query: Query
    slots: dict[str, Slot]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """A key from one table (`child`, many) to another (`parent`, one)."""

    child: int
    parent: int
    own: int  # column of the child
    target: int  # column of the parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """A kind of question: draws a query, and the ways to ask for it."""

    name: str
    draw: Callable[[Scene], Asked]
    texts: tuple[str, ...]
    weight: float


RECIPES: list[Recipe] = []
_Draw = Callable[["Scene"], Asked]


def recipe(*texts: str, weight: float = 1.0) -> Callable[[_Draw], _Draw]:
    """Registers a recipe. In `texts`, "{c}" is a slot, "{c+}" its plural, "[a|b]" a choice."""

    def register(draw: _Draw) -> _Draw:
        RECIPES.append(Recipe(draw.__name__, draw, texts, weight))
        return draw

    return register


class Scene:
    """Random draws from one database; each raises `NoFit` where there is nothing to draw."""

    def __init__(self, database: Database, rng: random.Random) -> None:
        self.database = database
        self.rng = rng
        self.schema = database.schema

    # -- tables and joins --------------------------------------------------

    def table(self, least: int = 3) -> int:
        """A table with at least so many rows that is no mere link between others."""
        tables = range(len(self.schema.tables))
        return self._pick([t for t in tables if self._is_subject(t, least)])

    def _is_subject(self, table: int, least: int = 2) -> bool:
        record = self.schema.tables[table]
        columns = self.schema.columns_of(table)
        plain = [c for c in columns if self.role(c) not in (Role.KEY, Role.CODE, Role.LONG)]
        return not record.is_view and self.database.rows_of[table] >= least and bool(plain)

    def link(self, *, labelled: bool = False) -> Link:
        """A key between two different tables that no other key links."""
        links = [link for link in self._links() if not labelled or self._label(link.parent)]
        return self._pick(links)

    def _links(self) -> Iterator[Link]:
        table_of = self.schema.table_of
        for own, target in sorted(self.database.key_pairs):
            child, parent = table_of[own], table_of[target]
            single = len(self.database.graph.edges_between(child, parent)) == 1
            filled = self.database.rows_of[child] >= 2 and not self.schema.tables[child].is_view
            if child != parent and single and filled and self._is_subject(parent):
                yield Link(child, parent, own, target)

    def bridge(self) -> tuple[Link, Link]:
        """Two keys of one linking table to two other tables."""
        links = list(self._links())
        pairs = [
            (a, b)
            for a in links
            for b in links
            if a.child == b.child and a.parent != b.parent and self._is_bridge(a.child)
        ]
        return self._pick(pairs)

    def _is_bridge(self, table: int) -> bool:
        columns = self.schema.columns_of(table)
        return sum(c in self.database.keys for c in columns) >= 2 and len(columns) <= 5

    def self_key(self) -> Link:
        """A key from a table to itself."""
        table_of = self.schema.table_of
        return self._pick(
            [
                Link(table_of[own], table_of[target], own, target)
                for own, target in sorted(self.database.key_pairs)
                if table_of[own] == table_of[target] and own != target
            ]
        )

    def is_person(self, table: int) -> bool:
        """Whether the rows are people."""
        return is_person(self.database, table)

    def name_of(self, table: int) -> str:
        """The table's name in words, singular."""
        return singular(self.schema.tables[table].natural)

    # -- columns -----------------------------------------------------------

    def role(self, column: int) -> Role:
        """What the column is for."""
        return self.database.facts[column].role

    def column(self, table: int, *roles: Role, but: Sequence[int] = ()) -> int:
        """A column of one of the roles (any that can be shown, without roles)."""
        wanted = roles or (Role.NAME, Role.CATEGORY, Role.TEXT, Role.NUMBER, Role.YEAR, Role.DATE)
        return self._pick([c for c in self._with_values(table, wanted) if c not in but])

    def _with_values(self, table: int, roles: Sequence[Role]) -> list[int]:
        """Such columns; not one that is called as the table: "venues by venue" says nothing."""
        facts, own = self.database.facts, self.name_of(table)
        found = []
        for column in self.schema.columns_of(table):
            telling = singular(self.database.natural(column)) != own
            if telling and facts[column].role in roles and len(facts[column].values) > 1:
                found.append(column)
        return found

    def number(self, table: int, but: Sequence[int] = ()) -> int:
        """A measure with several values."""
        found = self._with_values(table, (Role.NUMBER,))
        values = self.database.facts
        return self._pick([c for c in found if c not in but and len(values[c].values) > 2])

    def measure(self, table: int, words: str, but: Sequence[int] = ()) -> int:
        """A measure or year whose name ends in one of the words."""
        found = self._with_values(table, (Role.NUMBER, Role.YEAR))
        ends = [self.database.natural(c).split()[-1] for c in found]
        return self._pick(
            [c for c, end in zip(found, ends, strict=True) if end in words.split() and c not in but]
        )

    def category(self, table: int, but: Sequence[int] = ()) -> int:
        """A text with repeated values."""
        return self.column(table, Role.CATEGORY, but=but)

    def label(self, table: int) -> int:
        """The column that names the rows."""
        return self._pick(self._label(table))

    def _label(self, table: int) -> list[int]:
        label = self.database.labels[table]
        return [] if label is None or not self.database.facts[label].values else [label]

    # -- values ------------------------------------------------------------

    def cell(self, column: int, but: Sequence[Value] = ()) -> Value:
        """A value of the column that a person could type."""
        taken = {str(value).lower() for value in but}
        cells = self.database.facts[column].values
        values = [v for v in cells if usable(v) and str(v).strip().lower() not in taken]
        value = self._pick(values)
        return value.strip() if isinstance(value, str) else value

    def amount(self, column: int) -> Value:
        """A number within the column's range."""
        values = tuple(v for v in self.database.facts[column].values if not isinstance(v, str))
        if not values:
            raise NoFit("no numbers")
        return number_in_range(values, self.rng)

    def some(self, low: int = 2, high: int = 5) -> int:
        """A small number, for tops and thresholds."""
        return self.rng.randint(low, high)

    def _pick(self, things: Sequence[T]) -> T:
        if not things:
            raise NoFit("nothing to draw")
        return self.rng.choice(things)


# -- wording --------------------------------------------------------------

_PLACE = re.compile(r"\{(\w+)(\+?)\}")


def worded(text: str, asked: Asked, scene: Scene) -> str:
    """The question. Raises `NoFit` where a column's name alone would not say its table."""
    used = {match[1] for match in _PLACE.finditer(text)}
    named = [s.table for name, s in asked.slots.items() if name in used and isinstance(s, Tab)]
    columns = [slot.column for slot in asked.slots.values() if isinstance(slot, Col)]
    alone = [column for column in columns if scene.schema.table_of[column] not in named]
    if not all(_unique(scene, column) for column in alone):
        raise NoFit("a column name that two tables have")

    def filled(match: re.Match[str]) -> str:
        return _slot_text(asked.slots[match[1]], bool(match[2]), named, scene)

    return _PLACE.sub(filled, text)


def _unique(scene: Scene, column: int) -> bool:
    name = scene.database.natural(column)
    return sum(c.natural == name for c in scene.schema.columns) == 1


def _slot_text(slot: Slot, many: bool, named: list[int], scene: Scene) -> str:
    if isinstance(slot, Tab):
        name = scene.schema.tables[slot.table].natural
    elif isinstance(slot, Col):
        name = short_name(scene.database, slot.column, named)
    else:
        return _value_text(slot, scene.rng)
    return plural(name) if many else singular(name)


def _value_text(value: Value, rng: random.Random) -> str:
    if isinstance(value, int) and 0 <= value <= 10 and rng.random() < 0.4:
        return NUMBER_WORDS[value]
    if isinstance(value, str) and rng.random() < 0.12:
        mark = rng.choice("'\"")
        return f"{mark}{value}{mark}"
    return str(value)
