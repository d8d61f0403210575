"""The training loop: transformers' `Trainer` with our evaluation, checkpoints and checks.

Added are: accuracy of generated SQL in each evaluation, the best model by it, early
stopping, checkpoints that are whole or absent, and an end when the loss is no number.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerState

from plainsql.errors import TrainingError, UsageError
from plainsql.training.peak_memory import peak_memory_mb
from plainsql.training.tuning.callbacks import Interrupt
from plainsql.training.tuning.checkpoints import (
    PARTIAL,
    Checkpoint,
    RunFolder,
    Standing,
    commit,
    discard_partial,
    failed_save,
    remove_old,
)
from plainsql.training.tuning.config import TrainConfig
from plainsql.translators.language_model.devices import compute_dtype

OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw-8bit": "adamw_bnb_8bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
}
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
BETWEEN_COLLECTIVES = 4 * 3600  # seconds the other processes wait while one evaluates

Assess = Callable[[Any], float | None]  # accuracy of a model; None when it was interrupted
# Saves a model with these weights, or its own where they are None, into a folder.
Save = Callable[[Any, Path, dict[str, Any] | None], None]


def precision(config: TrainConfig, device: str) -> str:
    """ "fp32", "fp16" or "bf16". Raises `UsageError` for what the device can't do."""
    if config.precision == "fp16" and not device.startswith("cuda"):
        raise UsageError(
            f"--precision fp16 needs a CUDA GPU, not {device}.", hint="Use bf16 or fp32."
        )
    if config.precision != "auto":
        return config.precision
    if device == "mps":
        return "fp32"
    names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
    return names[compute_dtype("auto", device)]


def arguments(config: TrainConfig, folder: RunFolder, device: str, epoch_steps: int) -> Any:
    """The Trainer's arguments. `epoch_steps`: updates in one pass over the data."""
    kind = precision(config, device)
    made = TrainingArguments(
        # checkpoints are written here and renamed by `Tuner` when they are whole
        output_dir=str(folder.checkpoints / PARTIAL),
        fp16=kind == "fp16",
        bf16=kind == "bf16",
        use_cpu=device == "cpu",
        seed=config.seed,
        data_seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=device.startswith("cuda"),
        ddp_timeout=BETWEEN_COLLECTIVES,
        ddp_find_unused_parameters=False,
        **_steps(config),
        **_pauses(config, epoch_steps),
    )
    if not _launched(made):
        made._n_gpu = min(made.n_gpu, 1)  # several GPUs want a launcher, not threads
    return made


def _steps(config: TrainConfig) -> dict[str, Any]:
    return {
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": 2 * config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "learning_rate": config.peak_learning_rate,
        "lr_scheduler_type": SCHEDULES[config.schedule],
        "warmup_steps": config.warmup,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "optim": OPTIMIZERS[config.optimizer],
    }


def _pauses(config: TrainConfig, epoch_steps: int) -> dict[str, Any]:
    """When to log, evaluate and save."""
    every = config.eval_steps or epoch_steps
    return {
        "eval_strategy": "steps" if config.eval_examples else "no",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": config.save_steps or every,
        "logging_steps": config.log_steps,
        "logging_nan_inf_filter": False,  # would hide what `Tuner.log` looks for
    }


