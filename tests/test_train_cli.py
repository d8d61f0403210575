"""plainsql train at the command line: help, lists, errors, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.main import run
from plainsql.training.tuning.config import config_path, flag, settings

Said = tuple[int, str, str]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs one command line: exit code, stdout, stderr."""

    def call(*arguments: str) -> Said:
        capfd.readouterr()
        code = run(list(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_help_shows_every_flag_in_groups(cli: Any) -> None:
    code, out, _ = cli("train", "--help")
    assert code == 0
    for item in settings():
        assert flag(item.name) in out
        assert f"{item.metadata['group']}:" in out
    for text in ("--resume", "--estimate", "--path-of", "plainsql train --config colab_t4"):
        assert text in out


def test_recipes_and_their_places(cli: Any) -> None:
    assert "colab_t4" in cli("train", "--recipes")[1]
    code, out, _ = cli("train", "--path-of", "ddp")
    assert (code, out.strip()) == (0, str(config_path("ddp")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "dora"], "--method"),
        (["--rank", "many"], "--rank"),
        (["--rank", "0"], "--rank must be 1 or more"),
        (["--config", "colab"], "no configuration 'colab'"),
        (["--path-of", "nothing"], "no configuration 'nothing'"),
        (["--learnin-rate", "1"], "--learnin-rate"),
    ],
)
def test_usage_errors(cli: Any, arguments: list[str], said: str) -> None:
    code, out, err = cli("train", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_estimates_need_no_model(cli: Any) -> None:
    code, out, _ = cli("train", "--estimate")
    assert code == 0
    for text in ("7b", "13b", "qlora", "full"):
        assert text in out
    code, out, _ = cli("train", "--estimate", "--json")
    found = json.loads(out)
    names = ("7b", "qlora (NF4 + DQ)")
    [small] = [row for row in found["estimates"] if (row["model"], row["method"]) == names]
    assert 4 < small["total_gb"] < 8
    assert found["assumptions"]


@pytest.mark.parametrize("flag", ["--help", "--estimate", "--recipes"])
def test_what_needs_no_weights_loads_no_heavy_package(flag: str) -> None:
    heavy = ("torch", "transformers", "peft", "datasets", "accelerate", "matplotlib")
    code = (
        "import sys; from plainsql.cli.main import run;"
        f"assert run(['train', {flag!r}]) == 0;"
        f"print('loaded:', *set({heavy!r}) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded:\n")


torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_run(cli: Any, tmp_path: Path) -> None:
    from tiny_models import tiny_model
    from tuning_data import prepared

    base = tiny_model("llama", tmp_path / "base")
    data = prepared(tmp_path / "data", train=6, validation=2)
    given = [
        "--config", "cpu", "--base", str(base), "--data", str(data), "--out", str(tmp_path / "run"),
        "--threads", "1", "--precision", "fp32", "--max-steps", "2", "--eval-steps", "2",
        "--eval-examples", "2", "--log-steps", "1", "--batch-size", "1",
    ]  # fmt: skip
    code, out, err = cli("train", *given, "--estimate")
    assert code == 0
    assert "qlora" in out

    code, out, err = cli("train", *given)
    assert code == 0, err
    assert str(tmp_path / "run" / "best") in out
    assert "execution accuracy" in out
    for text in ("Training ", "parameters", "Estimated memory", "step 1/2", "validation: accuracy"):
        assert text in err
    assert "Loading weights" not in err

    code, out, err = cli("train", *given)
    assert (code, out) == (2, "")
    assert "finished run" in err
    assert "--force" in err

    config = str(tmp_path / "run" / "config.toml")
    code, out, _ = cli("train", "--config", config, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 2


def test_a_missing_folder(cli: Any, tmp_path: Path) -> None:
    code, _, err = cli(
        "train", "--base", "x", "--data", str(tmp_path), "--out", str(tmp_path / "r")
    )
    assert code == 2
    assert "plainsql data prepare" in err


def test_an_interrupted_run_says_how_to_go_on(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from plainsql.training.tuning import recipe

    def stop(*_: Any, **__: Any) -> None:
        raise recipe.Stopped("Stopped at step 7.", "The same command with --resume continues it.")

    monkeypatch.setattr(recipe, "train", stop)
    code, out, err = cli("train", "--base", "x")
    assert (code, out) == (130, "")
    assert "Stopped at step 7." in err
    assert "--resume" in err
