"""A forbidden call, table or write is denied wherever an expression can stand.

Each template has a hole; the same template with something harmless in it must
be allowed, and must run on the engine, so that each denial is one of the hole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guarded_shop import READABLE, SCRIPT, VIEW
from plainsql.execution.guard import judge

# The last one stands for all dialects that share the generic policy.
LETTERS = {"s": "sqlite", "d": "duckdb", "p": "postgres", "m": "mysql", "g": "snowflake"}

# (dialects, template): {x} is a whole number, or a query of one number in brackets.
TEMPLATES = """
sdpmg SELECT {x}
sdpmg SELECT {x} FROM users
sdpmg SELECT id, {x} AS y, name FROM users
sdpmg SELECT DISTINCT {x} FROM users
dp    SELECT DISTINCT ON ({x}) id FROM users
sdpmg SELECT -{x}, +{x}, NOT {x} = 1 FROM users
sdpmg SELECT id + 2 * ({x} - 1) / 3 % 2 FROM users
sdpmg SELECT CASE WHEN {x} = 1 THEN 1 ELSE 0 END FROM users
sdpmg SELECT CASE WHEN id = 1 THEN {x} ELSE 0 END FROM users
sdpmg SELECT CASE WHEN id = 1 THEN 0 ELSE {x} END FROM users
sdpmg SELECT CASE id WHEN {x} THEN 1 END FROM users
sdpmg SELECT CASE {x} WHEN 1 THEN 1 END FROM users
sdp   SELECT CAST({x} AS VARCHAR) FROM users
dp    SELECT ({x})::text FROM users
sdpmg SELECT coalesce(abs({x}), 1) FROM users
sdpmg SELECT sum({x}) FROM users
sdpmg SELECT count(DISTINCT id + {x}) FROM users
sdp   SELECT count(*) FILTER (WHERE id = {x}) FROM users
dp    SELECT string_agg(name, ',' ORDER BY {x}) FROM users
d     SELECT list(name ORDER BY {x}) FROM users
dp    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY age + {x}) FROM users
m     SELECT group_concat(name ORDER BY {x} SEPARATOR ',') FROM users
sdpmg SELECT sum(id) OVER (PARTITION BY id + {x}) FROM users
sdpmg SELECT sum(id) OVER (ORDER BY id + {x}) FROM users
dp    SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN {x} PRECEDING AND CURRENT ROW) FROM users
sdpm  SELECT sum(id) OVER w FROM users WINDOW w AS (PARTITION BY id + {x} ORDER BY id)
sdpg  SELECT lag(id, 1, {x}) OVER (ORDER BY id) FROM users
sdpmg SELECT substr(name, {x}) FROM users
dpm   SELECT substring(name FROM {x} FOR 2) FROM users
dpm   SELECT extract(year FROM date '2024-01-01') + {x} FROM users
dpm   SELECT trim(LEADING 'x' FROM concat(name, {x})) FROM users
dp    SELECT ARRAY[1, {x}] FROM users
dp    SELECT (ARRAY[1, 2])[{x}] FROM users
d     SELECT [1, {x}], {{'a': {x}}}, [n + {x} FOR n IN [1, 2]] FROM users
d     SELECT list_transform([1], lambda n: n + {x}) FROM users
d     SELECT * REPLACE ({x} AS id) FROM users
d     SELECT COLUMNS('^id$') + {x} FROM users
m     SELECT if({x}, 1, 2), {x} DIV 2, {x} XOR 1, {x} <=> 1 FROM users
p     SELECT row({x}, 1), greatest(1, {x}) FROM users
sdpmg SELECT id FROM users WHERE id = {x}
sdpmg SELECT id FROM users WHERE {x} = 1 AND id = 1 OR NOT (id > {x})
sdpmg SELECT id FROM users WHERE id BETWEEN {x} AND 3
sdpmg SELECT id FROM users WHERE id NOT BETWEEN 0 AND {x}
sdpmg SELECT id FROM users WHERE id IN (1, {x})
sdpmg SELECT id FROM users WHERE {x} IN (1, 2)
sdpmg SELECT id FROM users WHERE {x} NOT IN (SELECT user_id FROM orders)
sdpmg SELECT id FROM users WHERE id IN (SELECT user_id + {x} FROM orders)
sdpmg SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE total > {x})
sdpmg SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders WHERE user_id = u.id + {x})
sdpmg SELECT id FROM users WHERE NOT EXISTS (SELECT {x} FROM orders)
sdpmg SELECT id FROM users WHERE id = (SELECT max(user_id) + {x} FROM orders)
dpm   SELECT id FROM users WHERE id > ALL (SELECT user_id + {x} FROM orders)
dpm   SELECT id FROM users WHERE id = ANY (SELECT user_id FROM orders WHERE id = {x})
sdpmg SELECT id FROM users WHERE (id, id) = (1, {x})
sdp   SELECT id FROM users WHERE name LIKE CAST({x} AS VARCHAR)
sdpmg SELECT id FROM users WHERE name LIKE 'x' ESCAPE '!' OR {x} IS NULL
sdp   SELECT id FROM users WHERE {x} IS NOT DISTINCT FROM 1
m     SELECT id FROM users WHERE name REGEXP 'x' OR name RLIKE concat('a', {x})
sdpmg SELECT u.id FROM users u JOIN orders o ON o.user_id = u.id + {x}
sdpmg SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.total > {x}
sdpmg SELECT u.id FROM users u JOIN (SELECT id, {x} AS y FROM orders) o USING (id)
sdpmg SELECT u.id FROM users u CROSS JOIN (SELECT {x} AS y) z
sdpmg SELECT u.id FROM users u, (SELECT {x} AS y) z
sdpmg SELECT * FROM users NATURAL JOIN (SELECT {x} AS id) z
d     SELECT u.id FROM users u ASOF JOIN orders o ON u.id >= o.user_id + {x}
d     SELECT u.id FROM users u SEMI JOIN orders o ON u.id = o.user_id + {x}
d     SELECT * FROM users POSITIONAL JOIN (SELECT {x}) z
dp    SELECT * FROM users u, LATERAL (SELECT u.id + {x} AS y) z
dp    SELECT * FROM users u LEFT JOIN LATERAL (SELECT {x} AS y) z ON TRUE
sdpmg SELECT * FROM (SELECT id + {x} AS y FROM users) z
sdpmg SELECT * FROM (SELECT * FROM (SELECT {x} AS y) a) b
sdp   SELECT * FROM (VALUES (1, {x}), (2, 3)) z
dp    SELECT * FROM (VALUES (1, {x})) AS z(a, b)
dp    SELECT * FROM unnest(ARRAY[1, {x}]) AS z(n)
s     SELECT * FROM json_each('[1]') WHERE value = {x}
s     SELECT * FROM json_each('[' || {x} || ']')
m     SELECT * FROM json_table(concat('[', {x}, ']'), '$[*]' COLUMNS (n INT PATH '$')) z
sdpmg SELECT count(*) FROM users GROUP BY id + {x}
dp    SELECT count(*) FROM users GROUP BY ROLLUP (id, name, age + {x})
dp    SELECT count(*) FROM users GROUP BY GROUPING SETS ((id + {x}), ())
m     SELECT count(*) FROM users GROUP BY id + {x} WITH ROLLUP
sdpmg SELECT count(*) FROM users GROUP BY name HAVING count(*) > {x}
d     SELECT id FROM users QUALIFY row_number() OVER (ORDER BY id) = {x}
sdpmg SELECT id FROM users ORDER BY id + {x} DESC
sdp   SELECT id FROM users ORDER BY id + {x} NULLS LAST
sdpmg SELECT id FROM users ORDER BY CASE WHEN {x} = 1 THEN id ELSE 0 END
sdp   SELECT id FROM users LIMIT {x}
sdp   SELECT id FROM users LIMIT 5 OFFSET {x}
s     SELECT id FROM users LIMIT {x}, 2
p     SELECT id FROM users FETCH FIRST {x} ROWS ONLY
sdpmg SELECT {x} UNION SELECT id FROM users
sdpmg SELECT id FROM users UNION ALL SELECT {x}
sdpmg SELECT id FROM users EXCEPT SELECT {x} FROM orders
sdpmg SELECT id FROM users INTERSECT SELECT user_id FROM orders WHERE id = {x}
dp    (SELECT {x}) UNION (SELECT id FROM users) ORDER BY 1
d     SELECT id FROM users UNION ALL BY NAME SELECT {x} AS id
sdp   VALUES (1, {x})
sdpmg WITH c AS (SELECT {x} AS y) SELECT * FROM c
sdpmg WITH c(y) AS (SELECT 1), d AS (SELECT {x} AS z FROM c) SELECT z FROM d
sdpmg WITH c AS (SELECT 1 AS y) SELECT y + {x} FROM c
sdp   WITH c AS MATERIALIZED (SELECT {x} AS y) SELECT y FROM c
sdpmg WITH c AS (SELECT 1 AS y UNION SELECT {x}) SELECT y FROM c
sdpmg WITH RECURSIVE c(n) AS (SELECT {x} UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT n FROM c
sdpmg WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + {x} FROM c WHERE n < 3) SELECT n FROM c
sdpmg WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {x}) SELECT n FROM c
sdpmg SELECT * FROM (WITH c AS (SELECT {x} AS y) SELECT y FROM c) z
sdpmg SELECT id FROM users WHERE id IN (WITH c AS (SELECT {x} AS y) SELECT y FROM c)
d     FROM users SELECT {x}
d     FROM users WHERE id = {x}
d     PIVOT (SELECT id, status, total + {x} AS total FROM orders) ON status USING sum(total)
d     UNPIVOT (SELECT id + {x} AS a, 1 AS b FROM users) ON a, b
d     SUMMARIZE SELECT {x} AS y FROM users
d     DESCRIBE SELECT {x} AS y FROM users
sdpmg EXPLAIN SELECT id FROM users WHERE id = {x}
s     EXPLAIN QUERY PLAN SELECT id FROM users WHERE id = {x}
"""
# Where a table stands; {t} is its name. Harmless: users.
SOURCES = """
sdpmg SELECT count(*) FROM {t}
sdpmg SELECT z.id FROM {t} AS z
sdpmg SELECT z.id FROM orders o, {t} z
sdpmg SELECT z.id FROM orders o JOIN {t} z ON z.id = o.id
sdpmg SELECT z.id FROM orders o LEFT JOIN {t} z USING (id)
sdpmg SELECT count(*) FROM items NATURAL JOIN {t}
sdpmg SELECT count(*) FROM (items CROSS JOIN {t})
s     SELECT count(*) FROM ({t})
sdpmg SELECT count(*) FROM (SELECT * FROM {t}) z
sdpmg SELECT 1 FROM orders WHERE id IN (SELECT id FROM {t})
sdpmg SELECT 1 FROM orders WHERE EXISTS (SELECT 1 FROM {t})
sdpmg SELECT (SELECT max(id) FROM {t})
sdpmg SELECT id FROM orders ORDER BY (SELECT max(id) FROM {t})
sdpmg SELECT id FROM orders UNION SELECT id FROM {t}
sdpmg SELECT id FROM {t} EXCEPT SELECT id FROM orders
sdpmg WITH c AS (SELECT * FROM {t}) SELECT id FROM c
sdpmg WITH c AS (SELECT 1 AS x) SELECT z.id FROM c, {t} z
sdpmg WITH RECURSIVE c(n) AS (SELECT id FROM {t} UNION SELECT 1 FROM c WHERE n < 9) SELECT n FROM c
sdpmg WITH RECURSIVE c(n) AS (SELECT 1 UNION SELECT z.id FROM c, {t} z WHERE n < 3) SELECT n FROM c
dp    SELECT count(*) FROM orders o, LATERAL (SELECT * FROM {t} x WHERE x.id = o.id) z
p     TABLE {t}
d     FROM {t}
d     PIVOT {t} ON id USING count(*)
d     SUMMARIZE {t}
d     DESCRIBE {t}
d     SELECT count(*) FROM orders POSITIONAL JOIN {t}
s     SELECT main.{t}.id FROM main.{t}
d     SELECT id FROM main.{t}
p     SELECT id FROM public.{t}
sdpmg EXPLAIN SELECT id FROM {t}
"""
CALLS = {
    "sqlite": ["load_extension('x')", "randomblob(9)", "readfile('/etc/hostname')", "changes()"],
    "duckdb": ["getenv('HOME')", "current_setting('threads')", "write_log('x')", "nextval('s')"],
    "postgres": [
        "pg_read_file('x')",
        "pg_sleep(9)",
        "lo_import('x')",
        "set_config('a', 'b', false)",
    ],
    "mysql": ["load_file('/etc/hostname')", "sleep(9)", "benchmark(9, 1)", "get_lock('a', 1)"],
    "snowflake": ["system$wait(9)", "get_ddl('table', 'users')", "load_extension('x')", "f(1)"],
}
WRITES = [
    "(DELETE FROM users)", "(DELETE FROM users RETURNING id)", "(DROP TABLE users)",
    "(UPDATE users SET id = 1 RETURNING id)", "(INSERT INTO users (id) VALUES (9) RETURNING id)",
    "(WITH d AS (DELETE FROM users RETURNING id) SELECT id FROM d)", "(CREATE TABLE z (a INT))",
    "1; DELETE FROM users", "(SELECT id INTO z FROM users)", "(SELECT id FROM users FOR UPDATE)",
    "(ATTACH 'z' AS z)", "(COPY users TO 'z')", "(PRAGMA user_version = 7)",
]  # fmt: skip
TABLE_READS = [
    "(SELECT max(id) FROM secret)",
    "(SELECT id FROM users UNION SELECT id FROM secret)",
    "(WITH c AS (SELECT * FROM secret) SELECT max(id) FROM c)",
    "(SELECT max(x.id) FROM users x, secret)",
    "(SELECT 1 WHERE EXISTS (SELECT * FROM SECRET))",
]
HARMLESS = ["1", "abs(1)", "(SELECT min(id) FROM users)"]
SECRETS = {
    "sqlite": ["secret", '"secret"', "[secret]", "main.secret", "sqlite_master", "dbstat"],
    "duckdb": ["secret", '"secret"', "main.secret", "duckdb_tables()", "'/etc/hosts'", '"x.csv"'],
    "postgres": ["secret", '"secret"', "public.secret", "pg_class", "pg_catalog.pg_shadow"],
    "snowflake": ["secret", '"secret"', "information_schema.tables", "x.y.users", "@stage"],
    "mysql": ["secret", "`secret`", "mysql.user", "information_schema.tables", "seq_1_to_9"],
}  # fmt: skip


def _table(text: str) -> list[tuple[str, str]]:
    """(dialect, template) for every line of a table and each of its dialects."""
    rows = [line.split(maxsplit=1) for line in text.strip().splitlines()]
    return [(LETTERS[letter], template) for letters, template in rows for letter in letters]


EXPRESSIONS, PLACES = _table(TEMPLATES), _table(SOURCES)
Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest) -> Iterator[dict[str, Run]]:
    """By dialect, a function that runs a query on a real engine with the shop in it."""
    duckdb = pytest.importorskip("duckdb")
    lite, duck = sqlite3.connect(":memory:"), duckdb.connect(":memory:")
    lite.executescript(f"{SCRIPT} {VIEW};")
    duck.execute(f"{SCRIPT} {VIEW};")
    yield {
        "sqlite": lambda sql: lite.execute(sql).fetchall(),
        "duckdb": lambda sql: duck.execute(sql).fetchall(),
    }
    lite.close()
    duck.close()


def _allowed(template: str, dialect: str, **filling: str) -> list[str]:
    """The filled template where it is allowed."""
    sql = template.format(**filling)
    return [sql] if judge(sql, dialect=dialect, tables=READABLE).allowed else []


@pytest.mark.parametrize(("dialect", "template"), EXPRESSIONS)
def test_forbidden_expressions_are_denied_in_every_place(dialect: str, template: str) -> None:
    for filling in [*CALLS[dialect], *WRITES, *TABLE_READS]:
        assert not _allowed(template, dialect, x=filling)


@pytest.mark.parametrize(("dialect", "template"), EXPRESSIONS)
def test_harmless_expressions_are_allowed_there(
    dialect: str, template: str, run: dict[str, Run]
) -> None:
    """At least one of them: not every clause takes a query."""
    allowed = [sql for filling in HARMLESS for sql in _allowed(template, dialect, x=filling)]
    assert allowed
    if dialect in run:
        run[dialect](allowed[0])


@pytest.mark.parametrize(("dialect", "template"), PLACES)
def test_forbidden_tables_are_denied_in_every_place(dialect: str, template: str) -> None:
    for table in SECRETS[dialect]:
        assert not _allowed(template, dialect, t=table)


@pytest.mark.parametrize(("dialect", "template"), PLACES)
def test_permitted_tables_are_allowed_there(
    dialect: str, template: str, run: dict[str, Run]
) -> None:
    allowed = _allowed(template, dialect, t="users")
    assert allowed
    if dialect in run:
        run[dialect](allowed[0])


@pytest.mark.parametrize(("dialect", "kind"), [("postgres", "postgresql"), ("mysql", "mariadb")])
def test_what_is_allowed_runs_on_servers(
    dialect: str, kind: str, request: pytest.FixtureRequest
) -> None:
    """The templates are queries of these engines too: denials are not for their form."""
    server = request.getfixturevalue(f"{kind}_server")
    server.create("completeness", f"{SCRIPT} {VIEW};")
    texts = [
        sql
        for of, template in EXPRESSIONS
        for sql in [s for x in HARMLESS for s in _allowed(template, dialect, x=x)][:1]
        if of == dialect
    ]
    texts += [template.format(t="users") for of, template in PLACES if of == dialect]
    failed = []
    with server.connect("completeness") as connection, connection.cursor() as cursor:
        for sql in texts:
            try:
                cursor.execute(sql)
                cursor.fetchall()
            except Exception as error:
                failed.append((sql, str(error)[:90]))
    assert not failed
