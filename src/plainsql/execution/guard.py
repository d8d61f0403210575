"""The guard: may exactly this text be run? An allow-list over text, tokens and tree.

    text ─ caps ─▶ scanner's tokens ─ names before "(" ─▶ sqlglot's tokens (must agree)
         ─▶ one tree ─ root, node types, arguments, tables by scope ─▶ Verdict

What isn't listed in `policy` is denied, as is whatever can't be parsed. The
engine is the second, independent layer (see `sqlite`); the limits the third.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plainsql.execution import policy
from plainsql.execution.policy import POLICIES, Policy, fold
from plainsql.execution.scanner import Kind, Refused, Token, check_nesting, scan
from plainsql.records import Verdict

if TYPE_CHECKING:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.expressions import Expr

    from plainsql.schema.model import Schema

Names = frozenset[str]

_ROOTS = frozenset({"Select", "Union", "Except", "Intersect", "Values"})
_SOURCES = frozenset({"Table", "Subquery", "Values"})
_FIRST_WORDS = frozenset({"select", "with", "values"})
# %5d, %.2f, %-10s: a width of four digits or "*" makes one huge value inside
# one step of the engine, where no deadline is looked at.
_FORMAT_ITEM = re.compile(r"%[-+ 0#!,]{0,4}\d{0,3}(?:\.\d{0,3})?l{0,2}[A-Za-z%]")


def judge(
    sql: str,
    *,
    dialect: str = "sqlite",
    schema: Schema | None = None,
    tables: frozenset[str] | None = None,
) -> Verdict:
    """Whether `sql`, unchanged, is one read-only query over permitted tables.

    `tables` names the tables and views that may be read; without it, those of
    `schema`; without both, any table the engine doesn't reserve. `EXPLAIN` and
    `EXPLAIN QUERY PLAN` of an allowed query are allowed. Never raises: what
    can't be judged is denied, with the reason in the verdict.
    """
    text = sql if isinstance(sql, str) else ""
    try:
        _judge(text, _policy(dialect), _readable(schema, tables))
    except Refused as refusal:
        return Verdict(text, False, str(refusal))
    except RecursionError:
        return Verdict(text, False, "nested too deeply")
    except Exception as error:  # fuzzing shows IndexError and others inside the parser
        return Verdict(text, False, f"not understood ({type(error).__name__})")
    return Verdict(text, True)


def _policy(dialect: str) -> Policy:
    if dialect not in POLICIES:
        raise Refused(f"no policy for the dialect {dialect!r}")
    return POLICIES[dialect]


def _readable(schema: Schema | None, tables: frozenset[str] | None) -> Names | None:
    """The folded names that may be read; None: any."""
    if tables is not None:
        return frozenset(map(fold, tables))
    return frozenset(fold(t.name) for t in schema.tables) if schema is not None else None


def _judge(sql: str, rules: Policy, readable: Names | None) -> None:
    """Raise Refused unless every check passes."""
    tokens = _one_statement(scan(sql))
    check_nesting(tokens)
    _check_calls(tokens, rules)
    tree = _parse(sql, tokens, rules)
    _check_tree(tree, rules, readable)


def _one_statement(tokens: list[Token]) -> list[Token]:
    """The tokens of the query itself, without `EXPLAIN` and the last semicolon."""
    if tokens and _is_sign(tokens[-1], ";"):
        tokens = tokens[:-1]
    if any(_is_sign(token, ";") for token in tokens):
        raise Refused("more than one statement")
    words = [token.text for token in tokens[:3] if token.kind is Kind.WORD]
    if words[:3] == ["explain", "query", "plan"]:
        tokens = tokens[3:]
    elif words[:1] == ["explain"]:
        tokens = tokens[1:]
    if not tokens or tokens[0].kind is not Kind.WORD or tokens[0].text not in _FIRST_WORDS:
        raise Refused("not a query: it must begin with SELECT, WITH or VALUES")
    return tokens


def _is_sign(token: Token, sign: str) -> bool:
    return token.kind is Kind.SIGN and token.text == sign


def _check_calls(tokens: list[Token], rules: Policy) -> None:
    """Every name before "(" is a listed function, a word of SQL or a WITH name."""
    for at, (name, opening) in enumerate(pairwise(tokens)):
        if name.kind is Kind.SIGN or not _is_sign(opening, "("):
            continue
        called = fold(name.text)
        if name.kind is Kind.WORD and called in policy.SQL_WORDS_BEFORE_PAREN:
            continue
        if name.kind in (Kind.WORD, Kind.QUOTED) and _may_call(called, tokens, at, rules):
            continue
        raise Refused(f"function {name.text[:60]!r} is not allowed")


def _may_call(called: str, tokens: list[Token], at: int, rules: Policy) -> bool:
    if called in ("printf", "format"):
        return _is_safe_format(tokens[at + 2 : at + 4])
    if called in rules.functions or called in rules.table_functions:
        return True
    return _is_with_name(tokens, at)


def _is_safe_format(arguments: list[Token]) -> bool:
    """The format is one literal whose widths are written out, below 1,000."""
    if len(arguments) < 2 or arguments[0].kind is not Kind.STRING:
        return False
    if not (_is_sign(arguments[1], ",") or _is_sign(arguments[1], ")")):
        return False
    return "%" not in _FORMAT_ITEM.sub("", arguments[0].text)


def _is_with_name(tokens: list[Token], at: int) -> bool:
    """`name (a, b) AS (`: the head of a WITH item, which no call can look like."""
    end = at + 2
    while end < len(tokens) and (
        tokens[end].kind in (Kind.WORD, Kind.QUOTED) or _is_sign(tokens[end], ",")
    ):
        end += 1
    after = [token.text for token in tokens[end : end + 3] if token.kind is not Kind.QUOTED]
    return after[:2] == [")", "as"] and after[2:] in (["("], ["not"], ["materialized"])


@lru_cache(maxsize=8)
def _dialect(name: str) -> Dialect:
    """sqlglot's dialect, reading JSON paths as plain text (parsing them logs warnings)."""
    from sqlglot.dialects.dialect import Dialect

    dialect = Dialect.get_or_raise(name)
    dialect.to_json_path = lambda path: path  # type: ignore[method-assign]
    return dialect


