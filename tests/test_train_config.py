"""Settings of a tuning run: files, flags, recipes, and what is refused."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from plainsql.cli.train import command
from plainsql.errors import UsageError
from plainsql.training.tuning.config import (
    LAUNCHERS,
    RECIPES,
    TrainConfig,
    config_path,
    flag,
    load_train_config,
    settings,
    shipped,
)


def test_a_file_and_flags_over_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('method = "qlora"\nrank = 8\nepochs = 2\n', encoding="utf-8")
    config = load_train_config(file, {"rank": 4, "alpha": None, "base": Path("base")})
    assert (config.method, config.rank, config.alpha, config.epochs) == ("qlora", 4, 32, 2.0)
    assert config.base == "base"


def test_toml_holds_every_setting(tmp_path: Path) -> None:
    config = TrainConfig(base='odd "name"\\', method="qat", warmup=0.5, gradient_checkpointing=True)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml("plainsql train\n\nsecond line"), encoding="utf-8")
    assert load_train_config(file) == config


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "dora"}, "--method must be one of lora or qlora"),
        ({"rank": 0}, "--rank must be 1 or more, not 0"),
        ({"batch_size": 0}, "--batch-size must be 1 or more"),
        ({"dropout": 1.0}, "--dropout must be from 0 to below 1"),
        ({"learning_rate": 2.0}, "--learning-rate must be"),
        ({"epochs": -1}, "--epochs must be 0 or more"),
        ({"epochs": 0}, "no steps"),
        ({"precision": "tf32"}, "--precision must be one of"),
        ({"schedule": "step"}, "--schedule must be one of cosine or linear or constant"),
        ({"quantization": "int8", "method": "qlora"}, "--quantization int8 goes with --method"),
        ({"rank": "16"}, "--rank must be a whole number, not '16'"),
        ({"rank": 1.5}, "--rank must be a whole number"),
        ({"rank": True}, "--rank must be a whole number"),
        ({"dropout": "much"}, "--dropout must be a number"),
        ({"gradient_checkpointing": 1}, "--gradient-checkpointing must be true or false"),
        ({"base": 3}, "--base must be text"),
        ({"learnin_rate": 1e-4}, "no setting 'learnin_rate'"),
    ],
)
def test_bad_values_name_the_flag(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as raised:
        load_train_config(None, values)
    assert "--" in raised.value.hint


@pytest.mark.parametrize("text", ["rank = ", "rank: 3", "\xff"])
def test_a_broken_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=re.escape(str(file))):
        load_train_config(file)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_valid_and_say_how_to_run_them(path: Path) -> None:
    config = load_train_config(path.stem)
    assert config == load_train_config(path)
    assert config != TrainConfig()
    assert f"--config {path.stem}" in path.read_text(encoding="utf-8")


def test_the_recipes_that_are_promised() -> None:
    assert {"colab_t4", "gpu_24gb", "gpus_8", "cpu", "parser"} == {
        path.stem for path in RECIPES.glob("*")
    }
    assert set(shipped()) >= {"ddp", "fsdp", "deepspeed_zero2", "deepspeed_zero3"}
    assert load_train_config("colab_t4").precision == "fp16"  # a T4 has no bfloat16


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("path", sorted(LAUNCHERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_launchers(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    kinds = {"fsdp": "FSDP", "deepspeed_zero2": "DEEPSPEED", "deepspeed_zero3": "DEEPSPEED"}
    assert found.distributed_type.value == kinds.get(path.stem, "MULTI_GPU")
    assert found.num_processes == (2 if path.stem == "cpu_2_processes" else 8)
    assert f"--path-of {path.stem}" in path.read_text(encoding="utf-8")


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(UsageError, match="no configuration 'colab'") as raised:
        config_path("colab")
    assert "colab_t4" in raised.value.hint


def test_every_setting_is_documented_and_has_a_flag() -> None:
    flags = {name for item in command.get_params(command.make_context("train", [])) for name in
             item.opts}  # fmt: skip
    for item in settings():
        assert item.metadata["doc"].endswith("."), item.name
        assert item.metadata["group"]
        assert flag(item.name) in flags


@pytest.mark.parametrize(
    ("method", "given", "rate"),
    [("lora", 0.0, 2e-4), ("qat-lora", 0.0, 2e-4), ("full", 0.0, 2e-5), ("qat", 0.0, 2e-5),
     ("full", 1e-3, 1e-3)],
)  # fmt: skip
def test_learning_rate_by_method(method: str, given: float, rate: float) -> None:
    assert TrainConfig(method=method, learning_rate=given).peak_learning_rate == rate


def test_what_may_change_in_a_resumed_run() -> None:
    config = TrainConfig(base="a", rank=8, seed=3)
    same = replace(config, threads=2, save_total_limit=5, out="moved")
    assert same.changes(asdict(config)) == []
    other = replace(config, rank=16, base="b")
    assert other.changes(asdict(config)) == ["--base 'a' -> 'b'", "--rank 8 -> 16"]
