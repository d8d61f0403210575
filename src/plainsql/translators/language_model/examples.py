"""Verified questions as examples in a prompt: read from a file, chosen by likeness.

    {"question": "How many singers are there?", "sql": "SELECT count(*) FROM singer"}

is one line of such a file; a JSON array of the same objects and a CSV with such columns
will do too. Likeness is that of questions whose words for this database are masked:
"How many ◦ are from ◦?" is like "How many ◦ are in ◦?" whatever they ask about (DAIL-SQL,
arXiv 2308.15363, masked question similarity). note: by BM25 over words (SQLite's FTS5)
rather than by embeddings, and the unmasked words count too, half as much: among questions
of one form those about the same tables help most.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from plainsql.entries import Entry, entries
from plainsql.errors import UsageError
from plainsql.records import Links
from plainsql.schema.model import Schema
from plainsql.translators.language_model.prompts import MAX_SQL, Shot

MOST_SHOWN = 3
MOST_READ = 100_000  # entries of a file
_LOOKED_AT = 30  # of the likest, for some that can be shown
_SQL = ("sql", "query", "SQL")
_HINT = 'An example is {"question": "…", "sql": "SELECT …"}, one on each line of a .jsonl file.'

_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|“([^”]+)”")
_LITERAL = re.compile(r"'((?:[^']|'')+)'")
_NAME, _VALUE = "zzname", "zzvalue"


def read_examples(path: Path) -> tuple[Shot, ...]:
    """All examples of the file, in order. Raises `UsageError` naming the line at fault."""
    found = []
    for entry in entries(path):
        found.append(_shot(entry, path))
        if len(found) > MOST_READ:
            raise UsageError(f"{path}: more than {MOST_READ:,} examples.", hint="Keep the best.")
    return tuple(found)


def _shot(entry: Entry, path: Path) -> Shot:
    place = f"{path}, line {entry.line}"
    if entry.error:
        raise UsageError(f"{place}: {entry.error}", hint=_HINT)
    if not isinstance(entry.value, Mapping):
        raise UsageError(f"{place}: not an object with fields.", hint=_HINT)
    question, sql = _text(entry.value, ("question",)), _text(entry.value, _SQL)
    if not question or not sql:
        missing = "SQL" if question else "question"
        raise UsageError(f"{place}: the example has no {missing}.", hint=_HINT)
    return Shot(question, sql)


def _text(fields: Mapping[object, object], names: Iterable[str]) -> str:
    values = (fields.get(name) for name in names)
    return next((value.strip() for value in values if isinstance(value, str)), "")


class Examples:
    """The examples of one file, read again when it changes. Safe across threads."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).expanduser()
        self._lock = threading.Lock()
        self._shots: tuple[Shot, ...] = ()
        self._state: tuple[int, int] | None = None
        self._index: tuple[Schema, sqlite3.Connection] | None = None

    def nearest(
        self, question: str, schema: Schema, links: Links, most: int = MOST_SHOWN
    ) -> tuple[Shot, ...]:
        """At most `most` examples, the likest last, where a model pays most heed to it.

        One whose SQL is no query, or names a table that `schema` lacks, is passed over.
        Raises `UsageError` for a file that can't be read.
        """
        with self._lock:
            index = self._indexed(schema)
            rows = index.execute(_NEAREST, (_query(question, schema, links), _LOOKED_AT))
            likest = [self._shots[at - 1] for (at,) in rows]
        found: list[Shot] = []
        for shot in likest:
            if len(found) < most and len(shot.sql) <= MAX_SQL and _fits(shot, schema):
                found.append(shot)
        return tuple(reversed(found))

    def _indexed(self, schema: Schema) -> sqlite3.Connection:
        """The index over the file as it is now, with the words of `schema` masked."""
        state = self._stat()
        if state != self._state:
            self._shots, self._state = read_examples(self._path), state
            self._forget()
        if self._index is None or self._index[0] is not schema:
            self._forget()
            self._index = (schema, _index(self._shots, schema))
        return self._index[1]

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None  # reading it says why
        return found.st_mtime_ns, found.st_size

    def _forget(self) -> None:
        if self._index is not None:
            self._index[1].close()
        self._index = None

    def __del__(self) -> None:
        self._forget()


_NEAREST = (
    "SELECT rowid FROM shots WHERE shots MATCH ? ORDER BY bm25(shots, 2.0, 1.0), rowid LIMIT ?"
)


def _index(shots: Iterable[Shot], schema: Schema) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE VIRTUAL TABLE shots USING fts5(masked, said, tokenize='porter')")
    known = _words_of(schema)
    rows = (
        (masked(shot.question, known, _LITERAL.findall(shot.sql)), shot.question) for shot in shots
    )
    connection.executemany("INSERT INTO shots VALUES (?, ?)", rows)
    return connection


def _query(question: str, schema: Schema, links: Links) -> str:
    """What FTS5 is asked: any of the words, masked in the one column, as said in the other."""
    words = links.question.words
    spans = (words[value.start : value.end] for value in links.values if value.end > value.start)
    values = [question[span[0].start : span[-1].end] for span in spans if span]
    columns = (("masked", masked(question, _words_of(schema), values)), ("said", question))
    return " OR ".join(f"{column} : ({_any(text)})" for column, text in columns)


def _any(text: str) -> str:
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return " OR ".join(f'"{word}"' for word in words) or '""'


def masked(question: str, known: frozenset[str], values: Iterable[str] = ()) -> str:
    """The words of a question without what they ask about: names become one word, values another.

    `known` are the words that tables and columns are named with, `values` texts in the
    question that are values of the database.
    """
    text = _QUOTED.sub(f" {_VALUE} ", question)
    for value in sorted(values, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", f" {_VALUE} ", text, flags=re.I)
    return " ".join(_mask(word, known) for word in _WORD.findall(text))


def _mask(word: str, known: frozenset[str]) -> str:
    if word[0].isdigit():
        return _VALUE
    return _NAME if _stem(word) in known else word


def _words_of(schema: Schema) -> frozenset[str]:
    """The words of all tables and columns of a schema."""
    tables = (table.natural for table in schema.tables)
    columns = (column.natural for column in schema.columns)
    return frozenset(_stem(word) for name in (*tables, *columns) for word in _WORD.findall(name))


def _stem(word: str) -> str:
    return word.lower().removesuffix("s")


def _fits(shot: Shot, schema: Schema) -> bool:
    """Whether the SQL is a query over tables that are there, and may be read."""
    from plainsql.logical_form.table_names import tables_in

    named = tables_in(shot.sql, schema.dialect)
    there = {name.lower() for table in schema.tables for name in (table.name, table.bare_name)}
    return named is not None and named <= there
