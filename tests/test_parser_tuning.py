"""Tuning the parser: every method learns, resumes, merges; one whole run on the shipped weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from plainsql.errors import DataError, ModelError, TrainingError, UsageError
from plainsql.training.batching import Batch, Sampler
from plainsql.training.data.prepared import load_prepared
from plainsql.training.parser_model import Inputs, ParserModel, Targets
from plainsql.training.parser_tuning import load_adapted, merge_parser, train_parser
from plainsql.training.parser_tuning import loop as loop_module
from plainsql.training.parser_tuning.folders import fingerprint, open_base, runtime_logits
from plainsql.training.parser_tuning.loop import Loop, Scores
from plainsql.training.parser_tuning.network import Method, Trainable, dense, trainable
from plainsql.training.parser_tuning.pairs import (
    Pairs,
    budget_law,
    load_pairs,
    split_by_query,
    training_source,
    validation_arrays,
    word_vectors,
)
from plainsql.training.parser_tuning.settings import Settings
from plainsql.training.tuning.callbacks import Interrupt
from plainsql.training.tuning.checkpoints import RunFolder, last_checkpoint
from plainsql.training.tuning.config import load_train_config
from plainsql.training.tuning.merge_evaluation import measure
from plainsql.translators.base import translator
from plainsql.translators.language_model.model_info import ModelInfo
from plainsql.translators.parser.features import FeatureBuilder
from plainsql.translators.parser.runtime import TOKENIZER
from plainsql.translators.parser.weights import SHIPPED, is_parser
from test_parser_from_onnx import tiny_parser
from tuning_data import lines, prepared, row

METHODS = ("full", "lora", "qlora", "qat", "qat-lora")
# peft asks transformers by a name that transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("data") / "prepared", train=18, validation=6)


@pytest.fixture(scope="module")
def pairs(data: Path) -> Pairs:
    return load_pairs(load_prepared(data), SHIPPED, seed=0)


@pytest.fixture(scope="module")
def stream(pairs: Pairs) -> Sampler:
    builder = FeatureBuilder(SHIPPED / TOKENIZER)
    source = training_source(pairs, builder, word_vectors(SHIPPED))
    return Sampler([source], 6, 3, 1, budget_law)


def settings_for(method: str, **changes: object) -> Settings:
    values = {"base": "parser", "method": method, "batch_size": 6, "accumulation": 1}
    learning = {"learning_rate": 5e-3, "max_steps": 12, "eval_steps": 3, "log_steps": 1}
    config = load_train_config(None, {**values, **learning, "rank": 8, "precision": "fp32"})
    return replace(Settings.of(config, rows=18), **changes)  # type: ignore[arg-type]


def tiny_trainable(method: str) -> Trainable:
    model = tiny_parser()
    model.config.encoder_dropout = 0.0
    torch.manual_seed(0)
    return trainable(model, Method(method, rank=8, alpha=16, dropout=0.1))


def logits(model: ParserModel, batch: Batch) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model.decode(model.encode(Inputs.of(batch.inputs)), Targets.of(batch.targets))


def run_loop(
    tuned: Trainable, settings: Settings, folder: Path, batches: Iterator[Batch], **given: object
) -> Loop:
    evaluate = given.pop("evaluate", None)
    made = Loop(tuned.parser, settings, RunFolder(folder), evaluate, lambda line: None)  # type: ignore[arg-type]
    folder.mkdir(exist_ok=True)
    made.run(batches, Interrupt())
    return made


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder / "metrics.jsonl") if "loss" in line]


# --- methods --------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_becomes_plain_again(
    method: str, stream: Sampler, tmp_path: Path
) -> None:
    tuned = tiny_trainable(method)
    words = tuned.parser.get_input_embeddings().weight.detach().clone()
    run_loop(tuned, settings_for(method, eval_steps=100), tmp_path / "run", stream.batches())
    found = losses(tmp_path / "run")
    assert sum(found[-3:]) < 0.8 * sum(found[:3])
    batch = next(stream.batches())
    plain = dense(tuned.parser)
    gap = (logits(plain, batch) - logits(tuned.parser, batch)).abs().max()
    # rounding stays out of the plain copy: its export does it
    assert gap < (0.3 if method.startswith("qat") else 1e-3)
    assert torch.equal(plain.get_input_embeddings().weight, words)
    assert {type(m).__name__ for _, m in plain.named_modules() if "inear" in type(m).__name__} == {
        "Linear"
    }


@pytest.mark.parametrize(
    ("method", "share"), [("full", 0.2), ("qat", 0.2), ("lora", 0.02), ("qlora", 0.02)]
)
def test_counts_of_what_is_trained(method: str, share: float) -> None:
    trained, total = tiny_trainable(method).counts()
    whole = sum(p.numel() for p in tiny_parser().parameters())
    assert 0 < trained < share * total
    assert whole <= total <= whole + trained  # a 4-bit weight counts as one


def test_nf4_gradients_are_the_same_after_an_evaluation(stream: Sampler) -> None:
    """bitsandbytes would repack the weights in the first forward pass in evaluation mode."""
    tuned = tiny_trainable("qlora")
    batch = next(stream.batches())

    def gradients() -> list[torch.Tensor]:
        tuned.parser.zero_grad()
        tuned.parser.eval()(batch).loss.backward()
        return [p.grad.clone() for p in tuned.parser.parameters() if p.grad is not None]

    before = gradients()
    logits(tuned.parser, batch)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


def test_what_has_no_meaning_for_the_parser_is_refused() -> None:
    for name, value in {
        "gradient_checkpointing": True,
        "optimizer": "adafactor",
        "style": "chat",
        "device": "cuda",
        "quantization": "int8",
    }.items():
        config = load_train_config(None, {"base": "parser", name: value})
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}|CPU"):
            Settings.of(config, rows=10)


@pytest.mark.parametrize(
    ("schedule", "shares"), [("cosine", (0.5, 1.0, 0.5)), ("linear", (0.5, 0.9, 0.5))]
)
def test_the_learning_rate_rises_and_falls(schedule: str, shares: tuple[float, ...]) -> None:
    settings = settings_for("lora", steps=20, warmup=2, schedule=schedule)
    for step, share in zip((0, 2, 10), shares, strict=True):
        assert settings.rate_scale(step) == pytest.approx(share, abs=0.03)


# --- going on after a kill -----------------------------------------------------------


class Killed(Exception):
    """Stands for the end of a process."""


def judged(model: ParserModel) -> Scores:
    """A cheap evaluation: the sum of one bias, which training moves."""
    return Scores(None, float(model.pointer_key.bias.detach().abs().sum()))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_resumed_run_has_the_losses_of_one_never_stopped(
    method: str, stream: Sampler, tmp_path: Path
) -> None:
    settings = settings_for(method, steps=8, save_steps=3)
    whole = run_loop(
        tiny_trainable(method), settings, tmp_path / "whole", stream.batches(), evaluate=judged
    )

    def until_killed() -> Iterator[Batch]:
        yield from islice(stream.batches(), 5)
        raise Killed

    with pytest.raises(Killed):
        run_loop(
            tiny_trainable(method), settings, tmp_path / "cut", until_killed(), evaluate=judged
        )
    tuned, folder = tiny_trainable(method), RunFolder(tmp_path / "cut")
    resumed = Loop(tuned.parser, settings, folder, judged, lambda line: None)
    found = last_checkpoint(folder.checkpoints)
    assert found is not None
    assert found.step == 3
    resumed.load(found)
    assert losses(folder.path) == losses(tmp_path / "whole")[:3]
    assert resumed.run(stream.batches(resumed.step), Interrupt())
    assert losses(folder.path) == losses(tmp_path / "whole")
    assert replace(resumed.standing, seconds=0, peak_memory_mb=0) == replace(
        whole.standing, seconds=0, peak_memory_mb=0
    )


def test_a_full_disk_leaves_the_last_checkpoint(
    stream: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, real = settings_for("lora", steps=6, save_steps=2), torch.save
    saved = []

    def save(state: object, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(state, path)

    monkeypatch.setattr(loop_module.torch, "save", save)
    with pytest.raises(TrainingError, match=r"No space left.*checkpoint-2"):
        run_loop(tiny_trainable("lora"), settings, tmp_path / "run", stream.batches())
    found = last_checkpoint(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.step == 2
    Loop(tiny_trainable("lora").parser, settings, RunFolder(tmp_path / "run"), None, print).load(
        found
    )


def test_a_loss_that_is_no_number_ends_the_run(stream: Sampler, tmp_path: Path) -> None:
    tuned = tiny_trainable("full")
    with torch.no_grad():
        tuned.parser.output_norm.bias.fill_(math.nan)
    with pytest.raises(TrainingError, match="loss became nan"):
        run_loop(tuned, settings_for("full"), tmp_path / "run", stream.batches())


def test_patience_ends_the_run_and_the_best_weights_come_back(
    stream: Sampler, tmp_path: Path
) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    seen = []

    def evaluate(model: ParserModel) -> Scores:
        seen.append(model.pointer_key.bias.detach().clone())
        return Scores(next(scores), 1.0)

    settings = settings_for("full", patience=2, eval_steps=1, steps=20)
    tuned = tiny_trainable("full")
    made = run_loop(tuned, settings, tmp_path / "run", stream.batches(), evaluate=evaluate)
    assert (made.step, made.standing.best_step, made.stopped_early) == (3, 1, True)
    made.restore_best()
    assert torch.equal(tuned.parser.pointer_key.bias, seen[1])


# --- pairs ----------------------------------------------------------------------------


def test_pairs_are_linked_and_counted(pairs: Pairs) -> None:
    assert (pairs.coverage.rows, pairs.coverage.used, len(pairs.validation)) == (18, 18, 6)
    assert len(validation_arrays(pairs, FeatureBuilder(SHIPPED / TOKENIZER))) == 6
    assert not pairs.held_out


NOT_LEARNT = (
    ("a value that the question doesn't name", "Who?", "SELECT name FROM singer WHERE age = 77"),
    ("unknown column", "Who is tall?", "SELECT height FROM singer"),
    ("SQL that can't be parsed", "Who?", "SELECT FROM WHERE"),
    ("WITH", "Who?", "WITH s AS (SELECT 1) SELECT * FROM s"),
)


def test_rows_that_cant_be_learnt_are_counted(data: Path, tmp_path: Path) -> None:
    rows = [row(*case[1:]) for case in NOT_LEARNT] + [row("Who?", "SELECT 1", db="elsewhere")]
    folder = rewritten(data, tmp_path / "data", [*lines(data / "train.jsonl"), *rows])
    found = load_pairs(load_prepared(folder), SHIPPED, seed=0).coverage
    wanted = {case[0] for case in NOT_LEARNT} | {"its database is not at hand"}
    assert (found.rows, found.used, set(found.reasons)) == (23, 18, wanted)
    assert "18 of 23 pairs can be learnt from (78 %)" in str(found)


def test_data_without_a_row_to_learn_from_is_refused(data: Path, tmp_path: Path) -> None:
    folder = rewritten(data, tmp_path / "data", [row(*NOT_LEARNT[0][1:])])
    with pytest.raises(DataError, match="doesn't name"):
        load_pairs(load_prepared(folder), SHIPPED, seed=0)


def rewritten(source: Path, folder: Path, rows: list[dict[str, object]]) -> Path:
    """The prepared folder with other training rows."""
    folder.mkdir()
    for name in ("prepare.json", "validation.jsonl"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "train.jsonl").write_text("".join(json.dumps(item) + "\n" for item in rows))
    return folder


def test_held_out_questions_share_no_query_with_the_others() -> None:
    rows = [row(f"question {i}", f"SELECT {i // 2}  FROM t") for i in range(200)]
    kept, held = split_by_query(rows, seed=1)
    assert len(kept) + len(held) == 200
    assert 8 <= len(held) <= 40
    assert not {r["response"] for r in kept} & {r["response"] for r in held}
    assert split_by_query(rows[:10], seed=1) == (rows[:10], [])


# --- a whole run ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps of LoRA on the shipped parser."""
    out = tmp_path_factory.mktemp("runs") / "lora"
    values = {"base": "parser", "data": str(data), "out": str(out), "max_steps": 4}
    few = {"batch_size": 2, "accumulation": 2, "eval_steps": 4, "log_steps": 1, "threads": 1}
    report = train_parser(load_train_config(None, {**values, **few, "learning_rate": 1e-3}))
    assert report.best == out / "best"
    assert (report.steps, report.examples, report.accuracy_rule) == (4, 18, "execution accuracy")
    return out


