"""How each engine cuts a text into tokens, as one regular expression a dialect.

    SQLite      https://www.sqlite.org/src/file/src/tokenize.c
    PostgreSQL  https://www.postgresql.org/docs/current/sql-syntax-lexical.html
    DuckDB      PostgreSQL's lexer, with brackets and braces
    MySQL       https://dev.mysql.com/doc/refman/8.4/en/language-structure.html
    others      only what every engine reads alike

The groups are the names of `scanner.Kind`, with `line` (a comment up to the end of
the line), `block` (the opening of the other kind) and `bad`: one character that no
other group reads, which is refused. That is how forms are left out on which engines,
their versions and sqlglot differ (`U&'...'`, `$1`, `@x`, `0x1F` outside SQLite and
MySQL). White space before a token is part of its match, not of its group: half the
matches to make. Possessive quantifiers: a failed match costs linear time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lexer:
    """The token pattern of a dialect and what else its lexer knows.

    `adjacent`: two literals side by side are two tokens that can't change each
    other. PostgreSQL joins 'a' and 'b' on two lines to one literal, and the first
    decides about backslashes in the second, so there they are refused.
    """

    token: re.Pattern[str]
    nested_comments: bool = False
    adjacent: bool = False
    backslashes: bool = True  # may stand in the text at all


_LINE = r"(?P<line> --[^\n]*+ )"
_BLOCK = r"(?P<block> /\* )"
_PLAIN = r"'[^']*+(?:''[^']*+)*+'"
_ESCAPED = r"'(?:[^'\\]++|\\(?s:.)|'')*+'"
_DOUBLE = r'"[^"]*+(?:""[^"]*+)*+"'
# without the form .5, which sqlglot cuts in two; 1..5 is refused
_NUMBER = r"[0-9]++(?:\.(?!\.)[0-9]*+)?+(?:[eE][+-]?[0-9]++)?+"
_LETTER = r"A-Za-z_\x80-\U0010ffff"
_WORD = rf"[{_LETTER}][{_LETTER}0-9$]*+"
_DOLLAR = rf"\$\$(?s:.*?)\$\$|\$(?P<tag>[{_LETTER}][{_LETTER}0-9]*+)\$(?s:.*?)\$(?P=tag)\$"


def _pattern(*alternatives: str) -> re.Pattern[str]:
    tokens = "|".join(alternatives)
    return re.compile(rf"[ \t\n\f\r]*+ (?: {tokens} | (?P<bad> (?s:.) ) | \Z )", re.VERBOSE)


_SQLITE = Lexer(
    _pattern(
        _LINE,
        _BLOCK,
        rf"(?P<STRING> {_PLAIN} )",
        rf"(?P<QUOTED> {_DOUBLE} | `[^`]++` | \[[^\]]++\] )",
        r"(?P<BLOB> [xX]'(?:[0-9a-fA-F]{2})*+'(?![\w$]) )",
        rf"(?P<NUMBER> (?: 0[xX][0-9a-fA-F]++ | {_NUMBER} )(?![\w$'\"]) )",
        rf"(?P<WORD> {_WORD}(?!['\"`\[]) )",
        r"(?P<SIGN> (?!\.\.)[()*,.;<>=!+\-/%|&~] )",
    ),
    adjacent=True,
)
# A single letter before a quote is a prefix of the literal; `U&` also of a name.
_POSTGRES_WORD = rf"(?![uU]&['\"])(?![bBeExXnN]'){_WORD}(?!\")"
_POSTGRES = Lexer(
    _pattern(
        _LINE,
        _BLOCK,
        rf"(?P<STRING> {_PLAIN} | {_DOLLAR} | [eE]{_ESCAPED} )",
        rf"(?P<QUOTED> {_DOUBLE} )",
        r"(?P<BLOB> [bB]'[01]*+' | [xX]'[0-9a-fA-F]*+' )",
        rf"(?P<NUMBER> {_NUMBER}(?![\w$'\"]) )",
        rf"(?P<WORD> {_POSTGRES_WORD} )",
        r"(?P<SIGN> (?!\.\.)[()*,.;<>=!+\-/%|&~^\#@?:\[\]] )",
    ),
    nested_comments=True,
)
_DUCKDB = Lexer(
    _pattern(
        _LINE,
        _BLOCK,
        rf"(?P<STRING> {_PLAIN} | {_DOLLAR} | [eE]{_ESCAPED} )",
        rf"(?P<QUOTED> {_DOUBLE} )",
        r"(?P<BLOB> [xX]'[0-9a-fA-F]*+' )",
        rf"(?P<NUMBER> (?: [0-9]++(?:_[0-9]++)++ | {_NUMBER} )(?![\w$'\"]) )",
        rf"(?P<WORD> {_POSTGRES_WORD} )",
        # "{{", "{%" and "{#" open templates for sqlglot
        r"(?P<SIGN> (?!\.\.)[()*,.;<>=!+\-/%|&~^@:\[\]}] | \{(?![{%\#]) )",
    )
)
_MYSQL = Lexer(
    _pattern(
        # "--" begins a comment only before white space: 5--1 is 6
        r"(?P<line> --(?![^ \t\n\f\r])[^\n]*+ | \#[^\n]*+ )",
        _BLOCK,
        # \" inside "..." is refused: with ANSI_QUOTES the name would end there
        rf"(?P<STRING> [nN]?{_ESCAPED} | \"(?:[^\"\\]++|\\(?s:[^\"])|\"\")*+\" )",
        r"(?P<FREE> `[^`]++` )",  # whatever is in it, in every mode of the server
        r"(?P<BLOB> [xX]'(?:[0-9a-fA-F]{2})*+' | [bB]'[01]*+' )",
        rf"(?P<NUMBER> (?: 0x[0-9a-fA-F]++ | 0b[01]++ | {_NUMBER} )(?![\w$'\"]) )",
        rf"(?P<WORD> (?![bBnNxX]'){_WORD}(?!`) )",
        r"(?P<SIGN> (?!\.\.)[()*,.;<>=!+\-/%|&~^] )",
    ),
    adjacent=True,
)
_OTHERS = (
    r"(?P<line> --(?![^ \t\n\f\r])[^\n]*+ )",
    _BLOCK,
    rf"(?P<STRING> {_PLAIN} )",
    r'(?P<QUOTED> "[^"]++" )',
    rf"(?P<NUMBER> {_NUMBER}(?![\w$'\"]) )",
    r"(?P<WORD> [A-Za-z_][A-Za-z0-9_]*+(?!['\"`\[]) )",
    r"(?P<SIGN> (?!\.\.)[()*,.;<>=!+\-/%|] )",
)
_GENERIC = Lexer(_pattern(*_OTHERS), backslashes=False)
_BRACKETED = Lexer(_pattern(r"(?P<BRACKETED> \[[^\[\]]++\] )", *_OTHERS), backslashes=False)
_BACKTICKED = Lexer(_pattern(r"(?P<BACKTICKED> `[^`]++` )", *_OTHERS), backslashes=False)

_LEXERS = {
    "sqlite": _SQLITE,
    "postgres": _POSTGRES,
    "duckdb": _DUCKDB,
    "mysql": _MYSQL,
    "tsql": _BRACKETED,
    "fabric": _BRACKETED,
    **dict.fromkeys(
        ("bigquery", "hive", "spark", "spark2", "databricks", "clickhouse", "starrocks", "doris"),
        _BACKTICKED,
    ),
}


def lexer_for(dialect: str) -> Lexer:
    """The lexer of a dialect; for those not known here, what all engines read alike."""
    return _LEXERS.get(dialect, _GENERIC)
