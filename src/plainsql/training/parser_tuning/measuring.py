"""Execution accuracy of a parser, in torch or exported, by the ordinary way of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plainsql.errors import ConnectError
from plainsql.evaluation.asking import Asking
from plainsql.evaluation.datasets import Example, database_paths
from plainsql.evaluation.report import Report
from plainsql.evaluation.run import Options, evaluate
from plainsql.schema.model import Schema
from plainsql.settings import load_settings
from plainsql.training.parser_model import ParserModel
from plainsql.training.parser_stepper import TorchStepper
from plainsql.translators.base import Translator
from plainsql.translators.language_model.loading import ADAPTER_CONFIG
from plainsql.translators.parser.translator import ParserTranslator

TIMEOUT = 10.0  # seconds for a statement; a gold query that takes longer is left out


def measure(
    translator: Translator,
    examples: Sequence[Example],
    paths: Mapping[str, Path],
    schemas: Mapping[str, Schema] | None = None,
) -> Report:
    """Ask every example, over its database's own schema unless `schemas` has another."""
    with Asking(translator, load_settings()) as asking:
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
        with Asking(asked, load_settings()) as asking:
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
