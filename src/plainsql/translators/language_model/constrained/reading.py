"""What an unfinished text says of its names: which scopes each of its queries may still have.

    b"SELECT T1.name FROM singer AS T1 JOIN " ─ Reading.add ─▶ frames, a shorter text

The text comes in pieces that end anywhere. A word counts once something follows it.
Queries that are closed are left out of the shorter text, which a grammar made of
the frames accepts as far as it goes: `(SELECT 1)` stands for a nested query, `SELECT
1, 1` for one side of a set operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from plainsql.translators.language_model.constrained.grammar import (
    DEPTH,
    Frame,
    Grammar,
    numbers_in,
)
from plainsql.translators.language_model.constrained.scopes import Source

_TOKEN = re.compile(
    rb"""(?P<blank>\s+) | (?P<text>'(?:[^']|'')*+') | (?P<quoted>"(?:[^"]|"")*+"|`[^`]+`)
    | (?P<fence>```)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*) | (?P<number>[0-9][0-9.]*) | (?P<sign>[^\w\s'"`])""",
    re.VERBOSE,
)
_ENDS_SOURCE = frozenset(
    b"join inner left on where group order limit union intersect except".split()
)
_ENDS_QUERY = _ENDS_SOURCE | {b")", b";", b"```"}
_DECIDING = _ENDS_SOURCE | {b"from"}
_BEFORE_STAR = frozenset((b"select", b"distinct", b".", b","))
_SIGNS = frozenset(bytes([sign]) for sign in b"(,.=<>!+-*/|%;")
_BEFORE_OPERAND = frozenset(
    b"select distinct as and or not when then else by on in is all between like where having from"
    b" join case limit offset".split()
)
_SETS = frozenset({b"union", b"intersect", b"except"})


class Index:
    """Which scopes have a name: a bit for each. Words in lower case, quoted names as they are."""

    def __init__(self, grammar: Grammar) -> None:
        self.scopes = grammar.scopes
        self.everything = (1 << len(self.scopes)) - 1
        self.columns: dict[bytes, int] = {}
        self.tables: dict[bytes, set[int]] = {}  # as FROM names them
        self._naming = grammar.naming
        sources: dict[Source, int] = {}
        sets: dict[frozenset[int], int] = {}
        for number, scope in enumerate(self.scopes):
            for source in zip(scope.tables, scope.names, strict=True):
                sources[source] = sources.get(source, 0) | 1 << number
            tables = frozenset(scope.tables)
            sets[tables] = sets.get(tables, 0) | 1 << number
        for source, bits in sources.items():
            self._add(self._qualified(source), bits)
        for tables, bits in sets.items():
            self._add(map(self._spelled, self._naming.bare_columns(tables)), bits)
        for table in {table for tables in sets for table in tables}:
            for key in self._table(table):
                self.tables.setdefault(key, set()).add(table)

    def _add(self, names: Iterable[Iterable[bytes]], bits: int) -> None:
        for key in (key for keys in names for key in keys):
            self.columns[key] = self.columns.get(key, 0) | bits

    def _spelled(self, name: str) -> tuple[bytes, ...]:
        """The ways to write a name."""
        spelling = self._naming.spelling
        quoted = spelling.quoted(name).encode()
        return (quoted,) if spelling.rules.quotes(name) else (quoted, name.lower().encode())

    def _qualified(self, source: Source) -> Iterator[list[bytes]]:
        """A table's columns behind its alias, or behind its own name."""
        table, alias = source
        own = self._naming.schema.tables[table].bare_name
        heads = [alias.lower().encode()] if alias else self._spelled(own)
        for keys in ((b"*",), *map(self._spelled, self._naming.columns[table])):
            yield [head + b"." + key for head in heads for key in keys]

    def _table(self, table: int) -> list[bytes]:
        record = self._naming.schema.tables[table]
        homes = [key + b"." for key in self._spelled(record.namespace)]
        names = self._spelled(record.bare_name)
        return [home + name for home in (homes if record.namespace else [b""]) for name in names]


@dataclass(slots=True)
class _Query:
    """One query that is being written. `start` is where it begins in the shorter text."""

    start: int
    level: int  # brackets that are open around it
    possible: int  # scopes, packed
    phase: str = "list"  # then "source", "on", "join" (a table is to come), "bound"
    before: tuple[Source, ...] = ()
    items: int = 1
    source: tuple[bytes, ...] = ()  # what is written so far of a table in FROM


