"""A DuckDB database of boats and ports, and what else a query must not touch."""

from __future__ import annotations

import hashlib
from pathlib import Path

SCRIPT = """
CREATE TABLE boat (id INTEGER PRIMARY KEY, name VARCHAR, length DOUBLE, port_id INTEGER);
CREATE TABLE port (id INTEGER PRIMARY KEY, town VARCHAR, tags VARCHAR[]);
CREATE TABLE secret (id INTEGER PRIMARY KEY, word VARCHAR);
CREATE TABLE "old secret" (word VARCHAR);
CREATE TABLE number (n BIGINT);
CREATE VIEW harbour AS SELECT town, name FROM port JOIN boat ON boat.port_id = port.id;
CREATE VIEW word_count AS SELECT count(word) AS words FROM secret;
CREATE SEQUENCE counter;
CREATE MACRO twice(x) AS 2 * x;
CREATE MACRO first_boats(k) AS TABLE SELECT id FROM boat ORDER BY id LIMIT k;
CREATE SCHEMA yard;
CREATE TABLE yard.crane (id INTEGER, load DOUBLE);
CREATE TABLE yard.secret (id INTEGER);
INSERT INTO boat VALUES (1, 'Möwe', 7.5, 1), (2, 'Gull', 31, 2), (3, NULL, NULL, 2);
INSERT INTO port VALUES (1, 'Kiel', ['north', 'sail']), (2, 'Cork', []);
INSERT INTO secret VALUES (1, 'xyzzy');
INSERT INTO yard.crane VALUES (1, 12.5);
INSERT INTO number SELECT range FROM range(2000);
"""


def make(path: Path, script: str = SCRIPT) -> Path:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        connection.execute(script)
    return path


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder with the hash of its bytes."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
