"""Merging an adapter into its base: how much changes, what is written, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plainsql.cli.main import run
from plainsql.errors import ModelError, TrainingError, UsageError
from plainsql.training.tuning.adapters import merge_adapter
from plainsql.training.tuning.merge import merge
from plainsql.translators.language_model.loading import (
    LoadOptions,
    attach_adapter,
    load,
    load_base,
)
from tiny_models import ARCHITECTURES
from tuned_models import PROMPT, Bases, Tuned, batch, logits, tune

EXACT = LoadOptions(device="cpu", compute_dtype="float32")


class Adapters:
    """Tuned adapters by architecture and method, trained once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bases = folder, Bases(folder / "bases")
        self.known: dict[tuple[str, str], Tuned] = {}

    def __call__(self, architecture: str, case: str) -> Tuned:
        key = (architecture, case)
        if key not in self.known:
            place = self.folder / "-".join(key)
            self.known[key] = tune(self.bases(architecture), case, place, steps=6)
        return self.known[key]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Adapters:
    return Adapters(tmp_path_factory.mktemp("merging"))


# The greatest difference of a logit that merging may make, by method. Merging in float32
# is exact but for the order of sums. LLM.int8() also rounds its inputs to 8 bits, which
# the merged float model no longer does.
STATED = {"lora": 2e-5, "qlora-dq": 2e-5, "qat-lora": 2e-5, "lora-int8": 0.15}
# ... and after quantizing the merged weights again (random weights of two layers).
REQUANTIZED = {"int8": 0.15, "nf4": 1.5, "nf4-dq": 1.5}


@pytest.mark.parametrize("case", STATED)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_within_the_stated_error(
    architecture: str, case: str, adapters: Adapters, tmp_path: Path
) -> None:
    tuned = adapters(architecture, case)
    report = merge(tuned.folder, tmp_path / "merged", device="cpu")
    assert 0 <= report.mean_difference <= report.max_difference < STATED[case]
    assert report.agreement > 0.9
    merged = load(tmp_path / "merged", EXACT)
    assert (merged.info.kind, merged.info.quantization, merged.info.dtype) == (
        "merged", "", "float32",
    )  # fmt: skip
    assert merged.info.prompt == PROMPT
    names = set(load_base(adapters.bases(architecture), EXACT).model.state_dict())
    assert set(merged.model.state_dict()) == names  # a plain model of its architecture


@pytest.mark.parametrize("quantization", REQUANTIZED)
@pytest.mark.parametrize(("architecture", "case"), [("llama", "qlora-dq"), ("gpt2", "lora")])
def test_requantized(
    architecture: str, case: str, quantization: str, adapters: Adapters, tmp_path: Path
) -> None:
    tuned = adapters(architecture, case)
    report = merge(tuned.folder, tmp_path / "small", quantization, device="cpu")
    assert report.quantization == quantization
    assert 1e-4 < report.max_difference < REQUANTIZED[quantization]
    assert load(tmp_path / "small", EXACT).info.quantization == quantization
    whole = merge(tuned.folder, tmp_path / "whole", device="cpu")
    assert report.size < 0.7 * whole.size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small", "whole"]


def test_the_base_is_dequantized_not_replaced_by_the_original(
    adapters: Adapters, tmp_path: Path
) -> None:
    """The adapter corrects the rounding of NF4, so the original is the wrong base."""
    tuned = adapters("llama", "qlora-dq")
    seen = logits(tuned.loaded.model)
    merge(tuned.folder, tmp_path / "merged", device="cpu")
    ours = (logits(load(tmp_path / "merged", EXACT).model) - seen).abs().max()
    original = load_base(adapters.bases("llama"), EXACT).model
    naive = logits(merge_adapter(attach_adapter(original, tuned.folder)))
    assert 100 * ours < (naive - seen).abs().max()


def test_the_loss_stays_where_training_left_it(adapters: Adapters, tmp_path: Path) -> None:
    tuned = adapters("t5", "qlora-dq")
    merge(tuned.folder, tmp_path / "merged", device="cpu")
    model = load(tmp_path / "merged", EXACT).model
    ids = batch()
    with torch.inference_mode():
        before = tuned.loaded.model.eval()(input_ids=ids, labels=ids).loss.item()
        after = model(input_ids=ids, labels=ids).loss.item()
    assert after == pytest.approx(before, abs=1e-4)


def test_merged_in_16_bits_when_asked(adapters: Adapters, tmp_path: Path) -> None:
    report = merge(adapters("llama", "lora").folder, tmp_path / "out", dtype="bf16", device="cpu")
    assert report.dtype == "bfloat16"
    assert load(tmp_path / "out", EXACT).info.dtype == "bfloat16"
    assert report.max_difference < 0.2


def test_a_folder_that_exists_is_left_alone(adapters: Adapters, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        merge(adapters("llama", "lora").folder, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_complete_model_has_nothing_to_merge(adapters: Adapters, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter to merge"):
        merge(adapters.bases("llama"), tmp_path / "out")
    with pytest.raises(UsageError, match="quantize again as 'int3'"):
        merge(adapters("llama", "lora").folder, tmp_path / "out", "int3")


def test_an_adapter_that_diverged_is_not_merged(adapters: Adapters, tmp_path: Path) -> None:
    source = adapters("llama", "lora").folder
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in source.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    tensors = load_file(broken / "adapter_model.safetensors")
    tensors[sorted(tensors)[0]][0, 0] = float("nan")
    save_file(tensors, broken / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match="can't be merged"):
        merge(broken, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


# ---- the command ----------------------------------------------------------------------


def test_the_command_reports_what_changed(
    adapters: Adapters, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = str(adapters("llama", "qlora-dq").folder), str(tmp_path / "out")
    assert run(["merge", source, "--out", out, "--requantize", "nf4-dq", "--json"]) == 0
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert (report["out"], report["quantization"], report["after"]) == (out, "nf4-dq", None)
    assert output.err == ""
    assert run(["merge", source, "--out", out]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_measures_before_and_after(
    adapters: Adapters, concerts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepared(tmp_path / "prepared")
    source, out = str(adapters("llama", "lora").folder), str(tmp_path / "out")
    databases = ["--data", str(data), "--databases", str(concerts.parent)]
    assert run(["merge", source, "--out", out, *databases]) == 0
    shown = capsys.readouterr().out
    assert "execution accuracy, before" in shown
    assert shown.count("of 2") == 2
    assert run(["merge", source, "--out", out + "2", "--databases", str(tmp_path)]) == 2


def prepared(folder: Path) -> Path:
    """Prepared data with two held-out questions."""
    folder.mkdir()
    rows = [
        {
            "instruction": "", "schema": [{"table": "singer", "text": "singer", "rank": 0}],
            "question": question, "response": sql, "db": "concerts", "evidence": "",
        }
        for question, sql in {
            "How many singers?": "SELECT count(*) FROM singer",
            "Which titles?": "SELECT title FROM concert",
        }.items()
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text("")
    (folder / "validation.jsonl").write_text(text)
    manifest = {"format_version": 1, "prompt": {"style": "minimal"}, "databases": ""}
    (folder / "prepare.json").write_text(json.dumps(manifest))
    return folder


def test_without_the_libraries_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("plainsql.training.tuning")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    assert run(["merge", "adapter", "--out", str(tmp_path / "out")]) == 2
    assert "plainsql[train]" in capsys.readouterr().err
