"""A language model of the Llama kind as one GGUF file, for llama.cpp and what is built on it.

Types of tensors follow llama.cpp's own `quantize`: matrices take the wanted type, vectors
stay float32, the output projection is kept at 8 bits in a 4-bit file, and a row that can't
be divided into blocks of 32 stays float16.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import LlamaFileType, RopeScalingType

from plainsql.errors import ModelError
from plainsql.quantization.gguf_tokenizer import add_tokenizer
from plainsql.translators.language_model.gguf_file import HEAD, PROMPT_KEY, SUFFIX, Array, TensorMap
from plainsql.translators.language_model.model_info import PromptFormat

FORMATS = {
    "f32": (Type.F32, LlamaFileType.ALL_F32),
    "f16": (Type.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (Type.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (Type.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file; `values` are read from the model when it is written."""

    name: str
    type: Type
    parameter: Any  # torch.Tensor


def write_gguf(
    model: Any,
    tokenizer: Any,
    folder: Path,
    form: str,
    name: str = "",
    prompt: PromptFormat | None = None,
) -> Path:
    """Write `model` to `folder`/NAME-FORM.gguf; return the path.

    `form` is a key of `FORMATS`, `prompt` how the model is asked, so that the file tells it
    wherever it goes. One tensor at a time is in memory beside the model. Beside the file go
    config.json and the tokenizer's own files, which `loading.load` reads.
    Raises `ModelError` for an architecture or a tokenizer that llama.cpp doesn't know.
    """
    config = model.config
    tensor_map = TensorMap.of(config)
    wanted, file_type = FORMATS[form]
    path = folder / f"{_safe(name) or 'model'}-{form}{SUFFIX}"
    writer = gguf.GGUFWriter(path, tensor_map.layout.name)
    _add_sizes(writer, config)
    _add_rotation(writer, config)
    writer.add_file_type(file_type)
    if form.startswith("q"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if name:
        writer.add_name(name)
    if prompt:
        writer.add_string(PROMPT_KEY, json.dumps(asdict(prompt)))
    add_tokenizer(writer, tokenizer, rows=config.vocab_size)
    _write(writer, list(tensors_of(model, tensor_map, wanted)), _factors(config), tensor_map)
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return path


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in name).strip("-.")


def tensors_of(model: Any, tensor_map: TensorMap, wanted: Type) -> Iterator[Tensor]:
    """What goes into the file. Tied weights are there once, as the embedding."""
    tied = model.config.tie_word_embeddings
    for parameter_name, values in model.state_dict().items():
        if tied and parameter_name == HEAD:
            continue
        name = tensor_map.name(parameter_name)
        yield Tensor(name, _type_of(name, values.shape, wanted, tied), values)


def _type_of(name: str, shape: Any, wanted: Type, tied: bool) -> Type:
    if len(shape) < 2:
        return Type.F32
    is_output = name == _OUTPUT or (tied and name == _EMBEDDING)
    if wanted == Type.Q4_0 and is_output:
        wanted = Type.Q8_0  # llama.cpp takes Q6_K; the package `gguf` can't write that
    block, _ = gguf.GGML_QUANT_SIZES[wanted]
    return wanted if shape[-1] % block == 0 else Type.F16


def _write(
    writer: Any, tensors: list[Tensor], factors: Array | None, tensor_map: TensorMap
) -> None:
    """The file: header, keys, table of tensors, then their values one by one."""
    for tensor in tensors:
        shape = tuple(tensor.parameter.shape)
        stored = gguf.quant_shape_to_byte_shape(shape, tensor.type)
        writer.add_tensor_info(tensor.name, stored, np.uint8, math.prod(stored), tensor.type)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(_stored(tensor, tensor_map))
        if factors is not None:
            writer.write_tensor_data(factors)
    finally:
        writer.close()


def _stored(tensor: Tensor, tensor_map: TensorMap) -> Array:
    values = tensor.parameter.detach().float().cpu().numpy()
    moved = np.ascontiguousarray(tensor_map.to_file(tensor.name, values))
    return np.asarray(gguf.quantize(moved, tensor.type)).view(np.uint8)


def _head_size(config: Any) -> int:
    stated = getattr(config, "head_dim", None)
    return int(stated or config.hidden_size // config.num_attention_heads)


def _add_sizes(writer: Any, config: Any) -> None:
    heads, head_size = config.num_attention_heads, _head_size(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads or heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_rotation(writer: Any, config: Any) -> None:
    """Base and scaling of rotary positions. "llama3" is a tensor, see `_factors`."""
    rope = config.rope_parameters
    kind = rope.get("rope_type", "default")
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    if kind in ("default", "llama3"):
        return
    if kind not in ("linear", "yarn"):
        raise ModelError(f"Rotary positions of type {kind!r} can't be written to GGUF.")
    writer.add_rope_scaling_type(RopeScalingType(kind))
    writer.add_rope_scaling_factor(float(rope["factor"]))
    if kind == "yarn":
        original = rope.get("original_max_position_embeddings") or config.max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(int(original))


def _factors(config: Any) -> Array | None:
    """By what llama.cpp divides each frequency of a Llama 3.1 and later: (head size / 2,).

    The rule of https://github.com/meta-llama/llama-models (`apply_scaling`): low frequencies
    are divided by `factor`, high ones kept, those between interpolated.
    """
    rope = config.rope_parameters
    if rope.get("rope_type") != "llama3":
        return None
    head_size = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    powers = np.arange(0, head_size, 2, dtype=np.float64) / head_size
    frequencies = float(rope["rope_theta"]) ** -powers
    wavelengths = 2 * np.pi / frequencies
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    position = rope["original_max_position_embeddings"] / wavelengths
    smooth = np.clip((position - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / float(rope["factor"]) + smooth)).astype(np.float32)
