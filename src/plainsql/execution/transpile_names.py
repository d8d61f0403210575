"""Names in the case and the quotes an engine needs, and texts in double quotes.

PostgreSQL reads Singer as singer, so that a table "Singer" needs its quotes, which
models forget. What stands in double quotes is a text to MySQL and a name to others.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import Token, TokenType, exp

from plainsql.logical_form.rules import rules_of
from plainsql.schema.model import Schema


def fit_names(tree: exp.Expr, dialect: str, schema: Schema | None) -> None:
    """Rename in place: exact names of the schema, quoted where the dialect needs it."""
    if schema is None:
        return
    for node in _texts_in_quotes(tree, schema):
        node.replace(exp.Literal.string(node.name))
    for identifier, exact in _inexact(tree, dialect, schema):
        identifier.set("this", exact)
        identifier.set("quoted", rules_of(dialect).quotes(exact))


def has_strange_names(
    sql: str, tokens: list[Token], tree: exp.Expr, dialect: str, schema: Schema | None
) -> bool:
    """Whether the engine would miss a table or column that the text means."""
    if schema is None:
        return False
    if any(True for _ in _inexact(tree, dialect, schema)):
        return True
    if dialect == "mysql":
        return has_names_as_texts(sql, tokens, schema)
    # SQLite itself reads "France" as a text where no column has that name.
    return dialect != "sqlite" and any(True for _ in _texts_in_quotes(tree, schema))


def _texts_in_quotes(tree: exp.Expr, schema: Schema) -> list[exp.Column]:
    """Columns in quotes, alone, that are the name of nothing in reach."""
    known = {column.name.lower() for column in schema.columns} | _own_names(tree)
    return [
        node
        for node in tree.find_all(exp.Column)
        if isinstance(node.this, exp.Identifier)
        and node.this.args.get("quoted")
        and not node.table
        and node.name.lower() not in known
    ]


def _own_names(tree: exp.Expr) -> set[str]:
    """Names that the text itself gives, in lower case."""
    names = {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
    for alias in tree.find_all(exp.TableAlias):
        names |= {alias.name.lower(), *(column.name.lower() for column in alias.columns)}
    return names


def has_names_as_texts(sql: str, tokens: list[Token], schema: Schema | None) -> bool:
    """Whether a name of the schema stands in double quotes, a text to MySQL."""
    if schema is None:
        return False
    names = {column.name.lower() for column in schema.columns}
    names |= {table.bare_name.lower() for table in schema.tables}
    return any(
        token.token_type is TokenType.STRING
        and sql[token.start : token.start + 1] == '"'
        and token.text.lower() in names
        for token in tokens
    )


def _inexact(tree: exp.Expr, dialect: str, schema: Schema) -> Iterator[tuple[exp.Identifier, str]]:
    """Identifiers that miss the name they mean, with that name."""
    own = _own_names(tree)
    tables = {table.bare_name.lower(): table.bare_name for table in schema.tables}
    columns: dict[str, str] = {}
    for column in schema.columns:
        # two spellings of a name in two tables: which one is meant isn't known
        twice = columns.get(column.name.lower(), column.name) != column.name
        columns[column.name.lower()] = "" if twice else column.name
    for node in tree.find_all(exp.Table, exp.Column):
        if not isinstance(node.this, exp.Identifier):
            continue
        names = tables if isinstance(node, exp.Table) else columns
        yield from _missing(node.this, names, own, dialect, isinstance(node, exp.Table))
        qualifier = node.args.get("table")
        if isinstance(node, exp.Column) and isinstance(qualifier, exp.Identifier):
            yield from _missing(qualifier, tables, own, dialect, is_table=True)


def _missing(
    identifier: exp.Identifier, names: dict[str, str], own: set[str], dialect: str, is_table: bool
) -> Iterator[tuple[exp.Identifier, str]]:
    exact = names.get(identifier.name.lower())
    if not exact or identifier.name.lower() in own:
        return
    folds = rules_of(dialect).folds
    seen = identifier.name
    if folds and not identifier.args.get("quoted"):
        seen = getattr(seen, folds)()
    cased = bool(folds) or (dialect == "mysql" and is_table)
    if cased and seen != exact:
        yield identifier, exact
