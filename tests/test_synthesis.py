"""Synthetic training data: templates, recipes, web tables, WikiSQL, synonyms, perturbation."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.linking.words import tokenize_question
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.json_form import from_json
from plainsql.training.synthesis import wordnet
from plainsql.training.synthesis.agreement import agree
from plainsql.training.synthesis.aligning import NotAligned, abstract
from plainsql.training.synthesis.corpus import Database, Role
from plainsql.training.synthesis.instantiate import NoFit, fill
from plainsql.training.synthesis.output import Pair, question_key, write_pairs
from plainsql.training.synthesis.people import ask, ask_many
from plainsql.training.synthesis.perturb import perturb_schema
from plainsql.training.synthesis.sampling import fill_many, learn_templates
from plainsql.training.synthesis.scene import RECIPES
from plainsql.training.synthesis.synonyms import dictionary, mined
from plainsql.training.synthesis.web_tables import convert, natural_header, styled, web_databases
from plainsql.training.synthesis.wikisql import convert_table
from plainsql.training.synthesis.wording import expand, plural, singular, with_articles

SHOPS = """
CREATE TABLE shop (shop_id INTEGER PRIMARY KEY, name TEXT, city TEXT, capacity INTEGER);
CREATE TABLE sale (
  sale_id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop(shop_id), title TEXT,
  category TEXT, price REAL, quantity INTEGER, sold_on DATE
);
INSERT INTO shop VALUES (1, 'North Gate', 'Leeds', 40), (2, 'Old Mill', 'York', 25),
  (3, 'Harbour', 'Leeds', 60), (4, 'Empty Hall', 'York', 90);
INSERT INTO sale VALUES
  (1, 1, 'Red Lamp', 'lamp', 20.5, 3, '2012-01-05'),
  (2, 1, 'Oak Desk', 'desk', 150, 1, '2013-04-09'),
  (3, 2, 'Blue Lamp', 'lamp', 18, 7, '2013-04-20'),
  (4, 3, 'Pine Desk', 'desk', 99, 2, '2013-11-30'),
  (5, 3, 'Desk Lamp', 'lamp', NULL, 4, '2014-02-14'), (6, 3, 'Stool', 'seat', 30, 5, '2014-02-15');
"""
SINGERS = """
CREATE TABLE band (band_id INTEGER PRIMARY KEY, name TEXT, country TEXT, members INTEGER);
CREATE TABLE album (
  album_id INTEGER PRIMARY KEY, band_id INTEGER REFERENCES band(band_id), title TEXT,
  genre TEXT, length INTEGER
);
INSERT INTO band VALUES (1, 'Foxes', 'France', 3), (2, 'Owls', 'Spain', 5),
  (3, 'Bears', 'France', 4),
  (4, 'Moths', 'Spain', 2);
INSERT INTO album VALUES (1, 1, 'Dawn', 'rock', 40), (2, 1, 'Dusk', 'rock', 51),
  (3, 2, 'Noon', 'jazz', 33), (4, 3, 'Night', 'rock', 62), (5, 3, 'Rain', 'folk', 45);
