"""What the query tree has no word for. Apart, so that no reader of the tree needs sqlglot."""

from __future__ import annotations

from typing import NoReturn


class NotCovered(ValueError):
    """The statement says something the query tree has no word for."""


def refuse(reason: str) -> NoReturn:
    """Raises `NotCovered`; as an expression it ends an `x or refuse(…)`."""
    raise NotCovered(reason)
