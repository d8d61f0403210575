"""Training with the rounding of the exported int8 network (QAT).

The export stores each linear layer as int8 with a scale per output channel, and
onnxruntime rounds the layer's input to uint8 with one scale and zero point for the whole
tensor, at run time (`DynamicQuantizeLinear`). Here both roundings happen in the forward
pass, in float32, by the same rules, and the gradient passes them unchanged (the
straight-through estimator, https://arxiv.org/abs/1308.3432). With an adapter the sum
W + sBA is what is rounded, since fq(W) + sBA is not what will be exported.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from plainsql.training.parser_tuning.layers import base_of, linear_layers, merged_weight

WEIGHT_LEVELS = 127  # symmetric: -127 … 127
INPUT_LEVELS = 255  # asymmetric: 0 … 255


def fake_weight(weight: Tensor) -> Tensor:
    """A weight (out, in) as the export stores it: one scale per output channel."""
    most = weight.detach().abs().amax(dim=1, keepdim=True).float()
    scale = torch.where(most > 0, most / WEIGHT_LEVELS, torch.ones_like(most))
    rounded = (weight.float() / scale).round().clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS) * scale
    return _straight_through(weight, rounded)


def fake_input(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """An input as onnxruntime rounds it; `dims` are reduced to find the range.

    The range always holds 0. Rounding is to even, as ONNX defines it.
    """
    low = x.detach().float().amin(dim=dims, keepdim=True).clamp(max=0)
    high = x.detach().float().amax(dim=dims, keepdim=True).clamp(min=0)
    width = high - low
    scale = torch.where(width > 0, width / INPUT_LEVELS, torch.ones_like(width))
    zero = (-low / scale).round().clamp(0, INPUT_LEVELS)
    steps = ((x.float() / scale).round() + zero).clamp(0, INPUT_LEVELS)
    return _straight_through(x, (steps - zero) * scale)


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The value of `rounded` with the gradient of x."""
    return x + (rounded.to(x.dtype) - x).detach()


def fake_int8(model: nn.Module) -> nn.Module:
    """Make every linear layer of a parser compute as its int8 export will.

    The layers stay in place, under their names; only their `forward` is replaced. In
    training the range of an input is that of one example in the encoder and of one step in
    the decoder, as at run time, where there is one question and one step at once.
    """
    for name, layer in linear_layers(model).items():
        layer.forward = partial(_forward, layer, _in_decoder(name))
    return model


def _in_decoder(name: str) -> bool:
    """Whether a layer reads the decoder's steps: the others read question and schema."""
    own = ("self_attention", "cross_attention.query", "cross_attention.output", "up", "down")
    outputs = ("symbol_output", "pointer_query", "relation_output")
    _, _, tail = name.partition("layers.")
    return name in outputs or (name.startswith("layers.") and tail[2:].startswith(own))


def _forward(layer: nn.Module, by_step: bool, x: Tensor) -> Tensor:
    """A linear layer with input and (merged) weight rounded."""
    if not layer.training:
        dims = tuple(range(x.ndim))
    else:
        dims = (-1,) if by_step else tuple(range(1, x.ndim))
    weight = fake_weight(merged_weight(layer))
    return functional.linear(fake_input(x, dims), weight, base_of(layer).bias)
