"""`quantize compare`: each method's size, memory, time and right answers, side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from plainsql.cli.main import run
from plainsql.errors import DataError, ModelError, TrainingError, UsageError
from plainsql.quantization import compare as module
from plainsql.quantization.chart import write_chart
from plainsql.quantization.compare import Comparison, Options, Row, compare
from plainsql.quantization.measure import LANGUAGE_MODEL, PARSER, Job, Measured, measure_apart
from plainsql.quantization.measure import run as run_job
from plainsql.quantization.methods import LANGUAGE_MODEL_METHODS
from plainsql.translators.language_model.loading import quiet
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.parser.weights import SHIPPED
from taught_rows import taught_by_rows
from tiny_models import tiny_model
from tuning_data import prepared

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PROMPT = PromptFormat(style="minimal", max_input_tokens=96, max_output_tokens=24)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared questions with their database."""
    return prepared(tmp_path_factory.mktemp("data") / "prepared", validation=3)


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that knows the answers to the prepared questions by heart."""
    quiet()
    folder = tiny_model("llama", tmp_path_factory.mktemp("models") / "llama")
    ModelInfo("full", prompt=PROMPT).write(folder)
    return taught_by_rows(folder, data / "validation.jsonl")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure in this process: a fresh one takes seconds to import torch."""
    monkeypatch.setattr(module, "measure_apart", run_job)


