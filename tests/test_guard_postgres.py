"""The guard for PostgreSQL: what passes and runs there, what is refused and why."""

# ruff: noqa: E501 - statements are kept on one line each

from __future__ import annotations

import pytest

from plainsql.execution.guard import judge

TABLES = frozenset({"boat", "port", "long_boat", "sales.orders"})
SCRIPT = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE boat (id INT PRIMARY KEY, name TEXT, length REAL, port_id INT, built DATE, mood mood);
CREATE TABLE port (id INT PRIMARY KEY, town TEXT, tags JSONB, nums INT[]);
CREATE TABLE secret (id INT, word TEXT);
CREATE VIEW long_boat AS SELECT name, length FROM boat WHERE length > 20;
CREATE SCHEMA sales;
CREATE TABLE sales.orders (id INT, total NUMERIC(9, 2), at TIMESTAMPTZ);
INSERT INTO boat VALUES (1, 'Gull', 7.5, 1, '1987-05-01', 'ok');
INSERT INTO port VALUES (1, 'Kiel', '{"a": 1, "list": [1, 2]}', '{1, 2}');
INSERT INTO secret VALUES (1, 'xyzzy');
CREATE FUNCTION boom(a ANYELEMENT) RETURNS ANYELEMENT LANGUAGE SQL AS 'SELECT a';
"""

# Each runs on the engine, too.
ALLOWED = r"""
SELECT name FROM public.boat
SELECT "name" FROM "boat" b WHERE b."length" > 1
SELECT Name FROM BOAT
SELECT * FROM sales.orders
SELECT o.total::text, o.at::date FROM sales.orders o
SELECT pg_catalog.lower(name), pg_catalog.count(*) FROM boat GROUP BY 1
SELECT "lower"(name) FROM boat
SELECT name::varchar(10), length::numeric(10,2), '5'::int, CAST('2020-01-01' AS timestamp with time zone) FROM boat
SELECT date '2024-01-01' + interval '1 day', timestamp '2024-01-01 10:00', interval'2 hours', time '10:00'
SELECT date_trunc('month', built), extract(year FROM built), date_part('dow', built), to_char(built, 'YYYY-MM'), age(built) FROM boat
SELECT name ILIKE 'm%', name ~* '^m', name !~ 'x', name NOT ILIKE '%q%', name SIMILAR TO '(M|G)%' FROM boat
SELECT tags->'list'->0, tags->>'a', tags #>> '{list,0}', tags @> '{"a":1}', tags ? 'a', jsonb_array_length(tags->'list') FROM port WHERE id = 1
SELECT t.k, t.v FROM port, jsonb_each(tags) AS t(k, v)
SELECT p.town, e.value FROM port p CROSS JOIN LATERAL jsonb_array_elements(p.tags->'list') AS e(value) WHERE p.id = 1
SELECT x.a FROM json_to_recordset('[{"a":1,"b":"x"}]') AS x(a int, b text)
SELECT unnest(nums), array_length(nums, 1), nums[1], nums[1:2] FROM port
SELECT * FROM unnest(ARRAY[1,2], ARRAY['a','b']) AS t(n, s)
SELECT n FROM unnest(ARRAY[3,4]) WITH ORDINALITY AS t(n, i) ORDER BY i
SELECT id FROM boat WHERE id = ANY(ARRAY[1,2]) AND id <> ALL('{3}'::int[]) AND id IN (SELECT port_id FROM boat)
SELECT ARRAY(SELECT id FROM boat ORDER BY id), ROW(1, 'a'), (1, 2) = (1, 2)
SELECT array_agg(name ORDER BY id), string_agg(name, ', ' ORDER BY name), json_agg(b) FROM boat b
SELECT json_build_object('n', name, 'l', length) FROM boat
SELECT DISTINCT ON (port_id) port_id, name FROM boat ORDER BY port_id, length DESC
SELECT count(*) FILTER (WHERE length > 10), percentile_cont(0.5) WITHIN GROUP (ORDER BY length), mode() WITHIN GROUP (ORDER BY name) FROM boat
SELECT port_id, grouping(port_id), sum(length) FROM boat GROUP BY ROLLUP(port_id)
SELECT port_id, mood, count(*) FROM boat GROUP BY GROUPING SETS ((port_id), (mood), ())
SELECT port_id, mood, count(*) FROM boat GROUP BY CUBE(port_id, mood)
SELECT name, rank() OVER w, lag(length) OVER w, sum(length) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM boat WINDOW w AS (PARTITION BY port_id ORDER BY length)
SELECT avg(length) OVER (ORDER BY built RANGE BETWEEN INTERVAL '1 year' PRECEDING AND CURRENT ROW) FROM boat
SELECT b.name FROM boat b LEFT JOIN port p ON p.id = b.port_id WHERE p.id IS NULL OR p.town IS NOT DISTINCT FROM 'Kiel'
SELECT * FROM boat NATURAL JOIN port
SELECT * FROM boat FULL OUTER JOIN port USING (id)
SELECT b.name, l.town FROM boat b, LATERAL (SELECT town FROM port WHERE port.id = b.port_id LIMIT 1) l
WITH r AS MATERIALIZED (SELECT * FROM boat) SELECT count(*) FROM r
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 10) SELECT sum(n) FROM c
SELECT g FROM generate_series(1, 12) AS g
SELECT d::date FROM generate_series('2024-01-01'::date, '2024-12-31'::date, interval '1 month') AS d
SELECT m FROM generate_series(timestamp '2024-01-01', timestamp '2024-03-01', '1 day') m
SELECT name FROM boat ORDER BY length DESC NULLS LAST OFFSET 1 LIMIT 5
SELECT name FROM boat ORDER BY name COLLATE "C" FETCH FIRST 5 ROWS ONLY
SELECT name FROM boat ORDER BY name OFFSET 1 ROWS FETCH NEXT (5) ROWS ONLY
SELECT name FROM boat ORDER BY name FETCH FIRST (2) ROWS WITH TIES
SELECT name FROM boat UNION ALL (SELECT town FROM port ORDER BY town LIMIT 1) ORDER BY 1
(SELECT name FROM boat) EXCEPT ALL (SELECT town FROM port)
VALUES (1, 'a'), (2, 'b')
TABLE boat
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(id, s) JOIN boat USING (id)
SELECT CASE WHEN length > 10 THEN 'long' ELSE 'short' END AS size, count(*) FROM boat GROUP BY 1 HAVING count(*) > 0
SELECT COALESCE(name, 'x'), NULLIF(length, 0), GREATEST(1, length), LEAST(id, 3) FROM boat
SELECT round(avg(length)::numeric, 2), stddev(length), corr(length, id), sum(length) / NULLIF(count(*), 0) FROM boat
SELECT substring(name FROM 1 FOR 2), position('u' IN name), trim(both 'x' FROM name), overlay(name placing 'q' from 1 for 1), split_part(name, 'u', 1), left(name, 2), lpad(id::text, 5, '0'), repeat('-', 10), regexp_replace(name, '[aeiou]', '', 'g'), initcap(name), format('%s: %5s', name, id) FROM boat
SELECT E'a\'b\n', $$it's$$, $x$a$$b$x$, 'it''s', B'101', X'1F', 1.5e3, .5, 1.
SELECT now() AT TIME ZONE 'UTC', current_date - 7, localtimestamp(0), current_timestamp(3)
SELECT to_tsvector('english', name) @@ to_tsquery('gull') FROM boat
SELECT name FROM boat b WHERE EXISTS (SELECT 1 FROM port p WHERE p.id = b.port_id) AND NOT (length BETWEEN 1 AND 2)
SELECT b.* FROM boat AS b(i, n)
SELECT b.name AS "user", 1 AS user FROM boat b
SELECT width_bucket(length, 0, 40, 4), count(*) FROM boat GROUP BY 1
SELECT make_interval(days => 10), make_date(2024, 1, 1), justify_days(interval '40 days')
SELECT * FROM boat TABLESAMPLE BERNOULLI (50)
SELECT * FROM ONLY boat
EXPLAIN (FORMAT JSON) SELECT * FROM boat
EXPLAIN VERBOSE SELECT 1
SELECT 1 /* a /* b */ c */ -- d
SELECT name FROM long_boat
SELECT (SELECT count(*) FROM boat), (SELECT max(id) FROM port)
SELECT id FROM boat WHERE (id, port_id) IN ((1, 1), (2, 2))
SELECT bool_and(length > 1), every(length > 1), array_to_string(array_agg(id), ',') FROM boat
SELECT name FROM boat WHERE built >= CURRENT_DATE - INTERVAL '50 years' AND built < '2025-01-01'::date
SELECT jsonb_path_query(tags, '$.list[*]') FROM port
SELECT id, tags->'list' @> '[1]'::jsonb, tags #> '{list}', tags - 'a', tags || '{"z":1}' FROM port
SELECT nums && ARRAY[1], nums @> ARRAY[1], nums || 5 FROM port
SELECT EXTRACT(EPOCH FROM (now() - built::timestamptz)) / 86400 FROM boat
SELECT '[1,5]'::int4range @> 3, daterange('2024-01-01', '2024-02-01')
SELECT name FROM boat LIMIT ALL
SELECT sum(length) OVER (), row_number() OVER (ORDER BY id), ntile(2) OVER (ORDER BY id), first_value(name) OVER (ORDER BY id) FROM boat
"""

# A part of the reason, and what is refused for it.
DENIED = {
    "function '": r"""
