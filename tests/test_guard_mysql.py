"""The guard for MySQL and MariaDB: what passes and runs there, what is refused and why."""

# ruff: noqa: E501 - statements are kept on one line each

from __future__ import annotations

import pytest

from plainsql.execution.guard import judge

TABLES = frozenset({"boat", "port", "long_boat", "sales.orders"})
SCRIPT = """
CREATE TABLE boat (
    id INT PRIMARY KEY, name TEXT, length DOUBLE, port_id INT, built DATE, mood ENUM ('sad', 'ok')
);
CREATE TABLE port (id INT PRIMARY KEY, town TEXT, tags JSON);
CREATE TABLE secret (id INT, word TEXT);
CREATE VIEW long_boat AS SELECT name, length FROM boat WHERE length > 20;
INSERT INTO boat VALUES (1, 'Gull', 7.5, 1, '1987-05-01', 'ok');
INSERT INTO port VALUES (1, 'Kiel', '{"a": 1, "list": [1, 2]}');
INSERT INTO secret VALUES (1, 'xyzzy');
"""

# Each runs on the engine, too.
ALLOWED = r"""
SELECT `name` FROM `boat` WHERE name = "Gull" OR name = 'it''s' OR name = 'it\'s'
SELECT b.name FROM boat AS b INNER JOIN port p ON b.port_id = p.id
SELECT GROUP_CONCAT(DISTINCT name ORDER BY name DESC SEPARATOR ';') FROM boat
SELECT name REGEXP '^M', name RLIKE 'x', name NOT REGEXP 'x', BINARY name = 'x', name SOUNDS LIKE 'x', id <=> 1, id XOR 1, 7 DIV 2, 7 MOD 2, id && 1, id || 0, !id, NOT id FROM boat
SELECT * FROM boat STRAIGHT_JOIN port ON boat.port_id = port.id
SELECT STRAIGHT_JOIN * FROM boat
SELECT SQL_NO_CACHE name FROM boat
SELECT name FROM boat LIMIT 5, 10
SELECT name FROM boat LIMIT 5 OFFSET 1
SELECT _utf8mb4'x' COLLATE utf8mb4_bin, N'x', x'41', X'41', 0x41, b'01', 0b01, 'a' 'b', 1e3, .5
SELECT DATE '2024-01-01', TIMESTAMP '2024-01-01 00:00:00', DATE_ADD(built, INTERVAL 1 DAY), built + INTERVAL 1 MONTH, DATE_SUB(NOW(), INTERVAL '1:1' DAY_HOUR), ADDDATE(built, 1), TIMESTAMPDIFF(DAY, built, NOW()), EXTRACT(YEAR_MONTH FROM built) FROM boat
SELECT CONVERT(name USING utf8mb4), CONVERT(length, SIGNED), CAST(length AS UNSIGNED), CAST(length AS CHAR(10)), CAST(length AS DECIMAL(10,2)), CAST(length AS SIGNED INTEGER) FROM boat
SELECT JSON_EXTRACT(tags, '$.a'), JSON_UNQUOTE(JSON_EXTRACT(tags, '$.a')), JSON_VALUE(tags, '$.a'), JSON_LENGTH(tags, '$.list'), JSON_CONTAINS(tags, '1', '$.list') FROM port
SELECT YEAR(built), MONTH(built), DATE_FORMAT(built, '%Y-%m'), STR_TO_DATE('2020','%Y'), CURDATE(), CURRENT_DATE, CURRENT_TIMESTAMP(), NOW(), UNIX_TIMESTAMP(built), FROM_UNIXTIME(1), LEFT(name,1), RIGHT(name,1), MOD(id,2), IF(id>1,'a','b'), IFNULL(name,'x'), CHAR(65 USING utf8), FORMAT(length,2), INSERT(name,1,1,'b'), REPLACE(name,'b','c'), LOCATE('a',name), POSITION('a' IN name), SUBSTRING(name FROM 1 FOR 2), TRIM(BOTH 'x' FROM name), DAYNAME(built), WEEKDAY(built), QUARTER(built), LAST_DAY(built), DATEDIFF(NOW(), built) FROM boat
SELECT id FROM boat WHERE (id, port_id) IN ((1,2)) OR id = ANY (SELECT 1) OR ROW(1,2) = (1,2)
(SELECT 1) UNION (SELECT 2) LIMIT 1
SELECT port_id, SUM(length) FROM boat GROUP BY port_id WITH ROLLUP
SELECT * FROM boat LEFT JOIN (port, long_boat) ON boat.port_id = port.id
SELECT jt.a FROM JSON_TABLE('[{"a":1}]', '$[*]' COLUMNS (a INT PATH '$.a')) AS jt
SELECT 5--1, 5 -- 1
SELECT name FROM boat # c
SELECT DISTINCTROW name FROM boat
SELECT name AS 'x', id "y" FROM boat
SELECT * FROM boat NATURAL LEFT JOIN port
SELECT ROW_NUMBER() OVER (ORDER BY id), LAG(id, 1) OVER w, MEDIAN(length) OVER (PARTITION BY port_id) FROM boat WINDOW w AS (ORDER BY id)
SELECT name FROM boat WHERE name LIKE 'x|%' ESCAPE '|'
SELECT id FROM boat ORDER BY FIELD(id, 2, 1), ELT(1,'a'), GREATEST(1,2)
SELECT 1 FROM dual
SELECT id IS TRUE, id IS NOT NULL, ISNULL(id), TRUE, NULL, id IS NOT FALSE FROM boat
SELECT COUNT(DISTINCT name, id), AVG(DISTINCT length), STD(length), BIT_AND(id) FROM boat
SELECT name FROM boat WHERE built BETWEEN '2000-01-01' AND '2010-01-01' AND YEAR(built) = 2004
SELECT p.town, COUNT(*) AS n FROM boat b JOIN port p ON p.id = b.port_id GROUP BY p.town HAVING n > 0 ORDER BY n DESC
SELECT b.* FROM boat b WHERE EXISTS (SELECT * FROM port WHERE port.id = b.port_id)
EXPLAIN SELECT * FROM boat
EXPLAIN FORMAT=JSON SELECT * FROM boat
SELECT LPAD(id, 5, '0'), RPAD(name, 10, ' '), REPEAT('-', 10), SPACE(3), CONCAT(name, ' ', id), CONCAT_WS(',', name, id), UPPER(name), CHAR_LENGTH(name), SUBSTRING_INDEX(name, 'u', 1), REVERSE(name), REGEXP_REPLACE(name, 'u', 'o') FROM boat
SELECT ROUND(length, 1), TRUNCATE(length, 1), CEIL(length), ABS(-1), RAND(), POW(length, 2), 7 % 3, ~1, 1 << 2, 5 & 1, 5 | 1, 5 ^ 1 FROM boat
SELECT CASE mood WHEN 'ok' THEN 1 ELSE 0 END FROM boat
SELECT name FROM boat EXCEPT SELECT town FROM port
SELECT name FROM boat UNION ALL SELECT town FROM port ORDER BY 1 LIMIT 3
SELECT (SELECT MAX(id) FROM port), b.name FROM boat b
SELECT * FROM (SELECT name, length FROM boat) AS t WHERE t.length > 5
SELECT DATE(built), TIME(NOW()), HOUR(NOW()), WEEK(built, 1), DAYOFWEEK(built), TO_DAYS(built), MAKEDATE(2024, 5), CONVERT_TZ(NOW(), '+00:00', '+01:00') FROM boat
SELECT name FROM boat WHERE id NOT IN (1, 2) AND name NOT LIKE '%x%' AND length NOT BETWEEN 1 AND 2
"""

