"""Policies: who may read which tables, columns and rows, whatever the query says."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plainsql
from guarded_shop import ACCESS, POLICY, SCRIPT, VIEW, schema
from made_queries import Query
from plainsql.errors import DeniedError, UsageError
from plainsql.execution.access import Access
from plainsql.execution.base import in_process_engine, run_guarded, stream_guarded
from plainsql.execution.guard import judge
from plainsql.execution.targets import parse_target
from plainsql.records import ValueKind
from plainsql.settings import Settings, load_settings
from plainsql.translators.fake import ScriptedTranslator

duckdb = pytest.importorskip("duckdb")

DIALECTS = ["sqlite", "duckdb", "postgres", "mysql"]

# What POLICY leaves of the shop, held physically.
PERMITTED = """
ALTER TABLE users DROP COLUMN password;
ALTER TABLE orders DROP COLUMN note;
DELETE FROM users WHERE region IS NULL OR region <> 'EU';
DELETE FROM orders WHERE NOT coalesce(user_id = 3, 1 = 0) AND coalesce(status, '') <> 'open';
UPDATE users SET age = NULL, email = 'it''s *** \\';
DROP TABLE secret;
"""


# Reading the policy


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"table": ["a"]}, "policy.table is not a key"),
        ({"tables": "a"}, "policy.tables must be a list"),
        ({"tables": [""]}, "policy.tables must be a list"),
        ({"functions": [3]}, "policy.functions must be a list"),
        ({"catalogue": "yes"}, "policy.catalogue must be true or false"),
        ({"columns": ["users"]}, "policy.columns must be a table"),
        ({"columns": {"users": ["password"]}}, "policy.columns.users must be a table"),
        ({"columns": {"users": {"denny": []}}}, "policy.columns.users.denny is not known"),
        ({"columns": {"users": {"deny": "x"}}}, "policy.columns.users.deny must be a list"),
        ({"columns": {"users": {"mask": ["x"]}}}, "policy.columns.users.mask must be a table"),
        ({"columns": {"users": {"mask": {"x": []}}}}, "policy.columns.users.mask.x must be"),
        ({"columns": {"users": {"mask": {"x": float("nan")}}}}, "must be a finite number"),
        ({"columns": {"users": {"deny": ["X"], "null": ["x"]}}}, "both denies and masks"),
        ({"columns": {"users": {}, "Users": {}}}, "policy.columns names a table twice"),
        ({"rows": {"orders": 7}}, "policy.rows.orders must be a condition"),
        ({"rows": {"orders": " "}}, "policy.rows.orders must be a condition"),
        ({"roles": ["a"]}, "policy.roles must be a table"),
        ({"roles": {"x": {"tabels": []}}}, "policy.roles.x.tabels is not a key"),
        ({"roles": {"x": {"roles": {}}}}, "policy.roles.x.roles is not a key"),
    ],
)
def test_mistakes_in_the_policy_are_named(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Access.from_settings(policy)
    assert message in caught.value.message


def test_a_role_must_exist() -> None:
    with pytest.raises(UsageError, match="no role 'clark'") as caught:
        Access.from_settings(POLICY, "clark")
    assert caught.value.hint == "Did you mean clerk?"
    with pytest.raises(UsageError, match="no role"):
        Access.from_settings({}, "admin")


def test_a_role_replaces_what_it_names() -> None:
    admin = Access.from_settings(POLICY, "admin")
    assert admin.rule_of("Users") is not None
    assert admin.columns_denied == {"orders": frozenset({"note"})}
    assert admin.rows == ACCESS.rows | {"users": "1 = 1"}
    clerk = Access.from_settings(POLICY, "clerk")
    assert clerk.tables == {"users"}
    assert clerk.functions == {"shout"}
    assert clerk.rows == ACCESS.rows


def test_tables_only_narrow() -> None:
    access = Access(tables=frozenset({"Users", "orders"}))
    assert access.narrowed(["users", "secret"]).readable(schema()) == {"users"}
    assert access.narrowed(None) == access
    assert Access().narrowed(["orders"]).readable(schema()) == {"orders"}
    assert Access().narrowed([]).readable(schema()) == frozenset()
    assert Access().readable(schema()) == {t.name for t in schema().tables}
    assert Access().readable(None) is None


MISTYPED = [
    ({"tables": ["user"]}, "policy.tables names a table 'user'"),
    ({"deny_tables": ["secrets"]}, "policy.deny_tables names a table 'secrets'"),
    ({"views": ["spendings"]}, "policy.views names a table 'spendings'"),
    ({"columns": {"usres": {"deny": ["x"]}}}, "policy.columns names a table 'usres'"),
    ({"columns": {"users": {"deny": ["pasword"]}}}, "names a column 'pasword'"),
    ({"columns": {"users": {"mask": {"mail": "x"}}}}, "names a column 'mail'"),
    ({"columns": {"users": {"mask": {"age": "x"}}}}, "holds another kind of value (number)"),
    ({"columns": {"users": {"mask": {"name": 0}}}}, "holds another kind of value (text)"),
    ({"rows": {"order": "1 = 1"}}, "policy.rows names a table 'order'"),
]
NO_CONDITIONS = [
    "usr_id = 7",
    "users.id = 7",
    "user_id = ",
    "user_id = 7; DROP TABLE users",
    "1 = 1) OR (1 = 1",
    "1 = 1) UNION SELECT * FROM secret WHERE (1 = 1",
    "1 = 1) LIMIT (1",
    "user_id IN (SELECT id FROM users)",
    "EXISTS (SELECT 1)",
    "user_id = 7 /*",
    "load_extension('x') = 1",
    "'a' = 'b",
    "user_id, total",
    "user_id AS x",
]


@pytest.mark.parametrize(("policy", "message"), MISTYPED)
def test_names_that_the_database_lacks_are_errors(policy: dict[str, Any], message: str) -> None:
    """Also in the guard: a rule that misses its table would open it."""
    access = Access.from_settings(policy)
    with pytest.raises(UsageError) as caught:
        access.check(schema())
    assert message in caught.value.message
    assert caught.value.hint
    if access.has_rules:
        verdict = judge("SELECT id FROM users", schema=schema(), access=access)
        assert not verdict.allowed
        assert message in verdict.reason


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("condition", NO_CONDITIONS)
def test_row_rules_are_conditions_on_the_table(condition: str, dialect: str) -> None:
    access = Access(rows={"orders": condition})
    with pytest.raises(UsageError, match=r"policy\.rows\.orders is no condition"):
        access.check(schema(dialect))
    verdict = judge("SELECT id FROM orders", dialect=dialect, schema=schema(dialect), access=access)
    assert not verdict.allowed


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_policy_of_these_tests_is_right(dialect: str) -> None:
    ACCESS.check(schema(dialect))


def test_settings_hold_the_policy(tmp_path: Path) -> None:
    text = '[policy]\ntables = ["users"]\n[policy.roles.x]\ntables = ["orders"]\n'
    (tmp_path / "plainsql.toml").write_text('role = "x"\n' + text)
    (tmp_path / "other.toml").write_text('[policy]\ntables = ["items"]\n')
    found = load_settings(environ={}, folder=tmp_path)
    assert Access.from_settings(found.policy, found.role).tables == {"orders"}
    found = load_settings(environ={"PLAINSQL_ROLE": ""}, folder=tmp_path)
    assert found.role == "x"
    environ = {"PLAINSQL_POLICY": str(tmp_path / "other.toml")}
    assert load_settings(environ=environ, folder=tmp_path).policy == {"tables": ["items"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "has no table"), ("policy = 3", "has no table"), ("[", "not valid TOML"), (None, "read")],
)
def test_a_policy_file_must_hold_a_policy(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_settings(environ={"PLAINSQL_POLICY": str(path)}, folder=tmp_path)
    (tmp_path / "plainsql.toml").write_text("policy = 3")
    with pytest.raises(UsageError, match="must be a table"):
        load_settings(environ={}, folder=tmp_path)


# What is refused by name

REFUSED = [
    ("SELECT password FROM users", "column users.password"),
    ('SELECT "password" FROM users', "column users.password"),
    ("SELECT Users.PassWord FROM users", "column users.password"),
    ("SELECT u.password FROM users AS u", "column users.password"),
    ("SELECT id FROM users WHERE password LIKE 'p%'", "column users.password"),
    ("SELECT id FROM users GROUP BY id ORDER BY max(password)", "column users.password"),
    ("SELECT 1 FROM items WHERE EXISTS (SELECT 1 FROM users WHERE password = label)", "users.pass"),
    ("SELECT (SELECT u.password) FROM users u", "column users.password"),
    ("SELECT 1 FROM users a JOIN users b USING (id, password)", "column users.password"),
    ("WITH x AS (SELECT password AS p FROM users) SELECT p FROM x", "column users.password"),
    ("SELECT note FROM orders JOIN items ON items.order_id = orders.id", "column orders.note"),
    ("SELECT * FROM secret", "'secret'"),
    ("SELECT (SELECT max(word) FROM secret)", "'secret'"),
    ("SELECT * FROM spending", "'spending'"),
]
REFUSED_IN = {
    "sqlite": [
        ("SELECT rowid FROM users", "column users.rowid"),
        ('SELECT users."_rowid_" FROM users', "column users._rowid_"),
        ("SELECT main.users.password FROM main.users", "column users.password"),
        ("SELECT name FROM [users] WHERE [password] = 1", "column users.password"),
    ],
    "duckdb": [
        ("PIVOT users ON region USING count(*)", "with rules"),
        ("SUMMARIZE users", "with rules"),
        ("DESCRIBE users", "with rules"),
        ("SELECT * FROM users TABLESAMPLE 50%", ""),
        ("FROM users SELECT password", "column users.password"),
        ("SELECT COLUMNS(users.password) FROM users", ""),
        ("SELECT rowid FROM users", "column users.rowid"),
        ("SELECT users.password.x FROM users", ""),
    ],
    "postgres": [
        ("TABLE users", "TABLE users"),
        ("SELECT * FROM ONLY users", "with rules"),
        ("SELECT ctid FROM users", "column users.ctid"),
        ("SELECT users.xmin FROM users", "column users.xmin"),
        ("SELECT public.users.password FROM public.users", "column users.password"),
    ],
    "mysql": [("SELECT `password` FROM `users`", "column users.password"), ("TABLE users", "")],
}
CASES = [(d, *case) for d in DIALECTS for case in [*REFUSED, *REFUSED_IN[d]]]


@pytest.mark.parametrize(("dialect", "sql", "reason"), CASES)
def test_refused(dialect: str, sql: str, reason: str) -> None:
    if dialect == "mysql":
        sql = sql.replace('"', "`")
    verdict = judge(sql, dialect=dialect, schema=schema(dialect), access=ACCESS)
    assert not verdict.allowed, verdict.sql
    assert reason in verdict.reason
    assert verdict.sql == sql


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_no_rule_concerns_stays_as_it_is(dialect: str) -> None:
    for sql in (
        "SELECT n  FROM items; -- all",
        "WITH users AS (SELECT 1 AS x) SELECT x FROM users",
    ):
        verdict = judge(sql, dialect=dialect, schema=schema(dialect), access=ACCESS)
        assert verdict.allowed, verdict.reason
        assert verdict.sql == sql


def test_rules_without_a_schema_refuse() -> None:
    verdict = judge("SELECT id FROM users", access=ACCESS)
    assert "need the schema" in verdict.reason
    assert judge("SELECT 1", access=ACCESS).allowed
    assert not judge("SELECT 1 FROM b", access=Access(tables=frozenset({"a"}))).allowed


def test_views_are_tables_of_their_own() -> None:
    """With any rule a view must be listed: it could show what the rule hides."""
    sql, whole = "SELECT * FROM spending", schema()
    assert judge(sql, schema=whole, access=Access()).allowed
    hiding: list[dict[str, Any]] = [
        {"tables_denied": frozenset({"secret"})},
        {"rows": {"orders": "1 = 1"}},
        {"masked": {"users": {"age": 0}}},
        {"columns_denied": {"users": frozenset({"name"})}},
    ]
    for rules in hiding:
        access = Access(**rules)
        assert not judge(sql, schema=whole, access=access).allowed
        listed = replace(access, tables=frozenset({"spending"}))
        assert not judge(sql, schema=whole, access=listed).allowed
        assert judge(
            sql, schema=whole, access=replace(access, views=frozenset({"spending"}))
        ).allowed
    ruled = Access(rows={"orders": "1 = 1", "spending": "user_id = 1"})
    assert "WHERE" in judge(sql, schema=whole, access=ruled).sql


def test_the_schema_that_readers_see_shows_nothing_hidden() -> None:
    seen = ACCESS.narrow(schema())
    names = {f"{c.table}.{c.name}" for c in seen.columns}
    assert {"users.email", "users.age", "items.label"} <= names
    assert not names & {"users.password", "orders.note", "secret.word", "spending.spent"}
    assert ACCESS.hides_values("users", "name")
    assert not ACCESS.hides_values("items", "label")


# Rows, on real engines

Run = Callable[[str], list[tuple[Any, ...]]]


def _sqlite(*scripts: str) -> Run:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    for script in scripts:
        connection.executescript(script)
    return lambda sql: connection.execute(sql).fetchall()


def _duckdb(*scripts: str) -> Run:
    connection = duckdb.connect(":memory:")
    for script in scripts:
        connection.execute(script)
    return lambda sql: connection.execute(sql).fetchall()  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def shops(request: pytest.FixtureRequest) -> tuple[str, Run, Run]:
    """An engine's dialect, the whole shop, and one that holds only what is permitted."""
    make = _sqlite if request.param == "sqlite" else _duckdb
    return request.param, make(SCRIPT), make(SCRIPT, PERMITTED)


