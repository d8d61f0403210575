"""The door every translator comes through: one method, `propose`.

Translators are found by name: the built-in ones in `BUILT_IN`, others through
the entry-point group `plainsql.translators`, whose entries name a callable
without arguments that returns a `Translator`. A folder with a model is a
translator too, be it a tuned parser or a language model, and so is a model on
the Hugging Face Hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from plainsql.errors import ModelError, UsageError
from plainsql.records import Candidate, Links
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "plainsql.translators"
BUILT_IN = {"parser": "plainsql.translators.parser.translator:ParserTranslator"}
LANGUAGE_MODEL = "plainsql.translators.language_model.translator:LanguageModelTranslator"
SERVER = "plainsql.translators.language_model.server_translator:ServerTranslator"
SERVER_PREFIX = "openai:"
PARSER_FILE = "manifest.json"  # what the folder of an exported parser holds
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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


def translator(name: str, model: str = "", *, privacy: str = "schema") -> Translator:
    """The translator called `name`, imported now. Raises `UsageError` for no such name.

    `name` is a built-in or registered one, `openai:MODEL@URL` for a model on a server
    (which is shown what `privacy` permits), else the folder of a model (also the one
    that `plainsql train` wrote), else a Hub id as OWNER/NAME. `model` is the folder of
    weights that a built-in one uses, "" for those it ships with. Language models are
    loaded when they are first asked.
    """
    if name in BUILT_IN:
        made = _load(BUILT_IN[name])(*([Path(model).expanduser()] if model else []))
        return cast(Translator, made)
    if name.startswith(SERVER_PREFIX):
        return cast(Translator, _load(SERVER)(name, privacy=privacy))
    for entry in _registered():
        if entry.name == name:
            return cast(Translator, entry.load()())
    if name and Path(name).expanduser().is_dir():
        return _from_folder(name)
    if _HUB_ID.fullmatch(name):
        return cast(Translator, _load(LANGUAGE_MODEL)(name))
    known = ", ".join(translator_names())
    raise UsageError(
        f"There is no translator {name!r}.",
        hint=f"Translators: {known}; the folder of a model; a model on the Hub as OWNER/NAME;"
        " one on a server as openai:MODEL@URL.",
    )


def _load(place: str) -> Callable[..., Any]:
    module, _, attribute = place.partition(":")
    return cast(Callable[..., Any], getattr(import_module(module), attribute))


def _from_folder(name: str) -> Translator:
    """The parser or the language model in the folder `name`, or in best/ inside it."""
    folder = Path(name).expanduser()
    for place in (folder, folder / "best"):
        family = _family(place)
        if family == "parser":
            return cast(Translator, _load(BUILT_IN["parser"])(place))
        if family:
            break
    return cast(Translator, _load(LANGUAGE_MODEL)(name))


def _family(folder: Path) -> str:
    """What kind of model `folder` says it holds, "" where it says nothing.

    Raises `ModelError` for a parser whose graphs were not written yet.
    """
    from plainsql.translators.language_model.model_info import FILE, ModelInfo

    exported = (folder / PARSER_FILE).is_file()
    if not (folder / FILE).is_file():
        return "parser" if exported else ""
    family = ModelInfo.read(folder).family
    if family == "parser" and not exported:
        raise ModelError(
            f"The parser in {folder} can't be asked yet: it has no {PARSER_FILE}.",
            hint=f"plainsql export {folder} --out FOLDER writes one that can.",
        )
    return family


def translator_names() -> list[str]:
    """Names that `translator` accepts, sorted."""
    return sorted({*BUILT_IN, *(entry.name for entry in _registered())})


def _registered() -> tuple[EntryPoint, ...]:
    """The entry points of installed packages (importing their reader takes 35 ms)."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINTS))
