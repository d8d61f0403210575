"""Parsers on disk: the base to start from, the adapter, the folder that answers questions."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plainsql.errors import ModelError, TrainingError, UsageError
from plainsql.ranking import RANKER
from plainsql.training.parser_export import (
    EncoderGraph,
    ExportError,
    StepGraph,
    export,
    sample_inputs,
    seal,
)
from plainsql.training.parser_from_onnx import load_parser
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_refill import Refilled, is_int8, refill
from plainsql.training.parser_tuning.network import Method, Trainable, dense, to_nf4
from plainsql.training.tuning.adapters import ADAPTER
from plainsql.training.tuning.config import PARSER
from plainsql.training.tuning.merge import MergeReport
from plainsql.training.tuning.methods import atomic_folder
from plainsql.translators.language_model.libraries import quiet
from plainsql.translators.language_model.model_info import ModelInfo
from plainsql.translators.parser.runtime import (
    ENCODER,
    ENCODER_OUTPUTS,
    MANIFEST,
    STEP,
    TOKENIZER,
    Manifest,
    open_session,
)
from plainsql.translators.parser.weights import SHIPPED

ADAPTER_FOLDER = "adapter"  # in a run's folder, of the methods that train one
TORCH_FOLDER = "torch"  # in a run's folder, of the methods that train every weight
BEST_FOLDER = "best"
_CHECKPOINT = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Base:
    """A parser to tune. `folder` is an export: tokenizer, word vectors, perhaps a re-ranker."""

    name: str  # as it was asked for, folders in full
    folder: Path
    model: ParserModel
    fingerprint: str


def open_base(name: str, work: Path) -> Base:
    """The shipped parser ("parser"), an exported one, a run's, or a torch checkpoint.

    A checkpoint is exported to `work`/base first: linking reads its word vectors there.
    Raises `ModelError` for a folder that holds none of these.
    """
    if name == PARSER:
        return Base(name, SHIPPED, load_parser(), fingerprint(SHIPPED))
    folder = Path(name).expanduser().absolute()
    if (folder / BEST_FOLDER / MANIFEST).is_file():
        folder = folder / BEST_FOLDER
    model = load_parser(folder)
    if (folder / MANIFEST).is_file():
        return Base(str(folder), folder, model, fingerprint(folder))
    exported = work / "base"
    if not (exported / MANIFEST).is_file():
        with atomic_folder(exported) as place:
            export(model, place, SHIPPED / TOKENIZER)
    return Base(str(folder), exported, model, fingerprint(folder))


def fingerprint(folder: Path) -> str:
    """What tells one parser's weights from another's."""
    if (folder / MANIFEST).is_file():
        text = "".join(f"{k}={v};" for k, v in sorted(Manifest.read(folder).files.items()))
    else:
        text = hashlib.sha256((folder / _CHECKPOINT).read_bytes()).hexdigest()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- writing -------------------------------------------------------------------------


def save_adapter(tuned: Trainable, base: Base, folder: Path) -> None:
    """Write what was trained beside the base. Raises `TrainingError`; old files then stay."""
    info = _info("adapter", tuned.method, base, _quantization(tuned.method))
    with atomic_folder(folder) as place:
        # Embeddings are never trained; "auto" would ask the Hub about them.
        tuned.adapter.save_pretrained(place, save_embedding_layers=False)
        (place / "README.md").unlink(missing_ok=True)  # peft's is an empty form
        info.write(place)


def save_torch(parser: ParserModel, method: Method, base: Base, folder: Path) -> None:
    """Write all weights in float32, as `load_parser` reads them."""
    with atomic_folder(folder) as place:
        parser.save_pretrained(place)
        _info("full", method, base, "").write(place)


def save_export(parser: ParserModel, method: Method, base: Base, folder: Path) -> Refilled:
    """Write a plain parser as graphs that answer questions, the base's re-ranker beside it.

    The graphs are the base's, int8 or float32, with other weights. Raises `TrainingError`
    where it can't be written or doesn't compute what torch does.
    """
    kind = "merged" if method.adapts else "full"
    try:
        with atomic_folder(folder) as place:
            report = refill(parser, base.folder, place)
            if (base.folder / RANKER).is_file():
                shutil.copyfile(base.folder / RANKER, place / RANKER)
                seal(place, RANKER)
            _info(kind, method, base, "int8" if is_int8(place) else "").write(place)
    except ExportError as error:
        raise TrainingError(
            f"The tuned parser can't be exported: {error}", hint="Lower --learning-rate."
        ) from error
    return report


def _info(kind: Any, method: Method, base: Base, quantization: str) -> ModelInfo:
    return ModelInfo(
        kind=kind,
        family="parser",
        base=base.name,
        base_fingerprint=base.fingerprint,
        method=method.name,
        quantization=quantization,
    )


def _quantization(method: Method) -> str:
    """What the adapter's base is held in."""
    if method.name != "qlora":
        return ""
    return "nf4-dq" if method.double_quantization else "nf4"