READ = [
    "SELECT * FROM users",
    "SELECT id, name, email, region, age FROM users WHERE age IS NULL",
    "SELECT u.*, o.total FROM users u JOIN orders o ON o.user_id = u.id",
    "SELECT users.name FROM main.users",
    "SELECT main.users.name, main.users.email FROM main.users WHERE main.users.id > 1",
    'SELECT "users"."name" FROM "users" NATURAL JOIN orders',
    "SELECT * FROM users JOIN orders USING (id)",
    "SELECT a.name, b.name FROM users a LEFT JOIN users b ON a.boss_id = b.id",
    "SELECT count(*), count(email), min(email), count(DISTINCT email) FROM users",
    "SELECT name FROM users WHERE email = 'ann@x' OR email LIKE 'it%'",
    "SELECT name FROM users u WHERE EXISTS (SELECT 1 FROM orders WHERE user_id = u.id)",
    "SELECT name, (SELECT sum(total) FROM orders o WHERE o.user_id = u.id) FROM users u",
    "SELECT id FROM users UNION SELECT user_id FROM orders",
    "SELECT user_id FROM orders EXCEPT SELECT id FROM users",
    "WITH o AS (SELECT * FROM orders) SELECT status, count(*) FROM o GROUP BY status",
    "WITH users AS (SELECT id, total FROM orders) SELECT * FROM users",
    "WITH users AS (SELECT 1 AS x) SELECT x, name FROM users, main.users AS u",
    "WITH RECURSIVE r(id, d) AS (SELECT id, 0 FROM users WHERE boss_id IS NULL UNION ALL"
    " SELECT u.id, d + 1 FROM users u JOIN r ON u.boss_id = r.id) SELECT * FROM r",
    "SELECT * FROM (SELECT * FROM (SELECT id FROM users) x) y, orders",
    "SELECT * FROM (users JOIN orders ON users.id = orders.user_id)",
    "SELECT rank() OVER (PARTITION BY status ORDER BY total, id) FROM orders",
    "SELECT CASE WHEN id IN (SELECT id FROM users) THEN 'u' ELSE 'o' END FROM orders",
    "SELECT 'FROM users', '-- users' AS users FROM users -- users",
    "SELECT name /* users */ FROM /* x */ users",
    "SELECT name AS password FROM users ORDER BY password",
    "VALUES ((SELECT count(*) FROM users))",
    "SELECT max(total) FROM orders HAVING count(*) > (SELECT count(*) FROM users) - 99",
    "SELECT * FROM items WHERE order_id IN (SELECT id FROM orders ORDER BY id LIMIT 1)",
    "SELECT * FROM items",
]


