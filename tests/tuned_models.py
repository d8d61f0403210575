"""Tiny models, tuned by each method on one batch within a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from plainsql.training.tuning.methods import MethodOptions, prepare_model, save_model
from plainsql.translators.language_model.loading import Loaded
from plainsql.translators.language_model.model_info import PromptFormat
from tiny_models import tiny_model

# The name of a case and its options. bfloat16 on CPUs that have it would blur equality.
METHODS = {
    "lora": {"method": "lora"},
    "lora-int8": {"method": "lora", "quantization": "int8"},
    "qlora": {"method": "qlora", "compute_dtype": "float32", "double_quantization": False},
    "qlora-dq": {"method": "qlora", "compute_dtype": "float32"},
    "full": {"method": "full"},
    "qat": {"method": "qat"},
    "qat-int8": {"method": "qat", "qat_target": "int8"},
    "qat-lora": {"method": "qat-lora"},
}
WHOLE = ("full", "qat", "qat-int8")
PROMPT = PromptFormat(style="minimal", max_input_tokens=64)


@dataclass(frozen=True)
class Tuned:
    """A model after training, still in memory and as saved in `folder`."""

    loaded: Loaded
    folder: Path
    losses: tuple[float, ...]


class Bases:
    """Base models by architecture, written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, architecture: str) -> Path:
        place = self.folder / architecture
        return place if place.exists() else tiny_model(architecture, place)


def options(case: str, **changed: Any) -> MethodOptions:
    return MethodOptions(**{"rank": 8, **METHODS[case], **changed})


def batch(seed: int = 0) -> torch.Tensor:
    """Token ids (2, 24)."""
    return torch.randint(3, 400, (2, 24), generator=torch.Generator().manual_seed(seed))


def tune(base: Path, case: str, folder: Path, *, steps: int = 8, **changed: Any) -> Tuned:
    """Train on one batch, save to `folder`."""
    torch.set_num_threads(1)
    chosen = options(case, **changed)
    loaded = prepare_model(base, chosen, device="cpu", seed=1)
    trained = [item for item in loaded.model.parameters() if item.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3 if case in WHOLE else 1e-2)
    ids, losses = batch(), []
    for _ in range(steps):
        loss = loaded.model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    save_model(loaded, folder, PROMPT)
    return Tuned(loaded, folder, tuple(losses))


@torch.inference_mode()
def logits(model: Any, ids: torch.Tensor | None = None) -> torch.Tensor:
    """What `model` says to a batch in evaluation mode: (batch, length, vocabulary)."""
    ids = batch(5) if ids is None else ids
    return model.eval()(input_ids=ids, labels=ids).logits
