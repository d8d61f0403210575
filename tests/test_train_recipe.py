"""One tuning run: what it learns, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from plainsql.errors import DataError, ModelError, TrainingError, UsageError  # noqa: E402
from plainsql.training.tuning.checkpoints import Standing  # noqa: E402
from plainsql.training.tuning.config import TrainConfig, load_train_config  # noqa: E402
from plainsql.training.tuning.curves import plot_curves, read_metrics  # noqa: E402
from plainsql.training.tuning.execution_eval import Judge, same_statement, sample  # noqa: E402
from plainsql.training.tuning.recipe import train  # noqa: E402
from plainsql.training.tuning.run_report import TrainReport  # noqa: E402
from plainsql.translators.language_model.loading import load  # noqa: E402
from tiny_models import tiny_model  # noqa: E402
from tuning_data import PAIRS, lines, prepared, row  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data") / "prepared")


@pytest.fixture(scope="module")
def quick(base: Path, data: Path) -> TrainConfig:
    """Four steps, no evaluation."""
    return TrainConfig(
        base=str(base), data=str(data), max_steps=4, batch_size=2, accumulation=1, rank=4,
        learning_rate=1e-3, precision="fp32", device="cpu", eval_examples=0, log_steps=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def learned(quick: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    """All weights, long enough to know the six pairs by heart."""
    config = replace(
        quick, out=str(tmp_path_factory.mktemp("runs") / "full"), method="full", max_steps=90,
        batch_size=6, learning_rate=3e-3, eval_steps=30, eval_examples=6, log_steps=5,
    )  # fmt: skip
    return train(config, command=["plainsql", "train"])


def test_it_learns_what_it_is_shown(learned: TrainReport) -> None:
    found = lines(learned.out / "metrics.jsonl")
    losses = [line["loss"] for line in found if "loss" in line]
    assert losses[-1] < 0.3 * losses[0]
    assert learned.accuracy is not None
    assert learned.accuracy >= 0.5
    assert learned.accuracy_rule == "execution accuracy"
    assert learned.steps == 90
    assert learned.trainable == learned.total


def test_the_best_model_is_ready_for_use(learned: TrainReport) -> None:
    from plainsql.training.tuning.assessment import Assessment
    from plainsql.training.tuning.callbacks import Interrupt

    loaded = load(learned.out)
    assert loaded.info.prompt.style == "minimal"
    rows = [row(*pair) for pair in PAIRS]
    databases = json.loads(_manifest(learned))["databases"]
    with Assessment(rows, databases, loaded, Interrupt()) as assess:
        assert assess(loaded.model) == learned.accuracy


def _manifest(report: TrainReport) -> str:
    data = Path(load_train_config(report.out / "config.toml").data)
    return (data / "prepare.json").read_text(encoding="utf-8")


def test_metrics_hold_the_numbers_of_each_line(learned: TrainReport) -> None:
    found = read_metrics(learned.out / "metrics.jsonl")
    steps = [line for line in found if "loss" in line]
    evaluations = [line for line in found if "accuracy" in line]
    assert {"step", "loss", "lr", "tokens_per_second", "peak_memory_mb"} <= set(steps[0])
    assert {"step", "eval_loss", "accuracy", "eval_seconds"} <= set(evaluations[0])
    assert [line["step"] for line in evaluations] == [30, 60, 90]
    assert steps[-1]["tokens_per_second"] > 0
    best = max(evaluations, key=lambda line: (line["accuracy"], -line["eval_loss"]))
    assert (learned.best_step, learned.accuracy) == (best["step"], best["accuracy"])


def test_what_a_run_leaves_behind(learned: TrainReport) -> None:
    run = json.loads((learned.out / "run.json").read_text(encoding="utf-8"))
    assert run["finished"]
    assert run["seed"] == 0
    assert run["command"] == ["plainsql", "train"]
    assert set(run["data_sha256"]) == {"train.jsonl", "validation.jsonl"}
    assert {"torch", "transformers", "plainsql", "python"} <= set(run["versions"])
    assert TrainReport.from_dict(run["outcome"]) == learned
    assert (learned.out / "curves.png").read_bytes().startswith(b"\x89PNG")
    report = (learned.out / "report.md").read_text(encoding="utf-8")
    for part in ("curves.png", "execution accuracy", "trained weights", "learning_rate = ", "kept"):
        assert part in report
    again = load_train_config(learned.out / "config.toml")
    assert again.max_steps == 90


def test_checkpoints_are_few(learned: TrainReport) -> None:
    kept = sorted(path.name for path in (learned.out / "checkpoints").glob("checkpoint-*"))
    assert kept == ["checkpoint-60", "checkpoint-90"]


@pytest.mark.parametrize("method", ["lora", "qlora", "qat-lora"])
def test_methods_share_the_recipe(method: str, quick: TrainConfig, tmp_path: Path) -> None:
    report = train(replace(quick, out=str(tmp_path / "run"), method=method))
    assert report.trainable < 0.2 * report.total
    assert report.accuracy is None
    assert (report.best / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "run" / "checkpoints" / ".partial" / "checkpoint-4").exists()


def test_sequence_to_sequence(quick: TrainConfig, data: Path, tmp_path: Path) -> None:
    base = tiny_model("t5", tmp_path / "t5")
    config = replace(quick, base=str(base), out=str(tmp_path / "run"), eval_examples=2)
    report = train(config)
    assert report.accuracy == 0
    assert load(report.best).info.family == "seq2seq"


def test_the_same_seed_gives_the_same_run(quick: TrainConfig, tmp_path: Path) -> None:
    losses = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        report = train(replace(quick, out=str(tmp_path / name), seed=seed, max_steps=2))
        losses.append([line["loss"] for line in lines(report.out / "metrics.jsonl")])
    assert losses[0] == losses[1] != losses[2]


def test_without_databases_statements_are_compared(quick: TrainConfig, tmp_path: Path) -> None:
    data = prepared(tmp_path / "data", train=4, validation=2, databases=False)
    config = replace(quick, data=str(data), out=str(tmp_path / "run"), eval_examples=2, max_steps=1)
    assert train(config).accuracy_rule == "exact match"


def test_early_stopping(quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(
        quick, out=str(tmp_path / "run"), eval_examples=1, eval_steps=1, patience=2,
        learning_rate=1e-12, max_steps=9,
    )  # fmt: skip
    report = train(config, callbacks=[_Shake()])
    assert report.stopped_early
    assert (report.steps, report.best_step) == (3, 1)


class _Shake(transformers.TrainerCallback):
    """Makes the model worse at each step, so that none is better than the first."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if state.global_step:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.2 * state.global_step