SELECT CAST(1 AS pg_sleep(1))
SELECT 1 AS pg_sleep(1)
SELECT "pg_read_file"('/x')
SELECT pg_catalog."pg_read_file"('/x')
SELECT PG_CATALOG . pg_sleep ( 1 )
SELECT pg_catalog.set_config('a','b',false)
SELECT lower(pg_sleep(1)::text)
SELECT * FROM pg_ls_dir('.')
SELECT * FROM boat, pg_ls_dir('.')
SELECT * FROM boat CROSS JOIN LATERAL pg_ls_dir('.') x
SELECT * FROM boat, LATERAL (SELECT pg_sleep(1)) x
SELECT * FROM ROWS FROM (pg_ls_dir('.')) t
SELECT 1 FROM boat ORDER BY pg_sleep(1)
SELECT 1 FROM boat GROUP BY pg_sleep(1)
SELECT 1 FROM boat HAVING pg_sleep(1) IS NULL
SELECT 1 FROM boat LIMIT (SELECT pg_sleep(1)::text::int)
SELECT 1 FROM boat OFFSET length(pg_sleep(1)::text)
SELECT sum(1) OVER (ORDER BY pg_sleep(1)) FROM boat
SELECT sum(1) FILTER (WHERE pg_sleep(1) IS NULL) FROM boat
SELECT count(*) FROM boat WINDOW w AS (PARTITION BY pg_sleep(1))
SELECT array_agg(name ORDER BY pg_sleep(1)) FROM boat
SELECT DISTINCT ON (id) pg_notify(name, town) FROM boat, port
SELECT DISTINCT ON (id) pg_notify(name, town) FROM boat AS pg_notify(name, town), port
SELECT CASE WHEN true THEN pg_sleep(1) END
SELECT ARRAY[pg_sleep(1)]
SELECT ROW(pg_sleep(1))
SELECT (ARRAY[1])[length(pg_sleep(1)::text)]
SELECT query_to_xml('select 1',true,true,'')
SELECT xpath('/a', '<a/>')
SELECT xmlparse(document '<a/>')
SELECT nextval('s'), currval('s'), lastval(), setval('s',1)
SELECT 1 OPERATOR(pg_catalog.+) 2
SELECT OPERATOR(pg_catalog.-) 2
SELECT dblink('x','y')
SELECT lo_import('x')
SELECT current_setting('data_directory')
SELECT inet_server_addr()
SELECT format('%1000000000s', 'x')
SELECT format('%*s', 1000000000, 'x')
SELECT format('%' || '1000000000s', 'x')
SELECT format(E'%\x31000000000s', 'x')
SELECT format($$%1000000000s$$, 'x')
SELECT array_fill(0, ARRAY[1000000000])
SELECT factorial(100000)
SELECT b.boom FROM boat b, boom() boom
SELECT boom()
SELECT public.boom()
SELECT "boom"(1)
SELECT b.boom() FROM boat b
SELECT (b).boom() FROM boat b
SELECT system('id')
SELECT bernoulli(1)
SELECT * FROM boat TABLESAMPLE pg_sleep(1)
SELECT * FROM boat TABLESAMPLE SYSTEM (pg_sleep(1)::text::int)
SELECT 1 FROM json_table('[]', '$' COLUMNS (a int PATH '$' DEFAULT pg_sleep(1) ON EMPTY))
SELECT json_populate_record(null::secret, '{}')
SELECT to_regclass('secret')
SELECT has_table_privilege('secret','select')
SELECT pg_get_viewdef('v')
SELECT pg_typeof(pg_sleep(1))
SELECT ts_stat('select word from secret')
SELECT * FROM ts_stat('select word from secret')
SELECT ts_rewrite('a'::tsquery, 'select * from secret')
SELECT setseed(0.1)
SELECT gen_random_bytes(100)
SELECT crypt('a','b')
SELECT cursor_to_xml('c',1,false,false,'')
SELECT a.pg_sleep(1) FROM boat AS a(pg_sleep)
WITH pg_sleep(a) AS (SELECT 1) SELECT pg_sleep(1)
WITH pg_sleep(a) AS (SELECT 1) SELECT pg_sleep(a) FROM pg_sleep
SELECT * FROM boat AS pg_sleep(a) WHERE pg_sleep(a) IS NULL
SELECT * FROM boat pg_sleep(a) WHERE (true) AND pg_sleep(a) IS NULL
SELECT * FROM pg_sleep(a)
SELECT * FROM boat JOIN pg_notify(a, b) ON true
SELECT * FROM boat, pg_notify(a, b)
SELECT * FROM boat JOIN LATERAL pg_notify(name, name) ON true
VALUES (pg_sleep(1))
SELECT trim(leading from pg_sleep(1)::text)
SELECT overlay('a' placing pg_sleep(1)::text from 1)
SELECT extract(year from pg_sleep(1)::text::date)
SELECT interval pg_sleep(1)
SELECT 1 IS DISTINCT FROM pg_sleep(1)
SELECT 1 COLLATE pg_sleep(1)
SELECT 1 AT TIME ZONE pg_sleep(1)::text
SELECT NOT pg_sleep(1) IS NULL
""",
    "type": r"""
