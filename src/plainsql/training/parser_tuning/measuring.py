"""Execution accuracy of a parser, in torch or exported, by the ordinary way of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from plainsql.ask import Database, connect
from plainsql.errors import ConnectError, MissingExtra, ModelError, PlainsqlError
from plainsql.evaluation.datasets import Example, database_paths
from plainsql.evaluation.report import Report
from plainsql.evaluation.run import Options, Prediction, evaluate
from plainsql.schema.model import Schema
from plainsql.settings import Settings, load_settings
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_stepper import TorchStepper
from plainsql.translators.base import Translator
from plainsql.translators.language_model.loading import ADAPTER_CONFIG
from plainsql.translators.parser.translator import ParserTranslator

TIMEOUT = 10.0  # seconds for a statement; a gold query that takes longer is left out


class Asking:
    """The ask flow with one translator, one database open at a time. Use as a context."""

    def __init__(self, translator: Translator, settings: Settings | None = None) -> None:
        self._translator = translator
        self._settings = settings or load_settings()
        self._path: Path | None = None
        self._database: Database | None = None

    def ask_one(self, path: Path, question: str, schema: Schema | None) -> Prediction:
        """One question; an error of plainsql's tree is a prediction without SQL.

        Raises `ModelError` and `MissingExtra`, which every question would.
        """
        try:
            answer = self._opened(path, schema).ask(question)
        except (ModelError, MissingExtra):
            raise
        except PlainsqlError as error:
            return Prediction("", error=error.message)
        return Prediction(answer.sql, error="" if answer.sql else answer.answer)

    def _opened(self, path: Path, schema: Schema | None) -> Database:
        if self._database is None or self._path != path:
            self.close()
            self._path = path
            self._database = connect(
                path, schema=schema, translator=self._translator, settings=self._settings
            )
        return self._database

    def close(self) -> None:
        """Close the open database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def measure(
    translator: Translator,
    examples: Sequence[Example],
    paths: Mapping[str, Path],
    schemas: Mapping[str, Schema] | None = None,
) -> Report:
    """Ask every example, over its database's own schema unless `schemas` has another."""
    with Asking(translator) as asking:
        return evaluate(
            examples,
            asking.ask_one,
            paths,
            schemas=schemas or {},
            options=Options(timeout=TIMEOUT),
        )


def predictions(
    source: str | Path, rows: Sequence[Mapping[str, Any]], root: str | Path
) -> list[str]:
    """The SQL of a parser on disk (exported, or an adapter on its base) for prepared rows.

    "" for a question without an answer, or whose database is not below `root`.
    """
    from plainsql.training.parser_tuning.folders import load_adapted
    from plainsql.translators.base import translator

    folder = Path(source).expanduser()
    with TemporaryDirectory(prefix="plainsql-ask-") as work:
        if (folder / "adapter").is_dir() or (folder / ADAPTER_CONFIG).is_file():
            adapted = load_adapted(folder, Path(work))
            asked: Translator = torch_translator(adapted.parser, adapted.base.folder)
        else:
            asked = translator(str(folder))
        with Asking(asked) as asking:
            return [_predicted(asking, row, str(root)) for row in rows]


def _predicted(asking: Asking, row: Mapping[str, Any], root: str) -> str:
    try:
        path = database_paths(Path(root), [row["db"]])[row["db"]]
    except ConnectError:
        return ""
    return asking.ask_one(path, row["question"], None).sql


def torch_translator(parser: ParserModel, folder: Path) -> ParserTranslator:
    """A translator that asks the torch model; tokenizer, vectors and re-ranker of `folder`."""
    return ParserTranslator(folder, model=TorchStepper(parser))
