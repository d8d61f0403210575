"""Hand a model folder to the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from plainsql.errors import TrainingError, UsageError
from plainsql.translators.language_model.hub import is_hub_id


def push(folder: Path, name: str, *, private: bool = True) -> str:
    """Upload every file of `folder` to the model NAME (as OWNER/MODEL), made if need be.

    Returns its address. Raises `UsageError` for a name that can't be one, `TrainingError`
    where the Hub can't be reached or doesn't accept it.
    """
    from huggingface_hub import HfApi

    if "/" not in name or not is_hub_id(name):
        raise UsageError(f"{name!r} is no name on the Hub.", hint="Give it as OWNER/MODEL.")
    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Upload by plainsql export"
        )
    except Exception as error:  # network errors of several libraries, missing rights, no token
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TrainingError(
            f"{folder} can't be uploaded to {name}: {reason}",
            hint="It needs a network and a token that may write: hf auth login. "
            f"The model itself is whole, in {folder}.",
        ) from error
    return str(address)
