"""The door every translator comes through: one method, `propose`; a second, `repair`, may be there.

Translators are found by name: the built-in ones in `BUILT_IN`, others through
the entry-point group `plainsql.translators`, whose entries name a callable
without arguments that returns a `Translator`. A folder with a model is a
translator too, be it a tuned parser or a language model, and so is a model on
the Hugging Face Hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from plainsql.errors import ModelError, UsageError
from plainsql.records import Attempt, Candidate, Links
from plainsql.schema.model import Schema

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "plainsql.translators"
BUILT_IN = {"parser": "plainsql.translators.parser.translator:ParserTranslator"}
LANGUAGE_MODEL = "plainsql.translators.language_model.translator:LanguageModelTranslator"
SERVER = "plainsql.translators.language_model.server_translator:ServerTranslator"
SERVER_PREFIX = "openai:"
GGUF = "plainsql.translators.language_model.gguf_translator:GGUFTranslator"
GGUF_PREFIX = "gguf:"
AUTO = "auto"
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


@runtime_checkable
class Repairing(Protocol):
    """A translator that also mends queries when it is told what was wrong with them."""

    def repair(
        self, question: str, schema: Schema, links: Links, attempts: Sequence[Attempt], n: int
    ) -> list[Candidate]:
        """At most `n` candidates in place of those of `attempts`, best first; none if it has none.

        Raises as `propose` does.
        """


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How language models are asked: those of the settings that concern them."""

    privacy: str = "schema"  # what of the database a model on a server is shown
    examples: str = ""  # a file of verified pairs, "" for none
    constrained: bool = True  # by a grammar of the schema, where the model runs here
    cache_dir: str = ""  # "" is the user's cache folder
    cache: bool = True  # whether answers are kept


def translator(
    name: str, model: str = "", *, options: ModelOptions | None = None, language_model: str = ""
) -> Translator:
    """The translator called `name`, imported now. Raises `UsageError` for no such name.

    `name` is a built-in or registered one, `openai:MODEL@URL` for a model on a server,
    `gguf:PATH` for a file that llama.cpp runs, `auto` for the parser with `language_model`
    (a name too) behind it, else the folder of a model (also the one that `plainsql train`
    wrote), else a Hub id as OWNER/NAME. `model` is the folder of weights that a built-in
    one uses, "" for those it ships with. Language models are asked as `options` say, and
    loaded when they are first asked.
    """
    options = options or ModelOptions()
    if name == AUTO:
        return _auto(model, options, language_model)
    if name in BUILT_IN:
        made = _load(BUILT_IN[name])(*([Path(model).expanduser()] if model else []))
        return cast(Translator, made)
    if name.startswith(SERVER_PREFIX):
        return cast(Translator, _load(SERVER)(name, options=options))
    if name.startswith(GGUF_PREFIX):
        return cast(Translator, _load(GGUF)(name, options=options))
    for entry in _registered():
        if entry.name == name:
            return cast(Translator, entry.load()())
    if name and Path(name).expanduser().is_dir():
        return _from_folder(name, options)
    if _HUB_ID.fullmatch(name):
        return cast(Translator, _load(LANGUAGE_MODEL)(name, asking=options))
    known = ", ".join(translator_names())
    raise UsageError(
        f"There is no translator {name!r}.",
        hint=f"Translators: {known}; the folder of a model; a model on the Hub as OWNER/NAME;"
        " one on a server as openai:MODEL@URL; a file for llama.cpp as gguf:PATH.",
    )


def _auto(model: str, options: ModelOptions, language_model: str) -> Translator:
    """The parser with a language model behind it. Raises `UsageError` where none is named."""
    from plainsql.translators.auto import AutoTranslator

    if language_model in ("", AUTO):
        raise UsageError(
            "The translator auto needs a language model to go to.",
            hint="Name one with --language-model, or with language_model in plainsql.toml.",
        )
    second = translator(language_model, options=options)
    return AutoTranslator(translator("parser", model), second)


def _load(place: str) -> Callable[..., Any]:
    module, _, attribute = place.partition(":")
    return cast(Callable[..., Any], getattr(import_module(module), attribute))


def _from_folder(name: str, options: ModelOptions) -> Translator:
    """The parser or the language model in the folder `name`, or in best/ inside it."""
    folder = Path(name).expanduser()
    for place in (folder, folder / "best"):
        family = _family(place)
        if family == "parser":
            return cast(Translator, _load(BUILT_IN["parser"])(place))
        if family:
            break
    return cast(Translator, _load(LANGUAGE_MODEL)(name, asking=options))


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
    return sorted({*BUILT_IN, AUTO, *(entry.name for entry in _registered())})


def _registered() -> tuple[EntryPoint, ...]:
    """The entry points of installed packages (importing their reader takes 35 ms)."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINTS))
