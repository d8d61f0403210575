"""What a reader could have meant by a name that isn't there, from those that are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

# Table name -> its columns, in the database's own order.
Names = Mapping[str, Sequence[str]]


def column_hint(wanted: str, names: Names) -> str:
    """The columns most like `wanted`, as table.column."""
    by_column: dict[str, str] = {}
    for table, columns in names.items():
        for column in columns:
            by_column.setdefault(column.lower(), f"{table}.{column}")
    close = get_close_matches(wanted.lower(), by_column, n=3, cutoff=0.6)
    if not close:
        return f"No column of this database is called anything like {wanted!r}."
    return "Did you mean " + " or ".join(by_column[name] for name in close) + "?"


def table_hint(wanted: str, names: Iterable[str]) -> str:
    """The tables most like `wanted`, or the first few of all."""
    by_fold = {name.lower(): name for name in names}
    close = get_close_matches(wanted.lower(), by_fold, n=3, cutoff=0.6)
    if close:
        return "Did you mean " + " or ".join(by_fold[name] for name in close) + "?"
    shown = sorted(by_fold.values())[:8]
    return f"The tables are {', '.join(shown)}{', …' if len(by_fold) > 8 else ''}."
