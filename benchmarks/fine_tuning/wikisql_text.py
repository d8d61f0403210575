"""WikiSQL, divided by tables into three parts that share none, and its text for pre-training.

    pretraining   a question over the bare names of columns, answered in shorthand
    tuning        examples for `plainsql data prepare`: DDL, an instruction, real SQL
    test          as tuning

Tables with the same columns go to the same part, whatever their ids.
Data: https://github.com/salesforce/WikiSQL (Zhong et al. 2017, arXiv 1709.00103).
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows of WikiSQL; no set of columns is in two parts."""

    pretraining: list[Row]
    tuning: list[Row]
    test: list[Row]


def read_rows(path: Path) -> list[Row]:
    """The questions of a WikiSQL file with `question`, `query` and `columns`, in lower case.

    The gold values differ from the questions in case at random, and WikiSQL's own measure
    of accuracy ignores it.
    """
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line.lower()) for line in lines]


def divide(rows: Iterable[Row], *, tuning: int, test: int, seed: int) -> Parts:
    """Whole tables at random for `test` and `tuning` rows, the rest for pre-training."""
    tables: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        tables[tuple(sorted(set(row["columns"])))].append(row)
    groups = [tables[key] for key in sorted(tables)]
    random.Random(seed).shuffle(groups)
    waiting = iter(groups)
    return Parts(
        test=_shuffled(_take(waiting, test), seed)[:test],
        tuning=_shuffled(_take(waiting, tuning), seed)[:tuning],
        pretraining=[row for group in waiting for row in group],
    )


def _take(groups: Iterable[list[Row]], wanted: int) -> list[Row]:
    taken: list[Row] = []
    for group in groups:
        taken += group
        if len(taken) >= wanted:
            break
    return taken


def _shuffled(rows: list[Row], seed: int) -> list[Row]:
    """In an order of chance, so that a part of the first rows stands for all."""
    return random.Random(seed).sample(rows, len(rows))


def bare(row: Row) -> tuple[str, str]:
    """The prompt and answer of pre-training: names without types, SQL without quotes or FROM.

    `year|host` / `when was it in rome?` / `select year where host = 'rome'`
    """
    columns = "|".join(dict.fromkeys(row["columns"]))
    answer = row["query"].replace(' from "table"', "").replace('"', "")
    return f"{columns}\n{row['question']}\n", answer


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """A file that `plainsql data prepare` reads."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
