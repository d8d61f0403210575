"""A file of predictions: one query a line, in the order of the data set.

It is the file that Spider's official scripts read. A question without an answer
has the line `SELECT unanswered`, which fails in every database (there is no
such column), so no scorer can take it for right, as it could `SELECT NULL`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from plainsql.errors import UsageError

UNANSWERED = "SELECT unanswered"

_PARTS = re.compile(
    r"""(?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])
      | (?P<gap>(?:\s|--[^\n]*|/\*.*?\*/)+)""",
    re.VERBOSE | re.DOTALL,
)
_BREAKS = {"\n": 10, "\r": 13, "\t": 9}


def one_line(sql: str) -> str:
    """The same query on one line, without tabs, comments and the last semicolon.

    A line break or tab inside a string becomes `char(10)`, so that the value stays.
    """
    line = _PARTS.sub(_on_one_line, sql).strip().rstrip(";").rstrip()
    return line or UNANSWERED


def _on_one_line(part: re.Match[str]) -> str:
    if part["text"]:
        return _unbroken(part["text"])
    return re.sub(r"[\n\r\t]", " ", part["name"]) if part["name"] else " "


def _unbroken(literal: str) -> str:
    if not any(mark in literal for mark in _BREAKS):
        return literal
    pieces = re.split(r"([\n\r\t])", literal[1:-1])
    terms = [f"char({_BREAKS[p]})" if p in _BREAKS else f"'{p}'" for p in pieces if p]
    return f"({' || '.join(terms)})"


def read_predictions(path: Path) -> tuple[str, ...]:
    """The queries of a file, "" for unanswered. What follows a tab (a database) is dropped.

    Raises UsageError when the file can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    queries = (line.split("\t")[0].strip() for line in lines)
    return tuple("" if query == UNANSWERED else query for query in queries)


def align(predictions: Sequence[str], chosen: Sequence[int], total: int) -> tuple[str, ...]:
    """The predictions for the chosen examples (their positions among `total`).

    The file may hold a line for each example of the data set or for each chosen
    one; UsageError otherwise.
    """
    if len(predictions) == len(chosen):
        return tuple(predictions)
    if len(predictions) == total:
        return tuple(predictions[position] for position in chosen)
    raise UsageError(
        f"{len(predictions)} predictions for {len(chosen)} questions (of {total}).",
        hint="The file needs one line a question, in the data set's order.",
    )
