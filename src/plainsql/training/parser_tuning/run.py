"""Tune the parser on prepared pairs: one run, top to bottom.

    report = train_parser(load_train_config(None, {"base": "parser", "data": …, "out": …}))

leaves in `out`: `best/`, which answers questions (`ask --translator OUT`); `adapter/` for
the methods that train one, `torch/` for the others; and the run's own files, as for
language models.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from plainsql.errors import UsageError
from plainsql.evaluation.datasets import Example
from plainsql.training.batching import Batch, Sampler, fixed_batches
from plainsql.training.parser_model import Outcome, ParserModel
from plainsql.training.parser_tuning.folders import (
    ADAPTER_FOLDER,
    TORCH_FOLDER,
    Base,
    open_base,
    save_adapter,
    save_export,
    save_torch,
)
from plainsql.training.parser_tuning.loop import Evaluate, Loop, Scores
from plainsql.training.parser_tuning.measuring import measure, torch_translator
from plainsql.training.parser_tuning.network import Trainable, dense, trainable
from plainsql.training.parser_tuning.pairs import (
    Pairs,
    budget_law,
    load_pairs,
    training_source,
    validation_arrays,
    word_vectors,
)
from plainsql.training.parser_tuning.settings import Settings, refuse_meaningless
from plainsql.training.tuning.callbacks import Console, Interrupt
from plainsql.training.tuning.checkpoints import last_checkpoint
from plainsql.training.tuning.config import TrainConfig
from plainsql.training.tuning.curves import read_metrics
from plainsql.training.tuning.recipe import Stopped
from plainsql.training.tuning.run_report import TrainReport, write_beginning, write_end
from plainsql.training.tuning.run_setup import Run, setup
from plainsql.translators.parser.features import FeatureBuilder
from plainsql.translators.parser.runtime import TOKENIZER
from plainsql.translators.parser.translator import ParserTranslator

LABEL_SMOOTHING = 0.05  # as the shipped parser was trained with
EXECUTION = "execution accuracy"


@dataclass(frozen=True, slots=True)
class Outline:
    """What a run consists of, once everything is loaded."""

    run: Run
    base: Base
    pairs: Pairs
    settings: Settings
    tuned: Trainable


def train_parser(
    config: TrainConfig,
    *,
    resume: bool = False,
    force: bool = False,
    command: Sequence[str] = (),
) -> TrainReport:
    """Tune the parser that `config.base` names ("parser": the shipped one).

    Arguments and errors are those of `training.tuning.recipe.train`. Rows that the
    grammar doesn't cover are counted in the report; `DataError` when none is left.
    """
    refuse_meaningless(config)
    run = setup(config, resume=resume, force=force, command=command)
    if run.facts.get("finished"):
        return TrainReport.from_dict(run.facts["outcome"])
    if force:
        for name in (ADAPTER_FOLDER, TORCH_FOLDER):
            shutil.rmtree(run.folder.path / name, ignore_errors=True)
    with Console() as console:
        outline = _outline(run)
        run.folder.checkpoints.mkdir(parents=True, exist_ok=True)
        write_beginning(run)
        console.say(_opening(outline))
        loop = _loop(outline, console)
        _train(outline, loop, console.say)
        return _finish(outline, loop, console.say)


def _loop(outline: Outline, console: Console) -> Loop:
    """The loop at its start, or where the last checkpoint left it."""
    run, steps = outline.run, outline.settings.steps
    loop = Loop(
        outline.tuned.parser,
        outline.settings,
        run.folder,
        evaluator(outline),
        lambda line: console.say(_shown(line, steps)),
    )
    if run.start is not None:
        loop.load(run.start)
        console.say(f"Resuming at step {loop.step}.")
    return loop


def _outline(run: Run) -> Outline:
    config = run.config
    base = open_base(config.base, run.folder.checkpoints)
    pairs = load_pairs(run.prepared, base.folder, config.seed)
    settings = Settings.of(config, pairs.coverage.used)
    base.model.config.label_smoothing = LABEL_SMOOTHING
    if run.facts.setdefault("base_fingerprint", base.fingerprint) != base.fingerprint:
        raise UsageError(
            f"The run can't be resumed: {config.base} is another parser than it was.",
            hint="Start anew with --force.",
        )
    torch.manual_seed(config.seed)  # of the adapter's first weights
    return Outline(run, base, pairs, settings, trainable(base.model, settings.method))


def _opening(outline: Outline) -> str:
    """What is said before the first step."""
    trained, total = outline.tuned.counts()
    share = f"{trained:,} of {total:,} parameters ({100 * trained / total:.2f} %)"
    lines = [
        f"Training {share} by {outline.settings.method.name},"
        f" {outline.settings.steps} steps of {outline.settings.batch_size} pairs.",
        f"{outline.pairs.coverage}.",
    ]
    if outline.pairs.held_out and outline.pairs.checked:
        count = len(outline.pairs.validation) or len(outline.pairs.checked)
        lines.append(f"{count} of the questions are held out for validation.")
    return "\n".join(lines)


def _shown(line: dict[str, Any], steps: int) -> str:
    place = f"step {line['step']}/{steps}"
    if "loss" in line:
        speed = line["examples_per_second"]
        return f"{place}  loss {line['loss']:.4f}  {speed:.1f} pairs/s  lr {line['lr']:.3g}"
    accuracy = line["accuracy"]
    shown = "" if accuracy is None else f"{EXECUTION} {100 * accuracy:.1f} %, "
    return f"{place}  validation: {shown}loss {line['eval_loss']:.4f}, {line['eval_seconds']} s"


# --- batches and evaluation ---------------------------------------------------------------


def batches(outline: Outline, start: int) -> Iterator[Batch]:
    """The training batches from number `start` on: a function of seed and number."""
    settings, folder = outline.settings, outline.base.folder
    builder = FeatureBuilder(folder / TOKENIZER)
    source = training_source(outline.pairs, builder, word_vectors(folder))
    # One pool is about one epoch, sorted by length; later pools need no memory of it.
    pool = max(1, min(100, len(source) // settings.batch_size))
    sampler = Sampler([source], settings.batch_size, pool, settings.seed, budget_law)
    return sampler.batches(start)


def evaluator(outline: Outline) -> Evaluate | None:
    """Accuracy by asking, and loss, on the validation rows; None where there are none."""
    settings, pairs = outline.settings, outline.pairs
    builder = FeatureBuilder(outline.base.folder / TOKENIZER)
    taught = validation_arrays(pairs, builder)
    if not settings.eval_examples or not taught:
        return None
    examples = sample(pairs.validation, settings.eval_examples, settings.seed)
    held = fixed_batches(taught, 16)

    def evaluate(parser: ParserModel) -> Scores:
        accuracy = None
        if examples:
            translator = torch_translator(parser, outline.base.folder)
            report = measure(translator, examples, pairs.paths, pairs.schemas)
            accuracy = report.score.execution
        return Scores(accuracy, teacher_forced_loss(parser, held))

    return evaluate


def sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` of the examples in their order, the same for the same seed."""
    if count >= len(examples):
        return list(examples)
    chosen = np.random.default_rng(seed).permutation(len(examples))[:count]
    return [examples[i] for i in sorted(chosen)]


