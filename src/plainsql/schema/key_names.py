"""What a schema's names say about its keys: the look-ups behind `key_rules`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from plainsql.schema.model import Column, ColumnType, Schema
from plainsql.schema.names import singular, singular_phrase, with_natural_names

# Share (0 to 1) of the first column's distinct values that the second holds;
# None where that is unknown.
ValuesContained = Callable[[Column, Column], float | None]

CONTAINED = 0.9  # enough for values to make a key
NOT_CONTAINED = 0.5  # too little for names to make one
MAX_LOOK_UPS = 2000  # calls of `ValuesContained` for one schema

ID_WORDS = frozenset(("id", "ids", "code", "number", "key", "ssn", "isbn", "uuid", "guid", "nr"))
# Names that mean something else in each table.
GENERIC = ID_WORDS | frozenset(("name", "title", "type", "description", "status", "value"))
# Quantities and facts: two tables may both have them, and neither refers to the other.
MEASURES = frozenset(
    (
        *("age", "amount", "area", "average", "cost", "count", "date", "day", "height", "hour"),
        *(
            "hours",
            "length",
            "month",
            "order",
            "percent",
            "points",
            "position",
            "price",
            "quantity",
        ),
        *("rank", "rating", "salary", "score", "season", "size", "time", "total", "weight", "year"),
        *("years", "address", "comment", "email", "gender", "phone", "url", "version"),
    )
)
_COUNTS = frozenset(("number", "count", "total", "average", "of", "per", "max", "min"))
KEY_TYPES = frozenset((ColumnType.TEXT, ColumnType.NUMBER, ColumnType.OTHER))


@dataclass(frozen=True, slots=True)
class Target:
    """A column that identifies the rows of its table."""

    table: int
    column: int
    noun: str  # the table's name in the singular
    words: tuple[str, ...]  # the column's name


class KeyNames:
    """Indexes of a schema's columns and targets by their names, for the rules."""

    def __init__(
        self, schema: Schema, contained: ValuesContained | None, unique: frozenset[tuple[str, str]]
    ) -> None:
        self.schema = schema
        self.named = with_natural_names(schema)
        self.words = tuple(_role_last(c.natural.split()) for c in self.named.columns)
        self._contained = contained
        self._look_ups = 0
        self._guessed: set[int] = set()
        targets = list(self._targets(unique))
        self._target_columns = {target.column: target for target in targets}
        self.by_name = _index((squashed(schema.columns[t.column].name), t) for t in targets)
        self.by_noun_key = _index((name, t) for t in targets for name in _full_names(t))
        self.by_last_noun = _index((name, t) for t in targets for name in _last_names(t))
        self.by_noun = _index((target.noun, target) for target in targets)

    def _targets(self, unique: frozenset[tuple[str, str]]) -> Iterator[Target]:
        for at, table in enumerate(self.named.tables):
            if not table.is_view:
                noun = singular_phrase(table.natural)
                for column in self._identifying(at, noun, unique):
                    if self.schema.columns[column].type in KEY_TYPES:
                        yield Target(at, column, noun, self.words[column])

    def _identifying(self, table: int, noun: str, unique: frozenset[tuple[str, str]]) -> list[int]:
        """The primary key of one column, unique columns, and what is named like a key."""
        columns = self.schema.columns_of(table)
        keys = [c for c in columns if self.schema.columns[c].primary_key]
        names = {(*noun.split(), "id")} | (set() if keys else {("id",)})
        named = [c for c in columns if self.words[c] in names]
        if not keys and not named and self.is_identifier(columns[0]):
            self._guessed.add(columns[0])  # no declared key: the first column usually is it
            named = [columns[0]]
        others = [c for c in columns if self._identity(c) in unique]
        return list(dict.fromkeys([*(keys if len(keys) == 1 else []), *named, *others]))

    def _identity(self, column: int) -> tuple[str, str]:
        found = self.schema.columns[column]
        return found.table.lower(), found.name.lower()

    def targets(self) -> Collection[Target]:
        """All targets, in the schema's order."""
        return self._target_columns.values()

    def is_measure(self, column: int) -> bool:
        """True for a name that says a quantity or a time: "year", "price", …"""
        return not MEASURES.isdisjoint(self.words[column])

    def is_identifier(self, column: int) -> bool:
        """True for a name that ends like that of an identifier: "id", "code", …"""
        return self.words[column][-1] in ID_WORDS

    def pick(self, column: int, targets: Iterable[Target]) -> Target | None:
        """The first target of another table and like type that the values allow."""
        table = self.schema.table_of[column]
        for target in targets:
            if target.table != table and self._fits(column, target.column):
                share = self.share(column, target.column)
                if share is None or share >= NOT_CONTAINED:
                    return target
        return None

    def _fits(self, column: int, target: int) -> bool:
        """True for like types; identifiers may mix text and numbers, as many databases do."""
        types = {self.schema.columns[column].type, self.schema.columns[target].type}
        mixed = types <= {ColumnType.TEXT, ColumnType.NUMBER} and self.is_identifier(column)
        return len(types) == 1 or mixed

    def is_target(self, column: int) -> bool:
        """True for a column that identifies the rows of its own table."""
        return column in self._target_columns

    def is_key(self, column: int) -> bool:
        """True for a target that is declared or named as one, not just the first column."""
        return column in self._target_columns and column not in self._guessed

    def target_at(self, column: int) -> Target:
        """The target that a column is. Raises KeyError if it is none."""
        return self._target_columns[column]

    def targets_of(self, table: int) -> list[Target]:
        """The targets in one table."""
        columns = self.schema.columns_of(table)
        return [self._target_columns[c] for c in columns if c in self._target_columns]

    def same_names(self, column: int) -> list[Target]:
        """Targets of other tables called as this column, if the name says anything."""
        words, table = self.words[column], self.schema.table_of[column]
        if (len(words) == 1 and words[0] in GENERIC) or words[-1] in MEASURES:
            return []
        found = self.by_name.get(squashed(self.schema.columns[column].name), ())
        return [target for target in found if target.table != table]

    def named_at_end(self, column: int) -> Iterator[Target]:
        """Targets whose table's name, in the singular, ends the column's; longest first."""
        words = self.words[column]
        if words[-1] in MEASURES or _COUNTS & {*words[:-1]}:
            return
        words = words[:-1] if words[-1] in ID_WORDS else words
        # A key with a role before it is a name of its own: "person address id".
        for start in range(min(len(words), 1) if self.is_key(column) else len(words)):
            yield from self.by_noun.get(" ".join(words[start:]), ())

    def contained(self, column: int, target: Target) -> bool:
        """True if the values show that the column refers to the target."""
        if target.table == self.schema.table_of[column]:
            return False
        return (self.share(column, target.column) or 0.0) >= CONTAINED

    def share(self, column: int, target: int) -> float | None:
        """How far the values of a column are those of a target; None if unknown."""
        if self._contained is None or self._look_ups >= MAX_LOOK_UPS:
            return None
        self._look_ups += 1
        return self._contained(self.schema.columns[column], self.schema.columns[target])


