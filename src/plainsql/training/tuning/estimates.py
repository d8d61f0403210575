"""The memory a run will need, from its settings: a table, or one sum. Formulas in memory.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plainsql.training.tuning.config import PARSER, TrainConfig, load_train_config
from plainsql.training.tuning.memory import (
    ASSUMPTIONS,
    CUDA_CONTEXT,
    PRESETS,
    MemoryEstimate,
    ModelShape,
    Workload,
    estimate,
    shape_of,
    table,
)
from plainsql.translators.language_model.model_info import PromptFormat

GIGABYTE = 1e9
# What one does first when memory is short; the table of `--estimate` assumes it.
FRUGAL = {"batch_size": 1, "gradient_checkpointing": True}
PRECISE = "bf16"  # where the settings leave it to the hardware, which need not be here


@dataclass(frozen=True, slots=True)
class EstimateTable:
    """Estimates by model and method, and what they assume."""

    estimates: tuple[tuple[str, MemoryEstimate], ...]
    assumptions: tuple[str, ...]

    columns = (
        *("model", "method", "trainable", "weights GB", "gradients GB", "optimizer GB"),
        *("activations GB", "other GB", "total GB"),
    )

    def rows(self) -> list[tuple[str, ...]]:
        """The table as texts, one row for each estimate."""
        return [_row(model, item) for model, item in self.estimates]

    def to_dict(self) -> dict[str, Any]:
        """The object that `train --estimate --json` prints; parts are in 10^9 bytes."""
        rows = [
            {
                "model": model,
                "method": item.method,
                "parameters": item.parameters,
                "trainable": item.trainable,
                **{f"{name}_gb": round(value / GIGABYTE, 3) for name, value in item.parts()},
                "total_gb": round(item.total / GIGABYTE, 3),
            }
            for model, item in self.estimates
        ]
        return {"estimates": rows, "assumptions": list(self.assumptions)}


def shown(size: float) -> str:
    """Bytes for people: 6.88 GB, or 31 MB."""
    return f"{size / GIGABYTE:.2f} GB" if size >= GIGABYTE / 10 else f"{size / 1e6:.1f} MB"


def _row(model: str, item: MemoryEstimate) -> tuple[str, ...]:
    parts = (
        item.weights + item.constants,
        item.gradients,
        item.optimizer,
        item.activations,
        item.casts + item.logits + item.buffers + item.context,
        item.total,
    )
    return (model, item.method, f"{item.trainable:,}", *(f"{x / GIGABYTE:.2f}" for x in parts))


def estimate_table(
    path: str | None = None, overrides: Mapping[str, Any] | None = None
) -> EstimateTable:
    """Every method on models of 7 and 13 billion parameters, or on the base that is named.

    Reads no weights and needs no GPU. Without a file or a flag that says otherwise,
    batches hold one example and activations are computed again (gradient
    checkpointing). Raises `UsageError` and `ModelError` for settings and a base
    that can't be used.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    config = load_train_config(path, {**({} if path else FRUGAL), **given})
    work = workload(config, PromptFormat(), config.precision, gpu=config.device != "cpu")
    found = [(shape.name, item) for shape in _shapes(config) for item in table(shape, work)]
    return EstimateTable(tuple(found), (_workload_text(work), *ASSUMPTIONS))


def _shapes(config: TrainConfig) -> list[ModelShape]:
    if not config.base or config.base == PARSER:
        return list(PRESETS.values())
    from plainsql.translators.language_model.loading import (
        LoadOptions,
        quiet,
        read_config,
        resolve,
    )

    quiet()
    options = LoadOptions(trust_remote_code=config.trust_remote_code, revision=config.revision)
    folder = resolve(config.base, options, weights=False)
    return [shape_of(read_config(folder, options), config.base)]


def _workload_text(work: Workload) -> str:
    checkpointing = "with" if work.checkpointing else "without"
    return (
        f"{work.batch} x {work.length} tokens at once, {work.precision}, rank {work.rank},"
        f" {work.optimizer}, {checkpointing} gradient checkpointing."
    )


def workload(config: TrainConfig, prompt: PromptFormat, precision: str, *, gpu: bool) -> Workload:
    """What the settings ask of the memory, with the longest examples there can be."""
    inputs = config.max_input_tokens or prompt.max_input_tokens
    outputs = config.max_output_tokens or prompt.max_output_tokens
    return Workload(
        method=config.method,
        rank=config.rank,
        double_quantization=config.double_quantization,
        quantization=config.quantization,
        batch=config.batch_size,
        length=inputs + outputs,
        checkpointing=config.gradient_checkpointing,
        precision=PRECISE if precision == "auto" else precision,
        dtype=config.dtype,
        optimizer=config.optimizer,
        context=CUDA_CONTEXT if gpu else 0,
    )


def estimate_run(
    model_config: Any, config: TrainConfig, prompt: PromptFormat, device: str, precision: str
) -> MemoryEstimate:
    """The estimate for the run that is about to start."""
    work = workload(config, prompt, precision, gpu=device.startswith("cuda"))
    return estimate(shape_of(model_config, config.base), work)
