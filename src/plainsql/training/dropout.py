"""Dropout from cheap random bytes, and BERT attention that uses it.

torch draws a CPU dropout mask from one 32-bit Mersenne number an element, on one thread:
27 % of the parser's training step. One byte an element from numpy's SFC64 costs a
twentieth of that. The price is that the probability is rounded to 1/256.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

ATTENTION = "plainsql_eager"
_GENERATOR = [np.random.Generator(np.random.SFC64(0))]


def seed_dropout(*seed: int) -> None:
    """Make the masks from here on a function of `seed`."""
    _GENERATOR[0] = np.random.Generator(np.random.SFC64(seed))


def drop(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability p (to the nearest 1/256), scale up the rest."""
    threshold = round(p * 256)
    if not training or threshold == 0:
        return x
    numbers = _GENERATOR[0].integers(
        0, 1 << 64, size=(x.numel() + 7) // 8, dtype=np.uint64, endpoint=False
    )
    drawn = torch.from_numpy(numbers.view(np.uint8)[: x.numel()]).view(x.shape)
    return x * (drawn >= threshold).to(x.dtype).mul_(256 / (256 - threshold))


class Dropout(nn.Module):
    """`nn.Dropout` by random bytes. Not for gradient checkpointing (masks are not replayed)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x, thinned out in training mode."""
        return drop(x, self.p, self.training)


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `nn.Dropout` below a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)


def attention(
    module: nn.Module,
    query: Tensor,  # (B, H, L, d)
    key: Tensor,  # (B, H, M, d)
    value: Tensor,  # (B, H, M, d)
    attention_mask: Tensor | None,  # broadcasts to (B, H, L, M), additive
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Eager attention in the form that `transformers` calls; (B, L, H, d) and the weights."""
    scores = (query * scaling) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores + attention_mask.to(scores.dtype)
    weights = drop(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


AttentionInterface.register(ATTENTION, attention)
