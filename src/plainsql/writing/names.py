"""Names of columns where each must be unlike the others."""

from __future__ import annotations

from collections.abc import Sequence


def unique_names(columns: Sequence[str]) -> tuple[str, ...]:
    """`columns` in their order, a repeated one numbered: name, name_2, name_3.

    A query may return two columns of one name, a JSON object can't hold them.
    """
    used = set(columns)
    seen: set[str] = set()
    names = []
    for name in columns:
        chosen, number = name, 2
        while chosen in seen or (chosen != name and chosen in used):
            chosen, number = f"{name}_{number}", number + 1
        seen.add(chosen)
        names.append(chosen)
    return tuple(names)
