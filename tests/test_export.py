"""`plainsql export`: the model in each form, complete and loadable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import pytest
import torch

from plainsql.cli import export as verb
from plainsql.cli.main import run
from plainsql.errors import TrainingError, UsageError
from plainsql.quantization.export import FORMATS, export
from plainsql.quantization.hub_upload import push
from plainsql.quantization.quantize import quantize
from plainsql.training.tuning.merge import TEXTS, logits
from plainsql.training.tuning.methods import MethodOptions, prepare_model, save_model
from plainsql.translators.language_model.loading import load
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.translator import LanguageModelTranslator
from plainsql.translators.parser.runtime import ParserRuntime
from plainsql.translators.parser.weights import SHIPPED
from tiny_models import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PROMPT = PromptFormat(style="minimal", schema_form="text", max_input_tokens=100)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return tiny_model("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on it that changes what it says."""
    adapted = prepare_model(str(base), MethodOptions("lora", rank=4))
    torch.manual_seed(0)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("runs") / "adapter"
    save_model(adapted, folder, PROMPT)
    return folder


EXACT = [("safetensors", 1e-4), ("gguf-f32", 1e-4), ("gguf-f16", 2e-2)]


@pytest.mark.parametrize(("form", "most"), EXACT)
def test_an_adapter_is_merged_and_written(
    adapter: Path, tmp_path: Path, form: str, most: float
) -> None:
    report = export(adapter, tmp_path / "out", form)
    info = ModelInfo.read(tmp_path / "out")
    assert info.kind in ("merged", "full")
    assert info.prompt == PROMPT
    assert report.size > 200_000
    exported = logits(load(tmp_path / "out"), TEXTS)
    for found, expected in zip(exported, logits(load(adapter), TEXTS), strict=True):
        torch.testing.assert_close(found, expected, rtol=most, atol=most)
    if form.startswith("gguf"):
        assert report.file.name == f"adapter-{form.removeprefix('gguf-')}.gguf"
        assert gguf.GGUFReader(report.file).tensors
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_quantized_form(base: Path, tmp_path: Path) -> None:
    report = export(base, tmp_path / "out", "gguf-q4_0")
    assert report.file.name == "llama-q4_0.gguf"
    assert ModelInfo.read(tmp_path / "out").kind == "quantized"


def test_what_was_exported_is_a_translator(adapter: Path, tmp_path: Path, concerts: Path) -> None:
    from plainsql.schema.introspect import sqlite_schema

    export(adapter, tmp_path / "out", "gguf-f16")
    translator = LanguageModelTranslator(tmp_path / "out")
    prompt = translator.prompt("How many singers?", sqlite_schema(concerts), None)
    assert "How many singers?" in prompt.text
    assert translator.info.prompt == PROMPT


REFUSED = [
    ("llama", "onnx-int8", "language models aren't written as ONNX", "gguf-q8_0"),
    ("parser", "safetensors", "parser is a parser", "onnx-int8"),
    ("parser", "gguf-f16", "parser is a parser", "onnx-fp32"),
    ("llama", "pickle", "no format 'pickle'", "safetensors"),
]


@pytest.mark.parametrize(("model", "form", "reason", "hint"), REFUSED)
def test_forms_that_do_not_go_with_the_model(
    base: Path, tmp_path: Path, model: str, form: str, reason: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        export(str(base) if model == "llama" else model, tmp_path / "out", form)
    assert hint in caught.value.hint


def test_quantized_models_and_other_architectures(base: Path, tmp_path: Path) -> None:
    quantize(base, tmp_path / "small", "int8")
    with pytest.raises(UsageError, match="quantized already"):
        export(tmp_path / "small", tmp_path / "out", "safetensors")
    with pytest.raises(UsageError, match="aren't written for gpt2"):
        export(tiny_model("gpt2", tmp_path / "gpt2"), tmp_path / "out", "gguf-f16")
    with pytest.raises(UsageError, match="exists already"):
        export(base, tmp_path / "small", "safetensors")
    assert not (tmp_path / "out").exists()


def test_the_parser_goes_out_as_it_came(tmp_path: Path) -> None:
    report = export("parser", tmp_path / "out", "onnx-int8")
    assert report.size == pytest.approx(32_500_000, rel=0.05)
    assert ModelInfo.read(tmp_path / "out").family == "parser"
    assert (tmp_path / "out" / "ranker.json").read_bytes() == (SHIPPED / "ranker.json").read_bytes()
    assert ParserRuntime.load(tmp_path / "out").manifest.symbols


# -- the Hub ------------------------------------------------------------------------------


def test_the_hub_out_of_reach(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A port nobody listens on: refused at once, without leaving this machine.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TrainingError, match="can't be uploaded to me/model") as caught:
        push(base, "me/model")
    assert "hf auth login" in caught.value.hint
    for name in ("model", "me/model/more", "../model"):
        with pytest.raises(UsageError, match="no name on the Hub"):
            push(base, name)


# -- the command --------------------------------------------------------------------------


def test_the_command(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(base), "--format", "gguf-f16", "--out", str(out)]
    assert run(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out / 'llama-f16.gguf'}: {base} as gguf-f16, 0.3 MB\n"
    assert shown.err == ""
    assert run(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert run([*arguments, "--push-to-hub", "me/model", "--force"]) == 2
    assert "--format safetensors" in capsys.readouterr().err

    shutil.rmtree(out)
    assert run(["export", str(base), "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["file"], report["hub"]) == ("safetensors", str(out), "")


def test_formats_of_the_command_are_those_of_the_library() -> None:
    assert verb.FORMATS == FORMATS
