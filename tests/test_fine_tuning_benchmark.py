"""The parts of benchmarks/fine_tuning that decide what its tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "fine_tuning"
GOLD = 'SELECT COUNT("year") FROM "table" WHERE "host" = \'Rome\' AND "rank" > 3'


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize(
    ("written", "same"),
    [
        (GOLD, True),
        ("select count(year) from \"table\" where host = 'rome' and rank > 3", True),
        ("SELECT COUNT(year) FROM \"table\" WHERE rank > 3 AND host = 'Rome'", True),
        ("SELECT COUNT( year ) FROM \"TABLE\"\nWHERE rank>3 AND host='Rome';", True),
        ("SELECT COUNT(year) FROM \"table\" WHERE host = 'Rome'", False),
        ("SELECT MAX(year) FROM \"table\" WHERE host = 'Rome' AND rank > 3", False),
        ("SELECT COUNT(year) FROM \"table\" WHERE host = 'Rome' AND rank < 3", False),
        ("SELECT COUNT(year) FROM \"table\" WHERE host = 'Rome' AND rank > '3'", False),
        ("SELECT COUNT(year) FROM \"table\" WHERE host = 'Rome ' AND rank > 3", False),
        ("SELECT COUNT(year) FROM \"table\" WHERE host = 'Rome' OR rank > 3", False),
        ('SELECT COUNT(year) FROM "table" WHERE host = \'Rome', False),
        ("", False),
    ],
)
def test_logical_form(written: str, same: bool) -> None:
    import logical_form

    assert logical_form.same(GOLD, written) is same


def _row(number: int, *columns: str) -> dict[str, Any]:
    query = f'select "{columns[0]}" from "table" where "{columns[-1]}" = \'rome\''
    return {"question": f"Q{number}?", "columns": list(columns), "query": query}


def test_no_set_of_columns_is_in_two_parts() -> None:
    import wikisql_text

    rows = [_row(n, f"c{n % 20}", f"d{n % 3}") for n in range(200)]
    rows += [_row(n, f"d{n % 3}", f"c{n % 20}") for n in range(200)]  # the same, in other order
    parts = wikisql_text.divide(rows, tuning=60, test=30, seed=0)
    assert (len(parts.tuning), len(parts.test)) == (60, 30)
    sides = [
        {frozenset(row["columns"]) for row in part}
        for part in (parts.pretraining, parts.tuning, parts.test)
    ]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
    assert wikisql_text.divide(rows, tuning=60, test=30, seed=0) == parts


def test_bare_text() -> None:
    import wikisql_text

    row = _row(1, "year", "year", "host city")
    assert wikisql_text.bare(row) == (
        "year|host city\nQ1?\n",
        "select year where host city = 'rome'",
    )


def _measured(right: int) -> dict[str, Any]:
    marks = "1" * right + "0" * (100 - right)
    return {"questions": 100, "right": right, "marks": marks, "bytes": 2_000_000,
            "ms_per_question": 41.6, "peak_mb": 512.0, "program_mb": 400.0}  # fmt: skip


def test_tables(tmp_path: Path) -> None:
    import plan
    import tables

    sizes = plan.SMOKE
    places = plan.Places(tmp_path / "train.jsonl", tmp_path, tmp_path / "base")
    training = {"trainable": 1000, "total": 4000, "bytes": 5_000, "training_peak_mb": 900.0,
                "tokens_per_second": 2345.6, "examples": 64, "program_mb": 600.0}  # fmt: skip
    base = {"parameters": 6_000_000, "minutes": 21.8, "tokens": 8_100_000}
    results: dict[str, dict[str, Any]] = {}
    for step in plan.steps(places, sizes, pretrained=False):
        kind = step.task["do"]
        results[step.name] = {"train": training, "pretrain": base}.get(kind) or _measured(40)
    results["lora as nf4"] = _measured(38)
    text = tables.markdown(results, sizes, "python language_model.py")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert rows["LoRA"].startswith(
        "| LoRA | 1,000 (25.0 %) | 0.01 MB | float32 | 900 MB (+300) | 2,346 |"
    )
    assert rows["nf4"].endswith("| 512 MB (+112) | 42 | 38.0 ± 9.4 % | 2 of 100 |")
    assert len({line.count("|") for line in rows.values() if "LoRA" in line}) == 2
    assert {"full", "QLoRA (NF4)", "gguf-q4_0", "LoRA, then PTQ"} <= rows.keys()
