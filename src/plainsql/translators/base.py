"""The door every translator comes through: one method, `propose`.

Translators are found by name: the built-in ones in `BUILT_IN`, others through
the entry-point group `plainsql.translators`, whose entries name a callable
without arguments that returns a `Translator`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from plainsql.errors import UsageError
from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "plainsql.translators"
BUILT_IN = {"parser": "plainsql.translators.parser.translator:ParserTranslator"}


@runtime_checkable
class Translator(Protocol):
    """Turns a question into candidate queries. The same input gives the same output."""

    @property
    def name(self) -> str:
        """The name it is asked for by, and reported with in answers."""

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        """At most `n` candidates, best first; none where nothing fits.

        `links` is what linking found in `question` against `schema`. Raises
        `ModelError` where the model can't be loaded.
        """


def translator(name: str, model: str = "") -> Translator:
    """The translator called `name`, imported now. Raises `UsageError` for no such name.

    `model` is the folder of weights that a built-in one uses, "" for those it ships with.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        make = getattr(import_module(module), attribute)
        return cast(Translator, make(Path(model).expanduser()) if model else make())
    for entry in _registered():
        if entry.name == name:
            return cast(Translator, entry.load()())
    known = ", ".join(translator_names())
    raise UsageError(f"There is no translator {name!r}.", hint=f"Translators: {known}.")


def translator_names() -> list[str]:
    """Names that `translator` accepts, sorted."""
    return sorted({*BUILT_IN, *(entry.name for entry in _registered())})


def _registered() -> tuple[EntryPoint, ...]:
    """The entry points of installed packages (importing their reader takes 35 ms)."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINTS))
