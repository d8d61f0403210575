"""A question's way to its answer. Read this file first.

    question ─ schema ─▶ Schema ─ linking ─▶ Links ─ translator ─▶ [Candidate]
             ─ execution ─▶ [Trial] ─ choosing ─▶ Answer

`Database.ask` is that line; every step is a function of its own room. Errors
are raised (see `plainsql.errors`); that nothing in the schema matches the
question, or that two readings are as good, is an answer with a status.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from plainsql.answer_text import answer_sentence
from plainsql.choosing import (
    Choice,
    Trial,
    alternatives_to,
    choose,
    confidence,
    is_ambiguous,
)
from plainsql.errors import ConnectError
from plainsql.questions import clean_question, refuse_foreign, refuse_sql
from plainsql.records import Answer, Candidate, Links, Rows, Status, ValueKind
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.stopwatch import Stopwatch
from plainsql.translators.base import Translator
from plainsql.translators.base import translator as translator_named
from plainsql.trying import failure, try_candidates

if TYPE_CHECKING:
    from plainsql.execution.base import Engine
    from plainsql.linking.embedding import WordVectors
    from plainsql.linking.value_index import ValueIndex
    from plainsql.ranking import Ranker

# Candidates asked of the translator, however few alternatives are shown: the
# right query is often among the first five and not the first.
CANDIDATES = 8


def connect(
    target: str | Path,
    *,
    schema: Schema | None = None,
    translator: str | Translator | None = None,
    settings: Settings | None = None,
) -> Database:
    """Open `target`, the path of an SQLite file, for questions. Nothing is ever written.

    `schema` goes before what is found in the file: say, the names of a tables.json.
    `translator` is a name or an object; by default the one in `settings`.
    Raises `ConnectError` for what isn't a readable database. The translator is
    loaded when the first question needs it.
    """
    from plainsql.execution.base import open_engine

    settings = settings or Settings()
    chosen = settings.translator if translator is None else translator
    return Database(open_engine(target), chosen, settings=settings, schema=schema)


class Database:
    """A database that can be asked. Made by `connect`; close it, or use it in `with`.

    The schema and the index of values are read on first use, and again when the
    file has changed.
    """

    def __init__(
        self,
        engine: Engine,
        translator: str | Translator,
        *,
        settings: Settings,
        schema: Schema | None,
    ) -> None:
        self.settings = settings
        self._wanted_translator = translator
        self.engine = engine
        self._given_schema = schema
        self._file = _file_of(engine)
        self._mark = _mark_of(self._file)
        self._closed = False

    def ask(
        self,
        question: str,
        *,
        limit: int | None = None,
        timeout: float | None = None,
        alternatives: int | None = None,
        execute: bool = True,
    ) -> Answer:
        """Answer `question` with the rows of the query chosen for it.

        At most `limit` rows are returned; the SQL of one question runs `timeout`
        seconds at most in all; `alternatives` other readings are listed. What is
        None comes from the settings. With `execute=False` the query is chosen by
        its score and not run; a question of which no word means anything in this
        database is `unanswerable`. Raises `QuestionError` for what isn't a question,
        `DeniedError` where the guard refuses every candidate, `ExecutionError`
        (or `QueryTimeout`) where none runs, `ConnectError` and `ModelError`.
        """
        settings = _with(self.settings, limit=limit, timeout=timeout, alternatives=alternatives)
        watch = Stopwatch()
        text = clean_question(question)
        refuse_foreign(text)
        self._refresh()
        with watch.stage("schema"):
            schema = self.schema
        refuse_sql(text, schema)
        with watch.stage("link"):
            links = self.link(text)
        with watch.stage("translate"):
            count = max(CANDIDATES, settings.alternatives + 1)
            candidates = self.translator.propose(text, schema, links, count)
        matched = anything_linked(links)
        with watch.stage("execute"):
            wanted = self._results_wanted(settings) if execute and matched else 0
            trials = self._try(candidates, wanted, settings)
        with watch.stage("choose"):
            choice = choose(trials, self._ranker)
        if matched and candidates and choice is None:
            raise failure(trials)
        if matched and choice is not None:
            return self._answer(text, trials, choice, settings, watch)
        return _unanswerable(text, trials, choice, watch, matched=matched)

    @cached_property
    def schema(self) -> Schema:
        """Tables, columns and keys. Raises `ConnectError`, `SchemaError`."""
        from plainsql.schema.enrich import enrich

        found = self.engine.introspect()
        return enrich(self._given_schema, found) if self._given_schema else found

    @cached_property
    def translator(self) -> Translator:
        """Who proposes the queries. Raises `UsageError` for a name nobody has, `ModelError`."""
        wanted = self._wanted_translator
        if isinstance(wanted, str):
            return translator_named(wanted, self.settings.model)
        return wanted

    def describe(self) -> str:
        """The schema as text for people: tables, columns, keys, sample values."""
        from plainsql.schema.render import as_text

        return as_text(self.schema)

    def link(self, question: str) -> Links:
        """Which words of `question` mean which tables, columns and values."""
        from plainsql.linking.link import link

        return link(question, self.schema, self._index, self._vectors)

    def close(self) -> None:
        """Close the database; asking it afterwards raises `ConnectError`."""
        self._closed = True
        self._forget()
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def _index(self) -> ValueIndex | None:
        """The cells that questions can name; only an SQLite file has an index."""
        from plainsql.linking.value_index import ValueIndex

        cache = self.settings.cache_dir or None
        return ValueIndex.open(self._file, self.schema, cache) if self._file else None

    @cached_property
    def _vectors(self) -> WordVectors | None:
        """Word vectors for synonyms: those the parser was trained with, whoever translates."""
        from plainsql.linking.embedding import WordVectors
        from plainsql.translators.parser.weights import weights_folder, word_table

        folder = getattr(self.translator, "folder", None)
        files = word_table(folder or weights_folder(self.settings.model))
        return WordVectors.open(*files) if files else None

    @cached_property
    def _ranker(self) -> Ranker | None:
        """The re-ranker beside the translator's weights, where it has one."""
        from plainsql.ranking import RANKER, Ranker

        folder = getattr(self.translator, "folder", None)
        return Ranker.load(folder / RANKER) if folder and (folder / RANKER).is_file() else None

    def _results_wanted(self, settings: Settings) -> int:
        """How many candidates must run: all that a re-ranker compares, or the first alone.

        An ambiguity shows in the rows of two.
        """
        if self._ranker is not None:
            return CANDIDATES
        return 2 if settings.ambiguity_margin else 1

    def _refresh(self) -> None:
        """Forget what was read of a file that has changed since."""
        if self._closed:
            raise ConnectError("The database was closed.", hint="Open it again with connect.")
        mark = _mark_of(self._file)
        if mark != self._mark:
            self._mark = mark
            self._forget()

    def _forget(self) -> None:
        self.__dict__.pop("schema", None)
        index = self.__dict__.pop("_index", None)
        if index is not None:
            index.close()

    def _try(self, candidates: Sequence[Candidate], wanted: int, settings: Settings) -> list[Trial]:
        return try_candidates(
            candidates,
            self.engine,
            self.schema,
            wanted=wanted,
            limit=settings.limit,
            timeout=settings.timeout,
        )

    def _answer(
        self,
        question: str,
        trials: Sequence[Trial],
        choice: Choice,
        settings: Settings,
        watch: Stopwatch,
    ) -> Answer:
        chosen, rows = trials[choice.index].candidate, trials[choice.index].rows
        shown = rows or Rows((), ())
        status = Status.NOT_EXECUTED if rows is None else Status.ANSWERED
        if is_ambiguous(trials, choice, settings.ambiguity_margin):
            status = Status.AMBIGUOUS
        return Answer(
            status,
            question,
            sql=chosen.sql,
            columns=shown.columns,
            rows=shown.rows,
            truncated=shown.truncated,
            answer=answer_sentence(chosen.sql, rows, self.schema) if rows else "",
            confidence=confidence(trials, choice),
            alternatives=alternatives_to(trials, choice)[: settings.alternatives],
            translator=chosen.translator,
            timing_ms=watch.read(),
            origins=chosen.origins,
        )