class _Poison(transformers.TrainerCallback):
    """Makes one weight not a number, as an overflow would."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if state.global_step == 2:
            with torch.no_grad():
                next(p for p in model.parameters() if p.requires_grad).fill_(math.nan)


def test_a_loss_that_is_no_number(quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(quick, out=str(tmp_path / "run"), save_steps=2, log_steps=50)
    with pytest.raises(TrainingError, match=r"loss became nan .* 0\.001") as raised:
        train(config, callbacks=[_Poison()])
    assert "--learning-rate" in raised.value.hint
    kept = [path.name for path in (tmp_path / "run" / "checkpoints").glob("checkpoint-*")]
    assert kept == ["checkpoint-2"]  # from before


# --- what is refused ---------------------------------------------------------


def test_a_used_folder(quick: TrainConfig, learned: TrainReport) -> None:
    config = replace(quick, out=str(learned.out))
    with pytest.raises(UsageError, match="holds a finished run") as raised:
        train(config)
    assert "--force" in raised.value.hint
    with pytest.raises(UsageError, match="give one of them"):
        train(config, resume=True, force=True)
    with pytest.raises(UsageError, match=r"can't be resumed.*--method 'full' -> 'lora'"):
        train(config, resume=True)


def test_resuming_a_finished_run_does_nothing(learned: TrainReport) -> None:
    config = load_train_config(learned.out / "config.toml")
    assert train(config, resume=True) == learned


def test_force_starts_anew(quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(quick, out=str(tmp_path), max_steps=1)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    train(config)
    first = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    train(replace(config, seed=5), force=True)
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") != first
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["base", "data", "out"])
def test_what_must_be_given(name: str, quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(replace(quick, out=str(tmp_path)), **{name: ""})
    with pytest.raises(UsageError, match=f"--{name} is missing"):
        train(config)


def test_a_base_that_is_not_there(quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(quick, base=str(tmp_path / "nowhere"), out=str(tmp_path / "run"))
    with pytest.raises(ModelError, match="nowhere"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_no_examples(quick: TrainConfig, tmp_path: Path) -> None:
    data = prepared(tmp_path / "data", train=0)
    with pytest.raises(DataError, match="No example"):
        train(replace(quick, data=str(data), out=str(tmp_path / "run")))


def test_examples_that_are_all_too_long(quick: TrainConfig, tmp_path: Path) -> None:
    config = replace(quick, out=str(tmp_path / "run"), max_output_tokens=1)
    with pytest.raises(DataError, match="too long") as raised:
        train(config)
    assert "--max-output-tokens" in raised.value.hint


def test_data_that_is_not_prepared(quick: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prepared data"):
        train(replace(quick, data=str(tmp_path), out=str(tmp_path / "run")))


def test_a_tokenizer_without_end(quick: TrainConfig, base: Path, tmp_path: Path) -> None:
    spoilt = _without(base, tmp_path / "model", "eos_token")
    with pytest.raises((ModelError, UsageError), match=r"(?i)eos|end"):
        train(replace(quick, base=str(spoilt), out=str(tmp_path / "run")))


def test_a_tokenizer_without_padding_is_given_some(
    quick: TrainConfig, base: Path, tmp_path: Path
) -> None:
    spoilt = _without(base, tmp_path / "model", "pad_token")
    assert train(replace(quick, base=str(spoilt), out=str(tmp_path / "run"), max_steps=1)).steps


def _without(base: Path, folder: Path, token: str) -> Path:
    """A copy of the model whose tokenizer lacks a special token."""
    transformers.AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    setattr(tokenizer, token, None)
    tokenizer.save_pretrained(folder)
    return folder


def test_fp16_wants_a_gpu(quick: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--precision fp16"):
        train(replace(quick, precision="fp16", out=str(tmp_path / "run")))


# --- judging -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "predicted", "right"),
    [
        ("SELECT count(*) FROM singer", "SELECT COUNT(singer_id) FROM singer", True),
        ("SELECT count(*) FROM singer", "SELECT 6", True),
        ("SELECT count(*) FROM singer", "SELECT count(*) FROM concert", False),
        ("SELECT name FROM singer", "SELECT nam FROM singer", False),
        ("SELECT name FROM singer", "", False),
        ("SELECT name FROM singer", "DROP TABLE singer", False),
        ("SELECT name FROM singer", "SELECT name FROM singer; DELETE FROM singer", False),
        ("SELECT name FROM singer", "SELECT load_extension('x')", False),
        ("SELECT gone FROM singer", "select  GONE from singer;", True),  # the gold fails: as text
    ],
)
def test_predictions_by_their_rows(data: Path, gold: str, predicted: str, right: bool) -> None:
    with Judge([row("?", gold)], str(data / "databases")) as judge:
        assert bool(judge.judge([predicted]).right) is right


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("SELECT a FROM t", "select A\nfrom T;", True),
        ("SELECT a FROM t", 'SELECT "a" FROM "t"', True),
        ("SELECT a FROM t -- why", "SELECT a FROM t", True),
        ("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'", False),
        ("SELECT a FROM t", "SELECT b FROM t", False),
        ("SELECT FROM WHERE", "select from where", True),
    ],
)
def test_statements_by_their_text(first: str, second: str, same: bool) -> None:
    assert same_statement(first, second) is same


def test_judging_says_how(data: Path) -> None:
    rows = [row("?", "SELECT 1"), row("?", "SELECT 1", db="elsewhere")]
    with Judge(rows, str(data / "databases")) as judge:
        found = judge.judge(["SELECT 1", "SELECT 2"])
    assert (found.right, found.total, found.executed) == (1, 2, 1)
    assert judge.rule == "execution accuracy or exact match"


def test_samples_are_drawn_by_seed() -> None:
    rows = [row(str(i), "") for i in range(20)]
    first = [item["question"] for item in sample(rows, 5, 1)]
    assert first == [item["question"] for item in sample(rows, 5, 1)]
    assert first != [item["question"] for item in sample(rows, 5, 2)]
    assert first == sorted(first, key=int)
    assert sample(rows, 50, 1) == rows


@pytest.mark.parametrize(
    ("accuracy", "loss", "better"),
    [(0.6, 9.0, True), (0.5, 0.9, True), (0.5, 1.0, False), (0.5, 1.1, False), (0.4, 0.1, False)],
)
def test_ties_of_accuracy_are_decided_by_loss(accuracy: float, loss: float, better: bool) -> None:
    standing = Standing(best_step=3, best_accuracy=0.5, best_loss=1.0)
    assert standing.is_beaten_by(accuracy, loss) is better
    assert Standing().is_beaten_by(accuracy, loss)


def test_curves_of_a_run_without_evaluation(tmp_path: Path) -> None:
    plot_curves([{"step": 1, "loss": 2.0, "lr": 1e-4}], tmp_path / "curves.png")
    plot_curves([], tmp_path / "empty.png")
    assert (tmp_path / "empty.png").stat().st_size > 1000