@torch.inference_mode()
def teacher_forced_loss(parser: ParserModel, held: Sequence[Batch]) -> float:
    """The mean loss of a step, given the gold prefixes."""
    outcomes: list[Outcome] = [parser(batch) for batch in held]
    total = sum(float(outcome.loss) * outcome.steps for outcome in outcomes)
    return total / sum(outcome.steps for outcome in outcomes)


# --- the run ------------------------------------------------------------------------------


def _train(outline: Outline, loop: Loop, say: Callable[[str], None]) -> None:
    """All steps. Raises `Stopped` after an interrupt."""
    interrupt = Interrupt()
    with interrupt.listening(lambda: say("Stopping after this step; once more stops at once.")):
        done = loop.run(batches(outline, loop.step), interrupt)
    if not done:
        folder = outline.run.folder
        last = last_checkpoint(folder.checkpoints)
        raise Stopped(
            f"Stopped at step {last.step if last else 0}.",
            f"The same command with --resume continues the run in {folder.path}.",
        )


def _finish(outline: Outline, loop: Loop, say: Callable[[str], None]) -> TrainReport:
    """Merge, export, measure what was exported, and write the report."""
    folder, method, tuned = outline.run.folder, outline.settings.method, outline.tuned
    loop.restore_best()
    if method.adapts:
        save_adapter(tuned, outline.base, folder.path / ADAPTER_FOLDER)
    merged = dense(tuned.parser)
    if not method.adapts:
        save_torch(merged, method, outline.base, folder.path / TORCH_FOLDER)
    say("Exporting to int8.")
    exported = save_export(merged, method, outline.base, folder.best)
    after = _accuracy_of_export(outline)
    report = _report(outline, loop)
    notes = _notes(outline, loop, after) | {"exported": str(exported)}
    write_end(outline.run, report, notes)
    say(_closing(notes))
    return report


def _accuracy_of_export(outline: Outline) -> float | None:
    """Execution accuracy of best/ on the validation rows, by the files as written."""
    settings, pairs = outline.settings, outline.pairs
    examples = sample(pairs.validation, settings.eval_examples, settings.seed)
    if not examples:
        return None
    translator = ParserTranslator(outline.run.folder.best)
    return measure(translator, examples, pairs.paths, pairs.schemas).score.execution


def _report(outline: Outline, loop: Loop) -> TrainReport:
    standing, run = loop.standing, outline.run
    trained, total = outline.tuned.counts()
    lines = read_metrics(run.folder.metrics)
    judged = [line for line in lines if "eval_loss" in line]
    asked = any(line["accuracy"] is not None for line in judged)
    losses = [line["loss"] for line in lines if "loss" in line]
    return TrainReport(
        best=run.folder.best,
        out=run.folder.path,
        method=run.config.method,
        steps=loop.step,
        best_step=standing.best_step if judged else loop.step,
        accuracy=standing.best_accuracy if asked else None,
        accuracy_rule=EXECUTION if asked else "",
        eval_loss=standing.best_loss if judged else None,
        train_loss=losses[-1] if losses else float("nan"),
        trainable=trained,
        total=total,
        examples=outline.pairs.coverage.used,
        tokens=standing.tokens,
        seconds=round(standing.seconds, 3),
        peak_memory_mb=round(standing.peak_memory_mb, 1),
        stopped_early=loop.stopped_early,
    )


def _notes(outline: Outline, loop: Loop, exported: float | None) -> dict[str, Any]:
    """What a parser's run has to say beside the common report."""
    judged = [line for line in read_metrics(outline.run.folder.metrics) if "eval_loss" in line]
    before = judged[0]["accuracy"] if judged else None
    notes: dict[str, Any] = {"pairs": str(outline.pairs.coverage)}
    if before is not None:
        notes |= {
            f"{EXECUTION} before": f"{100 * before:.1f} %",
            f"{EXECUTION} of the best step": f"{100 * loop.standing.best_accuracy:.1f} %",
            f"{EXECUTION} after the export": f"{100 * (exported or 0):.1f} %",
        }
    if judged and loop.standing.best_step == 0:
        notes["note"] = "no step was better than the base on the validation rows: best/ is the base"
    return notes


def _closing(notes: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in notes.items() if name != "pairs")
