"""Column and row rules, applied to a query: each restricted table becomes a sub-query.

    SELECT u.email FROM users AS u
    SELECT u.email FROM (SELECT t."id", '***' AS "email" FROM users AS t
                         WHERE (region = 'EU') OFFSET 0) AS u

The tree says where the tables stand; the text is changed there and nowhere else
(rendering a whole tree anew can change what it means). The result is judged
again, and every read of a restricted table in it must be one of these sub-queries.

note: without the fence at its end (OFFSET 0, a LIMIT of all rows) an engine may
test the query's own conditions on rows that the rule hides, and an error message
("can't convert 's3cret' to a number") would show them. PostgreSQL solves this for
views by security_barrier (https://www.postgresql.org/docs/current/rules-privileges.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from plainsql.execution.guard_references import HIDDEN_COLUMNS, Reference, Tables, references
from plainsql.execution.policies.base import Policy, fold
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

    from plainsql.execution.access import Access, Mask, TableRule
    from plainsql.schema.model import Schema, Table

ALIAS = "t"  # of the table inside its sub-query
FENCES = {
    "sqlite": "LIMIT 9223372036854775807",
    "duckdb": "OFFSET 0",
    "postgres": "OFFSET 0",
    "mysql": "LIMIT 18446744073709551615",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` is put in place of the characters `start:end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Template:
    """The sub-query that stands for a table: `before`, the table's name, `after`."""

    before: str
    after: str


def rewrite(
    query: str,
    tree: Expr,
    *,
    rules: Policy,
    schema: Schema | None,
    access: Access,
) -> str:
    """`query`, whose tree is `tree`, under the rules of `access`.

    Unchanged where no rule concerns it. Raises Refused where a table or column
    may not be read, or stands where a sub-query can't.
    """
    found = references(tree, Tables(rules, schema, access))
    edits = [_edit(reference, query, rules.dialect) for reference in found]
    edits += _unqualified(query, tree, found)
    return _applied(query, edits)


def check_rewritten(
    query: str,
    tree: Expr,
    *,
    rules: Policy,
    schema: Schema | None,
    access: Access,
) -> None:
    """Raise Refused unless each restricted table in a rewritten query is read by its rule.

    A second look at the text that will run: if the parser understood the changed
    text in another way than the first one, a read without the rule shows here.
    """
    for reference in references(tree, _Permissive(rules, schema, access)):
        start, end = _span(query, reference.parts)
        template = _template(reference.table, reference.rule, rules.dialect)
        before = query[max(0, start - len(template.before)) : start]
        after = query[end : end + len(template.after)]
        if (before, after) != (template.before, template.after):
            raise Refused(f"the rule of table {reference.table.name!r} can't be applied here")


class _Permissive(Tables):
    """The same tables, without denied columns: a rule's own condition may name them."""

    def denied_in(self, table: Table, rule: TableRule) -> frozenset[str]:
        return frozenset()


def check_condition(
    condition: str, table: Table, dialect: str, functions: frozenset[str] = frozenset()
) -> None:
    """Raise Refused unless `condition` is one harmless condition over `table`'s columns."""
    from plainsql.execution.access import Access
    from plainsql.execution.guard import judge

    _condition(condition, table, dialect)
    sql = f"SELECT 1 FROM {ALIAS} WHERE ({condition}\n)"
    verdict = judge(sql, dialect=dialect, access=Access(functions=functions))
    if not verdict.allowed:
        raise Refused(verdict.reason)


def _edit(reference: Reference, query: str, dialect: str) -> Edit:
    start, end = _span(query, reference.parts)
    if query[:start].rstrip().lower().endswith("table"):
        raise Refused(f"TABLE {reference.table.name} is not allowed; write SELECT * FROM")
    template = _template(reference.table, reference.rule, dialect)
    own = reference.parts[-1]
    alias = "" if reference.node.args.get("alias") else f" AS {_text(query, own)}"
    return Edit(start, end, f"{template.before}{query[start:end]}{template.after}{alias}")


def _applied(query: str, edits: Sequence[Edit]) -> str:
    """The edits from the last to the first, so that positions stay true."""
    last = len(query)
    for edit in sorted(edits, key=lambda edit: -edit.start):
        if edit.end > last:
            raise Refused("the rules of the policy can't be applied here")
        query = query[: edit.start] + edit.text + query[edit.end :]
        last = edit.start
    return query


def _span(query: str, parts: Sequence[Expr]) -> tuple[int, int]:
    """Where a name stands in the text. Raises Refused where the text doesn't agree."""
    for part in parts:
        _text(query, part)
    return parts[0].meta["start"], parts[-1].meta["end"] + 1


def _text(query: str, identifier: Expr) -> str:
    """An identifier as it is written."""
    start, end = identifier.meta.get("start"), identifier.meta.get("end")
    text = query[start : end + 1] if start is not None and end is not None else ""
    bare = text[1:-1].replace(text[0] * 2, text[0]) if text[:1] in ('"', "`", "[", "'") else text
    if not text or bare != identifier.name:
        raise Refused("the rules of the policy can't be applied here")
    return text


