"""What DuckDB's own parser says of a statement: the second opinion beside the guard's.

A statement's type is not enough: `WITH d AS (DELETE …) SELECT …` is of the type
SELECT, and so are `nextval` and strings that are run as SQL (`query('…')`). So
the parser's tree, which `json_serialize_sql` gives, is walked: query nodes and
table functions by allow-list, what changes or delays the session by name, and
the tables by name where a scope was set.
https://duckdb.org/docs/stable/data/json/sql_to_and_from_json

note: settings stop none of these (read-only files and transactions stop the
writes): DuckDB has no rights within a database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from plainsql.errors import DeniedError, ExecutionError, ResourceLimit
from plainsql.execution.policies.base import fold

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})

# Those that make rows of their arguments, and those that show the catalogue, which is
# the guard's to allow. Left out: files, networks, strings run as SQL, logs, statistics.
_TABLE_FUNCTIONS = frozenset(
    "generate_series range repeat repeat_row unnest json_each json_tree icu_calendar_names "
    "pg_timezone_names duckdb_columns duckdb_constraints duckdb_databases duckdb_dependencies "
    "duckdb_functions duckdb_indexes duckdb_keywords duckdb_schemas duckdb_sequences "
    "duckdb_tables duckdb_types duckdb_views pragma_collations pragma_database_size "
    "pragma_platform pragma_show pragma_table_info pragma_version".split()
)
_DENIED_FUNCTIONS = frozenset(
    "nextval setval currval setseed sleep_ms pg_sleep write_log getvariable getenv stats "
    "json_execute_serialized_sql query query_table".split()
)
_EXPLAIN = re.compile(r"(?i)explain(?![\w$])\s*(\(\s*format\s+\w+\s*\)\s*)?(analy[sz]e)?")
_BARE = re.compile(r"[\w$]+")
_QUOTED = {quote: re.compile(f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}") for quote in "'\""}
_SERIALIZE = "PREPARE plainsql_tree AS SELECT json_serialize_sql($1, skip_null := true,"
_SERIALIZE += " skip_empty := true, skip_default := true)"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement that may be run. `text` is it without a final semicolon."""

    statement: duckdb.Statement
    text: str
    is_query: bool  # can stand in brackets, as a query over which another one goes


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables that may be read, and all there are, as (schema, name) in folded letters."""

    permitted: frozenset[tuple[str, str]]
    existing: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, tables: Collection[str], existing: Collection[tuple[str, str]]) -> Scope:
        """`tables` as `Schema` names them: bare in the schema main, else schema.name."""
        wanted = {fold(name) for name in tables}
        there = frozenset((fold(schema), fold(name)) for schema, name in existing)
        return cls(frozenset(pair for pair in there if _full(pair) in wanted), there)

    def permits(self, path: list[str]) -> bool:
        """Whether the reference `path` can't be to a table outside of the scope.

        What isn't a table of the database is a WITH item or of the catalogue.
        """
        parts = [fold(part) for part in path]
        named = {pair for pair in self.existing if pair[1] == parts[-1]}
        if len(parts) > 1:
            named = {pair for pair in named if pair[0] == parts[-2]} or named
        return named <= self.permitted

    def denies_word(self, word: str) -> bool:
        """Whether `word` is the name of a table outside of the scope."""
        return not self.permits([word])


class Parser:
    """DuckDB's parser over a cursor of its own. `macros` names the database's own functions."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        macros: Callable[[], frozenset[str]],
        scope: Scope | None = None,
    ) -> None:
        self._cursor = cursor
        self._macros = macros
        self._scope = scope
        cursor.execute(_SERIALIZE)

    def check(self, sql: str) -> Parsed:
        """The one statement of `sql`.

        Raises DeniedError, ExecutionError, UnicodeEncodeError for what is no UTF-8,
        and DuckDB's own errors.
        """
        if "\x00" in sql:  # white space to some readers, the end to others
            raise denied("the text has a NUL character in it")
        sql.encode("utf-8")
        statement = _only(self._cursor.extract_statements(sql))
        text = without_semicolon(sql)
        if statement.type == duckdb.StatementType.EXPLAIN:
            self._check_query(_explained(text))
            return Parsed(statement, text, is_query=False)
        if statement.type == duckdb.StatementType.MULTI:
            self._check_pivot(text)
            return Parsed(statement, text, is_query=False)
        self._check_tree(statement, text)
        return Parsed(statement, text, is_query=True)

    def _check_query(self, text: str) -> None:
        self._check_tree(_only(self._cursor.extract_statements(text)), text)

    def _check_tree(self, statement: duckdb.Statement, text: str) -> None:
        if statement.type != duckdb.StatementType.SELECT:
            raise denied(f"{statement.type.name} statements are not run")
        literal = "'" + text.replace("'", "''") + "'"
        found = self._cursor.execute(f"EXECUTE plainsql_tree({literal})").fetchone()
        tree = _tree(found[0] if found else "{}")
        items: set[str] = set()  # names of WITH
        references: list[list[str]] = []
        for node in _nodes(tree):
            self._check_node(node)
            if node.get("type") == "BASE_TABLE":
                references.append(_path(node))
            items |= {fold(item["key"]) for item in (node.get("cte_map") or {}).get("map", ())}
        if self._scope is not None:
            self._check_scope(self._scope, references, items, text)

    def _check_scope(
        self, scope: Scope, references: list[list[str]], items: set[str], text: str
    ) -> None:
        """Refuse tables out of scope. A WITH item may be called like one.

        Which of the two a name means is then asked of DuckDB's binder; it looks into
        views too, so rather too much is refused.
        """
        outside = [path for path in references if not scope.permits(path)]
        if outside and all(len(path) == 1 and fold(path[0]) in items for path in outside):
            read = [fold(name) for name in self._cursor.get_table_names(text, qualified=True)]
            outside = [path for path in outside if _is_among(path[0], read)]
        if outside:
            raise denied(f"the table {outside[0][-1]} is not among those that may be read")

    def _check_node(self, node: dict[str, Any]) -> None:
        kind = node.get("type", "")
        if kind == "TABLE_FUNCTION":
            self._check_table_function(node.get("function") or {})
        elif kind == "SHOW_REF" and self._scope is not None and "query" not in node:
            raise denied("names of all tables are not shown")
        elif isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
            raise denied(f"{kind.split('_')[0]} inside a query is not run")
        name = node.get("function_name")
        if isinstance(name, str) and fold(name) in _DENIED_FUNCTIONS:
            raise denied(f"the function {name} is not run")

    def _check_table_function(self, function: dict[str, Any]) -> None:
        name = fold(str(function.get("function_name", "")))
        if name not in _TABLE_FUNCTIONS and name not in self._macros():
            raise denied(f"the table function {name} is not run")
        if self._scope is not None and name.startswith("pragma_"):  # takes a table's name
            raise denied(f"the table function {name} is not run where tables are out of scope")

    def _check_pivot(self, text: str) -> None:
        """A PIVOT whose columns come from the data: several statements, and no tree.

        DuckDB makes a temporary enum type of it, then the query; what else could be
        in there is refused by its words, and can't write in any case.
        """
        tokens = list(words(text))
        if not any(fold(word) == "pivot" for word, _ in tokens):
            raise denied("several statements are not run")
        for word, calls in tokens:
            name = fold(word)
            writes = name in ("insert", "update", "delete", "merge", "into", "copy", "attach")
            if writes and not calls:
                raise denied(f"{name.upper()} inside a query is not run")
            if calls and (name in _DENIED_FUNCTIONS or self._is_foreign(name)):
                raise denied(f"the function {name} is not run")
            if self._scope is not None and self._scope.denies_word(word):
                raise denied(f"the table {word} is not among those that may be read")

    def _is_foreign(self, name: str) -> bool:
        """A table function that isn't allowed: asked of DuckDB's own list."""
        if name in _TABLE_FUNCTIONS:
            return False
        found = self._cursor.execute(
            "SELECT 1 FROM duckdb_functions() WHERE internal AND function_name = ?"
            " AND function_type IN ('table', 'table_macro', 'pragma') LIMIT 1",
            [name],
        )
        return found.fetchone() is not None


