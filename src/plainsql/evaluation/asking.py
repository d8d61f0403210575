"""The ask flow as a function for `evaluate`: one translator, one database open at a time."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from plainsql.ask import Database, connect
from plainsql.budget import OutOfBudget
from plainsql.errors import MissingExtra, ModelError, PlainsqlError
from plainsql.evaluation.run import Prediction
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.translators.base import Translator


class Asking:
    """Asks `translator` as a user would, over one database after another. A context.

    With `warm_up` the weights are loaded on entering and the index of values is built
    on opening a database, so that neither is in the time of a question. `settings` are
    those of `connect` where none are given.
    """

    def __init__(
        self, translator: Translator, settings: Settings | None = None, *, warm_up: bool = False
    ) -> None:
        self._translator = translator
        self._settings = settings
        self._warm_up = warm_up
        self._path: Path | None = None
        self._database: Database | None = None

    def ask_one(self, path: Path, question: str, schema: Schema | None) -> Prediction:
        """One question; an error of plainsql's tree is a prediction without SQL.

        So is running out of time or tokens. Raises `ModelError` and `MissingExtra`, which
        every question would.
        """
        database = self._opened(path, schema)
        start = time.perf_counter()
        try:
            answer = database.ask(question)
        except OutOfBudget as error:
            return Prediction("", ms=_ms_since(start), error=error.message)
        except (ModelError, MissingExtra):
            raise
        except PlainsqlError as error:
            return Prediction("", ms=_ms_since(start), error=error.message)
        others = tuple(other.sql for other in answer.alternatives)
        return Prediction(
            answer.sql, others, _ms_since(start), error="" if answer.sql else answer.answer
        )

    def _opened(self, path: Path, schema: Schema | None) -> Database:
        if self._database is None or self._path != path:
            self._close()
            self._path = path
            self._database = connect(
                path, schema=schema, translator=self._translator, settings=self._settings
            )
            if self._warm_up:
                self._database.link("warm up")
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        if self._warm_up:  # translators without weights have nothing to load
            getattr(self._translator, "warm_up", lambda: None)()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()


def _ms_since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
