"""The linear layers of a parser: plain, in NF4, or with an adapter, seen alike."""

from __future__ import annotations

from typing import Any

from bitsandbytes.functional import dequantize_4bit
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from plainsql.training.tuning.adapters import ADAPTER


def linear_layers(model: nn.Module) -> dict[str, Any]:
    """Every linear layer by name: plain, NF4 or with an adapter, each once."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, (nn.Linear, LoraLayer)) and not inside:
            found[name] = module
    return found


def base_of(layer: Any) -> Any:
    """The layer below an adapter, or the layer itself."""
    return getattr(layer, "base_layer", layer)


def merged_weight(layer: Any) -> Tensor:
    """The weight (out, in) that a layer computes with: dequantized, its adapter added."""
    weight = base_of(layer).weight
    if getattr(weight, "quant_state", None) is not None:
        weight = dequantize_4bit(weight.data, weight.quant_state)
    if layer is base_of(layer):
        return weight  # type: ignore[no-any-return]
    return weight + layer.get_delta_weight(ADAPTER)  # type: ignore[no-any-return]
