"""How much memory a method needs, from the shape of a model alone: no weights, no device.

Notation: P parameters, L of them in linear layers but the head, O = P - L the rest; N
layers, H hidden size, K size of keys (heads for keys × head size), I intermediate size, V
vocabulary; w trained parameters; T tokens of a batch (examples × length); a bytes of a
number in the forward pass (2 with bf16 or fp16, else 4). The peak is taken as the sum

    weights       full, qat           4 P           (float32, so that small updates count)
                  lora, qat-lora      2 P           (4 P where weights are kept in float32)
                  lora on int8        L + 4 O       (what is not quantized is cast to float32)
                  qlora               L / 2 + 4 O
    constants     int8                4 per output  (a float32 scale)
                  NF4                 L × 4 / 64    (a float32 scale for 64 weights)
                  NF4, double         L × (1 / 64 + 4 / (64 × 256))
                                                    (8 bits, and a float32 for 256 scales)
    gradients     4 w
    optimizer     8 w                 (Adam's two moments; 2 w in 8 bits; adafactor: 0.1 w)
    casts         2 for each float32 weight that is cast to 16 bits and kept for the
                  backward pass; qat, qat-lora: the rounded weights, 4 + a in all for int4,
                  a for int8
    activations   full                N T (4 · 4.5 H + a (4 H + 2 K + 4 I))
                  lora                N T (4 (7 H + I) + a (8 H + 2 K + 4 I))
                  qlora, int8         N T (4 (7 H + 4 I) + a (8 H + 2 K + I))
                  qat, qat-lora       as full, lora, and N T · 4 (9 H + I); int8 N T · 18 H
      with checkpointing: N T r H, r being 4 where the embeddings are float32 and a where
      they are not, and the above for one layer; casts are those of one layer, too, but for
      full, of which autocast keeps all until the forward pass ends
    logits        T V (a + 12)        (as computed, in float32, log-softmax, gradient)
    buffers       the largest dequantized matrix, where weights are quantized
    context       0.8 GB on a GPU: CUDA's context, cuBLAS workspaces, some fragmentation

The terms for activations count the tensors that `transformers` 5 saves for a Llama with
fused attention (`sdpa`), which keeps no scores; with eager attention N T heads length more
numbers. 4 w for w: an adapter's own weights are float32. GB are 10^9 bytes.

Sources: https://arxiv.org/abs/2205.05198 (activations), https://arxiv.org/abs/2305.14314
(NF4, double quantization), https://arxiv.org/abs/1910.02054 (optimizer states).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from plainsql.errors import UsageError

CUDA_CONTEXT = 800_000_000  # bytes
ADAPTERS = ("lora", "qlora", "qat-lora")
_STATES = {"adamw": 8.0, "adamw-8bit": 2.0, "paged-adamw-8bit": 2.0, "adafactor": 0.1}

ASSUMPTIONS = (
    "1 GB is 10^9 bytes. The sum of all terms, as gradients are kept between accumulated batches.",
    "Fused attention (sdpa); longest batch; AdamW states in float32 unless another is chosen.",
    f"A GPU's context and workspaces count as {CUDA_CONTEXT / 1e9:.1f} GB.",
    "One process; DDP needs as much on each GPU, and a copy of the trained gradients.",
)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a model the estimate depends on; see `decoder` and `shape_of`."""

    name: str
    hidden: int  # H
    layers: int  # N; of encoder and decoder together
    keys: int  # K: heads for keys × size of a head
    intermediate: int  # I
    vocabulary: int  # V
    linear: int  # L: weights in linear layers but the head
    other: int  # O: embeddings, head, norms, biases
    widths: int  # sum of inputs + outputs of those linear layers
    outputs: int  # sum of outputs
    largest: int  # weights of the largest of them
    bytes_saved: int = 2  # of a weight on disk: 2 for bfloat16 and float16

    @property
    def parameters(self) -> int:
        """P: all weights."""
        return self.linear + self.other