def _key(row: tuple[Any, ...]) -> str:
    return repr(row)


@pytest.mark.parametrize("sql", READ)
def test_rows_are_those_of_a_database_that_holds_no_more(
    sql: str, shops: tuple[str, Run, Run]
) -> None:
    dialect, whole, permitted = shops
    verdict = judge(sql, dialect=dialect, schema=schema(dialect), access=ACCESS)
    assert verdict.allowed, verdict.reason
    assert sorted(whole(verdict.sql), key=_key) == sorted(permitted(sql), key=_key)


# ... for any query: made up from a small grammar


def _outcome(run: Run, sql: str) -> list[str] | str:
    """The rows in some order, or that there is an error."""
    try:
        return sorted(map(repr, run(sql)))
    except (sqlite3.Error, duckdb.Error):
        return "error"


@pytest.fixture(scope="module")
def tally() -> dict[str, int]:
    return {"rows": 0, "error": 0, "refused": 0}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_rewritten_queries_give_what_a_smaller_database_gives(
    shops: tuple[str, Run, Run], tally: dict[str, int], seed: int
) -> None:
    dialect, whole, permitted = shops
    sql = Query(random.Random(seed).randrange).whole()
    verdict = judge(sql, dialect=dialect, schema=schema(dialect), access=ACCESS)
    if not verdict.allowed:
        assert "password" in sql or "note" in sql, verdict.reason
        tally["refused"] += 1
        return
    expected = _outcome(permitted, sql)
    tally["error" if expected == "error" else "rows"] += 1
    assert _outcome(whole, verdict.sql) == expected, verdict.sql