def _index(pairs: Iterable[tuple[str, Target]]) -> Mapping[str, list[Target]]:
    index: dict[str, list[Target]] = {}
    for name, target in pairs:
        index.setdefault(name, []).append(target)
    return index


def _role_last(words: list[str]) -> tuple[str, ...]:
    """The words without a final number, and a leading "id" moved to the end.

    "club id 2" -> "club id", "id station" -> "station id".
    """
    if len(words) > 1 and words[-1].isdigit():
        words = words[:-1]
    return (*words[1:], "id") if len(words) > 1 and words[0] == "id" else tuple(words)


def squashed(name: str) -> str:
    """An identifier without case and punctuation."""
    return re.sub(r"[\W_]+", "", name.lower())


def owns(target: Target) -> bool:
    """True where a key is named after its own table: `papers.paper_id`."""
    stem = " ".join(target.words[:-1])
    return bool(stem) and stem in (target.noun, target.noun.split()[-1])


def _full_names(target: Target) -> tuple[str, ...]:
    """How other tables may call this key: its table and itself, run together."""
    noun = target.noun.replace(" ", "")
    if len(target.words) == 1:
        return (noun + target.words[0],) if target.words[0] in ID_WORDS else ()
    return tuple({"".join(target.words), noun + target.words[-1]}) if owns(target) else ()


def _last_names(target: Target) -> tuple[str, ...]:
    """As `_full_names`, by the last word of a table's name of several words."""
    *rest, last = target.noun.split()
    is_plain = len(target.words) == 1 and target.words[0] in ID_WORDS
    return (singular(last) + target.words[0],) if rest and is_plain else ()