"""


def make(folder: Path, name: str, script: str) -> Database:
    path = folder / f"{name}.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return Database(name, path, sqlite_schema(path))


@pytest.fixture
def shops(tmp_path: Path) -> Database:
    return make(tmp_path, "shops", SHOPS)


@pytest.fixture
def bands(tmp_path: Path) -> Database:
    return make(tmp_path, "bands", SINGERS)


def role(database: Database, table: str, column: str) -> Role:
    return database.facts[database.schema.column_index(table, column)].role


def test_roles_of_columns(shops: Database) -> None:
    roles = {
        c: role(shops, "sale", c) for c in ("shop_id", "title", "category", "price", "sold_on")
    }
    assert roles == {
        "shop_id": Role.KEY,
        "title": Role.NAME,
        "category": Role.CATEGORY,
        "price": Role.NUMBER,
        "sold_on": Role.DATE,
    }


@pytest.mark.parametrize(
    ("question", "sql", "text"),
    [
        ("How many shops are there?", "SELECT count(*) FROM shop", "How many {t0s} are there?"),
        (
            "What are the names of shops in the city 'Leeds'?",
            "SELECT name FROM shop WHERE city = 'Leeds'",
            "What are the {c0s} of {t0s} in the {c1} '{v0}'?",
        ),
        (
            "Show the name of the shop with the most sales.",
            "SELECT T1.name FROM shop AS T1 JOIN sale AS T2 ON T1.shop_id = T2.shop_id "
            "GROUP BY T1.shop_id ORDER BY count(*) DESC LIMIT 1",
            "Show the {c0} of the {t0} with the most {t1s}.",
        ),
    ],
)
def test_templates(shops: Database, question: str, sql: str, text: str) -> None:
    assert abstract(question, sql, shops).text == text


@pytest.mark.parametrize(
    ("question", "sql"),
    [
        ("How many stores are there?", "SELECT count(*) FROM shop"),  # a synonym
        ("Which shops trade most?", "SELECT name FROM shop"),  # a strange word
        ("List the names of shops.", "SELECT name, city FROM shop"),  # a column not asked for
        ("List the names of shops.", "SELECT DISTINCT name FROM shop"),  # DISTINCT not asked for
    ],
)
def test_not_aligned(shops: Database, question: str, sql: str) -> None:
    with pytest.raises(NotAligned):
        abstract(question, sql, shops)


def test_fill_travels_to_another_database(shops: Database, bands: Database) -> None:
    template = abstract(
        "Show the name of the shop with the most sales.",
        "SELECT T1.name FROM shop AS T1 JOIN sale AS T2 ON T1.shop_id = T2.shop_id "
        "GROUP BY T1.shop_id ORDER BY count(*) DESC LIMIT 1",
        shops,
    )
    pair = fill(template, bands, random.Random(1))
    assert pair.question == "Show the name of the band with the most albums."
    assert bands.run(pair.query) in ([("Foxes",)], [("Bears",)])


def test_fill_refuses_what_does_not_fit(shops: Database, tmp_path: Path) -> None:
    lonely = make(tmp_path, "lonely", "CREATE TABLE a (x INT); INSERT INTO a VALUES (1), (2)")
    template = abstract("List the names of shops.", "SELECT name FROM shop", shops)
    with pytest.raises(NoFit):
        fill(template, lonely, random.Random(1))


def test_fill_many_bans_and_does_not_repeat(shops: Database, bands: Database) -> None:
    triples = [
        ("shops", "How many shops are there?", "SELECT count(*) FROM shop"),
        ("shops", "What is the average price of sales?", "SELECT avg(price) FROM sale"),
        ("shops", "How many stores?", "SELECT count(*) FROM shop"),
    ]
    templates = learn_templates(triples, {"shops": shops})
    assert len(templates) == 2
    banned = {question_key("How many bands are there?")}
    pairs = fill_many(templates, [bands], 50, random.Random(2), banned=banned)
    keys = [question_key(pair.question) for pair in pairs]
    assert len(keys) == len(set(keys)) > 1
    assert not banned & set(keys)


@pytest.mark.parametrize("at", range(len(RECIPES)), ids=lambda at: RECIPES[at].name)
def test_every_recipe_runs_or_says_no_fit(at: int, shops: Database) -> None:
    for seed in range(3):
        try:
            pair = ask(RECIPES[at], shops, random.Random(seed))
        except NoFit:
            continue
        assert shops.run(pair.query) is not None
        assert "{" not in pair.question
        assert "[" not in pair.question


def test_ask_many(shops: Database, bands: Database) -> None:
    pairs = ask_many([shops, bands], 60, random.Random(3))
    assert len(pairs) == 60
    assert {pair.db_id for pair in pairs} == {"shops", "bands"}


@pytest.mark.parametrize(
    ("question", "sql", "good"),
    [
        ("average price of sales", "SELECT AVG(price) FROM sale", True),
        ("prices of sales", "SELECT AVG(price) FROM sale", False),
        ("How many different cities?", "SELECT COUNT(city) FROM shop", False),
        ("shops not in Leeds", "SELECT name FROM shop WHERE city = 'Leeds'", False),
        ("names in descending order", "SELECT name FROM shop ORDER BY name DESC", True),
    ],
)
def test_agreement(question: str, sql: str, good: bool) -> None:
    assert agree(question, sql) is good


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("city", "cities"),
        ("date of birth", "dates of birth"),
        ("person", "people"),
        ("budget in billion", "budgets in billion"),
        ("staff", "staff"),
        ("song name", "song names"),
    ],
)
def test_plural_and_singular(one: str, many: str) -> None:
    assert plural(one) == many
    assert singular(many) == one


def test_wording() -> None:
    assert with_articles("a album and an song") == "an album and a song"
    texts = {expand("[Show|List] [the|] rows", random.Random(seed)) for seed in range(40)}
    assert texts == {"Show the rows", "Show rows", "List the rows", "List rows"}


WEB = {
    "headers": ["id", "agg", "player", "chart-positions\nuk", "date of win"],
    "contents": [
        [{"col": "id", "data": [1, 2, 3, 4]}],
        [{"col": "agg", "data": [0, 0, 0, 0]}],
        [{"col": "c1", "data": ["ann lee", "bo ray", "cy orr", "di fox"]}],
        [
            {"col": "c2", "data": ["1", "2", "30", None]},
            {"col": "c2_number", "data": [1.0, 2.0, 30.0, None]},
        ],
        [
            {"col": "c3", "data": ["1 may 2001", "2 may 2001", None, "4 june 2002"]},
            {"col": "c3_parsed", "data": ["2001-05-01", "2001-05-02", None, "2002-06-04"]},
        ],
    ],
}


def test_web_tables(tmp_path: Path) -> None:
    source = tmp_path / "tables"
    source.mkdir()
    (source / "200_1.json").write_text(json.dumps(WEB))
    assert convert(source, tmp_path / "web", random.Random(5)) == 1
    (database,) = web_databases(tmp_path / "web")
    assert [c.natural for c in database.schema.columns] == [
        "player",
        "chart positions uk",
        "date of win",
    ]
    assert [facts.role for facts in database.facts][1:] == [Role.NUMBER, Role.DATE]
    table = database.schema.tables[0].name
    assert database.run(f'SELECT count(*) FROM "{table}"') == [(4,)]


@pytest.mark.parametrize(
    ("header", "natural"),
    [("#", "number"), ("area (km2)", "area"), ("pos.", "position"), ("x", ""), ("%", "percent")],
)
def test_natural_header(header: str, natural: str) -> None:
    assert natural_header(header) == natural


def test_styles() -> None:
    rng = random.Random(1)
    names = [styled("home team", s, rng) for s in ("snake", "camel", "pascal", "upper", "spaces")]
    assert names == ["home_team", "homeTeam", "HomeTeam", "HOME_TEAM", "Home Team"]
    assert styled("2009 points", "snake", rng) == "c_2009_points"


def test_wikisql() -> None:
    columns = ["player", "no._of_goals", "player", "home town"]
    rows = [
        {"question": "Which player is from  Rome ?", "columns": columns, "query": "SELECT "
         "\"player\" FROM \"table\" WHERE \"home town\" = '\"Rome\"'"},
        {"question": "How many from Rome?", "columns": columns, "query": "SELECT COUNT("
         '"no._of_goals") FROM "table" WHERE "home town" = \'Rome\''},
        {"question": "Goals of Ann?", "columns": columns, "query": "SELECT AVG("
         '"no._of_goals") FROM "table" WHERE "player" = \'Ann\''},
    ]  # fmt: skip
    pairs = convert_table("1-1", rows, random.Random(1))
    assert [pair.question for pair in pairs] == [
        "Which player is from Rome?",
        "How many from Rome?",
    ]
    assert pairs[0].query.endswith("= 'Rome'")
    assert "COUNT(*)" in pairs[1].query
    assert pairs[0].schema is not None
    schema = from_json(pairs[0].schema)
    assert [column.natural for column in schema.columns] == ["player", "no of goals", "home town"]


def test_mined_synonyms() -> None:
    pairs = [
        ("List the name of students.", "List the name of pupils."),
        ("Show all students", "Show all pupils"),
        ("How many dogs?", "How many cats?"),
    ]
    assert mined(pairs, frozenset(("student",))) == {"student": ["pupil"]}


def wordnet_folder(folder: Path) -> Path:
    data = "  1 a licence line\n00000020 18 n 02 singer 0 vocalist 0 000 | one who sings\n"
    offset = data.index("00000020")
    (folder / "data.noun").write_text(data)
    (folder / "index.noun").write_text(
        f"  1 licence\nsinger n 1 0 1 1 {offset:08d}\nvocalist n 1 0 1 1 {offset:08d}\n"
    )
    for part in ("verb", "adj"):
        (folder / f"data.{part}").write_text("")
        (folder / f"index.{part}").write_text("")
    return folder


def test_wordnet(tmp_path: Path) -> None:
    folder = wordnet_folder(tmp_path)
    assert wordnet.synonyms({"singer", "nothing"}, folder) == {"singer": ["vocalist"]}
    found = dictionary(["Singers", "singer age"], [], folder)
    assert "vocalist" in found["singer"]


def test_perturb_schema(shops: Database) -> None:
    synonyms = {"shop": ["store"], "price": ["cost"], "category": ["kind"]}
    changed = perturb_schema(shops.schema, random.Random(1), synonyms, 1.0)
    assert [c.name for c in changed.columns] == [c.name for c in shops.schema.columns]
    assert changed.foreign_keys == shops.schema.foreign_keys
    assert changed != shops.schema
    for table in changed.tables:
        assert len({c.natural for c in table.columns}) == len(table.columns)
    assert perturb_schema(shops.schema, random.Random(1), synonyms, 0.0) == shops.schema
    assert all(tokenize_question(c.natural).words for c in changed.columns)


def test_write_pairs(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.jsonl"
    pair = Pair("x.sqlite", "x", "Größe?", "SELECT 1", "test")
    assert write_pairs(path, [pair]) == 1
    assert json.loads(path.read_text(encoding="utf-8"))["question"] == "Größe?"
    assert [p.name for p in path.parent.iterdir()] == ["a.jsonl"]