SELECT '<a/>'::xml
SELECT 'secret'::pg_catalog.regclass
SELECT null::secret
SELECT (null::secret).*
SELECT 'x'::char(10000000)
SELECT 1::bit(80000000)
SELECT * FROM json_to_recordset('[]') AS x(a secret)
""",
    "is not allowed": r"""
SELECT 'secret'::regclass
SELECT CAST('secret' AS regclass)
SELECT regclass 'secret'
SELECT 'boom'::regproc
WITH x AS (INSERT INTO boat VALUES (1) RETURNING *) SELECT * FROM x
WITH x AS (UPDATE boat SET id=1 RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM boat) SELECT 1
WITH x AS (MERGE INTO boat USING port ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1
SELECT current_user
SELECT USER
SELECT session_user, current_role, current_catalog, current_schema
SELECT :a
""",
    "table '": r"""
SELECT secret FROM secret
SELECT (SELECT secret FROM secret LIMIT 1)::text
SELECT * FROM "Boat"
SELECT * FROM "BOAT"
SELECT * FROM public."Boat"
SELECT * FROM Sales.boat
SELECT * FROM orders
SELECT * FROM pg_tables
EXPLAIN SELECT * FROM secret
SELECT 1 UNION SELECT word FROM secret
SELECT 1 WHERE EXISTS (TABLE secret)
TABLE secret
TABLE ONLY secret
SELECT * FROM (TABLE secret) x
WITH secret AS (SELECT * FROM secret) SELECT * FROM secret
WITH RECURSIVE secret AS (SELECT * FROM secret UNION ALL SELECT 1) SELECT * FROM secret
WITH a AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM a
WITH "Secret" AS (SELECT 1) SELECT * FROM secret
WITH secret AS (SELECT 1) SELECT * FROM public.secret
WITH secret AS (SELECT 1) SELECT * FROM (SELECT * FROM "SECRET") x
SELECT * FROM boat JOIN secret USING (id)
SELECT * FROM boat WHERE id IN (SELECT id FROM secret)
SELECT * FROM boat, (SELECT word FROM secret) x
SELECT * FROM LATERAL (SELECT word FROM secret) x
""",
    "another database": r"""
SELECT * FROM evil.boat
SELECT * FROM "Sales".orders
SELECT * FROM pg_catalog.boat
SELECT * FROM postgres.public.boat
SELECT * FROM other.public.boat
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_authid
SELECT * FROM pg_temp.boat
""",
    "with ": r"""
SELECT * INTO t FROM boat
SELECT * INTO TEMP t FROM boat
SELECT * FROM boat FOR UPDATE
SELECT * FROM boat FOR NO KEY UPDATE
SELECT * FROM boat FOR SHARE
SELECT * FROM boat FOR KEY SHARE NOWAIT
SELECT * FROM (SELECT * FROM boat FOR UPDATE) x
SELECT 1 LIMIT 1 FOR UPDATE
""",
    "begin with": r"""
COPY boat TO '/tmp/x'
COPY (SELECT 1) TO PROGRAM 'id'
DO $$ BEGIN END $$
NOTIFY x
SET x = 1
SHOW ALL
PREPARE p AS SELECT 1
DEALLOCATE p
DECLARE c CURSOR FOR SELECT 1
FETCH ALL FROM c
LOCK TABLE boat
VACUUM
CHECKPOINT
EXPLAIN ANALYZE SELECT 1
EXPLAIN VERBOSE ANALYZE SELECT 1
EXPLAIN ANALYZE VERBOSE SELECT 1
EXPLAIN (FORMAT JSON) DELETE FROM boat
EXPLAIN EXECUTE p
EXPLAIN CREATE TABLE x AS SELECT 1
""",
    "not understood": r"""
EXPLAIN (ANALYZE) SELECT 1
EXPLAIN (ANALYZE true, FORMAT JSON) SELECT 1
EXPLAIN (FORMAT JSON, ANALYZE) SELECT 1
SELECT 1 WHERE CURRENT OF c
""",
    "a repetition": r"""
SELECT repeat('x', 1000000000)
SELECT repeat('x', 100*100000)
SELECT repeat('x', length(name)*100000) FROM boat
SELECT repeat(repeat('x',9999), 9999)
SELECT lpad('x', 1000000000)
SELECT rpad('x', 1000000000, 'y')
SELECT string_agg(repeat('x',1000000),'') FROM boat
""",
    "a series": r"""
SELECT generate_series(1, 10000000000)
""",
    "literal bounds": r"""
SELECT generate_series(1, id) FROM boat
SELECT * FROM generate_series(now(), now() + '100 years', '1 second')
SELECT * FROM generate_series('2000-01-01'::timestamp, '2024-01-01', '1 second')
""",
    "the product of several": r"""
SELECT * FROM generate_series(1,100000) a, generate_series(1,100000) b
""",
    "a power": r"""
SELECT power(10::numeric, 100000.1)
SELECT 10::numeric ^ (100*1000)
SELECT (10::numeric ^ 1000) ^ 1000
SELECT exp(100000::numeric)
""",
    "number": r"""
SELECT 1e100000::numeric
""",
    "too many replacements in one another": r"""
SELECT replace(replace(replace(name,'a',name),'b',name),'c',name) FROM boat
""",
    "unreadable": r"""
SELECT U&'\0041'
SELECT U&"\0062oat" FROM boat
SELECT u&"boat".name FROM boat
SELECT $1
""",
    "two literals": r"""
SELECT E'a' '\', pg_sleep(1) --'
SELECT b'1' '\'
""",
}


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


CASES = [(sql, reason) for reason, text in DENIED.items() for sql in lines(text)]


@pytest.mark.parametrize("sql", lines(ALLOWED))
def test_allowed(sql: str) -> None:
    verdict = judge(sql, dialect="postgres", tables=TABLES)
    assert verdict.allowed, verdict.reason
    assert verdict.sql == sql


@pytest.mark.parametrize(("sql", "reason"), CASES)
def test_denied(sql: str, reason: str) -> None:
    verdict = judge(sql, dialect="postgres", tables=TABLES)
    assert not verdict.allowed
    assert reason in verdict.reason
    assert 0 < len(verdict.reason) < 120


def test_what_is_allowed_runs(request: pytest.FixtureRequest) -> None:
    """On the server itself: nothing of it is refused for its form alone."""
    server = request.getfixturevalue("postgresql_server")
    server.create("guarded", SCRIPT)
    failed = []
    with server.connect("guarded") as connection, connection.cursor() as cursor:
        for sql in lines(ALLOWED):
            try:
                cursor.execute(sql)
                assert "xyzzy" not in repr(cursor.fetchall())
            except Exception as error:
                failed.append((sql, str(error)[:90]))
    assert not failed
