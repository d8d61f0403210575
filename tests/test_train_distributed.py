"""Two processes train together on one CPU, launched as several GPUs would be."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from plainsql.errors import UsageError
from plainsql.training.tuning.config import config_path, load_train_config
from plainsql.training.tuning.recipe import setup
from plainsql.translators.language_model.model_info import ModelInfo
from tiny_models import tiny_model
from tuning_data import lines, prepared

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def launched(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch … -m plainsql train`, with a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch",
        "--config_file", str(config_path("cpu_2_processes")), "--main_process_port", str(port),
        "-m", "plainsql", "train",
    ]  # fmt: skip
    return subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes(tmp_path: Path) -> None:
    base = tiny_model("llama", tmp_path / "base")
    data = prepared(tmp_path / "data", train=12, validation=2)
    out = tmp_path / "run"
    done = launched(
        "--base", str(base), "--data", str(data), "--out", str(out), "--device", "cpu",
        "--precision", "fp32", "--max-steps", "4", "--batch-size", "1", "--accumulation", "2",
        "--rank", "4", "--learning-rate", "1e-3", "--eval-steps", "2", "--eval-examples", "2",
        "--log-steps", "1", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    report = json.loads(done.stdout)  # one process prints
    assert report["steps"] == 4
    assert done.stderr.count("step 3/4") == 1
    found = lines(out / "metrics.jsonl")
    assert [line["step"] for line in found] == [1, 2, 2, 3, 4, 4]
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["processes"] == 2
    assert ModelInfo.read(out / "best").kind == "adapter"
    states = {path.name for path in (out / "checkpoints" / "checkpoint-4").glob("rng_state*")}
    assert states == {"rng_state_0.pth", "rng_state_1.pth"}

    with pytest.raises(UsageError, match="2 -> 1 processes"):
        setup(load_train_config(out / "config.toml"), resume=True)
