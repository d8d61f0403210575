"""What the encoder reads: the sequence, its marks, the nodes, and large schemas cut to fit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from plainsql.linking.words import tokenize_question
from plainsql.records import Links, MatchKind, NameMatch, ValueCandidate, ValueKind
from plainsql.schema.graph import JoinGraph
from plainsql.schema.model import Column, ColumnType, ForeignKey, Schema, Table
from plainsql.translators.parser.arrays import KIND_COLUMN, KIND_TABLE, KIND_VALUE, ModelInput
from plainsql.translators.parser.features import (
    CELLS_PER_COLUMN,
    FEATURE,
    MAX_QUESTION,
    MAX_TOKENS,
    MAX_VALUES,
    FeatureBuilder,
    merge_values,
)
from plainsql.translators.parser.narrow import BUDGET, Narrowed, column_scores, narrow, table_scores
from shop import open_shop, write_tokenizer

QUESTION = "What are the names of French customers in 1990?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def builder(folder: Path) -> FeatureBuilder:
    return FeatureBuilder(write_tokenizer(folder))


@pytest.fixture(scope="module")
def shop(folder: Path) -> tuple[Schema, JoinGraph]:
    return open_shop(folder)[1:]


def make_links(schema: Schema) -> Links:
    """ "names" is customer.name, "customers" the table, "French" a cell, 1990 a number."""
    name, country = (schema.column_index("customer", c) for c in ("name", "country"))
    table = schema.table_index("customer")
    names = (
        NameMatch(3, 4, MatchKind.EXACT, table, name),
        NameMatch(6, 7, MatchKind.EXACT, table),
        NameMatch(6, 7, MatchKind.SOFT, schema.table_index("employee")),
    )
    values = (
        ValueCandidate("France", ValueKind.CELL, 5, 6, (country,)),
        ValueCandidate(1990, ValueKind.NUMBER, 8, 9),
    )
    return Links(tokenize_question(QUESTION), names, values)


def marked(model_input: ModelInput, feature: str) -> list[int]:
    return [int(i) for i in np.flatnonzero(model_input.features[:, FEATURE[feature]])]


def test_nodes_stand_in_the_order_of_the_space(
    builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]
) -> None:
    schema, graph = shop
    tables = [schema.table_index("purchase"), schema.table_index("customer")]
    model_input, space = builder.build(make_links(schema), schema, graph, tables)
    columns = [*schema.columns_of(tables[0]), *schema.columns_of(tables[1])]
    assert list(space.tables) == tables
    assert list(space.columns) == columns
    assert [value.value for value in space.values] == ["France", 1990]
    kinds = [KIND_TABLE] * 2 + [KIND_COLUMN] * len(columns) + [KIND_VALUE] * 2
    assert model_input.node_kinds.tolist() == kinds
    assert len(model_input.node_tokens) == space.node_count == len(kinds)
    for node, column in enumerate(columns, 2):
        ids = model_input.token_ids[model_input.node_tokens[node]]
        assert tuple(ids) == builder.pieces(schema.columns[column].natural)


def test_the_sequence(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema, graph = shop
    weather = schema.table_index("weather")
    links = Links(tokenize_question("What are the names"))
    model_input, _ = builder.build(links, schema, graph, [weather])
    text = ["[CLS]", "what", "are", "the", "names", "[SEP]", "weather", ":"]
    text += ["day", ",", "rain", ",", "note", ",", "[SEP]"]
    ids = [piece for word in text for piece in builder.pieces(word)]
    assert model_input.token_ids.tolist() == ids
    first = ids.index(builder.pieces("[SEP]")[0]) + 1
    assert model_input.token_types.tolist() == [0] * first + [1] * (len(ids) - first)
    assert model_input.features.shape == (len(ids), len(FEATURE))


def test_columns_may_be_chosen(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema, graph = shop
    tables = [schema.table_index("customer"), schema.table_index("weather")]
    chosen = [(1, 3), tuple(schema.columns_of(tables[1]))[:1]]
    _, space = builder.build(make_links(schema), schema, graph, tables, chosen)
    assert space.columns == (1, 3, chosen[1][0])


def test_marks(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema, graph = shop
    links = make_links(schema)
    tables = list(range(len(schema.tables)))
    model_input, space = builder.build(links, schema, graph, tables)

    def tokens(column: str, table: str = "customer") -> list[int]:
        node = space.first_column + schema.column_index(table, column)
        return model_input.node_tokens[node].tolist()

    words = [builder.pieces(word.text) for word in links.question.words]
    starts = np.cumsum([1, *(len(pieces) for pieces in words)])
    spans = [list(range(a, b)) for a, b in pairwise(starts)]
    customer = model_input.node_tokens[schema.table_index("customer")].tolist()
    assert marked(model_input, "word_exact_column") == spans[3]
    assert marked(model_input, "word_exact_table") == spans[6]
    assert marked(model_input, "word_soft_table") == spans[6]
    assert marked(model_input, "word_cell") == spans[5]
    assert marked(model_input, "word_number") == spans[8]
    assert marked(model_input, "word_capital") == spans[0] + spans[5]
    assert marked(model_input, "table_exact") == customer
    assert marked(model_input, "table_has_cell") == customer
    assert marked(model_input, "column_exact") == tokens("name")
    assert marked(model_input, "column_cell") == tokens("country")
    assert set(tokens("customer_id")) <= set(marked(model_input, "column_primary_key"))
    keys = set(marked(model_input, "column_foreign_key"))
    assert set(tokens("customer_id", "purchase")) <= keys
    assert not set(tokens("customer_id")) & keys
    assert set(tokens("name")) <= set(marked(model_input, "column_name_shared"))
    assert not set(tokens("country")) & set(marked(model_input, "column_name_shared"))
    assert set(tokens("birthday")) <= set(marked(model_input, "column_time"))
    named = set(marked(model_input, "column_table_named"))
    assert set(tokens("name")) | set(tokens("salary", "employee")) <= named
    assert not set(tokens("title", "product")) & named


def test_a_value_is_read_in_the_question_and_behind_its_columns(
    builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]
) -> None:
    schema, graph = shop
    model_input, space = builder.build(
        make_links(schema), schema, graph, [schema.table_index("customer")]
    )
    france, year = model_input.node_tokens[space.first_value :]
    ids = model_input.token_ids[france]
    assert tuple(ids) == builder.pieces("French") + builder.pieces("France")
    assert tuple(model_input.token_ids[year]) == builder.pieces("1990")
    cell = marked(model_input, "cell_text")
    assert cell == france[len(builder.pieces("French")) :].tolist()
    around = model_input.token_ids[[cell[0] - 1, cell[-1] + 1]]
    assert tuple(around) == builder.pieces("(") + builder.pieces(")")
    assert not marked(model_input, "constant_flag")


def test_few_cells_behind_a_column(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema, graph = shop
    values = tuple(ValueCandidate(text, ValueKind.CELL, 0, 0, (2,)) for text in "abcd")
    links = Links(tokenize_question("What?"), values=values)
    model_input, space = builder.build(links, schema, graph, [0])
    assert len(marked(model_input, "cell_text")) == CELLS_PER_COLUMN
    assert marked(model_input, "constant_flag") == marked(model_input, "cell_text")
    unread = model_input.node_tokens[space.first_value + CELLS_PER_COLUMN]
    assert unread.tolist() == [0]  # [CLS] stands for what is written nowhere


def test_long_questions_are_cut(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema, graph = shop
    links = Links(tokenize_question("what " * 300))
    model_input, _ = builder.build(links, schema, graph, [0])
    assert int((model_input.token_types == 0).sum()) == MAX_QUESTION + 1


def test_words_that_are_no_letters_have_pieces(builder: FeatureBuilder) -> None:
    assert builder.pieces("") == builder.pieces("?")
    assert builder.pieces("\u200b") == builder.pieces("?")


def test_a_tokenizer_without_its_marks_is_refused(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path)
    path.write_text(path.read_text("utf-8").replace("[SEP]", "[END]"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"no \[SEP\]"):
        FeatureBuilder(path)


# -- values ------------------------------------------------------------------


def test_values_are_merged() -> None:
    values = (
        ValueCandidate("France", ValueKind.CELL, 1, 2, (3,), 0.9),
        ValueCandidate(1, ValueKind.NUMBER, 4, 5),
        ValueCandidate("France", ValueKind.CELL, 1, 2, (2, 3), 0.5),
        ValueCandidate("1", ValueKind.CELL, 4, 5, (1,)),
    )
    merged = merge_values(values)
    assert [value.value for value in merged] == ["France", 1, "1"]
    assert merged[0] == ValueCandidate("France", ValueKind.CELL, 1, 2, (2, 3), 0.9)


def test_the_best_values_are_kept_in_their_order() -> None:
    many = tuple(ValueCandidate(i, ValueKind.NUMBER, score=i / 100) for i in range(40))
    kept = merge_values(many)
    assert [value.value for value in kept] == list(range(40 - MAX_VALUES, 40))


# -- large schemas -----------------------------------------------------------


def large_schema(tables: int, columns: int) -> Schema:
    """Tables t0, t1, …; t1 refers to t0, t2 to t1 and so on."""
    made = []
    for t in range(tables):
        kinds = [ColumnType.NUMBER, ColumnType.NUMBER, *[ColumnType.TEXT] * (columns - 2)]
        own = tuple(
            Column(f"t{t}", f"c{t}x{c}", kind, f"c{t}x{c}", primary_key=c == 0)
            for c, kind in enumerate(kinds)
        )
        made.append(Table(f"t{t}", own, f"t{t}"))
    keys = tuple(
        ForeignKey(f"t{t}", (f"c{t}x1",), f"t{t - 1}", (f"c{t - 1}x0",)) for t in range(1, tables)
    )
    return Schema("large", tuple(made), keys)


def spent(builder: FeatureBuilder, schema: Schema, part: Narrowed) -> int:
    names = [schema.tables[t].natural for t in part.tables]
    total = sum(len(builder.pieces(name)) + 2 for name in names)
    return total + sum(
        len(builder.pieces(schema.columns[c].natural)) + 1 for own in part.columns for c in own
    )


def test_what_fits_is_complete(builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]) -> None:
    schema = large_schema(3, 4)
    part = narrow(builder, schema, JoinGraph(schema), make_links(shop[0]), BUDGET)
    assert part.complete
    assert part.tables == (0, 1, 2)
    assert [len(columns) for columns in part.columns] == [4, 4, 4]


@pytest.mark.parametrize(("tables", "columns"), [(100, 20), (1, 2000), (2000, 2), (4, 500)])
def test_large_schemas_stay_within_the_budget(
    tables: int, columns: int, builder: FeatureBuilder
) -> None:
    schema = large_schema(tables, columns)
    links = Links(tokenize_question("What?"))
    part = narrow(builder, schema, JoinGraph(schema), links)
    assert not part.complete
    assert part.tables
    assert all(part.columns)
    assert spent(builder, schema, part) <= BUDGET
    model_input, space = builder.build(links, schema, JoinGraph(schema), part.tables, part.columns)
    assert len(model_input.token_ids) <= MAX_TOKENS
    assert space.columns == tuple(c for own in part.columns for c in own)


def test_linked_columns_their_keys_and_bridges_are_kept(builder: FeatureBuilder) -> None:
    schema = large_schema(100, 20)
    far = [schema.columns_of(table)[15] for table in (40, 42)]
    links = Links(
        tokenize_question("What?"),
        (NameMatch(0, 1, MatchKind.EXACT, 40, far[0]),),
        (ValueCandidate("x", ValueKind.CELL, 0, 1, (far[1],)),),
    )
    part = narrow(builder, schema, JoinGraph(schema), links)
    assert {40, 41, 42} <= set(part.tables)
    kept = {column for own in part.columns for column in own}
    assert set(far) <= kept
    for table in (40, 41, 42):
        assert set(schema.columns_of(table)[:2]) <= kept
    assert list(part.tables) == sorted(part.tables)


def test_scores_of_columns_and_tables(shop: tuple[Schema, JoinGraph]) -> None:
    schema = shop[0]
    links = make_links(schema)
    columns = column_scores(schema, links)
    assert columns == {1: 3.0, 2: 2.5}
    tables = table_scores(schema, links, columns)
    customer, employee = schema.table_index("customer"), schema.table_index("employee")
    assert tables[customer] == pytest.approx(4.5 + 5.5)
    assert tables[employee] == pytest.approx(1.5 * 0.7)


def test_too_long_is_an_error(builder: FeatureBuilder) -> None:
    schema = large_schema(10, 30)
    links = Links(tokenize_question("What?"))
    with pytest.raises(ValueError, match="narrow the schema"):
        builder.build(links, schema, JoinGraph(schema), range(10))


def test_length_is_what_a_table_takes(
    builder: FeatureBuilder, shop: tuple[Schema, JoinGraph]
) -> None:
    schema, graph = shop
    links = Links(tokenize_question("What?"))
    for table in range(len(schema.tables)):
        model_input, _ = builder.build(links, schema, graph, [table])
        assert builder.length(schema, table) == int((model_input.token_types == 1).sum())
