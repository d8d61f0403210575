"""The policies themselves: complete over sqlglot's nodes, true to the engines' catalogues."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from sqlglot import expressions
from sqlglot.expressions import Expr, Func

from plainsql.execution.guard import judge
from plainsql.execution.guard_nodes import check_node, children
from plainsql.execution.policies.functions import FUNCTION_NODES
from plainsql.execution.policies.nodes import STRUCTURE_NODES
from plainsql.execution.policy import POLICIES, SQLITE, generic_policy
from plainsql.execution.scanner import Refused

CLASSES = {
    name: value
    for name, value in vars(expressions).items()
    if inspect.isclass(value) and issubclass(value, Expr)
}
RULES = [*POLICIES.values(), generic_policy("snowflake")]

# Arguments of allowed nodes that could write, lock, read from elsewhere or call.
NEVER = {
    "Select": "into locks hint connect match pivots prewhere sample_clause settings format kind "
    "options for_ distribute sort cluster exclude",
    "Union": "side kind on locks settings format options for_",
    "Table": "hints system_time version when rows_from changes partition pattern format indexed "
    "laterals",
    "Join": "hint global_ match_condition nearest directed expressions pivots",
    "With": "search cycle udfs",
    "CTE": "scalar key_expressions",
    "Describe": "style properties expressions partition format as_json",
    "Lateral": "view cross_apply",
    "Cast": "action default",
    "Column": "join_mark shadow",
    "In": "unnest is_global",
    "Limit": "offset expressions",
    "ColumnDef": "constraints default output",
    "JSONTable": "error_handling empty_handling",
}


def test_listed_nodes_and_arguments_exist() -> None:
    assert set(CLASSES) >= FUNCTION_NODES
    for name, arguments in STRUCTURE_NODES.items():
        assert arguments <= set(CLASSES[name].arg_types), name


def test_no_node_is_listed_twice() -> None:
    assert not FUNCTION_NODES & set(STRUCTURE_NODES)


def test_function_nodes_are_functions() -> None:
    """So that the check of names in the text covers them."""
    assert [name for name in FUNCTION_NODES if not issubclass(CLASSES[name], Func)] == []


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.dialect)
def test_every_argument_is_listed_or_refused(rules: Any) -> None:
    """Also one that a new version of sqlglot brings."""
    for name, listed in STRUCTURE_NODES.items():
        allowed = listed | rules.extra_arguments.get(name, frozenset())
        for argument in {*CLASSES[name].arg_types, "brand_new"} - allowed:
            node = CLASSES[name](**{argument: expressions.column("x")})
            with pytest.raises(Refused):
                check_node(node, rules)


@pytest.mark.parametrize(("name", "arguments"), NEVER.items())
def test_arguments_that_are_never_allowed(name: str, arguments: str) -> None:
    listed = STRUCTURE_NODES[name].union(*(r.extra_arguments.get(name, ()) for r in RULES))
    assert not listed & set(arguments.split())


def test_every_other_node_is_refused() -> None:
    allowed = set(STRUCTURE_NODES) | FUNCTION_NODES
    for name in sorted(set(CLASSES) - allowed):
        try:
            node = CLASSES[name]()
        except TypeError:  # an abstract class of the compiled build
            continue
        with pytest.raises(Refused):
            check_node(node, SQLITE)


@pytest.mark.parametrize(
    "name",
    "Insert Update Delete Merge Create Drop Alter Command Copy Set Into Lock Use Pragma Attach "
    "Transaction Commit Rollback Kill LoadData TruncateTable Grant Execute Parameter "
    "SessionParameter Placeholder Operator Hint QueryTransform CurrentUser SessionUser "
    "NextValueFor HistoricalData ReadCSV ReadParquet".split(),
)
def test_nodes_that_do_harm_are_not_listed(name: str) -> None:
    assert name not in STRUCTURE_NODES
    assert name not in FUNCTION_NODES


@pytest.mark.parametrize("hiding", [[["x"]], ("x",), {"a": 1}, object()])
def test_values_that_could_hide_a_node_are_refused(hiding: Any) -> None:
    node = expressions.Paren(this=expressions.column("x"))
    node.args["this"] = hiding
    with pytest.raises(Refused):
        list(children(node))


CALLS = [
    *("", "()", "(a)", "(a, b)", "(a, 'b')", "('%s')", "('{}', a)", "('%s', a)", "(a, b, c)"),
    *("(a, 5)", "(a, 5, 'x')", "(1, 5)", "(5)", "(a, b, c, d)", "(a, b, c, d, e)"),
    *("(year FROM a)", "(a, INTERVAL 1 DAY)", "(day, a, b)", "(DAY, 1, a)", "(a, x -> x)"),
    *("(a, b, c, d, e, f)", "(a, b, c, d, e, f, g)", "(a) AGAINST ('x')"),
]


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "mysql"])
def test_listed_functions_pass(dialect: str) -> None:
    """Each in one of the forms that functions are called in."""

    def passes(function: str) -> bool:
        texts = (f"SELECT {function}{call} FROM t" for call in CALLS)
        return any(judge(sql, dialect=dialect).allowed for sql in texts)

    assert [name for name in sorted(POLICIES[dialect].functions) if not passes(name)] == []


@pytest.mark.parametrize("dialect", POLICIES)
def test_listed_table_functions_pass(dialect: str) -> None:
    calls = ("('a')", "(a)", "(1, 5)", "('[]', '$[*]' COLUMNS (a INT PATH '$'))")

    def passes(function: str) -> bool:
        texts = (f"SELECT * FROM {function}{call} AS x" for call in calls)
        return any(judge(sql, dialect=dialect).allowed for sql in texts)

    assert [name for name in POLICIES[dialect].table_functions if not passes(name)] == []


def test_every_function_of_this_duckdb_is_listed_or_refused() -> None:
    duckdb = pytest.importorskip("duckdb")
    query = "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
    with duckdb.connect() as connection:
        names = {name for (name,) in connection.execute(query).fetchall()}
        kinds = "function_type IN ('table', 'table_macro', 'pragma')"
        sources = {n for (n,) in connection.execute(f"{query} WHERE {kinds}").fetchall()}
        effects = {n for (n,) in connection.execute(f"{query} WHERE has_side_effects").fetchall()}
    rules = POLICIES["duckdb"]
    random = {"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"}
    assert not effects & rules.functions - random
    plain = {name for name in names if name.isidentifier()}
    for name in sorted(plain - rules.functions - rules.words_before_paren):
        assert not judge(f'SELECT "{name}"(1)', dialect="duckdb").allowed
        assert not judge(f"SELECT {name}(1)", dialect="duckdb").allowed
    for name in sorted((sources & plain) - rules.table_functions):
        assert not judge(f"SELECT * FROM {name}('a')", dialect="duckdb").allowed


def test_every_function_of_this_postgresql_is_listed_or_refused(
    postgresql_server: Any,
) -> None:
    """Of the listed ones, only the clock and random numbers change between calls."""
    query = "SELECT proname, bool_or(provolatile = 'v') FROM pg_proc GROUP BY 1"
    with postgresql_server.connect() as connection:
        volatile = dict(connection.execute(query).fetchall())
    rules = POLICIES["postgres"]
    changing = {name for name in rules.functions if volatile.get(name)}
    assert changing == {"random", "gen_random_uuid", "clock_timestamp", "timeofday"}
    for name in sorted(set(volatile) - rules.functions - rules.words_before_paren):
        assert not judge(f'SELECT "{name}"(1)', dialect="postgres").allowed
        assert not judge(f"SELECT pg_catalog.{name}(1)", dialect="postgres").allowed


@pytest.mark.parametrize("dialect", POLICIES)
def test_no_argument_of_a_function_is_lost(dialect: str) -> None:
    """sqlglot drops those of functions that it knows to take fewer: `uuid((SELECT ...))`."""
    rules = POLICIES[dialect]
    hidden = "(SELECT word FROM secret)"
    forms = [
        "{f}({s})",
        "{f}(a, {s})",
        "{f}({s}, a)",
        "{f}(a, b, {s})",
        "{f}{s}",
        "{f}((TABLE secret))",
    ]
    forms += [
        "{f}((FROM secret))",
        "{f}(a ORDER BY {s})",
        "{f}(a) FILTER (WHERE {s})",
        "{f}(DISTINCT {s})",
    ]
    for name in sorted(rules.functions | rules.table_functions | rules.words_before_paren):
        for form in forms:
            sql = f"SELECT {form.format(f=name, s=hidden)} FROM boat"
            assert not judge(sql, dialect=dialect, tables=frozenset({"boat"})).allowed, sql
