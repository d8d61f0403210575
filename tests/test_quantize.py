"""Quantization after training: each method writes what loads again and says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from plainsql.cli.main import run
from plainsql.errors import ModelError, TrainingError, UsageError
from plainsql.quantization import quantize as module
from plainsql.quantization.files import weight_bytes
from plainsql.quantization.methods import LANGUAGE_MODEL_METHODS, METHODS
from plainsql.quantization.parser import export_parser, open_parser
from plainsql.quantization.quantize import differences, quantize
from plainsql.quantization.report import QuantizeReport
from plainsql.training.parser_from_onnx import load_parser
from plainsql.training.tuning.merge import TEXTS, logits
from plainsql.training.tuning.methods import MethodOptions, prepare_model, save_model
from plainsql.translators.language_model.four_bit import four_bit_layers
from plainsql.translators.language_model.loading import LoadOptions, load
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from test_parser_from_onnx import tiny_parser
from tiny_models import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PROMPT = PromptFormat(style="minimal", schema_form="text", max_input_tokens=100)
# What a method may change of the logits of this model: twice what was measured.
MOST_ERROR = {
    "nf4": 0.21,
    "nf4-dq": 0.21,
    "int8": 0.02,
    "torchao-int8": 0.02,
    "torchao-int4": 0.25,
    "gguf-q8_0": 0.02,
    "gguf-q4_0": 0.3,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that was tuned, by its plainsql.json."""
    folder = tiny_model("llama", tmp_path_factory.mktemp("models") / "llama")
    ModelInfo("full", prompt=PROMPT).write(folder)
    return folder


@pytest.fixture(scope="module")
def quantized(
    llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], QuantizeReport]:
    """The model by each method, made when it is first asked for."""
    root = tmp_path_factory.mktemp("quantized")
    return cache(lambda method: quantize(llama, root / method, method))


def test_all_methods_are_tried() -> None:
    assert set(MOST_ERROR) == set(LANGUAGE_MODEL_METHODS) == set(METHODS) - {"onnx-int8"}


@pytest.mark.parametrize("method", MOST_ERROR)
def test_a_method(llama: Path, quantized: Callable[[str], QuantizeReport], method: str) -> None:
    report = quantized(method)
    out = report.out
    assert report.bytes_before == weight_bytes(llama)
    assert report.bytes_after == weight_bytes(out) < 0.65 * report.bytes_before
    assert 0 < report.error < MOST_ERROR[method]
    assert report.agreement is not None
    assert 0.5 < report.agreement <= 1
    info = ModelInfo.read(out)
    assert (info.kind, info.method, info.base, info.prompt) == (
        "quantized", method, str(llama), PROMPT,
    )  # fmt: skip

    first, second = load(out), load(out)
    assert first.info.kind == "quantized"
    for one, other in zip(logits(first, TEXTS), logits(second, TEXTS), strict=True):
        assert torch.equal(one, other)
    error, agreement = differences(logits(load(llama), TEXTS), logits(first, TEXTS))
    assert (error, agreement) == pytest.approx((report.error, report.agreement), abs=1e-6)
    if method.startswith("nf4"):
        layers = [layer for _, layer in four_bit_layers(first.model)]
        assert layers
        assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


OTHERS = [("gpt2", "nf4-dq"), ("t5", "torchao-int8")]


@pytest.mark.parametrize(("architecture", "method"), OTHERS)
def test_other_architectures(tmp_path: Path, architecture: str, method: str) -> None:
    model = tiny_model(architecture, tmp_path / "model")
    report = quantize(model, tmp_path / "small", method)
    assert 0 < report.error < 0.3
    assert load(tmp_path / "small").info.family == ("seq2seq" if architecture == "t5" else "causal")


def test_a_base_model_gets_the_prompt_it_would_be_asked_with(tmp_path: Path) -> None:
    quantize(tiny_model("gemma", tmp_path / "model", chat=True), tmp_path / "small", "int8")
    assert ModelInfo.read(tmp_path / "small").prompt.style == "chat"


def test_an_adapter_is_merged_first(llama: Path, tmp_path: Path) -> None:
    adapted = prepare_model(str(llama), MethodOptions("lora", rank=4))
    torch.manual_seed(0)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    save_model(adapted, tmp_path / "adapter", PROMPT)

    report = quantize(tmp_path / "adapter", tmp_path / "small", "int8")

    expected = logits(load(tmp_path / "adapter"), TEXTS)
    found = logits(load(tmp_path / "small"), TEXTS)
    assert differences(expected, found)[0] < 0.1
    assert differences(logits(load(llama), TEXTS), found)[0] > 0.5
    assert report.bytes_before == weight_bytes(llama)
    assert ModelInfo.read(tmp_path / "small").base == str(tmp_path / "adapter")
    assert {item.name for item in tmp_path.iterdir()} == {"adapter", "small"}


