"""What a folder of weights takes on disk, and whether it may be replaced."""

from __future__ import annotations

from pathlib import Path

from plainsql.errors import UsageError

WEIGHTS = (".safetensors", ".bin", ".gguf", ".onnx", ".npy")
_MODEL_FILES = frozenset({"plainsql.json", "config.json", "manifest.json"})


def refuse_existing(out: Path, source: str | Path, *, force: bool) -> None:
    """Raise `UsageError` where writing `out` would destroy what is there.

    With `force` a model may be replaced, but not the one that is read; a folder of other
    things never is.
    """
    if not out.exists():
        return
    if Path(source).exists() and _within(Path(source), out):
        raise UsageError(f"{out} is where the model is read from.", hint="Name another place.")
    if not force:
        raise UsageError(f"{out} exists already.", hint="Name another place, or give --force.")
    names = {item.name for item in out.iterdir()} if out.is_dir() else {""}
    if names and not names & _MODEL_FILES:
        raise UsageError(
            f"{out} is not the folder of a model: --force does not replace it.",
            hint="Name another place, or remove it yourself.",
        )


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files in a folder, those of subfolders not counted."""
    files = (item for item in folder.iterdir() if item.is_file())
    return sum(item.stat().st_size for item in files if item.suffix in WEIGHTS)


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
