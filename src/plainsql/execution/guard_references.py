"""Which tables a query really reads, and which of its columns a policy denies.

One walk over the tree, each node with the WITH names in sight and the sources
of the queries around it. A name in FROM is a table of the database unless it
surely is a WITH name: where in doubt, it is the table, and its rules apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plainsql.errors import UsageError
from plainsql.execution.guard_tree import below
from plainsql.execution.policies.base import Policy, fold
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

    from plainsql.execution.access import Access, TableRule
    from plainsql.schema.model import Schema, Table

Names = frozenset[str]

# Columns that an engine adds to every table. A sub-query has none, and SQLite
# would read the quoted name of one that isn't there as a text.
HIDDEN_COLUMNS: dict[str, Names] = {
    "sqlite": frozenset({"rowid", "oid", "_rowid_"}),
    "duckdb": frozenset({"rowid"}),
    "postgres": frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}),
}
_KNOWN_ARGUMENTS = frozenset({"this", "db", "catalog", "alias", "joins", "laterals"})
_PLACES = frozenset({"From", "Join", "Subquery", "Table"})


@dataclass(frozen=True, slots=True)
class Reference:
    """A table of the database where a query names it, and the rule to apply there."""

    node: Expr
    table: Table
    rule: TableRule

    @property
    def parts(self) -> list[Expr]:
        """The identifiers of the name: of the database, if written, and of the table."""
        return [part for key in ("catalog", "db", "this") if (part := self.node.args.get(key))]


@dataclass(slots=True)
class _Sources:
    """What one SELECT reads: the rules by name in sight, and who offers which column."""

    rules: dict[str, tuple[Table, Names] | None] = field(default_factory=dict)
    offered: set[str] = field(default_factory=set)
    opaque: bool = False  # a source whose columns aren't known here
    titles: set[str] = field(default_factory=set)  # AS names of the result columns


class Tables:
    """The tables of one schema under one policy, as the queries of one dialect name them."""

    def __init__(self, rules: Policy, schema: Schema | None, access: Access) -> None:
        self.rules = rules
        self.dialect = rules.dialect
        self._access = access
        self._schema = schema
        if schema is not None:
            _check_names(access, schema)
        tables = () if schema is None else schema.tables
        self._by_name: dict[str, list[Table]] = {}
        for table in tables:
            self._by_name.setdefault(fold(table.name), []).append(table)

    def with_name(self, identifier: Any) -> str:
        """The name of a WITH item, or of what may refer to one, as the engine compares it."""
        return self.rules.table_name(identifier.name, bool(identifier.args.get("quoted")))

    def found(self, node: Expr) -> Table | None:
        """The table that `node` names. Raises Refused where it may not be read.

        None: a table of the engine's own, or one that no rule can concern.
        """
        name = fold(node.name)
        full = f"{fold(node.text('db'))}.{name}"
        if self._schema is None:
            self._check_unknown(node, name)
            return None
        named = self._by_name.get(full) or self._by_name.get(name, [])
        exact = [table for table in named if table.name in (node.name, full)]
        for table in named:
            if not self._access.may_read(table):
                raise Refused(f"table {node.name[:60]!r} is not allowed")
        if len(named) > 1 and len(exact) != 1:
            raise Refused(f"several tables are called {node.name[:60]!r}")
        if not named:
            return None
        return exact[0] if exact else named[0]

    def rule_of(self, table: Table) -> TableRule | None:
        return self._access.rule_of(table.name)

    def denied_in(self, table: Table, rule: TableRule) -> Names:
        """The column names, folded, that a query may not use of this table."""
        own = {fold(column.name) for column in table.columns}
        return rule.denied | (HIDDEN_COLUMNS.get(self.dialect, frozenset()) - own)

    def _check_unknown(self, node: Expr, name: str) -> None:
        if self._access.has_rules:
            raise Refused("the policy has rules that need the schema of the database")
        if not self._access.lists(name):
            raise Refused(f"table {node.name[:60]!r} is not allowed")


def _check_names(access: Access, schema: Schema) -> None:
    try:
        access.check_names(schema)
    except UsageError as error:
        raise Refused(error.message.rstrip(".")) from error


def references(tree: Expr, tables: Tables) -> list[Reference]:
    """Every place where `tree` reads a table with a rule, in no order. Raises Refused.

    Refused are: a table that may not be read, a denied column by its name, and
    a restricted table where a sub-query can't stand.
    """
    found: list[Reference] = []
    stack: list[_Step] = [_Step(tree, frozenset(), (), False)]
    while stack:
        step = stack.pop()
        kind = type(step.node).__name__
        if kind == "Table":
            found += _reference(step, tables)
        elif kind == "Column":
            _check_column(step)
        elif kind == "Join":
            _check_using(step)
        stack += _below(step, kind, tables)
    return found


@dataclass(frozen=True, slots=True)
class _Step:
    node: Expr
    visible: Names  # WITH names
    scopes: tuple[_Sources, ...]  # of the SELECTs around, the innermost last
    projected: bool  # below a result column of the innermost SELECT


def _below(step: _Step, kind: str, tables: Tables) -> Iterator[_Step]:
    """The children, with what each can see."""
    steps = below(step.node, step.visible, tables.rules)
    if kind != "Select":
        return (_Step(child, seen, step.scopes, step.projected) for child, seen in steps)
    visible = next((seen for child, seen in steps if child.parent is step.node), step.visible)
    scopes = (*step.scopes, _sources(step.node, visible, tables))
    results = {id(item) for item in step.node.expressions}
    clause = step.node.args.get("with_")
    return (
        _Step(child, seen, scopes, id(child) in results)
        if child.parent is step.node
        else _Step(child, seen, step.scopes, False)
        for child, seen in steps
        if child is not clause
    )


def _is_table(node: Expr, visible: Names, tables: Tables) -> bool:
    """Whether a Table node names a table of the database: no function, no WITH item."""
    if type(node.this).__name__ != "Identifier":
        return False
    return bool(node.args.get("db")) or tables.with_name(node.this) not in visible


def _reference(step: _Step, tables: Tables) -> Iterator[Reference]:
    node = step.node
    if not _is_table(node, step.visible, tables):
        return
    table = tables.found(node)
    rule = tables.rule_of(table) if table is not None else None
    if table is None or rule is None:
        return
    extra = [key for key, value in node.args.items() if value and key not in _KNOWN_ARGUMENTS]
    place = type(node.parent).__name__
    if extra or place not in _PLACES:
        what = extra[0].strip("_") if extra else place.lower()
        raise Refused(f"{what} of {table.name!r}, a table with rules, is not allowed")
    yield Reference(node, table, rule)


# Denied columns: a clear word where a query names one. That they can't be read
# doesn't depend on it; the sub-query that stands for the table lacks them.


def _sources(select: Expr, visible: Names, tables: Tables) -> _Sources:
    sources = _Sources()
    for item in select.expressions:
        if type(item).__name__ == "Alias":
            sources.titles.add(fold(item.alias))
    waiting = [select.args.get("from_"), *(select.args.get("joins") or ())]
    waiting += select.args.get("laterals") or ()
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        kind = type(node).__name__
        inner = node.this if kind in ("From", "Join") else None
        if inner is not None:
            waiting.append(inner)
        elif kind == "Table" and _is_table(node, visible, tables):
            _add_table(sources, node, tables)
        elif kind == "Subquery" and type(node.this).__name__ in ("Table", "Subquery"):
            waiting.append(node.this)
        else:
            sources.opaque = True
            if name := fold(node.alias_or_name):
                sources.rules[name] = None
        waiting += node.args.get("joins") or ()
    return sources


def _add_table(sources: _Sources, node: Expr, tables: Tables) -> None:
    table = tables.found(node)
    rule = tables.rule_of(table) if table is not None else None
    denied = tables.denied_in(table, rule) if table is not None and rule is not None else None
    name = fold(node.alias_or_name)
    if table is None:
        sources.opaque = True
        sources.rules[name] = None
        return
    sources.rules[name] = (table, denied) if denied is not None else None
    own = {fold(column.name) for column in table.columns}
    if denied is None:
        own |= HIDDEN_COLUMNS.get(tables.dialect, frozenset())
    sources.offered |= own - (denied or frozenset())


def _check_column(step: _Step) -> None:
    """Raise Refused where a Column node names a denied column."""
    names = [fold(part.name) for part in step.node.parts]  # type: ignore[attr-defined]
    if len(names) == 1:
        _check_bare(names[0], step)
    for qualifier, name in pairwise(names):
        for sources in reversed(step.scopes):
            if qualifier in sources.rules:
                _refuse(name, sources.rules[qualifier])
                break


def _check_bare(name: str, step: _Step) -> None:
    """A column without qualifier belongs to the innermost query that offers it."""
    for depth, sources in enumerate(reversed(step.scopes)):
        titled = name in sources.titles and not (depth == 0 and step.projected)
        if titled or name in sources.offered or sources.opaque:
            return
        for rule in sources.rules.values():
            _refuse(name, rule)


def _check_using(step: _Step) -> None:
    for identifier in step.node.args.get("using") or ():
        for rule in step.scopes[-1].rules.values() if step.scopes else ():
            _refuse(fold(identifier.name), rule)


def _refuse(name: str, rule: tuple[Table, Mapping[str, Any] | Names] | None) -> None:
    if rule is not None and name in rule[1]:
        raise Refused(f"column {rule[0].name}.{name} is not allowed")
