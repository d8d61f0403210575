"""The guard for DuckDB: what passes and runs there, what is refused and why."""

# ruff: noqa: E501 - statements are kept on one line each

from __future__ import annotations

import pytest

from plainsql.execution.guard import judge

TABLES = frozenset({"boat", "port", "long_boat", "sales.orders"})
SCRIPT = """
CREATE TABLE boat (id INT PRIMARY KEY, name TEXT, length DOUBLE, port_id INT, built DATE);
CREATE TABLE port (
    id INT PRIMARY KEY, town TEXT, tags JSON, nums INT[], s STRUCT(a INT, b TEXT), m MAP(TEXT, INT)
);
CREATE TABLE secret (id INT, word TEXT);
CREATE VIEW long_boat AS SELECT name, length FROM boat WHERE length > 20;
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id INT, total DECIMAL(9, 2));
INSERT INTO boat VALUES (1, 'Gull', 7.5, 1, '1987-05-01'), (2, 'Tern', 31, 1, '2004-11-30');
INSERT INTO port VALUES
    (1, 'Kiel', '{"a": 1, "list": [1, 2]}', [1, 2], {'a': 1, 'b': 'x'}, MAP {'k': 1});
INSERT INTO secret VALUES (1, 'xyzzy');
"""

# Each runs on the engine, too.
ALLOWED = r"""
SELECT name FROM main.boat
SELECT Name FROM BOAT
SELECT "name" FROM "boat"
SELECT * FROM 'boat'
SELECT * FROM sales.orders
FROM boat
FROM boat SELECT name WHERE length > 1
FROM boat b JOIN port p ON b.port_id = p.id SELECT b.name, p.town ORDER BY 1
SELECT * EXCLUDE (id) FROM boat
SELECT * REPLACE (upper(name) AS name) FROM boat
SELECT b.* EXCLUDE (id) FROM boat b
SELECT COLUMNS('i.*') FROM boat
SELECT min(COLUMNS(*)) FROM boat
SELECT port_id, sum(length) FROM boat GROUP BY ALL ORDER BY ALL
SELECT * FROM boat QUALIFY row_number() OVER (PARTITION BY port_id ORDER BY length DESC) = 1
SELECT [1, 2, 3][1], {'a': 1, 'b': {'c': 2}}, MAP {'a': 1}, map(['x'], [2])['x']
SELECT [x * 2 for x in nums if x > 1] FROM port
SELECT 'abc'.upper(), name.upper().lower(), name.length() FROM boat
SELECT s.a, s['b'], nums[1:2], nums[-1], m['k'], len(nums), list_contains(nums, 1), unnest(nums) FROM port
SELECT town, u.n FROM port, unnest(nums) AS u(n)
SELECT * FROM unnest([1, 2, 3]) AS t(x)
SELECT struct_pack(a := 1, b := 'x'), row(1, 2), struct_extract(s, 'a') FROM port
SELECT x FROM range(10) t(x)
SELECT * FROM generate_series(1, 5)
SELECT d FROM generate_series(DATE '2024-01-01', DATE '2024-03-01', INTERVAL 1 DAY) t(d)
SUMMARIZE boat
SUMMARIZE SELECT name FROM boat
DESCRIBE boat
DESCRIBE SELECT name FROM boat
DESC boat
PIVOT boat ON port_id USING sum(length)
PIVOT boat ON port_id IN (1, 2) USING sum(length) AS s, count(*) AS c GROUP BY name
SELECT * FROM boat PIVOT (sum(length) FOR port_id IN (1, 2))
UNPIVOT boat ON length, port_id INTO NAME n VALUE v
SELECT * FROM (SELECT id, length, port_id FROM boat) UNPIVOT (v FOR n IN (length, port_id))
WITH p AS (PIVOT boat ON port_id USING sum(length)) SELECT * FROM p
SELECT * FROM boat b ASOF JOIN port p ON b.id >= p.id
SELECT * FROM boat POSITIONAL JOIN port
SELECT * FROM boat SEMI JOIN port ON boat.port_id = port.id
SELECT * FROM boat ANTI JOIN port ON boat.port_id = port.id
SELECT * FROM boat USING SAMPLE 50%
SELECT * FROM boat TABLESAMPLE 50%
SELECT * FROM boat TABLESAMPLE reservoir(1 ROWS)
SELECT length::INTEGER, name::VARCHAR, nums::VARCHAR[], TRY_CAST(name AS DATE), length::DECIMAL(10,2), CAST(s AS STRUCT(a INT, b VARCHAR)) FROM boat, port
SELECT DATE '2024-01-01' + INTERVAL 1 DAY, INTERVAL '1 day', TIMESTAMP '2024-01-01 00:00:00', built + INTERVAL (id) MONTH FROM boat
SELECT 7 // 2, 2 ** 3, 2 ^ 3, 7 % 3, 1 << 2, name ^@ 'M', name SIMILAR TO 'x', name ~ 'G.*', name GLOB 'G*' FROM boat
SELECT count(*) FILTER (length > 1), count(*) FILTER (WHERE length > 1), any_value(name), first(name ORDER BY id), quantile_cont(length, 0.5), arg_max(name, length), max(length, 2), string_agg(name, ',' ORDER BY name), list(name ORDER BY id DESC), median(length), mode(name), approx_count_distinct(name), histogram(port_id) FROM boat
SELECT e'a\'b', $$x$$, $t$x$t$, 'it''s', 1_000, 1e5, .5, 1.
SELECT a: 1, b: name FROM boat
SELECT boat FROM boat
SELECT t.x FROM (VALUES (1), (2)) t(x)
VALUES (1, 'a')
SELECT year(built), month(built), date_trunc('month', built), date_part('year', built), strftime(built, '%Y-%m'), extract(dow FROM built), datediff('day', built, today()), date_diff('month', built, current_date), dayname(built), last_day(built), epoch(built::timestamp) FROM boat
SELECT max(length) OVER (PARTITION BY port_id ORDER BY built RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW), lead(name IGNORE NULLS) OVER w FROM boat WINDOW w AS (ORDER BY id)
SELECT tags->'$.a', tags->>'a', json_extract_string(tags, '$.a'), json_extract(tags, ['$.a', '$.list']), tags.a, json_array_length(tags->'list') FROM port
SELECT je.value FROM port, json_each(port.tags) AS je
SELECT EXISTS (FROM boat), (FROM boat SELECT count(*)), id = ANY (SELECT 1), ARRAY(SELECT id FROM boat), id IN (SELECT port_id FROM boat) FROM boat
SELECT name FROM boat UNION BY NAME SELECT town AS name FROM port
SELECT name FROM boat UNION ALL BY NAME SELECT town FROM port
SELECT printf('%05d %s', id, name), format('{} is {:.2f}', name, length), format('{:>10}', name), lpad(name, 10, '.'), repeat('=', 20), concat_ws('-', id, name) FROM boat
SELECT regexp_replace(name, '[aeiou]', '', 'g'), regexp_extract(name, '(.)u', 1), string_split(name, 'u'), split_part(name, 'u', 1), regexp_matches(name, 'G') FROM boat
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 10) SELECT sum(n) FROM c
WITH a AS MATERIALIZED (SELECT * FROM boat) SELECT count(*) FROM a
SELECT port_id, count(*) FROM boat GROUP BY ROLLUP(port_id)
SELECT port_id, name, grouping(port_id), count(*) FROM boat GROUP BY GROUPING SETS ((port_id), (name), ())
SELECT DISTINCT ON (port_id) name, port_id FROM boat ORDER BY port_id
SELECT name FROM boat ORDER BY length DESC NULLS LAST LIMIT 5 OFFSET 0
SELECT name FROM boat LIMIT 50%
EXPLAIN SELECT * FROM boat
EXPLAIN (FORMAT json) SELECT 1
SELECT if(length > 10, 'a', 'b'), ifnull(name, 'x'), coalesce(name, 'y'), CASE WHEN id = 1 THEN 1 END FROM boat
TABLE boat
(SELECT 1) UNION (SELECT 2)
SELECT time_bucket(INTERVAL '1 month', built), count(*) FROM boat GROUP BY 1
SELECT 10::HUGEINT, 'a' || 'b', NULL::INT, true AND false, 5 BETWEEN 1 AND 9, name IS NOT DISTINCT FROM 'x' FROM boat
SELECT b.name, p.town FROM boat b, LATERAL (SELECT town FROM port WHERE port.id = b.port_id) p
SELECT name AS "user", 1 AS user FROM boat
SELECT round(avg(length), 2), sum(length) / count(*), stddev(length), corr(length, id) FROM boat
SELECT id IN [1, 2], id NOT IN (3) FROM boat
SELECT list_sort(nums), nums || [3], array_agg(id) FROM port GROUP BY ALL
SELECT list_transform([1, 2], lambda x: x + 1), list_filter(nums, lambda x: x > 1) FROM port
SELECT list_reduce([1, 2], lambda a, b: a + b)
SELECT today(), current_date
SELECT id IN nums FROM port
FROM b: boat SELECT b.name
"""

