"""Running queries safely: the guard, the engines and their limits.

sql ─ guard.judge ─▶ Verdict ─ Engine.run ─▶ Rows        (run_guarded does both)

Names are resolved on first use: a worker process starts without the guard.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plainsql.execution.base import (
        Engine,
        Protection,
        RowStream,
        open_engine,
        run_guarded,
        stream_guarded,
    )
    from plainsql.execution.guard import judge
    from plainsql.execution.limits import Limits

__all__ = [
    "Engine",
    "Limits",
    "Protection",
    "RowStream",
    "judge",
    "open_engine",
    "run_guarded",
    "stream_guarded",
]
_HOME_OF = {"judge": "guard", "Limits": "limits"}


def __getattr__(name: str) -> object:
    """Import the home of a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'plainsql.execution' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'base')}"), name)
