"""From SQL text to Spider's shape of a query, through sqlglot's tree.

Unqualified columns belong to the first table of FROM that has them, then to the
enclosing query, as in Spider's `process_sql.py`. A name in double quotes that
is no column is a string, as SQLite reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from plainsql.evaluation.spider_form import (
    NONE,
    ColumnUnit,
    Condition,
    Conditions,
    Operand,
    Query,
    SelectItem,
    ValueUnit,
)
from plainsql.schema.model import Schema

_AGGREGATES: dict[type[exp.Expr], str] = {
    exp.Max: "max",
    exp.Min: "min",
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Avg: "avg",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Sub: "-",
    exp.Add: "+",
    exp.Mul: "*",
    exp.Div: "/",
}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.Like: "like",
    exp.Is: "is",
    exp.NullSafeEQ: "is",
    exp.NullSafeNEQ: "is",
    exp.Glob: "glob",
}
_SET_OPERATORS: dict[type[exp.Expr], str] = {
    exp.Union: "union",
    exp.Intersect: "intersect",
    exp.Except: "except",
}


@dataclass(frozen=True)
class _Scope:
    """What names mean inside one SELECT."""

    columns: Mapping[str, frozenset[str]]  # lower-case table -> its lower-case columns
    ctes: Mapping[str, exp.Expr] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)  # alias or name -> table
    outputs: tuple[exp.Expr, ...] = ()  # the SELECT list, for aliases and positions
    outer: _Scope | None = None

    def table_with(self, column: str) -> str | None:
        """The first table here, then outside, that has the column."""
        for table in self.tables.values():
            if column in self.columns.get(table, ()):
                return table
        return self.outer.table_with(column) if self.outer else None

    def table_named(self, alias: str) -> str:
        """The table an alias stands for; the alias itself when it is unknown."""
        if alias in self.tables:
            return self.tables[alias]
        return self.outer.table_named(alias) if self.outer else alias


def parse(sql: str, schema: Schema) -> Query | None:
    """The SQL in Spider's shape, or None when sqlglot can't read it as a query."""
    tree = parse_tree(sql)
    return None if tree is None else _query(tree, _root_scope(schema))


def parse_tree(sql: str) -> exp.Query | None:
    """sqlglot's tree of one SQLite query, or None when it is not exactly that."""
    try:
        statements = sqlglot.parse(sql, read="sqlite")
    except (SqlglotError, RecursionError):
        return None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        return None
    return statements[0]


def _root_scope(schema: Schema) -> _Scope:
    columns = {
        table.name.lower(): frozenset(column.name.lower() for column in table.columns)
        for table in schema.tables
    }
    return _Scope(columns)


def _query(tree: exp.Expr, scope: _Scope) -> Query:
    """A SELECT or a chain of set operations, nested to the right as Spider nests it."""
    scope = replace(scope, ctes={**scope.ctes, **_ctes(tree)})
    chain = list(_chain(tree))
    result: Query | None = None
    operator, extras = NONE, frozenset[str]()
    for position, (before, part) in reversed(list(enumerate(chain))):
        last = position == len(chain) - 1
        query = _select(part, tree if last and part is not tree else None, scope)
        all_extras = query.extras | extras
        result = replace(query, set_operator=operator, follower=result, extras=all_extras)
        operator, extras = _operator(before)
    assert result is not None  # a chain has at least one part
    return result


def _operator(node: exp.Expr | None) -> tuple[str, frozenset[str]]:
    if node is None:
        return NONE, frozenset()
    name = _SET_OPERATORS[type(node)]
    keeps_duplicates = node.args.get("distinct") is False
    return name, frozenset({f"{name} all"}) if keeps_duplicates else frozenset()


def _ctes(tree: exp.Expr) -> dict[str, exp.Expr]:
    clause = tree.args.get("with_")
    return {cte.alias.lower(): cte.this for cte in clause.expressions} if clause else {}


def _chain(tree: exp.Expr) -> Iterator[tuple[exp.Expr | None, exp.Expr]]:
    """(the set operation before it, the SELECT), left to right."""
    if type(tree) not in _SET_OPERATORS:
        yield None, _unwrapped(tree)
        return
    yield from _chain(tree.this)
    right = list(_chain(tree.args["expression"]))
    yield tree, right[0][1]
    yield from right[1:]


def _unwrapped(node: exp.Expr) -> exp.Expr:
    while isinstance(node, (exp.Subquery, exp.Paren)):
        node = node.this
    return node


