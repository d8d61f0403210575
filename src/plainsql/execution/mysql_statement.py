"""What MySQL's engine runs at all: statements that begin as queries do.

A read-only transaction doesn't hold everything: a compound statement may start
another one (`BEGIN NOT ATOMIC START TRANSACTION READ WRITE; …`), SET turns
protections off, and OUTFILE writes files whatever the transaction. The server
sees one statement a call, and one that begins with SELECT is a SELECT, so
looking at its first word and for these words is enough. That is a check of the
engine's own, which knows nothing of the guard's.
https://mariadb.com/kb/en/comment-syntax/ (`/*! */` and `/*M! */` are code)
"""

from __future__ import annotations

import re

from plainsql.errors import DeniedError

_FIRST_WORDS = frozenset({"select", "with", "values", "table", "explain"})
_FILE_WORDS = frozenset({"outfile", "dumpfile", "load_file"})

# As the server reads under the sql_mode that every session here has: backslashes
# escape, double quotes hold text, "--" is a comment only before white space.
_TOKEN = re.compile(
    r"""(?P<code> /\*M?! )
      | (?P<nothing> /\*.*?\*/ | (?:--(?=[ \t\n\r\f]|\Z)|\#)[^\n]*+ | [ \t\n\r\f]++ )
      | (?P<literal> '(?:[^'\\]|\\.|'')*+' | "(?:[^"\\]|\\.|"")*+" | `(?:[^`]|``)*+` )
      | (?P<word> [^\W\d][\w$]*+ )
      | (?P<odd> [\x00-\x1f\x7f'"`] | /\* )
      | (?P<sign> . )""",
    re.VERBOSE | re.DOTALL,
)


def check_statement(sql: str) -> None:
    """Raise DeniedError unless `sql` begins as a query and names no file function."""
    try:
        sql.encode("utf-8")
    except UnicodeEncodeError:
        raise _denied("it has characters that are no text (lone surrogates)") from None
    began = False
    for token in _TOKEN.finditer(sql):
        kind, text = token.lastgroup, token.group()
        if kind in ("code", "odd"):
            raise _denied(f"it holds {text!r}, which servers read in different ways")
        if text.lower().strip("`") in _FILE_WORDS:  # `load_file`(…) calls it too
            raise _denied(f"it uses {text.upper()}, which reads or writes files of the server")
        if began or kind == "nothing" or text == "(":
            continue
        if kind != "word" or text.lower() not in _FIRST_WORDS:
            raise _denied("it does not begin with SELECT, WITH, VALUES or TABLE")
        began = True
    if not began:
        raise _denied("it is empty")


def _denied(reason: str) -> DeniedError:
    return DeniedError(
        f"The database engine refused the statement: {reason}.",
        hint="Only single read-only queries over user tables are run.",
    )
