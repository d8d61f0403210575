"""The rules of columns and of FROM, for scopes that are still possible.

What stands before FROM may leave several scopes open. `Sources.rules_for` writes
one set of rules for all of them: their columns, and the tables that may come next
in FROM after those that are there. With one scope that is all of its FROM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from plainsql.schema.graph import JoinEdge
from plainsql.translators.language_model.constrained.rules import Rules
from plainsql.translators.language_model.constrained.scopes import Naming, Scope, Source
from plainsql.translators.language_model.constrained.spelling import qualified
from plainsql.translators.language_model.constrained.terminals import (
    Exact,
    Folded,
    Terminal,
    either,
    maybe,
    row,
)
from plainsql.translators.language_model.constrained.words import GAP


class Sources:
    """Adds to `rules` what depends on tables: c@ columns, star@ stars, f@ tables of FROM."""

    def __init__(self, naming: Naming, rules: Rules) -> None:
        self.naming = naming
        self.spelling = naming.spelling
        self.rules = rules

    def columns(self, number: str, scopes: Sequence[Scope]) -> None:
        """Columns of any of `scopes`."""
        sources = _sources(scopes)
        names = [self._qualified(source) for source in sources]
        names += self._bare({frozenset(scope.tables) for scope in scopes})
        self.rules.add(f"c@{number}", *names)
        self.rules.add(f"star@{number}", *dict.fromkeys(map(self._star, sources)))

    def closed(self, number: str, scope: Scope) -> None:
        """FROM of one scope, in any order that it leaves open."""
        self.rules.add(f"f@{number}", self._tables(scope.tables, scope))

    def open(self, number: str, scopes: Sequence[Scope], before: Sequence[Source]) -> None:
        """FROM that begins with the sources `before` and goes on to one of `scopes`.

        What follows the next table is left open: by then it is known.
        """
        further = [s for scope in scopes for s in self._following(scope, before)]
        after = f"JOIN ({self._any(further)}) ON ({self._any(further, self._qualified)})"
        if before:
            head = " ".join(self._joined(before, at) for at in range(len(before)))
            done = any(len(scope.tables) == len(before) for scope in scopes)
            ways = [head] * done + [f"{head} {after}"] * bool(further)
        else:
            alone = [_source(one, one.tables[0]) for one in scopes if len(one.tables) == 1]
            joined = [s for one in scopes if len(one.tables) > 1 for s in _firsts(one)]
            ways = [self._any(alone)] if alone else []
            ways += [f"({self._any(joined)}) {after}"] if joined else []
        self.rules.add(f"f@{number}", *ways)

    def _any(self, sources: Iterable[Source], write: Callable[[Source], str] | None = None) -> str:
        return " | ".join(map(write or self._source, dict.fromkeys(sources)))

    def _following(self, scope: Scope, before: Sequence[Source]) -> list[Source]:
        """What may come in FROM after `before`, or after any first table."""
        there = {table for table, _ in before}
        if scope.ordered:
            at = max(len(before), 1)
            rest = scope.tables[at : at + 1]
        elif there:
            near = {other for table in there for other in self.naming.neighbours(table)}
            rest = tuple(t for t in scope.tables if t in near - there)
        else:
            rest = scope.tables if len(scope.tables) > 1 else ()
        return [_source(scope, table) for table in rest]

    def _joined(self, before: Sequence[Source], at: int) -> str:
        """The source at a place of FROM, with its JOIN and ON."""
        source = self._source(before[at])
        if at == 0:
            return source
        return f"JOIN {source} ON ({self._condition(before[at], before[:at])})"

    # --- columns -------------------------------------------------------------------

    def _qualifier(self, source: Source) -> Terminal:
        table, name = source
        own = self.naming.schema.tables[table]
        return self.spelling.alias(name) if name else self.spelling.qualifier(own)

    def _qualified(self, source: Source) -> str:
        table, name = source
        columns = either(*map(self.spelling.column, self.naming.columns[table]))
        terminal = qualified(self._qualifier(source), columns)
        return self.rules.terminal(f"Q{name.upper() or 'OWN'}T{table}", terminal)

    def _star(self, source: Source) -> str:
        table, name = source
        star = qualified(self._qualifier(source), Exact("*"))
        return self.rules.terminal(f"STAR{name.upper() or f'OWN{table}'}", star)

    def _bare(self, sets: Iterable[frozenset[int]]) -> list[str]:
        """A terminal of all columns that need no qualifier in one of the sets of tables."""
        bare = (
            name for tables in sorted(sets, key=sorted) for name in self.naming.bare_columns(tables)
        )
        names = tuple(dict.fromkeys(bare))
        if not names:
            return []
        number = self.naming.bare_numbers.setdefault(names, len(self.naming.bare_numbers))
        return [self.rules.terminal(f"BARE{number}", either(*map(self.spelling.column, names)))]

    # --- tables --------------------------------------------------------------------

    def _tables(self, tables: Sequence[int], scope: Scope) -> str:
        """FROM over `tables`, some of the scope's: the name of its rule."""
        tables = tables if scope.ordered else sorted(tables)
        key = _key(tables, scope)
        if key in self.rules.plain:
            return key
        ways = [self._source(_source(scope, tables[0]))] if len(tables) == 1 else []
        for table in () if ways else tables[-1:] if scope.ordered else tables:
            rest = [other for other in tables if other != table]
            before = [_source(scope, other) for other in rest]
            condition = self._condition(_source(scope, table), before)
            if condition and (scope.ordered or self._connected(rest)):
                source = self._source(_source(scope, table))
                ways.append(f"{self._tables(rest, scope)} JOIN {source} ON ({condition})")
        self.rules.add(key, *ways)
        return key

    def _connected(self, tables: Sequence[int]) -> bool:
        reached, pending = {tables[0]}, [tables[0]]
        while pending:
            near = (self.naming.neighbours(pending.pop()) & set(tables)) - reached
            reached |= near
            pending += near
        return len(reached) == len(tables)

    def _source(self, source: Source) -> str:
        table, name = source
        spelled = self.spelling.table(self.naming.schema.tables[table])
        terminal = self.rules.terminal(f"T{table}", spelled)
        if not name:
            return terminal
        alias = row(GAP, maybe(row(Folded("as"), GAP)), self.spelling.alias(name))
        return f"{terminal} {self.rules.terminal(f'AS{name.upper()}', alias)}"

    def _condition(self, source: Source, before: Iterable[Source]) -> str:
        """What ON may say of a source and those before it."""
        ways = [
            self._pairs(edge, other, source)
            for other in before
            for edge in self.naming.edges(other[0], source[0])
        ]
        return " | ".join(ways)

    def _pairs(self, edge: JoinEdge, left: Source, right: Source) -> str:
        """`a.x = b.y AND ...`, each pair either way round."""
        parts = []
        for one, other in edge.pairs:
            first, second = self._key_column(one, left), self._key_column(other, right)
            parts.append(f"({first} EQUALS {second} | {second} EQUALS {first})")
        return " AND ".join(parts)

    def _key_column(self, column: int, source: Source) -> str:
        spelled = self.spelling.column(self.naming.schema.columns[column].name)
        terminal = qualified(self._qualifier(source), spelled)
        return self.rules.terminal(f"K{source[1].upper() or 'OWN'}C{column}", terminal)


def _source(scope: Scope, table: int) -> Source:
    return table, scope.name_of(table)


def _firsts(scope: Scope) -> list[Source]:
    """The tables that FROM may begin with."""
    tables = scope.tables[:1] if scope.ordered else scope.tables
    return [_source(scope, table) for table in tables]


def _sources(scopes: Iterable[Scope]) -> list[Source]:
    found = (pair for scope in scopes for pair in zip(scope.tables, scope.names, strict=True))
    return list(dict.fromkeys(found))


def _key(tables: Sequence[int], scope: Scope) -> str:
    """The name of the rule of FROM over these tables with the names they have in the scope."""
    style = "n" if scope.ordered else ("s" if any(scope.names) else "o")
    return f"from{style}" + "y".join(f"{table}{scope.name_of(table).lower()}" for table in tables)
