"""Is the SQL of a row worth learning? Tidied, parsed, and run on its database."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from plainsql.errors import ConnectError, DeniedError, ExecutionError, QueryTimeout
from plainsql.evaluation.execution_accuracy import comparable_text
from plainsql.evaluation.predictions import UNANSWERED, one_line
from plainsql.execution.base import Engine, run_guarded
from plainsql.logical_form.table_names import table_names
from plainsql.training.data.rejections import Reason, Rejected

_BEGINNING = re.compile(r"[\s(]*(select|with|values)\b", re.IGNORECASE)
# Quoted text, which stays; blanks before a comma; other runs of blanks.
_GAPS = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|\s+(?P<comma>,)|\s{2,}"""
)


Tree = exp.Query | exp.Values


@dataclass(frozen=True, slots=True)
class Used:
    """The names a query uses, in lower case; those of its own WITH clauses left out."""

    tables: frozenset[str]
    columns: frozenset[str]


def tidy(sql: str) -> str:
    """The same query on one line, its gaps closed, without comments and last semicolon.

    "" where nothing is left. Blanks within operators ("> =" in Spider) are closed
    too: such a query does not parse.
    """
    line = one_line(comparable_text(sql))
    return "" if line == UNANSWERED else _GAPS.sub(lambda g: g["quoted"] or g["comma"] or " ", line)


def parse(sql: str, dialect: str = "sqlite") -> Tree:
    """The tree of the one query in `sql`. Raises `Rejected`."""
    if not _BEGINNING.match(sql):
        raise Rejected(Reason.NO_QUERY, sql[:60])
    try:
        trees = sqlglot.parse(sql, read=dialect)
    except SqlglotError as error:
        raise Rejected(Reason.NO_PARSE, str(error).partition("\n")[0]) from error
    except RecursionError as error:
        raise Rejected(Reason.NO_PARSE, "nested too deeply") from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query | exp.Values):
        raise Rejected(Reason.NO_QUERY, sql[:60])
    return trees[0]


def used_names(tree: Tree) -> Used:
    """The tables and columns that a query names."""
    columns = {column.name.lower() for column in tree.find_all(exp.Column)}
    return Used(table_names(tree), frozenset(columns))


def execute(engine: Engine, sql: str, timeout: float) -> None:
    """Run the query through the guard for its first row. Raises `Rejected`."""
    try:
        run_guarded(engine, sql, limit=1, timeout=timeout)
    except DeniedError as error:
        raise Rejected(Reason.REFUSED, error.message) from error
    except QueryTimeout as error:
        raise Rejected(Reason.TIMEOUT, error.message) from error
    except ExecutionError as error:
        raise Rejected(Reason.NO_EXECUTION, error.message) from error
    except ConnectError as error:
        raise Rejected(Reason.BAD_DATABASE, error.message) from error
