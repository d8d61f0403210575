"""Questions with their gold SQL, and the databases they are about.

Read are Spider's JSON (`db_id, question, query`), BIRD's JSON (`db_id, question,
SQL, evidence, difficulty`), and JSON Lines or CSV with the same names in any
case (`question`, `sql` or `query`, `db` or `db_id`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainsql.entries import entries
from plainsql.errors import ConnectError, UsageError

SUFFIXES = (".sqlite", ".db", ".sqlite3")

# The names of a field in the forms that are read, the likeliest first.
QUESTION = ("question",)
SQL = ("query", "SQL", "sql")  # `query` first: in Spider's own files `sql` is a parse, not text
DATABASE = ("db_id", "db")
EVIDENCE = ("evidence",)


@dataclass(frozen=True, slots=True)
class Example:
    """One question over the database `db`, with the SQL that answers it."""

    question: str
    sql: str
    db: str
    evidence: str = ""  # BIRD's hint of outside knowledge
    difficulty: str = ""  # the data set's own level, "" where it has none
    position: int = 0  # its place in the file, from 0

    def text(self, *, with_evidence: bool) -> str:
        """The question, followed by its evidence where there is some and it is wanted."""
        return f"{self.question} {self.evidence}".strip() if with_evidence else self.question


def load_dataset(path: Path, *, need_sql: bool = True) -> tuple[Example, ...]:
    """All examples of a .json, .jsonl or .csv file, in file order.

    Raises UsageError when the file is missing, empty, of another form, or when
    an entry lacks a question, its database or, unless it isn't needed, its SQL.
    """
    found = list(entries(path))
    for entry in found:
        if entry.error:
            fault = f"line {entry.line}: {entry.error}"
            raise UsageError(f"{path}: not a readable {path.suffix} file: {fault}")
    if not found:
        raise UsageError(f"{path}: the data set is empty.")
    return tuple(_example(entry.value, n, path, need_sql) for n, entry in enumerate(found, 1))


def _example(entry: object, number: int, path: Path, need_sql: bool) -> Example:
    place = f"{path.name}, entry {number}"
    if not isinstance(entry, dict):
        raise UsageError(f"{place}: expected an object with question, query and db_id.")
    return Example(
        question=_required(entry, QUESTION, place),
        sql=_required(entry, SQL, place) if need_sql else text_field(entry, SQL),
        db=_required(entry, DATABASE, place),
        evidence=text_field(entry, EVIDENCE),
        difficulty=text_field(entry, ("difficulty",)),
        position=number - 1,
    )


def text_field(entry: Mapping[Any, Any], names: Sequence[str]) -> str:
    """The first of the fields that holds text, whatever the case of its name."""
    by_name = {str(key).strip().lower(): value for key, value in entry.items()}
    found = (entry.get(name) or by_name.get(name.lower()) for name in names)
    return next((value.strip() for value in found if isinstance(value, str)), "")


def _required(entry: Mapping[Any, Any], names: Sequence[str], place: str) -> str:
    value = text_field(entry, names)
    if not value:
        raise UsageError(
            f"{place}: no {names[0]}.",
            hint="Each entry needs question, query (or sql) and db_id (or db).",
        )
    return value


def select(
    examples: Sequence[Example],
    *,
    only: Collection[str] = (),
    exclude: Collection[str] = (),
    limit: int | None = None,
) -> tuple[Example, ...]:
    """The examples over some databases, at most `limit`, in order.

    Raises UsageError for a database that no example is about, and when nothing is left.
    """
    known = {example.db for example in examples}
    for name in (*only, *exclude):
        if name not in known:
            raise UsageError(
                f"No question is about a database {name!r}.",
                hint=f"The data set has: {', '.join(sorted(known)[:20])}.",
            )
    chosen = [e for e in examples if (not only or e.db in only) and e.db not in exclude]
    if not chosen[:limit]:
        raise UsageError("No questions are left to evaluate.", hint="Relax the filters.")
    return tuple(chosen[:limit])


def database_paths(root: Path, names: Iterable[str]) -> dict[str, Path]:
    """The file of each database: ROOT/<db>/<db>.sqlite or ROOT/<db>.sqlite.

    Raises ConnectError naming all that are missing, before any question is asked.
    """
    found = {name: database_path(root, name) for name in dict.fromkeys(names)}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise ConnectError(
            f"No database file for {shown} under {root}.",
            hint=f"Expected {root}/{missing[0]}/{missing[0]}.sqlite or {root}/{missing[0]}.sqlite.",
        )
    return {name: path for name, path in found.items() if path is not None}


def database_path(root: Path, name: str) -> Path | None:
    """The file of the database `name` under `root`, None where there is none."""
    places = (root / name / f"{name}{suffix}" for suffix in SUFFIXES)
    flat = (root / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in (*places, *flat) if path.is_file()), None)
