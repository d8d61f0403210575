"""The parser made trainable by a method, and made plain again.

full       every weight but the word embeddings
lora       W + sBA with W frozen (https://arxiv.org/abs/2106.09685)
qlora      the same over W in NF4 (https://arxiv.org/abs/2305.14314)
qat        full, computing as the int8 export will (see `fake_int8`)
qat-lora   lora, computing as the int8 export of W + sBA will
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plainsql.errors import UsageError
from plainsql.training.dropout import replace_dropout
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_tuning.fake_int8 import fake_int8
from plainsql.training.parser_tuning.layers import base_of, linear_layers, merged_weight

METHODS = ("full", "lora", "qlora", "qat", "qat-lora")
ADAPTER_METHODS = frozenset({"lora", "qlora", "qat-lora"})
_NF4_MULTIPLE = 32  # bitsandbytes' CPU kernels want out_features in multiples of it


@dataclass(frozen=True, slots=True)
class Method:
    """What is trained, and how it is held."""

    name: str = "lora"
    rank: int = 16
    alpha: float = 32.0  # the update counts alpha / rank
    dropout: float = 0.05  # of the adapter's input; without effect for qat-lora
    double_quantization: bool = True  # qlora: the scales of NF4 are quantized too

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise UsageError(
                f"The parser can't be tuned by {self.name!r}.", hint=f"Use {', '.join(METHODS)}."
            )
        if self.rank < 1:
            raise UsageError(f"The rank is {self.rank}.", hint="Give --rank 1 or more.")

    @property
    def adapts(self) -> bool:
        """Whether an adapter is trained, and the base stays as it is."""
        return self.name in ADAPTER_METHODS


@dataclass(slots=True)
class Trainable:
    """A parser to train. `adapter` is peft's view of the same layers, None without one."""

    parser: ParserModel
    method: Method
    adapter: Any = None

    def counts(self) -> tuple[int, int]:
        """Trainable weights, and all of them (a 4-bit weight counts as one)."""
        trained = sum(p.numel() for p in self.parser.parameters() if p.requires_grad)
        return trained, sum(_size(parameter) for parameter in self.parser.parameters())


def trainable(model: ParserModel, method: Method) -> Trainable:
    """Prepare a float32 parser, in place. Its word embeddings are frozen by every method."""
    model.freeze_words(True)
    adapter = None
    if method.name == "qlora":
        to_nf4(model, double=method.double_quantization)
    if method.adapts:
        adapter = _with_adapter(model, method)
    if method.name.startswith("qat"):
        fake_int8(model)
    return Trainable(model, method, adapter)


def _with_adapter(model: ParserModel, method: Method) -> Any:
    """Put LoRA layers into the model; returns peft's wrapper around it."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules=adapted_layers(model, method.rank),
    )
    wrapped = get_peft_model(model, config)
    replace_dropout(model)  # peft's dropout draws from torch's generator: not resumable
    return wrapped


def adapted_layers(model: nn.Module, rank: int) -> list[str]:
    """Linear layers worth an adapter: both sides larger than its rank."""
    layers = linear_layers(model).items()
    return [n for n, layer in layers if min(layer.in_features, layer.out_features) > rank]


def to_nf4(model: nn.Module, *, double: bool) -> None:
    """Hold every linear layer that NF4 can hold in 4 bits, in place.

    Left in float32 are those whose outputs are no multiple of 32: symbols, relations and
    the auxiliary guess, less than 0.1 % of the weights.
    """
    from plainsql.translators.language_model.loading import tame_nf4

    for name, layer in linear_layers(model).items():
        if layer.out_features % _NF4_MULTIPLE == 0:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, _nf4(layer, double))
    tame_nf4(model)


def _nf4(layer: nn.Linear, double: bool) -> nn.Module:
    """A linear layer in NF4."""
    import bitsandbytes as bnb

    packed = bnb.nn.Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=torch.float32,
        compress_statistics=double,
        quant_type="nf4",
    )
    packed.load_state_dict(layer.state_dict())
    return packed.to("cpu")  # type: ignore[no-any-return]  # quantizes


@torch.no_grad()
def dense(parser: ParserModel) -> ParserModel:
    """A plain float32 copy that computes the same: dequantized, adapters merged.

    Merging into the dequantized weights is exact; merging into NF4 would round once more.
    """
    plain = ParserModel(parser.config)
    for name, target in plain.named_modules():
        source = parser.get_submodule(name)
        if isinstance(target, nn.Linear):
            target.weight.copy_(merged_weight(source))
            source = base_of(source)
            if target.bias is not None:
                target.bias.copy_(source.bias)
            continue
        for own, parameter in target.named_parameters(recurse=False):
            parameter.copy_(getattr(source, own))
    return plain.eval()


def _size(parameter: Tensor) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(state.shape.numel())