# A part of the reason, and what is refused for it.
DENIED = {
    "function '": r"""
SELECT LOAD_FILE('/etc/passwd')
SELECT `load_file`('/x')
SELECT load_file ('/x')
SELECT load_file/**/('/x')
SELECT `lower`('x')
SELECT sys.lower('x')
SELECT fleet.boom()
SELECT boom()
SELECT `boom`()
SELECT sys.version_major()
SELECT sys_exec('id')
SELECT sys_eval('id')
SELECT SLEEP(5)
SELECT 1 FROM boat WHERE SLEEP(5)
SELECT BENCHMARK(1000000000, MD5('a'))
SELECT GET_LOCK('a', 10)
SELECT RELEASE_LOCK('a')
SELECT IS_FREE_LOCK('a')
SELECT * FROM boat PROCEDURE ANALYSE()
SELECT * FROM boat LIMIT 1 PROCEDURE ANALYSE(1,2)
SELECT FOUND_ROWS()
SELECT ROW_COUNT()
SELECT LAST_INSERT_ID()
SELECT CONNECTION_ID()
SELECT USER()
SELECT CURRENT_USER()
SELECT SESSION_USER()
SELECT SYSTEM_USER()
SELECT DATABASE()
SELECT SCHEMA()
SELECT VERSION()
SELECT NAME_CONST('a', 1)
SELECT UPDATEXML(1,'/a',1)
SELECT EXTRACTVALUE(1,'/a')
SELECT UNCOMPRESS('x')
SELECT EXPORT_SET(1,2,3,4,5)
SELECT * FROM boat USE INDEX (x)
SELECT NEXTVAL(s)
SELECT LASTVAL(s)
SELECT SETVAL(s, 1)
SELECT DEFAULT(id) FROM boat
SELECT INTERVAL (SELECT SLEEP(1)) DAY + NOW()
SELECT DATE_ADD(NOW(), INTERVAL SLEEP(5) DAY)
SELECT BINARY (SELECT word FROM secret)
SELECT name COLLATE (SELECT 1)
SELECT 1 PROCEDURE ANALYSE()
SELECT UUID_SHORT()
SELECT RANDOM_BYTES(100)
SELECT MASTER_POS_WAIT('a',1)
SELECT COLUMN_GET(1, 1 AS CHAR)
SELECT CRC32(LOAD_FILE('x'))
SELECT HEX(LOAD_FILE(0x2f))
SELECT IF(1,SLEEP(1),0)
SELECT STRAIGHT_JOIN SLEEP(1)
""",
    "unreadable": r"""
SELECT @@version
SELECT @@global.datadir
SELECT @a
SELECT @a := 1
SELECT @`a`
SELECT "a\" , sleep(1) -- "
SELECT 'a\'
SELECT {d '2020-01-01'}
SELECT {fn sleep(1)}
SELECT {fn load_file('x')}
SET @a=1
""",
    "not understood": r"""
SELECT 1 INTO OUTFILE '/tmp/x'
SELECT 1 INTO DUMPFILE '/tmp/x'
SELECT * FROM boat INTO OUTFILE '/tmp/x'
SELECT * FROM boat LIMIT 1 INTO OUTFILE '/tmp/x'
(SELECT 1) INTO OUTFILE '/x'
SELECT 1 UNION SELECT 2 INTO OUTFILE '/x'
TABLE secret INTO OUTFILE '/x'
SELECT NEXT VALUE FOR s
SELECT PREVIOUS VALUE FOR s
SELECT MATCH(name) AGAINST ((SELECT word FROM secret)) FROM boat
SELECT GROUP_CONCAT(name SEPARATOR 'x' LIMIT 5) FROM secret
SELECT CHAR(65 USING (SELECT 1))
SELECT 1 FROM boat GROUP BY id WITH ROLLUP INTO OUTFILE 'x'
""",
    "with ": r"""
SELECT name INTO x FROM boat
SELECT * FROM boat FOR UPDATE
SELECT * FROM boat FOR SHARE
SELECT * FROM boat LOCK IN SHARE MODE
SELECT * FROM boat PARTITION (p0)
SELECT * FROM boat FOR SYSTEM_TIME ALL
""",
    "is not allowed": r"""
SELECT SQL_CALC_FOUND_ROWS * FROM boat
SELECT HIGH_PRIORITY * FROM boat
SELECT CURRENT_USER
""",
    "a repetition": r"""
SELECT REPEAT('x', 1000000000)
SELECT SPACE(1000000000)
SELECT LPAD('x', 1000000000, 'y')
SELECT REPEAT('x', 10 * 1000000)
SELECT REPEAT(REPEAT('x', 9999), 9999)
""",
    "type": r"""
SELECT CAST('x' AS BINARY(100000000))
SELECT CONVERT('x', BINARY(100000000))
""",
    "table '": r"""
SELECT * FROM seq_1_to_1000000000
SELECT * FROM secret
SELECT * FROM `secret`
SELECT * FROM Secret
SELECT * FROM BOAT
SELECT * FROM .secret
SELECT * FROM boat, secret
SELECT * FROM (boat, secret)
SELECT * FROM boat LEFT JOIN (port, secret) ON 1
SELECT * FROM boat WHERE id IN (TABLE secret)
TABLE secret
VALUES ROW((SELECT word FROM secret))
WITH secret AS (SELECT * FROM secret) SELECT * FROM secret
WITH a AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM a
WITH RECURSIVE secret AS (SELECT * FROM secret UNION SELECT 1) SELECT * FROM secret
SELECT * FROM JSON_TABLE((SELECT word FROM secret), '$' COLUMNS (a INT PATH '$')) t
SELECT GROUP_CONCAT(name ORDER BY (SELECT word FROM secret)) FROM boat
SELECT CONVERT((SELECT word FROM secret) USING utf8)
SELECT CAST((SELECT word FROM secret) AS CHAR)
SELECT EXISTS(SELECT * FROM secret)
SELECT NOT EXISTS(SELECT * FROM secret)
SELECT (SELECT * FROM secret) <=> ROW(1,'a')
SELECT ALL word FROM secret
SELECT DISTINCT word FROM secret
""",
    "another database": r"""
SELECT * FROM information_schema.tables
SELECT * FROM performance_schema.threads
SELECT * FROM fleet.secret
SELECT * FROM fleet . secret
""",
    "begin with": r"""
HANDLER boat OPEN
HANDLER boat READ FIRST
DO SLEEP(1)
LOAD DATA INFILE 'x' INTO TABLE boat
SHOW TABLES
DESCRIBE boat
DESC secret
EXPLAIN secret
EXPLAIN ANALYZE SELECT 1
ANALYZE SELECT 1
ANALYZE FORMAT=JSON SELECT 1
EXPLAIN FORMAT=JSON DELETE FROM boat
EXPLAIN EXTENDED DELETE FROM boat
EXPLAIN FOR CONNECTION 1
EXPLAIN PARTITIONS SELECT 1
PREPARE s FROM 'x'
FLUSH TABLES
""",
    "executable comment": r"""
SELECT /*!50000 1*/
SELECT /*M! 1*/
SELECT /*+ x */ 1
SELECT 1 /*!*/
/*!50000 SELECT*/ 1
""",
}


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


CASES = [(sql, reason) for reason, text in DENIED.items() for sql in lines(text)]


@pytest.mark.parametrize("sql", lines(ALLOWED))
def test_allowed(sql: str) -> None:
    verdict = judge(sql, dialect="mysql", tables=TABLES)
    assert verdict.allowed, verdict.reason
    assert verdict.sql == sql


@pytest.mark.parametrize(("sql", "reason"), CASES)
def test_denied(sql: str, reason: str) -> None:
    verdict = judge(sql, dialect="mysql", tables=TABLES)
    assert not verdict.allowed
    assert reason in verdict.reason
    assert 0 < len(verdict.reason) < 120


def test_what_is_allowed_runs(request: pytest.FixtureRequest) -> None:
    """On the server itself: nothing of it is refused for its form alone."""
    server = request.getfixturevalue("mariadb_server")
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
