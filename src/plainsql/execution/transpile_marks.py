"""Whether a text is in an engine's dialect: its words, functions, operators and names.

sqlglot reads nearly everything in every dialect, so that parsing proves little.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from itertools import pairwise

from sqlglot import Token, TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from plainsql.execution.policy import POLICIES
from plainsql.execution.transpile_names import has_names_as_texts, has_strange_names
from plainsql.execution.transpile_types import misfits
from plainsql.schema.model import Schema

# Signs and words that mean nothing to an engine, or something else.
_STRANGE_TOKENS: dict[str, frozenset[str]] = {
    "sqlite": frozenset({"::", "REGEXP", "RLIKE", "~", "INTERVAL"}),
    "duckdb": frozenset({"REGEXP", "RLIKE"}),
    "postgres": frozenset({"==", "REGEXP", "RLIKE", "GLOB"}),
    "mysql": frozenset({"::", "||", "==", "~", "GLOB"}),
}
_MOMENTS = frozenset({exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TIME})
_STRANGE_NODES: dict[str, tuple[type[exp.Expr], ...]] = {
    "sqlite": (exp.ILike, exp.Qualify, exp.Interval, exp.Fetch, exp.RegexpLike),
    "duckdb": (exp.Fetch,),
    "postgres": (exp.Qualify,),
    "mysql": (exp.ILike, exp.Qualify, exp.Filter, exp.Fetch),
}
_NO_DISTINCT_ON = frozenset({"sqlite", "mysql"})
_NO_LIMIT_PAIRS = frozenset({"postgres", "duckdb"})
_LIMIT_FIRST = frozenset({"sqlite", "mysql"})
# Functions of SQLite, and the version that brought them.
_SINCE = {"concat": (3, 44), "concat_ws": (3, 44), "string_agg": (3, 44), "unhex": (3, 41)}
_SINCE |= {"octet_length": (3, 43), "timediff": (3, 43), "median": (3, 51), "if": (3, 48)}
_UNITS = frozenset("year quarter month week day hour minute second".split())
_SHIFT = re.compile(r"[-+]\d+\s+(?:day|month|year|hour|minute|second)s?", re.IGNORECASE)


def misread_in(sql: str, dialect: str, schema: Schema | None) -> bool:
    """Whether reading the text in `dialect` would change what its author meant by it.

    MySQL takes || for OR, names in double quotes for texts, and cuts decimals.
    """
    if dialect != "mysql":
        return False
    tokens = _tokens(sql, dialect)
    strange = any(token.text in ("||", "::") for token in tokens) or _is_null_of_two(tokens)
    return strange or has_names_as_texts(sql, tokens, schema)


def is_at_home(sql: str, tree: exp.Expr, dialect: str, schema: Schema | None) -> bool:
    """Whether an engine of `dialect` knows all that the text is made of."""
    tokens = _tokens(sql, dialect)
    strange = _STRANGE_TOKENS.get(dialect, frozenset())
    if any(token.text.upper() in strange and not _is_quoted(token) for token in tokens):
        return False
    if dialect == "mysql" and _is_null_of_two(tokens):
        return False
    if _has_strange_run(tokens, dialect) or _has_strange_from(tokens, tree, dialect):
        return False
    if any(_is_strange(node, dialect) for node in tree.walk()):
        return False
    if any(not _is_known(name, dialect) for name in _called(tokens, tree)):
        return False
    if any(True for _ in misfits(tree, dialect, schema)):
        return False
    return not has_strange_names(sql, tokens, tree, dialect, schema)


def _tokens(sql: str, dialect: str) -> list[Token]:
    try:
        return Dialect.get_or_raise(dialect).tokenize(sql)
    except SqlglotError:
        return []


def _is_quoted(token: Token) -> bool:
    return token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)


def _has_strange_run(tokens: list[Token], dialect: str) -> bool:
    """Tokens that make no sense one after the other."""
    return any(_is_strange_run(tokens[at : at + 3], dialect) for at in range(len(tokens) - 1))


def _is_strange_run(run: list[Token], dialect: str) -> bool:
    kinds = tuple(token.token_type for token in run)
    words = [token.text.lower() for token in run] + [""]
    if kinds == (TokenType.LIMIT, TokenType.NUMBER, TokenType.COMMA):  # LIMIT 1, 2
        return dialect in _NO_LIMIT_PAIRS
    if kinds == (TokenType.OFFSET, TokenType.NUMBER, TokenType.LIMIT):
        return dialect in _LIMIT_FIRST
    if words[0] == "interval" and kinds[1] is TokenType.STRING:  # INTERVAL '30 days'
        return dialect == "mysql" and words[2] not in _UNITS
    bare_unit = words[1] in _UNITS and kinds[1] is not TokenType.STRING
    return (
        words[0] == "(" and bare_unit and words[2] == "," and dialect != "mysql"
    )  # DATEPART(year,


def _is_null_of_two(tokens: list[Token]) -> bool:
    """Whether ISNULL has two arguments, of which sqlglot drops one when it reads MySQL."""
    depth = -1
    for before, token in pairwise(tokens):
        if depth < 0 and before.text.lower() == "isnull" and token.text == "(":
            depth = 0
        if depth >= 0:
            depth += (token.text == "(") - (token.text == ")")
            if depth == 1 and token.text == ",":
                return True
            depth = depth or -1
    return False


def _has_strange_from(tokens: list[Token], tree: exp.Expr, dialect: str) -> bool:
    """`SUBSTRING(x FROM 1 FOR 3)` in SQLite, and a FROM of nothing elsewhere than in MySQL."""
    if dialect == "sqlite":
        words = sum(token.token_type is TokenType.FROM for token in tokens)
        clauses = (exp.From, exp.NullSafeEQ, exp.NullSafeNEQ)
        if words > len(list(tree.find_all(*clauses))):
            return True
    return dialect != "mysql" and any(t.name.upper() == "DUAL" for t in tree.find_all(exp.Table))


def _is_strange(node: exp.Expr, dialect: str) -> bool:
    if isinstance(node, _STRANGE_NODES.get(dialect, ())):
        return True
    if isinstance(node, exp.Distinct) and node.args.get("on"):
        return dialect in _NO_DISTINCT_ON
    if dialect == "sqlite":
        # a number there: CAST('2024-05-01' AS DATE) is 2024
        return isinstance(node, exp.Cast) and node.to.this in _MOMENTS
    if isinstance(node, exp.Literal) and isinstance(node.parent, exp.Func):
        now = node.name.lower() == "now" and dialect != "postgres"
        return node.is_string and (now or _SHIFT.fullmatch(node.name) is not None)
    return False


def _called(tokens: list[Token], tree: exp.Expr) -> Iterator[str]:
    """Names before "(" that are no keyword, no table of a WITH and no alias with columns."""
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    own |= {alias.name.lower() for alias in tree.find_all(exp.TableAlias)}
    for name, opening in pairwise(tokens):
        is_name = name.text[:1].isalpha() or name.text[:1] == "_"
        if opening.token_type is TokenType.L_PAREN and is_name and not _is_quoted(name):
            called = name.text.lower().split()[-1]  # GROUP BY (…) is one token
            if called not in own:
                yield called


def _is_known(name: str, dialect: str) -> bool:
    policy = POLICIES.get(dialect)
    if policy is None:
        return True
    if dialect == "sqlite" and name in _SINCE:
        return sqlite3.sqlite_version_info >= _SINCE[name]
    known = policy.functions | policy.table_functions | policy.words_before_paren
    return name in known or name in ("by", "on", "as", "distinct")