def denied(reason: str) -> DeniedError:
    """The error of a statement that the engine layer refuses."""
    return DeniedError(
        f"The database engine refused the statement: {reason}.",
        hint="Only single read-only queries over user tables are run.",
    )


def without_semicolon(sql: str) -> str:
    """`sql` up to its last token, by DuckDB's own tokens: no semicolon, no comment after it."""
    data = sql.encode("utf-8")
    tokens = duckdb.tokenize(sql)  # offsets count bytes
    cut = len(data)
    for offset, kind in reversed(tokens):
        is_semicolon = kind == duckdb.token_type.operator and data[offset : offset + 1] == b";"
        if not is_semicolon and kind != duckdb.token_type.comment:
            break
        cut = offset
    return data[:cut].decode("utf-8")


def words(sql: str) -> Iterator[tuple[str, bool]]:
    """Names, keywords and texts of `sql` without their quotes; whether a bracket follows.

    Raises DeniedError for texts with escapes, which can hide what they say.
    """
    data = sql.encode("utf-8")
    tokens = [t for t in duckdb.tokenize(sql) if t[1] != duckdb.token_type.comment]
    ends = [offset for offset, _ in tokens[1:]] + [len(data)]
    for (start, kind), end in zip(tokens, ends, strict=True):
        # up to the next token: blanks and comments may stand between
        text = data[start:end].decode("utf-8", "replace")
        if kind == duckdb.token_type.string_const:
            yield _unquoted(text, "'"), False
        elif kind in (duckdb.token_type.identifier, duckdb.token_type.keyword):
            yield _unquoted(text, '"'), data[end : end + 1] == b"("


