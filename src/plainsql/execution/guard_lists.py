"""Long lists of plain values, made short before they are parsed.

`id IN (1, 2, ..., 2400)` is a usual query, and most of the time it takes to judge
would go into a tree of 2,400 numbers that say nothing new. All but the first and
the last few of a run of plain values are therefore left out of what is parsed.

    SELECT * FROM users WHERE id IN (1, 2, 3,           2400)

The rest stays where it was in the text, and the text that runs is the whole one.
What is left out are our lexer's own tokens, in a run between two values that both
lexers must agree on: commas, numbers of digits alone and texts without a quote or
a backslash in them, which no lexer reads in another way and no engine as anything
but values. Every cap but the parser's own was held against the whole text before.
"""

from __future__ import annotations

import re

from plainsql.execution.scanner import Kind, Token

_WORTH = 200  # fewer tokens are parsed as they are
_KEPT = 16  # values at the beginning of a list
_PLAIN = re.compile(r"[0-9]++(?:\.[0-9]++)?+|'[^'\\]*+'")
_VALUES = (Kind.NUMBER, Kind.STRING)


def shortened(sql: str, tokens: list[Token]) -> tuple[str, list[Token]]:
    """`sql` with spaces in place of most of each long list after IN, and its tokens."""
    if len(tokens) <= _WORTH:
        return sql, tokens
    kept: list[Token] = []
    at = 0
    while at < len(tokens):
        end = _end_of_values(tokens, at + 1) if _opens(tokens, at) else at
        if end - at > 2 * _KEPT + 2:
            first, last = at + 2 * _KEPT, end - 2  # a value; the comma before the last value
            kept += tokens[at:first]
            start, stop = tokens[first - 1].end, tokens[last].start
            sql = sql[:start] + " " * (stop - start) + sql[stop:]
            at = last
        else:
            kept.append(tokens[at])
            at += 1
    return sql, kept


def _opens(tokens: list[Token], at: int) -> bool:
    """Whether the list of an IN begins with the token at `at`, a bracket."""
    if at == 0 or not tokens[at].is_sign("(") or not tokens[at - 1].is_word("in"):
        return False
    return at == 1 or not tokens[at - 2].is_sign(".")


def _end_of_values(tokens: list[Token], at: int) -> int:
    """The token after the last one of the plain values with commas that begin at `at`."""
    end = at
    while at < len(tokens) and tokens[at].kind in _VALUES and _PLAIN.fullmatch(tokens[at].text):
        end = at + 1
        if end == len(tokens) or not tokens[end].is_sign(","):
            break
        at = end + 1
    return end
