"""The lexers of the dialects: their tokens, what they refuse, and DuckDB's own as witness."""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import random

import pytest

from plainsql.execution.lexers import lexer_for
from plainsql.execution.scanner import Kind, Refused, scan

# (dialect, text, its tokens with a space between)
TOKENS = [
    ("sqlite", "SELECT 'a''b' || \"c\"", "select 'a''b' | | \"c\""),
    ("sqlite", "SELECT [a b], `c`, x'0F', 0x1F, 1.5e3", "select [a b] , `c` , x'0F' , 0x1F , 1.5e3"),
    ("sqlite", "SELECT 'a\\' -- 'b'", "select 'a\\'"),
    ("postgres", "SELECT E'a\\'b', 'c\\'", "select E'a\\'b' , 'c\\'"),
    ("postgres", "SELECT $$a'b$$, $x$c$$d$x$", "select $$a'b$$ , $x$c$$d$x$"),
    ("postgres", "SELECT a$b$c, B'01', x'1f'", "select a$b$c , B'01' , x'1f'"),
    ("postgres", "SELECT 1 /* a /* b */ 'c' */ + 2", "select 1 + 2"),
    ("postgres", "SELECT a::int, b ->> 'c', d @> e", "select a : : int , b - > > 'c' , d @ > e"),
    ("postgres", "SELECT date'2024-01-01'", "select date '2024-01-01'"),
    ("postgres", "SELECT 5--1", "select 5"),
    ("duckdb", "SELECT e'\\'', $$x$$, {'a': [1_000]}", "select e'\\'' , $$x$$ , { 'a' : [ 1_000 ] }"),
    ("duckdb", "SELECT 'a\\'", "select 'a\\'"),
    ("mysql", "SELECT 'a\\'b', 'c''d', \"e\"\"f\"", "select 'a\\'b' , 'c''d' , \"e\"\"f\""),
    ("mysql", "SELECT 5--1 -- 2\n, 3 # 4", "select 5 - - 1 , 3"),
    ("mysql", "SELECT _utf8'x', N'y', x'41', b'01', 0x41", "select _utf8 'x' , N'y' , x'41' , b'01' , 0x41"),
    ("mysql", "SELECT `a b` --\n, 1", "select `a b` , 1"),
    ("mysql", "SELECT `it's`, `\"[\\]`", "select `it's` , `\"[\\]`"),
    ("tsql", "SELECT [a b]", "select [a b]"),
    ("bigquery", "SELECT `a b`", "select `a b`"),
]  # fmt: skip

REFUSED = [
    ("sqlite", "SELECT [a'b]"),
    ("sqlite", "SELECT 1 /* a"),
    ("postgres", "SELECT U&'\\0041'"),
    ("postgres", 'SELECT u&"a"'),
    ("postgres", "SELECT $1"),
    ("postgres", "SELECT N'a'"),
    ("postgres", "SELECT E'a'\n'\\', 1 --'"),
    ("postgres", "SELECT 'a' 'b'"),
    ("postgres", "SELECT b'12'"),
    ("postgres", "SELECT `a`"),
    ("postgres", "SELECT $a$b$A$"),
    ("postgres", "SELECT 1..5"),
    ("postgres", "SELECT 0x1F"),
    ("postgres", "SELECT 12abc"),
    ("postgres", "SELECT 1e100000"),
    ("postgres", "SELECT " + "1" * 101),
    ("duckdb", "SELECT #1"),
    ("duckdb", "SELECT ?"),
    ("duckdb", "SELECT 1 /* /* */ */"),
    ("duckdb", "SELECT {{1}}"),
    ("duckdb", "SELECT {% x %}"),
    ("mysql", "SELECT @a"),
    ("mysql", "SELECT @@a"),
    ("mysql", "SELECT a := 1"),
    ("mysql", 'SELECT "a\\" -- "'),
    ("mysql", "SELECT /*! 1 */"),
    ("mysql", "SELECT 1 -- /*M! */"),
    ("mysql", "SELECT {d '2024-01-01'}"),
    ("mysql", "SELECT `a``b` `"),
    ("sqlite", "SELECT 1 " + "/**/" * 201),
    ("bigquery", "SELECT `a'b`"),
    ("oracle", "SELECT 'a\\'"),
    ("oracle", "SELECT [a]"),
    ("oracle", "SELECT `a`"),
]


@pytest.mark.parametrize(("dialect", "text", "tokens"), TOKENS)
def test_tokens(dialect: str, text: str, tokens: str) -> None:
    found = [
        token.text if token.kind is Kind.WORD else text[token.start : token.end]
        for token in scan(text, lexer_for(dialect))
    ]
    assert " ".join(found) == tokens


@pytest.mark.parametrize(("dialect", "text"), REFUSED)
def test_refused(dialect: str, text: str) -> None:
    with pytest.raises(Refused):
        scan(text, lexer_for(dialect))


PIECES = [
    *("'", "''", '"', '""', "\\", "\\'", "\\\\", "E'", "e'", "b'", "x'", "X'1f'", "$$", "$a$", "$"),
    *("a$b", "/*", "*/", "/*/", "*", "/", "--", "-", "\n", " ", "a", "e", "1", "1.", "1e5", ".5"),
    *("1_0", "::", "@", "&", "|", "=", "<", "(", ")", "[", "]", "{", "}", ",", ":", "date'"),
]


def test_duckdb_cuts_accepted_texts_where_we_do() -> None:
    """Its tokens begin where ours do, and its strings are our strings."""
    duckdb = pytest.importorskip("duckdb")
    draw, lexer, accepted = random.Random(7), lexer_for("duckdb"), 0
    for _ in range(60_000):
        text = "SELECT " + "".join(draw.choices(PIECES, k=draw.randint(2, 12)))
        try:
            ours = scan(text, lexer)
        except Refused:
            continue
        accepted += 1
        theirs = [(at, str(kind)) for at, kind in duckdb.tokenize(text)]
        theirs = [(at, kind) for at, kind in theirs if "comment" not in kind]
        literals = {token.start for token in ours if token.kind in (Kind.STRING, Kind.BLOB)}
        assert {at for at, _ in theirs} <= {token.start for token in ours}, text
        assert {at for at, kind in theirs if "string" in kind} == literals, text
    assert accepted > 5_000
