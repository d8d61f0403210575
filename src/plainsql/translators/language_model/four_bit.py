"""Weights in 4 and 8 bits by bitsandbytes: configured, cured of a trap, and undone.

NF4 keeps a weight as one of 16 levels, the quantiles of a normal distribution, with one
scale for 64 weights; double quantization keeps those scales in 8 bits with one float32
for 256 of them (QLoRA, https://arxiv.org/abs/2305.14314). int8 keeps a scale a row
(LLM.int8(), https://arxiv.org/abs/2208.07339).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from plainsql.errors import UsageError

QUANTIZATIONS = ("int8", "nf4", "nf4-dq")


def bnb_config(quantization: str, compute: Any, skip: list[str] | None = None) -> Any:
    """The `BitsAndBytesConfig` for "int8", "nf4" or "nf4-dq".

    `compute` is the torch dtype that matrices are multiplied in. `skip` names the
    modules left as they are; None leaves that to transformers (the output head).
    """
    from transformers import BitsAndBytesConfig

    if quantization not in QUANTIZATIONS:
        raise UsageError(
            f"Weights can't be loaded as {quantization!r}.",
            hint=f"Quantizations: {', '.join(QUANTIZATIONS)}.",
        )
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantization == "nf4-dq",
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=skip,
    )


def quantization_of(config: Any) -> str:
    """How the weights that `config` (a model's configuration) describes are quantized."""
    saved = getattr(config, "quantization_config", None)
    if saved is None:
        return ""
    values = saved if isinstance(saved, dict) else saved.to_dict()
    if values.get("load_in_8bit"):
        return "int8"
    if values.get("load_in_4bit") and values.get("bnb_4bit_quant_type") == "nf4":
        return "nf4-dq" if values.get("bnb_4bit_use_double_quant") else "nf4"
    return str(values.get("quant_method", "unknown"))


def device_map(device: str, quantized: bool) -> dict[str, Any] | None:
    """Where transformers puts the weights; None leaves them on the CPU, unplaced.

    Each process holds the whole model on its own device. FSDP and DeepSpeed place
    unquantized weights themselves.
    """
    if device.startswith("cuda"):
        sharded = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
        if not quantized and any(os.environ.get(name) == "true" for name in sharded):
            return None
        return {"": int(device.partition(":")[2] or 0)}
    # Without a map, transformers puts quantized weights on a GPU if there is one.
    return {"": device} if quantized else None


def skipped_modules(empty: Any) -> list[str] | None:
    """Modules of `empty` (a model on the meta device) that NF4 must leave alone on a CPU.

    Its kernels there want the number of outputs to be a multiple of 32. None: all fit.
    """
    from transformers.quantizers.base import get_keys_to_not_convert

    odd = [name for name, (_, outputs) in _linear_layers(empty) if outputs % 32]
    return sorted({*get_keys_to_not_convert(empty), *odd}) if odd else None


def linear_shapes(model: Any) -> Iterator[tuple[int, int]]:
    """Inputs and outputs of every linear layer of `model` but its head."""
    head = model.get_output_embeddings()
    for name, sizes in _linear_layers(model):
        if model.get_submodule(name) is not head:
            yield sizes


def _linear_layers(model: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, Conv1D):
            yield name, (module.nx, module.nf)
        elif isinstance(module, nn.Linear):
            yield name, (module.in_features, module.out_features)


def tame_nf4(model: Any) -> int:
    """Keep every 4-bit layer's weights as they were loaded; return how many there are.

    On CPUs with AVX512-BF16 the first forward pass in evaluation mode repacks the
    weights in place. Afterwards gradients are wrong (cosine 0.42 to the true ones) and
    dequantizing reads garbage. Layers that are told the CPU has no AVX512-BF16 do not.
    """
    layers = list(four_bit_layers(model))
    for _, layer in layers:
        layer.support_avx512bf16_for_cpu = False
    return len(layers)


def set_compute_dtype(model: Any, dtype: Any) -> None:
    """Let 4-bit layers multiply in `dtype`, whatever the saved configuration says."""
    for _, layer in four_bit_layers(model):
        layer.compute_dtype = dtype
        layer.compute_type_is_set = True


def four_bit_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and modules of bitsandbytes' 4-bit layers."""
    import bitsandbytes as bnb

    for name, module in model.named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            yield name, module


def dequantize(model: Any, dtype: Any) -> Any:
    """`model` with its 4- and 8-bit layers as plain ones of `dtype`, in place.

    The numbers are those that the quantized layers multiplied with, so it computes what
    it did before. GPT-2's layers become `Conv1D` again, with weights (in, out).
    """
    import bitsandbytes as bnb

    kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
    layers = [(name, item) for name, item in model.named_modules() if isinstance(item, kinds)]
    for name, layer in layers:
        model.set_submodule(name, _plain_layer(layer, dtype))
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None:
        quantizer.remove_quantization_config(model)
    for mark in ("is_loaded_in_4bit", "is_loaded_in_8bit"):
        if hasattr(model, mark):
            delattr(model, mark)  # they forbid `.to(dtype)`
    return model.to(dtype)


def _plain_layer(layer: Any, dtype: Any) -> Any:
    import torch
    from torch import nn
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight
    from transformers.pytorch_utils import Conv1D

    weight = dequantize_bnb_weight(layer.weight, getattr(layer, "state", None)).to(dtype)
    transposed = issubclass(getattr(layer, "source_cls", nn.Linear), Conv1D)
    with torch.device("meta"):
        plain: Any = (
            Conv1D(layer.out_features, layer.in_features)
            if transposed
            else nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
        )
    plain.weight = nn.Parameter(weight.T.contiguous() if transposed else weight)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.detach().to(dtype))
    return plain
