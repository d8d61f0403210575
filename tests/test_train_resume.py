"""A run that is killed, interrupted, or out of disk space, and goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from plainsql.errors import TrainingError, UsageError  # noqa: E402
from plainsql.training.tuning.checkpoints import (  # noqa: E402
    COMPLETE,
    Standing,
    commit,
    last_checkpoint,
    remove_old,
)
from plainsql.training.tuning.config import TrainConfig  # noqa: E402
from plainsql.training.tuning.recipe import Stopped, train  # noqa: E402
from plainsql.translators.language_model.loading import load  # noqa: E402
from tiny_models import tiny_model  # noqa: E402
from tuning_data import lines, prepared, row  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

STEPS = 9


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Nine steps over two passes; dropout, so that the generators' states matter."""
    folder = tmp_path_factory.mktemp("given")
    base = tiny_model("llama", folder / "base")
    data = prepared(folder / "data", train=12, validation=2)
    return TrainConfig(
        base=str(base), data=str(data), max_steps=STEPS, batch_size=1, accumulation=2,
        rank=4, dropout=0.3, learning_rate=3e-3, warmup=2, precision="fp32", device="cpu",
        threads=1, eval_steps=4, eval_examples=2, save_steps=3, log_steps=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    return train(replace(config, out=str(tmp_path_factory.mktemp("whole") / "run"))).out


def course(folder: Path) -> list[tuple[Any, ...]]:
    """Losses, learning rates and accuracies in order; not the times and memory."""
    names = ("step", "loss", "lr", "grad_norm", "eval_loss", "accuracy", "epoch")
    return [tuple(line.get(name) for name in names) for line in lines(folder / "metrics.jsonl")]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "best" / "adapter_model.safetensors")


