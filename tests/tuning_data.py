"""A prepared folder of a few pairs over a real database, small enough for tests of training."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import CONCERTS

PAIRS = (
    ("How many singers are there?", "SELECT count(*) FROM singer"),
    ("How many concerts are there?", "SELECT count(*) FROM concert"),
    ("What are the names of singers?", "SELECT name FROM singer"),
    ("Which years had concerts?", "SELECT year FROM concert"),
    ("What are the titles?", "SELECT title FROM concert"),
    ("What countries?", "SELECT country FROM singer"),
)
SCHEMA = [
    {"table": "singer", "text": "singer (singer_id, name, country, age)", "rank": 0},
    {"table": "concert", "text": "concert (concert_id, title, year)", "rank": 1},
]


def row(question: str, sql: str, db: str = "concerts") -> dict[str, Any]:
    """One line of train.jsonl."""
    return {
        "instruction": "Translate the question into SQL.",
        "schema": SCHEMA,
        "question": question,
        "response": sql,
        "db": db,
        "evidence": "",
    }


def prepared(
    folder: Path,
    *,
    train: int = 24,
    validation: int = 6,
    databases: bool = True,
    style: str = "minimal",
) -> Path:
    """Write what `plainsql data prepare` writes; both sides hold the same pairs, repeated."""
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("validation", validation)):
        rows = [row(*PAIRS[i % len(PAIRS)]) for i in range(count)]
        text = "".join(json.dumps(item) + "\n" for item in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "rejected.jsonl").write_text("", encoding="utf-8")
    manifest = {
        "format_version": 1,
        "prompt": {"style": style, "max_input_tokens": 96, "max_output_tokens": 24},
        "sources": [],
        "databases": str(folder / "databases") if databases else "",
        "tables": "",
        "seed": 0,
        "splits": {"train": ["concerts"], "validation": ["concerts"]},
        "report": {"kept": train + validation},
    }
    (folder / "prepare.json").write_text(json.dumps(manifest), encoding="utf-8")
    if databases:
        (folder / "databases").mkdir()
        with closing(sqlite3.connect(folder / "databases" / "concerts.sqlite")) as connection:
            connection.executescript(CONCERTS)
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
