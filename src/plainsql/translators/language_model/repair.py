"""What was wrong with a model's queries, as it is told when it is asked again.

    attempts ─ failed_of ─▶ Failed (the query, and remarks) ─ build_prompt ─▶ turns or sections

Messages of an engine and the nearest names are data: they stand behind `--`, a line each.
They may also repeat cells of the database ('could not convert "Smith" to a number'), which
a server is told of only where it may see samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from plainsql.records import Attempt
from plainsql.schema.model import Schema
from plainsql.translators.language_model.fencing import defused
from plainsql.translators.language_model.prompts import Failed

MOST_ATTEMPTS = 3  # told of; the last ones
MOST_NAMES = 12
MAX_NAME = 80
HIDDEN = "…"

# A mark with a letter behind it closes nothing: 'O'Brien'.
_QUOTED = re.compile(r"(?:'([^'\"`]*)'|\"([^'\"`]*)\"|`([^'\"`]*)`)(?!\w)")
_QUOTE = re.compile(r"['\"`“”‘’]")
_NUMBER = re.compile(r"[-+]?\d[\d.,:eE+-]*")


def failed_of(attempts: Sequence[Attempt]) -> tuple[Failed, ...]:
    """The attempts as a prompt holds them: each query once, the last few."""
    by_sql = {attempt.candidate.sql: attempt for attempt in attempts}
    return tuple(
        Failed(sql, tuple(_remarks(attempt)))
        for sql, attempt in list(by_sql.items())[-MOST_ATTEMPTS:]
    )


def _remarks(attempt: Attempt) -> Iterable[str]:
    yield f"It did not do: {attempt.problem}"
    if attempt.names:
        shown = (defused(name, MAX_NAME) for name in attempt.names[:MOST_NAMES])
        yield f"What is there: {', '.join(shown)}"


def without_cells(
    attempts: Sequence[Attempt], name: str, question: str, schema: Schema
) -> list[Attempt]:
    """The attempts without what only the rows of the database can have told.

    Queries of other translators than `name` may hold cells as literals and are left out;
    of names those stay that the schema has; in messages, what is in quotes or a number
    stays where the query, the question or the schema says it too.
    """
    names = _names_of(schema)
    kept = []
    for attempt in attempts:
        if attempt.candidate.translator != name:
            continue
        known = f"{attempt.candidate.sql}\n{question}".lower()
        problem = _without_cells(attempt.problem, known, names)
        nearest = tuple(near for near in attempt.names if _unquoted(near) in names)
        kept.append(Attempt(attempt.candidate, problem, nearest))
    return kept


def _names_of(schema: Schema) -> frozenset[str]:
    tables = {name for table in schema.tables for name in (table.name, table.bare_name)}
    columns = {name for c in schema.columns for name in (c.name, f"{c.table}.{c.name}")}
    return frozenset(name.lower() for name in tables | columns)


def _unquoted(name: str) -> str:
    return re.sub(r"[\"`\[\]]", "", name).lower()


def _without_cells(message: str, known: str, names: frozenset[str]) -> str:
    """`message` with what isn't known hidden.

    A cell may hold quotes of its own: from the first quoted text that isn't known on, all is
    hidden up to the last quote of the message.
    """
    start = 0
    for quoted in _QUOTED.finditer(message):
        text = next((group for group in quoted.groups() if group is not None), "")
        # What follows an odd quote is not what it seems to be.
        if _QUOTE.search(message, start, quoted.start()) or not _is_known(text, known, names):
            break
        start = quoted.end()
    ends = [mark.end() for mark in _QUOTE.finditer(message, start)]
    if ends:
        first = _QUOTE.search(message, start)
        begin = first.start() if first else start
        message = f"{message[:begin]}{HIDDEN}{message[ends[-1] :]}"
    return _NUMBER.sub(
        lambda number: number[0] if number[0].strip(".,:") in known else HIDDEN, message
    )


def _is_known(text: str, known: str, names: frozenset[str]) -> bool:
    text = text.lower()
    if text in names:
        return True
    return bool(re.search(r"\w", text) and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", known))
