"""Execution accuracy (EX): do two queries return the same rows?

The rule is that of Spider's test-suite evaluation (Zhong et al. 2020,
https://github.com/taoyds/test-suite-sql-eval, `exec_eval.py`): the same bag of
rows, their order compared only when the gold text holds ORDER BY, columns in
any order as long as one order serves all rows, cells equal as Python values
(1 equals 1.0, and differs from '1'; no tolerance for floats; a decimal equals the
double nearest to it; NaN equals NaN), and two empty results equal whatever their
columns. Beside it stands a stricter reading that also wants the columns in the
gold's order.

Where we depart from the script:
- DISTINCT is kept by default. The script removes it from both queries unless
  it is called with `--keep_distinct`; `without_distinct` does the same.
- its first test sorts each row by the text of its cells and so tells the rows
  (1, 1.5) and (1.0, 1.5) apart; here they are equal, as its own rule says.
- text that is not UTF-8 is decoded with marks in place of the odd bytes, by the
  engine that serves users; the script drops the bytes.
- one database is run, not the distilled test suite of many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from plainsql.errors import ExecutionError, PlainsqlError
from plainsql.records import Cell, Rows, comparable

if TYPE_CHECKING:
    from plainsql.execution.base import Engine

Row = tuple[Cell, ...]
_Key = TypeVar("_Key")
# A gold result is read whole up to here; past it the question counts as failed gold.
MOST_GOLD_ROWS = 2_000_000


@dataclass(frozen=True, slots=True)
class Gold:
    """What the gold query returned, and whether its order counts."""

    rows: Rows
    ordered: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a prediction's rows compare. `error` is the engine's, "" when it ran."""

    same: bool = False
    same_in_order: bool = False  # with the columns in the gold's order too
    error: str = ""


def run_gold(engine: Engine, sql: str, *, timeout: float, keep_distinct: bool = True) -> Gold:
    """Run a gold query. `timeout` in seconds.

    Raises ExecutionError when it fails, runs out of time, or returns more than
    MOST_GOLD_ROWS rows.
    """
    text = comparable_text(sql, keep_distinct)
    rows = engine.run(text, limit=MOST_GOLD_ROWS, timeout=timeout)
    if rows.truncated:
        raise ExecutionError(f"the gold query returns more than {MOST_GOLD_ROWS:,} rows")
    return Gold(rows, ordered="order by" in sql.lower())


def compare(
    engine: Engine, gold: Gold, sql: str, *, timeout: float, keep_distinct: bool = True
) -> Comparison:
    """Run a prediction and compare its rows to the gold's. Never raises for bad SQL."""
    # One row more than the gold's shows that there are too many: a runaway join
    # is not read to its end.
    limit = len(gold.rows.rows) + 1
    try:
        rows = engine.run(comparable_text(sql, keep_distinct), limit=limit, timeout=timeout)
    except PlainsqlError as error:
        return Comparison(error=error.message)
    return Comparison(
        same=not rows.truncated and same_rows(gold.rows.rows, rows.rows, ordered=gold.ordered),
        same_in_order=not rows.truncated and _same_in_order(gold, rows),
    )


def _same_in_order(gold: Gold, rows: Rows) -> bool:
    if len(gold.rows.columns) != len(rows.columns):
        return False
    wanted, given = _comparable(gold.rows.rows), _comparable(rows.rows)
    return wanted == given if gold.ordered else Counter(wanted) == Counter(given)


def _comparable(rows: Sequence[Row]) -> list[Row]:
    """Rows whose cells are equal in Python where they are the same number."""
    return [tuple(map(comparable, row)) for row in rows]


def comparable_text(sql: str, keep_distinct: bool = True) -> str:
    """The SQL as the official script runs it: blanks in operators closed, CURDATE fixed."""
    sql = re.sub(r"([<>!]) =", r"\1=", sql)
    sql = re.sub(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", "2020", sql, flags=re.IGNORECASE)
    return sql if keep_distinct else without_distinct(sql)


_DISTINCT = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|\bdistinct\b""", re.IGNORECASE)


def without_distinct(sql: str) -> str:
    """The SQL with every keyword DISTINCT removed, outside of quotation marks."""
    return _DISTINCT.sub(lambda found: found[1] or "", sql)


def same_rows(gold: Sequence[Row], predicted: Sequence[Row], *, ordered: bool) -> bool:
    """Whether one order of columns makes the two results equal; see the module's rule."""
    if len(gold) != len(predicted):
        return False
    if not gold:
        return True
    if len(gold[0]) != len(predicted[0]):
        return False
    gold, predicted = _comparable(gold), _comparable(predicted)
    if ordered:
        # With the rows in place, columns can only be matched to equal columns.
        return Counter(zip(*gold, strict=True)) == Counter(zip(*predicted, strict=True))
    return Counter(gold) == Counter(predicted) or _Matching(gold, predicted).exists()


class _Matching:
    """The search for a column order, when the order of rows is free too.

    Rows carry a *class*: rows that may still stand for each other have the same
    one. It starts as the row's bag of cells, which no column order changes, and
    each matched column splits classes further. Columns with different
    (class, cell) counts can't match, which leaves one choice nearly always.
    """

    def __init__(self, gold: Sequence[Row], predicted: Sequence[Row]) -> None:
        self.gold = list(zip(*gold, strict=True))
        self.predicted = list(zip(*predicted, strict=True))
        bags: dict[frozenset[tuple[Cell, int]], int] = {}
        self.gold_classes = [_number(bags, _bag(row)) for row in gold]
        self.predicted_classes = [_number(bags, _bag(row)) for row in predicted]

    def exists(self) -> bool:
        """Whether some column order makes the two bags of rows equal."""
        profiles = [_profile(self.predicted_classes, column) for column in self.predicted]
        choices: list[list[int]] = []
        for column in self.gold:
            wanted = _profile(self.gold_classes, column)
            choices.append([j for j, profile in enumerate(profiles) if profile == wanted])
        order = sorted(range(len(self.gold)), key=lambda i: len(choices[i]))
        steps = [(self.gold[i], choices[i]) for i in order]
        return self._search(steps, frozenset(), self.gold_classes, self.predicted_classes)

    def _search(
        self,
        steps: list[tuple[Row, list[int]]],
        used: frozenset[int],
        gold_classes: list[int],
        predicted_classes: list[int],
    ) -> bool:
        if not steps:
            return True
        (column, choices), *rest = steps
        tried: set[Row] = set()  # equal columns are interchangeable
        for choice in choices:
            candidate = self.predicted[choice]
            if choice in used or candidate in tried:
                continue
            tried.add(candidate)
            pairs: dict[tuple[int, Cell], int] = {}
            gold = [_number(pairs, pair) for pair in zip(gold_classes, column, strict=True)]
            known = len(pairs)
            predicted = [
                _number(pairs, pair) for pair in zip(predicted_classes, candidate, strict=True)
            ]
            fits = len(pairs) == known and Counter(gold) == Counter(predicted)
            if fits and self._search(rest, used | {choice}, gold, predicted):
                return True
        return False


def _bag(row: Row) -> frozenset[tuple[Cell, int]]:
    return frozenset(Counter(row).items())


def _profile(classes: Sequence[int], column: Row) -> Counter[tuple[int, Cell]]:
    return Counter(zip(classes, column, strict=True))


def _number(numbers: dict[_Key, int], key: _Key) -> int:
    """A small integer for each different key, in order of appearance."""
    return numbers.setdefault(key, len(numbers))
