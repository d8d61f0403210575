"""Where the parser's weights lie: in the package, unless a folder is given."""

from __future__ import annotations

from pathlib import Path

from plainsql.translators.parser.runtime import MANIFEST, SCALES, TOKENIZER, WORDS, Manifest

SHIPPED = Path(__file__).parent / "weights"


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
