"""Where SQL dialects part ways, as data: what the renderer asks before it writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from sqlglot.dialects.dialect import Dialect, NormalizationStrategy

from plainsql.logical_form.reserved import ANYWHERE, RESERVED

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """How one dialect departs from SQLite, whose rows are the reference.

    The defaults are careful: they hold for engines that nothing is known of.
    """

    dialect: str
    reserved: frozenset[str] = ANYWHERE
    folds: str = ""  # "lower" or "upper": what becomes of a name without quotes
    loose: bool = False  # types convert by themselves, any row gives a bare column
    like_ignores_case: bool = False
    like_escapes: bool = False  # a backslash in a pattern takes the next sign literally
    booleans_count: bool = False  # TRUE is the number 1
    null_by_zero: bool = False  # x / 0 is NULL
    divides_whole: bool = True  # 7 / 2 is 3
    averages_cut: bool = True  # AVG of whole numbers is cut to few digits, or none
    text_to_number: str = "cast"  # or "loose", "try_cast", "pattern"
    limit_in_in: bool = True  # IN (SELECT ... LIMIT n)
    repeated_names: bool = False  # two columns of a derived table may have one name

    def quotes(self, name: str) -> bool:
        """Whether `name` needs quotes to be read as it is."""
        if not _PLAIN_NAME.match(name) or name.lower() in self.reserved:
            return True
        return bool(self.folds) and name != getattr(name, self.folds)()


_KNOWN = (
    Rules(
        "sqlite",
        RESERVED["sqlite"],
        loose=True,
        like_ignores_case=True,
        booleans_count=True,
        null_by_zero=True,
        averages_cut=False,
        text_to_number="loose",
        repeated_names=True,
    ),
    Rules(
        "duckdb",
        RESERVED["duckdb"],
        divides_whole=False,
        averages_cut=False,
        text_to_number="try_cast",
        repeated_names=True,
    ),
    Rules(
        "postgres",
        RESERVED["postgres"],
        folds="lower",
        like_escapes=True,
        averages_cut=False,
        text_to_number="pattern",
        repeated_names=True,
    ),
    Rules(
        "mysql",
        RESERVED["mysql"],
        like_ignores_case=True,
        like_escapes=True,
        booleans_count=True,
        null_by_zero=True,
        text_to_number="loose",
        limit_in_in=False,
    ),
)
_FOLDS = {NormalizationStrategy.LOWERCASE: "lower", NormalizationStrategy.UPPERCASE: "upper"}


@cache
def rules_of(dialect: str) -> Rules:
    """The rules of a dialect by sqlglot's name. Raises ValueError for a name nobody has."""
    known = {rules.dialect: rules for rules in _KNOWN}
    if dialect in known:
        return known[dialect]
    strategy = Dialect.get_or_raise(dialect).normalization_strategy
    return Rules(dialect, folds=_FOLDS.get(strategy, ""))
