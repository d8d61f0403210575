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
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

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


# Looking a member up in its class takes as long as the rest of a check of one token.
WORD, QUOTED, SIGN = Kind.WORD, Kind.QUOTED, Kind.SIGN
_JOINED = frozenset({Kind.STRING, Kind.BLOB})
LITERALS = frozenset({Kind.STRING, Kind.BLOB, Kind.QUOTED})


class Refused(Exception):
    """The text is not allowed; the message says why. Never leaves the guard."""


class Token(NamedTuple):
    """`text` is folded for words and unquoted for quoted names; `start:end` in the text.

    A tuple, as thousands are made and looked through for one text: a frozen
    dataclass takes four times as long to make.
    """

    kind: Kind
    text: str
    start: int
    end: int

    def is_sign(self, sign: str) -> bool:
        """Whether this is the punctuation character `sign`."""
        return self.text == sign and self.kind is SIGN

    def is_word(self, *words: str) -> bool:
        """Whether this is one of the (folded) `words`, not quoted."""
        return self.text in words and self.kind is WORD


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BAD_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_UNARY = frozenset({"-", "+", "~", "!", "@"})
# How many levels deeper the text is after a bracket, after a word.
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_BLOCKS = {"case": 1, "end": -1}
# Each of these makes a recursive or back-tracking parser go one level deeper or once more.
_SOURCE_WORDS = frozenset({"join", "union", "intersect", "except", "minus", "select", "from"})
_COMMENT_MARK = re.compile(r"/\*|\*/")
_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]+)$")
_NAMES = {kind.name: kind for kind in Kind} | {
    "BRACKETED": Kind.QUOTED,
    "BACKTICKED": Kind.QUOTED,
    "FREE": Kind.QUOTED,
}
_SKIPPED = frozenset({"line", "block", "bad", None})


def scan(sql: str, lexer: Lexer) -> list[Token]:
    """The tokens of `sql` without spaces and comments. Raises Refused."""
    check_text(sql, lexer)
    tokens: list[Token] = []
    depth = 0
    for match in _matches(sql, lexer):
        group = match.lastgroup or ""
        kind, text = _NAMES[group], match[group]
        if kind is SIGN:
            depth += _BRACKETS.get(text, 0)
        elif kind in _JOINED:
            if not lexer.adjacent and tokens and tokens[-1].kind in _JOINED:
                raise Refused("two literals side by side")
        else:
            text = text[1:-1] if group == "FREE" else _READ[kind](text)
        tokens.append(Token(kind, text, match.start(group), match.end()))
        if len(tokens) > caps.MAX_TOKENS:
            raise Refused(f"more than {caps.MAX_TOKENS:,} tokens")
        if depth > caps.MAX_DEPTH:  # looked at again below; here, so as to stop early
            raise Refused("nested too deeply")
    return tokens


def _matches(sql: str, lexer: Lexer) -> Iterator[re.Match[str]]:
    """What the lexer finds, one token after the other; comments are looked at here."""
    comments = position = 0
    while position < len(sql):
        for match in lexer.token.finditer(sql, position):
            name = match.lastgroup
            if name not in _SKIPPED:
                yield match
                continue
            if name is None:  # the end of the text
                return
            start, position = match.span(name)
            if name == "bad":
                raise Refused(f"unreadable text at character {start + 1}")
            comments += 1
            if comments > caps.MAX_COMMENTS:
                raise Refused(f"more than {caps.MAX_COMMENTS} comments")
            if name == "block":
                position = _comment_end(sql, start, lexer)
            _check_comment(sql[start:position])
            break
        else:
            return


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
    if not text.isascii():
        _check_letters(text.translate({10: None, 13: None, 9: None, 32: None}))


def _check_letters(text: str) -> None:
    """Refuse invisible and look-alike characters outside literals."""
    if any(unicodedata.category(char) in _BAD_CATEGORIES for char in set(text)):
        raise Refused("invisible character outside a literal")
    if unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text):
        raise Refused("look-alike character outside a literal")


def _word(text: str) -> str:
    """The word as engines compare it. Raises Refused for letters that aren't what they seem."""
    if not text.isascii():
        _check_letters(text)
    return fold(text)


def _number(text: str) -> str:
    """The number; refused are those that are short to write and long to compute with."""
    exponent = None if text.isdigit() or text[:2] in ("0x", "0X") else _EXPONENT.search(text)
    if len(text) > caps.MAX_NUMBER or (exponent and int(exponent[1]) > caps.MAX_EXPONENT):
        raise Refused("a number too large")
    return text


def _unquote(text: str) -> str:
    """The name inside quotes; bracketed names may hold no quote or bracket."""
    quote, name = text[0], text[1:-1]
    if quote == '"':
        return name.replace('""', '"')
    if any(char in name for char in "'\"`[]"):
        raise Refused("quote inside a bracketed name")
    return name


_READ = {Kind.WORD: _word, Kind.NUMBER: _number, Kind.QUOTED: _unquote}


def check_sizes(tokens: list[Token]) -> None:
    """Refuse nesting and lengths that a recursive parser could fall over. Raises Refused."""
    depth = unary = run = angles = subscripts = 0
    before = ""
    for kind, text, _, _ in tokens:
        if kind is WORD:
            run += 1
            unary = unary + 1 if text == "not" else 0
            depth += _BLOCKS.get(text, 0)
        elif kind is SIGN:
            run = 0
            unary = unary + 1 if text in _UNARY else 0
            angles = angles + 1 if text == "<" else 0  # ARRAY<ARRAY<...: a type in a type
            subscripts += text == "[" and before == "]"
            depth += _BRACKETS.get(text, 0)
        else:
            run = unary = angles = 0
            text = ""
        before = text
        if depth > caps.MAX_DEPTH or run > caps.MAX_WORD_RUN or max(unary, angles) > caps.MAX_DEPTH:
            raise Refused("nested too deeply")
        if depth < 0:
            raise Refused("unbalanced brackets")
    if depth:
        raise Refused("unbalanced brackets")
    if subscripts > caps.MAX_SUBSCRIPTS:
        raise Refused("too many subscripts")
    _check_counts(tokens)


def _check_counts(tokens: list[Token]) -> None:
    words = Counter(text for kind, text, _, _ in tokens if kind is WORD)
    if words["case"] + words["not"] > caps.MAX_KEYWORD_COUNT:
        raise Refused("too many CASE or NOT")
    if sum(words[word] for word in _SOURCE_WORDS) > 3 * caps.MAX_SOURCES:
        raise Refused("too many SELECT, FROM, JOIN or UNION")