def anything_linked(links: Links) -> bool:
    """Whether some word of the question names something in the database.

    Numbers and dates alone don't count, they fit any database; nor do quoted
    or capitalised words that no cell holds.
    """
    return bool(links.names) or any(value.kind is ValueKind.CELL for value in links.values)


def _unanswerable(
    question: str,
    trials: Sequence[Trial],
    choice: Choice | None,
    watch: Stopwatch,
    *,
    matched: bool,
) -> Answer:
    """The answer that there is none. Its `sql` is a guess, made blindly and not run."""
    guess = trials[choice.index].candidate if choice else None
    reason = "No query was found for" if matched else "Nothing in this database matches"
    return Answer(
        Status.UNANSWERABLE,
        question,
        sql=guess.sql if guess else "",
        answer=f"{reason} the question.",
        translator=guess.translator if guess else "",
        timing_ms=watch.read(),
    )


def _with(settings: Settings, **changes: float | None) -> Settings:
    """`settings` with the changes that are not None. Raises `UsageError` out of range."""
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(settings, **given) if given else settings  # type: ignore[arg-type]


def _file_of(engine: Engine) -> Path | None:
    """The file behind an engine; None where there is a server."""
    path = getattr(engine, "path", None)
    return Path(path).resolve() if path is not None else None


def _mark_of(path: Path | None) -> tuple[tuple[int, int], ...]:
    """Size and time of a database file and its write-ahead log: changes when they do."""
    marks = []
    for file in () if path is None else (path, path.with_name(path.name + "-wal")):
        with suppress(FileNotFoundError):  # a log comes and goes with its writer
            status = file.stat()
            marks += [(status.st_size, status.st_mtime_ns)] if status.st_size else []
    return tuple(marks)