@dataclass(frozen=True, slots=True)
class Workload:
    """What is done with it. Raises `UsageError` for names that do not exist."""

    method: str = "qlora"
    rank: int = 16
    double_quantization: bool = True
    quantization: str = ""  # of lora's base: "" or "int8"
    batch: int = 1
    length: int = 512  # tokens of an example: prompt and SQL
    checkpointing: bool = True
    precision: str = "bf16"  # of the forward pass: "bf16", "fp16" or "fp32"
    dtype: str = "auto"  # of frozen weights; "auto": as saved, float32 where all are trained
    qat_target: str = "int4"  # what qat and qat-lora round to: "int4" or "int8"
    optimizer: str = "adamw"
    context: int = CUDA_CONTEXT  # 0 on a CPU

    def __post_init__(self) -> None:
        _require(self.method in ("full", "qat", *ADAPTERS), "method", self.method)
        _require(self.quantization in ("", "int8"), "quantization", self.quantization)
        _require(self.precision in ("bf16", "fp16", "fp32"), "precision", self.precision)
        _require(self.qat_target in ("int4", "int8"), "target", self.qat_target)
        _require(self.optimizer in _STATES, "optimizer", self.optimizer)

    @property
    def number(self) -> int:
        """a: bytes of a number in the forward pass."""
        return 4 if self.precision == "fp32" else 2

    @property
    def quantized(self) -> bool:
        """Whether the frozen weights are in 4 or 8 bits."""
        return self.method == "qlora" or self.quantization == "int8"

    @property
    def name(self) -> str:
        """The method with what makes it differ: "qlora, double quantization"."""
        if self.method == "qlora":
            return "qlora (NF4 + DQ)" if self.double_quantization else "qlora (NF4)"
        return f"{self.method} on int8" if self.quantization else self.method


