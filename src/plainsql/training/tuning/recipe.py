"""Tune a language model on prepared pairs of question and SQL: one run, top to bottom.

    report = train(load_train_config("run.toml"))

reads the data, loads the base by its method, trains, evaluates by execution, keeps
the best model, and writes what is needed to repeat the run. See config.TrainConfig
for the settings and loop.Tuner for what is added to transformers' Trainer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from plainsql.errors import TrainingError, UsageError
from plainsql.training.tuning.callbacks import Console, Flow, Interrupt, MetricsFile
from plainsql.training.tuning.checkpoints import failed_save, last_checkpoint
from plainsql.training.tuning.config import PARSER, TrainConfig
from plainsql.training.tuning.curves import read_metrics
from plainsql.training.tuning.run_facts import is_main_process, processes
from plainsql.training.tuning.run_report import TrainReport, write_beginning, write_end
from plainsql.training.tuning.run_setup import Run, method_options, setup
from plainsql.translators.language_model.loading import Loaded
from plainsql.translators.parser.weights import is_parser

__all__ = ["Run", "Stopped", "setup", "train"]

Say = Callable[[str], None]


class Stopped(KeyboardInterrupt):
    """The run was interrupted and can be resumed; `hint` says how."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[Any] = (),
    command: Sequence[str] = (),
) -> TrainReport:
    """Tune the model that `config` names and return how it went.

    `resume` continues from the last whole checkpoint, `force` discards an earlier
    run; without either a used folder is a `UsageError`. `callbacks` are
    transformers' own, added after ours. Raises `DataError` for data that can't be
    learned from, `ModelError` for a base that can't be loaded, `TrainingError`
    when the loss is no number or saving fails, `Stopped` when interrupted.
    """
    if config.base == PARSER or is_parser(config.base):
        from plainsql.training.parser_tuning import train_parser

        return train_parser(config, resume=resume, force=force, command=command)
    run = setup(config, resume=resume, force=force, command=command)
    if run.facts.get("finished"):
        return TrainReport.from_dict(run.facts["outcome"])
    with ExitStack() as opened:
        return _train(run, opened, callbacks)


def _train(run: Run, opened: ExitStack, callbacks: Sequence[Any]) -> TrainReport:
    from plainsql.training.tuning.assessment import Assessment
    from plainsql.training.tuning.loop import start_clean
    from plainsql.training.tuning.methods import trainable_counts
    from plainsql.training.tuning.run_data import load_run_data

    console = opened.enter_context(Console())
    say: Say = console.say if is_main_process() else lambda text: None
    loaded = _load(run)
    data = load_run_data(run, loaded)
    counts = trainable_counts(loaded.model)
    say(_opening(run, loaded, counts, len(data.training)))
    if is_main_process():
        start_clean(run.folder)
        write_beginning(run)
    interrupt, assess = Interrupt(), None
    if data.rows:
        assess = Assessment(data.rows, run.prepared.databases, loaded, interrupt)
        opened.enter_context(assess)
    flow = Flow(interrupt)
    tuner = _tuner(run, loaded, data, assess, interrupt)
    for callback in (flow, *_reporting(run, console), *callbacks):
        tuner.add_callback(callback)
    _loop(run, tuner, interrupt, flow, say)
    rule = assess.judge.rule if assess and is_main_process() else ""
    report = _outcome(run, tuner, counts, rule, len(data.training))
    if is_main_process():
        write_end(run, report, data.lengths)
    return report


# --- before the first step -----------------------------------------------------


def _load(run: Run) -> Loaded:
    """The base, made trainable. Raises `UsageError` if it is not the one of this run."""
    from plainsql.training.tuning.methods import prepare_model

    options = method_options(run.config, run.device)
    loaded = prepare_model(run.config.base, options, device=run.config.device, seed=run.config.seed)
    loaded.info = replace(loaded.info, prompt=run.prompt)
    found = loaded.info.base_fingerprint
    if run.facts.setdefault("base_fingerprint", found) != found:
        raise UsageError(
            f"The run can't be resumed: {run.config.base} is now {found},"
            f" it was {run.facts['base_fingerprint']}.",
            hint="Put the base model back, or start anew with --force.",
        )
    return loaded