def _parse(sql: str, tokens: list[Token], rules: Policy) -> Expr:
    """The one tree of the query, from tokens both lexers agree on. Raises Refused."""
    from sqlglot.errors import SqlglotError

    dialect = _dialect(rules.dialect)
    first, query = tokens[0].start, sql[tokens[0].start : tokens[-1].end]
    try:
        parsed = dialect.tokenize(query)
        _check_agreement(tokens, [(first + t.start, first + t.end + 1) for t in parsed])
        parser = dialect.parser()
        parser._warn_unsupported = _refuse_command  # type: ignore[method-assign]
        trees = parser.parse(parsed, query)
    except SqlglotError as error:
        raise Refused("not understood as SQL") from error
    if len(trees) != 1 or trees[0] is None:
        raise Refused("more than one statement")
    return trees[0]


def _refuse_command() -> None:
    """Called where sqlglot would log a warning and keep the text as an opaque Command."""
    raise Refused("not a query")


def _check_agreement(tokens: list[Token], spans: list[tuple[int, int]]) -> None:
    """sqlglot's tokens are ours, or whole runs of ours ("GROUP BY", "||"). Raises Refused."""
    at = 0
    for start, end in spans:
        first = at
        while at < len(tokens) and tokens[at].end <= end:
            at += 1
        run = tokens[first:at]
        literal = any(t.kind in (Kind.STRING, Kind.QUOTED, Kind.BLOB) for t in run)
        exact = bool(run) and run[0].start == start and run[-1].end == end
        if not exact or (literal and len(run) > 1):
            raise Refused("two lexers read this text differently")
    if at != len(tokens):
        raise Refused("two lexers read this text differently")