def _unqualified(query: str, tree: Expr, found: Sequence[Reference]) -> list[Edit]:
    """`main.users.name` as `users.name`: a sub-query has no database before its name."""
    from sqlglot.expressions import Column

    names = {fold(r.node.name) for r in found if not r.node.args.get("alias")}
    edits = []
    for column in tree.find_all(Column) if names else ():
        table, database = column.args.get("table"), column.args.get("db")
        if table is None or database is None or fold(table.name) not in names:
            continue
        _check_alone(tree, fold(table.name))
        first = column.args.get("catalog") or database
        _text(query, first)
        _text(query, table)
        edits.append(Edit(first.meta["start"], table.meta["start"], ""))
    return edits


def _check_alone(tree: Expr, name: str) -> None:
    """Without its database the name must still mean one thing. Raises Refused."""
    from sqlglot.expressions import CTE, Subquery, Table

    if any(fold(node.alias) == name for node in tree.find_all(CTE, Subquery, Table)):
        raise Refused(f"{name!r} has two meanings here: give one of them another alias")


# The sub-query of a table


def _template(table: Table, rule: TableRule, dialect: str) -> _Template:
    columns = "*"
    if rule.denied or rule.masked:
        columns = ", ".join(_columns(table, rule, dialect))
        if not columns:
            raise Refused(f"no column of {table.name} is allowed")
    after = f" AS {ALIAS}"
    if rule.rows:
        if dialect not in FENCES:
            raise Refused(f"rules for rows are not applied in the dialect {dialect}")
        after += f" WHERE ({_condition(rule.rows, table, dialect)}) {FENCES[dialect]}"
    return _Template(f"(SELECT {columns} FROM ", f"{after})")


def _columns(table: Table, rule: TableRule, dialect: str) -> list[str]:
    shown = []
    for column in table.columns:
        folded, name = fold(column.name), _quoted(column.name, dialect)
        if folded in rule.masked:
            mask = _mask(rule.masked[folded], f"{ALIAS}.{name}", column.declared_type, dialect)
            shown.append(f"{mask} AS {name}")
        elif folded not in rule.denied:
            # With its table, or SQLite would read the name of a column that is gone as a text.
            shown.append(f"{ALIAS}.{name}")
    return shown


def _mask(mask: Mask, column: str, declared: str, dialect: str) -> str:
    """The constant, of the column's type where the engine looks at it."""
    from sqlglot.expressions import convert

    if mask is None:
        return f"CASE WHEN 1 = 0 THEN {column} END"
    literal = convert(mask).sql(dialect)
    if dialect == "sqlite" and not isinstance(mask, bool):
        # A column compares by its affinity, a literal has none; a CAST has.
        return f"CAST({literal} AS {_affinity(declared, mask)})"
    return literal


def _affinity(declared: str, mask: Mask) -> str:
    """SQLite's rules, https://www.sqlite.org/datatype3.html#determination_of_column_affinity."""
    kind = declared.upper()
    if isinstance(mask, str):
        return "TEXT"
    if "INT" in kind:
        return "INTEGER" if isinstance(mask, int) else "NUMERIC"
    return "REAL" if any(word in kind for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def _quoted(name: str, dialect: str) -> str:
    from sqlglot.expressions import to_identifier

    return str(to_identifier(name, quoted=True).sql(dialect))


@lru_cache(maxsize=256)
def _condition(condition: str, table: Table, dialect: str) -> str:
    """The condition with its columns written as columns of the sub-query's table."""
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.errors import SqlglotError

    head = f"SELECT 1 FROM {ALIAS} WHERE ("
    query = f"{head}{condition}\n)"
    try:
        trees = Dialect.get_or_raise(dialect).parse(query)
    except (SqlglotError, RecursionError) as error:
        raise Refused("it can't be read as SQL") from error
    tree = trees[0] if len(trees) == 1 else None
    if tree is None or not _is_one_condition(tree):
        raise Refused("it is not one condition")
    edits = _condition_edits(query, tree, table, dialect)
    changed = _applied(query, edits)[len(head) : -1].rstrip("\n")
    return changed + "\n" if "--" in changed or "#" in changed else changed


def _is_one_condition(tree: Expr) -> bool:
    """Whether the tree is `SELECT 1 FROM t WHERE (…)` with nothing beside or below."""
    from sqlglot.expressions import Query, Table

    where = tree.args.get("where")
    used = {key for key, value in tree.args.items() if value}
    if type(tree).__name__ != "Select" or used != {"expressions", "from_", "where"}:
        return False
    if where is None or type(where.this).__name__ != "Paren":
        return False
    if type(where.this.this).__name__ in ("Alias", "Star", "Tuple"):
        return False
    queries, tables = list(tree.find_all(Query)), list(tree.find_all(Table))
    return len(queries) == 1 and len(tables) == 1 and not list(where.find_all(Table))


def _condition_edits(query: str, tree: Expr, table: Table, dialect: str) -> list[Edit]:
    from sqlglot.expressions import Column

    own = {fold(column.name): column.name for column in table.columns}
    own |= {name: "" for name in HIDDEN_COLUMNS.get(dialect, ()) if name not in own}
    edits = []
    for column in tree.args["where"].find_all(Column):
        name, parts = fold(column.name), column.parts
        qualifier = ".".join(fold(part.name) for part in parts[:-1])
        if name not in own or (qualifier and qualifier not in (fold(table.name), _bare(table))):
            raise Refused(f"{column.sql(dialect)[:60]} is no column of {table.name}")
        start, end = _span(query, parts)
        written = _quoted(own[name], dialect) if own[name] else column.name
        edits.append(Edit(start, end, f"{ALIAS}.{written}"))
    return edits


def _bare(table: Table) -> str:
    return fold(getattr(table, "bare_name", table.name))
