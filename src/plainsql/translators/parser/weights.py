"""Where the parser's weights lie: in the package, unless a folder is given."""

from __future__ import annotations

import json
from pathlib import Path

from plainsql.translators.language_model.model_info import FILE, ModelInfo
from plainsql.translators.parser.runtime import MANIFEST, SCALES, TOKENIZER, WORDS, Manifest

SHIPPED = Path(__file__).parent / "weights"
MODEL_TYPE = "plainsql-parser"  # in the config.json of a checkpoint in torch's form


def weights_folder(chosen: str = "") -> Path:
    """The folder in use (it may not exist: loading says so)."""
    return Path(chosen).expanduser() if chosen else SHIPPED


def word_table(folder: Path) -> tuple[Path, Path, Path] | None:
    """Tokenizer, word vectors and their scales, for linking; None where there is no model.

    Raises `ModelError` when one of them is missing or corrupt.
    """
    if not (folder / MANIFEST).is_file():
        return None
    files = (TOKENIZER, WORDS, SCALES)
    Manifest.read(folder).check(folder, files)
    return folder / files[0], folder / files[1], folder / files[2]


def is_parser(source: str | Path) -> bool:
    """Whether `source` is a folder with a parser, exported or in torch's form, or a run's."""
    folder = Path(source).expanduser()
    return any(_holds_parser(place) for place in (folder, folder / "best"))


def _holds_parser(folder: Path) -> bool:
    if (folder / MANIFEST).is_file():
        return True
    if (folder / FILE).is_file():
        return ModelInfo.read(folder).family == "parser"
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return bool(values["model_type"] == MODEL_TYPE)
    except (OSError, ValueError, KeyError, TypeError):
        return False