def _check_tree(tree: Expr, rules: Policy, readable: Names | None) -> None:
    """Walk the tree once; each node with the WITH names it can see. Raises Refused."""
    if type(tree).__name__ not in _ROOTS:
        raise Refused(f"a statement of type {type(tree).__name__} is not allowed")
    stack: list[tuple[Expr, Names]] = [(tree, frozenset())]
    while stack:
        node, visible = stack.pop()
        name = type(node).__name__
        _check_node(node, name, rules)
        if name == "Table":
            _check_table(node, visible, rules, readable)
        clause = node.args.get("with_")
        if clause is not None:
            visible, items = _with_scope(clause, visible, rules)
            stack.extend(items)
        stack.extend((child, visible) for child in _children(node) if child is not clause)


def _children(node: Expr) -> Iterator[Any]:
    from sqlglot.expressions import Expr

    for value in node.args.values():
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, Expr):
                yield child


def _with_scope(
    clause: Expr, visible: Names, rules: Policy
) -> tuple[Names, list[tuple[Expr, Names]]]:
    """The names visible below a WITH clause, and its items with what each can see."""
    _check_node(clause, type(clause).__name__, rules)
    names = [fold(item.alias) for item in clause.expressions]
    everything = visible | frozenset(names)
    if rules.forward_ctes:
        return everything, [(item, everything) for item in clause.expressions]
    items = []
    for at, item in enumerate(clause.expressions):
        seen = names[: at + 1] if clause.args.get("recursive") else names[:at]
        items.append((item, visible | frozenset(seen)))
    return everything, items


def _check_node(node: Expr, name: str, rules: Policy) -> None:
    """The node's type, its arguments, and for some types what they hold."""
    if name not in policy.NODES:
        raise Refused(f"{name} is not allowed")
    allowed = policy.NODE_ARGUMENTS.get(name)
    if allowed is not None:
        extra = [key for key, value in node.args.items() if value and key not in allowed]
        if extra:
            raise Refused(f"{name} with {extra[0].strip('_')} is not allowed")
    check = _NODE_CHECKS.get(name)
    if check is not None:
        check(node, rules)


def _check_source(node: Expr, _: Policy) -> None:
    if type(node.this).__name__ not in _SOURCES:
        raise Refused("FROM must name tables or hold queries")


def _check_select(node: Expr, _: Policy) -> None:
    if not node.expressions:
        raise Refused("SELECT without a result column")


def _check_column(node: Expr, rules: Policy) -> None:
    database = fold(node.text("db"))
    if node.args.get("catalog") or (database and database not in rules.databases):
        raise Refused("a column of another database is not allowed")


def _check_anonymous(node: Expr, rules: Policy) -> None:
    in_from = type(node.parent).__name__ == "Table"
    if fold(node.name) not in (rules.table_functions if in_from else rules.functions):
        raise Refused(f"function {node.name[:60]!r} is not allowed")


def _check_trim(node: Expr, _: Policy) -> None:
    """`trim(x, y)` costs len(x) * len(y) inside one step of the engine."""
    characters = node.args.get("expression")
    if characters is not None and type(characters).__name__ != "Literal":
        raise Refused("TRIM takes a literal as its second argument")


_NODE_CHECKS = {
    "From": _check_source,
    "Join": _check_source,
    "Select": _check_select,
    "Column": _check_column,
    "Anonymous": _check_anonymous,
    "Trim": _check_trim,
}


def _check_table(node: Expr, visible: Names, rules: Policy, readable: Names | None) -> None:
    """The table is a WITH name in sight, a table function, or one that may be read."""
    source = type(node.this).__name__
    database = fold(node.text("db"))
    if source == "Anonymous" and not database:
        return  # a table function; its name is checked at its own node
    if source != "Identifier" or (database and database not in rules.databases):
        raise Refused("a table of another database is not allowed")
    name = fold(node.name)
    if name in visible and not database:
        return
    if rules.reserves(name) or (readable is not None and name not in readable):
        raise Refused(f"table {node.name[:60]!r} is not allowed")
