"""Wall-clock times of the stages of one question, in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Starts when made; `stage` adds to the time of a named stage."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a `with` as part of the stage `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + _ms_since(begin)

    def read(self) -> dict[str, float]:
        """The stages in the order they began, and `total` since the start."""
        return self._stages | {"total": _ms_since(self._start)}


def _ms_since(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000
