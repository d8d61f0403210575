"""What a model is, from its configuration alone: architecture, sizes, fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plainsql.errors import ModelError
from plainsql.translators.language_model.model_info import Family

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import LoadOptions


def read_config(folder: Path, options: LoadOptions | None = None) -> Any:
    """The configuration of the model in `folder`; no weights are read.

    Raises `ModelError` where there is none, or of an unknown type of model.
    """
    from transformers import AutoConfig

    trust = options.trust_remote_code if options else False
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The configuration of {folder} can't be used: {first_line(error)}",
            hint="config.json must name a model type that this version of transformers knows; "
            "a model with code of its own needs --trust-remote-code.",
        ) from error


def family_of(config: Any) -> Family:
    """Whether it is an encoder with a decoder ("seq2seq") or a decoder alone ("causal")."""
    return "seq2seq" if getattr(config, "is_encoder_decoder", False) else "causal"


def model_class(config: Any) -> Any:
    """The `transformers` class that reads weights for `config`."""
    import transformers

    if family_of(config) == "seq2seq":
        return transformers.AutoModelForSeq2SeqLM
    return transformers.AutoModelForCausalLM


def empty_model(config: Any) -> Any:
    """The model that `config` describes, without memory for its weights."""
    import torch

    with torch.device("meta"):
        return model_class(config).from_config(config)


# What makes weights fit: the same in every version of transformers, free of paths.
_SHAPE = (
    "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "intermediate_size", "n_inner", "d_ff", "num_decoder_layers",
    "head_dim", "d_kv", "tie_word_embeddings",
)  # fmt: skip


def fingerprint(config: Any) -> str:
    """A model's architecture and sizes as a short name: `llama-64x2-3f9a01bc`.

    Two models with one fingerprint have tensors of the same shapes; it says nothing of
    their values. Quantization, number type and place on disk don't change it.
    """
    text = getattr(config, "get_text_config", lambda: config)()
    shape = {name: getattr(text, name, None) for name in _SHAPE}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:8]
    return f"{shape['model_type']}-{shape['hidden_size']}x{shape['num_hidden_layers']}-{digest}"


def first_line(error: BaseException) -> str:
    """What `error` says, without the pages that some libraries add."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
