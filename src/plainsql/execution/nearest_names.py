"""What a reader could have meant by a name that isn't there, from those that are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

# Table name -> its columns, in the database's own order.
Names = Mapping[str, Sequence[str]]


def nearest_columns(wanted: str, names: Names) -> list[str]:
    """Up to three columns that are called like `wanted`, as table.column, the likest first."""
    by_column: dict[str, str] = {}
    for table, columns in names.items():
        for column in columns:
            by_column.setdefault(column.lower(), f"{table}.{column}")
    return [by_column[name] for name in _close(wanted, by_column)]


def nearest_tables(wanted: str, names: Iterable[str]) -> list[str]:
    """Up to three tables that are called like `wanted`, the likest first."""
    by_fold = {name.lower(): name for name in names}
    return [by_fold[name] for name in _close(wanted, by_fold)]


def _close(wanted: str, names: Iterable[str]) -> list[str]:
    return get_close_matches(wanted.lower(), names, n=3, cutoff=0.6)


def column_hint(wanted: str, names: Names) -> str:
    """The columns most like `wanted`, as table.column."""
    close = nearest_columns(wanted, names)
    if not close:
        return f"No column of this database is called anything like {wanted!r}."
    return f"Did you mean {' or '.join(close)}?"


def table_hint(wanted: str, names: Iterable[str]) -> str:
    """The tables most like `wanted`, or the first few of all."""
    known = list(names)
    close = nearest_tables(wanted, known)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    shown = sorted(known)[:8]
    return f"The tables are {', '.join(shown)}{', …' if len(known) > 8 else ''}."


_HINTS = (("Did you mean ", "?", " or "), ("The tables are ", ".", ", "))


def without_hidden(hint: str, shows: Callable[[str], bool]) -> str:
    """One of the hints above without the names that `shows` doesn't let pass; "" where all go.

    Engines know every name of a database, whoever asks. note: a name with " or " in
    it is read as two names.
    """
    for opening, closing, between in _HINTS:
        if hint.startswith(opening) and hint.endswith(closing):
            names = hint[len(opening) : -len(closing)].split(between)
            kept = between.join(filter(shows, names))
            return f"{opening}{kept}{closing}" if kept else ""
    return hint
