"""Columns that are calls: PostgreSQL runs `f(t)` for `t.f`, Oracle `f()` for `f`.

Where the schema is known, each column must be one that its source has: a table
of the schema, a sub-query, a WITH item or a function in FROM.
https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-USAGE
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from plainsql.execution.guard_scope import Scope
from plainsql.execution.guard_tree import Nodes
from plainsql.execution.policies.base import ColumnCalls, Policy, fold, words
from plainsql.execution.scanner import Kind, Refused, Token

Names = frozenset[str]
# Name of a table as the engine compares it -> its columns.
Tables = Mapping[str, Names]

# What functions in FROM and columns without a name are called, and what each table has.
_ALWAYS = words(
    "key value ordinality element case exists array row coalesce column1 column2 column3 column4 "
    "column5 column6 column7 column8 column9 ctid xmin xmax cmin cmax tableoid"
)
# Clauses in which the names of the result's columns can be used.
_AFTER = frozenset({"Order", "Group", "Having", "Qualify"})


class _Columns:
    """The columns that each source of one query has; made once, asked for each column."""

    def __init__(self, nodes: Nodes, tokens: list[Token], rules: Policy, tables: Tables) -> None:
        self.rules, self.tables = rules, tables
        self.known: dict[int, Names] = {}  # of sources, by identity
        self.read: dict[int, list[tuple[str, Any]]] = {}  # sources of queries, by identity
        items = sorted(nodes["CTE"], key=lambda item: item.depth)  # of one name the innermost
        self.items = {self.name(item.args["alias"].this): item for item in items}
        self.made = _ALWAYS | _made_names(tokens, rules)

    def name(self, identifier: Any) -> str:
        quoted = bool(identifier.args.get("quoted"))
        return self.rules.table_name(identifier.name, quoted)

    def of_source(self, source: Any) -> Names:
        """The columns of an item of FROM."""
        known = self.known.get(id(source))
        if known is not None:
            return known
        self.known[id(source)] = _ALWAYS  # for an item that reads itself
        self.known[id(source)] = found = self._named(source) | self._below(source) | _ALWAYS
        return found

    def _named(self, source: Any) -> Names:
        alias = source.args.get("alias")
        given = alias.args.get("columns") or () if alias is not None else ()
        return frozenset(self.name(c if c.key == "identifier" else c.this) for c in given)

    def _below(self, source: Any) -> Names:
        kind = type(source).__name__
        if kind in ("Subquery", "CTE"):
            return self.of_query(source.this)
        if kind == "Table" and type(source.this).__name__ == "Identifier":
            name = self.name(source.this)
            item = None if source.args.get("db") else self.items.get(name)
            listed = self.tables.get(name, frozenset())
            # a WITH item may read itself: its columns are those of its first part
            return listed if item is None else listed | self.of_item(item)
        if kind == "Lateral" and type(source.this).__name__ == "Subquery":
            return self.of_query(source.this.this)
        alias = source.args.get("alias")
        own = {self.name(alias.this)} if alias is not None and alias.this is not None else set()
        return self.made | own

    def of_item(self, item: Any) -> Names:
        given = item.args["alias"].args.get("columns") or ()
        return frozenset(map(self.name, given)) | self.of_query(item.this)

    def of_query(self, query: Any) -> Names:
        """The columns of the result of a query."""
        while type(query).__name__ in ("Union", "Except", "Intersect", "Subquery", "Paren"):
            query = query.this
        if type(query).__name__ != "Select":
            return self.made
        names: set[str] = set()
        for column in query.expressions:
            names |= self._result(column, query)
        return frozenset(names)

    def _result(self, column: Any, query: Any) -> Names:
        kind = type(column).__name__
        if kind == "Star":
            return frozenset().union(*(self.of_source(s) for _, s in self.sources(query)))
        if kind == "Column" and type(column.this).__name__ == "Star":
            found = self.find(column.args["table"], query)
            return frozenset() if found is None else self.of_source(found)
        if kind == "Alias":
            return frozenset({self.name(column.args["alias"])})
        named = column.this if kind == "Column" else None
        while kind in ("Cast", "Paren") and named is None:
            column, kind = column.this, type(column.this).__name__
            named = column.this if kind == "Column" else None
        return frozenset({self.name(named)}) if named is not None else self.made

    def sources(self, query: Any) -> list[tuple[str, Any]]:
        """The items of a query's FROM with their names."""
        known = self.read.get(id(query))
        if known is None:
            known = self.read[id(query)] = list(self._sources(query))
        return known

    def _sources(self, query: Any) -> Iterator[tuple[str, Any]]:
        waiting = [query.args.get("from_"), *(query.args.get("joins") or ())]
        waiting += query.args.get("laterals") or ()
        while waiting:
            clause = waiting.pop()
            if clause is None:
                continue
            source = clause.this if type(clause).__name__ in ("From", "Join") else clause
            waiting += source.args.get("joins") or ()
            alias = source.args.get("alias")
            named = alias.this if alias is not None else None
            if named is None and type(source).__name__ == "Table":
                named = source.this if type(source.this).__name__ == "Identifier" else None
            if type(source).__name__ == "Subquery" and type(source.this).__name__ == "Table":
                waiting.append(source.this)  # FROM (a JOIN b)
            yield (self.name(named) if named is not None else "", source)

    def find(self, qualifier: Any, below: Any) -> Any:
        """The source that the qualifier of a column names, from the inside outwards."""
        name, node = self.name(qualifier), below
        while node is not None:
            if type(node).__name__ == "Select":
                for found, source in self.sources(node):
                    if found == name:
                        return source
            node = node.parent
        return None


