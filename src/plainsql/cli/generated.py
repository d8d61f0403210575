"""How plainsql generate prints what a model wrote for one question."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plainsql.cli.output import emit, print_json, print_rows
from plainsql.records import SCHEMA_VERSION, cell_json

if TYPE_CHECKING:
    from plainsql.choosing import Trial
    from plainsql.evaluation.writing import Written


def print_written(
    written: Written,
    trial: Trial | None,
    model: str,
    flags: dict[str, Any],
) -> None:
    """The SQL, the whole texts (--raw) or one object (--json); the rows of `trial`."""
    if flags["as_json"]:
        print_json(_as_object(written, trial, model, flags))
        return
    if flags["raw"]:
        for text in () if flags["stream"] else written.texts:
            emit(text.text)
    elif trial is None:
        _print_candidates(written)
    if trial is not None and trial.rows is not None:
        if not flags["raw"]:
            emit(trial.candidate.sql)
        emit()
        print_rows(trial.rows.columns, trial.rows.rows)


def _print_candidates(written: Written) -> None:
    """The SQL; several with their scores."""
    if len(written.candidates) == 1:
        emit(written.candidates[0].sql)
        return
    for candidate in written.candidates:
        emit(f"{candidate.score:8.3f}  {candidate.sql}")


def _as_object(
    written: Written,
    trial: Trial | None,
    model: str,
    flags: dict[str, Any],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "status": "generated" if written.candidates else "no_sql",
        "model": model,
        "question": written.example.question,
        "sql": written.candidates[0].sql if written.candidates else "",
        "candidates": [{"sql": c.sql, "score": c.score} for c in written.candidates],
        "texts": [asdict(text) for text in written.texts],
    }
    if flags["show_prompt"] and written.prompt is not None:
        found["prompt"] = written.prompt.text
    if trial is not None and trial.rows is not None:
        rows = trial.rows
        plain = [list(map(cell_json, row)) for row in rows.rows]
        found |= {"sql": trial.candidate.sql, "columns": list(rows.columns), "rows": plain}
        found["truncated"] = rows.truncated
    return found
