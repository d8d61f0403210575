"""Blocks of a schema, and leaving out of them what a prompt has no room for.

    blocks ─ fit ─▶ the text of as many as a budget holds, needed ones first

A block is one table as text. Whole tables are left out first; where even the most needed
one is too long, its columns are, one by one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

SEPARATOR = "\n"

_NAME = re.compile(r'"(?:[^"]|"")*"|[^\s",()]+')
_ITEM = re.compile(r'(?:"(?:[^"]|"")*"|[^",])+')
_LAST_COMMA = re.compile(r'^((?:"(?:[^"]|"")*"|[^",]|,(?!$| -- ))*),(?=$| -- )')
_KEY_LINES = ("  PRIMARY KEY (", "  FOREIGN KEY (")


@dataclass(frozen=True, slots=True)
class Block:
    """One table as text, its keys included. `rank` 0 is the table needed most."""

    table: str
    text: str
    rank: int
    order: tuple[int, ...] = ()  # positions of its columns, needed most first; (): as written

    def row(self) -> dict[str, Any]:
        """The block as JSON can hold it."""
        order = list(self.order)
        return {"table": self.table, "text": self.text, "rank": self.rank, "order": order}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Block:
        """The block that `row()` was made of. Raises KeyError for a missing field."""
        return cls(row["table"], row["text"], row["rank"], tuple(row.get("order") or ()))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A schema within its budget, and what had to go for it."""

    text: str
    tables: tuple[str, ...]  # shown, in the schema's order
    dropped: tuple[str, ...]  # not shown at all
    cut_columns: tuple[str, ...]  # "table.column", not shown of a table that is


def fit(blocks: Sequence[Block], budget: int, count: Callable[[str], int]) -> Fitted:
    """As many tables, needed ones first, as `budget` holds by `count`.

    The tables of the highest ranks are left out first. Where even the one of the
    lowest rank is too long alone, its columns are left out one by one; where no
    column of it fits, nothing is shown. `count` is the length of a text, in tokens.
    """
    needed = sorted(blocks, key=lambda block: block.rank)
    ends = list(accumulate(count(block.text + SEPARATOR) for block in needed))

    def fits(number: int) -> bool:
        return count(_joined(_in_order(blocks, needed[:number]))) <= budget

    # Long texts are not counted as a whole where it can be helped. But the lengths of
    # parts only nearly add up, so what is shown and one table more are.
    number = bisect_right(ends, budget)
    while number > 0 and not fits(number):
        number -= 1
    while number < len(needed) and fits(number + 1):
        number += 1
    if number or not needed:
        return _fitted(blocks, _in_order(blocks, needed[:number]))
    return _cut(blocks, needed[0], lambda text: count(text) <= budget)


def _joined(blocks: Iterable[Block]) -> str:
    return SEPARATOR.join(block.text for block in blocks)


def _in_order(blocks: Sequence[Block], kept: Sequence[Block]) -> list[Block]:
    chosen = set(map(id, kept))
    return [block for block in blocks if id(block) in chosen]


def _fitted(blocks: Sequence[Block], kept: Sequence[Block]) -> Fitted:
    chosen = set(map(id, kept))
    dropped = tuple(block.table for block in blocks if id(block) not in chosen)
    return Fitted(_joined(kept), tuple(block.table for block in kept), dropped, ())


def _cut(blocks: Sequence[Block], block: Block, fits: Callable[[str], bool]) -> Fitted:
    """The one `block` with as many of its columns as fit."""
    names = [_name_of(entry) for entry in _parts(block.text)[1] if not _is_key(entry)]
    order = [at for at in block.order if at < len(names)] or list(range(len(names)))
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_with_columns(block.text, names, order[:middle])):
            low = middle
        else:
            high = middle - 1
    dropped = tuple(other.table for other in blocks if other is not block)
    if low == 0:
        return _fitted(blocks, ())
    cut = tuple(f"{block.table}.{names[at]}" for at in sorted(order[low:]))
    return Fitted(_with_columns(block.text, names, order[:low]), (block.table,), dropped, cut)


def _with_columns(text: str, names: Sequence[str], kept: Sequence[int]) -> str:
    """The text of a table with the columns at the positions `kept` only, and their keys."""
    head, entries, tail = _parts(text)
    chosen = {names[at] for at in kept}
    shown = [entries[at] for at in sorted(kept)]
    shown += [e for e in entries if _is_key(e) and set(_names_in_key(e)) <= chosen]
    if "\n" not in text:
        return head + ", ".join(shown) + tail
    if tail == ");" and shown:
        shown[-1] = _LAST_COMMA.sub(r"\1", shown[-1], count=1)
    return "\n".join((head, *shown, tail))


def _parts(text: str) -> tuple[str, list[str], str]:
    """What opens a table, its columns and keys, and what closes it; see the three forms."""
    if "\n" in text:
        head, *entries, tail = text.split("\n")
        return head, entries, tail
    name = _NAME.match(text)
    start = (name.end() if name else 0) + 1
    items = (item.strip() for item in _ITEM.findall(text[start:-1]))
    return text[:start], [item for item in items if item], text[-1:]


def _is_key(entry: str) -> bool:
    return entry.startswith(_KEY_LINES)


def _names_in_key(entry: str) -> Iterator[str]:
    """The own columns of a PRIMARY KEY or FOREIGN KEY line."""
    inside = entry.partition("(")[2]
    for item in re.finditer(r'"(?:[^"]|"")*"|[^\s",()]+|\)', inside):
        if item[0] == ")":
            return
        yield _unquoted(item[0])


def _name_of(entry: str) -> str:
    found = _NAME.search(entry)
    return _unquoted(found[0]) if found else ""


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