def _made_names(tokens: list[Token], rules: Policy) -> set[str]:
    """The names that listed functions and casts in the text give to columns."""
    made = set()
    for sign, after in pairwise(tokens):
        if after.is_sign("(") and sign.kind is Kind.WORD and fold(sign.text) in rules.functions:
            made.add(sign.text)
        elif sign.is_sign(":") and after.kind is Kind.WORD:
            made.add(after.text)
    return made


def check_columns(nodes: Nodes, tokens: list[Token], rules: Policy, scope: Scope) -> None:
    """Raise Refused for a column that its source doesn't have, where that could be a call."""
    if rules.column_calls is ColumnCalls.NONE:
        return
    columns = _Columns(nodes, tokens, rules, scope.columns or {})
    for node in (*nodes["Column"], *nodes["Dot"]):
        if not _is_known(node, columns):
            raise Refused(_unknown(_last(node).name, scope))


def _unknown(name: str, scope: Scope) -> str:
    """What to say of a column that isn't there, with one that the query may name."""
    tables = scope.columns or {}
    if scope.readable is not None:
        tables = {table: tables.get(table, frozenset()) for _, table in scope.readable}
    known = {column for names in tables.values() for column in names}
    known = {column for column in known if fold(column) not in scope.hidden}
    close = get_close_matches(name.lower(), sorted(known)[:5_000], n=1)
    return f"column {name[:60]!r} is not known" + (f", maybe {close[0][:60]!r}" if close else "")


def _last(node: Any) -> Any:
    return node.expression if type(node).__name__ == "Dot" else node.this


def _is_known(node: Any, columns: _Columns) -> bool:
    last = _last(node)
    if type(last).__name__ != "Identifier" or type(node.parent).__name__ == "DataType":
        return True  # a star, a function of the engine, a name of a type
    name = columns.name(last)
    if type(node).__name__ == "Dot":
        base = node.this
        while type(base).__name__ == "Paren":
            base = base.this
        plain = type(base).__name__ == "Column" and not base.args.get("table")
        source = columns.find(base.this, node) if plain else None
        return name in (columns.made if source is None else columns.of_source(source))
    qualifier = node.args.get("table")
    if qualifier is not None:
        source = columns.find(qualifier, node)
        return source is not None and name in columns.of_source(source)
    if columns.rules.column_calls is ColumnCalls.QUALIFIED:
        return True
    return _is_in_sight(node, name, columns)


def _is_in_sight(node: Any, name: str, columns: _Columns) -> bool:
    """Whether a source of an enclosing query, or its result where that counts, has `name`."""
    after = False
    while node is not None:
        kind = type(node).__name__
        after = after or kind in _AFTER
        if kind == "Select":
            if any(name in columns.of_source(source) for _, source in columns.sources(node)):
                return True
            if after and name in columns.of_query(node):
                return True
        elif after and kind in ("Union", "Except", "Intersect"):
            return name in columns.of_query(node)
        node = node.parent
    return False
