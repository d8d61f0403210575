"""What `import plainsql` offers, name by name: a change here is a change for users."""

from __future__ import annotations

import pytest

import plainsql
from plainsql import errors
from plainsql.translators.base import Translator, translator, translator_names
from plainsql.translators.fake import ScriptedTranslator

PUBLIC = [
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
EXIT_CODES = {
    "UsageError": 2,
    "QuestionError": 2,
    "DataError": 2,
    "UnanswerableError": 3,
    "AmbiguousError": 4,
    "DeniedError": 5,
    "ExecutionError": 6,
    "QueryTimeout": 6,
    "ResourceLimit": 6,
    "ConnectError": 7,
    "ConnectionLost": 7,
    "SchemaError": 7,
    "ModelError": 7,
    "TrainingError": 1,
    "MissingExtra": 2,
}


def test_exported_names() -> None:
    assert plainsql.__all__ == PUBLIC
    assert dir(plainsql) == PUBLIC
    assert all(hasattr(plainsql, name) for name in PUBLIC)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        _ = plainsql.frobnicate


def test_all_errors_are_public_and_drawn_in_the_tree() -> None:
    classes = {
        name: error
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.PlainsqlError)
    }
    assert set(classes) <= set(plainsql.__all__)
    assert all(name in (errors.__doc__ or "") for name in classes)
    assert {n: c.exit_code for n, c in classes.items() if n != "PlainsqlError"} == EXIT_CODES


def test_missing_extra_says_what_to_install() -> None:
    assert errors.MissingExtra("Training", "train").hint == "pip install 'plainsql[train]'"


def test_translators_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from plainsql.translators import base

    monkeypatch.setitem(base.BUILT_IN, "none", "test_public_surface:silent")
    found = translator("none")
    assert isinstance(found, Translator)
    assert {"none", "parser"} <= set(translator_names())
    with pytest.raises(errors.UsageError, match="no translator 'nobody'") as caught:
        translator("nobody")
    assert "parser" in caught.value.hint


def silent() -> ScriptedTranslator:
    return ScriptedTranslator({})
