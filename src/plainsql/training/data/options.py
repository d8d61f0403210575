"""What `data prepare` can be told, each thing documented once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlglot.dialects.dialect import Dialect

from plainsql.errors import UsageError
from plainsql.evaluation.datasets import SUFFIXES
from plainsql.training.data.formats import AUTO
from plainsql.training.data.splits import BY
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import STYLES
from plainsql.translators.language_model.schema_text import FORMS

# Lengths that suit a model on one small GPU; those of a PromptFormat by default.
PRESETS = {"colab": {"max_input_tokens": 384, "max_output_tokens": 128}}


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What to prepare, and how. Raises `UsageError` for what makes no sense."""

    sources: tuple[str, ...]  # files, folders or Hub ids
    out: Path
    validation: tuple[str, ...] = ()  # sources that are only validated on
    format: str = AUTO  # a name in formats.FORMATS
    hub_split: str = "train"  # of sources of the Hub
    databases: Path | None = None  # a folder: DIR/<db>/<db>.sqlite or DIR/<db>.sqlite
    db: Path | None = None  # the database of all rows that name none
    tables: Path | None = None  # schemas in the form of Spider's tables.json
    prompt: PromptFormat = field(default_factory=PromptFormat)
    tokenizer: str = ""  # measures lengths; "" estimates them
    validation_fraction: float = 0.1
    validation_dbs: tuple[str, ...] = ()
    split_by: str = "database"  # "query" where there is one database only
    evidence: bool = False  # keep BIRD's notes
    execute: bool = True  # run each query on its database, where there is one
    timeout: float = 10.0  # seconds for one query
    strict: bool = False  # stop at the first bad row
    limit: int | None = None  # rows of each source
    seed: int = 0
    force: bool = False  # replace what was prepared before
    cache_dir: str = ""  # of value indexes; "" is the user's cache folder
    model: str = ""  # folder of the parser whose word vectors link; "" is the shipped one

    def __post_init__(self) -> None:
        _check_form(self.prompt)
        if not self.sources:
            raise UsageError("There is nothing to prepare.", hint="Name a file or a Hub id.")
        if self.db is not None and self.databases is not None:
            raise UsageError("Give --db or --databases, not both.")
        if self.db is not None and self.db.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"{self.db.name}: not the name of an SQLite file.",
                hint=f"Its name must end in {', '.join(SUFFIXES)}.",
            )
        if self.validation and self.validation_dbs:
            raise UsageError("Give --validation or --validation-db, not both.")
        if self.split_by not in BY:
            raise UsageError(
                f"No way to split by {self.split_by!r}.", hint=f"Use {' or '.join(BY)}."
            )
        if self.validation_dbs and self.split_by != "database":
            raise UsageError("--validation-db splits by database: leave --split-by out.")
        if not 0 <= self.validation_fraction < 1:
            raise UsageError(
                f"A validation fraction of {self.validation_fraction} makes no sense.",
                hint="Give --validation-fraction a number from 0 to below 1.",
            )

    @property
    def folder(self) -> Path | None:
        """The folder of the databases."""
        return self.db.parent if self.db is not None else self.databases

    @property
    def default_db(self) -> str:
        """The name of the database of rows that name none, "" without one."""
        return self.db.stem if self.db is not None else ""


def _check_form(form: PromptFormat) -> None:
    """Raise `UsageError` for a style, form or dialect that nobody knows."""
    if form.style not in STYLES:
        raise UsageError(
            f"There is no prompt style {form.style!r}.", hint=f"Styles: {', '.join(STYLES)}."
        )
    if form.schema_form not in FORMS:
        raise UsageError(
            f"There is no schema form {form.schema_form!r}.", hint=f"Forms: {', '.join(FORMS)}."
        )
    try:
        Dialect.get_or_raise(form.dialect)
    except ValueError as error:
        raise UsageError(
            f"There is no SQL dialect {form.dialect!r}.", hint="Say, sqlite, postgres or mysql."
        ) from error
