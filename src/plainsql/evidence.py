"""What speaks for or against a query beside its rows: names, cells, the question's words.

Read from the text of a query, for candidates whose translator says nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plainsql.execution.nearest_names import nearest_columns, nearest_tables
from plainsql.linking.index_build import Limits
from plainsql.linking.words import tokenize_question
from plainsql.logical_form.reading import Reading, Sought, read
from plainsql.records import Links, MatchKind, ValueKind
from plainsql.schema.model import Schema
from plainsql.scoring import Signals

if TYPE_CHECKING:
    from plainsql.linking.value_index import ValueIndex

SURE = 0.9  # a cell that matches the question's words so well should be used
NEAREST = 3  # cells named in place of one that isn't there


@dataclass(frozen=True, slots=True)
class Evidence:
    """One question, and the database it is asked of, as far as its reader may know it."""

    schema: Schema
    links: Links
    index: ValueIndex | None = None

    def reading(self, sql: str) -> Reading:
        """What the query reads; nothing where it isn't understood."""
        return read(sql, self.schema) or Reading()

    def signals(self, sql: str) -> Signals:
        """What `scoring` weighs; nothing against a query that isn't understood."""
        found = read(sql, self.schema)
        if found is None:
            return Signals()
        missing = sum(1 for sought in found.sought if self.is_missing(sought))
        return Signals(missing, self._uncovered(found), found.filtered)

    def missing(self, sql: str) -> tuple[Sought, ...]:
        """The texts that the query looks for in columns that have no such cell."""
        return tuple(filter(self.is_missing, self.reading(sql).sought))

    def is_missing(self, sought: Sought) -> bool:
        """Whether the index of values knows all cells of the column, and none is this text."""
        if self.index is None or not self._knows(sought, self.index):
            return False
        return sought.column not in self.index.columns_with(sought.text)

    def _knows(self, sought: Sought, index: ValueIndex) -> bool:
        counted = sought.column < len(index.counts) and index.counts[sought.column] > 0
        return (
            counted
            and sought.column not in index.capped
            and len(sought.text) <= Limits().length  # of longer cells none is indexed
        )

    def nearest(self, sql: str) -> tuple[str, ...]:
        """The real names and cells nearest to those of the query that aren't there."""
        found = self.reading(sql)
        names: list[str] = []
        for name in found.unknown:
            names += nearest_tables(name, (table.name for table in self.schema.tables))
            names += nearest_columns(name, self._columns())
        for sought in filter(self.is_missing, found.sought):
            names += self._cells(sought)
        return tuple(dict.fromkeys(names))

    def _columns(self) -> dict[str, list[str]]:
        return {table.name: [c.name for c in table.columns] for table in self.schema.tables}

    def _cells(self, sought: Sought) -> Iterator[str]:
        """Cells like the text: of its column where there are any, else of whichever has them."""
        if self.index is None:
            return
        like = self.index.lookup(tokenize_question(sought.text))
        own = [cell for cell in like if sought.column in cell.columns]
        for cell in sorted(own or like, key=lambda cell: -cell.score)[:NEAREST]:
            at = sought.column if own else cell.columns[0]
            yield f"{self.name(at)} = '{cell.value}'"
        if not like:
            samples = self.index.samples_of(sought.column, NEAREST)
            yield from (f"{self.name(sought.column)} = '{sample}'" for sample in samples)

    def name(self, column: int) -> str:
        """table.column"""
        found = self.schema.columns[column]
        return f"{found.table}.{found.name}"

    def _uncovered(self, found: Reading) -> float:
        """The share of the names and cells in the question's words that the query leaves out."""
        needed = [*self._named(), *self._meant()]
        left = sum(
            not (found.tables & tables or found.columns & columns or found.literals & texts)
            for tables, columns, texts in needed
        )
        return left / len(needed) if needed else 0.0

    def _named(self) -> Iterator[Needed]:
        """For each run of words that names tables or columns: the ones it may mean."""
        spans: dict[tuple[int, int], tuple[set[int], set[int]]] = {}
        for match in self.links.names:
            if match.kind is MatchKind.EXACT:
                tables, columns = spans.setdefault((match.start, match.end), (set(), set()))
                if match.column is None:
                    tables.add(match.table)
                else:
                    columns.add(match.column)
        for tables, columns in spans.values():
            yield frozenset(tables), frozenset(columns), frozenset()

    def _meant(self) -> Iterator[Needed]:
        """For each run of words that surely is a cell: its texts."""
        spans: dict[tuple[int, int], set[str]] = {}
        for value in self.links.values:
            if value.kind is ValueKind.CELL and value.score >= SURE:
                spans.setdefault((value.start, value.end), set()).add(str(value.value).lower())
        for texts in spans.values():
            yield frozenset(), frozenset(), frozenset(texts)


# Tables, columns and texts, one of which a query should use.
Needed = tuple[frozenset[int], frozenset[int], frozenset[str]]
