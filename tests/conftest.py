"""What all tests share: a small database, and a home of their own."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plainsql.execution import redaction
from servers import mariadb_server as mariadb_server
from servers import postgresql_server as postgresql_server

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that:
# those that tests interrupt would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

CONCERTS = """
CREATE TABLE singer (
    singer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, age INTEGER, photo BLOB
);
CREATE TABLE concert (
    concert_id INTEGER PRIMARY KEY, title TEXT, year INTEGER,
    singer_id INTEGER REFERENCES singer (singer_id)
);
INSERT INTO singer VALUES
    (1, 'Joe Sharp', 'Netherlands', 52, NULL), (2, 'Timbaland', 'United States', 32, NULL),
    (3, 'Justin Brown', 'France', 29, x'00ff'), (4, 'Rose White', 'France', 41, NULL),
    (5, 'John Nizinik', 'France', 43, NULL), (6, 'Tribal King', 'France', 25, NULL);
INSERT INTO concert VALUES
    (1, 'Auditions', 2014, 2), (2, 'Super bootcamp', 2014, 3), (3, 'Home Visits', 2015, 3);
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's settings or writes to the user's folders."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("PLAINSQL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))


@pytest.fixture
def concerts(tmp_path: Path) -> Path:
    """A database of six singers and three concerts."""
    path = tmp_path / "concerts.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(CONCERTS)
    return path


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """A password in one test's URL is an ordinary word in the next one's messages."""
    before = set(redaction._seen)
    yield
    redaction._seen.clear()
    redaction._seen.update(before)
