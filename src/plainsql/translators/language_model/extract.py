"""The SQL in what a language model said, without its prose, fences, thoughts and tags.

    extract_sql("Here it is:\\n```sql\\nSELECT 1;\\n```\\nIt returns 1.")  ->  "SELECT 1"

The first statement is taken. What it does is not judged here: DELETE or DROP come
back as they are, for the guard to refuse. What is no answer to a question is
passed over: of EXPLAIN the query that it explains is taken, VALUES alone is not,
and CREATE (models repeat the schema) only where there is nothing else. A thought
that was not finished (`<think>` without its end) holds drafts and no answer.

"Select" and "delete" are English words too. A statement is believed where its
words follow each other as in SQL (never three bare words in a row, no "the" or
"this" before a name), and the more it looks meant as one: in a fence, at the
beginning of a line, after a colon, in capitals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise

from plainsql.translators.language_model.sql_tokens import Kind, Token, tokens_of, written

MAX_LENGTH = 20_000  # characters looked at
_MAX_STARTS = 50  # words looked at that may begin a statement, in each part
_MAX_PARTS = 10  # fences and the like

# Of DeepSeek, Qwen and others; of Magistral; of Kimi; the channels of gpt-oss, where what is
# said aloud is the final one (https://cookbook.openai.com/articles/openai-harmony).
_THOUGHT_TAG = re.compile(
    r"(?P<end><\|channel\|>final\b[^<\n]*<\|message\|>)|<\|channel\|>analysis\b[^<\n]*<\|message\|>"
    r"|(?:<|\[|◁)(?P<ends>/?)(?:think|thinking|thought|reasoning)(?:>|\]|▷)",
    re.I,
)
_FENCE = re.compile(
    r"(?:```|~~~)(?:sqlite3?|postgres(?:ql)?|(?:my|ts?|pl)?-?sql)?\b(.*?)(?:```|~~~|\Z)",
    re.S | re.I,
)
_JSON = re.compile(
    r'"(?:sql|sql_query|sqlquery|query|answer|statement)"\s*:\s*"((?:[^"\\]|\\.)*+)', re.S | re.I
)

_NAME = r"""(?:\w+|"[^"\n]+"|`[^`\n]+`|\[[^\]\n]+\]|[“”][^“”\n]+[“”])"""
_START = re.compile(
    rf"""(?<![\w$@])(?:
      (?P<select> SELECT\b )
    | (?P<with>   WITH\s+(?:RECURSIVE\s+)?{_NAME}\s*(?:\([^()]*\)\s*)?
                  AS\s*(?:(?:NOT\s+)?MATERIALIZED\s*)?\( )
    | (?P<create> CREATE\s+(?:OR\s+REPLACE\s+|(?:TEMP(?:ORARY)?|UNIQUE|MATERIALIZED|VIRTUAL)\s+)*
                  (?:TABLE|VIEW|INDEX|TRIGGER|DATABASE|SCHEMA) )
    | (?P<change> INSERT\s+(?:OR\s+\w+\s+)?INTO | REPLACE\s+INTO | UPDATE\s+{_NAME}\s+SET
                | DELETE\s+FROM | (?:DROP|ALTER)\s+(?:TABLE|VIEW|INDEX|TRIGGER|DATABASE|SCHEMA)\b
                | TRUNCATE\s+TABLE | PRAGMA\s+\w+ | ATTACH\s+(?:DATABASE\b|') | DETACH\s+DATABASE
                | VACUUM\s+INTO | MERGE\s+INTO )
    )""",
    re.VERBOSE | re.IGNORECASE,
)
# What may stand before a statement that is meant as one.
_MEANT = re.compile(r"(?:^|[\n:`(*\"'>!?.;|=“‘\-]|\b(?:sql|explain|plan|analyze))\Z", re.I)

