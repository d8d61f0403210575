"""Words shortened the way schema authors do: "customer" -> "cust", "product" -> "prdct"."""

from __future__ import annotations

import random

from plainsql.schema.names import ABBREVIATIONS

_SHORT: dict[str, list[str]] = {}
for _short, _long in ABBREVIATIONS.items():
    if " " not in _long:
        _SHORT.setdefault(_long, []).append(_short)


def abbreviated(word: str, rng: random.Random) -> str:
    """A short form: a customary one, the first letters, or the word without vowels."""
    if word in _SHORT:
        return rng.choice(_SHORT[word])
    if len(word) < 6 or not word.isalpha():
        return word
    if rng.random() < 0.6:
        return word[: rng.choice((3, 4, 4))]
    return word[0] + "".join(c for c in word[1:] if c not in "aeiou")
