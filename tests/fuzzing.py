"""Made-up statements for the guard: grown from a grammar, and mutations of what is known.

Everything is drawn from one `random.Random`: the same seed gives the same texts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from test_guard_completeness import (
    CALLS,
    EXPRESSIONS,
    HARMLESS,
    PLACES,
    SECRETS,
    TABLE_READS,
    WRITES,
)

DEPTH = 3
LITERALS = [
    "0", "1", "2", "-1", "9223372036854775807", "18446744073709551616", "1e308", "1.5", "''",
    "'x'", "'it''s'", "NULL", "TRUE", "x'00ff'", "id", "name", "users.id", "u.id", "o.total",
    '"name"', "count(*)", "max(id)", "lower(name)", "round(1.5)", "id % 3", "name || 'x'",
    "'%05d'",
]  # fmt: skip
STATEMENTS = [
    "DELETE FROM users", "DROP TABLE users", "UPDATE users SET name = 'x'", "VACUUM INTO 'z'",
    "INSERT INTO users (id) VALUES (99)", "CREATE TABLE z AS SELECT 1", "ATTACH 'z.db' AS z",
    "PRAGMA user_version = 7", "COPY users TO 'z.csv'", "EXPORT DATABASE 'z'", "BEGIN",
    "COMMIT", "SET x = 1", "CALL f()", "LOAD 'x'", "INSTALL x", "TRUNCATE users",
    "ALTER TABLE users ADD z INT", "DO $$ BEGIN END $$", "SHOW TABLES", "HANDLER users OPEN",
    "LOCK TABLES users WRITE", "CHECKPOINT", "REPLACE INTO users (id) VALUES (1)",
    "EXPLAIN ANALYZE DELETE FROM users", "USE z", "REINDEX", "SELECT * INTO z FROM users",
    "SELECT 1 INTO OUTFILE 'z'", "PREPARE p AS SELECT 1", "EXECUTE p",
]  # fmt: skip
SNIPPETS = [
    ";", "; DELETE FROM users", ";DROP TABLE users;--", "--", "-- \n", "/*", "*/", "/**/",
    "/*! 1 */", "/*+ x */", "#", "# x\n", "'", '"', "`", "[", "]", "(", ")", "{", "}", "$$",
    "$a$", "\\", "\\'", ",", ".", "..", ":", "::", "::text", "?", "$1", "@", "@@version", ":a",
    "*", "%", "||", "->>", "~", "\x00", "\x1b", "\r", "\u00a0", "\u200b", "\u202e", "\ufeff",
    "\u2028", "ſ", "K", "É", "🂡", "\ud800", "ＳＥＬＥＣＴ", "INTO", "INTO z", "FOR UPDATE",
    "RETURNING *", "LATERAL", "UNION SELECT", "WITH secret AS (SELECT 1)", "FROM secret",
    "secret", "main.secret", "sqlite_master", "pg_shadow", "IN secret", "NATURAL", "USING",
    "FILTER", "OVER ()", "COLLATE nocase", "AT TIME ZONE 'x'", "FROM 'z.csv'", "read_csv('z')",
    "load_extension('z')", "pg_sleep(9)", "sleep(9)", "E'\\n'", "U&'\\0041'", "N'x'", "X'00'",
    "B'01'", "_utf8'x'", "TABLESAMPLE 9", "QUALIFY 1", "PIVOT", "ASOF", "EXCLUDE (id)",
    "REPLACE (1 AS id)", "AS OF", "ONLY", "TABLE users", "VALUES (1)", "ROW(1)",
    "INTERVAL 1 DAY", "DATE '2024-01-01'", "CAST(1 AS INT)", "1e999", "0x1F", "1_000", ".5",
    "5.",
]  # fmt: skip
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|\w+|\s+|[^\w\s]")


class Fuzzer:
    """A source of statements for one dialect."""

    def __init__(self, dialect: str, seed: int) -> None:
        self.dialect = dialect
        self.random = random.Random(f"{dialect} {seed}")
        self._expressions = [template for of, template in EXPRESSIONS if of == dialect]
        self._places = [template for of, template in PLACES if of == dialect]
        self._forbidden = [*CALLS[dialect], *WRITES, *TABLE_READS]
        self._tables = ["users", "orders", "items", "spending"]
        whole = [t.format(x=x) for t in self._expressions for x in HARMLESS]
        whole += [t.format(t=name) for t in self._places for name in self._tables]
        self._seeds = whole + STATEMENTS

    def texts(self, count: int) -> Iterator[str]:
        """`count` statements: one in three grown, the others mutated."""
        for number in range(count):
            yield self.grown() if number % 3 == 0 else self.mutated()

    def grown(self) -> str:
        """A query of nested templates; one in four holds something forbidden."""
        hostile = self.random.random() < 0.25
        return self._query(DEPTH, hostile=hostile)

    def mutated(self) -> str:
        """A seed with one to four changes, of words or of characters."""
        choose = self.random.choice
        text = self.grown() if self.random.random() < 0.2 else choose(self._seeds)
        for _ in range(1 + self.random.randrange(4)):
            change = choose((self._words, self._words, self._characters, self._spliced))
            text = change(text)
        return text

    def _query(self, depth: int, *, hostile: bool) -> str:
        choose = self.random.choice
        if self.random.random() < 0.3:
            table = choose(SECRETS[self.dialect]) if hostile else choose(self._tables)
            return choose(self._places).format(t=table)
        return choose(self._expressions).format(x=self._value(depth - 1, hostile=hostile))

    def _value(self, depth: int, *, hostile: bool) -> str:
        choose = self.random.choice
        if depth > 0 and self.random.random() < 0.4:
            return f"({self._query(depth, hostile=hostile)})"
        if hostile:
            return choose(self._forbidden)
        return choose(HARMLESS if self.random.random() < 0.5 else LITERALS)

    def _words(self, text: str) -> str:
        """Tokens deleted, doubled, swapped, or taken from another seed."""
        tokens = _TOKEN.findall(text)
        if not tokens:
            return text
        at, other = self.random.randrange(len(tokens)), self.random.randrange(len(tokens))
        match self.random.randrange(5):
            case 0:
                del tokens[at : at + 1 + self.random.randrange(3)]
            case 1:
                tokens[at:at] = tokens[at : at + 2]
            case 2:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 3:
                donor = _TOKEN.findall(self.random.choice(self._seeds))
                start = self.random.randrange(len(donor))
                tokens[at : at + 1] = donor[start : start + 4]
            case _:
                tokens[at] = self.random.choice((str.upper, str.swapcase, str.title))(tokens[at])
        return "".join(tokens)

    def _characters(self, text: str) -> str:
        """One character deleted, doubled or replaced by any other."""
        if not text:
            return text
        at = self.random.randrange(len(text))
        match self.random.randrange(4):
            case 0:
                return text[:at] + text[at + 1 :]
            case 1:
                return text[:at] + text[at] + text[at:]
            case 2:
                return text[:at] + chr(self.random.randrange(0x20, 0x7F)) + text[at + 1 :]
            case _:
                return text[:at] + chr(self.random.randrange(0x110000)) + text[at:]

    def _spliced(self, text: str) -> str:
        """A hostile piece put somewhere, or a statement before or after."""
        choose = self.random.choice
        if self.random.random() < 0.2:
            between = choose((";", " ; ", "\n", " UNION ", " -- \n"))
            pair = [text, choose(STATEMENTS)]
            self.random.shuffle(pair)
            return between.join(pair)
        at = self.random.randrange(len(text) + 1)
        space = choose(("", " ", "\n", "/**/"))
        return f"{text[:at]}{space}{choose(SNIPPETS)}{space}{text[at:]}"
