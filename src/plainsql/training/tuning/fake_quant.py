"""Quantization-aware training: weights and inputs rounded in the forward pass only.

The loss sees what the quantized model will compute; gradients pass the rounding as if
it were not there (straight-through, https://arxiv.org/abs/1308.3432; the scheme is that
of https://arxiv.org/abs/1712.05877). Two targets, which torchao can then convert to:

    int4   weights in groups of 32 along the inputs, symmetric; inputs in 8 bits a token,
           asymmetric          (`Int8DynamicActivationIntxWeightConfig`)
    int8   weights with one scale an output, symmetric; inputs in 8 bits a token,
           symmetric           (`Int8DynamicActivationInt8WeightConfig`)

Heads and embeddings are left alone: they are often one tied tensor, and the head decides
between tokens that differ by little.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.nn import functional
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8DynamicActivationIntxWeightConfig,
    Int8Tensor,
    PerGroup,
    PerRow,
    quantize_,
)
from torchao.quantization.qat import IntxFakeQuantizeConfig, IntxFakeQuantizer
from transformers.pytorch_utils import Conv1D

from plainsql.errors import UsageError
from plainsql.training.tuning.adapters import ADAPTER, lora_layers

TARGETS = ("int4", "int8")
GROUP = 32  # weights with one scale, for int4


def ptq_config(target: str) -> Any:
    """torchao's configuration that turns weights trained for `target` into quantized ones."""
    if target == "int4":
        return Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4, weight_granularity=PerGroup(GROUP)
        )
    if target == "int8":
        return Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    raise UsageError(f"There is no target {target!r}.", hint=f"Targets: {', '.join(TARGETS)}.")


class Int8Rounding(nn.Module):
    """Rows rounded to int8 with one symmetric scale each, by torchao's own int8 tensor."""

    def forward(self, x: Tensor) -> Tensor:  # (..., features)
        rounded = Int8Tensor.from_hp(x.detach(), PerRow()).dequantize()
        # The value of `rounded` with the gradient of `x`.
        return x + (rounded - x).detach()


class Scheme(nn.Module):
    """What a target does to a weight and to an input; it has no parameters of its own."""

    def __init__(self, target: str) -> None:
        super().__init__()
        ptq_config(target)  # refuses unknown targets
        if target == "int4":
            per_token = IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)
            self.inputs: nn.Module = IntxFakeQuantizer(per_token)
            grouped = IntxFakeQuantizeConfig(torch.int4, PerGroup(GROUP), is_symmetric=True)
            self.weights: nn.Module = IntxFakeQuantizer(grouped)
        else:
            self.inputs, self.weights = Int8Rounding(), Int8Rounding()

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (..., in), weight (out, in), bias (out) -> (..., out), as if quantized."""
        return functional.linear(self.inputs(x), self.weights(weight), bias)


class FakeLinear(nn.Linear):
    """A linear layer that computes as its quantized self will. Made by `prepare` alone."""

    scheme: Scheme

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        return self.scheme(x, self.weight, self.bias)


class FakeConv1D(Conv1D):
    """GPT-2's linear layer, whose weight is (in, out): quantized along its inputs as well."""

    scheme: Scheme

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        return self.scheme(x, self.weight.T, self.bias)


class FakeLora(LoraLinear):
    """A linear layer with LoRA, quantized as it will be once the adapter is merged.

    The rounding is that of W + s·B·A: rounding W and adding s·B·A afterwards would train
    for a model that merging does not produce. The adapter's dropout is not applied.
    """

    scheme: Scheme

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters or self.merged:
            return super().forward(x, *args, **kwargs)
        base = self.get_base_layer()
        with torch.autocast(x.device.type, enabled=False):  # merging adds in full precision
            weight = base.weight + self.get_delta_weight(ADAPTER).to(base.weight.dtype)
        return self.scheme(x, weight.T if isinstance(base, Conv1D) else weight, base.bias)


_PREPARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FakeLinear,
    Conv1D: FakeConv1D,
    LoraLinear: FakeLora,
}
_RESTORED = {fake: real for real, fake in _PREPARED.items()}


def prepare(model: nn.Module, target: str) -> int:
    """Let `model` compute as if quantized for `target`; return how many layers do.

    Layers change their class and nothing else: parameters keep names and values, so a
    state dict saved before, during or after fits all three. Raises `UsageError` for an
    unknown target or where no layer can be quantized.
    """
    names = quantizable(model, target)
    if not names:
        raise UsageError(
            f"No layer of this model can be trained for {target}.",
            hint=f"int4 wants layers whose number of inputs is a multiple of {GROUP}.",
        )
    for name in names:
        layer = model.get_submodule(name)
        layer.__class__ = _PREPARED[type(layer)]
        layer.add_module("scheme", Scheme(target))
    return len(names)


def restore(model: nn.Module) -> None:
    """Undo `prepare`: the layers compute with their weights as they are."""
    for layer in model.modules():
        if type(layer) in _RESTORED:
            layer.__class__ = _RESTORED[type(layer)]
            del layer.scheme


def convert(model: nn.Module, target: str) -> nn.Module:
    """`model` (adapters merged) with its layers truly quantized by torchao, in place.

    What `prepare` let it see in training. GPT-2's Conv1D layers become linear ones.
    """
    names = quantizable(model, target)
    restore(model)
    for name in names:
        layer = model.get_submodule(name)
        if isinstance(layer, Conv1D):
            model.set_submodule(name, _as_linear(layer))
    quantize_(model, ptq_config(target), filter_fn=lambda _, name: name in names)
    return model


def quantizable(model: nn.Module, target: str) -> frozenset[str]:
    """Names of the linear layers that `target` applies to: all that fit, but the head.

    In a model with LoRA the layers that carry an adapter.
    """
    head = _head(model)
    adapted = [(name, module) for name, module in lora_layers(model)]
    found = adapted or [
        (name, module) for name, module in model.named_modules() if module is not head
    ]
    return frozenset(name for name, module in found if _fits(module, target))


def _head(model: nn.Module) -> nn.Module | None:
    find = getattr(model, "get_output_embeddings", None)
    return find() if find else None


def _fits(module: nn.Module, target: str) -> bool:
    kinds = (*_PREPARED, *_RESTORED)
    if type(module) not in kinds:
        return False
    layer = module.get_base_layer() if isinstance(module, LoraLinear) else module
    inputs = layer.nx if isinstance(layer, Conv1D) else layer.in_features
    return target != "int4" or inputs % GROUP == 0


def _as_linear(layer: Conv1D) -> nn.Linear:
    linear = nn.Linear(layer.nx, layer.nf, device="meta")
    linear.weight = nn.Parameter(layer.weight.detach().T.contiguous())
    linear.bias = nn.Parameter(layer.bias.detach())
    return linear
