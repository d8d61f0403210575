"""How much memory a process took at most. Imports nothing heavy."""

from __future__ import annotations

import sys
from pathlib import Path

MEGABYTE = 1e6  # bytes


def peak_memory() -> int:
    """Most bytes this process ever held, on a GPU those that torch took there.

    Linux reports as `ru_maxrss` at least what the *parent* held when it started us (the
    peak survives fork and exec), hence VmHWM, which begins anew.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_memory_mb() -> float:
    """The same in 10^6 bytes."""
    return peak_memory() / MEGABYTE
