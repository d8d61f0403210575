"""The folder of weights: whole and of this version, or an error that says so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plainsql.errors import ModelError
from plainsql.logical_form.symbols import RELATIONS, STATES, SYMBOLS
from plainsql.settings import load_settings
from plainsql.translators.base import translator
from plainsql.translators.parser.features import FEATURES
from plainsql.translators.parser.runtime import (
    ENCODER,
    FORMAT_VERSION,
    MANIFEST,
    SCALES,
    STEP,
    TOKENIZER,
    WORDS,
    Manifest,
    ParserRuntime,
    sha256,
)
from plainsql.translators.parser.translator import ParserTranslator, same_language
from plainsql.translators.parser.weights import SHIPPED, weights_folder, word_table

FILES = (ENCODER, STEP, WORDS, SCALES, TOKENIZER)
LANGUAGE: dict[str, tuple[str, ...]] = {
    "symbols": SYMBOLS,
    "states": STATES,
    "relations": RELATIONS,
    "features": FEATURES,
}


def manifest(files: dict[str, str], **changes: Any) -> Manifest:
    sizes = {"decoder_layers": 3, "decoder_heads": 6, "head_size": 64, "max_depth": 3}
    form = {"format_version": FORMAT_VERSION, "max_actions": 96, "files": files}
    return Manifest(**(form | sizes | LANGUAGE | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with the right checksums, though none is a network."""
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    found = manifest({name: sha256(tmp_path / name) for name in FILES})
    (tmp_path / MANIFEST).write_text(json.dumps(asdict(found)))
    return tmp_path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("position", [0, 5000, -1])
def test_a_flipped_bit_is_found(folder: Path, name: str, position: int) -> None:
    content = bytearray((folder / name).read_bytes())
    content[position] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is corrupt") as caught:
        ParserRuntime.load(folder)
    assert "Install plainsql again" in caught.value.hint
    if name in (WORDS, SCALES, TOKENIZER):
        with pytest.raises(ModelError, match="corrupt"):
            word_table(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        ParserRuntime.load(folder)


def test_what_is_no_network_is_no_model(folder: Path) -> None:
    with pytest.raises(ModelError, match="can't be opened"):
        ParserRuntime.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f'"format_version": {FORMAT_VERSION}', '"format_version": 99', "has format 99"),
        ("{", "[", "No usable model"),
        ('"states"', '"status"', "No usable model"),
        ('"files"', '"file"', "No usable model"),
    ],
)
def test_a_manifest_of_another_kind(folder: Path, old: str, new: str, message: str) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=message):
        ParserRuntime.load(folder)


def test_no_weights(tmp_path: Path) -> None:
    assert word_table(tmp_path) is None
    with pytest.raises(ModelError, match="no weights"):
        _ = ParserTranslator(tmp_path).model


@pytest.mark.parametrize("part", LANGUAGE)
def test_weights_of_another_language(part: str) -> None:
    assert same_language(SimpleNamespace(manifest=manifest({})))
    other = manifest({}, **{part: LANGUAGE[part][::-1]})
    with pytest.raises(ModelError, match="another version"):
        same_language(SimpleNamespace(manifest=other))


def test_which_weights(tmp_path: Path) -> None:
    assert weights_folder() == SHIPPED
    chosen = load_settings(environ={"PLAINSQL_MODEL": str(tmp_path)}, folder=tmp_path).model
    assert weights_folder(chosen) == tmp_path
    made = translator("parser", chosen)
    assert isinstance(made, ParserTranslator)
    assert made.folder == tmp_path
