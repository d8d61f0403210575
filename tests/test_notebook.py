"""The notebook of examples/ runs from top to bottom, with a tiny model on a small database."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tiny_models import tiny_model

NOTEBOOK = Path(__file__).parents[1] / "examples" / "fine_tune_colab.ipynb"
QUESTION = "How many singers are there?"
ANSWER = "SELECT count(*) FROM singer"
# Few words, one answer each way: what a random base can be taught in seconds.
PAIRS = [
    (QUESTION, ANSWER),
    *[(f"How many singers of age {age} are there?", ANSWER) for age in range(20, 26)],
    *[(f"How many {word} are there?", "SELECT count(*) FROM concert") for word in ("concerts",)],
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Parsing dates:DeprecationWarning"),
]


def _cells() -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return cells


def test_it_is_committed_without_outputs() -> None:
    code = [cell for cell in _cells() if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_it_names_no_place_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(?:home|root|work|tmp|content|Users)/", text)


def _teachable(folder: Path) -> Path:
    """A random base that an adapter can teach: its tokens are far apart.

    A fresh head's logits are all about zero, whatever an adapter does before it.
    """
    from transformers import AutoModelForCausalLM

    tiny_model("llama", folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for weights in {model.get_input_embeddings().weight, model.lm_head.weight}:
        weights.data.mul_(20)
    model.save_pretrained(folder)
    return folder


def _environment(monkeypatch: pytest.MonkeyPatch, folder: Path, database: Path) -> None:
    pairs = folder / "my pairs.csv"
    with pairs.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "sql"), *PAIRS])
    values = {
        "BASE": str(_teachable(folder / "base")),
        "DATA": str(pairs),
        "DATABASE": str(database),
        "QUESTION": QUESTION,
        "FLAGS": "--max-steps 30 --learning-rate 0.02 --threads 1 --eval-examples 1",
        "OUT": "runs/tiny",
        # `plainsql` of this interpreter, and nothing from the network
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_it_runs(tmp_path: Path, concerts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    _environment(monkeypatch, tmp_path, concerts)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": tmp_path}},
    )
    client.execute()
    shown = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    everything = "\n".join(shown)
    assert "plainsql: " not in everything, everything
    assert "Traceback" not in everything, everything
    assert (tmp_path / "runs" / "tiny" / "best" / "plainsql.json").is_file()
    # generated and run, on the command line and in Python
    assert all(ANSWER in text and "6" in text for text in shown[-2:]), everything


def _shown(cell: Any) -> str:
    """All that a cell printed."""
    return "".join(
        output.get("text", "")
        or "\n".join(output.get("traceback", ()))
        or str(output.get("data", {}).get("text/plain", ""))
        for output in cell.outputs
    )
