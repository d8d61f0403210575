"""Comments in a CREATE statement, matched to the columns they stand beside.

SQLite keeps the text of each CREATE statement, comments and all, and people
explain their columns there:

    CREATE TABLE airports (      -- where planes land
        apid integer,            -- id of the airport
        /* three letters */
        iata varchar(3)
    )
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_COMMENT = 200  # characters kept of one comment

_TOKEN = re.compile(
    r"""(?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
      | (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | '(?:[^']|'')*' )
      | (?P<word> [^\W]+ )
      | (?P<newline> \n )
      | (?P<space> [^\S\n]+ )
      | (?P<mark> . )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTRAINTS = frozenset(("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"))


@dataclass(frozen=True, slots=True)
class Comments:
    """The comment on a table, and (lower-case column name, comment) pairs."""

    table: str = ""
    columns: tuple[tuple[str, str], ...] = ()

    def of(self, column: str) -> str:
        """The comment on a column, "" if there is none."""
        return dict(self.columns).get(column.lower(), "")


def parse_comments(create: str) -> Comments:
    """Comments of a CREATE TABLE statement; of anything else, only the table's.

    A comment belongs to the column definition it stands on a line with, else
    to the definition that follows, unless it goes on right below a comment at
    the end of a line. Before the first definition, on the line that opens the
    list or above it, it is the table's.
    """
    if "--" not in create and "/*" not in create:
        return Comments()
    reader = _Reader()
    for kind, text, place in _tokens(create):
        reader.take(kind, text, place)
    columns = tuple((name, _joined(parts)) for name, parts in reader.columns.items() if parts)
    return Comments(_joined(reader.table), columns)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Kind and text of each token, and its place within its line."""
    for match in _TOKEN.finditer(text):
        place = match.start() - text.rfind("\n", 0, match.start())
        yield match.lastgroup or "", match.group(), place


class _Reader:
    """Walks the tokens; `owner` is whom a comment on the current line belongs to."""

    def __init__(self) -> None:
        self.table: list[str] = []
        self.columns: dict[str, list[str]] = {}
        self._depth = 0
        self._owner: list[str] | None = self.table
        self._waiting: list[str] = []  # comments above the next definition
        self._starting = False  # the next word begins a definition
        self._above: tuple[int, list[str]] | None = None  # a comment that may go on below

    def take(self, kind: str, text: str, place: int) -> None:
        if kind == "comment":
            self._take_comment(text, place)
        elif kind == "newline" and self._starting:
            self._owner = None
        elif kind == "mark":
            self._take_mark(text)
        elif kind in ("word", "quoted") and self._starting:
            self._begin(kind, text)

    def _take_comment(self, text: str, place: int) -> None:
        owner = self._owner
        if owner is None and self._above is not None and self._above[0] == place:
            owner = self._above[1]
        self._above = None if owner is None else (place, owner)
        (self._waiting if owner is None else owner).append(_plain(text))

    def _take_mark(self, mark: str) -> None:
        self._depth += {"(": 1, ")": -1}.get(mark, 0)
        if (mark == "(" or mark == ",") and self._depth == 1:
            self._starting = True

    def _begin(self, kind: str, text: str) -> None:
        self._starting, self._above = False, None
        if kind == "word" and text.upper() in _CONSTRAINTS:
            self._owner = []  # comments on constraints are dropped
        else:
            self._owner = self.columns.setdefault(_unquoted(text).lower(), [])
            self._owner += self._waiting
        self._waiting = []


def _plain(comment: str) -> str:
    body = comment[2:].removesuffix("*/") if comment.startswith("/*") else comment.lstrip("-")
    return " ".join(body.split())


def _joined(parts: list[str]) -> str:
    return " ".join(part for part in parts if part)[:MAX_COMMENT].strip()


def _unquoted(name: str) -> str:
    if name[0] == "[":
        return name[1:-1]
    return name[1:-1].replace(name[0] * 2, name[0]) if name[0] in "\"`'" else name