def test_most_of_the_queries_made_up_had_rows(tally: dict[str, int]) -> None:
    """Otherwise the test above would show little."""
    if sum(tally.values()):
        assert tally["rows"] > 2 * (tally["error"] + tally["refused"]), tally


# Through the engines and the whole flow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shop as a file of SQLite and of DuckDB."""
    folder = tmp_path_factory.mktemp("shops")
    paths = {"sqlite": folder / "shop.sqlite", "duckdb": folder / "shop.duckdb"}
    with closing(sqlite3.connect(paths["sqlite"])) as connection:
        connection.executescript(f"{SCRIPT} {VIEW};")
    with duckdb.connect(str(paths["duckdb"])) as other:
        other.execute(f"{SCRIPT} {VIEW};")
    return paths


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_run_and_stream_apply_the_policy(engine: str, files: dict[str, Path]) -> None:
    """Without a schema too: the rules need one, so it is read."""
    with closing(in_process_engine(parse_target(files[engine]))) as opened:
        rows = run_guarded(opened, "SELECT id, email FROM users", access=ACCESS).rows
        assert rows == ((1, "it's *** \\"), (3, "it's *** \\"), (5, "it's *** \\"))
        with stream_guarded(opened, "SELECT count(*) FROM orders", access=ACCESS) as stream:
            assert [row for batch in stream for row in batch] == [(2,)]
        for sql in ("SELECT password FROM users", "SELECT * FROM spending", "SELECT * FROM secret"):
            with pytest.raises(DeniedError, match="not allowed"):
                run_guarded(opened, sql, access=ACCESS)
        with pytest.raises(DeniedError, match="names a column"):
            run_guarded(opened, "SELECT id FROM users", access=Access(masked={"users": {"x": 1}}))


