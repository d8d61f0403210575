"""The scratch file between the two passes: examples that are checked and not yet split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from plainsql.training.data.examples import Example, Shown
from plainsql.translators.language_model.schema_text import Block


@dataclass(frozen=True, slots=True)
class View:
    """The schema of an example as one side shows it; see `examples.Shown`."""

    schema: list[dict[str, Any]]  # `Block.row()` of each
    prompt_tokens: int
    schema_cut: bool
    too_long: bool
    lost: bool

    @classmethod
    def of(cls, shown: Shown) -> View:
        """What is to be written of `shown`."""
        measured = (shown.prompt_tokens, shown.schema_cut, shown.too_long, shown.lost)
        return cls(_rows(shown.blocks), *measured)


def _shallow(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _rows(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    return [block.row() for block in blocks]


@dataclass(frozen=True, slots=True)
class Spooled:
    """One example with what the second pass must know of it."""

    source: int  # a position among the sources
    group: int  # a number of `splits.Groups`
    validation: bool  # it comes from a source for validation
    scope: str  # its database, or the first of its tables
    response_tokens: int
    row: dict[str, Any]  # without its schema
    in_use: View
    in_training: View | None  # None: as in use

    @classmethod
    def of(
        cls, example: Example, dialect: str, *, source: int, group: int, validation: bool
    ) -> Spooled:
        """The example as it is spooled."""
        same = example.in_training is example.in_use
        return cls(
            source,
            group,
            validation,
            example.known.signatures[0],
            example.response_tokens,
            example.row((), dialect),
            View.of(example.in_use),
            None if same else View.of(example.in_training),
        )

    def line(self) -> str:
        """The example as one line of JSON."""
        # not `asdict`: it copies what is within, which takes longer than writing it
        return json.dumps(_shallow(self), default=_shallow) + "\n"

    def view(self, *, train: bool) -> View:
        """The schema as it is shown on one side."""
        return self.in_training if train and self.in_training is not None else self.in_use


def read_spool(path: Path) -> Iterator[Spooled]:
    """The examples of the scratch file, one at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            form = json.loads(line)
            form["in_use"] = View(**form["in_use"])
            if form["in_training"] is not None:
                form["in_training"] = View(**form["in_training"])
            yield Spooled(**form)
