"""A question's way to its answer. Read this file first.

    question ─ schema ─▶ Schema ─ linking ─▶ Links ─ translator ─▶ [Candidate]
             ─ execution ─▶ [Trial] ─ choosing ─▶ Answer

`Database.ask` is that line; every step is a function of its own room. From the
translator to the choice it may be gone more than once: `rounds` says when. Errors
are raised (see `plainsql.errors`); that nothing in the schema matches the
question, or that two readings are as good, is an answer with a status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from plainsql.answer_text import answer_sentence
from plainsql.budget import Budget, within
from plainsql.choosing import alternatives_to, confidence, is_ambiguous
from plainsql.errors import ConnectError
from plainsql.execution.base import open_engine
from plainsql.execution.targets import parse_target
from plainsql.linking.index_columns import FIRST_QUESTION
from plainsql.questions import clean_question, refuse_foreign, refuse_sql
from plainsql.records import Answer, Links, Rows, Status, ValueKind
from plainsql.rounds import CANDIDATES, Asked, Rounds
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.stopwatch import Stopwatch
from plainsql.translators.base import ModelOptions, Translator
from plainsql.translators.base import translator as translator_named
from plainsql.trying import Trying, failure
from plainsql.value_source import Indexed, index_remarks, open_index, state_of

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.execution.base import Engine
    from plainsql.execution.targets import Target
    from plainsql.linking.embedding import WordVectors
    from plainsql.linking.index_columns import Budget as IndexBudget
    from plainsql.linking.index_columns import Done
    from plainsql.linking.retrieval import SchemaIndex
    from plainsql.linking.value_index import ValueIndex
    from plainsql.ranking import Ranker

__all__ = ["CANDIDATES", "Database", "anything_linked", "connect", "translator_of"]


def connect(
    target: str | Path,
    *,
    schema: Schema | None = None,
    translator: str | Translator | None = None,
    settings: Settings | None = None,
    access: Access | None = None,
    tables: Iterable[str] | None = None,
) -> Database:
    """Open `target`, a path or URL, for questions. Nothing is ever written.

    `schema` goes before what is found in the file: say, the names of a tables.json.
    `translator` is a name or an object; by default the one in `settings`.
    `access` is what may be read, by default what `settings` give to their role;
    `tables` narrows it further. Raises `UsageError` for a policy with mistakes in it
    (names that the database lacks show when its schema is first read), `ConnectError`
    for what isn't a readable database. The translator is loaded when the first
    question needs it. Large data files are converted here the first time, for as
    long as that takes, and kept in the `cache_dir` of the settings.
    """
    from plainsql.execution.access import Access

    settings = settings or Settings()
    found = parse_target(target)
    chosen = settings.translator if translator is None else translator
    if access is None:
        access = Access.from_settings(settings.policy, settings.role)
    access = access.narrowed(tables)
    engine = _opened(found, settings, access)
    return Database(engine, chosen, found, settings=settings, schema=schema, access=access)


def _opened(target: Target, settings: Settings, access: Access) -> Engine:
    """The engine of `target`; large data files are converted before its process starts."""
    if target.kind == "files":
        from plainsql.execution.files import prepare
        from plainsql.execution.limits import Limits

        prepare(replace(target, cache_dir=settings.cache_dir), Limits())
    return open_engine(target.url, tables=access.readable(None), cache_dir=settings.cache_dir)


def translator_of(settings: Settings) -> Translator:
    """Who translates by these settings. Raises `UsageError` for a name nobody has, `ModelError`."""
    options = ModelOptions(
        privacy=settings.privacy,
        examples=settings.examples,
        constrained=settings.constrained,
        cache_dir=settings.cache_dir,
        cache=settings.answer_cache,
    )
    return translator_named(
        settings.translator,
        settings.model,
        options=options,
        language_model=settings.language_model,
    )


class Database:
    """A database that can be asked. Made by `connect`; close it, or use it in `with`.

    The schema and the index of values are read on first use, and again when the
    file has changed.
    """

    def __init__(
        self,
        engine: Engine,
        translator: str | Translator,
        target: Target,
        *,
        settings: Settings,
        schema: Schema | None,
        access: Access,
    ) -> None:
        self.settings = settings
        self.access = access
        self._wanted_translator = translator
        self.engine = engine
        self._given_schema = schema
        self.target = target
        self._state = state_of(target)
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
        with within(Budget.lasting(settings.deadline, settings.token_budget)):
            return self._asked(question, settings, execute=execute)

    def _asked(self, question: str, settings: Settings, *, execute: bool) -> Answer:
        watch = Stopwatch()
        text = clean_question(question)
        refuse_foreign(text)
        self._refresh()
        with watch.stage("translate"):
            _ = self.translator  # first: the engine's process is starting meanwhile
        with watch.stage("schema"):
            schema = self.schema
        refuse_sql(text, schema)
        with watch.stage("link"):
            links = self.link(text)
        rounds = self._rounds(text, links, settings, watch)
        matched = anything_linked(links)
        rounds.run(execute=execute and matched, further=matched)
        if matched and rounds.trials and rounds.choice is None:
            raise failure(rounds.trials)
        if matched and rounds.choice is not None:
            return self._answer(rounds)
        return _unanswerable(rounds, matched=matched)

    @cached_property
    def schema(self) -> Schema:
        """Tables, columns and keys, as far as they may be read.

        Raises `ConnectError`, `SchemaError`, and `UsageError` for a policy that
        names what the database lacks.
        """
        self.access.check(self._whole_schema)
        return self.access.narrow(self._whole_schema)

    @cached_property
    def _whole_schema(self) -> Schema:
        """The schema whatever the policy: the guard applies one to the other."""
        from plainsql.schema.enrich import enrich

        found = self.engine.introspect()
        return enrich(self._given_schema, found) if self._given_schema else found

    @cached_property
    def translator(self) -> Translator:
        """Who proposes the queries. Raises `UsageError` for a name nobody has, `ModelError`."""
        wanted = self._wanted_translator
        if isinstance(wanted, str):
            return translator_of(replace(self.settings, translator=wanted))
        return wanted

    def describe(self) -> str:
        """The schema as text for people: tables, columns, keys, sample values."""
        from plainsql.schema.render import as_text

        return as_text(self.schema)

    def link(self, question: str) -> Links:
        """Which words of `question` mean which tables, columns and values."""
        from plainsql.linking.link import link

        return link(question, self.schema, self._index, self._vectors, self._retrieval)

    def remarks(self) -> tuple[str, ...]:
        """What of the database was not looked at so far, a sentence each."""
        index: ValueIndex | None = self.__dict__.get("_index")
        left_out = index_remarks(index, self.schema, self.settings) if index else ()
        return (*getattr(self.engine, "notes", ()), *left_out)

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
        """The cells that questions can name."""
        return self.index_values()

    def index_values(
        self,
        budget: IndexBudget = FIRST_QUESTION,
        *,
        refresh: bool = False,
        done: Done | None = None,
    ) -> ValueIndex:
        """The index of the values in the database; close it. Built within `budget` if need be.

        A first question does this by itself, within a few seconds; more time finds
        more on a large server. `done` is told of progress. Raises `ConnectError`.
        """
        found = Indexed(self.target, self.engine, self.schema, self._whole_schema, self.access)
        return open_index(found, self.settings, budget=budget, refresh=refresh, done=done)

    @cached_property
    def _retrieval(self) -> SchemaIndex | None:
        """The index that chooses among many tables; None where all can be looked at."""
        from plainsql.cache_folder import default_cache_dir
        from plainsql.linking.retrieval_build import is_large, open_index

        if not is_large(self.schema):
            return None
        return open_index(
            self.schema, self._vectors, self.settings.cache_dir or default_cache_dir()
        )

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

    def _refresh(self) -> None:
        """Forget what was read of a file that has changed since."""
        if self._closed:
            raise ConnectError("The database was closed.", hint="Open it again with connect.")
        state = state_of(self.target)
        if state != self._state:
            self._state = state
            self._forget()
            if self.target.kind in ("duckdb", "files"):  # which were read when they were opened
                self.engine.close()
                self.engine = _opened(self.target, self.settings, self.access)

    def _forget(self) -> None:
        self.__dict__.pop("schema", None)
        self.__dict__.pop("_retrieval", None)
        self.__dict__.pop("_whole_schema", None)
        index = self.__dict__.pop("_index", None)
        if index is not None:
            index.close()

    def _rounds(self, question: str, links: Links, settings: Settings, watch: Stopwatch) -> Rounds:
        whole = self._whole_schema
        asked = Asked(question, self.schema, links, whole, self._index)
        trying = Trying(self.engine, whole, self.access, settings.limit, settings.timeout)
        return Rounds(asked, self.translator, trying, settings, watch, self._ranker)

    def _answer(self, rounds: Rounds) -> Answer:
        trials, choice, settings = rounds.trials, rounds.choice, rounds.settings
        assert choice is not None
        chosen, rows = trials[choice.index].candidate, trials[choice.index].rows
        shown = rows or Rows((), ())
        status = Status.NOT_EXECUTED if rows is None else Status.ANSWERED
        if is_ambiguous(trials, choice, settings.ambiguity_margin):
            status = Status.AMBIGUOUS
        return Answer(
            status,
            rounds.asked.question,
            sql=chosen.sql,
            columns=shown.columns,
            rows=shown.rows,
            truncated=shown.truncated,
            answer=answer_sentence(chosen.sql, rows, self.schema) if rows else "",
            confidence=confidence(trials, choice),
            alternatives=alternatives_to(trials, choice)[: settings.alternatives],
            translator=chosen.translator,
            timing_ms=rounds.watch.read(),
            origins=rounds.origins,
            trace=tuple(rounds.trace),
        )


def anything_linked(links: Links) -> bool:
    """Whether some word of the question names something in the database.

    Numbers and dates alone don't count, they fit any database; nor do quoted
    or capitalised words that no cell holds.
    """
    return bool(links.names) or any(value.kind is ValueKind.CELL for value in links.values)


def _unanswerable(rounds: Rounds, *, matched: bool) -> Answer:
    """The answer that there is none. Its `sql` is a guess, made blindly and not run."""
    guess = rounds.trials[rounds.choice.index].candidate if rounds.choice else None
    reason = "No query was found for" if matched else "Nothing in this database matches"
    return Answer(
        Status.UNANSWERABLE,
        rounds.asked.question,
        sql=guess.sql if guess else "",
        answer=f"{reason} the question.",
        translator=guess.translator if guess else "",
        timing_ms=rounds.watch.read(),
        origins=rounds.origins,
        trace=tuple(rounds.trace),
    )


def _with(settings: Settings, **changes: float | None) -> Settings:
    """`settings` with the changes that are not None. Raises `UsageError` out of range."""
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(settings, **given) if given else settings  # type: ignore[arg-type]
