"""How far a language model is with its answer, told to whoever watches.

    with watching(lambda tokens: print(tokens)):
        database.ask(question)     # and deep below, in a translator: written(41)

A context variable carries it, as it does the budget: no function between hands it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Heard = Callable[[int], object]

_HEARD: ContextVar[Heard | None] = ContextVar("plainsql-watching", default=None)


@contextmanager
def watching(heard: Heard) -> Iterator[None]:
    """In the body of a `with`, `heard` is called with the tokens that an answer has so far."""
    token = _HEARD.set(heard)
    try:
        yield
    finally:
        _HEARD.reset(token)


def written(tokens: int) -> None:
    """Tell whoever watches that the answer being written has `tokens` tokens."""
    heard = _HEARD.get()
    if heard is not None:
        heard(tokens)
