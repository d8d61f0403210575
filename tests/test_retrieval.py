"""Which tables of a large schema are looked at: closed under joins, cached, and harmless."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plainsql
from plainsql.linking.embedding import WordVectors
from plainsql.linking.link import link
from plainsql.linking.retrieval import KEPT, Groups, SchemaIndex, Weights
from plainsql.linking.retrieval_build import build_index, is_large, open_index
from plainsql.linking.words import tokenize_question
from plainsql.records import ValueCandidate, ValueKind
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.schema.names import with_natural_names
from plainsql.translators.parser.weights import weights_folder, word_table

# Five businesses; a table that joins two of one, and thirty tables that are about nothing.
NAMES = {
    "ship": ["ship_id", "name", "tonnage"],
    "voyage": ["voyage_id", "ship_id", "port_id", "sailed_on"],
    "port": ["port_id", "town", "country"],
    "patient": ["patient_id", "surname", "born"],
    "physician": ["physician_id", "surname", "speciality"],
    "visit": ["visit_id", "patient_id", "physician_id", "cost"],
    "book": ["isbn", "title", "author"],
    "loan": ["loan_id", "isbn", "member_id", "due"],
    "member": ["member_id", "surname", "fee"],
    **{f"thing_{number}": [f"x{number}", f"y{number}"] for number in range(30)},
}
KEYS = [
    ("voyage", "ship_id", "ship"), ("voyage", "port_id", "port"),
    ("visit", "patient_id", "patient"), ("visit", "physician_id", "physician"),
    ("loan", "isbn", "book"), ("loan", "member_id", "member"),
]  # fmt: skip


def make_schema(names: dict[str, list[str]] = NAMES, **comments: str) -> Schema:
    tables = tuple(
        Table(
            table,
            tuple(Column(table, name, ColumnType.TEXT, "", "TEXT") for name in columns),
            "",
            comment=comments.get(table, ""),
        )
        for table, columns in names.items()
    )
    keys = tuple(ForeignKey(table, (name,), other, (name,)) for table, name, other in KEYS)
    return with_natural_names(Schema("many", tables, keys))


@pytest.fixture(scope="module")
def schema() -> Schema:
    return make_schema()


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    files = word_table(weights_folder())
    assert files is not None
    return WordVectors.open(*files)


@pytest.fixture(scope="module")
def index(schema: Schema, vectors: WordVectors) -> SchemaIndex:
    return build_index(schema, vectors)


def kept(
    index: SchemaIndex, schema: Schema, vectors: WordVectors | None, question: str, number: int
) -> list[str]:
    scores = index.scores(tokenize_question(question), vectors)
    return [schema.tables[table].name for table in index.keep(scores, number)]


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Which ships sailed to Kiel?", {"ship", "voyage"}),
        ("How many patients did each doctor see?", {"patient", "physician", "visit"}),
        ("Which authors are read by the members?", {"book", "member", "loan"}),  # and the bridge
        ("What is the tonnage of vessels that were in each harbour?", {"ship", "port", "voyage"}),
        ("How much does a visit cost?", {"visit"}),
    ],
)
def test_the_tables_of_a_question_are_kept(
    index: SchemaIndex, schema: Schema, vectors: WordVectors, question: str, wanted: set[str]
) -> None:
    assert wanted <= set(kept(index, schema, vectors, question, 4))


def test_the_best_table_comes_first(
    index: SchemaIndex, schema: Schema, vectors: WordVectors
) -> None:
    assert kept(index, schema, vectors, "How many patients are there?", 5)[0] == "patient"


def test_bridges_are_kept_before_tables_that_fit_better(schema: Schema, index: SchemaIndex) -> None:
    """Ship and port are joined by voyages alone, which has the lowest score of all here."""
    scores = np.zeros(len(schema.tables), np.float32)
    for name, score in {"ship": 9, "port": 8, "book": 7, "thing_3": 6}.items():
        scores[schema.table_index(name)] = score
    names = [schema.tables[table].name for table in index.keep(scores, 4)]
    assert names == ["ship", "port", "voyage", "book"]
    without = [schema.tables[table].name for table in index.keep(scores, 4, bridges=0)]
    assert without == ["ship", "port", "book", "thing_3"]


def test_spelling_alone_needs_no_vectors(schema: Schema) -> None:
    assert kept(build_index(schema, None), schema, None, "Ships and their tonnage", 1) == ["ship"]


def test_comments_are_read(vectors: WordVectors) -> None:
    schema = make_schema(thing_7="Lighthouses and their keepers")
    index = build_index(schema, vectors)
    assert kept(index, schema, vectors, "Which lighthouse has two keepers?", 1) == ["thing_7"]


def test_cells_explain_words(schema: Schema, index: SchemaIndex, vectors: WordVectors) -> None:
    question = tokenize_question("Who is Ramirez?")
    column = schema.column_index("thing_9", "x9")
    cell = ValueCandidate("Ramirez", ValueKind.CELL, 2, 3, (column,))
    best = index.keep(index.scores(question, vectors, (cell,)), 1)
    assert [schema.tables[table].name for table in best] == ["thing_9"]
    guess = replace(cell, kind=ValueKind.CAPITALISED)
    assert (
        index.scores(question, vectors, (guess,)).max()
        < index.scores(question, vectors, (cell,)).max()
    )


@pytest.mark.parametrize("question", ["", "?", "the of and", "12 34", "§§§ 東京"])
def test_a_question_without_words_keeps_the_first_tables(
    index: SchemaIndex, schema: Schema, vectors: WordVectors, question: str
) -> None:
    assert len(kept(index, schema, vectors, question, KEPT)) == KEPT


@pytest.mark.parametrize("tables", [0, 1, 3])
def test_small_schemas(vectors: WordVectors, tables: int) -> None:
    names = dict(list(NAMES.items())[:tables])
    schema = replace(make_schema(names), foreign_keys=())
    index = build_index(schema, vectors)
    assert len(index.keep(index.scores(tokenize_question("ships"), vectors))) == tables


def test_odd_names(vectors: WordVectors) -> None:
    names = {"": [""], "123": ["4"], "…": ["?"], "日本": ["東京"], 'a "b" c': ["d; --"]}
    schema = replace(make_schema(names), foreign_keys=())
    assert len(kept(build_index(schema, vectors), schema, vectors, "a b 東京", 9)) == len(names)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_kept_is_connected_wherever_two_joins_can_do_it(data: st.DataObject) -> None:
    """Over random schemas and scores: no bridge between two kept neighbours is missing."""
    size = data.draw(st.integers(2, 25))
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30)
    )
    tables = tuple(Table(f"t{at}", (Column(f"t{at}", "c", ColumnType.TEXT, "c"),), f"t{at}")
                   for at in range(size))  # fmt: skip
    keys = tuple(ForeignKey(f"t{a}", ("c",), f"t{b}", ("c",)) for a, b in pairs)
    index = build_index(Schema("random", tables, keys), None)
    drawn = data.draw(st.lists(st.floats(0, 1, width=32), min_size=size, max_size=size))
    number = data.draw(st.integers(1, size))
    found = index.keep(np.array(drawn, np.float32), number)
    assert len(found) == len(set(found)) == number
    assert found[0] == int(np.argmax(drawn))
    if number == size:
        assert set(found) == set(range(size))


def test_groups_are_never_empty() -> None:
    groups = Groups.of([{2, 0}, set(), {1}], [0, 3, 0])
    values = np.array([[5.0, 1.0, 7.0, 2.0]], np.float32)
    assert groups.best(values).tolist() == [[7.0, 2.0, 1.0]]


# --- the file ----------------------------------------------------------------


def same(left: SchemaIndex, right: SchemaIndex) -> bool:
    return (
        left.words == right.words
        and np.array_equal(left.vectors, right.vectors)
        and np.array_equal(left.in_columns.members, right.in_columns.members)
    )


def test_the_file_gives_the_same_index(
    schema: Schema, vectors: WordVectors, tmp_path: Path
) -> None:
    first = open_index(schema, vectors, tmp_path)
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    assert same(first, open_index(schema, vectors, tmp_path))
    assert file.stat().st_mtime_ns == before  # nothing was new


def test_only_what_changed_is_read_again(
    schema: Schema, vectors: WordVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_index(schema, vectors, tmp_path)
    read: list[str] = []
    from plainsql.linking import retrieval_build

    words_of = retrieval_build.words_of
    monkeypatch.setattr(
        retrieval_build, "words_of", lambda table: (read.append(table.name), words_of(table))[1]
    )
    changed = make_schema({**NAMES, "ship": ["ship_id", "name", "draught"]})
    again = open_index(changed, vectors, tmp_path)
    assert read == ["ship"]
    assert same(again, build_index(changed, vectors))
    assert "draught" in again.words
    assert "tonnage" not in again.words


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 100, b"not an archive at all"])
def test_a_broken_file_is_made_anew(
    schema: Schema, vectors: WordVectors, tmp_path: Path, content: bytes
) -> None:
    first = open_index(schema, vectors, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert same(first, open_index(schema, vectors, tmp_path))
    assert same(first, open_index(schema, vectors, tmp_path))


def test_a_folder_that_cannot_be_made_is_no_error(
    schema: Schema, vectors: WordVectors, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    index = open_index(schema, vectors, tmp_path / "file" / "below")
    assert same(index, build_index(schema, vectors))


# --- in the flow -------------------------------------------------------------


def test_link_tells_which_tables_to_look_at(
    schema: Schema, index: SchemaIndex, vectors: WordVectors
) -> None:
    found = link("Which ships sailed to Kiel?", schema, None, vectors, index)
    assert len(found.tables) == KEPT
    assert schema.table_index("voyage") in found.tables[:3]
    assert link("Which ships?", schema, None, vectors).tables == ()


def test_asking_a_database_of_many_tables(tmp_path: Path) -> None:
    path = tmp_path / "many.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table, columns in NAMES.items():
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        connection.executemany(
            "INSERT INTO ship VALUES (?, ?, ?)", [(1, "Möwe", 7), (2, "Gull", 9), (3, "Auk", 4)]
        )
    cache = plainsql.Settings(cache_dir=str(tmp_path / "cache"))
    with plainsql.connect(path, settings=cache) as database:
        assert is_large(database.schema)
        answer = database.ask("How many ships are there?")
        assert answer.rows == ((3,),)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE lighthouse (lighthouse_id, keeper)")
            connection.execute("INSERT INTO lighthouse VALUES (1, 'Ann')")
        assert database.ask("How many lighthouses are there?").rows == ((1,),)


def test_weights_say_what_counts(schema: Schema, index: SchemaIndex, vectors: WordVectors) -> None:
    asked = tokenize_question("Which vessels?")
    spelled = index.scores(asked, vectors, weights=Weights(meaning=0))
    meant = index.scores(asked, vectors, weights=Weights(spelling=0))
    assert spelled.max() == 0
    assert schema.tables[int(meant.argmax())].name == "ship"
