"""plainsql: questions in plain language, answered from your own database.

    >>> import plainsql
    >>> with plainsql.connect("concerts.sqlite") as database:
    ...     answer = database.ask("How many singers are from France?")

Names are resolved on first use, so that `import plainsql` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plainsql.ask import Database, connect
    from plainsql.errors import (
        AmbiguousError,
        ConnectError,
        ConnectionLost,
        DataError,
        DeniedError,
        ExecutionError,
        MissingExtra,
        ModelError,
        PlainsqlError,
        QueryTimeout,
        QuestionError,
        ResourceLimit,
        SchemaError,
        TrainingError,
        UnanswerableError,
        UsageError,
    )
    from plainsql.execution.access import Access
    from plainsql.records import Alternative, Answer, Candidate, Links, Origin, Rows, Status
    from plainsql.schema.model import Schema
    from plainsql.settings import Settings, load_settings
    from plainsql.translators.base import Translator

__version__ = "0.1.0"

__all__ = [
    "Access",
    "Alternative",
    "AmbiguousError",
    "Answer",
    "Candidate",
    "ConnectError",
    "ConnectionLost",
    "DataError",
    "Database",
    "DeniedError",
    "ExecutionError",
    "Links",
    "MissingExtra",
    "ModelError",
    "Origin",
    "PlainsqlError",
    "QueryTimeout",
    "QuestionError",
    "ResourceLimit",
    "Rows",
    "Schema",
    "SchemaError",
    "Settings",
    "Status",
    "TrainingError",
    "Translator",
    "UnanswerableError",
    "UsageError",
    "__version__",
    "connect",
    "load_settings",
]

_HOMES = {
    "plainsql.ask": ("Database", "connect"),
    "plainsql.execution.access": ("Access",),
    "plainsql.records": (
        "Alternative",
        "Answer",
        "Candidate",
        "Links",
        "Origin",
        "Rows",
        "Status",
    ),
    "plainsql.schema.model": ("Schema",),
    "plainsql.settings": ("Settings", "load_settings"),
    "plainsql.translators.base": ("Translator",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the home of a public name when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'plainsql' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF.get(name, "plainsql.errors")), name)


def __dir__() -> list[str]:
    return __all__