def _answer(path: Path, sql: str, **options: Any) -> Any:
    scripted = ScriptedTranslator({}, [sql])
    with plainsql.connect(path, translator=scripted, **options) as database:
        return database.ask("How many users and orders are there?")


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_ask_applies_the_policy_of_the_settings(engine: str, files: dict[str, Path]) -> None:
    counting = "SELECT count(*) FROM orders"
    assert _answer(files[engine], counting).rows == ((6,),)
    given_settings = Settings(policy=POLICY)
    answer = _answer(files[engine], counting, settings=given_settings)
    assert answer.rows == ((2,),)
    assert answer.sql == counting
    assert _answer(files[engine], counting, access=Access(rows={"orders": "id = 1"})).rows == (
        (1,),
    )
    with pytest.raises(DeniedError):
        _answer(files[engine], counting, settings=Settings(policy=POLICY, role="clerk"))
    with pytest.raises(DeniedError):
        _answer(files[engine], counting, tables=["users"])
    with pytest.raises(UsageError, match="names a table 'order'"):
        _answer(files[engine], counting, tables=["order"])
    with pytest.raises(UsageError, match="no role"):
        _answer(files[engine], counting, settings=Settings(policy=POLICY, role="nobody"))


def test_what_is_hidden_is_neither_described_nor_linked(files: dict[str, Path]) -> None:
    options: dict[str, Any] = {"settings": Settings(policy=POLICY)}
    with plainsql.connect(files["sqlite"], **options) as database:
        shown = database.describe()
        for word in ("password", "secret", "spending", "pw-1", "ann@x", "s3cret", "hush", "Bob"):
            assert word not in shown
        links = database.link("Which orders did Bob with the mail ann@x make, for a pen?")
        assert [v.value for v in links.values if v.kind is ValueKind.CELL] == ["pen"]
    with plainsql.connect(files["sqlite"]) as database:
        links = database.link("Which orders did Bob with the mail ann@x make, for a pen?")
        assert "Bob" in [v.value for v in links.values if v.kind is ValueKind.CELL]