@dataclass(slots=True)
class Reading:
    """The state of reading one text."""

    index: Index
    short: bytes = b""  # what is read, without closed queries
    rest: bytes = b""  # begun, but not ended: belongs to the text too
    queries: list[_Query] = field(default_factory=list)
    brackets: int = 0
    last: tuple[bytes, bytes] = (b"", b"")  # the last two tokens, in lower case
    name: bytes = b""  # a column, perhaps qualified, until it is seen how it goes on

    def copy(self) -> Reading:
        """One that goes its own way."""
        return replace(self, queries=[replace(query) for query in self.queries])

    def add(self, piece: bytes) -> None:
        """Read on."""
        self.rest += piece
        while match := _TOKEN.match(self.rest):
            kind = match.lastgroup or ""
            unfinished = match.end() == len(self.rest) and kind not in ("sign", "fence", "blank")
            if unfinished and not (kind == "word" and self._is_keyword(match[0].lower())):
                return
            token, self.rest = match[0], self.rest[match.end() :]
            if kind != "blank":
                self._take(token, kind)
                continue
            self.short += token
            if self.queries and self.name and not self.name.endswith(b"."):
                self._decide(self.queries[-1], self.name)  # no call: its bracket stands at it
                self.name = b""

    def _is_keyword(self, word: bytes) -> bool:
        """Whether an unfinished word is one of SQL already: it follows a whole operand.

        Tokens of models begin with a blank: the next one may hold the end of this word,
        which decides between scopes, and the beginning of a name.
        """
        before, last = self.last
        if word not in _DECIDING or not self.queries or not last:
            return False
        if last == b"*":
            return before in _BEFORE_STAR
        return last == b")" or (last not in _BEFORE_OPERAND and last[:1] not in _SIGNS)

    @property
    def text(self) -> bytes:
        """The shorter text."""
        return self.short + self.rest

    @property
    def is_open(self) -> bool:
        """Whether the names to come may still decide between scopes."""
        return not self.queries or self.queries[-1].phase != "bound"

    def frames(self) -> tuple[Frame, ...]:
        """A frame for each depth; of all scopes where no query is open."""
        found = [Frame(query.possible, query.before) for query in self.queries[:DEPTH]]
        return (*found, *[Frame(self.index.everything)] * (DEPTH - len(found)))

    # --- one token --------------------------------------------------------------------

    def _take(self, token: bytes, kind: str) -> None:
        word = token if kind in ("quoted", "text") else token.lower()
        query = self.queries[-1] if self.queries else None
        own = query is not None and query.level == self.brackets
        if query is not None:
            self._columns(query, word, kind)
            if own:
                self._clauses(query, word, kind)
        start = len(self.short)
        self.short += token
        if word == b"select":
            self.queries.append(_Query(start, self.brackets, self.index.everything))
        elif word == b"(":
            self.brackets += 1
        elif word == b")":
            self._close()
        elif own and query is not None and word in _SETS:
            self._turn(query, token)
        self.last = (self.last[1], word)

    def _columns(self, query: _Query, word: bytes, kind: str) -> None:
        """A name counts when its next token shows that it is whole, and no call."""
        if word == b"*" and self.last[1] == b"." and self.name:
            self._decide(query, self.name + b"*")
            self.name = b""
        elif word == b"." and self.name:
            self.name += b"."
        elif kind in ("word", "quoted") and self.name.endswith(b"."):
            self.name += word
        else:
            if self.name and word != b"(":
                self._decide(query, self.name)
            is_column = self.last[1] != b"as" and self.last != (b"extract", b"(")
            self.name = word if kind in ("word", "quoted") and is_column else b""

    def _decide(self, query: _Query, name: bytes) -> None:
        if query.phase == "list" and name in self.index.columns:
            query.possible &= self.index.columns[name]

    def _clauses(self, query: _Query, word: bytes, kind: str) -> None:
        """Where FROM stands; what FROM names decides too."""
        ends = word in _ENDS_SOURCE or kind in ("sign", "fence")
        if query.phase == "list":
            query.items += word == b","
            query.phase = "source" if word == b"from" else "list"
        elif query.phase == "join":
            query.phase = "source" if word == b"join" else "join"
        elif query.phase == "source" and (word == b"." or not ends):
            query.source += (word,)
        elif query.phase == "source" and not query.source:  # FROM (SELECT ...)
            query.phase = "bound"
        elif query.phase == "source":
            self._named(query)
            self._goes_on(query, word)
        elif query.phase == "on" and word in _ENDS_QUERY:
            self._goes_on(query, word)

    def _named(self, query: _Query) -> None:
        """A table in FROM is whole: keep the scopes that have it there under its alias."""
        words = query.source
        many = 3 if words[1:2] == (b".",) else 1
        tables = self.index.tables.get(b"".join(words[:many]), set())
        alias = words[-1].decode() if len(words) > many else ""
        possible = 0
        found: dict[Source, None] = {}
        for number in numbers_in(query.possible):
            for source in self.index.scopes[number].nexts(len(query.before)):
                known = source[0] in tables and source not in query.before
                if known and source[1].lower() == alias:
                    possible |= 1 << number
                    found[source] = None
        query.possible = possible
        query.before += tuple(found)[:1]
        query.source = ()

    def _goes_on(self, query: _Query, word: bytes) -> None:
        """A table, or the condition of its join, is followed by something else."""
        scopes, size = self.index.scopes, len(query.before)
        joins = word in (b"join", b"inner", b"left")
        if word == b"on":
            query.phase = "on"
            return
        query.phase = ("source" if word == b"join" else "join") if joins else "bound"
        for number in numbers_in(query.possible):
            if (len(scopes[number].tables) > size) != joins:
                query.possible &= ~(1 << number)

    def _close(self) -> None:
        self.brackets -= 1
        if self.queries and self.queries[-1].level > self.brackets:
            query = self.queries.pop()
            self.short = self.short[: query.start] + b"SELECT 1)"

    def _turn(self, query: _Query, token: bytes) -> None:
        """One side of a set operation is whole."""
        ones = b", 1" * (query.items - 1)
        self.short = self.short[: query.start] + b"SELECT 1" + ones + b" " + token
        self.queries.pop()
