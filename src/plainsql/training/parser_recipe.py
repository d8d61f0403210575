"""Train the parser: `python -m plainsql.training.parser_recipe --config parser.toml`.

Started again with the same `output` folder, it continues from the last checkpoint; it may
be killed at any time. The folder holds `metrics.jsonl`, `checkpoint.pt`, and two models
for `from_pretrained`: `best/` (averaged weights, best on validation) and `final/`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from plainsql.logical_form.symbols import MAX_DEPTH, RELATIONS, STATES, SYMBOLS
from plainsql.training.average import WeightAverage
from plainsql.training.batching import Batch, Example, ExampleSource, Sampler, fixed_batches
from plainsql.training.dropout import seed_dropout
from plainsql.training.encoder_files import encoder_folder
from plainsql.training.parser_config import TrainConfig, load_config
from plainsql.training.parser_model import Outcome, ParserConfig, ParserModel
from plainsql.training.prefetch import Prefetcher
from plainsql.translators.parser.features import FEATURES

# libgomp's default spinning collapses when another process wants a core: 7 s a step
# instead of 0.45 s. Unbound, both threads were seen on one core for minutes while a niced
# process had the other (5 instead of 45 examples a second): `ensure_environment` binds
# them. The malloc settings keep freed tensors mapped (10 % faster). Distinct batch shapes
# need distinct oneDNN kernels: let it keep them all.
ENVIRONMENT = {
    "GOMP_SPINCOUNT": "200000",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16384",
}
Evaluate = Callable[[ParserModel], dict[str, float]]


class Data(Protocol):
    """The module a run takes its data from."""

    def training_sources(self, folder: str) -> Sequence[ExampleSource]:
        """The sources of training examples (called in the batch-building process)."""
        ...

    def validation_examples(self, folder: str) -> Sequence[Example]:
        """Examples of databases that training never sees."""
        ...

    def evaluate(self, model: ParserModel, folder: str) -> dict[str, float]:
        """Further validation scores; `score` picks the best model. May be absent."""
        ...


@dataclass(slots=True)
class Progress:
    """Where a run stands. `elapsed` is in seconds, over all its parts."""

    step: int = 0
    elapsed: float = 0.0
    best: float = -1.0
    examples: int = 0

    def share(self, config: TrainConfig) -> float:
        """How much of the run is done, 0 to 1: by steps or by time, whichever is more."""
        by_steps = self.step / config.steps if config.steps else 0.0
        by_time = self.elapsed / (60 * config.minutes) if config.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def learning_rate_scale(progress: Progress, config: TrainConfig) -> float:
    """Linear warm-up by steps, then cosine to zero by the share that is done."""
    warm = min(1.0, (progress.step + 1) / max(1, config.warmup_steps))
    return warm * 0.5 * (1 + math.cos(math.pi * progress.share(config)))


def network_config(config: TrainConfig) -> ParserConfig:
    """The network for the grammar and the features of the running code."""
    return ParserConfig(
        symbols=list(SYMBOLS),
        states=list(STATES),
        relations=list(RELATIONS),
        features=list(FEATURES),
        max_depth=MAX_DEPTH,
        encoder_dropout=config.encoder_dropout,
        encoder_attention_dropout=config.encoder_dropout,
        decoder_dropout=config.decoder_dropout,
        label_smoothing=config.label_smoothing,
        used_weight=config.used_weight,
        freeze_word_embeddings=config.freeze_word_embeddings,
    )


def make_sampler(config: TrainConfig) -> Sampler:
    """The stream of training batches (runs in the background process)."""
    sources = importlib.import_module(config.data).training_sources(config.data_folder)
    for source in sources:
        source.weight = config.weights.get(source.name, source.weight)
    return Sampler(sources, config.batch_size, config.pool_batches, config.seed)


@dataclass(slots=True)
class Run:
    """Everything that changes while training."""

    config: TrainConfig
    model: ParserModel
    optimizer: torch.optim.AdamW
    parameters: list[torch.nn.Parameter]
    average: WeightAverage
    progress: Progress = field(default_factory=Progress)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.config.output)


def set_up(config: TrainConfig, model: ParserModel) -> Run:
    """Optimizer and average for a model; continues from a checkpoint if there is one."""
    groups = parameter_groups(model, config.encoder_lr, config.lr, config.weight_decay)
    parameters = [item for group in groups for item in group["params"]]
    optimizer = torch.optim.AdamW(groups, fused=True)
    average = WeightAverage(parameters, config.average_decay)
    run = Run(config, model, optimizer, parameters, average)
    run.folder.mkdir(parents=True, exist_ok=True)
    if (run.folder / "checkpoint.pt").exists():
        load_checkpoint(run)
    return run


def parameter_groups(
    model: ParserModel, encoder_lr: float, lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Optimizer groups: encoder and rest, each with and without weight decay.

    Norms, biases and embeddings (everything of one dimension, or looked up) don't decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and "embedding" not in name
            groups.setdefault((name.startswith("encoder."), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": encoder_lr if encoder else lr,
            "base_lr": encoder_lr if encoder else lr,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (encoder, decays), parameters in groups.items()
    ]


def train(config: TrainConfig, model: ParserModel, evaluate: Evaluate | None = None) -> ParserModel:
    """Train to the end of the schedule; returns the model with the averaged weights."""
    run = set_up(config, model)
    batches = Prefetcher(partial(make_sampler, config), start=run.progress.step)
    clock = Clock(run.progress.elapsed)
    saved = evaluated = clock.seconds()
    window = Window(clock.seconds())
    while run.progress.share(config) < 1.0:
        window.add(train_step(run, next(batches)), config.batch_size)
        run.progress.elapsed = clock.seconds()
        if run.progress.step % config.log_steps == 0:
            report(run, window.summary(run))
            window = Window(clock.seconds())
        if evaluate and clock.seconds() - evaluated >= 60 * config.evaluate_minutes:
            validate(run, evaluate)
            evaluated = clock.seconds()
        if clock.seconds() - saved >= 60 * config.checkpoint_minutes:
            save_checkpoint(run)
            saved = clock.seconds()
    batches.close()
    save_checkpoint(run)
    if evaluate:
        validate(run, evaluate)
    with torch.no_grad():
        torch._foreach_copy_(list(run.parameters), run.average.tensors)
    model.save_pretrained(run.folder / "final")
    return model


def train_step(run: Run, batch: Batch) -> Outcome:
    """One update of the weights."""
    config, progress = run.config, run.progress
    seed_dropout(config.seed, progress.step)
    for group in run.optimizer.param_groups:
        group["lr"] = group["base_lr"] * learning_rate_scale(progress, config)
    run.model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bf16):
        outcome: Outcome = run.model(batch)
    outcome.loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.parameters, config.clip, foreach=True)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    progress.step += 1
    progress.examples += len(batch)
    run.average.update(progress.step)
    return outcome


class Clock:
    """Seconds of this run, those before a resume included."""

    def __init__(self, before: float) -> None:
        self._start = time.monotonic() - before

    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start


@dataclass(slots=True)
class Window:
    """Sums over the steps between two lines of the log."""

    start: float
    losses: list[float] = field(default_factory=list)
    examples: int = 0
    steps: int = 0
    right_steps: int = 0
    right_sequences: int = 0

    def add(self, outcome: Outcome, examples: int) -> None:
        """Take in one step."""
        self.losses.append(float(outcome.loss.detach()))
        self.examples += examples
        self.steps += outcome.steps
        self.right_steps += outcome.right_steps
        self.right_sequences += outcome.right_sequences

    def summary(self, run: Run) -> dict[str, float]:
        """The line's numbers."""
        return {
            "loss": round(sum(self.losses) / len(self.losses), 4),
            "token_accuracy": round(self.right_steps / self.steps, 4),
            "sequence_accuracy": round(self.right_sequences / self.examples, 4),
            "examples_per_second": round(
                self.examples / max(1e-9, run.progress.elapsed - self.start), 1
            ),
            "lr": round(max(group["lr"] for group in run.optimizer.param_groups), 7),
        }