def _opening(run: Run, loaded: Loaded, counts: tuple[int, int], examples: int) -> str:
    """What is said before the first step."""
    trainable, total = counts
    share = f"{trainable:,} of {total:,} parameters ({100 * trainable / max(total, 1):.2f} %)"
    lines = [
        f"Training {share} by {run.config.method} on {examples:,} examples, {run.device}.",
        _memory(run, loaded),
    ]
    if run.start:
        lines.append(f"Resuming at step {run.start.step}.")
    return "\n".join(lines)


def _memory(run: Run, loaded: Loaded) -> str:
    from plainsql.training.tuning.estimates import estimate_run, shown
    from plainsql.training.tuning.loop import precision

    kind = precision(run.config, run.device)
    found = estimate_run(loaded.model.config, run.config, run.prompt, run.device, kind)
    length = run.prompt.max_input_tokens + run.prompt.max_output_tokens
    return (
        f"Estimated memory at the peak: {shown(found.total)} on each device ({kind},"
        f" {run.config.batch_size} x {length} tokens), the program itself aside."
    )


def _tuner(run: Run, loaded: Loaded, data: Any, assess: Any, interrupt: Interrupt) -> Any:
    from plainsql.training.data.tokenizing import collator
    from plainsql.training.tuning.loop import Hooks, Tuner, arguments
    from plainsql.training.tuning.methods import save_model

    def save(model: Any, folder: Any, weights: dict[str, Any] | None) -> None:
        save_model(replace(loaded, model=model), folder, run.prompt, state_dict=weights)

    config = run.config if data.rows else replace(run.config, eval_examples=0)
    batch = config.batch_size * config.accumulation * processes()
    epoch_steps = math.ceil(len(data.training) / batch)
    return Tuner(
        config,
        run.folder,
        Hooks(assess, save, interrupt),
        run.standing,
        model=loaded.model,
        args=arguments(config, run.folder, run.device, epoch_steps),
        train_dataset=data.training,
        eval_dataset=data.validation,
        data_collator=collator(loaded.tokenizer, loaded.info.family, config.padding),
    )


def _reporting(run: Run, console: Console) -> list[Any]:
    """What writes metrics and prints: in one process, since there is one file."""
    if not is_main_process():
        return []
    return [MetricsFile(run.folder.metrics, run.start.step if run.start else 0), console]


# --- the steps, and after --------------------------------------------------------


def _loop(run: Run, tuner: Any, interrupt: Interrupt, flow: Flow, say: Say) -> None:
    """All steps. Raises `Stopped` after an interrupt, `TrainingError` when saving fails."""

    def stopping() -> None:
        say("Stopping after this step; once more stops at once.")

    try:
        with interrupt.listening(stopping):
            tuner.run(run.start)
        if not flow.stopped and not tuner.standing.best_step:
            tuner.save_best()
    except OSError as error:  # metrics.jsonl on a full disk
        raise failed_save(run.folder, error) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The device ran out of memory: {str(error).splitlines()[0]}",
            hint="Lower --batch-size and --max-input-tokens, add --gradient-checkpointing,"
            " or use --method qlora.",
        ) from error
    if flow.stopped:
        last = last_checkpoint(run.folder.checkpoints)
        raise Stopped(
            f"Stopped at step {last.step if last else 0}.",
            f"The same command with --resume continues the run in {run.folder.path}.",
        )


def _outcome(
    run: Run, tuner: Any, counts: tuple[int, int], rule: str, examples: int
) -> TrainReport:
    standing, state = tuner.standing, tuner.state
    evaluated = bool(standing.best_step)
    losses = [line["loss"] for line in read_metrics(run.folder.metrics) if "loss" in line]
    return TrainReport(
        best=run.folder.best,
        out=run.folder.path,
        method=run.config.method,
        steps=state.global_step,
        best_step=standing.best_step or state.global_step,
        accuracy=standing.best_accuracy if evaluated and rule else None,
        accuracy_rule=rule,
        eval_loss=standing.best_loss if evaluated else None,
        train_loss=losses[-1] if losses else math.nan,
        trainable=counts[0],
        total=counts[1],
        examples=examples,
        tokens=standing.tokens,
        seconds=round(standing.seconds, 3),
        peak_memory_mb=round(standing.peak_memory_mb, 1),
        stopped_early=state.global_step < state.max_steps,
    )
