"""The steps of a tuning run: train, evaluate, keep the best, save, go on after a kill.

Every step is a function of seed, settings and step number (batches and dropout included),
so a resumed run repeats the losses of one that was never stopped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plainsql.errors import TrainingError
from plainsql.training.batching import Batch
from plainsql.training.dropout import seed_dropout
from plainsql.training.parser_model import Outcome, ParserModel
from plainsql.training.parser_recipe import Window, parameter_groups
from plainsql.training.parser_tuning.settings import Settings
from plainsql.training.peak_memory import peak_memory_mb
from plainsql.training.tuning.callbacks import Interrupt
from plainsql.training.tuning.checkpoints import (
    PARTIAL,
    PREFIX,
    Checkpoint,
    RunFolder,
    Standing,
    commit,
    discard_partial,
    failed_save,
    remove_old,
    write_whole,
)
from plainsql.training.tuning.curves import read_metrics

STATE = "state.pt"
BEST = "best.pt"  # in the folder of checkpoints: the trained weights of the best step


@dataclass(frozen=True, slots=True)
class Scores:
    """An evaluation. `accuracy` is None where no database can be asked."""

    accuracy: float | None
    loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """What models are ordered by: accuracy first, then the loss."""
        return (self.accuracy or 0.0, -self.loss)


Evaluate = Callable[[ParserModel], Scores]
Show = Callable[[dict[str, Any]], None]  # one line of metrics, for people


class Loop:
    """One run in progress. `standing.best_step` 0 is the model as it came."""

    def __init__(
        self,
        parser: ParserModel,
        settings: Settings,
        folder: RunFolder,
        evaluate: Evaluate | None,
        show: Show,
    ) -> None:
        self.parser, self.settings, self.folder = parser, settings, folder
        self.step, self.standing = 0, Standing()
        self.stopped_early = False
        self._evaluate, self._show = evaluate, show
        groups = parameter_groups(
            parser, settings.encoder_rate, settings.learning_rate, settings.weight_decay
        )
        self._weights: list[nn.Parameter] = [p for group in groups for p in group["params"]]
        self._start = [p.detach().clone() for p in self._weights] if settings.pull else []
        self._optimizer = torch.optim.AdamW(groups, fused=True)
        self._clock = time.perf_counter()

    # --- the run ---------------------------------------------------------------

    def run(self, batches: Iterator[Batch], interrupt: Interrupt) -> bool:
        """All steps that are left; whether they were done (not interrupted).

        Raises `TrainingError` when the loss is no number or saving fails.
        """
        if self.step == 0 and self._evaluate is not None:
            self._judge(first=True)
        window = self._new_window()
        while self.step < self.settings.steps and not self.stopped_early:
            window.add(self._train(next(batches)), self.settings.batch_size)
            if self._due(self.settings.log_steps):
                self._log(window)
                window = self._new_window()
            if self._evaluate is not None and self._due(self.settings.eval_steps):
                self._judge()
            if interrupt.seen or self.stopped_early or self._due(self.settings.save_steps):
                self.save()
            if interrupt.seen and self.step < self.settings.steps:
                return False
        return True

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _new_window(self) -> Window:
        self._clock = time.perf_counter()
        return Window(0.0)

    def _train(self, batch: Batch) -> Outcome:
        """One update of the weights."""
        settings = self.settings
        seed_dropout(settings.seed, self.step)
        scale = settings.rate_scale(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * scale
        self.parser.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.bf16):
            outcome: Outcome = self.parser(batch)
        outcome.loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(self._weights, settings.clip, foreach=True)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._pull_back(scale)
        self.step += 1
        return outcome

    @torch.no_grad()
    def _pull_back(self, scale: float) -> None:
        """A step towards the weights as they came, which forgets less of what they know.

        L2-SP (https://arxiv.org/abs/1802.01483); note: decoupled from the gradient, as
        AdamW's decay is, so that its strength doesn't depend on Adam's scaling.
        """
        if self._start:
            torch._foreach_lerp_(self._weights, self._start, self.settings.pull * scale)

    def _log(self, window: Window) -> None:
        loss = sum(window.losses) / len(window.losses)
        seconds = time.perf_counter() - self._clock
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} by step {self.step}.",
                hint="Lower --learning-rate or raise --warmup.",
            )
        self.standing = replace(
            self.standing,
            tokens=self.standing.tokens + window.steps,
            seconds=self.standing.seconds + seconds,
            peak_memory_mb=max(self.standing.peak_memory_mb, peak_memory_mb()),
        )
        self._write(
            loss=loss,
            sequence_accuracy=round(window.right_sequences / window.examples, 4),
            lr=self.settings.learning_rate * self.settings.rate_scale(self.step - 1),
            examples_per_second=round(window.examples / max(seconds, 1e-9), 1),
        )

    def _write(self, **numbers: float | None) -> None:
        line = {"step": self.step, **numbers, "peak_memory_mb": round(peak_memory_mb(), 1)}
        try:
            with self.folder.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise failed_save(self.folder, error) from error
        self._show(line)

    # --- evaluation --------------------------------------------------------------

    def _judge(self, *, first: bool = False) -> None:
        """Evaluate, keep the weights if they are the best, stop if none were for long."""
        assert self._evaluate is not None
        started = time.perf_counter()
        self.parser.eval()
        found = self._evaluate(self.parser)
        seconds = round(time.perf_counter() - started, 1)
        self._write(accuracy=found.accuracy, eval_loss=found.loss, eval_seconds=seconds)
        self._clock += time.perf_counter() - started
        best = (self.standing.best_accuracy, -self.standing.best_loss)
        if first or found.rank > best:
            self._keep(found)
            return
        self.standing = replace(self.standing, stale=self.standing.stale + 1)
        self.stopped_early = 0 < self.settings.patience <= self.standing.stale

    def _keep(self, found: Scores) -> None:
        _save_whole({"step": self.step, "weights": self._trained()}, self._best, self.folder)
        self.standing = replace(
            self.standing,
            best_step=self.step,
            best_accuracy=found.accuracy or 0.0,
            best_loss=found.loss,
            stale=0,
        )

    @property
    def _best(self) -> Path:
        return self.folder.checkpoints / BEST

    @torch.no_grad()
    def restore_best(self) -> None:
        """Put the weights of the best evaluation back; without any, the last ones stay."""
        if self._evaluate is not None:
            state = torch.load(self._best, weights_only=True)
            torch._foreach_copy_(self._weights, state["weights"])

    # --- saving --------------------------------------------------------------------

    def _trained(self) -> list[Tensor]:
        return [p.detach() for p in self._weights]

    def save(self) -> None:
        """Write a checkpoint. Raises `TrainingError`; the earlier ones are then intact."""
        name = f"{PREFIX}{self.step}"
        partial = self.folder.checkpoints / PARTIAL / name
        state = {
            "step": self.step,
            "weights": self._trained(),
            "start": self._start,
            "optimizer": self._optimizer.state_dict(),
            "stopped_early": self.stopped_early,
        }
        try:
            partial.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial / STATE)
            commit(partial, self.folder.checkpoints / name, self.standing)
            remove_old(self.folder.checkpoints, self.settings.keep)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
            discard_partial(self.folder.checkpoints)
            raise failed_save(self.folder, error) from error

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint; lines of metrics after it are dropped."""
        state = torch.load(checkpoint.path / STATE, weights_only=True)
        torch._foreach_copy_(self._weights, state["weights"])
        if self._start:
            torch._foreach_copy_(self._start, state["start"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.standing = state["step"], checkpoint.standing()
        self.stopped_early = state["stopped_early"]
        kept = [line for line in read_metrics(self.folder.metrics) if line["step"] <= self.step]
        write_whole(self.folder.metrics, "".join(json.dumps(line) + "\n" for line in kept))


def _save_whole(state: dict[str, Any], path: Path, folder: RunFolder) -> None:
    """Write a file of tensors so that a crash leaves the old one or the new one."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise failed_save(folder, error) from error
