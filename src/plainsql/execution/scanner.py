"""The text of a statement cut into tokens by the engine's own rules, and its sizes.

A parser made for thirty dialects and the engine may cut the same text into
different tokens; everything a guard says is then about another statement. So
the text is cut here by the rules of `lexers`, every form that lexers are known
to read differently is refused, and the guard asks that the parser's tokens
agree with these.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

from plainsql.execution.lexers import Lexer
from plainsql.execution.policies import base as caps
from plainsql.execution.policies.base import fold


class Kind(IntEnum):
    """The kinds of token that matter to the guard."""

    WORD = 1  # a keyword or a bare identifier
    QUOTED = 2  # "a", [a] or `a`
    STRING = 3
    BLOB = 4
    NUMBER = 5
    SIGN = 6  # one character of punctuation


_JOINED = frozenset({Kind.STRING, Kind.BLOB})
LITERALS = frozenset({Kind.STRING, Kind.BLOB, Kind.QUOTED})


class Refused(Exception):
    """The text is not allowed; the message says why. Never leaves the guard."""


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is folded for words and unquoted for quoted names; `start:end` in the text."""

    kind: Kind
    text: str
    start: int
    end: int

    def is_sign(self, sign: str) -> bool:
        """Whether this is the punctuation character `sign`."""
        return self.kind is Kind.SIGN and self.text == sign

    def is_word(self, *words: str) -> bool:
        """Whether this is one of the (folded) `words`, not quoted."""
        return self.kind is Kind.WORD and self.text in words


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_UNARY = frozenset({"-", "+", "~", "!", "@", "not"})
_OPENING = frozenset({"(", "[", "{", "case"})
_CLOSING = frozenset({")", "]", "}", "end"})
# Each of these makes a recursive or back-tracking parser go one level deeper or once more.
_SOURCE_WORDS = frozenset({"join", "union", "intersect", "except", "minus", "select", "from"})
_COMMENT_MARK = re.compile(r"/\*|\*/")
_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]+)$")
_NAMES = {kind.name: kind for kind in Kind} | {
    "BRACKETED": Kind.QUOTED,
    "BACKTICKED": Kind.QUOTED,
}


def scan(sql: str, lexer: Lexer) -> list[Token]:
    """The tokens of `sql` without spaces and comments. Raises Refused."""
    check_text(sql, lexer)
    tokens: list[Token] = []
    position = depth = 0
    while position < len(sql):
        match = lexer.token.match(sql, position)
        if match is None:
            raise Refused(f"unreadable text at character {position + 1}")
        depth += (match[0] in _OPENING) - (match[0] in _CLOSING)
        position = _keep(match, sql, lexer, tokens)
        if len(tokens) > caps.MAX_TOKENS:
            raise Refused(f"more than {caps.MAX_TOKENS:,} tokens")
        if depth > caps.MAX_DEPTH:  # looked at again below; here, so as to stop early
            raise Refused("nested too deeply")
    return tokens


def check_text(sql: str, lexer: Lexer) -> None:
    """Refuse texts that lexers, drivers or people read differently. Raises Refused."""
    if len(sql) > caps.MAX_CHARS:
        raise Refused(f"longer than {caps.MAX_CHARS:,} characters")
    if not sql.strip():
        raise Refused("no statement")
    if _CONTROL.search(sql):
        raise Refused("control character in the text")
    if "\\" in sql and not lexer.backslashes:
        raise Refused("a backslash, which engines read differently")


def _keep(match: re.Match[str], sql: str, lexer: Lexer, tokens: list[Token]) -> int:
    """Append the token of `match`, if it is one; return where the next begins."""
    name, text, start, end = match.lastgroup or "", match.group(), match.start(), match.end()
    if name == "space":
        return end
    if name in ("line", "block"):
        end = end if name == "line" else _comment_end(sql, start, lexer)
        _check_comment(sql[start:end])
        return end
    kind = _NAMES[name]
    if kind is Kind.WORD:
        _check_letters(text)
        text = fold(text)
    elif kind is Kind.QUOTED:
        text = _unquote(text)
    elif kind is Kind.NUMBER:
        _check_number(text)
    elif kind in _JOINED and not lexer.adjacent and tokens and tokens[-1].kind in _JOINED:
        raise Refused("two literals side by side")
    tokens.append(Token(kind, text, start, end))
    return end


def _comment_end(sql: str, start: int, lexer: Lexer) -> int:
    """Where the comment that opens at `start` ends. Raises Refused."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
        if depth > (8 if lexer.nested_comments else 1):
            raise Refused("comment inside a comment")
    raise Refused("a comment without an end")


def _check_comment(text: str) -> None:
    """Refuse executable comments and hints, lone CR and invisible characters in a comment."""
    if any(mark in text for mark in ("/*!", "/*+", "/*M!")):
        raise Refused("an executable comment or a hint")
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


def _check_number(text: str) -> None:
    """Refuse numbers that are short to write and long to compute with."""
    exponent = None if text[:2] in ("0x", "0X") else _EXPONENT.search(text)
    if len(text) > caps.MAX_NUMBER or (exponent and int(exponent[1]) > caps.MAX_EXPONENT):
        raise Refused("a number too large")


def _unquote(text: str) -> str:
    """The name inside quotes; bracketed names may hold no quote or bracket."""
    quote, name = text[0], text[1:-1]
    if quote == '"':
        return name.replace('""', '"')
    if any(char in name for char in "'\"`[]"):
        raise Refused("quote inside a bracketed name")
    return name


def check_sizes(tokens: list[Token]) -> None:
    """Refuse nesting and lengths that a recursive parser could fall over. Raises Refused."""
    depth = unary = words = counted = sources = angles = subscripts = 0
    before = ""
    for token in tokens:
        text = token.text if token.kind in (Kind.WORD, Kind.SIGN) else ""
        unary = unary + 1 if text in _UNARY else 0
        words = words + 1 if token.kind is Kind.WORD else 0
        # ARRAY<ARRAY<ARRAY<...: a type in a type
        angles = angles + 1 if text == "<" else angles if token.kind is Kind.WORD else 0
        subscripts += text == "[" and before == "]"
        counted += text in ("case", "not")
        sources += text in _SOURCE_WORDS
        depth += (text in _OPENING) - (text in _CLOSING)
        if max(depth, unary, angles) > caps.MAX_DEPTH or words > caps.MAX_WORD_RUN:
            raise Refused("nested too deeply")
        if depth < 0:
            raise Refused("unbalanced brackets")
        before = text
    if depth:
        raise Refused("unbalanced brackets")
    if counted > caps.MAX_KEYWORD_COUNT:
        raise Refused("too many CASE or NOT")
    if subscripts > caps.MAX_SUBSCRIPTS:
        raise Refused("too many subscripts")
    if sources > 3 * caps.MAX_SOURCES:
        raise Refused("too many SELECT, FROM, JOIN or UNION")
