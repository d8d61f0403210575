"""Running queries safely: the guard, the engines and their limits.

sql ─ guard.judge ─▶ Verdict ─ Engine.run ─▶ Rows        (run_guarded does both)
"""

from __future__ import annotations

from plainsql.execution.base import Engine, open_engine, run_guarded
from plainsql.execution.guard import judge
from plainsql.execution.limits import Limits

__all__ = ["Engine", "Limits", "judge", "open_engine", "run_guarded"]
