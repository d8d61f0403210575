"""LoRA on every linear layer but the head: W x + (alpha / r) B A x, with W frozen.

A (r × in) starts random and B (out × r) at zero, so that training starts from the base
model (https://arxiv.org/abs/2106.09685). All linear layers rather than attention alone,
as QLoRA found necessary to reach full fine-tuning (https://arxiv.org/abs/2305.14314).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model, prepare_model_for_kbit_training
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from plainsql.errors import UsageError

ADAPTER = "default"  # peft's name of the only adapter


def lora_config(
    model: nn.Module,
    *,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: str,
    seq2seq: bool,
) -> LoraConfig:
    """peft's configuration; `target_modules` is "all-linear" or names joined by commas."""
    named = target_modules if target_modules == "all-linear" else _names(target_modules)
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=named,
        bias="none",
        task_type=TaskType.SEQ_2_SEQ_LM if seq2seq else TaskType.CAUSAL_LM,
        # GPT-2 keeps weights as (in, out) in Conv1D; quantized they are (out, in) again.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def add_adapter(model: nn.Module, config: LoraConfig) -> PeftModel:
    """`model` frozen, with a fresh adapter that trains in float32.

    Raises `UsageError` where `config` names modules the model does not have.
    """
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(
            f"LoRA can't be put on these modules: {error}",
            hint="--target-modules all-linear takes every linear layer but the head.",
        ) from error


def prepare_quantized(model: nn.Module) -> nn.Module:
    """A 4- or 8-bit `model` made ready: frozen, what is not quantized in float32."""
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def checkpoint(model: nn.Module) -> None:
    """Let `model` forget activations of its layers and compute them again when needed."""
    # Its name since transformers 5.2x; the older one warns there.
    enable = getattr(model, "activation_checkpointing_enable", None)
    # Not the reentrant kind, which wants inputs with gradients; frozen embeddings give none.
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """Names and modules of the layers that carry an adapter."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def merge_adapter(model: PeftModel) -> nn.Module:
    """The base of `model`, its weights (not quantized) changed by the adapter, without it.

    Raises `ValueError` where the adapter holds NaN or infinity.
    """
    return model.merge_and_unload(safe_merge=True)


def true_size(parameter: torch.Tensor) -> int:
    """Number of weights; a packed 4-bit tensor holds more of them than elements."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else parameter.numel()
