"""A Llama that can copy before it has learned anything.

To write a value of the question into SQL is to copy, and the pair of heads that copies
(an "induction" circuit: https://arxiv.org/abs/2209.11895, Olsson et al. 2022) takes
thousands of steps to form by itself. Here it is put in before training:

    layer 0, head 0    looks at the token before, and writes it into a subspace U
    layer 1, heads     look for a place whose U holds the present token, that is, at the
                       token that followed it last time, and write that one's embedding

All other layers write nothing at first, so that the circuit is heard.

Notation: W width, D = W / heads the size of a head; pairs of a head's dimensions (f,
f + D / 2) turn by position × speed(f), which is how Llama knows positions (RoPE).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

COPYING = 3  # heads of layer 1
CONSTANT = 8.0  # dimension 0 of every embedding, in units of the others
SHARP = 0.9  # how strongly head 0 prefers the token before
MATCH = 2.5  # how strongly equal tokens attract each other
# What is written to the residual stream, beside embeddings of 0.02 a dimension.
LOUD_BEFORE, LOUD_COPY = 0.03, 0.3
QUIET = 0.3  # what is left of the random weights under the circuit


@torch.no_grad()
def put_in(model: Any, seed: int) -> None:
    """Give the untrained `model` (two layers or more) its copying heads."""
    chance = torch.Generator().manual_seed(seed)
    config, layers = model.config, model.model.layers
    size = config.hidden_size // config.num_attention_heads
    for layer in layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.model.embed_tokens.weight[:, 0] = CONSTANT * config.initializer_range
    directions = _orthogonal(2 * size, config.hidden_size, chance)
    content, subspace = directions[:size], directions[size:]  # (D, W) each
    _look_before(layers[0].self_attn, size, content, subspace)
    for head in range(min(COPYING, config.num_attention_heads)):
        _copy(layers[1].self_attn, head, size, (content, subspace), chance)


def _look_before(attention: Any, size: int, content: Tensor, subspace: Tensor) -> None:
    """Head 0: the constant dimension becomes a query that fits keys one place back."""
    half, fast = size // 2, size // 4
    speeds = torch.tensor([10000 ** (-pair / half) for pair in range(fast)])
    attention.q_proj.weight[:size] *= QUIET
    attention.k_proj.weight[:size] *= QUIET
    attention.k_proj.weight[:fast, 0] = SHARP
    attention.q_proj.weight[:fast, 0] = SHARP * torch.cos(speeds)
    attention.q_proj.weight[half : half + fast, 0] = -SHARP * torch.sin(speeds)
    attention.v_proj.weight[:size] = content
    attention.o_proj.weight[:, :size] = LOUD_BEFORE * subspace.T


def _copy(
    attention: Any, head: int, size: int, read: tuple[Tensor, Tensor], chance: torch.Generator
) -> None:
    """Queries are the present token, keys the one before each place; slow pairs only."""
    content, subspace = read
    half = size // 2
    slow = torch.cat([torch.arange(half // 2, half), torch.arange(half + half // 2, size)])
    rows = slice(head * size, (head + 1) * size)
    attention.q_proj.weight[rows] *= QUIET
    attention.k_proj.weight[rows] *= QUIET
    some = torch.randperm(size, generator=chance)[: len(slow)]
    attention.q_proj.weight[head * size + slow] = MATCH * content[some]
    attention.k_proj.weight[head * size + slow] = MATCH * subspace[some]
    said = _orthogonal(size, attention.v_proj.weight.shape[1], chance)
    attention.v_proj.weight[rows] = said
    attention.o_proj.weight[:, rows] = LOUD_COPY * said.T


def _orthogonal(number: int, width: int, chance: torch.Generator) -> Tensor:
    """`number` orthonormal directions (number, width), none of them dimension 0."""
    drawn = torch.randn(width - 1, number, generator=chance) / math.sqrt(width)
    columns, _ = torch.linalg.qr(drawn)
    return torch.cat([torch.zeros(1, number), columns]).T