# -- what can't be done ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["nf4-dq", "torchao-int8", "gguf-q8_0"])
def test_a_quantized_model_is_refused(
    quantized: Callable[[str], QuantizeReport], tmp_path: Path, method: str
) -> None:
    out = quantized(method).out
    with pytest.raises(UsageError, match="quantized already"):
        quantize(out, tmp_path / "again", "int8")
    assert not (tmp_path / "again").exists()
    with pytest.raises(UsageError, match="can't be loaded as nf4"):
        load(out, LoadOptions(quantization="nf4"))


REFUSED = [
    ("gpt2", "torchao-int8", "finds nothing to quantize"),
    ("gpt2", "gguf-q8_0", "aren't written for gpt2"),
    ("llama", "onnx-int8", "is for parsers"),
    ("llama", "nf5", "no quantization method 'nf5'"),
]


@pytest.mark.parametrize(("architecture", "method", "reason"), REFUSED)
def test_a_method_that_does_not_go_with_the_model(
    tmp_path: Path, architecture: str, method: str, reason: str
) -> None:
    model = tiny_model(architecture, tmp_path / "model")
    with pytest.raises(UsageError, match=reason) as caught:
        quantize(model, tmp_path / "small", method)
    assert caught.value.hint
    assert not (tmp_path / "small").exists()


def test_nothing_is_overwritten_unasked(llama: Path, tmp_path: Path) -> None:
    own = shutil.copytree(llama, tmp_path / "own")
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "mother.txt").write_text("Dear")
    for out, force, reason in (
        (letters, False, "exists already"),
        (letters, True, "not the folder of a model"),
        (own, True, "is where the model is read from"),
        (tmp_path, True, "is where the model is read from"),
    ):
        with pytest.raises(UsageError, match=reason):
            quantize(own, out, "int8", force=force)
    assert (letters / "mother.txt").read_text() == "Dear"


def test_force_replaces_a_model(llama: Path, tmp_path: Path) -> None:
    out = shutil.copytree(llama, tmp_path / "out")
    quantize(llama, out, "int8", force=True)
    assert ModelInfo.read(out).method == "int8"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_what_was_there(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    out = shutil.copytree(llama, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setitem(module._WRITERS, "bitsandbytes", full)
    with pytest.raises(TrainingError, match="No space left"):
        quantize(llama, out, "int8", force=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        quantize(str(tmp_path / "none"), tmp_path / "small", "int8")


# -- the parser -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch_parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random parser in torch's form."""
    folder = tmp_path_factory.mktemp("parsers") / "torch"
    tiny_parser().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_parser_becomes_int8(torch_parser: Path, tmp_path: Path) -> None:
    report = quantize(torch_parser, tmp_path / "int8", "onnx-int8")
    assert 0 < report.error < 0.05
    assert report.bytes_after < 0.4 * report.bytes_before
    assert (tmp_path / "int8" / "ranker.json").is_file()
    info = ModelInfo.read(tmp_path / "int8")
    assert (info.family, info.method, info.quantization) == ("parser", "onnx-int8", "int8")
    with pytest.raises(UsageError, match="quantized already"):
        quantize(tmp_path / "int8", tmp_path / "again", "onnx-int8")

    # What was exported can be exported again, from its own graphs: the same integers.
    again = export_parser(open_parser(str(tmp_path / "int8")), tmp_path / "again", int8=True)
    expected = load_parser(tmp_path / "int8").state_dict()
    for name, found in load_parser(again).state_dict().items():
        torch.testing.assert_close(found, expected[name], msg=name)


def test_language_models_methods_are_not_for_parsers(torch_parser: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a parser"):
        quantize(torch_parser, tmp_path / "small", "nf4")
    with pytest.raises(UsageError, match="quantized already"):
        quantize("parser", tmp_path / "small", "onnx-int8")


# -- the command ------------------------------------------------------------------------


def test_the_command(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small"
    arguments = ["quantize", str(llama), "--method", "int8", "--out", str(out)]
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert "0.5 MB to 0.3 MB" in shown.out
    assert "same likeliest token" in shown.out
    assert shown.err == ""

    assert run(arguments) == 2
    assert "--force" in capsys.readouterr().err

    assert run([*arguments, "--force", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["method"], report["out"]) == ("int8", str(out))
    assert report["bytes_after"] < report["bytes_before"]


def test_help_shows_both_uses(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["some/model", "--help"]):
        assert run(["quantize", *arguments]) == 0
        shown = capsys.readouterr().out
        assert "--method" in shown
        assert "plainsql quantize compare" in shown
    assert run(["quantize", "compare", "--help"]) == 0
    assert "--chart" in capsys.readouterr().out


def test_methods_of_the_command_are_those_of_the_library() -> None:
    from plainsql.cli import quantize as verb

    assert tuple(METHODS) == verb.METHODS
