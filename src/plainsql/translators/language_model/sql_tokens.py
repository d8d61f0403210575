"""A forgiving lexer for SQL inside what a model said: it stops where SQL can't go on.

It does not judge: the guard does, with a real parser. It only must not be fooled
by a semicolon in a string, and must know a fence, a chat tag or the end of a
sentence from SQL. On the way, typographic quotes become plain ones and
typographic spaces plain spaces, outside of string literals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from plainsql.schema.render import KEYWORDS

# Words beyond SQLite's that other dialects have, so that they don't look like prose.
WORDS_OF_SQL = KEYWORDS | frozenset(
    """
    ANY AT BERNOULLI CUBE DOUBLE EXTRACT FETCH ILIKE INTERVAL LATERAL MINUS NEXT ONLY PERCENT
    PIVOT PRECISION QUALIFY RLIKE ROLLUP SEPARATOR SIMILAR SOME STRAIGHT_JOIN SYSTEM TABLESAMPLE
    TIME TOP TRUNCATE UNKNOWN UNNEST UNSIGNED ZONE
    """.split()
)


class Kind(IntEnum):
    """The kinds of token that telling SQL from prose needs."""

    WORD = 1  # a bare name, or a word of prose
    KEYWORD = 2
    QUOTED = 3  # "a", `a` or [a]
    STRING = 4
    NUMBER = 5
    SIGN = 6


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is written in plain characters; `start:end` is its place in the source."""

    kind: Kind
    text: str
    start: int
    end: int
    fresh: bool  # the first of its line

    @property
    def word(self) -> str:
        """A keyword in capitals; "" for all else."""
        return self.text.upper() if self.kind is Kind.KEYWORD else ""


MAX_TOKENS = 2_000  # of one statement

_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_TYPOGRAPHIC = {ord(c): " " for c in "\u00a0\u1680\u202f\u205f\u3000"} | {
    **dict.fromkeys(range(0x2000, 0x200B), " "),
    **dict.fromkeys(map(ord, _INVISIBLE)),
}

# Possessive quantifiers: a failed match costs linear time.
_SPACE = re.compile(rf"(?:[\s{_INVISIBLE}]++|--[^\n]*+|/\*(?s:.*?)(?:\*/|\Z))++")
_TOKEN = re.compile(
    r"""
      (?P<STRING>  [xXnNeEbB]?'(?:[^'\n\\]|''|\\'(?=\w)|\\|\n(?![ \t]*\n))*'(?!') )
    | (?P<CURLY>   [‘’‚‛](?:[^‘’‛'\n]|(?<=\w)[’'](?=\w))*[‘’‛'] )
    | (?P<QUOTED>  "(?:[^"\n]|"")+" | `[^`\n]+` | \[[^\[\]\n]+\] | [“”„][^“”"\n]+[“”"] )
    | (?P<NUMBER>  (?:\d++(?:\.\d++)?|\.\d++)(?:[eE][+-]?\d++)? )
    | (?P<WORD>    (?:[^\W\d]|_)(?:[\w$]|\\_)*+ )
    | (?P<SIGN>    \\\*|. )
    """,
    re.VERBOSE,
)
_END = re.compile(
    r"""
      ; | ``` | ~~~ | \*\* | …                 # a fence, bold print
    | \.{2,} | [.:](?=\s|$) | !(?!=) | [–—•→]  # the end of a sentence
    | </\w | <\| | <\w+> | \[/?INST\]          # chat tags
    """,
    re.VERBOSE,
)
_HEADING = re.compile(r"[ \t]*#")
# A word that may stand directly before a string: DATE'2020-01-01'.
_TYPED = frozenset("DATE TIME TIMESTAMP INTERVAL".split())


def tokens_of(text: str, start: int) -> tuple[tuple[Token, ...], int]:
    """Tokens from `start` to where SQL can't go on, and that place.

    It ends at a semicolon, a closing parenthesis without its opening one, a fence, a
    chat tag, a heading, the end of a sentence, and a quotation mark that opens nothing.
    """
    found: list[Token] = []
    at, depth = start, 0
    while at < len(text) and len(found) < MAX_TOKENS:
        space = _SPACE.match(text, at)
        gap = space[0] if space else ""
        at += len(gap)
        fresh = "\n" in gap
        if at >= len(text) or _END.match(text, at) or (fresh and _HEADING.match(text, at)):
            break
        token = _token(text, at, fresh, found[-1] if found else None)
        if token is None:
            break
        depth += (token.text == "(") - (token.text == ")") if token.kind is Kind.SIGN else 0
        if depth < 0:
            break
        found.append(token)
        at = token.end
    return tuple(found), at


def written(text: str, tokens: Sequence[Token]) -> str:
    """The source of `tokens` in plain characters, with the comments between them."""
    parts = []
    at = tokens[0].start if tokens else 0
    for token in tokens:
        parts += [text[at : token.start].translate(_TYPOGRAPHIC), token.text]
        at = token.end
    return "".join(parts)


def _token(text: str, at: int, fresh: bool, before: Token | None) -> Token | None:
    """The token at `at`; None for a quotation mark that opens nothing there."""
    found = _TOKEN.match(text, at)
    if found is None:
        return None
    kind, raw = found.lastgroup or "", found[0]
    if raw[0] in "\"`'“‘”’" and before is not None and _closes(raw[0], at, before):
        return None
    if kind == "SIGN" and raw in '"`“”‘’':
        return None
    if raw == "'":
        return _unclosed(text, at, fresh)
    name, plain = _plain(kind, raw)
    return Token(name, plain, at, found.end(), fresh)


def _closes(mark: str, at: int, before: Token) -> bool:
    """True for a mark that stands right behind a token: it closes what was opened earlier."""
    if before.end != at or before.text in tuple("(,.=<>|+-*/%"):
        return False
    return not (mark in "'‘" and before.text.upper() in _TYPED)


def _unclosed(text: str, at: int, fresh: bool) -> Token | None:
    """A string that was cut off, up to the end of its line; None where nothing follows."""
    rest = text[at + 1 :].split("\n", 1)[0]
    ending = re.search(r"```|<\||</\w|;\s*$", rest)
    rest = (rest[: ending.start()] if ending else rest).rstrip()
    if not rest.strip(" .`\"'*)"):
        return None
    return Token(Kind.STRING, "'" + rest, at, at + 1 + len(rest), fresh)


def _plain(kind: str, raw: str) -> tuple[Kind, str]:
    if kind == "CURLY":
        return Kind.STRING, "'" + raw[1:-1].replace("'", "''") + "'"
    if kind == "QUOTED":
        return Kind.QUOTED, '"' + raw[1:-1] + '"' if raw[0] in "“”„" else raw
    if kind == "WORD":
        word = raw.replace("\\_", "_")
        return (Kind.KEYWORD if word.upper() in WORDS_OF_SQL else Kind.WORD), word
    if kind == "SIGN":
        return Kind.SIGN, raw[-1]
    return Kind[kind], raw
