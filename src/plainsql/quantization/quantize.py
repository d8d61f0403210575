"""Quantization after training: a finished model in, a smaller one out, its error measured.

    plain model ─▶ written by bitsandbytes, torchao or gguf ─▶ loaded again ─▶ compared

What is compared is what was written: the logits of the files as `loading.load` reads
them, against those of the original.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import TorchAoConfig

from plainsql.errors import UsageError
from plainsql.quantization.files import refuse_existing, weight_bytes
from plainsql.quantization.methods import Method, find_method
from plainsql.quantization.parser import is_parser, quantize_parser
from plainsql.quantization.report import QuantizeReport
from plainsql.quantization.sources import Plain, plain_model
from plainsql.training.tuning.fake_quant import ptq_config
from plainsql.training.tuning.merge import TEXTS, logits
from plainsql.training.tuning.methods import atomic_folder
from plainsql.translators.language_model.devices import choose_device
from plainsql.translators.language_model.gguf_file import TensorMap
from plainsql.translators.language_model.loading import LoadOptions, load
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.translator import prompt_of


def quantize(
    source: str | Path,
    out: Path,
    method: str,
    *,
    force: bool = False,
    device: str = "auto",
    texts: Sequence[str] = TEXTS,
) -> QuantizeReport:
    """Write the model at `source` to the folder `out`, its weights quantized by `method`.

    `source` is a folder, the output of `plainsql train` (an adapter is merged first) or a
    Hub id, for "onnx-int8" a parser. The prompt that belongs to the model goes along. The
    folder is there whole or not at all. `texts` are what the error is measured on.
    Raises `UsageError` where `out` exists, `method` is unknown or doesn't go with the
    model, or the model is quantized already; `TrainingError` where it can't be written;
    `ModelError` where it can't be loaded.
    """
    chosen = find_method(method)
    refuse_existing(out, source, force=force)
    _check_kind(str(source), chosen)
    if chosen.library == "onnx":
        return quantize_parser(str(source), out)
    with plain_model(str(source), out.parent) as plain:
        return quantize_plain(plain, out, chosen, device=device, texts=texts)


def _check_kind(source: str, method: Method) -> None:
    parser = is_parser(source)
    if parser and method.library != "onnx":
        raise UsageError(
            f"{method.name} is for language models, {source} is a parser.",
            hint="Quantize a parser with --method onnx-int8.",
        )
    if not parser and method.library == "onnx":
        raise UsageError(
            f"{method.name} is for parsers, {source} is a language model.",
            hint="Quantize it with nf4-dq, torchao-int8 or, for llama.cpp, gguf-q4_0.",
        )


def quantize_plain(
    plain: Plain,
    out: Path,
    method: Method,
    *,
    device: str = "auto",
    texts: Sequence[str] = TEXTS,
) -> QuantizeReport:
    """`quantize` for a model that is plain already; what lies at `out` is replaced."""
    if method.library == "gguf":
        TensorMap.of(plain.config)  # says no before minutes are spent
    began = time.perf_counter()
    expected, prompt = _original(plain, device, texts)
    with atomic_folder(out) as place:
        _WRITERS[method.library](plain, place, method, device)
        gc.collect()  # the writer's model goes before the next one comes
        replace(
            plain.info,
            kind="quantized",
            base=plain.source,
            method=method.name,
            quantization=method.name,
            prompt=prompt,
        ).write(place)
        seconds = time.perf_counter() - began
        found = logits(load(place, LoadOptions(device=device)), texts)
        after = weight_bytes(place)
    error, agreement = differences(expected, found)
    return QuantizeReport(
        source=plain.source,
        out=out,
        method=method.name,
        bytes_before=weight_bytes(plain.folder),
        bytes_after=after,
        error=error,
        agreement=agreement,
        seconds=seconds,
    )


def _original(plain: Plain, device: str, texts: Sequence[str]) -> tuple[list[Tensor], PromptFormat]:
    """What the original says to the texts, and how it is asked. It is gone afterwards."""
    original = load(plain.folder, LoadOptions(device=device))
    return logits(original, texts), prompt_of(original)


def differences(expected: Sequence[Tensor], found: Sequence[Tensor]) -> tuple[float, float]:
    """|found - expected| / |expected| over all logits, and the share of equal likeliest tokens."""
    one, other = torch.cat(list(expected)), torch.cat(list(found))  # (tokens, vocabulary)
    error = ((one - other).norm() / one.norm()).item()
    return error, (one.argmax(-1) == other.argmax(-1)).float().mean().item()


# ---- the three libraries ---------------------------------------------------------------


def _bitsandbytes(plain: Plain, place: Path, method: Method, device: str) -> None:
    loaded = load(plain.folder, LoadOptions(quantization=method.name, device=device))
    loaded.model.save_pretrained(place)
    loaded.tokenizer.save_pretrained(place)


def _torchao(plain: Plain, place: Path, method: Method, device: str) -> None:
    loaded = load(plain.folder, LoadOptions(device=device))
    kind, dtype, tokenizer = type(loaded.model), loaded.model.dtype, loaded.tokenizer
    del loaded
    model = kind.from_pretrained(
        plain.folder,
        dtype=dtype,
        # What weights trained for this rounding were trained with.
        quantization_config=TorchAoConfig(ptq_config(method.name.removeprefix("torchao-"))),
        device_map={"": choose_device(device)},
    )
    if not any(_is_torchao(parameter) for parameter in model.parameters()):
        raise UsageError(
            f"torchao finds nothing to quantize in a {plain.config.model_type} model.",
            hint="Its layers are not of a kind torchao knows; use nf4-dq or int8.",
        )
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)


def _is_torchao(parameter: Tensor) -> bool:
    return type(parameter.data).__module__.startswith("torchao")


def _gguf(plain: Plain, place: Path, method: Method, device: str) -> None:
    from plainsql.quantization.gguf_writer import write_gguf

    loaded = load(plain.folder, LoadOptions(device="cpu"))
    form = method.name.removeprefix("gguf-")
    write_gguf(loaded.model, loaded.tokenizer, place, form, plain.name, prompt_of(loaded))


_WRITERS: dict[str, Callable[[Plain, Path, Method, str], None]] = {
    "bitsandbytes": _bitsandbytes,
    "torchao": _torchao,
    "gguf": _gguf,
}
