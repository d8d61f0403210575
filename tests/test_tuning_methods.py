"""Every method on every architecture: learns, saves, reloads exactly, merges, generates."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torchao.quantization import quantize_
from torchao.quantization.qat import QATConfig

from plainsql.errors import TrainingError, UsageError
from plainsql.training.tuning import fake_quant
from plainsql.training.tuning.adapters import merge_adapter
from plainsql.training.tuning.methods import (
    MethodOptions,
    atomic_folder,
    prepare_model,
    save_model,
    trainable_counts,
)
from plainsql.translators.language_model.generation import GenerationSettings, generate
from plainsql.translators.language_model.loading import LoadOptions, load, load_base
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from tiny_models import ARCHITECTURES, tiny_model
from tuned_models import METHODS, WHOLE, Bases, logits, options, tune

EXACT = LoadOptions(device="cpu", compute_dtype="float32")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


# Every method on every architecture; the variants of a method on two kinds of layers.
VARIANTS = ("qlora", "qat-int8")
CASES = [
    (architecture, case)
    for architecture in ARCHITECTURES
    for case in METHODS
    if case not in VARIANTS or architecture in ("gpt2", "llama")
]


@pytest.mark.parametrize(("architecture", "case"), CASES)
def test_learns_saves_and_reloads_exactly(
    architecture: str, case: str, bases: Bases, tmp_path: Path
) -> None:
    tuned = tune(bases(architecture), case, tmp_path / "best")
    assert tuned.losses[-1] < tuned.losses[0] - 0.3
    fake_quant.restore(tuned.loaded.model)

    again = load(tmp_path, EXACT)

    assert torch.equal(logits(again.model), logits(tuned.loaded.model))
    assert again.info.kind == ("full" if case in WHOLE else "adapter")
    assert again.info.method == METHODS[case]["method"]
    assert again.info.prompt == ModelInfo.read(tmp_path / "best").prompt
    few = GenerationSettings(max_new_tokens=3)
    assert len(generate(again, ["How many singers are there?"], few)[0]) == 1


SIZES = [
    # architecture, method, trainable: rank 8 × (inputs + outputs) of 2 layers
    ("llama", "lora", 8 * 2 * (2 * 128 + 2 * 96 + 3 * 192)),
    ("llama", "qlora", 8 * 2 * (2 * 128 + 2 * 96 + 3 * 192)),
    ("llama", "lora-int8", 8 * 2 * (2 * 128 + 2 * 96 + 3 * 192)),
    ("gpt2", "qlora-dq", 8 * 2 * (256 + 128 + 2 * 320)),
]


@pytest.mark.parametrize(("architecture", "case", "expected"), SIZES)
def test_parameters_are_counted_truly(
    architecture: str, case: str, expected: int, bases: Bases
) -> None:
    whole = load_base(bases(architecture), EXACT).model
    full = sum(item.numel() for item in whole.parameters())
    model = prepare_model(bases(architecture), options(case), device="cpu").model
    assert trainable_counts(model) == (expected, full + expected)


def test_full_trains_everything_and_nothing_is_frozen(bases: Bases) -> None:
    trained, total = trainable_counts(prepare_model(bases("t5"), options("full")).model)
    assert trained == total


def test_the_head_has_no_adapter_and_named_modules_are_all(bases: Bases) -> None:
    chosen = options("lora", target_modules="q_proj, v_proj")
    names = [name for name, _ in prepare_model(bases("llama"), chosen).model.named_parameters()]
    adapted = {name.split(".")[-4] for name in names if "lora_" in name}
    assert adapted == {"q_proj", "v_proj"}


def test_same_seed_same_adapter_other_seed_another(bases: Bases, tmp_path: Path) -> None:
    def run(folder: str, seed: int) -> torch.Tensor:
        model = prepare_model(bases("llama"), options("lora"), seed=seed).model
        return next(item for name, item in model.named_parameters() if "lora_A" in name)

    assert torch.equal(run("a", 3), run("b", 3))
    assert not torch.equal(run("a", 3), run("c", 4))


def test_checkpointing_changes_no_gradient(bases: Bases) -> None:
    def gradient(case: str, on: bool) -> torch.Tensor:
        chosen = options(case, gradient_checkpointing=on, dropout=0.0)
        model = prepare_model(bases("llama"), chosen).model
        ids = torch.arange(3, 40).view(1, -1)
        model(input_ids=ids, labels=ids).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    for case in ("lora", "qlora-dq", "qat-lora"):
        assert torch.allclose(gradient(case, True), gradient(case, False), atol=1e-6)


def test_a_bfloat16_base_trains_in_4_bits_and_reloads_exactly(tmp_path: Path) -> None:
    base = tiny_model("llama", tmp_path / "base")
    load_base(base, LoadOptions(dtype="bfloat16", device="cpu")).model.save_pretrained(base)
    tuned = tune(base, "qlora-dq", tmp_path / "best")
    # The norms and the head were cast for training; the adapter must meet them again.
    assert tuned.loaded.info.dtype == "float32"
    again = load(tmp_path / "best", EXACT)
    assert torch.equal(logits(again.model), logits(tuned.loaded.model))


WRONG = [
    ({"method": "dora"}, "--method dora"),
    ({"rank": 0}, "--rank 0"),
    ({"dropout": 1.0}, "--dropout 1.0"),
    ({"method": "full", "quantization": "int8"}, "--quantization int8"),
    ({"quantization": "nf4"}, "--quantization nf4"),
    ({"method": "qat", "qat_target": "int2"}, "--qat-target int2"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_options_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MethodOptions(**values)


def test_modules_that_do_not_exist_are_refused(bases: Bases) -> None:
    with pytest.raises(UsageError, match="LoRA can't be put"):
        prepare_model(bases("gpt2"), options("lora", target_modules="q_proj"))


def test_a_quantized_base_is_not_sharded(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UsageError, match="FSDP"):
        prepare_model(bases("llama"), options("qlora"), device="cpu")


# ---- fake quantization ----------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("method", ["qat", "qat-lora"])
def test_training_sees_what_quantizing_to_4_bits_gives(
    architecture: str, method: str, bases: Bases, tmp_path: Path
) -> None:
    tuned = tune(bases(architecture), method, tmp_path / "out", steps=3)
    seen = logits(tuned.loaded.model)
    model = load(tmp_path / "out", EXACT).model
    if method == "qat-lora":
        model = merge_adapter(model)
    assert (logits(model) - seen).abs().max() > 0.02  # what rounding does
    assert torch.equal(logits(fake_quant.convert(model, "int4")), seen)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "t5"])
def test_each_layer_sees_what_quantizing_to_8_bits_gives(architecture: str, bases: Bases) -> None:
    # Layer by layer: torchao adds up integers, training floats, and where the last bit
    # differs the next layer may round its input the other way.
    seen, model = (load_base(bases(architecture), EXACT).model for _ in range(2))
    assert fake_quant.prepare(seen, "int8") == len(fake_quant.quantizable(model, "int8"))
    fake_quant.convert(model, "int8")
    with torch.inference_mode():
        for name in fake_quant.quantizable(seen, "int8"):
            layer = model.get_submodule(name)
            x = torch.randn(2, 5, layer.in_features)
            assert torch.allclose(seen.get_submodule(name)(x), layer(x), atol=1e-5)


def test_int4_is_what_torchao_prepares(bases: Bases) -> None:
    ours, theirs = (load_base(bases("llama"), EXACT).model for _ in range(2))
    assert fake_quant.prepare(ours, "int4") == 14
    names = fake_quant.quantizable(theirs, "int4")
    prepare = QATConfig(fake_quant.ptq_config("int4"), step="prepare")
    quantize_(theirs, prepare, filter_fn=lambda _, name: name in names)
    assert torch.equal(logits(ours), logits(theirs))


def test_rounding_leaves_names_values_and_the_head_alone(bases: Bases) -> None:
    model = load_base(bases("gpt2"), EXACT).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fake_quant.prepare(model, "int8")
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert type(model.lm_head) is torch.nn.Linear
    fake_quant.restore(model)
    assert torch.equal(logits(model), logits(load_base(bases("gpt2"), EXACT).model))


def test_a_model_without_fitting_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="No layer"):
        fake_quant.prepare(torch.nn.Sequential(torch.nn.Linear(30, 8)), "int4")


# ---- saving ---------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing past `size` bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("case", ["lora", "full"])
def test_a_full_disk_leaves_the_last_good_model(case: str, bases: Bases, tmp_path: Path) -> None:
    tuned = tune(bases("llama"), case, tmp_path / "best", steps=1)
    good = logits(load(tmp_path, EXACT).model)
    with files_of_at_most(20_000), pytest.raises(TrainingError, match="can't be written"):
        save_model(tuned.loaded, tmp_path / "best", PromptFormat())
    assert torch.equal(logits(load(tmp_path, EXACT).model), good)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_saving_again_replaces_the_folder(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "out") as place:
            (place / f"{text}.txt").write_text(text)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["two.txt"]
    with pytest.raises(ValueError, match="other"), atomic_folder(tmp_path / "out"):
        raise ValueError("other errors pass")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