def _unquoted(text: str, quote: str) -> str:
    if text.startswith(quote):
        whole = _QUOTED[quote].match(text)
        return whole[1].replace(quote * 2, quote) if whole else text
    bare = _BARE.match(text)
    if quote == "'" or bare is None:
        raise denied("texts with escapes are not run in a PIVOT over all values")
    return bare[0]


def _only(statements: list[duckdb.Statement]) -> duckdb.Statement:
    if not statements:
        raise ExecutionError("The statement has no result.", hint="Write a SELECT.")
    if len(statements) > 1:
        raise denied("only one statement is run at a time")
    return statements[0]


def _explained(text: str) -> str:
    """The query of an EXPLAIN without options; EXPLAIN ANALYZE would run it."""
    start = _first_token(text)
    opening = _EXPLAIN.match(text, start)
    if opening is None or opening[2]:
        raise denied("only a plain EXPLAIN is run")
    return text[opening.end() :]


def _first_token(text: str) -> int:
    """Where the first token that is no comment starts, in characters."""
    for offset, kind in duckdb.tokenize(text):
        if kind != duckdb.token_type.comment:
            return len(text.encode("utf-8")[:offset].decode("utf-8"))
    return 0


def _tree(text: str) -> list[Any]:
    """The one statement of what `json_serialize_sql` gives. Raises DeniedError, ResourceLimit."""
    try:
        tree = json.loads(text)
    except RecursionError as error:
        message = "The query is nested too deeply."
        raise ResourceLimit(message, hint="Write a simpler query.") from error
    statements = tree.get("statements", [])
    if tree.get("error") or not isinstance(statements, list) or len(statements) != 1:
        raise denied("the statement can't be looked into")
    return statements


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _path(node: dict[str, Any]) -> list[str]:
    """The parts of a table's name: catalogue, schema, name, as far as they were written."""
    path = (node.get("qualified_name") or {}).get("path") or [node.get("table_name", "")]
    return [str(part) for part in path]


def _is_among(name: str, read: Collection[str]) -> bool:
    """Whether `name` stands in one of DuckDB's names, which are quoted as needed."""
    wanted = fold(name).replace('"', '""')
    return any(wanted in quoted for quoted in read)


def _full(pair: tuple[str, str]) -> str:
    schema, name = pair
    return name if schema == "main" else f"{schema}.{name}"