# --- reading and merging ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adapted:
    """A saved adapter on its base."""

    parser: ParserModel
    method: Method
    base: Base


def load_adapted(folder: Path, work: Path) -> Adapted:
    """The adapter in `folder` (or in a run's folder) on its base, as it was trained.

    Raises `ModelError` when it is damaged, or its base is gone or another than it was.
    """
    from peft import PeftModel

    quiet()
    folder = folder / ADAPTER_FOLDER if (folder / ADAPTER_FOLDER).is_dir() else folder
    info = ModelInfo.read(folder)
    if (info.family, info.kind) != ("parser", "adapter"):
        raise ModelError(
            f"{folder} holds no parser's adapter.",
            hint="Methods full and qat train none: the folder best/ of the run is complete.",
        )
    base = open_base(info.base, work)
    if base.fingerprint != info.base_fingerprint:
        raise ModelError(
            f"The adapter in {folder} was trained on other weights than {info.base} has now.",
            hint="Give it the base it was trained on, or train it again.",
        )
    if info.quantization:
        to_nf4(base.model, double=info.quantization == "nf4-dq")
    try:
        adapted = PeftModel.from_pretrained(base.model, folder, adapter_name=ADAPTER)
    except Exception as error:  # peft and safetensors raise many kinds for a damaged file
        raise ModelError(
            f"The adapter in {folder} can't be loaded: {error}", hint="Train it again."
        ) from error
    config = adapted.peft_config[ADAPTER]
    method = Method(info.method, config.r, config.lora_alpha, config.lora_dropout)
    return Adapted(adapted.get_base_model().eval(), method, base)


def merge_parser(adapter: str | Path, out: str | Path) -> MergeReport:
    """Merge a parser's adapter into its (dequantized) base and export it to `out`, a new folder.

    `out` then answers questions: `plainsql ask --translator OUT`. The differences in the
    report are of the logits of one step on random inputs, adapter on its base (float32)
    against the files written. Raises `UsageError` where `out` exists, `ModelError` for what
    is no adapter of a parser, `TrainingError` where `out` can't be written.
    """
    out = Path(out).expanduser()
    if out.exists():
        raise UsageError(f"{out} exists already.", hint="Choose a new folder for the result.")
    with TemporaryDirectory(prefix="plainsql-merge-") as work:
        adapted = load_adapted(Path(adapter).expanduser(), Path(work))
        save_export(dense(adapted.parser), adapted.method, adapted.base, out)
    return _merge_report(adapted, out)


def _merge_report(adapted: Adapted, out: Path) -> MergeReport:
    expected, found = step_logits(adapted.parser), runtime_logits(adapted.parser, out)
    gap = np.abs(found - expected)
    return MergeReport(
        out=out,
        base=adapted.base.name,
        method=adapted.method.name,
        dtype="float32",
        quantization=ModelInfo.read(out).quantization,
        max_difference=float(gap.max()),
        mean_difference=float(gap.mean()),
        agreement=float((expected.argmax(-1) == found.argmax(-1)).mean()),
        size=sum(path.stat().st_size for path in out.glob("*.onnx")),
    )


@torch.inference_mode()
def step_logits(parser: ParserModel) -> NDArray[np.float32]:
    """Logits (W, S + N) of one step on random inputs, encoder and decoder in torch."""
    encoder, step = sample_inputs(parser)
    encoded = EncoderGraph(parser)(*map(torch.from_numpy, encoder.values()))
    inputs = {name: torch.from_numpy(value) for name, value in step.items()}
    inputs |= dict(zip(ENCODER_OUTPUTS[:4], encoded, strict=False))
    return StepGraph(parser)(*inputs.values())[0].numpy()  # type: ignore[no-any-return]


def runtime_logits(parser: ParserModel, folder: Path) -> NDArray[np.float32]:
    """The same from the files of an export; `parser` only gives the sizes of the inputs."""
    encoder, step = sample_inputs(parser)
    encoded = open_session(folder / ENCODER, threads=1).run(ENCODER_OUTPUTS[:4], encoder)
    inputs = step | dict(zip(ENCODER_OUTPUTS[:4], encoded, strict=True))
    return open_session(folder / STEP, threads=1).run(None, inputs)[0]  # type: ignore[no-any-return]
