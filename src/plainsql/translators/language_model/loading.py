"""A language model from a folder or the Hub: base, adapter on its base, merged, quantized.

    loaded = load("runs/concerts")            # what `plainsql train` wrote
    loaded = load("Qwen/Qwen2.5-0.5B", LoadOptions(quantization="nf4-dq"))

Everything that can be wrong with a folder is a `ModelError` that says what to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plainsql.errors import ModelError, UsageError
from plainsql.translators.language_model.configuration import (
    empty_model,
    family_of,
    fingerprint,
    first_line,
    model_class,
    read_config,
)
from plainsql.translators.language_model.devices import (
    choose_device,
    compute_dtype,
    dtype_name,
    weight_dtype,
)
from plainsql.translators.language_model.four_bit import (
    bnb_config,
    device_map,
    quantization_of,
    set_compute_dtype,
    skipped_modules,
    tame_nf4,
)
from plainsql.translators.language_model.gguf_file import find_gguf, load_gguf
from plainsql.translators.language_model.hub import is_hub_id, snapshot
from plainsql.translators.language_model.libraries import library, quiet
from plainsql.translators.language_model.model_info import FILE, ModelInfo
from plainsql.translators.language_model.tokenizer_repair import load_tokenizer

__all__ = [
    "LoadOptions",
    "Loaded",
    "empty_model",
    "family_of",
    "fingerprint",
    "load",
    "load_base",
    "quiet",
    "read_config",
    "resolve",
    "tame_nf4",
]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How weights are brought into memory."""

    quantization: str = ""  # "": as saved or trained; "none", "int8", "nf4" or "nf4-dq"
    dtype: str = "auto"  # of weights that are not quantized; "auto": as saved
    device: str = "auto"  # "auto": cuda, else mps, else cpu
    compute_dtype: str = "auto"  # of products with 4-bit weights; "auto": by device
    trust_remote_code: bool = False  # run Python files that a model brings along
    revision: str = ""  # of a model on the Hub
    base: str = ""  # of an adapter whose base has moved


@dataclass(slots=True)
class Loaded:
    """A model in evaluation mode, its tokenizer, and what it is."""

    model: Any
    tokenizer: Any
    info: ModelInfo


def load(source: str | Path, options: LoadOptions | None = None) -> Loaded:
    """The model at `source`: a folder written by plainsql, any Hugging Face one, or a Hub id.

    An adapter is put on its base, which must be the one it was trained on. Raises
    `ModelError` for what is missing, corrupt or mismatched, `MissingExtra` without
    the libraries, `UsageError` for options that make no sense.
    """
    options = options or LoadOptions()
    _ready()
    folder = resolve(source, options)
    if (folder / FILE).is_file():
        info = ModelInfo.read(folder)
        if info.family == "parser":
            raise ModelError(f"{source} is a parser, not a language model.")
        if info.kind == "adapter":
            return _load_adapter(folder, info, options)
        return _load_complete(folder, str(source), info, options)
    if (folder / ADAPTER_CONFIG).is_file():
        return _load_adapter(folder, _bare_adapter(folder), options)
    return _load_complete(folder, str(source), None, options)


def load_base(source: str | Path, options: LoadOptions | None = None) -> Loaded:
    """A complete model, to train or to put an adapter on. Raises as `load` does."""
    options = options or LoadOptions()
    _ready()
    folder = resolve(source, options)
    info = ModelInfo.read(folder) if (folder / FILE).is_file() else None
    if (info and info.kind == "adapter") or (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{source} is an adapter, not a complete model.",
            hint=f"Merge it first: plainsql merge {source} --out FOLDER",
        )
    return _load_complete(folder, str(source), info, options)


def _ready() -> None:
    for name in ("torch", "transformers", "accelerate"):
        library(name)
    quiet()


