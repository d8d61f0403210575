"""Templates: a question with slots, its query, and what may take the slots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plainsql.logical_form.tree import Query
from plainsql.training.synthesis.corpus import Role


class Draw(StrEnum):
    """How a constant is drawn."""

    FIXED = "fixed"  # not in the question: LIMIT 1
    CELL = "cell"
    NUMBER = "number"  # from the range of a column
    COUNT = "count"  # a small whole number
    CONTAINS = "contains"
    STARTS = "starts"
    ENDS = "ends"


@dataclass(frozen=True, slots=True)
class ValueSlot:
    """A constant: how it is drawn, of which column slot, and whether as a word ("two")."""

    draw: Draw
    column: int = -1
    in_words: bool = False


@dataclass(frozen=True, slots=True)
class ColumnSlot:
    """A column by the position of its table slot, its role and its uses.

    `owner` is, for a key, the table slot whose rows it stands for: its own for
    a primary key, another for a reference, -1 for neither.
    """

    table: int
    role: Role
    mentioned: bool
    grouped: bool
    owner: int = -1


@dataclass(frozen=True, slots=True)
class TableSlot:
    """A table; `person` says that the question calls its rows "who"."""

    mentioned: bool
    person: bool = False


@dataclass(frozen=True, slots=True)
class Mention:
    """A slot in the question: kind "t", "c" or "v", its number, its grammatical number."""

    kind: str
    slot: int
    plural: bool = False


@dataclass(frozen=True, slots=True)
class JoinNeed:
    """Two table slots of one block, and the keys on the way from one to the other.

    `path` has for each join 1 if it is a reference in that direction, else -1.
    """

    left: int
    right: int
    path: tuple[int, ...]


@dataclass(frozen=True)
class Template:
    """A question with slots and its query over the columns of `origin`."""

    pieces: tuple[str | Mention, ...]
    query: Query
    columns: tuple[int, ...]  # of the original schema, by column slot
    tables: tuple[int, ...]
    column_slots: tuple[ColumnSlot, ...]
    table_slots: tuple[TableSlot, ...]
    value_slots: tuple[ValueSlot, ...]
    joins: tuple[JoinNeed, ...]
    keys: tuple[tuple[int, int], ...]  # (referring, referred) column slots across blocks
    count: int = 1

    @property
    def text(self) -> str:
        """The question with its slots in brackets: what identifies a template."""
        return "".join(
            p if isinstance(p, str) else f"{{{p.kind}{p.slot}{'s' * p.plural}}}"
            for p in self.pieces
        )
