"""The tables that a query names, whatever else it says."""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

# Others are not parsed: sqlglot would write them to its log, values and all.
_QUERY = re.compile(r"[\s(]*(select|with)\b", re.IGNORECASE)


def table_names(tree: exp.Expr) -> frozenset[str]:
    """The tables a tree names, bare and in lower case, without its own WITH queries."""
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    named = {
        table.name.lower()
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.Identifier)
    }
    return frozenset(named - own)


def tables_in(sql: str, dialect: str) -> frozenset[str] | None:
    """The tables that the one query in `sql` names; None where it is no query, or several."""
    if not _QUERY.match(sql):
        return None
    try:
        trees = sqlglot.parse(sql, read=dialect)
    except (SqlglotError, ValueError, RecursionError):
        return None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        return None
    return table_names(trees[0])