def resolve(
    source: str | Path, options: LoadOptions | None = None, *, weights: bool = True
) -> Path:
    """The local folder of `source`, downloaded if it is a Hub id. Raises `ModelError`.

    For the output of `plainsql train` that is the folder best/ in it. Without `weights`
    no more than configurations is downloaded.
    """
    options = options or LoadOptions()
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if not is_hub_id(str(source)):
            raise ModelError(
                f"There is no model {str(source)!r}.",
                hint="Name a folder with a model, or one on the Hub as OWNER/NAME.",
            )
        code = options.trust_remote_code
        return snapshot(str(source), options.revision, code=code, weights=weights)
    for place in (folder, folder / "best"):
        if any((place / name).is_file() for name in (FILE, ADAPTER_CONFIG, "config.json")):
            return place
    raise ModelError(
        f"{folder} is not the folder of a model: it has no config.json.",
        hint="Name a folder written by plainsql train or by save_pretrained.",
    )


# ---- complete models ------------------------------------------------------------------


def _load_complete(
    folder: Path, source: str, info: ModelInfo | None, options: LoadOptions
) -> Loaded:
    config = read_config(folder, options)
    device = choose_device(options.device)
    quantization = _quantization(config, options, source)
    model = _weights(folder, config, quantization, device, options)
    tokenizer = load_tokenizer(folder, trust=options.trust_remote_code)
    _agree_on_padding(model, tokenizer)
    found = info or ModelInfo(kind="base", base=source)
    found = replace(
        found,
        family=family_of(config),
        base_fingerprint=fingerprint(config),
        quantization=quantization,
        dtype=dtype_name(model.dtype),
    )
    return Loaded(model, tokenizer, found)


def _quantization(config: Any, options: LoadOptions, source: str) -> str:
    saved, wanted = quantization_of(config), options.quantization
    if saved and wanted not in ("", saved):
        raise UsageError(
            f"{source} is saved as {saved} and can't be loaded as {wanted}.",
            hint="Quantize the original, unquantized model instead.",
        )
    return saved or ("" if wanted == "none" else wanted)


def _weights(
    folder: Path, config: Any, quantization: str, device: str, options: LoadOptions
) -> Any:
    if find_gguf(folder) is not None:
        return _from_gguf(folder, config, quantization, device, options)
    compute = compute_dtype(options.compute_dtype, device)
    keywords: dict[str, Any] = {
        "dtype": weight_dtype(options.dtype, device, getattr(config, "dtype", None)),
        "device_map": device_map(device, bool(quantization)),
    }
    if quantization and not quantization_of(config):
        library("bitsandbytes", feature="Quantized weights")
        skip = skipped_modules(empty_model(config)) if device == "cpu" else None
        keywords["quantization_config"] = bnb_config(quantization, compute, skip)
    model = _from_pretrained(folder, config, options, keywords)
    if quantization.startswith("nf4"):
        tame_nf4(model)
        set_compute_dtype(model, compute)
    elif keywords["device_map"] is None and device == "mps":
        model.to(device)
    return model.eval()


def _from_gguf(
    folder: Path, config: Any, quantization: str, device: str, options: LoadOptions
) -> Any:
    """The model of a GGUF file, dequantized: llama.cpp's numbers, without its speed."""
    if quantization:
        raise UsageError(
            f"{folder} holds a GGUF file and can't be loaded as {quantization}.",
            hint="Quantize the original, unquantized model instead.",
        )
    model = load_gguf(folder, weight_dtype(options.dtype, device, getattr(config, "dtype", None)))
    return model.to(device).eval()


def _from_pretrained(
    folder: Path, config: Any, options: LoadOptions, keywords: dict[str, Any]
) -> Any:
    """The model with all its weights: transformers would fill missing ones at random."""
    try:
        model, found = model_class(config).from_pretrained(
            folder,
            config=config,
            trust_remote_code=options.trust_remote_code,
            output_loading_info=True,
            **keywords,
        )
    except Exception as error:  # safetensors, torch and bitsandbytes share no base class
        if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
            raise ModelError(
                f"{folder} does not fit into the memory of the device.",
                hint="Load it smaller: quantization nf4-dq, or --device cpu.",
            ) from error
        raise ModelError(
            f"The weights in {folder} can't be loaded: {first_line(error)}",
            hint="Download or save the model again; its files are damaged or of another model.",
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors, such as {missing[0]}.",
            hint="Save the model again; config.json and the weights are of different models.",
        )
    return model


