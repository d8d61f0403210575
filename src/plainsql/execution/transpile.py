"""SQL in the wrong dialect, written again in the engine's own.

A language model mixes dialects up: backticks for PostgreSQL, TOP for SQLite. Such a
text is read in the dialect it looks like and written in the wanted one through
sqlglot, with the parts that sqlglot leaves as they are brought over by
`transpile_rewrites`. It is a proposal and nothing more: the guard judges the result
as it judges any text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from plainsql.execution.policies.base import MAX_DEPTH
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

MAX_CHARS = 5_000  # a text is read up to nine times; the longest gold query has 600
MAX_SQUARE_BRACKETS = 100  # a[1][1]… a thousand times takes the parser seconds
_LITERALS = re.compile(r"'(?:[^']|'')*'")

# What a text shows of the dialect it was written in.
_MARKS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (dialect, re.compile(pattern, re.IGNORECASE))
    for dialect, pattern in (
        ("mysql", r"`"),
        ("mysql", r"\blimit\s+\d+\s*,\s*\d+"),
        ("mysql", r"\b(?:curdate|date_format|str_to_date|date_sub|date_add|group_concat)\s*\("),
        ("mysql", r"\b(?:substring_index|find_in_set|weekday|timestampdiff|period_diff)\s*\("),
        ("mysql", r"\b(?:ifnull|datediff|now|year|month|day|dayofweek|concat)\s*\("),
        ("mysql", r"\b(?:regexp|rlike|interval\s+\d+\s+\w+)\b"),
        ("postgres", r"::|\bilike\b|\binterval\s+'|\bdistinct\s+on\b|\s!?~\*?\s"),
        ("postgres", r"\b(?:to_char|date_trunc|date_part|string_agg|split_part|age|now)\s*\("),
        ("postgres", r"\bfilter\s*\(\s*where\b|\bextract\s*\("),
        ("tsql", r"\bselect\s+(?:distinct\s+)?top\b|\[\w[\w ]*\]"),
        ("tsql", r"\b(?:getdate|len|isnull|datepart|dateadd|charindex|iif|convert)\s*\("),
        ("tsql", r"\bdatediff\s*\(\s*(?:year|month|day|hour|minute|second)s?\s*,"),
        ("duckdb", r"\bqualify\b|\b(?:epoch|list|strptime|regexp_matches|dayname)\s*\("),
        ("duckdb", r"\bstrftime\s*\(\s*[\w.\"]+\s*,\s*'"),
        ("sqlite", r"\b(?:julianday|datetime|iif|total|instr)\s*\(|\bdate\s*\([^()]*,\s*'[-+\d]"),
        ("sqlite", r"\bstrftime\s*\(\s*''|\bdate\s*\(\s*''"),
        (
            "oracle",
            r"\b(?:nvl2?|decode|to_date|months_between)\s*\(|\bsysdate\b|\bdual\b|\brownum\b",
        ),
        ("oracle", r"\bminus\b|\bfetch\s+first\b"),
        ("bigquery", r"\bsafe_cast\s*\(|\b(?:int64|float64)\b|`\w+\.\w+"),
        ("snowflake", r"\biff\s*\(|\b(?:zeroifnull|to_varchar|object_construct)\s*\("),
    )
)
_ORDER = ("mysql", "postgres", "tsql", "duckdb", "sqlite", "oracle", "bigquery", "snowflake")


def to_dialect(sql: str, wanted: str, schema: Schema | None = None) -> str:
    """`sql` as an engine of `wanted` (sqlglot's name) understands it.

    Unchanged, byte for byte, where it is that already, where no reading of it fits,
    and for what is no query. With `schema`, names get the case and the quotes that the
    engine needs, and what stands in double quotes is a name or a text by what the
    schema knows. The engine's own dialect is tried first, then those the text shows
    marks of, then the others, always in the same order. Never raises.
    """
    if len(sql) > MAX_CHARS or _depth(sql) > MAX_DEPTH or sql.count("[") > MAX_SQUARE_BRACKETS:
        return sql
    try:
        if _fits(sql, wanted, schema):
            return sql
    except ValueError:  # a dialect sqlglot has no name for
        return sql
    for read in _readings(sql, wanted, schema):
        text = _written(sql, read, wanted, schema)
        if text and text != sql and _fits(text, wanted, schema):
            return text
    return sql


def _depth(sql: str) -> int:
    """How deep brackets nest; parsing is recursive."""
    depth = deepest = 0
    for sign in re.findall(r"[()\[\]]", sql):
        depth += 1 if sign in "([" else -1
        deepest = max(deepest, depth)
    return deepest


def _readings(sql: str, wanted: str, schema: Schema | None) -> Iterator[str]:
    """Dialects to read the text in, the likeliest first."""
    from plainsql.execution.transpile_marks import misread_in

    if not misread_in(sql, wanted, schema):
        yield wanted
    bare = _LITERALS.sub("''", sql)
    scores = {
        dialect: sum(bool(mark.search(bare)) for name, mark in _MARKS if name == dialect)
        for dialect in _ORDER
    }
    yield from sorted(
        (d for d in _ORDER if d != wanted), key=lambda d: (-scores[d], _ORDER.index(d))
    )


def _fits(sql: str, wanted: str, schema: Schema | None) -> bool:
    """Whether the text reads as the wanted dialect, in words, functions and names."""
    from plainsql.execution.transpile_marks import is_at_home

    tree = _parsed(sql, wanted)
    return tree is not None and is_at_home(sql, tree, wanted, schema)


def _written(sql: str, read: str, wanted: str, schema: Schema | None) -> str:
    """The text read in one dialect and written in another; "" where that fails."""
    from sqlglot.errors import ErrorLevel

    from plainsql.execution.transpile_names import fit_names
    from plainsql.execution.transpile_rewrites import rewritten
    from plainsql.execution.transpile_types import fit_types

    tree = _parsed(sql, read)
    if tree is None:
        return ""
    try:
        tree = rewritten(tree, read, wanted)
        fit_names(tree, wanted, schema)
        fit_types(tree, wanted, schema)
        return tree.sql(dialect=wanted, unsupported_level=ErrorLevel.RAISE, comments=False)
    except Exception:  # of many kinds, in generators and rules alike; the text is kept then
        return ""


def _parsed(sql: str, dialect: str) -> Expr | None:
    """The one query of the text; None where it is none in that dialect."""
    from sqlglot import exp, parse
    from sqlglot.errors import ErrorLevel

    _quieten()
    try:
        trees = parse(sql, read=dialect, error_level=ErrorLevel.RAISE)
    except ValueError as error:
        if "dialect" in str(error).lower():
            raise
        return None
    except Exception:  # fuzzing shows IndexError and others inside the parser
        return None
    trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
    return trees[0] if len(trees) == 1 and isinstance(trees[0], exp.Query) else None


@lru_cache(maxsize=1)
def _quieten() -> None:
    """sqlglot's warnings would put the text, with its values, into the log."""
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