# A part of the reason, and what is refused for it.
DENIED = {
    "function '": r"""
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM "read_text"('/etc/passwd')
SELECT * FROM main.read_text('/etc/passwd')
SELECT * FROM system.main.read_text('/etc/passwd')
SELECT '/etc/passwd'.read_text()
FROM '/etc/passwd'.read_text()
FROM read_text(['/etc/passwd'])
FROM glob('*')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('secret')
SELECT * FROM query_table(['boat','secret'])
SELECT * FROM histogram('secret','word')
SELECT * FROM histogram(secret, word)
FROM histogram_values(secret, word)
FROM summary(TABLE secret)
FROM json_execute_serialized_sql('x')
SELECT json_serialize_sql('select 1')
SELECT current_setting('threads')
SELECT getvariable('a')
SELECT getvariable('a') FROM boat
FROM duckdb_tables()
FROM duckdb_secrets()
FROM which_secret('a','b')
FROM pragma_table_info('boat')
FROM pragma_storage_info('secret')
SELECT * FROM (DESCRIBE SELECT * FROM read_text('x'))
PIVOT read_csv('x') ON a USING count(*)
SELECT * FROM boat AT (VERSION => 1)
SELECT list_transform([1], x -> getenv('a'))
SELECT * FROM boat USING SAMPLE (SELECT 1 FROM secret)
WITH RECURSIVE secret USING KEY (id) AS (SELECT * FROM secret) FROM secret
SELECT nextval('s')
SELECT setseed(0.5)
SELECT sleep_ms(1000)
SELECT pg_sleep(1)
SELECT 'x'.repeat(1000000000)
SELECT 'x'.lpad(2000000000, 'y')
SELECT name.rpad(2000000000, 'y') FROM boat
SELECT printf('%1000000000d', 1)
SELECT format('{:1000000000d}', 1)
SELECT format('{:{}d}', 1, 1000000000)
SELECT '{:1000000000d}'.format(1)
SELECT printf('%*d', 1000000000, 1)
SELECT (1).range(1000000000)
SELECT list_resize([1], 1000000000)
SELECT bitstring('1', 1000000000)
SELECT bar(1, 0, 1, 1000000000)
SELECT current_database()
SELECT stats((SELECT 1))
SELECT error('x')
SELECT write_log('x')
FROM enable_logging()
FROM checkpoint()
FROM test_all_types()
FROM sniff_csv('x')
FROM parquet_metadata('x')
FROM postgres_scan('a','b','c')
FROM sqlite_scan('a','b')
FROM repeat_row(1, num_rows=1000000000)
FROM seq_scan('secret')
FROM arrow_scan(1,2,3)
FROM pandas_scan(1)
SELECT index_key(1)
SELECT json_execute_serialized_sql('x')
SELECT memory.main.getenv('a')
SELECT system.main.lower('a').getenv()
""",
    "table '": r"""
SELECT * FROM '/etc/passwd'
SELECT * FROM "/etc/passwd"
SELECT * FROM 'boat.csv'
SELECT * FROM 'secret'
FROM "secret"
FROM 'secret' SELECT word
FROM main.secret
FROM SECRET
FROM sales.secret
FROM boat, secret
FROM boat SELECT (FROM secret SELECT word)
FROM duckdb_tables
FROM sqlite_master
FROM pg_tables
SUMMARIZE secret
SUMMARIZE SELECT * FROM secret
DESCRIBE secret
DESCRIBE 'x.csv'
DESCRIBE SELECT * FROM secret
DESCRIBE TABLE secret
FROM (SHOW TABLES)
FROM (DESCRIBE secret)
FROM (SUMMARIZE secret)
PIVOT secret ON word USING count(*)
PIVOT boat ON id IN (SELECT id FROM secret) USING count(*)
PIVOT boat ON id USING max((SELECT word FROM secret))
PIVOT boat ON id USING sum(length) GROUP BY (SELECT word FROM secret)
PIVOT 'x.csv' ON a USING count(*)
UNPIVOT secret ON id, word INTO NAME n VALUE v
FROM boat PIVOT (max((SELECT word FROM secret)) FOR id IN (1))
FROM boat UNPIVOT (v FOR n IN (COLUMNS((SELECT word FROM secret))))
SELECT * REPLACE ((SELECT word FROM secret) AS name) FROM boat
SELECT COLUMNS((SELECT word FROM secret)) FROM boat
SELECT [x FOR x IN (SELECT list(word) FROM secret)]
SELECT {'a': (SELECT word FROM secret)}
SELECT MAP {'a': (SELECT word FROM secret)}
SELECT list_transform([1], lambda x: (SELECT word FROM secret))
SELECT * FROM boat QUALIFY (SELECT word FROM secret) IS NULL
SELECT * FROM boat ASOF JOIN secret ON boat.id >= secret.id
SELECT * FROM boat POSITIONAL JOIN secret
SELECT * FROM boat SEMI JOIN secret USING (id)
SELECT * FROM boat UNION BY NAME SELECT * FROM secret
FROM boat UNION FROM secret
WITH RECURSIVE secret AS (SELECT * FROM secret) SELECT * FROM secret
WITH RECURSIVE secret AS (SELECT * FROM secret UNION ALL SELECT 1,'x') SELECT * FROM secret
WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a
WITH secret AS (FROM secret) FROM secret
WITH a AS (FROM secret), secret AS (SELECT 1) FROM a
WITH RECURSIVE secret AS (SELECT 1 UNION BY NAME SELECT * FROM secret) FROM secret
WITH RECURSIVE secret AS (SELECT 1 INTERSECT SELECT * FROM secret) FROM secret
TABLE secret
SELECT (TABLE secret)
VALUES ((SELECT word FROM secret))
SELECT secret.word FROM boat, main.secret
""",
    "another database": r"""
FROM memory.main.secret
FROM boat b, b.nums
FROM information_schema.tables
FROM pg_catalog.pg_tables
""",
    "SUMMARIZE must name a table or hold a query": r"""
SUMMARIZE 'x.csv'
SUMMARIZE 'secret'
""",
    "not understood": r"""
DESCRIBE
EXPLAIN (ANALYZE) SELECT 1
EXPLAIN (FORMAT json, ANALYZE) SELECT 1
""",
    "begin with": r"""
SHOW TABLES
SHOW ALL TABLES
SHOW secret
ATTACH 'x.db'
COPY boat TO 'x.csv'
COPY (SELECT 1) TO 'x'
EXPORT DATABASE 'x'
SET threads=1
RESET threads
USE main
CHECKPOINT
VACUUM
EXPLAIN ANALYZE SELECT 1
EXPLAIN DELETE FROM boat
MACRO x() AS 1
CREATE MACRO x() AS 1
""",
    "is not allowed": r"""
WITH x AS (INSERT INTO boat VALUES (1) RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM boat RETURNING *) SELECT 1
SELECT current_user
SELECT user
""",
    "a repetition": r"""
SELECT repeat('x', 1000000000)
SELECT repeat('x', 10*1000000000)
SELECT repeat([1], 1000000000)
SELECT lpad('x', 2000000000, 'y')
""",
    "a series": r"""
SELECT range(1000000000)
SELECT range(0, 1000000000, 1)
SELECT generate_series(1, 1000000000)
SELECT * FROM range(1000000000)
FROM range(100000) a, range(100000) b
SELECT list_transform(range(100000), x -> range(100000))
""",
    "two literals": r"""
SELECT 'a' 'b'
SELECT E'a' '\' , getenv('x') --'
""",
    "unreadable": r"""
SELECT $1
SELECT ?
SELECT $a
SELECT #1 FROM boat
""",
    "with ": r"""
SELECT * INTO x FROM boat
SELECT * FROM boat FOR UPDATE
""",
    "type": r"""
SELECT x::regclass
SELECT 'secret'::regclass
""",
    "FROM must name": r"""
FROM repeat('a', 1000000000)
""",
}


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


CASES = [(sql, reason) for reason, text in DENIED.items() for sql in lines(text)]


@pytest.mark.parametrize("sql", lines(ALLOWED))
def test_allowed(sql: str) -> None:
    verdict = judge(sql, dialect="duckdb", tables=TABLES)
    assert verdict.allowed, verdict.reason
    assert verdict.sql == sql


@pytest.mark.parametrize(("sql", "reason"), CASES)
def test_denied(sql: str, reason: str) -> None:
    verdict = judge(sql, dialect="duckdb", tables=TABLES)
    assert not verdict.allowed
    assert reason in verdict.reason
    assert 0 < len(verdict.reason) < 120


def test_what_is_allowed_runs() -> None:
    """On DuckDB itself: nothing of it is refused for its form alone."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute(SCRIPT)
        for sql in lines(ALLOWED):
            assert "xyzzy" not in repr(connection.execute(sql).fetchall())
