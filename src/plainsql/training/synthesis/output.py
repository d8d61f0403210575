"""One row of synthetic data and how files of them are written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NOT_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its query. `db` is the SQLite file, "" where there are no cells."""

    db: str
    db_id: str
    question: str
    query: str
    source: str
    schema: dict[str, Any] | None = None  # in JSON form, where there is no file
    tree: str = ""  # repr of the query tree, where SQL alone does not say it

    def row(self) -> dict[str, Any]:
        """The JSON object of the pair, without what is empty."""
        row: dict[str, Any] = {
            "db": self.db,
            "db_id": self.db_id,
            "question": self.question,
            "query": self.query,
            "source": self.source,
        }
        if self.schema is not None:
            row["schema"] = self.schema
        if self.tree:
            row["tree"] = self.tree
        return row


def write_pairs(path: Path, pairs: Iterable[Pair]) -> int:
    """Writes one JSON object a line; the file appears only when it is whole."""
    lines = [json.dumps(pair.row(), ensure_ascii=False) for pair in pairs]
    write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)


def write_text(path: Path, text: str) -> None:
    """Writes under another name, then renames: readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def question_key(question: str) -> str:
    """Equal for questions that differ in case, blanks and punctuation only."""
    return _NOT_WORD.sub(" ", question.lower()).strip()
