"""The guard: may exactly this text be run? An allow-list over text, tokens and tree.

    text ─ caps ─▶ scanner's tokens ─ names before "(" ─▶ sqlglot's tokens (must agree)
         ─▶ one tree ─ root, node types, arguments, tables by scope, cost ─▶ Verdict

What isn't listed in the dialect's policy is denied, as is whatever can't be
parsed. The engine is the second, independent layer; the limits the third.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from plainsql.execution.guard_columns import check_columns
from plainsql.execution.guard_cost import check_cost
from plainsql.execution.guard_lists import shortened
from plainsql.execution.guard_reading import check_commas, check_reading
from plainsql.execution.guard_scope import Scope, scope_of, with_types
from plainsql.execution.guard_tokens import (
    check_agreement,
    check_calls,
    check_words,
    one_statement,
)
from plainsql.execution.guard_tree import check_tree
from plainsql.execution.guard_work import check_work
from plainsql.execution.lexers import lexer_for
from plainsql.execution.policy import POLICIES, Policy, fold, generic_policy
from plainsql.execution.scanner import Refused, Token, check_sizes, scan
from plainsql.records import Verdict

if TYPE_CHECKING:
    from sqlglot.dialects.dialect import Dialect
    from sqlglot.expressions import Expr

    from plainsql.execution.access import Access
    from plainsql.schema.model import Schema

_judging: ContextVar[bool] = ContextVar("judging", default=False)


def judge(
    sql: str,
    *,
    dialect: str = "sqlite",
    schema: Schema | None = None,
    tables: frozenset[str] | None = None,
    access: Access | None = None,
) -> Verdict:
    """Whether `sql`, unchanged, is one read-only query over permitted tables.

    `dialect` is sqlglot's name: "sqlite", "duckdb", "postgres" and "mysql" have
    policies of their own, all others the generic one. `tables` names the tables
    and views that may be read, as `Table.name` does ("orders", "sales.orders");
    without it, those of `access`, else of `schema`; without any, each table of
    the default schema that the engine doesn't reserve. `access` also grants
    functions and the catalogue; where it restricts columns or rows, the text of
    the verdict is the rewritten one, judged in its turn. EXPLAIN of an allowed
    query is allowed. Never raises: what can't be judged is denied, with the
    reason in the verdict.
    """
    text = sql if isinstance(sql, str) else ""
    token = _judging.set(True)
    try:
        rules = with_types(_rules(dialect, access), schema)
        scope = scope_of(rules, schema, tables, access)
        query = _judge(text, rules, scope)
        return Verdict(_restricted(text, query, rules, scope, schema, access), True)
    except Refused as refusal:
        return Verdict(text, False, str(refusal))
    except RecursionError:
        return Verdict(text, False, "nested too deeply")
    except Exception as error:  # fuzzing shows IndexError and others inside the parser
        return Verdict(text, False, f"not understood ({type(error).__name__})")
    finally:
        _judging.reset(token)


def _rules(dialect: str, access: Access | None) -> Policy:
    """The dialect's policy with what `access` grants. Raises Refused for no dialect."""
    rules = POLICIES.get(dialect)
    if rules is None:
        _dialect(dialect)
        rules = generic_policy(dialect)
    if access is None or not (access.functions or access.catalogue):
        return rules
    return _granted(rules, access.functions, access.catalogue)


@lru_cache(maxsize=64)
def _granted(rules: Policy, functions: frozenset[str], catalogue: bool) -> Policy:
    extra = frozenset(map(fold, functions))
    shown = rules.catalogue_functions if catalogue else frozenset()
    return replace(
        rules,
        functions=rules.functions | extra | shown,
        table_functions=rules.table_functions | extra | shown,
        granted_functions=extra,
        catalogue_open=catalogue,
    )


@dataclass(frozen=True, slots=True)
class _Query:
    """An allowed query: where in the text it stands, without EXPLAIN and `;`, and its tree."""

    start: int
    end: int
    tree: Expr


def _judge(sql: str, rules: Policy, scope: Scope) -> _Query:
    """Raise Refused unless every check passes."""
    tokens = one_statement(scan(sql, lexer_for(rules.dialect)), rules)
    check_sizes(tokens)
    text, tokens = shortened(sql, tokens)
    aliases = check_calls(tokens, rules)
    check_words(tokens, rules)
    tree = _parse(text, tokens, rules.dialect)
    nodes = check_tree(tree, rules, scope, aliases)
    check_reading(nodes, tokens)
    check_cost(tree, nodes)
    if scope.columns is not None:
        check_columns(nodes, tokens, rules, scope)
    return _Query(tokens[0].start, tokens[-1].end, tree)


def _restricted(
    sql: str,
    query: _Query,
    rules: Policy,
    scope: Scope,
    schema: Schema | None,
    access: Access | None,
) -> str:
    """The text to run: `sql`, or with the row filters and masks of `access` built in."""
    if access is None or not access.has_rules:
        return sql
    from plainsql.execution.guard_rewrite import check_rewritten, rewrite

    text = sql[query.start : query.end]
    rewritten = rewrite(text, query.tree, rules=rules, schema=schema, access=access)
    if rewritten == text:
        return sql
    whole = sql[: query.start] + rewritten
    again = _judge(whole, rules, scope)
    final = whole[again.start : again.end]
    check_rewritten(final, again.tree, rules=rules, schema=schema, access=access)
    return whole


@lru_cache(maxsize=64)
def _dialect(name: str) -> Dialect:
    """sqlglot's dialect. Raises Refused when it has none of that name."""
    from sqlglot.dialects.dialect import Dialect

    logging.getLogger("sqlglot").addFilter(_is_heard)
    if not name.isidentifier():
        raise Refused(f"no policy for the dialect {name[:60]!r}")
    try:
        return Dialect.get_or_raise(name)
    except ValueError as error:
        raise Refused(f"no policy for the dialect {name[:60]!r}") from error


def _is_heard(_: logging.LogRecord) -> bool:
    """A filter of sqlglot's log: what it warns of while judging is refused, or harmless.

    Its warnings would show the statement, with the values in it.
    """
    return not _judging.get()


def _parse(sql: str, tokens: list[Token], name: str) -> Expr:
    """The one tree of the query, from tokens both lexers agree on. Raises Refused."""
    from sqlglot.errors import SqlglotError

    dialect = _dialect(name)
    first, query = tokens[0].start, sql[tokens[0].start : tokens[-1].end]
    try:
        parsed = dialect.tokenize(query)
        check_agreement(tokens, parsed, first)
        check_commas(parsed, dialect.parser_class)
        check_work(parsed, dialect.parser_class)
        trees = dialect.parser().parse(parsed, query)
    except SqlglotError as error:
        raise Refused("not understood as SQL") from error
    if len(trees) != 1 or trees[0] is None:
        raise Refused("more than one statement")
    return trees[0]