# The fence: no condition of the query is tested on a row that a rule hides

LEAK = "SELECT id FROM orders WHERE CAST(note AS INTEGER) = 1"
COSTLY = "md5(md5(status)) = md5(md5('open')) OR note = '1'"


def test_the_fence_in_sqlite() -> None:
    """A sub-query with a LIMIT is neither merged into the query nor given its conditions."""
    run = _sqlite(SCRIPT)
    verdict = judge(LEAK, schema=schema(), access=Access(rows={"orders": "status = 'open'"}))
    plan = [row[3] for row in run(f"EXPLAIN QUERY PLAN {verdict.sql}")]
    assert plan == ["CO-ROUTINE orders", "SCAN t", "SCAN orders"]


def test_the_fence_in_duckdb() -> None:
    run = _duckdb(SCRIPT)
    access = Access(rows={"orders": COSTLY})
    verdict = judge(LEAK, dialect="duckdb", schema=schema("duckdb"), access=access)
    assert run(verdict.sql) == [(1,)]
    plan = run(f"EXPLAIN {verdict.sql}")[0][1]
    assert plan.index("CAST(note") < plan.index("Limit") < plan.index("Seq Scan")


def test_the_fence_in_postgresql(postgresql_server: Any) -> None:
    """Without it the error of the cast would show the note of a hidden order."""
    postgresql_server.create("access_fence", SCRIPT)
    access = Access(rows={"orders": COSTLY})
    verdict = judge(LEAK, dialect="postgres", schema=schema("postgres"), access=access)
    with postgresql_server.connect("access_fence") as connection:
        import psycopg

        with pytest.raises(psycopg.Error, match=r"s3cret|hush"):
            connection.execute(verdict.sql.replace(" OFFSET 0", "").encode()).fetchall()
        assert connection.execute(verdict.sql.encode()).fetchall() == [(1,)]


SERVER_READ = [
    ("SELECT id, email, age FROM users ORDER BY id", [1, 3, 5]),
    ("SELECT u.id FROM users AS u JOIN orders o ON o.user_id = u.id ORDER BY o.id", [1, 3]),
    ("WITH users AS (SELECT 7 AS id) SELECT id FROM users", [7]),
    ("SELECT id FROM users WHERE age IS NULL AND id IN (SELECT user_id FROM orders)", [1, 3]),
    ("SELECT users.id FROM users NATURAL JOIN orders ORDER BY 1", []),
    ("SELECT count(*) FROM users UNION ALL SELECT count(*) FROM orders ORDER BY 1", [2, 3]),
]


@pytest.mark.parametrize(("dialect", "kind"), [("postgres", "postgresql"), ("mysql", "mariadb")])
def test_rules_on_servers(dialect: str, kind: str, request: pytest.FixtureRequest) -> None:
    policy = POLICY | {"rows": {"users": "region = 'EU'", "orders": "user_id = 3 OR id = 2"}}
    access = Access.from_settings(policy)
    server = request.getfixturevalue(f"{kind}_server")
    server.create("access_rules", SCRIPT)
    opened = in_process_engine(parse_target(server.url("access_rules")))
    with closing(opened):
        whole = opened.introspect()
        access.check(whole)
        for sql, ids in SERVER_READ:
            rows = run_guarded(opened, sql, schema=whole, access=access).rows
            assert [row[0] for row in rows] == ids, sql
        rows = run_guarded(opened, SERVER_READ[0][0], schema=whole, access=access).rows
        assert {row[1:] for row in rows} == {("it's *** \\", None)}
