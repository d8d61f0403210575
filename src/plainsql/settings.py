"""Every setting, once: its name, its default, what it does.

A setting is looked up in this order; the first place that has it wins:

    command-line flag > PLAINSQL_<NAME> in the environment
    > plainsql.toml in the working directory > the user's config.toml

The user's file is `$XDG_CONFIG_HOME/plainsql/config.toml`, by default
`~/.config/plainsql/config.toml`. `plainsql.connect` reads none of them: pass
it `load_settings()` where a program should obey them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from plainsql.errors import UsageError

PROJECT_FILE = "plainsql.toml"
ENV_PREFIX = "PLAINSQL_"
PRIVACY = ("names-only", "schema", "samples")


_DB = "The database to ask: a file, a folder or glob of data files, or a URL."


def _setting(default: Any, doc: str) -> Any:
    """A field with its documentation, which docs/cli.md repeats."""
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc}, repr=doc is not _DB)


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set. Raises `UsageError` for values out of range."""

    db: str = _setting("", _DB)  # not in the repr: a URL may hold a password
    translator: str = _setting(
        "parser",
        "Who turns questions into SQL: `parser`, the folder of a model, one on the Hub, one on a"
        " server as `openai:MODEL@URL`, a GGUF file as `gguf:PATH`, or `auto` (the parser, and"
        " `language_model` where it is unsure).",
    )
    language_model: str = _setting(
        "", "Whom `auto` asks where the parser is unsure: whatever `translator` may be but `auto`."
    )
    auto_threshold: float = _setting(
        0.7, "The parser's confidence below which `auto` asks the language model too."
    )
    repair_rounds: int = _setting(
        1,
        "How often a language model is told what was wrong with its queries, and asked again; 0 to"
        " 3.",
    )
    deadline: float = _setting(
        60.0,
        "Seconds one question may take in all, a language model's answers included. No new round is"
        " begun after it.",
    )
    token_budget: int = _setting(
        0, "Tokens that one question may cost, sent and received; 0 sets no limit."
    )
    examples: str = _setting(
        "",
        "A file of verified pairs of question and SQL, from which a language model is shown those"
        " nearest to the question.",
    )
    constrained: bool = _setting(
        True,
        "Whether a language model that runs here can only write what a grammar of this schema"
        " allows.",
    )
    answer_cache: bool = _setting(
        True,
        "Whether what a language model answered is kept, so that the same question to the same"
        " schema costs nothing.",
    )
    privacy: str = _setting(
        "schema",
        "What a model on a server is shown of the database: `names-only`, `schema` (types and"
        " comments too) or `samples` (a few values of each column as well).",
    )
    model: str = _setting("", "The folder of the parser's weights; those it ships with when empty.")
    limit: int = _setting(1000, "Rows returned at most; further rows are cut off.")
    timeout: float = _setting(10.0, "Seconds the SQL of one question may run in all.")
    alternatives: int = _setting(4, "Other readings of the question listed with the answer.")
    ambiguity_margin: float = _setting(
        0.0,
        "Report a question as ambiguous (exit code 4) when the second reading has other rows"
        " and a confidence within this distance of the first. 0 always answers.",
    )
    cache_dir: str = _setting(
        "", "Where indexes of values are kept; the user's cache folder when empty."
    )
    index_max_age: float = _setting(
        24.0,
        "Hours after which the index of a server's values is built again; an index of files is"
        " when they change.",
    )
    role: str = _setting("", "Whose rules of the policy apply: a name of `[policy.roles]`.")
    policy: Mapping[str, Any] = _setting(
        {},
        "What may be read: the table `[policy]`, or the path of a TOML file with such a table"
        " (see safety.md).",
    )

    def __post_init__(self) -> None:
        _require(self.privacy in PRIVACY, "privacy", " or ".join(PRIVACY))
        _require(self.limit >= 1, "limit", "at least 1")
        finite = 0 < self.timeout < float("inf")
        _require(finite, "timeout", "more than 0 seconds, and finite")
        _require(self.index_max_age >= 0, "index_max_age", "0 hours or more")
        _require(0 <= self.alternatives <= 50, "alternatives", "between 0 and 50")
        _require(0 <= self.ambiguity_margin <= 1, "ambiguity_margin", "between 0 and 1")
        _require(0 <= self.auto_threshold <= 1, "auto_threshold", "between 0 and 1")
        _require(0 <= self.repair_rounds <= 3, "repair_rounds", "between 0 and 3")
        _require(self.deadline > 0, "deadline", "more than 0 seconds")
        _require(self.token_budget >= 0, "token_budget", "0 or more")


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise UsageError(f"The setting {name} must be {wanted}.", hint=where_to_set(name))


def where_to_set(name: str) -> str:
    """How a user changes the setting `name`."""
    return (
        f"Set it with --{name.replace('_', '-')} where the command has that flag, with"
        f" {ENV_PREFIX}{name.upper()} or in {PROJECT_FILE}."
    )


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Settings from flags, environment, `folder`/plainsql.toml and the user's file.

    A flag that is None was not given. Raises `UsageError` when a place holds an
    unknown setting, a value of the wrong type, or can't be read.
    """
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    layers = (
        _from_file(user_file(environ)),
        _from_file((folder or Path.cwd()) / PROJECT_FILE),
        _from_environment(environ),
        _typed(given, "the command line"),
    )
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return replace(Settings(), **merged)


def user_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The path of the user's own settings, whether or not it exists."""
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "~"), ".config")
    return Path(base).expanduser() / "plainsql" / "config.toml"


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings file {path} can't be read: {error}") from error
    try:
        return _typed(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The settings file {path} is not valid TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    names = {ENV_PREFIX + item.name.upper(): item.name for item in fields(Settings)}
    found = {names[key]: value for key, value in environ.items() if key in names and value}
    return _typed(found, "the environment")


def _typed(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """`values` as the types of their fields; `place` is named in errors."""
    start = Settings()
    defaults = {item.name: getattr(start, item.name) for item in fields(Settings)}
    for name in values:
        if name not in defaults:
            raise UsageError(
                f"There is no setting {name!r} (found in {place}).",
                hint="Settings: " + ", ".join(defaults) + ".",
            )
    return {name: _convert(name, value, defaults[name]) for name, value in values.items()}


def _convert(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`; numbers may come as text."""
    wanted = type(default)
    if wanted is dict:
        return _policy(value)
    if wanted is bool:
        return _truth(name, value)
    try:
        if isinstance(value, bool) or (wanted is str and not isinstance(value, str)):
            raise ValueError
        if wanted is int and isinstance(value, float):
            raise ValueError
        return wanted(value)
    except (TypeError, ValueError):
        kind = {int: "a whole number", float: "a number", str: "text"}[wanted]
        message = f"The setting {name} must be {kind}, not {value!r}."
        raise UsageError(message, hint=where_to_set(name)) from None


def _truth(name: str, value: Any) -> bool:
    """True or false, also as a word: the environment holds texts only. Raises `UsageError`."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        message = f"The setting {name} must be true or false, not {value!r}."
        raise UsageError(message, hint=where_to_set(name))
    return found


def _policy(value: Any) -> Mapping[str, Any]:
    """The policy itself, or the one in the file that `value` names. Raises UsageError."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str) or not value:
        message = "The setting policy must be a table, or the path of a TOML file."
        raise UsageError(message, hint=f"Write it as [policy] in {PROJECT_FILE}.")
    path = Path(value).expanduser()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("policy")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The policy file {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The policy file {path} is not valid TOML: {error}") from error
    if not isinstance(found, Mapping):
        raise UsageError(f"The policy file {path} has no table [policy].")
    return found
