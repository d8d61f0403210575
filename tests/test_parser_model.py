"""The parser's network, its training loop and its export, at toy size."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from plainsql.errors import ModelError, UsageError
from plainsql.training.batching import Batch, Example, Sampler, collate, fixed_batches
from plainsql.training.dropout import drop, seed_dropout
from plainsql.training.parser_config import TrainConfig, load_config
from plainsql.training.parser_export import export
from plainsql.training.parser_model import (
    Inputs,
    ParserConfig,
    ParserModel,
    Targets,
    masked_log_softmax,
)
from plainsql.training.parser_recipe import (
    Progress,
    evaluator,
    learning_rate_scale,
    make_sampler,
    save_checkpoint,
    set_up,
    train,
    train_step,
)
from plainsql.training.parser_stepper import TorchStepper
from plainsql.translators.parser.arrays import ModelInput, ModelTarget
from plainsql.translators.parser.beam import StepInput
from plainsql.translators.parser.runtime import MANIFEST, STEP, ParserRuntime

SYMBOLS, STATES, RELATIONS, FEATURES, VOCABULARY = 5, 3, 2, 4, 50
HERE = Path(__file__).parent


def tiny_config(**changes: float) -> ParserConfig:
    sizes = {
        "encoder_layers": 1,
        "encoder_heads": 2,
        "decoder_layers": 2,
        "decoder_heads": 2,
        "decoder_ffn": 64,
        "hidden_size": 32,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 64,
        "encoder_dropout": 0.0,
        "encoder_attention_dropout": 0.0,
        "decoder_dropout": 0.0,
        "freeze_word_embeddings": False,
    }
    return ParserConfig(
        symbols=[f"symbol{i}" for i in range(SYMBOLS)],
        states=[f"state{i}" for i in range(STATES)],
        relations=[f"relation{i}" for i in range(RELATIONS)],
        features=[f"feature{i}" for i in range(FEATURES)],
        **{**sizes, **changes},
    )


def copy_example(rng: np.random.Generator, nodes: int = 5) -> Example:
    """Point to the nodes whose token carries feature 0, in order, then say symbol 0."""
    tokens = rng.integers(1, VOCABULARY, nodes + 2)
    marked = np.sort(rng.choice(nodes, 2, replace=False))
    features = np.zeros((nodes + 2, FEATURES), np.uint8)
    features[marked + 2, 0] = 1
    actions = np.array([*(SYMBOLS + marked), 0], np.int64)
    steps = len(actions)
    allowed = np.ones((steps, SYMBOLS + nodes), np.bool_)
    allowed[:, 1] = False
    used = np.zeros(nodes, np.bool_)
    used[marked] = True
    return (
        ModelInput(
            tokens,
            np.array([0, 0] + [1] * nodes),
            features,
            rng.integers(0, 3, nodes),
            tuple(np.array([at + 2]) for at in range(nodes)),
        ),
        ModelTarget(
            np.array([-1, *actions[:-1]]),
            np.array([0, 1, 1]),
            np.zeros(steps, np.int64),
            allowed,
            np.zeros((steps, nodes, RELATIONS), np.uint8),
            actions,
            used,
        ),
    )


class CopySource:
    """The toy task as an `ExampleSource`; every seventh example can't be expressed."""

    def __init__(self, name: str = "copy", weight: float = 1.0) -> None:
        self.name, self.weight = name, weight

    def __len__(self) -> int:
        return 200

    def example(self, i: int, rng: np.random.Generator, budget: int) -> Example | None:
        own = np.random.default_rng((i, budget))
        return None if i % 7 == 0 else copy_example(own, nodes=int(own.integers(3, 7)))


# The recipe imports its data by module name, from a fresh process: this module plays it.
def training_sources(folder: str) -> list[CopySource]:
    return [CopySource()]