_ARTICLES = frozenset("the an this that these those your our my each".split())
_SETS = frozenset("UNION ALL EXCEPT INTERSECT MINUS DISTINCT".split())
_CONTINUES = frozenset(
    """
    AND AS ASC BETWEEN CASE COLLATE CROSS DESC ELSE END ESCAPE EXCEPT FETCH FILTER FROM FULL GLOB
    GROUP HAVING ILIKE IN INNER INTERSECT INTO IS JOIN LATERAL LEFT LIKE LIMIT MINUS NATURAL NOT
    NULLS OFFSET ON OR ORDER OUTER OVER QUALIFY REGEXP RETURNING RIGHT SET STRAIGHT_JOIN THEN UNION
    USING VALUES WHEN WHERE WINDOW
    """.split()
)
# After these a query goes on; other keywords may be names ("ORDER BY time").
_EXPECTS = (_CONTINUES | _SETS | frozenset("SELECT BY WITH RECURSIVE EXISTS TABLE".split())) - {
    "ASC",
    "DESC",
    "END",
}
_CLAUSES = frozenset("WHERE GROUP ORDER JOIN LIMIT HAVING UNION INTERSECT EXCEPT".split())
_ENGLISH = frozenset("ALL FOR IF NO OF TO WITH".split())
_TAKES_NAME = frozenset("FROM JOIN INTO BY".split())
# What a SELECT without FROM may begin with, besides numbers, strings and functions.
_VALUES = frozenset(
    "CASE NULL EXISTS NOT TRUE FALSE CAST CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP".split()
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A statement, and how far it is to be believed (lowest first)."""

    sql: str
    doubt: int


def extract_sql(text: str) -> str:
    """The first SQL statement in `text`, without its semicolon; "" if there is none.

    Typographic quotes and spaces outside of string literals become plain ones; a
    statement that was cut off comes back as it is. Never raises; what it returned
    it returns again.
    """
    for _ in range(4):
        found = _extracted(text[:MAX_LENGTH])
        if found == text:
            return found
        text = found
    return ""


def whole_sql(text: str, *, finished: bool) -> str:
    """`extract_sql`, but "" where a text that was not finished may have broken off in it.

    Half a statement may run all the same and give wrong rows: "… WHERE a = 1" without
    the "AND b = 2" that was to follow. It is whole where something closes it (a semicolon,
    a fence, a tag, an empty line) or other words follow, of which the first is whole too.
    """
    sql = extract_sql(text)
    if finished or not sql:
        return sql
    return sql if _ends_well(sql) and _FOLLOWED.match(_behind(text, sql)) else ""


_FOLLOWED = re.compile(
    r"[\s)*\"'`\]]*?(?:;|```|~~~|</\w+>|<\||\"|\n[ \t\r]*\n)"
    r"|\W*(?!(?:union|intersect|except|minus)\b)\w+\W+\w",
    re.IGNORECASE,
)


def _ends_well(sql: str) -> bool:
    """Whether neither a string, a parenthesis nor a clause of the statement is open."""
    tokens, _ = tokens_of(sql, 0)
    last = tokens[-1].text if tokens else ""
    closed = last[:1] not in "'\"`" or (len(last) > 1 and last[-1] == last[0] and last[-2] != "\\")
    return bool(last) and closed and _complete(tokens[-1]) and not sum(map(_depth, tokens))


def _behind(text: str, sql: str) -> str:
    """What follows the last place where `text` has the letters and digits of `sql`."""
    places = [at for at, character in enumerate(text) if character.isalnum()]
    letters = "".join(text[at] for at in places)
    wanted = "".join(character for character in sql if character.isalnum())
    found = letters.rfind(wanted)
    if found < 0:
        return ""
    end = places[found + len(wanted) - 1] + 1
    tail = sql[len(sql.rstrip("'\"`)*]")) :]  # signs of its own
    return text[end + len(tail) :] if text.startswith(tail, end) else text[end:]


def _extracted(text: str) -> str:
    start = _START.match(text, len(text) - len(text.lstrip(" \t\r\n(")))
    if start is not None and (read := _read(text, start)) is not None:
        return read[0].sql
    said = _without_thoughts(text)
    parts = islice(_quoted(said), _MAX_PARTS)
    found = [one for part in (*parts, said) if (one := _first(part)) is not None]
    return min(found, key=lambda one: one.doubt).sql if found else ""


def _without_thoughts(text: str) -> str:
    """What was said aloud: not between the tags, nor before an end without a beginning."""
    aloud: list[str] = []
    at: int | None = 0  # where what is said goes on; None in a thought
    for tag in _THOUGHT_TAG.finditer(text):
        if tag["end"] or tag["ends"]:
            aloud = [] if at is not None else aloud
            at = tag.end()
        elif at is not None:
            aloud.append(text[at : tag.start()])
            at = None
    return "\n".join((*aloud, text[at:] if at is not None else ""))


def _quoted(text: str) -> Iterator[str]:
    """Parts that are marked as code: values in JSON, then what stands in fences."""
    for value in _JSON.findall(text):
        try:
            yield json.loads(f'"{value}"', strict=False)
        except ValueError:
            yield value
    yield from _FENCE.findall(text)


def _first(text: str) -> _Found | None:
    """The statement of the least doubt in `text`, the first of several."""
    return min(_statements(text), key=lambda found: found.doubt, default=None)


def _statements(text: str) -> Iterator[_Found]:
    at = 0
    for _ in range(_MAX_STARTS):
        start = _START.search(text, at)
        if start is None:
            return
        at = start.end()
        if (read := _read(text, start)) is not None:
            found, at = read
            yield found


def _read(text: str, start: re.Match[str]) -> tuple[_Found, int] | None:
    """The statement that begins at `start`, and its end; None where it is none."""
    opened = _opened(text, start.start())
    tokens, end = tokens_of(text, opened)
    number, clean = _length(tokens)
    closed = end < len(text) and text[end] == ";" and number == len(tokens)
    kept = _unwrapped(tokens[:number])
    place = _place(text, opened)
    if not kept or place is None:
        return None
    if (group := start.lastgroup) == "select":
        if not _selects(kept) or not (clean or start[0].isupper()):
            return None
        plain = not (closed or start[0].isupper() or _has_clause(kept))
    else:
        plain = group != "with"
    if place and plain:
        return None
    doubt = 4 * (group == "create") + 2 * (not clean) + place
    return _Found(written(text, kept), doubt), max(kept[-1].end, start.end())


def _opened(text: str, start: int) -> int:
    """Where the parentheses before a query begin: (SELECT …) UNION …"""
    found = re.search(r"\((?:\s*\()*\s*\Z", text[:start])
    return found.start() if found else start


def _place(text: str, start: int) -> int | None:
    """0 where a statement is expected, 1 in the middle of a sentence, None in a comment."""
    line = text[:start].rpartition("\n")[2]
    if "--" in line and (line.lstrip().startswith("--") or not text[start : start + 6].isupper()):
        return None
    if text.rfind("/*", 0, start) > text.rfind("*/", 0, start):
        return None
    return 0 if _MEANT.search(text[:start].rstrip(" \t\u00a0")) else 1


def _unwrapped(tokens: Sequence[Token]) -> Sequence[Token]:
    """Without parentheses around the whole, which SQLite refuses, or never closed."""
    while tokens and tokens[0].text == "(":
        depths = accumulate(map(_depth, tokens))
        closing = next((at for at, depth in enumerate(depths) if depth == 0), None)
        if closing is not None and closing < len(tokens) - 1:
            return tokens
        tokens = tokens[1:closing]
    return tokens


def _selects(tokens: Sequence[Token]) -> bool:
    """True where a query selects something of something, or computes a value."""
    inner = [token for token in tokens if token.text != "("]
    first = next((at for at, token in enumerate(tokens) if token.word == "SELECT"), None)
    if first is None or len(inner) < 2 or tokens[0].word not in ("", "SELECT"):
        return False
    after = [t for t in tokens[first + 1 :] if t.word not in ("DISTINCT", "ALL")]
    depth = 0
    for at, token in enumerate(after):
        if token.word == "FROM" and depth == 0:
            return 0 < at < len(after) - 1
        depth += _depth(token)
    return bool(after) and _computes(after)


def _computes(items: Sequence[Token]) -> bool:
    first = items[0]
    if first.kind in (Kind.NUMBER, Kind.STRING) or first.word in _VALUES:
        return True
    return any(
        name.kind is not Kind.SIGN and sign.text == "(" and name.end == sign.start
        for name, sign in pairwise(items[:2])
    )


def _has_clause(tokens: Sequence[Token]) -> bool:
    """True for what prose has not: operators, calls, strings, a second clause."""
    return any(
        token.word in _CLAUSES or token.kind is Kind.STRING or token.text in tuple("=<>*(")
        for token in tokens
    )


# --- where a statement ends ----------------------------------------------------


def _length(tokens: Sequence[Token]) -> tuple[int, bool]:
    """How many of `tokens` are SQL, and whether they end where a statement may end."""
    depth, run = 0, 0
    line = 0  # the first token of the current line
    for at, token in enumerate(tokens):
        line = at if token.fresh else line
        if at and depth == 0 and _begins_anew(tokens, at):
            return at, token.fresh
        run = run + 1 if token.kind is Kind.WORD or (run and _is_english(token, tokens)) else 0
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        article = token.text.lower() in _ARTICLES and following and following.kind is Kind.WORD
        if run == 3 or (article and token.kind is Kind.WORD):
            return _before_prose(tokens, at - run + 1, line, keep=run == 3)
        depth += _depth(token)
    return len(tokens), True


def _is_english(token: Token, tokens: Sequence[Token]) -> bool:
    """True for words like "all" in small letters, in a query that is written in capitals."""
    return token.word in _ENGLISH and token.text.islower() and tokens[0].text.isupper()


def _depth(token: Token) -> int:
    if token.kind is not Kind.SIGN:
        return 0
    return (token.text == "(") - (token.text == ")")


def _begins_anew(tokens: Sequence[Token], at: int) -> bool:
    """True where, outside of parentheses, something new begins: a sentence, a statement."""
    token, before = tokens[at], tokens[at - 1]
    if token.word == "SELECT":
        return not (before.word in _SETS or _has_no_verb(tokens[:at]))
    if (tokens[0].text, before.text) == ("(", ")") and token.kind is Kind.WORD:
        return True
    if not token.fresh or not _complete(before):
        return False
    if token.kind is Kind.SIGN:
        return _is_bullet(tokens, at)
    titled = token.text.istitle() and not tokens[0].text.istitle()
    return token.word not in _CONTINUES or titled


def _is_bullet(tokens: Sequence[Token], at: int) -> bool:
    """True for a dash or star at the beginning of a line, with a space behind it."""
    following = tokens[at + 1] if at + 1 < len(tokens) else tokens[at]
    return tokens[at].text in "-*>" and following.start > tokens[at].end


def _has_no_verb(tokens: Sequence[Token]) -> bool:
    """True where the SELECT of WITH …, INSERT … or CREATE … AS is still to come."""
    if tokens[0].word in ("SELECT", "") or tokens[0].text == "(":
        return False
    depth = 0
    for token in tokens:
        if depth == 0 and token.word == "SELECT":
            return False
        depth += _depth(token)
    return True


def _complete(token: Token) -> bool:
    """True for a token after which a query may end."""
    if token.kind is Kind.KEYWORD:
        return token.word not in _EXPECTS
    return token.kind is not Kind.SIGN or token.text in (")", "*")


def _before_prose(
    tokens: Sequence[Token], first: int, line: int, *, keep: bool
) -> tuple[int, bool]:
    """Where to cut before prose whose bare words begin at `first`, on the line from `line` on."""
    if line and first - line <= 1:
        return line, True
    before = tokens[first - 1] if first else None
    if before is None:
        return 0, False
    if keep and before.word in _TAKES_NAME:
        alias = f"{tokens[first + 1].text}."
        used = any(a.text + b.text == alias for a, b in pairwise(tokens[:first]))
        return first + 1 + used, False
    if before.text == "," or before.word in _EXPECTS:
        return first - 1, False
    return first, False
