from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plainsql.linking.embedding import WordVectors, nearest, soft_matches
from plainsql.linking.link import link
from plainsql.linking.words import tokenize_question
from plainsql.schema.model import Column, ColumnType, Schema, Table

# Words of one line have like vectors.
MEANINGS = ["singer vocalist", "city town", "movie film", "age", "##ly", "[UNK]"]


def schema() -> Schema:
    columns = tuple(
        Column("singer", name, ColumnType.TEXT, natural)
        for name, natural in [("age", "age"), ("home_city", "home city")]
    )
    return Schema("test", (Table("singer", columns, "singer"),))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A tokenizer and an int8 table with one direction for each meaning."""
    vocabulary: dict[str, int] = {}
    rows = []
    random = np.random.default_rng(0)
    for position, line in enumerate(MEANINGS):
        for word in line.split():
            vocabulary[word] = len(vocabulary)
            rows.append(np.eye(8)[position] + 3.0 + random.normal(0, 0.05, 8))
    model = {"vocab": vocabulary, "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    tokenizer = {"model": model | {"max_input_chars_per_word": 100}, "added_tokens": []}
    matrix = np.stack(rows)
    scales = (np.abs(matrix).max(axis=1) / 127).astype(np.float32)
    paths = (tmp_path / "tokenizer.json", tmp_path / "rows.npy", tmp_path / "scales.npy")
    paths[0].write_text(json.dumps(tokenizer), encoding="utf-8")
    np.save(paths[1], np.round(matrix / scales[:, None]).astype(np.int8))
    np.save(paths[2], scales)
    return paths


@pytest.mark.parametrize(
    ("left", "right", "like"),
    [
        ("singer", "vocalist", True),
        ("movie", "film", True),
        ("singer", "city", False),
        ("vocalistly", "age", False),
    ],
)
def test_similarity(files: tuple[Path, Path, Path], left: str, right: str, like: bool) -> None:
    assert (WordVectors.open(*files).similarity(left, right) > 0.5) is like


def test_soft_matches(files: tuple[Path, Path, Path]) -> None:
    vectors = WordVectors.open(*files)
    question = tokenize_question("the town and age of each vocalist")
    matches = soft_matches(question, schema(), vectors, threshold=0.5)
    assert [(m.start, m.end, m.kind.value, m.table, m.column) for m in matches] == [
        (1, 2, "soft", 0, 1),
        (6, 7, "soft", 0, None),
    ]
    assert matches[0].score < matches[1].score <= 1


def test_words_with_a_match_and_proper_nouns_have_no_soft_match(
    files: tuple[Path, Path, Path],
) -> None:
    vectors = WordVectors.open(*files)
    for text in ("which singer", "the Town", "how many of the", ""):
        assert soft_matches(tokenize_question(text), schema(), vectors, threshold=0.5) == ()


def test_nearest_in_a_schema_without_words(files: tuple[Path, Path, Path]) -> None:
    assert nearest("town", Schema("none", ()), WordVectors.open(*files)) == []


def test_link_takes_vectors(files: tuple[Path, Path, Path]) -> None:
    vectors = WordVectors.open(*files)
    links = link("how old is each vocalist", schema(), vectors=vectors)
    assert [name.kind.value for name in links.names] == ["soft"]
    assert link("how old is each vocalist", schema()).names == ()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        WordVectors.open(tmp_path / "none.json", tmp_path / "none.npy")