class At(transformers.TrainerCallback):
    """Sends this process a signal when a step begins."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), self.number)


KILLED = """
import json, signal, sys
sys.path[:0] = json.loads(sys.argv[1])
from test_train_resume import At
from plainsql.training.tuning.config import TrainConfig
from plainsql.training.tuning.recipe import train
train(TrainConfig(**json.loads(sys.argv[2])), callbacks=[At(int(sys.argv[3]), signal.SIGKILL)])
"""


def test_kill_9_and_resume(config: TrainConfig, whole: Path, tmp_path: Path) -> None:
    from dataclasses import asdict

    killed = replace(config, out=str(tmp_path / "run"))
    paths = json.dumps([str(Path(__file__).parent)])
    given = [sys.executable, "-c", KILLED, paths, json.dumps(asdict(killed)), "7"]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(course(tmp_path / "run")) == 8  # seven steps and an evaluation

    with pytest.raises(UsageError, match="unfinished run") as raised:
        train(killed)
    assert "--resume" in raised.value.hint

    report = train(killed, resume=True)
    assert course(report.out) == course(whole)
    first, second = weights(report.out), weights(whole)
    assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.parametrize("method", ["full", "qat-lora"])
def test_interrupt_and_resume(method: str, config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, method=method, eval_examples=0, learning_rate=1e-3)
    expected = train(replace(config, out=str(tmp_path / "whole"))).out
    stopped = replace(config, out=str(tmp_path / "run"))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="Stopped at step 5") as raised:
        train(stopped, callbacks=[At(4, signal.SIGINT)])
    assert "--resume" in raised.value.hint
    assert signal.getsignal(signal.SIGINT) is before
    assert course(train(stopped, resume=True).out) == course(expected)


def test_a_second_interrupt_stops_at_once(config: TrainConfig, tmp_path: Path) -> None:
    class Twice(At):
        def on_step_begin(self, *given: Any, **named: Any) -> None:
            super().on_step_begin(*given, **named)
            super().on_step_begin(*given, **named)

    with pytest.raises(KeyboardInterrupt) as raised:
        train(replace(config, out=str(tmp_path / "run")), callbacks=[Twice(1, signal.SIGINT)])
    assert not isinstance(raised.value, Stopped)
    assert not list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))


@pytest.fixture
def stopped(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """A run with checkpoints 3 and 5."""
    config = replace(config, out=str(tmp_path / "run"), eval_examples=0)
    with pytest.raises(Stopped):
        train(config, callbacks=[At(4, signal.SIGTERM)])
    return config


def test_what_is_resumed_must_be_the_same_run(stopped: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--rank 4 -> 8; --seed 0 -> 1"):
        train(replace(stopped, rank=8, seed=1), resume=True)
    moved = tmp_path / "data"
    shutil.copytree(stopped.data, moved)
    with (moved / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row("New?", "SELECT 1")) + "\n")
    with pytest.raises(UsageError, match=r"train\.jsonl has other content"):
        train(replace(stopped, data=str(moved)), resume=True)


def test_a_half_written_checkpoint_is_passed_over(stopped: TrainConfig) -> None:
    folder = Path(stopped.out) / "checkpoints"
    damaged = folder / "checkpoint-5" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (folder / ".partial" / "checkpoint-7").mkdir(parents=True)
    (folder / ".partial" / "checkpoint-7" / "optimizer.pt").write_bytes(b"half")
    found = last_checkpoint(folder)
    assert found is not None
    assert found.step == 3
    assert train(stopped, resume=True).steps == STEPS
    assert not (folder / ".partial" / "checkpoint-7").exists()


def test_resuming_before_the_first_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, out=str(tmp_path / "run"), eval_examples=0, save_steps=99)
    with pytest.raises(TrainingError):
        train(config, callbacks=[Fail()])
    assert train(config, resume=True).steps == STEPS


def test_killed_between_the_last_step_and_the_report(
    config: TrainConfig, whole: Path, tmp_path: Path
) -> None:
    config = replace(config, out=str(tmp_path / "run"))
    shutil.copytree(whole, config.out)
    file = tmp_path / "run" / "run.json"
    run = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**run, "finished": False, "outcome": None}), encoding="utf-8")
    shutil.rmtree(tmp_path / "run" / "best")

    report = train(config, resume=True)
    assert report.steps == STEPS
    assert course(report.out) == course(whole)
    assert all(
        torch.equal(weights(whole)[name], item) for name, item in weights(report.out).items()
    )


def test_another_base_under_the_same_name(stopped: TrainConfig) -> None:
    run = json.loads((Path(stopped.out) / "run.json").read_text(encoding="utf-8"))
    run["base_fingerprint"] = "llama-1x1-0"
    (Path(stopped.out) / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(UsageError, match="it was llama-1x1-0"):
        train(stopped, resume=True)


class Fail(transformers.TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise TrainingError("something")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on the size of files")
def test_a_full_disk(config: TrainConfig, tmp_path: Path) -> None:
    """Files above 20 kB can't be written once the first checkpoint is there."""
    import resource

    class Fill(transformers.TrainerCallback):
        def on_save(self, *given: Any, **_: Any) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    config = replace(config, out=str(tmp_path / "run"), eval_steps=2, save_steps=3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(TrainingError, match="checkpoint-3") as raised:
            train(config, callbacks=[Fill()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--resume" in raised.value.hint
    found = last_checkpoint(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.step == 3
    assert load(tmp_path / "run" / "best").info.kind == "adapter"
    assert train(config, resume=True).steps == STEPS


def test_commit_lists_every_file(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        partial = tmp_path / ".partial" / f"checkpoint-{step}"
        partial.mkdir(parents=True)
        (partial / "weights").write_bytes(b"x" * step)
        commit(partial, tmp_path / partial.name, Standing(tokens=step))
    last = last_checkpoint(tmp_path)
    assert last is not None
    assert (last.step, last.standing().tokens) == (10, 10)
    (tmp_path / "checkpoint-10" / "weights").unlink()
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-2" / COMPLETE).write_text("{}", encoding="utf-8")
    last = last_checkpoint(tmp_path)
    assert last is not None
    assert last.step == 1
    remove_old(tmp_path, keep=1)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]
