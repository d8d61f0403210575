"""What a policy is: the data the guard goes by, for one SQL dialect.

Names in the sets are lower case. What is not listed is denied. A change of a
policy is a change of security: run `tests/test_guard*.py`, and read the reason
beside the group you touch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


def words(text: str) -> frozenset[str]:
    """The space-separated words of `text`, as a set."""
    return frozenset(text.split())


# Text: caps checked before anything is parsed. sqlglot's parser is recursive
# Python: about 60 nested parentheses exhaust the default recursion limit, and
# its compiled build overflows the stack instead.
MAX_CHARS = 20_000
MAX_TOKENS = 5_000
MAX_DEPTH = 32  # brackets and CASE ... END together; NOT NOT NOT ...; ARRAY<ARRAY<...
MAX_KEYWORD_COUNT = 200  # CASE and NOT, each nests the parser once
MAX_WORD_RUN = 200  # words with nothing between them: DATE DATE DATE ...
MAX_SOURCES = 100  # JOINs, set operations, SELECTs: each nests or is tried twice
MAX_COMMENTS = 200  # sqlglot keeps each with a token, some of them more than once
MAX_SUBSCRIPTS = 32  # a[1][2][3]...
MAX_WORK = 8_000  # tokens, each as often as the parser may read it; see guard_work
MAX_NUMBER = 100  # characters of one number
MAX_EXPONENT = 400  # 1e100000 is one short token and 100,000 digits to compute with
MAX_TYPE_PARAMETER = 10_000  # CHAR(n) pads to n characters
MAX_SERIES = 100_000  # rows or elements that a literal generate_series, range may have
MAX_REPEATED = 10_000  # characters that a literal repeat, lpad, space may make


class Folding(Enum):
    """How an engine compares names of tables.

    INSENSITIVE: ASCII letters of any case are equal. LOWER: bare names become
    lower case, quoted ones are exact. EXACT: both are exact, which is the safe
    reading where the server's file system decides (MySQL).
    """

    INSENSITIVE = 1
    LOWER = 2
    EXACT = 3


class ColumnCalls(Enum):
    """Which columns may be calls of functions: none, `t.f` (PostgreSQL), any (Oracle)."""

    NONE = 1
    QUALIFIED = 2
    ANY = 3


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """`name` in lower case as engines compare names: ASCII letters only.

    note: str.lower() would make U+212A (Kelvin sign) equal to "k", and a table
    expression of that name would then hide a read of the real table `k`.
    """
    return name.lower() if name.isascii() else name.translate(_ASCII_LOWER)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one SQL dialect may do. `dialect` is sqlglot's name of it."""

    dialect: str
    functions: frozenset[str]
    table_functions: frozenset[str]  # functions in FROM; their arguments are judged too
    first_words: frozenset[str]  # what a query may begin with, beside "("
    words_before_paren: frozenset[str]  # keywords and types that no call can be
    homes: frozenset[str]  # qualifiers that mean the default schema
    reserved: re.Pattern[str]  # folded names of tables that the engine makes up
    folding: Folding = Folding.INSENSITIVE
    has_spaces: bool = True  # "a.b" in a list means table b of the schema a
    forward_ctes: bool = False  # a WITH clause sees its later names (SQLite)
    refused_words: frozenset[str] = frozenset()  # bare words that are calls (PostgreSQL's user)
    statement_words: frozenset[str] = frozenset()  # begin a statement even without ";"
    function_homes: frozenset[str] = frozenset()  # qualifiers of built-in functions
    quoted_functions: bool = True  # "f"(x) calls the same function as f(x)
    dot_calls: bool = False  # value.f(x) means f(value, x)
    format_functions: frozenset[str] = frozenset()  # '%9999999d' makes one huge value
    brace_functions: frozenset[str] = frozenset()  # and so does '{:9999999}'
    granted_functions: frozenset[str] = frozenset()  # named by the user's settings
    catalogue_open: bool = False
    column_calls: ColumnCalls = ColumnCalls.NONE
    needs_list: bool = False  # no table may be read without a list of tables
    bare_tables: frozenset[str] = frozenset()  # unqualified names that hold nothing: dual
    explain_options: bool = False  # EXPLAIN (FORMAT JSON) ...
    fetch_in_brackets: bool = False  # FETCH FIRST (5) ROWS ONLY
    catalogue: frozenset[str] = frozenset()  # readable when the policy opens the catalogue
    catalogue_functions: frozenset[str] = frozenset()
    refused_types: frozenset[str] = frozenset()
    named_types: frozenset[str] | None = None  # types that aren't keywords; None: any
    database_is_home: bool = False  # the name of the open database qualifies too
    column_homes: frozenset[str] | None = None  # the databases a column may name; None: any
    extra_arguments: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)

    def reserves(self, table: str) -> bool:
        """Whether `table` (folded) names something the engine makes up."""
        return self.reserved.fullmatch(table) is not None

    def table_name(self, name: str, quoted: bool) -> str:
        """The name as the engine compares it with the names of its tables."""
        if self.folding is Folding.EXACT or (self.folding is Folding.LOWER and quoted):
            return name
        return fold(name)

    def listed_name(self, name: str) -> str:
        """A name of a schema or of a setting, ready to be compared with `table_name`."""
        return fold(name) if self.folding is Folding.INSENSITIVE else name

    def function_name(self, name: str, quoted: bool) -> str:
        """The name of a function as the engine looks it up."""
        return name if quoted and self.folding is Folding.LOWER else fold(name)
