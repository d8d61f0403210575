"""An exponential moving average of a model's trained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EVERY = 4  # steps between updates: the decay is adapted, the cost quartered


class WeightAverage:
    """Averages `parameters` with decay `decay` a step, less during the first steps."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.tensors: list[Tensor] = [item.detach().clone() for item in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps; does nothing on most steps."""
        if step % EVERY == 0:
            decay = min(self._decay**EVERY, (1 + step) / (10 + 10 * EVERY + step))
            torch._foreach_lerp_(self.tensors, list(self._parameters), 1 - decay)

    @torch.no_grad()
    def load(self, tensors: list[Tensor]) -> None:
        """Continue from saved averages."""
        torch._foreach_copy_(self.tensors, tensors)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        current = [item.detach().clone() for item in self._parameters]
        torch._foreach_copy_(list(self._parameters), self.tensors)
        torch._foreach_copy_(self.tensors, current)
