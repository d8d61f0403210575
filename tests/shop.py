"""A small shop with every kind of key and name: what the logical form is tested on."""

from __future__ import annotations

import json
import sqlite3
import string
from contextlib import closing
from pathlib import Path

from plainsql.schema.graph import JoinGraph
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema

SHOP = '''
CREATE TABLE customer (
    customer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, birthday DATE, credit REAL
);
CREATE TABLE product (
    product_id INTEGER PRIMARY KEY, title TEXT, price REAL, stock INTEGER, added DATE
);
CREATE TABLE purchase (
    purchase_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer (customer_id),
    product_id INTEGER REFERENCES product (product_id), bought DATE, amount INTEGER
);
CREATE TABLE employee (
    employee_id INTEGER PRIMARY KEY, name TEXT, salary REAL,
    boss_id INTEGER REFERENCES employee (employee_id),
    shop INTEGER REFERENCES "shop floor" ("shop id")
);
CREATE TABLE "shop floor" (
    "shop id" INTEGER PRIMARY KEY, "it's ""odd""" TEXT, "order" INTEGER, "größe" REAL
);
CREATE TABLE delivery (
    delivery_id INTEGER PRIMARY KEY, origin INTEGER REFERENCES "shop floor" ("shop id"),
    target INTEGER REFERENCES "shop floor" ("shop id"), weight REAL
);
CREATE TABLE weather (day DATE, rain REAL, note TEXT);
INSERT INTO customer VALUES
    (1, 'Ann O''Neil', 'France', '1990-03-01', 10.5), (2, 'Bob', 'Spain', '1985-07-15', NULL),
    (3, 'Ćiro', 'France', '2001-12-31', 99.0), (4, 'Dan 50%', 'Peru', NULL, 0.0),
    (5, 'Eve', 'Spain', '1985-07-16', 12.0);
INSERT INTO product VALUES
    (1, 'red pen', 1.5, 100, '2020-01-10'), (2, 'blue pen', 1.75, 0, '2020-05-01'),
    (3, 'desk', 120.0, 3, '2021-11-05'), (4, 'lamp', 30.0, 12, '2021-02-28'),
    (5, 'pen_case', 8.0, NULL, '2022-08-19');
INSERT INTO purchase VALUES
    (1, 1, 1, '2022-01-02', 5), (2, 1, 3, '2022-04-03', 1), (3, 2, 1, '2022-07-04', 10),
    (4, 3, 4, '2022-12-05', 2), (5, 3, 1, '2023-01-06', 1), (6, 5, 2, '2023-02-07', NULL),
    (7, 5, 2, '2023-02-07', 7);
INSERT INTO employee VALUES
    (1, 'Zoe', 5000, NULL, 1), (2, 'Yan', 3000, 1, 1), (3, 'Xi', 3500, 1, 2),
    (4, 'Will', 2000, 2, 2), (5, 'Eve', 6000, 2, 3);
INSERT INTO "shop floor" VALUES (1, 'main', 3, 80.5), (2, 'say "hi"', 1, 20.0), (3, NULL, 2, 45.0);
INSERT INTO delivery VALUES (1, 1, 2, 10.0), (2, 1, 3, 5.5), (3, 2, 1, 7.0), (4, 3, 3, 1.0);
INSERT INTO weather VALUES ('1985-07-15', 3.5, 'wet'), ('2022-07-01', 0, 'dry');
'''


def open_shop(folder: Path) -> tuple[Path, Schema, JoinGraph]:
    """The shop as a file in `folder`, its schema and join graph."""
    path = folder / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SHOP)
    schema = sqlite_schema(path)
    return path, schema, JoinGraph(schema)


def rows_of(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What SQLite returns. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


WHOLE = (
    "customer product purchase employee name price country id what are the names of in from".split()
)


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer.json of some whole words, and every other ASCII word letter by letter."""
    signs = string.ascii_lowercase + string.digits
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WHOLE, *signs, *(f"##{sign}" for sign in signs)]
    tokens += string.punctuation
    form = {
        "model": {
            "type": "WordPiece",
            "vocab": {token: position for position, token in enumerate(dict.fromkeys(tokens))},
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        "added_tokens": [{"content": token} for token in tokens[:4]],
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(form), encoding="utf-8")
    return path