def _select(node: exp.Expr, tail: exp.Expr | None, scope: _Scope) -> Query:
    """One SELECT. `tail` is the set operation whose ORDER BY and LIMIT it takes over."""
    if not isinstance(node, exp.Select):  # VALUES, or a bare table in brackets
        return Query(sources=(node.sql("sqlite"),))
    sources = list(_sources(node))
    scope = _inner_scope(node, sources, scope)
    end = tail or node
    order = end.args.get("order")
    terms = order.expressions if order else []
    limit = end.args.get("limit")
    return Query(
        select=tuple(_select_item(item, scope) for item in node.expressions),
        distinct=node.args.get("distinct") is not None,
        sources=tuple(_source(source, scope) for source, _ in sources),
        joins=_joined([_join_conditions(join, scope) for _, join in sources if join]),
        where=_clause(node.args.get("where"), scope),
        group=tuple(_column_unit(_meant(key, scope), scope) for key in _group_keys(node)),
        having=_clause(node.args.get("having"), scope),
        order=tuple(_value_unit(_meant(term.this, scope), scope) for term in terms),
        directions=tuple(_direction(term) for term in terms),
        limit=limit.expression.sql("sqlite") if limit else None,
        extras=frozenset(_extras(end, [join for _, join in sources if join])),
    )


def _group_keys(node: exp.Select) -> list[exp.Expr]:
    clause = node.args.get("group")
    return clause.expressions if clause else []


def _direction(term: exp.Expr) -> str:
    written = term.args.get("desc")  # None when neither ASC nor DESC was written
    return "" if written is None else "desc" if written else "asc"


def _extras(end: exp.Expr, joins: Sequence[exp.Join]) -> Iterator[str]:
    yield from (f"{join.side.lower()} join" for join in joins if join.side)
    if end.args.get("offset"):
        yield "offset"


def _sources(node: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Join | None]]:
    """(what FROM or a JOIN names, the JOIN), brackets around joins opened."""
    clause = node.args.get("from_")
    entries: list[tuple[exp.Expr, exp.Join | None]] = [(clause.this, None)] if clause else []
    entries += [(join.this, join) for join in node.args.get("joins") or []]
    for source, join in entries:
        if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Table):
            yield source.this, join
            yield from ((inner.this, inner) for inner in source.this.args.get("joins") or [])
        else:
            yield source, join


def _inner_scope(
    node: exp.Select, sources: Sequence[tuple[exp.Expr, exp.Join | None]], outer: _Scope
) -> _Scope:
    tables = {
        source.alias_or_name.lower(): source.name.lower()
        for source, _ in sources
        if isinstance(source, exp.Table)
    }
    return _Scope(outer.columns, outer.ctes, tables, tuple(node.expressions), outer)


def _source(source: exp.Expr, scope: _Scope) -> str | Query:
    """A table's name, or the query that a subquery or a WITH name stands for."""
    if isinstance(source, exp.Table) and source.name.lower() in scope.ctes:
        name = source.name.lower()
        # without itself: a recursive WITH would never end
        others = {key: tree for key, tree in scope.ctes.items() if key != name}
        return _query(scope.ctes[name], replace(scope, ctes=others))
    if isinstance(source, exp.Subquery):
        return _query(_unwrapped(source), scope)
    return source.name.lower() if isinstance(source, exp.Table) else source.sql("sqlite")


def _join_conditions(join: exp.Join, scope: _Scope) -> Conditions:
    if join.args.get("on"):
        return _conditions(join.args["on"], scope)
    columns = [exp.column(name.name) for name in join.args.get("using") or []]
    units = tuple(Condition(_value_unit(c, scope), "=", value=c.name.lower()) for c in columns)
    return Conditions(units, ("and",) * (len(units) - 1))


def _joined(parts: Sequence[Conditions]) -> Conditions:
    units: tuple[Condition, ...] = ()
    connectors: tuple[str, ...] = ()
    for part in parts:
        connectors += ("and",) * bool(units and part.units) + part.connectors
        units += part.units
    return Conditions(units, connectors)


def _clause(clause: exp.Expr | None, scope: _Scope) -> Conditions:
    return _conditions(clause.this, scope) if clause else Conditions()


def _conditions(node: exp.Expr, scope: _Scope) -> Conditions:
    node = _without_brackets(node)
    if isinstance(node, (exp.And, exp.Or)):
        left, right = _conditions(node.this, scope), _conditions(node.expression, scope)
        connectors = (*left.connectors, node.key, *right.connectors)
        return Conditions(left.units + right.units, connectors)
    return Conditions((_condition(node, scope),))


