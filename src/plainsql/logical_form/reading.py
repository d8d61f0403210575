"""What a statement reads, as far as its names tell: tables, columns, the texts it looks for.

Unlike `from_sql` this takes any SELECT, whoever wrote it, and passes over what it can't
resolve. It judges nothing: that is the guard's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from plainsql.schema.model import Schema

# Others are not parsed: sqlglot would write them to its log, values and all.
_QUERY = re.compile(r"[\s(]*(select|with)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sought:
    """A text that a column must equal for a row to count."""

    column: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Names as positions in the schema; `unknown` are those it lacks, as they are written.

    `literals` are the texts and numbers anywhere in the statement, in lower case;
    `filtered` says that it leaves rows out.
    """

    tables: frozenset[int] = frozenset()
    columns: frozenset[int] = frozenset()
    unknown: tuple[str, ...] = ()
    sought: tuple[Sought, ...] = ()
    literals: frozenset[str] = frozenset()
    filtered: bool = False


@lru_cache(maxsize=256)
def read(sql: str, schema: Schema) -> Reading | None:
    """What `sql`, in the dialect of `schema`, reads; None where it isn't understood."""
    if not _QUERY.match(sql):
        return None
    try:
        tree = sqlglot.parse_one(sql, read=schema.dialect)
        return _Reader(schema).read(tree)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None


@dataclass(slots=True)
class _Reader:
    schema: Schema
    tables: set[int] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    # Columns by the identity of their nodes. -1: known, and of no table (an alias, say).
    found: dict[int, int] = field(default_factory=dict)

    def read(self, tree: exp.Expr) -> Reading:
        """The scopes come from the inside outwards: what an inner one lacks, an outer may have."""
        for scope in traverse_scope(tree):
            self._sources(scope)
            for column in scope.columns:
                if id(column) not in self.found and (at := self._column(column, scope)) is not None:
                    self.found[id(column)] = at
        literals = [
            node for node in tree.find_all(exp.Literal, exp.Column) if self._is_literal(node)
        ]
        return Reading(
            frozenset(self.tables),
            frozenset(at for at in self.found.values() if at >= 0),
            tuple(dict.fromkeys([*self.unknown, *self._missing(tree)])),
            tuple(dict.fromkeys(self._sought(tree))),
            frozenset(node.name.lower() for node in literals),
            tree.find(exp.Where, exp.Having) is not None,
        )

    def _missing(self, tree: exp.Expr) -> Iterator[str]:
        titles = {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
        for node in tree.find_all(exp.Column):
            known = id(node) in self.found or isinstance(node.this, exp.Star)
            if not known and not self._is_literal(node) and node.name.lower() not in titles:
                yield node.name

    def _is_literal(self, node: exp.Expr | None) -> bool:
        """Whether it is a text or number; SQLite takes "Lyon" for one where no column is called so.

        https://www.sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
        """
        if isinstance(node, exp.Literal):
            return True
        lax = self.schema.dialect == "sqlite" and isinstance(node, exp.Column)
        quoted = (
            lax and node is not None and node.this.args.get("quoted") and not node.text("table")
        )
        return bool(quoted) and id(node) not in self.found

    def _sources(self, scope: Scope) -> None:
        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                table = self._table(source)
                if table is None:
                    self.unknown.append(source.name)
                else:
                    self.tables.add(table)

    def _table(self, node: exp.Table) -> int | None:
        for name in (f"{node.db}.{node.name}", node.name):
            try:
                return self.schema.table_index(name)
            except KeyError:
                continue
        return None

    def _column(self, node: exp.Column, scope: Scope) -> int | None:
        """The column index; -1 for one that isn't a table's; None where `scope` lacks it."""
        wanted = node.table.lower()
        for alias, source in scope.sources.items():
            if wanted and alias.lower() != wanted:
                continue
            if (at := self._of_source(node.name.lower(), source)) is not None:
                return at
        return None

    def _of_source(self, name: str, source: exp.Expr | Scope) -> int | None:
        if isinstance(source, Scope):
            selected = source.expression.selects if isinstance(source.expression, exp.Query) else []
            titles = [item.alias_or_name.lower() for item in selected] or ["*"]
            return -1 if name in titles or "*" in titles else None
        table = self._table(source) if isinstance(source, exp.Table) else None
        if table is None:
            return -1  # of a table or function that isn't known, anything may be a column
        columns = self.schema.columns_of(table)
        return next((i for i in columns if self.schema.columns[i].name.lower() == name), None)

    def _sought(self, tree: exp.Expr) -> Iterator[Sought]:
        for node in tree.find_all(exp.EQ, exp.In):
            sides = [node.this, *node.expressions, node.args.get("expression")]
            at = next((self.found[id(s)] for s in sides if id(s) in self.found), -1)
            if at >= 0 and not isinstance(node.parent, exp.Not):
                yield from (
                    Sought(at, side.name)
                    for side in sides
                    if self._is_literal(side) and not side.is_number
                )
