"""Whether sqlglot read everything that the text says, and read it as the engine does.

Its parser skips what it can't use: the comma in `FROM a, fetch` (a table called
"fetch" for SQLite), the arguments of a function that it knows to take none
(`uuid((SELECT ...))`), whatever follows VALUES without a bracket. Each SELECT,
FROM and JOIN of the text must therefore be in the tree.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plainsql.execution.scanner import Kind, Refused, Token

if TYPE_CHECKING:
    from sqlglot.expressions import Expr
    from sqlglot.tokenizer_core import Token as ParserToken

# Functions whose arguments are separated by FROM.
_WITH_FROM = frozenset(
    {"extract", "substring", "substr", "mid", "trim", "ltrim", "rtrim", "overlay", "position"}
)


def check_commas(tokens: list[ParserToken], parser: type[Any]) -> None:
    """Refuse a comma before a clause: for the engine the word is a name. Raises Refused."""
    from sqlglot.tokenizer_core import TokenType as T

    for comma, word in pairwise(tokens):
        if comma.token_type is T.COMMA and word.token_type in parser.QUERY_MODIFIER_PARSERS:
            raise Refused(f"{word.text[:60]!r} after a comma is not allowed without quotes")


def check_reading(tree: Expr, tokens: list[Token]) -> None:
    """Refuse a tree in which a part of the text is missing. Raises Refused."""
    selects, froms, joins, values = _written(tokens)
    found = {"Select": 0, "From": 0, "Join": 0}
    for node in tree.walk():
        name = type(node).__name__
        if name in found:
            found[name] += 1
    # VALUES beside UNION becomes SELECT * FROM (VALUES ...)
    whole = froms <= found["From"] <= froms + values
    if not whole or found["Select"] < selects or found["Join"] < joins:
        raise Refused("a part of the text was not understood")


def _written(tokens: list[Token]) -> tuple[int, int, int, int]:
    """How many SELECT, FROM (or TABLE), JOIN and VALUES the text has. Raises Refused."""
    selects = froms = joins = values = 0
    heads: list[str] = []  # the words before the brackets that are open
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        if token.is_sign("("):
            named = before is not None and before.kind is Kind.WORD
            heads.append(before.text if named and before is not None else "")
        elif token.is_sign(")") and heads:
            heads.pop()
        if token.kind is not Kind.WORD or (before is not None and before.is_sign(".")):
            continue
        word = token.text
        if word == "values":
            _check_values(tokens, at)
            values += 1
        selects += word == "select"
        joins += word in ("join", "straight_join")
        froms += word == "from" and _is_clause(before, heads)
        froms += word == "table" and not _is_described(before)
    return selects, froms, joins - _hints(tokens), values


def _is_described(before: Token | None) -> bool:
    """DESCRIBE TABLE t, SUMMARIZE TABLE t."""
    return before is not None and before.is_word("describe", "desc", "summarize")


def _is_clause(before: Token | None, heads: list[str]) -> bool:
    """Whether FROM names sources: not in IS DISTINCT FROM, not in EXTRACT(YEAR FROM d)."""
    if before is not None and before.is_word("distinct"):
        return False
    opens = before is not None and before.is_sign("(")
    return opens or not heads or heads[-1] not in _WITH_FROM


def _hints(tokens: list[Token]) -> int:
    """SELECT STRAIGHT_JOIN: a word to the planner, not a join."""
    return sum(
        token.is_word("straight_join") and tokens[at - 1].is_word("select", "distinct", "all")
        for at, token in enumerate(tokens)
        if at
    )


def _check_values(tokens: list[Token], at: int) -> None:
    """VALUES must have a bracket or ROW after it: else it is a table of that name."""
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if after is None or not (after.is_sign("(") or after.is_word("row")):
        raise Refused("VALUES without a row")