def _without_brackets(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _condition(node: exp.Expr, scope: _Scope) -> Condition:
    if isinstance(node, exp.Not):
        inner = _condition(_without_brackets(node.this), scope)
        return replace(inner, negated=not inner.negated)
    if isinstance(node, exp.Exists):
        return Condition(ValueUnit(ColumnUnit("*")), "exists", value=_operand(node.this, scope))
    if isinstance(node, exp.Between):
        low, high = _operand(node.args["low"], scope), _operand(node.args["high"], scope)
        return Condition(_value_unit(node.this, scope), "between", value=low, value2=high)
    if isinstance(node, exp.In):
        return Condition(_value_unit(node.this, scope), "in", value=_members(node, scope))
    if isinstance(node, exp.Escape):
        return _condition(node.this, scope)
    if type(node) in _COMPARISONS:
        # sqlglot 30 marks NOT LIKE on the node itself, where others are wrapped in Not
        negated = bool(node.args.get("negate")) or isinstance(node, exp.NullSafeNEQ)
        left, value = _value_unit(node.this, scope), _operand(node.expression, scope)
        return Condition(left, _COMPARISONS[type(node)], negated, value)
    return Condition(_opaque_value(node, scope), "true")


def _members(node: exp.In, scope: _Scope) -> Operand:
    if node.args.get("query"):
        return _operand(node.args["query"], scope)
    return ", ".join(sorted(item.sql("sqlite") for item in node.expressions))


def _operand(node: exp.Expr, scope: _Scope) -> Operand:
    inner = _unwrapped(node)
    if isinstance(inner, exp.Query):
        return _query(inner, scope)
    if isinstance(inner, exp.Column) and not _is_string(inner, scope):
        return _column_unit(inner, scope)
    if isinstance(inner, exp.Column):
        return exp.Literal.string(inner.name).sql("sqlite")
    return _text(inner, scope)


def _select_item(item: exp.Expr, scope: _Scope) -> SelectItem:
    unit = _value_unit(item.unalias(), scope)
    if unit.operator != NONE:
        return SelectItem(unit)
    bare = replace(unit, left=replace(unit.left, aggregate=NONE))
    if unit.left.aggregate == NONE:
        return SelectItem(bare)
    argument = _argument(_without_brackets(item.unalias()))
    return SelectItem(
        bare if argument is None or unit.left.distinct else _value_unit(argument, scope),
        unit.left.aggregate,
    )


def _meant(term: exp.Expr, scope: _Scope) -> exp.Expr:
    """The output column that a position or an alias in ORDER BY or GROUP BY names."""
    if isinstance(term, exp.Literal) and not term.is_string and term.name.isdigit():
        position = int(term.name) - 1
        return scope.outputs[position].unalias() if position < len(scope.outputs) else term
    if isinstance(term, exp.Column) and not term.table and not scope.table_with(term.name.lower()):
        for output in scope.outputs:
            if isinstance(output, exp.Alias) and output.alias.lower() == term.name.lower():
                return output.unalias()
    return term


def _value_unit(node: exp.Expr, scope: _Scope) -> ValueUnit:
    node = _without_brackets(node)
    if type(node) not in _ARITHMETIC:
        return ValueUnit(_column_unit(node, scope))
    left, right = _column_unit(node.this, scope), _column_unit(node.expression, scope)
    return ValueUnit(left, _ARITHMETIC[type(node)], right)


def _column_unit(node: exp.Expr, scope: _Scope) -> ColumnUnit:
    node = _without_brackets(node)
    argument = _argument(node) if type(node) in _AGGREGATES else None
    if argument is None:
        return ColumnUnit(_column_name(node, scope))
    distinct = isinstance(node.this, exp.Distinct)
    return ColumnUnit(_column_name(argument, scope), _AGGREGATES[type(node)], distinct)


def _argument(node: exp.Expr) -> exp.Expr | None:
    """What an aggregate is taken of; None for forms with several arguments."""
    inner = node.this
    if isinstance(inner, exp.Distinct):
        return inner.expressions[0] if len(inner.expressions) == 1 else None
    # max(a, b) is SQLite's scalar maximum, no aggregate
    return None if node.expressions else inner


def _column_name(node: exp.Expr, scope: _Scope) -> str:
    node = _without_brackets(node)
    if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and _is_star(node)):
        return "*"
    if isinstance(node, exp.Column):
        return _resolved(node, scope)
    return _text(node, scope)


def _is_star(node: exp.Column) -> bool:
    return isinstance(node.this, exp.Star)


def _resolved(node: exp.Column, scope: _Scope) -> str:
    name = node.name.lower()
    if node.table:
        return f"{scope.table_named(node.table.lower())}.{name}"
    table = scope.table_with(name)
    return f"{table}.{name}" if table else name


def _is_string(node: exp.Column, scope: _Scope) -> bool:
    """SQLite reads "Paris" as a string when there is no such column."""
    quoted = isinstance(node.this, exp.Identifier) and bool(node.this.quoted)
    return quoted and not node.table and scope.table_with(node.name.lower()) is None


def _opaque_value(node: exp.Expr, scope: _Scope) -> ValueUnit:
    return ValueUnit(ColumnUnit(_text(node, scope)))


def _text(node: exp.Expr, scope: _Scope) -> str:
    """An expression as text, its columns by their full lower-case names."""

    def name(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and not _is_star(part):
            return exp.to_identifier(_resolved(part, scope), quoted=False)
        return part

    return node.transform(name).sql("sqlite")
