"""How long sqlglot may need for a text, told from the tokens before it parses.

Its parser tries one reading and goes back: `ARRAY[`, `DATE(` or any other name
of a type before a bracket is read as a type first, then again as a value; a
JOIN without ON is read with and without the joins after it. Nested, each level
doubles the work: 16 times `ARRAY[` take two seconds. So each token counts as
many times as it may be read, and the sum has a cap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plainsql.execution.policies.base import MAX_WORK
from plainsql.execution.scanner import Refused

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token as ParserToken

_TWICE = frozenset({"if", "lateral"})


def check_work(tokens: list[ParserToken], parser: type[Any]) -> None:
    """Raise Refused when the tokens may be read more than MAX_WORK times in all."""
    from sqlglot.tokenizer_core import TokenType as T

    openings, closings = {T.L_PAREN, T.L_BRACKET, T.L_BRACE}, {T.R_PAREN, T.R_BRACKET, T.R_BRACE}
    joins, conditions = {T.JOIN, T.STRAIGHT_JOIN}, {T.ON, T.USING}
    types = parser.TYPE_TOKENS
    work, level, pending = 0, 0, 0  # level, pending: powers of two
    outer: list[tuple[int, int]] = []
    for at, token in enumerate(tokens):
        kind = token.token_type
        if kind in openings:
            outer.append((level, pending))
            name = tokens[at - 1] if at else token
            twice = name.token_type in types or name.text.lower() in _TWICE
            twice = twice or (at > 1 and tokens[at - 2].token_type in (T.DCOLON, T.ALIAS))
            level, pending = level + pending + twice, 0
        elif kind in closings and outer:
            level, pending = outer.pop()
        elif kind in joins:
            pending += 1
        elif kind in conditions:
            pending = max(0, pending - 1)
        work += 1 << min(level + pending, 20) if level or pending else 1
        if work > MAX_WORK:
            raise Refused("too much work to read: types or joins nested too deeply")
