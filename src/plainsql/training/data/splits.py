"""Which examples train and which validate: whole databases, never one on both sides.

A *signature* is what must not be split: the name of a database, or, of schemas
without one, a table with its columns. Examples that share a signature, directly
or through others, form a *group*; a group goes to one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

BY = ("database", "query")


class Groups:
    """Groups of signatures (a union-find), with the number of examples in each."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._parents: list[int] = []
        self._sizes: list[int] = []
        self._validates: set[int] = set()

    @property
    def signatures(self) -> Iterable[str]:
        """All that were met."""
        return self._numbers.keys()

    def add(self, signatures: Sequence[str]) -> int:
        """Count one more example with these signatures; a number that stands for it."""
        first, *others = [self._number(signature) for signature in signatures]
        for other in others:
            self._join(first, other)
        self._sizes[self.root(first)] += 1
        return first

    def reserve(self, signatures: Iterable[str]) -> None:
        """Whatever shares these signatures is for validation. Counts no example."""
        self._validates.update(self._number(signature) for signature in signatures)

    def root(self, number: int) -> int:
        """What stands for the whole group of an example."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def sizes(self) -> dict[int, int]:
        """The number of examples of each group that has some."""
        return {at: size for at, size in enumerate(self._sizes) if size}

    def reserved(self) -> set[int]:
        """The groups that `reserve` named."""
        return {self.root(number) for number in self._validates}

    def names(self) -> dict[int, str]:
        """For each group the first of its signatures that was met."""
        found: dict[int, str] = {}
        for signature, number in self._numbers.items():
            found.setdefault(self.root(number), signature)
        return found

    def _number(self, signature: str) -> int:
        number = self._numbers.setdefault(signature, len(self._parents))
        if number == len(self._parents):
            self._parents.append(number)
            self._sizes.append(0)
        return number

    def _join(self, one: int, other: int) -> None:
        a, b = sorted((self.root(one), self.root(other)))
        if a != b:
            self._parents[b] = a
            self._sizes[a] += self._sizes[b]
            self._sizes[b] = 0


def validation_groups(groups: Groups, fraction: float, seed: int) -> set[int]:
    """The groups to validate on: those reserved, or else about `fraction` of the examples.

    The order in which groups are taken depends on `seed` and their names alone, so
    it is the same wherever they stand in their files. A group that would take the
    share above `fraction` is passed over; where all would, the smallest is taken.
    One group is always left to train on. 0 <= fraction < 1.
    """
    sizes, reserved = groups.sizes(), groups.reserved()
    if reserved or not fraction or len(sizes) < 2:
        return reserved
    names = groups.names()
    order = sorted(sizes, key=lambda group: _drawn(names[group], seed))
    room = fraction * sum(sizes.values())
    chosen: set[int] = set()
    for group in order:
        if sizes[group] <= room and len(chosen) + 1 < len(sizes):
            chosen.add(group)
            room -= sizes[group]
    return chosen or {min(order, key=lambda group: sizes[group])}


def _drawn(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode("utf-8", "surrogatepass")).digest()