@pytest.mark.usefixtures("in_process")
def test_a_table_of_methods(model: Path, data: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    table = compare(
        str(model),
        Options(str(data)),
        ["gguf-q8_0"],
        lambda *step: heard.append(step),
    )
    assert heard == [("none", 0, 2), ("gguf-q8_0", 1, 2)]
    assert [row.method for row in table.rows] == ["none", "gguf-q8_0"]
    assert (table.rule, table.questions) == ("execution accuracy", 3)
    for row in table.rows:
        assert row.measured is not None
        assert row.accuracy == 1.0
        assert row.measured.ms > 0
        assert row.measured.memory >= row.measured.libraries > 50_000_000
    assert table.rows[0].size > 3 * table.rows[1].size
    assert table.rows[0].error is None
    assert 0 < (table.rows[1].error or 0) < 0.05
    assert table.cells()[1][-1] == (
        f"logits off by {100 * (table.rows[1].error or 0):.2g} %; measured dequantized"
    )


@pytest.mark.usefixtures("in_process")
def test_a_method_that_fails_is_a_row(data: Path, tmp_path: Path) -> None:
    folder = tiny_model("gpt2", tmp_path / "gpt2")
    options = Options(str(data), limit=1, keep=tmp_path / "kept")
    table = compare(str(folder), options, ["torchao-int8", "int8"])
    assert [row.measured is None for row in table.rows] == [False, True, False]
    assert "finds nothing to quantize" in table.rows[1].remark
    assert table.cells()[1][2:6] == (None, None, None, None)
    assert ModelInfo.read(tmp_path / "kept" / "int8").method == "int8"
    # A base without a prompt of its own is asked as the data says, by every method.
    assert table.questions == 1


@pytest.mark.usefixtures("in_process")
def test_without_databases_statements_are_compared(model: Path, tmp_path: Path, data: Path) -> None:
    bare = prepared(tmp_path / "bare", validation=3, databases=False)
    table = compare(str(model), Options(str(bare)), ["none"])
    assert (table.rule, table.rows[0].accuracy) == ("exact match", 1.0)
    named = Options(str(bare), databases=str(data / "databases"))
    assert compare(str(model), named, ["none"]).rule == "execution accuracy"


@pytest.mark.slow
def test_the_command_measures_in_processes_of_their_own(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, chart = tmp_path / "table.json", tmp_path / "chart.png"
    arguments = ["quantize", "compare", str(model), "--methods", "none", "--data", str(data)]
    outputs = ["--limit", "2", "--json", str(table), "--chart", str(chart)]
    assert run([*arguments, *outputs]) == 0
    shown = capsys.readouterr()
    assert "ms/question" in shown.out
    assert "2/2" in shown.out
    assert shown.err == "2 questions, judged by execution accuracy.\n"
    found = json.loads(table.read_text(encoding="utf-8"))
    assert found["questions"] == 2
    row = found["rows"][0]
    assert (row["method"], row["accuracy"]) == ("none", 1.0)
    # A tiny model: nearly all of the peak is the libraries', whatever this process holds.
    assert 0 <= row["measured"]["memory"] - row["measured"]["libraries"] < 200_000_000
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_the_error_of_a_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no prepared data") as caught:
        measure_apart(Job(str(tmp_path / "model"), LANGUAGE_MODEL, str(tmp_path)))
    assert "plainsql data prepare" in caught.value.hint


def test_the_parser_is_asked_the_ordinary_way(data: Path) -> None:
    found = run_job(Job(str(SHIPPED), PARSER, str(data), limit=2))
    assert (found.right, found.total, found.rule) == (2, 2, "execution accuracy")
    assert found.ms > 0


def test_the_parser_needs_databases(tmp_path: Path) -> None:
    bare = prepared(tmp_path / "bare", databases=False)
    with pytest.raises(DataError, match="without databases"):
        run_job(Job(str(SHIPPED), PARSER, str(bare)))


@pytest.mark.usefixtures("in_process")
def test_the_shipped_parser_is_compared(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(source: object, out: Path, *, int8: bool) -> Path:
        return Path(shutil.copytree(SHIPPED, out))  # tracing it in float32 takes 12 s

    monkeypatch.setattr(module, "export_parser", copied)
    table = compare("parser", Options(str(data), limit=1))
    assert [row.method for row in table.rows] == ["onnx-fp32", "onnx-int8"]
    assert [row.remark for row in table.rows] == ["weights rounded to int8 before", ""]
    assert [row.accuracy for row in table.rows] == [1.0, 1.0]


REFUSED = [
    (["nf5"], "'nf5' is no way"),
    (["onnx-int8"], "'onnx-int8' is no way"),
]


@pytest.mark.parametrize(("methods", "reason"), REFUSED)
def test_methods_that_are_none(model: Path, data: Path, methods: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        compare(str(model), Options(str(data)), methods)
    assert all(name in caught.value.hint for name in LANGUAGE_MODEL_METHODS)


def test_data_and_models_that_are_none(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        compare(str(model), Options(str(tmp_path)))
    with pytest.raises(ModelError):
        compare(str(tmp_path / "no model"), Options(str(data)))
    assert run(["quantize", "compare", str(model), "--data", str(data), "--json", "no/t.json"]) == 2


TABLE = Comparison(
    "runs/one",
    "prepared",
    "exact match",
    4,
    (
        Row("none", 2_000_000, None, Measured(3, 4, "exact match", 20.5, 5_000_000, 4_000_000)),
        Row("int8", 1_000_000, 0.0123, Measured(2, 4, "exact match", 10, 4_500_000, 4_000_000)),
        Row("nf4", remark="no room"),
    ),
)


def test_the_table_for_people_and_for_machines() -> None:
    assert TABLE.columns[-2:] == ("exact match", "note")
    assert TABLE.cells() == [
        ("none", 2.0, 5, 1, 20.5, "3/4", ""),
        ("int8", 1.0, 4, 0, 10, "2/4", "logits off by 1.2 %"),
        ("nf4", None, None, None, None, None, "no room"),
    ]
    found = TABLE.to_dict()
    assert [row["accuracy"] for row in found["rows"]] == [0.75, 0.5, None]
    assert json.dumps(found)


def test_the_chart(tmp_path: Path) -> None:
    write_chart(TABLE, tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    with pytest.raises(UsageError, match=r"can't be written"):
        write_chart(TABLE, tmp_path / "one.doc")
    with pytest.raises(UsageError, match=r"can't be written"):
        write_chart(TABLE, tmp_path / "nowhere" / "one.png")
    nothing = Comparison("x", "y", "", 0, (Row("nf4", remark="no room"),))
    write_chart(nothing, tmp_path / "empty.png")
