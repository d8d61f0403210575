"""How a dialect lets names be written, as terminals of the grammar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from plainsql.logical_form.rules import Rules, rules_of
from plainsql.schema.model import Table
from plainsql.translators.language_model.constrained.terminals import (
    Exact,
    Folded,
    Row,
    Terminal,
    either,
    row,
)

_DOUBLING = frozenset({"sqlite", "duckdb", "postgres"})  # "a""b" is the name a"b


@dataclass(frozen=True)
class Spelling:
    """Names of tables, columns and aliases in one dialect (sqlglot's name of it)."""

    dialect: str

    @cached_property
    def rules(self) -> Rules:
        """What the dialect quotes, and how it folds."""
        return rules_of(self.dialect)

    @property
    def quote(self) -> str:
        """The sign around a quoted name."""
        return "`" if self.dialect == "mysql" else '"'

    def can_write(self, name: str) -> bool:
        """Whether the name can be written at all such that every reader takes it alike."""
        if not name or not name.isprintable():
            return False
        doubling = self.dialect in _DOUBLING
        return doubling or not (self.quote in name or "\\" in name or '"' in name)

    def column(self, name: str) -> Terminal:
        """A column, bare where the dialect needs no quotes, or quoted."""
        return self._name(name, folds=True)

    def table(self, table: Table) -> Terminal:
        """A table as FROM names it: in another schema than the default one after its name."""
        bare = self.qualifier(table)
        return row(self.column(table.namespace), Exact("."), bare) if table.namespace else bare

    def qualifier(self, table: Table) -> Terminal:
        """What stands before the dot of a column where the table has no alias."""
        return self._name(table.bare_name, folds=self._folds_tables)

    def alias(self, name: str) -> Terminal:
        """An alias, never quoted."""
        return Folded(name) if self._folds_tables else Exact(name)

    @property
    def _folds_tables(self) -> bool:
        """MySQL tells the names of tables and aliases apart by case, on most systems."""
        return self.dialect in _DOUBLING

    def quoted(self, name: str) -> str:
        """The name in quotes."""
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote

    def _name(self, name: str, *, folds: bool) -> Terminal:
        quoted = Exact(self.quoted(name))
        if self.rules.quotes(name):
            return quoted
        return either(Folded(name) if folds else Exact(name), quoted)

    def is_free(self, alias: str) -> bool:
        """Whether a word may be an alias without quotes."""
        return not self.rules.quotes(alias)


def qualified(qualifier: Terminal, columns: Terminal) -> Row:
    """`T1.name`."""
    return row(qualifier, Exact("."), columns)
