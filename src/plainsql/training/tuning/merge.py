"""An adapter made part of its base's weights: W' = W + (alpha / r) B A.

There is one path, whatever the base was trained as:

    dequantize ─▶ merge ─▶ save ─▶ (quantize again)

An adapter trained on NF4 has learned to correct *those* rounded weights. Merged into
the float original it would correct errors that are not there: on a toy the loss went
from 3.873 to 4.101, while merging into the dequantized base kept 3.873. Rounding the
merged weights again loses as much (4.102), so measure after `requantize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from plainsql.errors import ModelError, TrainingError, UsageError
from plainsql.training.tuning.adapters import merge_adapter
from plainsql.training.tuning.methods import atomic_folder, device_of
from plainsql.translators.language_model.devices import dtype_name, parse_dtype
from plainsql.translators.language_model.four_bit import QUANTIZATIONS, dequantize
from plainsql.translators.language_model.loading import (
    Loaded,
    LoadOptions,
    attach_adapter,
    base_source,
    load,
    load_base,
    read_config,
    resolve,
)
from plainsql.translators.language_model.model_info import ModelInfo
from plainsql.translators.parser.weights import is_parser

# What logits are compared on: the words of schemas, questions and SQL.
TEXTS = (
    "CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER)",
    "How many singers from France are older than 30?",
    "SELECT country, count(*) FROM singer GROUP BY country ORDER BY count(*) DESC LIMIT 1",
)


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What merging did to the model, measured on `TEXTS` after loading it from `out`."""

    out: Path
    base: str
    method: str  # the adapter was trained by
    dtype: str  # of the merged weights that are not quantized
    quantization: str  # of the merged weights: "", "int8", "nf4" or "nf4-dq"
    max_difference: float  # of a logit, adapter on its base against merged
    mean_difference: float
    agreement: float  # share of positions where the likeliest token is the same
    size: int  # bytes of the weights on disk


def merge(
    adapter_source: str | Path,
    out: Path,
    requantize: str = "",
    *,
    dtype: str = "auto",
    device: str = "auto",
    texts: Sequence[str] = TEXTS,
) -> MergeReport:
    """Merge the adapter into its base as a complete model in `out`, a new folder.

    `requantize` is "", "int8", "nf4" or "nf4-dq". `dtype` "auto" keeps the type of the
    base. Raises `UsageError` where `out` exists, `ModelError` for what is no adapter or
    can't be loaded, `TrainingError` where an adapter is not finite or disk space is short.
    A parser's adapter is merged by `parser_tuning.merge_parser`.
    """
    _check(out, requantize)
    if is_parser(adapter_source):
        return _merge_parser(adapter_source, out, requantize)
    options = LoadOptions(device=device, compute_dtype="float32")  # the merge alone is measured
    before = load(adapter_source, options)
    if not isinstance(before.model, PeftModel):
        raise ModelError(
            f"{adapter_source} is a complete model: there is no adapter to merge.",
            hint="plainsql quantize makes a complete model smaller.",
        )
    expected = logits(before, texts)
    merged = _merged(before, resolve(adapter_source), dtype)
    with atomic_folder(out) as place:
        if requantize:
            merged = _requantized(merged, out.parent, requantize, device)
        _write(merged, place)
    del before, merged
    after = load(out, options)
    return _report(out, after, logits(after, texts), expected)


def _merge_parser(adapter: str | Path, out: Path, requantize: str) -> MergeReport:
    from plainsql.training.parser_tuning import merge_parser

    if requantize:
        raise UsageError(
            "--requantize has no meaning for a parser: it is always exported as its base was.",
            hint="Leave it out.",
        )
    return merge_parser(adapter, out)


def _check(out: Path, requantize: str) -> None:
    if out.exists():
        raise UsageError(f"{out} exists already.", hint="Choose a new folder for the result.")
    if requantize not in ("", *QUANTIZATIONS):
        known = ", ".join(QUANTIZATIONS)
        raise UsageError(f"Can't quantize again as {requantize!r}.", hint=f"One of {known}.")


def _merged(adapted: Loaded, folder: Path, dtype: str) -> Loaded:
    """The adapter's base, in float, with the adapter in its weights. Uses up `adapted`."""
    wanted = _wanted_dtype(folder, adapted.info, dtype)
    # peft would round the merged weights to 4 bits again: its base is made plain first.
    plain = dequantize(adapted.model.unload(), parse_dtype(wanted))
    try:
        model = merge_adapter(attach_adapter(plain, folder))
    except ValueError as error:
        raise TrainingError(
            f"The adapter in {folder} can't be merged: {error}",
            hint="Its training diverged; take an earlier checkpoint or a lower learning rate.",
        ) from error
    info = replace(adapted.info, kind="merged", quantization="", dtype=wanted)
    return Loaded(model, adapted.tokenizer, info)


def _wanted_dtype(folder: Path, info: ModelInfo, wanted: str) -> str:
    """As asked; else as trained, or as the base was saved where training quantized it."""
    if wanted != "auto":
        return dtype_name(parse_dtype(wanted))
    if not info.quantization:
        return info.dtype
    saved = getattr(read_config(resolve(base_source(folder, info))), "dtype", None)
    return dtype_name(saved) if saved is not None else info.dtype


def _requantized(merged: Loaded, beside: Path, quantization: str, device: str) -> Loaded:
    """`merged` with quantized weights: written once in full, since loading is what quantizes."""
    with TemporaryDirectory(dir=beside, prefix=".merging-") as place:
        _write(merged, Path(place))
        options = LoadOptions(quantization=quantization, device=device)
        model = load_base(place, options).model
    return Loaded(model, merged.tokenizer, replace(merged.info, quantization=quantization))


def _write(model: Loaded, folder: Path) -> None:
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    model.info.write(folder)


def _report(out: Path, after: Loaded, found: list[Tensor], expected: list[Tensor]) -> MergeReport:
    gaps = [(one - other).abs() for one, other in zip(found, expected, strict=True)]
    pairs = zip(found, expected, strict=True)
    same = torch.cat([(one.argmax(-1) == other.argmax(-1)).float() for one, other in pairs])
    return MergeReport(
        out=out,
        base=after.info.base,
        method=after.info.method,
        dtype=after.info.dtype,
        quantization=after.info.quantization,
        max_difference=max(gap.max().item() for gap in gaps),
        mean_difference=torch.cat([gap.flatten() for gap in gaps]).mean().item(),
        agreement=same.mean().item(),
        size=sum(path.stat().st_size for path in out.glob("*.safetensors")),
    )


@torch.inference_mode()
def logits(loaded: Loaded, texts: Sequence[str]) -> list[Tensor]:
    """What the model says to each text: (tokens, vocabulary), float32, on the CPU.

    An encoder-decoder model reads the text and is asked for the same text.
    """
    found = []
    for text in texts:
        inputs = loaded.tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        ids = inputs["input_ids"].to(device_of(loaded.model))
        asked: dict[str, Any] = {"input_ids": ids}
        if loaded.info.family == "seq2seq":
            asked["labels"] = ids
        found.append(loaded.model(**asked).logits[0].float().cpu())
    return found
