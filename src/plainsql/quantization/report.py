"""What quantizing a model did to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """Sizes in bytes of the weight files; errors of what was written, loaded again."""

    source: str
    out: Path
    method: str
    bytes_before: int
    bytes_after: int
    error: float  # of the logits: |after - before| / |before|
    agreement: float | None  # share of positions with the same likeliest token
    seconds: float  # to quantize and to write, without measuring

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "source": self.source,
            "out": str(self.out),
            "method": self.method,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "error": self.error,
            "agreement": self.agreement,
            "seconds": round(self.seconds, 3),
        }
