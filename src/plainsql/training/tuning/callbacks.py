"""What happens beside the steps: numbers to a file and a terminal, and a clean stop.

All of it is called by transformers' `Trainer` between steps; see `loop.Tuner` for
what happens within them.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback

from plainsql.training.peak_memory import peak_memory_mb
from plainsql.training.tuning.curves import read_metrics


class Interrupt:
    """Whether someone asked the run to stop: Ctrl-C, or SIGTERM of a scheduler.

    The first signal lets the step end and a checkpoint be written; the next one
    stops at once.
    """

    def __init__(self) -> None:
        self.seen = False

    @contextmanager
    def listening(self, on_first: Callable[[], None]) -> Iterator[None]:
        """Take the signals while the block runs. Threads but the main one get none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self.seen:
                raise KeyboardInterrupt
            self.seen = True
            on_first()

        before = {number: signal.signal(number, note) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Flow(TrainerCallback):
    """Stops on an interrupt, and logs wherever there is an evaluation or a checkpoint."""

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if _any_process(self._interrupt.seen, args):
            control.should_training_stop = True
            control.should_save = True
            control.should_evaluate = False
            self.stopped = True
        # The log looks at the loss: no weights are kept that are not numbers.
        control.should_log |= control.should_save or control.should_evaluate


def _any_process(flag: bool, args: Any) -> bool:
    """Whether any process says so: all must stop at the same step."""
    if args.world_size == 1:
        return flag
    flags = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


# A name in metrics.jsonl, and that in the Trainer's logs.
_NAMES = {
    "loss": "loss",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_per_second": "tokens_per_second",
    "eval_loss": "eval_loss",
    "accuracy": "eval_accuracy",
    "eval_seconds": "eval_runtime",
    "epoch": "epoch",
}


class MetricsFile(TrainerCallback):
    """Writes one line of metrics.jsonl for each log and each evaluation."""

    def __init__(self, path: Path, start: int) -> None:
        """`start`: the step that training continues from; later lines are dropped."""
        self._path = path
        kept = [line for line in read_metrics(path) if line["step"] <= start] if start else []
        path.write_text("".join(map(_line, kept)), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        found = {name: logs[key] for name, key in _NAMES.items() if key in logs}
        if "loss" not in found and "eval_loss" not in found:
            return  # the Trainer's summary
        memory = round(peak_memory_mb(), 1)
        line = _line({"step": state.global_step, **found, "peak_memory_mb": memory})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"


class Console(TrainerCallback):
    """Progress on stderr: a bar on a terminal, else a line for each log. Use as a context."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._shown = ""

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if sys.stderr.isatty():
            self._bar = _progress()
            self._task = self._bar.add_task(
                "training", total=state.max_steps, completed=state.global_step
            )
            self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        place = f"step {state.global_step}/{state.max_steps}"
        if "loss" in logs:
            numbers = f"loss {logs['loss']:.4f}  {logs.get('tokens_per_second', 0):,.0f} tokens/s"
            if self._bar is not None:
                self._bar.update(self._task, description=numbers)
            else:
                self.say(f"{place}  {numbers}  lr {logs['learning_rate']:.3g}")
        elif "eval_loss" in logs:
            self.say(f"{place}  {_evaluation(logs)}")


def _evaluation(logs: dict[str, Any]) -> str:
    accuracy = logs.get("eval_accuracy")
    shown = "" if accuracy is None else f"accuracy {100 * accuracy:.1f} %, "
    return f"validation: {shown}loss {logs['eval_loss']:.4f}, {logs.get('eval_runtime', 0):.0f} s"


def _progress() -> Any:
    from rich.console import Console as Terminal
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Terminal(stderr=True), transient=True)
