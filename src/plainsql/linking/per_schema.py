"""One derived value per live schema, found by identity.

Hashing a frozen schema of 2,000 columns takes about 2 ms, too long for a key
that is looked up several times a question.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeVar

from plainsql.schema.model import Schema

T = TypeVar("T")


def per_schema(build: Callable[[Schema], T]) -> Callable[[Schema], T]:
    """Call `build` once for each schema object; the value lives as long as it."""
    values: dict[int, tuple[weakref.ref[Schema], T]] = {}

    def cached(schema: Schema) -> T:
        key = id(schema)
        held = values.get(key)
        if held is not None and held[0]() is schema:
            return held[1]
        value = build(schema)
        values[key] = (weakref.ref(schema, lambda _: values.pop(key, None)), value)
        return value

    return cached
