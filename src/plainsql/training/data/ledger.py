"""What was asked before: finds duplicates and contradictions in constant memory.

Keys lie in a scratch SQLite file, not in a set: a million examples would take
some 150 MB of one.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from pathlib import Path

_WORDS = re.compile(r"\w+")
_TOKENS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|\w+|[<>=!|]+|\S""")


def question_key(question: str) -> str:
    """Equal for questions that differ in case, blanks and punctuation only."""
    return " ".join(_WORDS.findall(question.casefold()))


def sql_key(sql: str) -> str:
    """Equal for queries that differ in blanks, and in case outside of quotation marks."""
    return " ".join(token[1] or token[0].lower() for token in _TOKENS.finditer(sql))


class Ledger:
    """The questions and queries so far, in a scratch file at `path`. Close it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        # Nobody reads it after a crash.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2000"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(
            "CREATE TABLE asked (question BLOB, sql BLOB, PRIMARY KEY (question, sql))"
            " WITHOUT ROWID"
        )
        self._connection.execute("BEGIN")

    def is_new(self, scope: str, question: str, sql: str) -> bool:
        """Whether the pair was not asked before of the database or schema `scope`."""
        asked = _digest(f"{scope}\n{question_key(question)}")
        done = self._connection.execute(
            "INSERT OR IGNORE INTO asked VALUES (?, ?)", (asked, _digest(sql_key(sql)))
        )
        return done.rowcount == 1

    def contradictions(self) -> int:
        """The number of questions that have more than one query."""
        counted = "SELECT 1 FROM asked GROUP BY question HAVING count(*) > 1"
        (number,) = self._connection.execute(f"SELECT count(*) FROM ({counted})").fetchone()
        return int(number)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
