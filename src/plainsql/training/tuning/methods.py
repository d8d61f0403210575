"""The ways to fine-tune a language model, and what each leaves on disk.

method     base weights            trained                      saved
lora       as saved, or int8       r (in + out) a layer         adapter
qlora      NF4, 4.1 to 4.5 bits    r (in + out) a layer         adapter
full       float32                 all                          the whole model
qat        float32, rounded        all                          the whole model
qat-lora   as saved, rounded       r (in + out) a layer         adapter
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import set_seed

from plainsql.errors import TrainingError, UsageError
from plainsql.training.tuning import fake_quant
from plainsql.training.tuning.adapters import (
    add_adapter,
    checkpoint,
    lora_config,
    prepare_quantized,
    true_size,
)
from plainsql.translators.language_model.devices import dtype_name
from plainsql.translators.language_model.loading import Loaded, LoadOptions, load_base
from plainsql.translators.language_model.model_info import Kind, PromptFormat

METHODS = ("full", "lora", "qat", "qat-lora", "qlora")


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """How a base model is made trainable. Raises `UsageError` for values that can't be."""

    method: str = "lora"  # one of METHODS
    rank: int = 16  # r: memory and time of the adapter grow with it
    alpha: int = 32  # the adapter counts alpha / rank times
    dropout: float = 0.05  # on the adapter's input; not applied by qat-lora
    target_modules: str = "all-linear"  # or names joined by commas
    double_quantization: bool = True  # qlora: 0.37 bits a weight less, no cost in speed
    compute_dtype: str = "auto"  # qlora: of products; bfloat16 where the device has it
    quantization: str = ""  # of lora's base: "" or "int8"
    qat_target: str = "int4"  # or "int8": what qat and qat-lora train for
    dtype: str = "auto"  # of weights; "auto": as saved, float32 where all are trained
    gradient_checkpointing: bool = False  # about a third slower, activations of one layer
    trust_remote_code: bool = False  # run Python files that the base brings along
    revision: str = ""  # of a base on the Hub

    def __post_init__(self) -> None:
        _require(self.method in METHODS, f"--method {self.method}", ", ".join(METHODS))
        _require(self.rank >= 1, f"--rank {self.rank}", "1 or more")
        _require(self.alpha >= 1, f"--alpha {self.alpha}", "1 or more")
        _require(0 <= self.dropout < 1, f"--dropout {self.dropout}", "0 to below 1")
        _require(
            self.quantization == "" or (self.method, self.quantization) == ("lora", "int8"),
            f"--quantization {self.quantization} with --method {self.method}",
            "int8 with --method lora; qlora is NF4 by itself",
        )
        targets = fake_quant.TARGETS
        _require(self.qat_target in targets, f"--qat-target {self.qat_target}", ", ".join(targets))

    @property
    def base_quantization(self) -> str:
        """How the base is loaded: "none", "int8", "nf4" or "nf4-dq"."""
        if self.method == "qlora":
            return "nf4-dq" if self.double_quantization else "nf4"
        return self.quantization or "none"


def _require(holds: bool, what: str, allowed: str) -> None:
    if not holds:
        raise UsageError(f"{what} can't be used.", hint=f"Allowed: {allowed}.")


def prepare_model(
    base: str | Path, options: MethodOptions, *, device: str = "auto", seed: int = 0
) -> Loaded:
    """The model at `base`, trainable by `options.method`, in training mode.

    The same seed gives the same adapter. Raises `ModelError` for a base that can't be
    loaded, `UsageError` for one that the method does not fit.
    """
    _refuse_sharded(options)
    whole = options.method in ("full", "qat")
    loaded = load_base(
        base,
        LoadOptions(
            quantization=options.base_quantization,
            # Updates of 1e-5 of a weight vanish in bfloat16; mixed precision casts copies.
            dtype="float32" if whole and options.dtype == "auto" else options.dtype,
            device=device,
            compute_dtype=options.compute_dtype,
            trust_remote_code=options.trust_remote_code,
            revision=options.revision,
        ),
    )
    set_seed(seed)
    model = _PREPARE[options.method](loaded, options)
    model.config.use_cache = False  # of no use in training, and recomputing forbids it
    if options.gradient_checkpointing:
        checkpoint(model)
    kind: Kind = "full" if whole else "adapter"
    source = str(base) if not Path(base).expanduser().is_dir() else _absolute(base)
    info = replace(
        loaded.info,
        kind=kind,
        method=options.method,
        base=source,
        # Not the base's where a quantized one had the rest cast: it must load like this.
        dtype=dtype_name(model.get_input_embeddings().weight.dtype),
    )
    return Loaded(model.train(), loaded.tokenizer, info)


