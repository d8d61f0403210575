"""How far a long piece of work has come, on stderr, for a person at a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_EVERY = 0.2  # seconds between two looks


class Progress:
    """One line that is written over: `1,234,000 rows`. Silent unless stderr is a terminal."""

    def __init__(self, what: str, *, shown: bool = True) -> None:
        self._what = what
        self._shown = shown and sys.stderr.isatty()
        self._next = time.monotonic() + _EVERY

    def update(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Say that `done` (of `total`) are done."""
        if not self._shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        sys.stderr.write(f"\r\x1b[K{share} {self._what} {detail}".rstrip())
        sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