def validation_examples(folder: str) -> list[Example]:
    return [copy_example(np.random.default_rng(seed)) for seed in range(20)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def toy_batch(count: int = 16) -> Batch:
    return collate([copy_example(np.random.default_rng(i), 3 + i % 4) for i in range(count)])


def toy_run_config(folder: Path, **changes: object) -> TrainConfig:
    settings: dict[str, object] = {
        "output": str(folder),
        "data": "test_parser_model",
        "steps": 12,
        "minutes": 0,
        "threads": 1,
        "lr": 3e-3,
        "encoder_lr": 3e-3,
        "warmup_steps": 2,
        "pool_batches": 4,
        "log_steps": 4,
        "bf16": False,
    }
    return TrainConfig(**{**settings, **changes})  # type: ignore[arg-type]


# -- batches -------------------------------------------------------------------


def test_padding_changes_no_probability() -> None:
    model = ParserModel(tiny_config()).eval()
    examples = [copy_example(np.random.default_rng(i), nodes) for i, nodes in enumerate((3, 6))]
    together = collate(examples)
    logits = model.decode(model.encode(Inputs.of(together.inputs)), Targets.of(together.targets))
    for row, example in enumerate(examples):
        alone = collate([example])
        own = model.decode(model.encode(Inputs.of(alone.inputs)), Targets.of(alone.targets))
        steps, actions = example[1].allowed.shape
        assert torch.allclose(logits[row, :steps, :actions], own[0, :steps, :actions], atol=1e-4)


def test_stream_is_a_function_of_seed_and_position() -> None:
    sampler = Sampler([CopySource(), CopySource("other", 3.0)], 4, pool_batches=5, seed=7)
    whole = [batch.inputs.token_ids for batch, _ in zip(sampler.batches(), range(17), strict=False)]
    for start in (3, 5, 12):
        later = [b.inputs.token_ids for b, _ in zip(sampler.batches(start), range(4), strict=False)]
        for got, expected in zip(later, whole[start:], strict=False):
            np.testing.assert_array_equal(got, expected)


def test_validation_batches_hold_every_example_once() -> None:
    examples = validation_examples("")
    assert sum(len(batch) for batch in fixed_batches(examples, 8)) == len(examples)


# -- network -------------------------------------------------------------------


def test_disallowed_actions_have_probability_zero() -> None:
    allowed = torch.tensor([[True, False, True]])
    probabilities = masked_log_softmax(torch.tensor([[1.0, 50.0, 2.0]]), allowed).exp()
    assert probabilities[0, 1] == 0
    assert probabilities.sum() == pytest.approx(1)


def test_word_embeddings_are_frozen_on_request() -> None:
    model = ParserModel(tiny_config(freeze_word_embeddings=True))
    model(toy_batch()).loss.backward()
    assert model.get_input_embeddings().weight.grad is None
    assert model.feature_input.weight.grad is not None


def test_dropout_keeps_the_mean_and_repeats_by_seed() -> None:
    ones = torch.ones(100_000)
    seed_dropout(1, 2)
    first = drop(ones, 0.2, training=True)
    seed_dropout(1, 2)
    assert torch.equal(first, drop(ones, 0.2, training=True))
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert (first == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert drop(ones, 0.2, training=False) is ones


def test_save_and_load_give_the_same_logits(tmp_path: Path) -> None:
    model = ParserModel(tiny_config()).eval()
    model.save_pretrained(tmp_path)
    loaded = ParserModel.from_pretrained(tmp_path).eval()
    batch = toy_batch()
    encoded, again = (net.encode(Inputs.of(batch.inputs)) for net in (model, loaded))
    targets = Targets.of(batch.targets)
    assert torch.equal(model.decode(encoded, targets), loaded.decode(again, targets))
    assert loaded.config.names("symbols") == model.config.names("symbols")


def test_steps_one_by_one_equal_all_at_once() -> None:
    model = ParserModel(tiny_config()).eval()
    model_input, target = copy_example(np.random.default_rng(0))
    batch = collate([(model_input, target)])
    with torch.no_grad():
        whole = model.decode(model.encode(Inputs.of(batch.inputs)), Targets.of(batch.targets))
    stepper = TorchStepper(model)
    memory, past = stepper.encode(model_input), stepper.empty_past()
    for step in range(len(target.actions)):
        logits, past = stepper.step(memory, past, step_input(target, step))
        expected = whole[0, step, : logits.shape[1]].numpy()
        np.testing.assert_allclose(logits[0], expected, atol=1e-4)


def step_input(target: ModelTarget, step: int) -> StepInput:
    return StepInput(
        target.previous[step : step + 1],
        target.states[step : step + 1],
        target.depths[step : step + 1],
        target.relations[step : step + 1].astype(np.float32),
    )


# -- training ------------------------------------------------------------------


def test_loss_falls_on_a_copy_task(tmp_path: Path) -> None:
    run = set_up(toy_run_config(tmp_path, steps=120), ParserModel(tiny_config()))
    batch = toy_batch(32)
    outcomes = [train_step(run, batch) for _ in range(120)]
    assert outcomes[-1].loss < 0.3 * outcomes[0].loss
    assert outcomes[-1].right_sequences >= 28


def test_schedule_ends_by_steps_or_by_time() -> None:
    config = TrainConfig(steps=100, minutes=1, warmup_steps=10)
    assert Progress(step=50, elapsed=6).share(config) == 0.5
    assert Progress(step=50, elapsed=54).share(config) == 0.9
    assert learning_rate_scale(Progress(step=0), config) == pytest.approx(0.1)
    assert learning_rate_scale(Progress(step=100), config) == pytest.approx(0)


def test_shipped_configuration_is_valid_and_typos_are_named(tmp_path: Path) -> None:
    import plainsql.training

    folder = Path(str(plainsql.training.__file__)).parent
    assert load_config(folder / "configs" / "parser.toml").minutes > 0
    (tmp_path / "bad.toml").write_text("learning_rat = 1\n")
    with pytest.raises(UsageError, match="learning_rat"):
        load_config(tmp_path / "bad.toml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy run."""
    folder = tmp_path_factory.mktemp("run")
    sys.path.insert(0, str(HERE))
    config = toy_run_config(folder)
    train(config, ParserModel(tiny_config()), evaluator(config))
    return folder


def test_a_run_leaves_metrics_and_two_models(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [4, 8, 12]
    assert "validation_sequence_accuracy" in lines[-1]
    for name in ("best", "final"):
        ParserModel.from_pretrained(trained / name)


RUN_TOY = """
import sys
from test_parser_model import ParserModel, evaluator, tiny_config, toy_run_config, train
import torch
if __name__ == "__main__":
    torch.manual_seed(0)
    config = toy_run_config(sys.argv[1], steps=int(sys.argv[2]), checkpoint_minutes=0.0)
    train(config, ParserModel(tiny_config()), None)
"""


@pytest.mark.slow
def test_a_killed_run_continues(tmp_path: Path) -> None:
    script = tmp_path / "run_toy.py"
    script.write_text(RUN_TOY)
    path = os.pathsep.join([str(HERE), *sys.path])
    command = [sys.executable, str(script), str(tmp_path / "out"), "100000"]
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    checkpoint = tmp_path / "out" / "checkpoint.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stopped = torch.load(checkpoint, weights_only=True)["progress"]["step"]
    sys.path.insert(0, str(HERE))
    config = toy_run_config(tmp_path / "out", steps=stopped + 3)
    run = set_up(config, ParserModel(tiny_config()))
    assert run.progress.step == stopped > 0
    assert run.progress.elapsed > 0
    for batch in islice(make_sampler(config).batches(stopped), 3):
        train_step(run, batch)
    save_checkpoint(run)
    assert torch.load(checkpoint, weights_only=True)["progress"]["step"] == stopped + 3


# -- export --------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[ParserModel, Path]:
    """A random tiny model and its exported folder."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    model = ParserModel(tiny_config()).eval()
    (folder / "source.json").write_text("{}")
    report = export(model, folder, tokenizer=folder / "source.json")
    assert report.encoder_error < 1e-3
    assert report.encoder_cosine > 0.98
    return model, folder


@pytest.mark.slow
def test_exported_model_follows_torch(exported: tuple[ParserModel, Path]) -> None:
    model, folder = exported
    runtime, stepper = ParserRuntime.load(folder), TorchStepper(model)
    model_input, target = copy_example(np.random.default_rng(0), nodes=6)
    memories = runtime.encode(model_input), stepper.encode(model_input)
    pasts = runtime.empty_past(), stepper.empty_past()
    for step in range(len(target.actions)):
        inputs = step_input(target, step)
        got, past = runtime.step(memories[0], pasts[0], inputs)
        expected, other = stepper.step(memories[1], pasts[1], inputs)
        pasts = past, other
        np.testing.assert_allclose(got, expected, atol=0.05)  # int8 against float32


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "changed", "version"])
def test_a_damaged_model_is_refused(
    exported: tuple[ParserModel, Path], tmp_path: Path, damage: str
) -> None:
    for file in exported[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (tmp_path / STEP).unlink()
    elif damage == "changed":
        (tmp_path / STEP).write_bytes((tmp_path / STEP).read_bytes()[:-1] + b"?")
    else:
        text = (tmp_path / MANIFEST).read_text()
        (tmp_path / MANIFEST).write_text(text.replace('version": 1', 'version": 99'))
    with pytest.raises(ModelError) as caught:
        ParserRuntime.load(tmp_path)
    assert caught.value.hint