def _refuse_sharded(options: MethodOptions) -> None:
    """FSDP flattens weights of one type; quantized ones next to float32 ones are not."""
    if options.base_quantization != "none" and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise UsageError(
            f"{options.method} on a quantized base can't be sharded by FSDP.",
            hint="Launch with DDP: a quantized base fits whole on each GPU.",
        )


def _absolute(folder: str | Path) -> str:
    return str(Path(folder).expanduser().absolute())


def _full(loaded: Loaded, options: MethodOptions) -> nn.Module:
    return loaded.model.requires_grad_(True)


def _qat(loaded: Loaded, options: MethodOptions) -> nn.Module:
    model = _full(loaded, options)
    fake_quant.prepare(model, options.qat_target)
    return model


def _lora(loaded: Loaded, options: MethodOptions) -> nn.Module:
    model = loaded.model
    if loaded.info.quantization:
        model = prepare_quantized(model)
    config = lora_config(
        model,
        rank=options.rank,
        alpha=options.alpha,
        dropout=options.dropout,
        target_modules=options.target_modules,
        seq2seq=loaded.info.family == "seq2seq",
    )
    return add_adapter(model, config)


def _qat_lora(loaded: Loaded, options: MethodOptions) -> nn.Module:
    model = _lora(loaded, replace(options, dropout=0.0))
    fake_quant.prepare(model, options.qat_target)
    return model


_PREPARE: dict[str, Callable[[Loaded, MethodOptions], nn.Module]] = {
    "full": _full,
    "lora": _lora,
    "qat": _qat,
    "qat-lora": _qat_lora,
    "qlora": _lora,
}


def trainable_counts(model: nn.Module) -> tuple[int, int]:
    """Numbers of trainable and of all parameters; a packed 4-bit weight counts in full."""
    sizes = [(true_size(item), item.requires_grad) for item in model.parameters()]
    return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def save_model(
    loaded: Loaded,
    folder: Path,
    prompt: PromptFormat,
    *,
    state_dict: dict[str, Any] | None = None,
) -> None:
    """Write the adapter or the whole model, its tokenizer and plainsql.json to `folder`.

    The folder appears complete or not at all; one of that name is replaced. `state_dict`
    stands in for the model's own where another process gathered it (FSDP, DeepSpeed).
    Raises `TrainingError` where it can't be written.
    """
    info = replace(loaded.info, prompt=prompt)
    with atomic_folder(folder) as place:
        keywords: dict[str, Any] = {} if state_dict is None else {"state_dict": state_dict}
        if isinstance(loaded.model, PeftModel):
            # Embeddings are never trained; "auto" would ask the Hub about them.
            keywords["save_embedding_layers"] = False
        loaded.model.save_pretrained(place, **keywords)
        (place / "README.md").unlink(missing_ok=True)  # peft's is an empty form
        loaded.tokenizer.save_pretrained(place)
        info.write(place)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that becomes it when the block ends well.

    Raises `TrainingError` where anything can't be written; what was there stays.
    """
    place = folder.with_name(f".{folder.name}.writing")
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        yield place
        _flush(place)
        _replace(place, folder)
    except Exception as error:
        shutil.rmtree(place, ignore_errors=True)
        if not _is_write_error(error):
            raise
        raise TrainingError(
            f"{folder} can't be written: {error}",
            hint="Free some space or choose another folder; what was saved before is intact.",
        ) from error


def _is_write_error(error: Exception) -> bool:
    # safetensors reports a full disk by an exception of its own, torch by RuntimeError.
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        return True
    return isinstance(error, RuntimeError) and "write" in str(error).lower()


def _flush(folder: Path) -> None:
    """Bring the files to disk, so that a full one shows now, before anything is replaced."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _replace(place: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    place.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def device_of(model: nn.Module) -> torch.device:
    """Where the inputs of `model` belong."""
    return next(model.parameters()).device
