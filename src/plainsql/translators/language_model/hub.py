"""Models on the Hugging Face Hub, as folders of this machine."""

from __future__ import annotations

import re
from pathlib import Path

from plainsql.errors import ModelError
from plainsql.translators.language_model.libraries import download_bars, library

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")

# Configurations, tokenizers and weights; not the same weights again for other programs.
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_CONFIGURATIONS = ["config.json", "plainsql.json", "adapter_config.json"]
_OTHER = ["*/*", "consolidated*", "flax_model*", "tf_model*"]


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a model on the Hub: NAME or OWNER/NAME."""
    return bool(_ID.fullmatch(name)) and ".." not in name


def snapshot(name: str, revision: str = "", *, code: bool = False, weights: bool = True) -> Path:
    """The folder of the Hub's model `name`, from the cache or downloaded now.

    `code` includes its Python files; without `weights` there is nothing else but
    configurations. Raises `ModelError` where the Hub can't be
    reached, or has no such model, or wants an accepted licence.
    """
    library("huggingface_hub")
    wanted = (_WANTED if weights else _CONFIGURATIONS) + (["*.py"] if code else [])
    folder = _download(name, revision, wanted)
    if weights and not any(folder.glob("*.safetensors")):
        folder = _download(name, revision, [*wanted, "*.bin"])
    return folder


def _download(name: str, revision: str, wanted: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        with download_bars():
            folder = snapshot_download(
                name, revision=revision or None, allow_patterns=wanted, ignore_patterns=_OTHER
            )
    except GatedRepoError as error:
        raise ModelError(
            f"The Hub's model {name!r} wants its licence accepted.",
            hint=f"Accept it at https://huggingface.co/{name}, then run: hf auth login",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"There is no folder {name!r} here, and no such model on the Hub.",
            hint="Check the spelling; a private model needs: hf auth login",
        ) from error
    except Exception as error:  # network errors of several libraries, a full disk, a bad name
        raise ModelError(
            f"There is no folder {name!r} here, and the Hub did not give a model of that name.",
            hint="Check the network, and that HF_HUB_OFFLINE is not set; "
            "or download the model elsewhere and name its folder.",
        ) from error
    return Path(folder)
