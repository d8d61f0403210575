"""Language models from folders: what can be loaded, and what a broken one says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig

from plainsql.errors import ModelError, PlainsqlError, UsageError
from plainsql.translators.language_model import devices
from plainsql.translators.language_model.loading import (
    LoadOptions,
    fingerprint,
    load,
    load_base,
)
from plainsql.translators.language_model.model_info import FILE, ModelInfo
from plainsql.translators.language_model.tokenizer_repair import repaired
from tiny_models import tiny_model, tiny_tokenizer
from tuned_models import PROMPT, Bases, Tuned, logits, tune

CPU = LoadOptions(device="cpu", compute_dtype="float32")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def adapter(bases: Bases, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return tune(bases("llama"), "lora", tmp_path_factory.mktemp("run") / "best", steps=2)


# ---- what loads -----------------------------------------------------------------------

WEIGHTS = [
    ("llama", LoadOptions(device="cpu"), "", "float32"),
    ("llama", LoadOptions("nf4", device="cpu"), "nf4", "float32"),
    ("gpt2", LoadOptions("nf4-dq", device="cpu"), "nf4-dq", "float32"),
    ("t5", LoadOptions("int8", device="cpu"), "int8", "float32"),
    ("t5", LoadOptions(dtype="bf16", device="cpu"), "", "bfloat16"),
    ("qwen2", LoadOptions("none", device="cpu"), "", "float32"),
]


@pytest.mark.parametrize(("architecture", "options", "quantization", "dtype"), WEIGHTS)
def test_a_plain_folder(
    architecture: str, options: LoadOptions, quantization: str, dtype: str, bases: Bases
) -> None:
    loaded = load(bases(architecture), options)
    assert loaded.info.kind == "base"
    assert loaded.info.family == ("seq2seq" if architecture == "t5" else "causal")
    assert (loaded.info.quantization, loaded.info.dtype) == (quantization, dtype)
    assert not loaded.model.training
    assert torch.isfinite(logits(loaded.model).float()).all()


def test_a_quantized_folder_loads_as_it_was_saved(bases: Bases, tmp_path: Path) -> None:
    loaded = load(bases("gpt2"), replace(CPU, quantization="nf4-dq"))
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path, CPU)
    assert again.info.quantization == "nf4-dq"
    assert torch.equal(logits(again.model), logits(loaded.model))
    with pytest.raises(UsageError, match="saved as nf4-dq"):
        load(tmp_path, replace(CPU, quantization="int8"))


def test_an_adapter_by_its_run_its_folder_and_without_our_file(
    adapter: Tuned, tmp_path: Path
) -> None:
    expected = logits(adapter.loaded.model)
    bare = shutil.copytree(adapter.folder, tmp_path / "bare")
    (bare / FILE).unlink()
    for source in (adapter.folder.parent, adapter.folder, bare):
        loaded = load(source, CPU)
        assert loaded.info.kind == "adapter"
        assert torch.equal(logits(loaded.model), expected)
    assert load(adapter.folder, CPU).info.prompt == PROMPT


def test_an_adapter_whose_base_has_moved(adapter: Tuned, bases: Bases, tmp_path: Path) -> None:
    folder = shutil.copytree(adapter.folder, tmp_path / "adapter")
    ModelInfo.write(replace(ModelInfo.read(folder), base=str(tmp_path / "gone")), folder)
    with pytest.raises(ModelError, match=r"base model of .* is gone"):
        load(folder, CPU)
    moved = load(folder, replace(CPU, base=str(bases("llama"))))
    assert torch.equal(logits(moved.model), logits(adapter.loaded.model))


def test_an_adapter_on_a_merged_model_whose_own_base_has_gone(bases: Bases, tmp_path: Path) -> None:
    merged = shutil.copytree(bases("llama"), tmp_path / "merged")
    ModelInfo(kind="merged", base=str(tmp_path / "gone")).write(merged)
    tuned = tune(merged, "lora", tmp_path / "best", steps=1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "best" / name).unlink()  # the base's is taken
    assert torch.equal(logits(load(tmp_path, CPU).model), logits(tuned.loaded.model))


def test_layers_of_odd_width_stay_as_they_are_in_4_bits(tmp_path: Path) -> None:
    sizes = {"n_embd": 48, "n_layer": 1, "n_head": 4, "vocab_size": 448}
    GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load(tmp_path, replace(CPU, quantization="nf4")).model
    kinds = {name: type(item).__name__ for name, item in model.transformer.h[0].named_modules()}
    assert kinds["attn.c_attn"] == kinds["attn.c_proj"] == "Conv1D"  # 144 and 48 outputs
    assert kinds["mlp.c_fc"] == "Linear4bit"  # 192


# ---- what is broken -------------------------------------------------------------------


def edit(path: Path, **changed: object) -> None:
    values = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({name: item for name, item in values.items() if item is not None}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def drop_tensor(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[-1])
    save_file(tensors, path, {"format": "pt"})


def remove(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


ADAPTER = "adapter_model.safetensors"
BROKEN: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("adapter", "cut", lambda f: cut(f / ADAPTER), "adapter in .* can't be loaded"),
    ("adapter", "empty", lambda f: (f / ADAPTER).write_bytes(b""), "can't be loaded"),
    ("adapter", "no weights", remove(ADAPTER), "can't be loaded"),
    ("adapter", "tensor gone", lambda f: drop_tensor(f / ADAPTER), "1 tensors are missing"),
    ("adapter", "no peft config", remove("adapter_config.json"), "can't be loaded"),
    ("adapter", "our file", lambda f: (f / FILE).write_text("{"), "plainsql.json can't be used"),
    ("adapter", "version", lambda f: edit(f / FILE, format_version=9), "format version 9"),
    ("adapter", "another base", lambda f: edit(f / FILE, base_fingerprint="gpt2-8x1-00"), "gpt2-8"),
    (
        "adapter",
        "bare, no base",
        lambda f: (remove(FILE)(f), edit(f / "adapter_config.json", base_model_name_or_path=None)),
        "adapter_config.json can't be used",
    ),
    ("base", "cut", lambda f: cut(f / "model.safetensors"), "weights in .* can't be loaded"),
    ("base", "no weights", remove("model.safetensors"), "weights in .* can't be loaded"),
    ("base", "tensor gone", lambda f: drop_tensor(f / "model.safetensors"), "lack 1 tensors"),
    ("base", "sizes", lambda f: edit(f / "config.json", hidden_size=32), "can't be loaded"),
    ("base", "no config", remove("config.json"), "no config.json"),
    ("base", "type", lambda f: edit(f / "config.json", model_type="nope"), "configuration of"),
    ("base", "tokenizer", remove("tokenizer.json", "tokenizer_config.json"), "has no tokenizer"),
    ("base", "tokens", lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer in .* can't"),
    ("base", "eos", lambda f: edit(f / "tokenizer_config.json", eos_token=None), "no end-of-seq"),
]


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [item[:1] + item[2:] for item in BROKEN],
    ids=[f"{kind}: {name}" for kind, name, *_ in BROKEN],
)
def test_a_broken_folder_says_what_to_do(
    kind: str,
    damage: Callable[[Path], object],
    message: str,
    adapter: Tuned,
    bases: Bases,
    tmp_path: Path,
) -> None:
    source = adapter.folder if kind == "adapter" else bases("llama")
    folder = shutil.copytree(source, tmp_path / "broken")
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load(folder, CPU)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_mismatched_base_is_named_with_the_wanted_one(adapter: Tuned, bases: Bases) -> None:
    wanted = ModelInfo.read(adapter.folder).base_fingerprint
    other = load_base(bases("gpt2"), CPU).info.base_fingerprint
    with pytest.raises(ModelError, match=f"trained on {wanted}.* is {other}"):
        load(adapter.folder, replace(CPU, base=str(bases("gpt2"))))


SOURCES = [
    ("./nowhere", "There is no model"),
    ("/no/such/folder", "There is no model"),
    ("someone/a-model", "no folder 'someone/a-model' here, and the Hub"),
]


@pytest.mark.parametrize(("source", "message"), SOURCES)
def test_what_is_not_there(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=message) as caught:
        load(source, CPU)
    assert caught.value.hint


def test_an_adapter_is_no_base(adapter: Tuned) -> None:
    with pytest.raises(ModelError, match="is an adapter") as caught:
        load_base(adapter.folder, CPU)
    assert "plainsql merge" in caught.value.hint


WRONG = [
    LoadOptions("int3", device="cpu"),
    LoadOptions(dtype="float8", device="cpu"),
    LoadOptions(device="tpu"),
]


@pytest.mark.parametrize("options", WRONG)
def test_options_that_do_not_exist(options: LoadOptions, bases: Bases) -> None:
    with pytest.raises(UsageError) as caught:
        load(bases("llama"), options)
    assert caught.value.hint


# ---- parts ----------------------------------------------------------------------------


def test_padding_is_found_where_the_tokenizer_names_none() -> None:
    spare, none = tiny_tokenizer(), tiny_tokenizer()
    spare.pad_token = none.pad_token = None
    assert repaired(spare, "x").pad_token == "<pad>"  # of its own vocabulary
    del none
    bare = tiny_tokenizer()
    bare.add_special_tokens({"pad_token": "<filler>"})
    bare.pad_token = None
    assert repaired(bare, "x").pad_token == "<pad>"


def test_the_end_pads_where_there_is_nothing_else(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "</s>": 1, "?": 2}, unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
    assert repaired(tokenizer, "x").pad_token == "</s>"


def test_fingerprints_tell_shapes_apart_and_nothing_else() -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    plain = fingerprint(LlamaConfig(**sizes))
    assert plain.startswith("llama-64x2-")
    assert fingerprint(LlamaConfig(**sizes, dtype="bfloat16", name_or_path="x")) == plain
    for name, value in {"vocab_size": 10, "num_key_value_heads": 2}.items():
        assert fingerprint(LlamaConfig(**{**sizes, name: value})) != plain


DTYPES = [
    # wanted, device, saved, weights
    ("auto", "cpu", torch.float16, torch.float32),
    ("auto", "cpu", torch.bfloat16, torch.bfloat16),
    ("auto", "cpu", None, torch.float32),
    ("bf16", "cpu", torch.float32, torch.bfloat16),
    ("auto", "cuda:0", torch.bfloat16, torch.float16),  # a GPU that only emulates bfloat16
    ("auto", "mps", torch.float16, torch.float16),
]


@pytest.mark.parametrize(("wanted", "device", "saved", "weights"), DTYPES)
def test_number_types_by_device(
    wanted: str, device: str, saved: object, weights: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert devices.weight_dtype(wanted, device, saved) == weights


def test_each_process_takes_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert devices.choose_device() == "cuda:3"
    assert devices.choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlainsqlError, match="no device 'cuda'"):
        devices.choose_device("cuda")


QUIET = """
import sys
from plainsql.training.tuning.methods import MethodOptions, prepare_model
import torch

for method in ({"method": "qlora"}, {"method": "lora", "quantization": "int8"}):
    options = MethodOptions(gradient_checkpointing=True, **method)
    model = prepare_model(sys.argv[1], options, device="cpu").model
    ids = torch.arange(8).view(1, -1)
    model(input_ids=ids, labels=ids).loss.backward()
"""


def test_the_libraries_say_nothing(bases: Bases) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(bases("llama"))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def test_the_same_name_gives_the_same_model(tmp_path: Path) -> None:
    one, other = (tiny_model("llama", tmp_path / name) for name in "ab")
    assert torch.equal(logits(load(one, CPU).model), logits(load(other, CPU).model))
