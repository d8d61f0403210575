"""Whether sqlglot read everything that the text says, and read it as the engine does.

Its parser skips what it can't use: the comma in `FROM a, fetch` (a table called
"fetch" for SQLite), the arguments of a function that it knows to take none
(`uuid((SELECT ...))`), whatever follows VALUES without a bracket. Each SELECT,
FROM and JOIN of the text must therefore be in the tree.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from plainsql.execution.guard_tree import Nodes
from plainsql.execution.scanner import SIGN, WORD, Refused, Token

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token as ParserToken

_COUNTED = frozenset({"(", ")", "select", "from", "table", "join", "straight_join", "values"})
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


def check_reading(nodes: Nodes, tokens: list[Token]) -> None:
    """Refuse a tree, of which these are `nodes`, where a part of the text is missing."""
    selects, froms, joins, values = _written(tokens)
    # VALUES beside UNION becomes SELECT * FROM (VALUES ...)
    whole = froms <= len(nodes["From"]) <= froms + values
    if not whole or len(nodes["Select"]) < selects or len(nodes["Join"]) < joins:
        raise Refused("a part of the text was not understood")


def _written(tokens: list[Token]) -> tuple[int, int, int, int]:
    """How many SELECT, FROM (or TABLE), JOIN and VALUES the text has. Raises Refused."""
    selects = froms = joins = values = 0
    heads: list[str] = []  # the words before the brackets that are open
    for at, (kind, word, _, _) in enumerate(tokens):
        if word not in _COUNTED or kind not in (WORD, SIGN):
            continue
        before = tokens[at - 1] if at else None
        if word == "(":
            heads.append(before.text if before is not None and before.kind is WORD else "")
        elif word == ")" and heads:
            heads.pop()
        if kind is not WORD or (before is not None and before.is_sign(".")):
            continue
        if word == "values":
            _check_values(tokens, at)
            values += 1
        selects += word == "select"
        joins += word in ("join", "straight_join") and not _is_hint(word, before)
        froms += word == "from" and _is_clause(before, heads)
        froms += word == "table" and not _is_described(before)
    return selects, froms, joins, values


def _is_described(before: Token | None) -> bool:
    """DESCRIBE TABLE t, SUMMARIZE TABLE t."""
    return before is not None and before.is_word("describe", "desc", "summarize")


def _is_clause(before: Token | None, heads: list[str]) -> bool:
    """Whether FROM names sources: not in IS DISTINCT FROM, not in EXTRACT(YEAR FROM d)."""
    if before is not None and before.is_word("distinct"):
        return False
    opens = before is not None and before.is_sign("(")
    return opens or not heads or heads[-1] not in _WITH_FROM


def _is_hint(word: str, before: Token | None) -> bool:
    """SELECT STRAIGHT_JOIN: a word to the planner, not a join."""
    if word != "straight_join" or before is None:
        return False
    return before.is_word("select", "distinct", "all")


def _check_values(tokens: list[Token], at: int) -> None:
    """VALUES must have a bracket or ROW after it: else it is a table of that name."""
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if after is None or not (after.is_sign("(") or after.is_word("row")):
        raise Refused("VALUES without a row")
