"""Are two queries the same, but for letter case, spacing, and the order of their conditions?

This is WikiSQL's logical-form accuracy (Zhong et al. 2017, arXiv 1709.00103): stricter
than comparing results, since another query that happens to give the same rows is wrong.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

Form = tuple[str, frozenset[str]]


def same(gold: str, predicted: str) -> bool:
    """Whether `predicted` is the query `gold`; False where it is not SQL."""
    form = logical_form(predicted)
    return form is not None and form == logical_form(gold)


def logical_form(sql: str) -> Form | None:
    """The query without its conditions, and the set of those; None where it is not SQL."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return None
    where = tree.args.get("where")
    parts = [] if where is None else _conditions(where.this)
    tree.set("where", None)
    return _text(tree), frozenset(map(_text, parts))


def _conditions(tree: exp.Expr) -> list[exp.Expr]:
    return list(tree.flatten()) if isinstance(tree, exp.And) else [tree]


def _text(tree: exp.Expr) -> str:
    """One spelling for `name` and `"name"`, in lower case."""
    return tree.sql(dialect="sqlite", identify=True, normalize_functions="upper").lower()