def report(run: Run, numbers: dict[str, float]) -> None:
    """One line to `metrics.jsonl` and to stderr."""
    progress = run.progress
    line = {"step": progress.step, "minutes": round(progress.elapsed / 60, 2), **numbers}
    with (run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    text = " ".join(f"{name} {value:.4g}" for name, value in line.items())
    print(f"[{100 * progress.share(run.config):5.1f} %] {text}", file=sys.stderr, flush=True)


def validate(run: Run, evaluate: Evaluate) -> None:
    """Score the averaged weights; keep them in `best/` when they are the best so far."""
    with run.average.applied():
        run.model.eval()
        scores = evaluate(run.model)
        score = scores.get("score", scores.get("sequence_accuracy", 0.0))
        if score >= run.progress.best:
            run.progress.best = score
            run.model.save_pretrained(run.folder / "best")
    report(run, {f"validation_{name}": value for name, value in scores.items()})


def teacher_forced(model: ParserModel, batches: Sequence[Batch]) -> dict[str, float]:
    """Loss and accuracy given the gold prefixes: a fast stand-in for decoding."""
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        outcomes: list[Outcome] = [model(batch) for batch in batches]
    examples = sum(len(batch) for batch in batches)
    steps = sum(outcome.steps for outcome in outcomes)
    weighted = sum(float(item.loss) * item.steps for item in outcomes)
    return {
        "loss": round(weighted / steps, 4),
        "token_accuracy": round(sum(item.right_steps for item in outcomes) / steps, 4),
        "sequence_accuracy": round(sum(item.right_sequences for item in outcomes) / examples, 4),
    }


def save_checkpoint(run: Run) -> None:
    """Write `checkpoint.pt` so that a crash leaves the old one or the new one."""
    state = {
        "progress": asdict(run.progress),
        "config": asdict(run.config),
        "weights": [item.detach() for item in run.parameters],
        "average": run.average.tensors,
        "optimizer": run.optimizer.state_dict(),
    }
    target = run.folder / "checkpoint.pt"
    partial_file = target.with_suffix(".part")
    with partial_file.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial_file.replace(target)


def load_checkpoint(run: Run) -> None:
    """Continue where `checkpoint.pt` was written.

    Dropout and data need no saved generators: both are functions of seed and step.
    """
    state = torch.load(run.folder / "checkpoint.pt", weights_only=True)
    with torch.no_grad():
        torch._foreach_copy_(list(run.parameters), state["weights"])
    run.average.load(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.progress = Progress(**state["progress"])
    print(f"resumed at step {run.progress.step}", file=sys.stderr)


def evaluator(config: TrainConfig) -> Evaluate | None:
    """Teacher-forced scores on the validation examples, and the data module's own."""
    data: Any = importlib.import_module(config.data)
    batches = fixed_batches(data.validation_examples(config.data_folder), 32)

    def evaluate(model: ParserModel) -> dict[str, float]:
        scores = teacher_forced(model, batches)
        if hasattr(data, "evaluate"):
            scores |= data.evaluate(model, config.data_folder)
        return scores

    return evaluate if batches else None


def ensure_environment(threads: int) -> None:
    """Start this process anew if variables that libgomp reads at start are not set."""
    wanted = {**ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
    if threads == os.cpu_count():  # with fewer, two runs would bind to the same cores
        wanted |= {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="a TOML file, see configs/parser.toml")
    config = load_config(parser.parse_args(arguments).config)
    ensure_environment(config.threads)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    if config.start_from:
        model = ParserModel.from_pretrained(config.start_from)
    else:
        folder = Path(config.encoder) if config.encoder else encoder_folder()
        model = ParserModel.from_encoder(network_config(config), folder)
    train(config, model, evaluator(config))


if __name__ == "__main__":
    main()