def _launched(made: Any) -> bool:
    return made.world_size > 1


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls: how a model is judged, how the best one is saved."""

    assess: Assess | None
    save: Save
    interrupt: Interrupt


class Tuner(Trainer):
    """One run. `standing` is where it stands; `run()` makes the steps."""

    def __init__(
        self, config: TrainConfig, folder: RunFolder, hooks: Hooks, standing: Standing, **given: Any
    ) -> None:
        super().__init__(**given)
        for printing in (PrinterCallback, ProgressCallback):
            self.remove_callback(printing)
        self.config, self.folder, self.hooks = config, folder, hooks
        self.standing = standing
        self._loss = torch.zeros(())  # of the last step
        self._tokens = torch.zeros((), dtype=torch.int64, device=self.args.device)
        self._clock = 0.0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and saves."""
        return bool(self.is_world_process_zero())

    @property
    def sharded(self) -> bool:
        """Whether no process has all the weights (FSDP, DeepSpeed ZeRO-3)."""
        plugin = getattr(self.accelerator.state, "deepspeed_plugin", None)
        return bool(self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3))

    # --- steps ---------------------------------------------------------------

    def run(self, start: Checkpoint | None) -> None:
        """All steps from `start`, or from the beginning."""
        if start is not None:
            self.state = TrainerState.load_from_json(str(start.path / TRAINER_STATE_NAME))
            if self._is_done(start.step):  # killed between its last step and its report
                self._load_from_checkpoint(str(start.path))
                return
        self._clock = time.perf_counter()
        self.train(resume_from_checkpoint=str(start.path) if start else None)

    def _is_done(self, step: int) -> bool:
        return step >= self.state.max_steps or self._patience_is_over()

    def _patience_is_over(self) -> bool:
        return 0 < self.config.patience <= self.standing.stale

    def training_step(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """One batch. Tokens are counted on the device: reading them would wait for it."""
        self._tokens += inputs["attention_mask"].sum()
        self._loss = super().training_step(model, inputs, *given, **named)
        return self._loss

    def log(self, logs: dict[str, float], *given: Any, **named: Any) -> None:
        """Add speed to the numbers. Raises `TrainingError` for a loss that is no number."""
        if "loss" in logs:
            logs["tokens_per_second"] = self._speed()
            self._check_loss(logs["loss"])
        super().log(logs, *given, **named)

    def _speed(self) -> float:
        """Tokens a second since the last call, of all processes."""
        tokens = int(self.accelerator.reduce(self._tokens, "sum").item())
        seconds = time.perf_counter() - self._clock
        self._tokens.zero_()
        self._clock = time.perf_counter()
        self.standing = replace(
            self.standing,
            tokens=self.standing.tokens + tokens,
            seconds=self.standing.seconds + seconds,
            peak_memory_mb=max(self.standing.peak_memory_mb, peak_memory_mb()),
        )
        return round(tokens / max(seconds, 1e-9), 1)

    def _check_loss(self, mean: float) -> None:
        loss = mean if not math.isfinite(mean) else float(self._loss)
        if math.isfinite(loss):
            return
        raise TrainingError(
            f"The loss became {loss} by step {self.state.global_step}, at a learning rate"
            f" that peaks at {self.config.peak_learning_rate:g}.",
            hint="Lower --learning-rate or raise --warmup; in place of fp16 try bf16 or fp32.",
        )

    # --- evaluation ----------------------------------------------------------

    def evaluation_loop(self, *given: Any, **named: Any) -> Any:
        """The Trainer's loss, and the accuracy of what the model writes."""
        started = time.perf_counter()
        output = super().evaluation_loop(*given, **named)
        accuracy = self._assessed()
        if accuracy is not None:
            output.metrics["eval_accuracy"] = accuracy
        output.metrics["eval_runtime"] = time.perf_counter() - started
        return output

    def _assessed(self) -> float | None:
        """Accuracy by the main process, told to all: each must decide the same.

        Where the weights are sharded all processes generate, since each holds a part.
        """
        found: list[float | None] = [None]
        if self.hooks.assess is not None and (self.is_main or self.sharded):
            with self.accelerator.autocast():
                found = [self.hooks.assess(self.model)]
        if self.args.world_size > 1:
            broadcast_object_list(found)
        return found[0]

    def evaluate(self, *given: Any, **named: Any) -> dict[str, float]:
        """Evaluate, keep the model if it is the best, stop if none was for long."""
        metrics: dict[str, float] = super().evaluate(*given, **named)
        interrupted = self.hooks.assess is not None and "eval_accuracy" not in metrics
        if not interrupted:
            self._weigh(metrics.get("eval_accuracy", 0.0), metrics["eval_loss"])
        self._clock = time.perf_counter()
        return metrics

    def _weigh(self, accuracy: float, loss: float) -> None:
        if self.standing.is_beaten_by(accuracy, loss):
            self.save_best()
            self.standing = replace(
                self.standing,
                best_step=self.state.global_step,
                best_accuracy=accuracy,
                best_loss=loss,
                stale=0,
            )
            return
        self.standing = replace(self.standing, stale=self.standing.stale + 1)
        if self._patience_is_over():
            self.control.should_training_stop = True
            self.control.should_save = True

    # --- saving --------------------------------------------------------------

    def save_best(self) -> None:
        """Write best/. Raises `TrainingError` when that fails."""
        weights = self.accelerator.get_state_dict(self.model_wrapped) if self.sharded else None
        if self.is_main:
            with self._saving():
                self.hooks.save(self.model, self.folder.best, weights)
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The Trainer's checkpoint, moved to its place when it is whole."""
        name = f"checkpoint-{self.state.global_step}"
        partial = self.folder.checkpoints / PARTIAL / name
        target = self.folder.checkpoints / name
        with self._saving():
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_main:
                commit(partial, target, self.standing)
                remove_old(self.folder.checkpoints, self.config.save_total_limit)
        self.accelerator.wait_for_everyone()
        self._clock = time.perf_counter()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Errors of a full disk come as OSError, and from torch and safetensors as others."""
        try:
            yield
        except TrainingError as error:
            discard_partial(self.folder.checkpoints)
            raise failed_save(self.folder, error) from error
        except Exception as error:
            discard_partial(self.folder.checkpoints)
            raise failed_save(self.folder, error) from error


def start_clean(folder: RunFolder) -> None:
    """Remove what an earlier process left half-written. Raises `UsageError`."""
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder.checkpoints / PARTIAL, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"{folder.path} can't be written: {error}", hint="Choose another --out."
        ) from error