def test_a_run_leaves_a_parser_that_answers(run: Path, concerts: Path) -> None:
    from plainsql.ask import connect

    found = translator(str(run))
    with connect(concerts, translator=found) as database:
        assert database.ask("How many singers are there?").rows == ((6,),)
    info = ModelInfo.read(run / "best")
    assert (info.family, info.kind, info.quantization) == ("parser", "merged", "int8")
    assert is_parser(run)
    assert "18 of 18 pairs" in (run / "report.md").read_text()


def test_a_finished_run_is_not_written_over(run: Path, data: Path) -> None:
    config = load_train_config(run / "config.toml")
    with pytest.raises(UsageError, match="finished run"):
        train_parser(config)
    again = train_parser(config, resume=True)
    assert (again.steps, again.best) == (4, run / "best")


def test_an_adapter_merges_into_what_the_run_exported(run: Path, tmp_path: Path) -> None:
    merged = merge_parser(run, tmp_path / "merged")
    adapted = load_adapted(run / "adapter", tmp_path)
    found = runtime_logits(adapted.parser, tmp_path / "merged")
    assert (found == runtime_logits(adapted.parser, run / "best")).all()
    assert (merged.base, merged.method, merged.quantization) == ("parser", "lora", "int8")
    assert merged.max_difference < 0.5  # by int8, on random inputs
    with pytest.raises(UsageError, match="exists already"):
        merge_parser(run, tmp_path / "merged")


def test_an_adapter_is_asked_on_its_base(run: Path, data: Path) -> None:
    """What `plainsql merge --data` measures before and after."""
    before, after = measure(run / "adapter", data, limit=3), measure(run / "best", data, limit=3)
    assert (before.total, before.rule) == (3, "execution accuracy")
    assert before == after


def test_a_damaged_adapter_and_another_base_are_named(run: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for path in (run / "adapter").iterdir():
        (adapter / path.name).write_bytes(path.read_bytes())
    (adapter / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_adapted(adapter, tmp_path)
    replace(ModelInfo.read(adapter), base_fingerprint="0123").write(adapter)
    with pytest.raises(ModelError, match="other weights"):
        load_adapted(adapter, tmp_path)
    with pytest.raises(ModelError, match="no parser's adapter"):
        load_adapted(run / "best", tmp_path)


def test_a_tuned_parser_is_a_base_too(run: Path, tmp_path: Path) -> None:
    base = open_base(str(run), tmp_path)
    assert base.folder == run / "best"
    assert base.fingerprint == fingerprint(run / "best") != fingerprint(SHIPPED)
