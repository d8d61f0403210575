"""The plain, unquantized model behind what a user names: adapters are merged first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plainsql.errors import UsageError
from plainsql.training.tuning.merge import merge
from plainsql.translators.language_model.four_bit import quantization_of
from plainsql.translators.language_model.gguf_file import find_gguf
from plainsql.translators.language_model.loading import (
    ADAPTER_CONFIG,
    family_of,
    fingerprint,
    quiet,
    read_config,
    resolve,
)
from plainsql.translators.language_model.model_info import FILE, ModelInfo


@dataclass(frozen=True, slots=True)
class Plain:
    """A complete language model in float, in a folder of this machine."""

    source: str  # as the user named it
    folder: Path
    info: ModelInfo
    config: Any  # transformers' configuration

    @property
    def name(self) -> str:
        """A short name for files."""
        return Path(self.source).resolve().name if Path(self.source).exists() else self.source


@contextmanager
def plain_model(source: str, beside: Path) -> Iterator[Plain]:
    """The model at `source`: a folder, the output of `plainsql train`, or a Hub id.

    An adapter is merged into a temporary folder in `beside`. Raises `UsageError` for a
    model that is quantized already, else as `loading.load` does.
    """
    quiet()
    folder = resolve(source)
    info = ModelInfo.read(folder) if (folder / FILE).is_file() else None
    if (info and info.kind == "adapter") or (folder / ADAPTER_CONFIG).is_file():
        beside.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=beside, prefix=".merged-") as place:
            merge(folder, Path(place) / "model")
            yield _plain(source, Path(place) / "model")
    else:
        yield _plain(source, folder)


def _plain(source: str, folder: Path) -> Plain:
    config = read_config(folder)
    _refuse_quantized(source, folder, config)
    if (folder / FILE).is_file():
        info = ModelInfo.read(folder)
    else:
        info = ModelInfo("base", family_of(config), source, fingerprint(config))
    return Plain(source, folder, info, config)


def _refuse_quantized(source: str, folder: Path, config: Any) -> None:
    found = "GGUF" if find_gguf(folder) else quantization_of(config)
    if found:
        raise UsageError(
            f"{source} is quantized already ({found}): rounding it again would only lose more.",
            hint="Quantize the model or adapter that it was made from.",
        )
