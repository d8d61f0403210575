"""A model in the form that another runtime reads, not made smaller than asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from plainsql.errors import UsageError
from plainsql.quantization.files import refuse_existing, weight_bytes
from plainsql.quantization.parser import export_parser, is_parser, open_parser
from plainsql.quantization.quantize import quantize
from plainsql.quantization.sources import Plain, plain_model
from plainsql.training.tuning.methods import atomic_folder
from plainsql.translators.language_model.gguf_file import TensorMap, find_gguf
from plainsql.translators.language_model.loading import LoadOptions, load
from plainsql.translators.language_model.model_info import Kind
from plainsql.translators.language_model.translator import prompt_of

LANGUAGE_MODEL_FORMATS = ("safetensors", "gguf-f16", "gguf-f32", "gguf-q8_0", "gguf-q4_0")
PARSER_FORMATS = ("onnx-int8", "onnx-fp32")
FORMATS = (*LANGUAGE_MODEL_FORMATS, *PARSER_FORMATS)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written. `file` is the one to hand on, the folder where it takes several."""

    source: str
    out: Path
    form: str
    file: Path
    size: int  # bytes of the weight files


def export(source: str | Path, out: Path, form: str, *, force: bool = False) -> ExportReport:
    """Write the model at `source` to the folder `out` as `form`, one of FORMATS.

    An adapter is merged first. Raises `UsageError` where `out` exists, `form` doesn't go
    with the model or it is quantized already; `TrainingError` where it can't be written.
    """
    _check(str(source), form)
    refuse_existing(out, source, force=force)
    if form in PARSER_FORMATS:
        export_parser(open_parser(str(source)), out, int8=form == "onnx-int8")
    elif form in ("gguf-q8_0", "gguf-q4_0"):
        quantize(source, out, form, force=force)
    else:
        write = _safetensors if form == "safetensors" else _gguf
        _write(str(source), out, form, write)
    file = find_gguf(out) or out
    return ExportReport(str(source), out, form, file, weight_bytes(out))


def _check(source: str, form: str) -> None:
    if form not in FORMATS:
        raise UsageError(f"There is no format {form!r}.", hint=f"Formats: {', '.join(FORMATS)}.")
    parser = is_parser(source)
    if parser and form not in PARSER_FORMATS:
        raise UsageError(
            f"{form} is for language models, {source} is a parser.",
            hint=f"Formats of a parser: {', '.join(PARSER_FORMATS)}.",
        )
    if not parser and form in PARSER_FORMATS:
        raise UsageError(
            f"{form} is for parsers; language models aren't written as ONNX.",
            hint="For CPUs use gguf-q8_0 with llama.cpp, or plainsql quantize torchao-int8;"
            " for GPU servers safetensors.",
        )


def _write(source: str, out: Path, form: str, write: Callable[[Plain, Path, str], None]) -> None:
    with plain_model(source, out.parent) as plain:
        if form.startswith("gguf"):
            TensorMap.of(plain.config)  # says no before the weights are read
        with atomic_folder(out) as place:
            write(plain, place, form)


def _safetensors(plain: Plain, place: Path, form: str) -> None:
    loaded = load(plain.folder, LoadOptions(device="cpu"))
    loaded.model.save_pretrained(place)
    loaded.tokenizer.save_pretrained(place)
    kind: Kind = "merged" if plain.info.kind == "merged" else "full"
    replace(plain.info, kind=kind, prompt=prompt_of(loaded)).write(place)


def _gguf(plain: Plain, place: Path, form: str) -> None:
    from plainsql.quantization.gguf_writer import write_gguf

    loaded = load(plain.folder, LoadOptions(device="cpu"))
    form_of_file, prompt = form.removeprefix("gguf-"), prompt_of(loaded)
    write_gguf(loaded.model, loaded.tokenizer, place, form_of_file, plain.name, prompt)
    replace(plain.info, kind="full", base=plain.source, method=form, prompt=prompt).write(place)
