"""How the weights of a language model lie in a GGUF file, and how to read them back.

llama.cpp keeps some tensors in another form than transformers does; `Layout` holds the
differences, once, for the writer (quantization/gguf_writer.py) and for the reader below:

- its Llama rotates neighbouring dimensions of a head where transformers rotates the two
  halves: rows of the query and key projections are permuted;
- its Gemma multiplies by the norm's weight where transformers multiplies by 1 + weight.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plainsql.errors import MissingExtra, ModelError, UsageError

_AGAIN = "Quantize the model again."
Array = NDArray[Any]
SUFFIX = ".gguf"
PROMPT_KEY = "plainsql.prompt"  # in the header: the prompt of the model, as JSON
HEAD = "lm_head.weight"  # not in the file where it is the embedding


@dataclass(frozen=True, slots=True)
class Layout:
    """What the architecture is called in the file, and how its tensors differ."""

    name: str  # general.architecture
    permuted: bool = False  # rows of attn_q and attn_k
    norm_offset: float = 0.0  # added to the weights of norms


# By `model_type` of the configuration. Mistral is a Llama to llama.cpp.
LAYOUTS = {
    "llama": Layout("llama", permuted=True),
    "mistral": Layout("llama", permuted=True),
    "qwen2": Layout("qwen2"),
    "qwen3": Layout("qwen3"),
    "gemma": Layout("gemma", norm_offset=1.0),
}


@dataclass(frozen=True, slots=True)
class TensorMap:
    """Names and forms of the tensors of one model."""

    layout: Layout
    heads: int
    key_heads: int
    names: Any  # gguf.TensorNameMap

    @classmethod
    def of(cls, config: Any) -> TensorMap:
        """The map for a transformers configuration.

        Raises `UsageError` for an architecture that has no layout here.
        """
        layout = LAYOUTS.get(config.model_type)
        if layout is None:
            raise UsageError(
                f"GGUF files aren't written for {config.model_type} models.",
                hint=f"They are for {', '.join(LAYOUTS)}; other methods work for any model.",
            )
        gguf = gguf_package()
        kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
        names = gguf.get_tensor_name_map(kinds[layout.name], config.num_hidden_layers)
        heads = config.num_attention_heads
        return cls(layout, heads, config.num_key_value_heads or heads, names)

    def name(self, parameter: str) -> str:
        """The name in the file of a parameter, as "model.layers.0.mlp.up_proj.weight".

        Raises `ModelError` for a parameter that the architecture has no name for.
        """
        found = self.names.get_name(parameter, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(f"GGUF has no name for the parameter {parameter}.")
        return str(found)

    def to_file(self, name: str, values: Array) -> Array:
        """Values as transformers has them, in the file's form."""
        if heads := self._permuted_heads(name):
            return _swap_halves(values, heads, (heads, 2, -1))
        return values + self._offset(name)

    def from_file(self, name: str, values: Array) -> Array:
        """The inverse of `to_file`."""
        if heads := self._permuted_heads(name):
            return _swap_halves(values, heads, (heads, -1, 2))
        return values - self._offset(name)

    def _permuted_heads(self, name: str) -> int:
        if not self.layout.permuted:
            return 0
        return self.heads * (".attn_q." in name) or self.key_heads * (".attn_k." in name)

    def _offset(self, name: str) -> np.float32:
        return np.float32(self.layout.norm_offset * name.endswith("norm.weight"))


def _swap_halves(values: Array, heads: int, shape: tuple[int, ...]) -> Array:
    """Rows of each head read as a matrix of `shape`, transposed."""
    split = values.reshape(*shape, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(values.shape)


def gguf_package() -> Any:
    """The package `gguf`. Raises `MissingExtra`."""
    try:
        import gguf
    except ImportError as error:
        raise MissingExtra("Reading and writing GGUF files", "train") from error
    return gguf


def find_gguf(folder: Path) -> Path | None:
    """The GGUF file of a model folder, None where it has none."""
    return next(iter(sorted(folder.glob(f"*{SUFFIX}"))), None)


def load_gguf(folder: Path, dtype: Any = "auto") -> Any:
    """The transformers model in a folder with one .gguf file and its config.json.

    Its blocks are dequantized: the numbers are those that llama.cpp computes with, the
    memory is that of the unquantized model. `dtype` is a torch dtype, "auto" float32.
    transformers' own reader (`gguf_file=`) knows no Gemma and no scaled rotations.
    Raises `ModelError` when the file is missing, cut short or of another model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    path = find_gguf(folder)
    if path is None:
        raise ModelError(f"There is no {SUFFIX} file in {folder}.", hint=_AGAIN)
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    wanted = set(skeleton.state_dict())
    if config.tie_word_embeddings:
        wanted.discard(HEAD)
    state = dict(_parameters(path, config, wanted))
    if missing := sorted(wanted - set(state)):
        raise ModelError(
            f"{path} lacks {missing[0]} and {len(missing) - 1} more tensors.",
            hint="config.json beside it is of another model; quantize again.",
        )
    return type(skeleton).from_pretrained(None, config=config, state_dict=state, dtype=dtype)


def _parameters(path: Path, config: Any, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """Parameters by transformers' names, as float32 tensors."""
    import torch

    gguf, tensors = gguf_package(), TensorMap.of(config)
    names = {tensors.name(parameter): parameter for parameter in wanted}
    try:
        found = gguf.GGUFReader(path).tensors
    except (OSError, ValueError, IndexError) as error:
        raise ModelError(f"{path} is no readable GGUF file: {error}", hint=_AGAIN) from error
    for tensor in found:
        if tensor.name in names:
            values = gguf.dequantize(tensor.data, tensor.tensor_type)
            values = values.reshape(tensor.shape[::-1].tolist())
            restored = tensors.from_file(tensor.name, values).astype(np.float32)
            yield names[tensor.name], torch.from_numpy(restored)