def _require(holds: bool, what: str, value: str) -> None:
    if not holds:
        raise UsageError(f"Memory can't be estimated for the {what} {value!r}.")


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes at the peak of a training step, by what they are for."""

    method: str
    parameters: int
    trainable: int
    weights: float
    constants: float
    gradients: float
    optimizer: float
    casts: float
    activations: float
    logits: float
    buffers: float
    context: float

    @property
    def total(self) -> float:
        """The sum of all parts, in bytes."""
        return sum(value for _, value in self.parts())

    def parts(self) -> Iterator[tuple[str, float]]:
        """Name and bytes of each part."""
        for name, value in asdict(self).items():
            if name not in ("method", "parameters", "trainable"):
                yield name, value


def decoder(
    name: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int,
    vocabulary: int,
    kv_heads: int = 0,
    tied: bool = False,
) -> ModelShape:
    """The shape of a Llama-like decoder: gated MLP, RMSNorm, no biases."""
    keys = hidden // heads * (kv_heads or heads)
    matrices = [
        *[(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)],
        *[(hidden, intermediate), (hidden, intermediate), (intermediate, hidden)],
    ]
    return ModelShape(
        name=name,
        hidden=hidden,
        layers=layers,
        keys=keys,
        intermediate=intermediate,
        vocabulary=vocabulary,
        linear=layers * sum(i * o for i, o in matrices),
        other=vocabulary * hidden * (1 if tied else 2) + hidden * (2 * layers + 1),
        widths=layers * sum(i + o for i, o in matrices),
        outputs=layers * sum(o for _, o in matrices),
        largest=max(i * o for i, o in matrices),
    )


# Llama 2 (https://arxiv.org/abs/2307.09288): 6.74 and 13.02 billion parameters.
PRESETS = {
    "7b": decoder("7b", hidden=4096, layers=32, heads=32, intermediate=11008, vocabulary=32000),
    "13b": decoder("13b", hidden=5120, layers=40, heads=40, intermediate=13824, vocabulary=32000),
}


def estimate(shape: ModelShape, work: Workload) -> MemoryEstimate:
    """Memory of a training step by the formulas of this module."""
    trained = _trainable(shape, work)
    return MemoryEstimate(
        method=work.name,
        parameters=shape.parameters,
        trainable=trained,
        weights=_weights(shape, work) + (4 * trained if work.method in ADAPTERS else 0),
        constants=_constants(shape, work),
        gradients=4 * trained,
        optimizer=_STATES[work.optimizer] * trained,
        casts=_casts(shape, work),
        activations=_activations(shape, work),
        logits=work.batch * work.length * shape.vocabulary * (work.number + 12),
        buffers=work.number * shape.largest if work.quantized else 0,
        context=work.context,
    )


def table(shape: ModelShape, work: Workload) -> list[MemoryEstimate]:
    """An estimate for every method, with what else `work` says, the largest first."""
    plain = replace(work, quantization="")
    variants = [
        *[replace(plain, method=method) for method in ("qat", "full", "qat-lora", "lora")],
        replace(plain, method="lora", quantization="int8"),
        replace(plain, method="qlora", double_quantization=False),
        replace(plain, method="qlora", double_quantization=True),
    ]
    found = [estimate(shape, variant) for variant in variants]
    return sorted(found, key=lambda item: -item.total)


def _trainable(shape: ModelShape, work: Workload) -> int:
    return work.rank * shape.widths if work.method in ADAPTERS else shape.parameters


def _weights(shape: ModelShape, work: Workload) -> float:
    if work.method == "qlora":
        return shape.linear / 2 + 4 * shape.other
    if work.quantized:
        return shape.linear + 4 * shape.other
    return _kept(shape, work) * shape.parameters


def _kept(shape: ModelShape, work: Workload) -> int:
    """Bytes of a weight that is not quantized, in memory."""
    if work.quantized:
        return 4
    if work.dtype == "auto":
        return shape.bytes_saved if work.method in ADAPTERS else 4
    return 4 if work.dtype in ("float32", "fp32") else 2


def _constants(shape: ModelShape, work: Workload) -> float:
    if work.method == "qlora":
        each = 1 / 64 + 4 / (64 * 256) if work.double_quantization else 4 / 64
        return shape.linear * each
    return 4 * shape.outputs if work.quantized else 0


def _casts(shape: ModelShape, work: Workload) -> float:
    """Copies of weights that the backward pass needs."""
    cast = _kept(shape, work) == 4 and work.number == 2
    if work.method == "full":  # autocast keeps copies of trained weights until it ends
        return 2 * shape.parameters if cast else 0
    head = 2 * shape.vocabulary * shape.hidden if cast else 0
    linear = shape.linear / (shape.layers if work.checkpointing else 1)
    if work.method in ("qat", "qat-lora"):
        grouped = 4 if work.qat_target == "int4" else 0
        return head + (grouped + work.number) * linear
    return head + (2 * linear if cast and not work.quantized else 0)


def _activations(shape: ModelShape, work: Workload) -> float:
    tokens = work.batch * work.length
    layer = tokens * _of_a_layer(shape, work)
    if not work.checkpointing:
        return shape.layers * layer
    kept = 4 if _kept(shape, work) == 4 else work.number
    return shape.layers * tokens * kept * shape.hidden + layer


def _of_a_layer(shape: ModelShape, work: Workload) -> float:
    """Bytes a token that one layer keeps for the backward pass."""
    h, k, i, a = shape.hidden, shape.keys, shape.intermediate, work.number
    rounding = 0.0
    if work.method in ("qat", "qat-lora"):
        rounding = 4 * (9 * h + i) if work.qat_target == "int4" else 4 * 4.5 * h
    if work.method not in ADAPTERS:
        return 4 * 4.5 * h + a * (4 * h + 2 * k + 4 * i) + rounding
    if work.quantized:
        return 4 * (7 * h + 4 * i) + a * (8 * h + 2 * k + i)
    return 4 * (7 * h + i) + a * (8 * h + 2 * k + 4 * i) + rounding


def shape_of(config: Any, name: str = "") -> ModelShape:
    """The shape of the model that a `transformers` configuration describes.

    Its layers are counted on torch's meta device, where weights take no memory. Raises
    `ModelError` for a configuration of no language model.
    """
    from plainsql.translators.language_model.devices import dtype_name
    from plainsql.translators.language_model.four_bit import linear_shapes
    from plainsql.translators.language_model.loading import empty_model

    text = config.get_text_config()
    model = empty_model(config)
    sizes = list(linear_shapes(model))
    linear = sum(i * o for i, o in sizes)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return ModelShape(
        name=name or str(config.model_type),
        hidden=text.hidden_size,
        layers=text.num_hidden_layers + (getattr(text, "num_decoder_layers", None) or 0),
        keys=heads * size,
        intermediate=max(max(i, o) for i, o in sizes),
        vocabulary=text.vocab_size,
        linear=linear,
        other=sum(item.numel() for item in model.parameters()) - linear,
        widths=sum(i + o for i, o in sizes),
        outputs=sum(o for _, o in sizes),
        largest=max(i * o for i, o in sizes),
        bytes_saved=4 if dtype_name(getattr(config, "dtype", None)) in ("None", "float32") else 2,
    )