def _agree_on_padding(model: Any, tokenizer: Any) -> None:
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


# ---- adapters -------------------------------------------------------------------------


def _bare_adapter(folder: Path) -> ModelInfo:
    """What can be known of an adapter that peft saved without plainsql."""
    try:
        values = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        base = values["base_model_name_or_path"]
        if not isinstance(base, str) or not base:
            raise ValueError(f"the base model is {base!r}")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder / ADAPTER_CONFIG} can't be used: {error}",
            hint="It must name its base model as base_model_name_or_path.",
        ) from error
    return ModelInfo(kind="adapter", base=base, method=str(values.get("peft_type", "")).lower())


def _load_adapter(folder: Path, info: ModelInfo, options: LoadOptions) -> Loaded:
    library("peft", feature="An adapter")
    place = base_source(folder, info, options.base)
    base = load_base(
        place,
        replace(
            options,
            quantization=options.quantization or info.quantization,
            dtype=_trained_dtype(info, options.dtype),
            revision="",
        ),
    )
    _check_fingerprint(folder, info, place, base.info.base_fingerprint)
    model = attach_adapter(base.model, folder)
    tokenizer = load_tokenizer(folder, resolve(place), trust=options.trust_remote_code)
    _agree_on_padding(model, tokenizer)
    actual = replace(
        info,
        family=base.info.family,
        quantization=base.info.quantization,
        dtype=base.info.dtype,
    )
    return Loaded(model, tokenizer, actual)


def _trained_dtype(info: ModelInfo, wanted: str) -> str:
    """The base's number type while the adapter was trained, where it was written down."""
    known = bool(info.base_fingerprint) and info.dtype != "float16"  # float16 needs a GPU
    return info.dtype if wanted == "auto" and known else wanted


def base_source(folder: Path, info: ModelInfo, moved: str = "") -> str:
    """Where the base of the adapter in `folder` is. Raises `ModelError` if it has gone.

    It may be named relative to `folder`; `moved` stands in for the name written down.
    """
    wanted = moved or info.base
    if Path(wanted).expanduser().is_dir():
        return wanted
    if (folder / wanted).is_dir():
        return str(folder / wanted)
    if is_hub_id(wanted):
        return wanted
    raise ModelError(
        f"The base model of {folder} is gone: {wanted!r}.",
        hint=f'Put it there again, or change "base" in {folder / FILE}.',
    )


def _check_fingerprint(folder: Path, info: ModelInfo, base: str, found: str) -> None:
    """Refuse a base of another architecture than the adapter in `folder` was trained on."""
    if info.base_fingerprint and info.base_fingerprint != found:
        raise ModelError(
            f"The adapter in {folder} was trained on {info.base_fingerprint}, "
            f"but {base} is {found}.",
            hint="Use the base model the adapter was trained on.",
        )


def attach_adapter(model: Any, folder: Path) -> Any:
    """`model` with the adapter in `folder` on it, frozen, in evaluation mode."""
    from peft import LoraConfig, PeftConfig, PeftModel

    try:
        config = PeftConfig.from_pretrained(folder)
        if isinstance(config, LoraConfig):
            # Of how the *base* stores its weights, which differs once GPT-2 is quantized.
            config.fan_in_fan_out = _transposed(model)
        adapted = PeftModel.from_pretrained(model, folder, config=config, is_trainable=False)
        _check_complete(adapted, folder)
    except Exception as error:  # safetensors, torch and peft share no base class
        raise ModelError(
            f"The adapter in {folder} can't be loaded: {first_line(error)}",
            hint="Its files are damaged or of another base; train again, or take a checkpoint.",
        ) from error
    return adapted.eval()


def _transposed(model: Any) -> bool:
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def _check_complete(adapted: Any, folder: Path) -> None:
    """Compare names with the file: peft only warns about tensors it did not find."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    if not (folder / ADAPTER_WEIGHTS).is_file():
        return
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
        saved = set(file.keys())
    wanted = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if wanted - saved:
        missing = sorted(wanted - saved)
        raise ValueError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if saved.isdisjoint(wanted):
        raise ValueError("none of its tensors belongs to this base")
