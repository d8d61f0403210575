"""A lexer of SQLite's own rules: what the guard checks before it parses.

A parser made for thirty dialects and the engine may cut the same text into
different tokens; everything a guard says is then about another statement. So
the text is cut here by SQLite's rules (https://www.sqlite.org/src/file/src/tokenize.c),
with every form that lexers are known to read differently refused, and the
guard asks that the parser's tokens agree with these.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

from plainsql.execution import policy


class Kind(IntEnum):
    """The kinds of token that matter to the guard."""

    WORD = 1  # a keyword or a bare identifier
    QUOTED = 2  # "a", [a] or `a`
    STRING = 3
    BLOB = 4
    NUMBER = 5
    SIGN = 6  # one character of punctuation


class Refused(Exception):
    """The text is not allowed; the message says why. Never leaves the guard."""


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is folded for words and unquoted for quoted names; `start:end` in the text."""

    kind: Kind
    text: str
    start: int
    end: int


# Possessive quantifiers: a failed match costs linear time.
_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t\n\f\r]++ )
    | (?P<comment> --[^\n]*+ | /\*(?s:.*?)\*/ )
    | (?P<STRING>  '[^']*+(?:''[^']*+)*+' )
    | (?P<QUOTED>  "[^"]*+(?:""[^"]*+)*+" | `[^`]++` | \[[^\]]++\] )
    | (?P<BLOB>    [xX]'(?:[0-9a-fA-F]{2})*+'(?![\w$]) )
    | (?P<NUMBER>  (?:0[xX][0-9a-fA-F]++ | [0-9]++(?:\.[0-9]*+)?(?:[eE][+-]?[0-9]++)?+)(?![\w$'"]) )
    | (?P<WORD>    [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+(?!['"`\[]) )
    | (?P<SIGN>    (?!/\*)[()*,.;<>=!+\-/%|&~] )
    """,
    re.VERBOSE,
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_UNARY = frozenset({"-", "+", "~", "not"})


def scan(sql: str) -> list[Token]:
    """The tokens of `sql` without spaces and comments. Raises Refused."""
    check_text(sql)
    tokens: list[Token] = []
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:
            raise Refused(f"unreadable text at character {position + 1}")
        _keep(match, tokens)
        position = match.end()
    if len(tokens) > policy.MAX_TOKENS:
        raise Refused(f"more than {policy.MAX_TOKENS:,} tokens")
    return tokens


def check_text(sql: str) -> None:
    """Refuse texts that lexers, drivers or people read differently. Raises Refused."""
    if len(sql) > policy.MAX_CHARS:
        raise Refused(f"longer than {policy.MAX_CHARS:,} characters")
    if not sql.strip():
        raise Refused("no statement")
    if _CONTROL.search(sql):
        raise Refused("control character in the text")


def _keep(match: re.Match[str], tokens: list[Token]) -> None:
    """Append the token of `match`; spaces and harmless comments leave none."""
    name, text = match.lastgroup, match.group()
    if name == "space":
        return
    if name == "comment":
        _check_comment(text)
        return
    kind = Kind[name or "SIGN"]
    if kind is Kind.WORD:
        _check_letters(text)
        text = policy.fold(text)
    elif kind is Kind.QUOTED:
        text = _unquote(text)
    tokens.append(Token(kind, text, match.start(), match.end()))


def _check_comment(text: str) -> None:
    """Refuse nested openings, hints, lone CR and invisible characters in a comment."""
    if "/*" in text[2:] or text[:3] in ("/*!", "/*+") or text[:4] == "/*M!":
        raise Refused("comment inside a comment, or an executable comment")
    if "\r" in text.removesuffix("\r").replace("\r\n", "\n"):
        raise Refused("lone carriage return in a comment")
    _check_letters(text.translate({10: None, 13: None, 9: None, 32: None}))


def _check_letters(text: str) -> None:
    """Refuse invisible and look-alike characters outside literals."""
    if text.isascii():
        return
    if any(unicodedata.category(char) in _BAD_CATEGORIES for char in text):
        raise Refused("invisible character outside a literal")
    if unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text):
        raise Refused("look-alike character outside a literal")


def _unquote(text: str) -> str:
    """The name inside quotes; bracketed names may hold no quote or bracket."""
    quote, name = text[0], text[1:-1]
    if quote == '"':
        return name.replace('""', '"')
    if any(char in name for char in "'\"`[]"):
        raise Refused("quote inside a bracketed name")
    return name


def check_nesting(tokens: list[Token]) -> None:
    """Refuse nesting that a recursive parser could fall over. Raises Refused."""
    depth = run = counted = 0
    for token in tokens:
        text = token.text if token.kind in (Kind.WORD, Kind.SIGN) else ""
        run = run + 1 if text in _UNARY else 0
        counted += text in ("case", "not")
        depth += (text in ("(", "case")) - (text in (")", "end"))
        if depth > policy.MAX_DEPTH or run > policy.MAX_UNARY_RUN:
            raise Refused("nested too deeply")
        if depth < 0:
            raise Refused("unbalanced brackets")
    if depth:
        raise Refused("unbalanced brackets")
    if counted > policy.MAX_KEYWORD_COUNT:
        raise Refused("too many CASE or NOT")
