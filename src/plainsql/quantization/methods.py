"""The ways to make weights smaller after training, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plainsql.errors import UsageError

Library = Literal["bitsandbytes", "torchao", "gguf", "onnx"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way: who does it, how many bits a weight has, what to know before choosing it."""

    name: str
    library: Library
    bits: float  # a quantized weight takes, its scales included
    about: str


_ALL = (
    Method("nf4", "bitsandbytes", 4.5, "NormalFloat of 4 bits, a float32 scale per 64 weights"),
    Method("nf4-dq", "bitsandbytes", 4.13, "nf4 whose scales are quantized too"),
    Method("int8", "bitsandbytes", 8, "LLM.int8(): 8 bits, outlying activations in full"),
    Method("torchao-int8", "torchao", 8, "8 bits, activations quantized as they come; fast on CPU"),
    # torchao has no kernel for packed 4-bit weights on CPU, see the error it raises
    # for Int4WeightOnlyConfig: one byte holds one weight.
    Method(
        "torchao-int4", "torchao", 8, "the numbers of 4 bits, but stored as 8: to measure, no gain"
    ),
    Method("gguf-q8_0", "gguf", 8.5, "for llama.cpp: 8 bits, a float16 scale per 32 weights"),
    Method("gguf-q4_0", "gguf", 4.5, "for llama.cpp: 4 bits, a float16 scale per 32 weights"),
    Method("onnx-int8", "onnx", 8, "the parser for use: 8 bits, a scale per output channel"),
)
METHODS = {method.name: method for method in _ALL}
LANGUAGE_MODEL_METHODS = tuple(m.name for m in _ALL if m.library != "onnx")


def find_method(name: str) -> Method:
    """The method called `name`. Raises `UsageError`."""
    if name not in METHODS:
        raise UsageError(
            f"There is no quantization method {name!r}.", hint=f"Methods: {', '.join(METHODS)}."
        )
    return METHODS[name]
