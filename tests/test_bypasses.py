"""Ways round read-only checks that were published, each denied and without effect.

docs/safety.md lists them with their sources; a test below holds the list and these
cases together. The guard must deny each; SQLite's and DuckDB's engines, asked without
the guard, must leave files and database as they are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guarded_shop import READABLE
from plainsql.errors import DeniedError, PlainsqlError
from plainsql.execution.access import Access
from plainsql.execution.base import open_engine, run_guarded
from plainsql.execution.guard import judge
from test_access import files as files

ROOT = Path(__file__).parents[1]

# id, dialect, statement
CASES = [
    # several statements, and what ends a transaction
    ("commit-then-write", "postgres", "COMMIT; DELETE FROM users; SELECT 1"),
    ("commit-then-write-after-select", "postgres", "SELECT 1; COMMIT; DROP TABLE users"),
    ("nul-byte", "postgres", "SELECT 1\x00; DROP TABLE users"),
    ("drop-on-request", "sqlite", "DROP TABLE users"),
    ("second-statement", "sqlite", "SELECT 1; DELETE FROM users"),
    # writes that begin as reads
    ("cte-before-delete", "sqlite", "WITH x AS (SELECT 1) DELETE FROM users"),
    ("writable-cte", "postgres", "WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d"),
    ("writable-cte-duckdb", "duckdb", "WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d"),
    ("explain-analyze", "postgres", "EXPLAIN ANALYZE DELETE FROM users"),
    ("explain-analyze-duckdb", "duckdb", "EXPLAIN ANALYZE DELETE FROM users"),
    ("select-into", "postgres", "SELECT * INTO copied FROM users"),
    ("select-for-update", "postgres", "SELECT * FROM users FOR UPDATE"),
    ("nextval", "duckdb", "SELECT nextval('numbers')"),
    # files
    ("attach-makes-a-file", "sqlite", "ATTACH 'made.db' AS made"),
    ("attach-uri-makes-a-file", "sqlite", "ATTACH 'file:made.db?mode=rwc' AS made"),
    ("vacuum-into-makes-a-file", "sqlite", "VACUUM INTO 'made.db'"),
    ("load-extension", "sqlite", "SELECT load_extension('made')"),
    ("copy-to", "duckdb", "COPY users TO 'made.csv'"),
    ("copy-query-to", "duckdb", "COPY (SELECT 1) TO 'made.csv'"),
    ("export-database", "duckdb", "EXPORT DATABASE 'made'"),
    ("read-text", "duckdb", "SELECT content FROM read_text('/etc/hostname')"),
    ("sniff-csv", "duckdb", "SELECT * FROM sniff_csv('/etc/hostname')"),
    ("replacement-scan", "duckdb", "SELECT * FROM '/etc/hostname.csv'"),
    ("replacement-scan-quoted", "duckdb", 'SELECT * FROM "/etc/hostname.csv"'),
    ("summarize-a-file", "duckdb", "SUMMARIZE '/etc/hostname.csv'"),
    ("copy-program", "postgres", "COPY users TO PROGRAM 'id'"),
    ("read-server-file", "postgres", "SELECT pg_read_file('/etc/hostname')"),
    ("large-object-export", "postgres", "SELECT lo_export(1, '/tmp/made')"),
    ("into-outfile", "mysql", "SELECT 1 INTO OUTFILE '/tmp/made'"),
    ("load-file", "mysql", "SELECT load_file('/etc/hostname')"),
    # SQL inside texts
    ("query-function", "duckdb", "SELECT * FROM query('DELETE FROM users')"),
    ("query-table", "duckdb", "SELECT * FROM query_table('secret')"),
    ("serialized-sql", "duckdb", "SELECT * FROM json_execute_serialized_sql('{}')"),
    ("query-to-xml", "postgres", "SELECT query_to_xml('SELECT * FROM secret', true, true, '')"),
    ("table-to-xml", "postgres", "SELECT database_to_xml(true, true, '')"),
    ("ts-stat", "postgres", "SELECT * FROM ts_stat('SELECT word FROM secret')"),
    ("anonymous-block", "postgres", "DO $$ BEGIN DELETE FROM users; END $$"),
    # comments and names that two readers read in two ways
    ("executable-comment", "mysql", "SELECT 1 /*! INTO OUTFILE '/tmp/made' */"),
    ("executable-comment-mariadb", "mysql", "SELECT 1 /*M! INTO OUTFILE '/tmp/made' */"),
    ("nested-comment", "sqlite", "SELECT 1 /* /* */ ; DELETE FROM users -- */"),
    ("quoted-function", "postgres", 'SELECT "pg_sleep"(9)'),
    ("qualified-function", "postgres", "SELECT pg_catalog.pg_sleep(9)"),
    ("unicode-escapes", "postgres", "SELECT U&'\\0027; DROP TABLE users --'"),
    ("backslash-quote", "sqlite", "SELECT 'a\\'; DROP TABLE users; -- '"),
    # tables by other names
    (
        "cte-in-another-scope",
        "sqlite",
        "SELECT * FROM secret WHERE id IN (WITH secret AS (SELECT 1) SELECT * FROM secret)",
    ),
    (
        "cte-that-comes-later",
        "postgres",
        "WITH a AS (SELECT * FROM secret), secret AS (SELECT 1) SELECT * FROM a",
    ),
    ("cte-of-other-case", "postgres", 'WITH "Secret" AS (SELECT 1) SELECT * FROM secret'),
    ("in-a-table", "sqlite", "SELECT 1 WHERE 1 IN secret"),
    ("storage-info", "duckdb", "SELECT * FROM pragma_storage_info('secret')"),
    ("catalogue", "sqlite", "SELECT sql FROM sqlite_master"),
    # state of the session and of the server
    ("query-only-off", "sqlite", "PRAGMA query_only = OFF"),
    ("set-config", "postgres", "SELECT set_config('transaction_read_only', 'off', false)"),
    ("advisory-lock", "postgres", "SELECT pg_advisory_lock(1)"),
    ("user-lock", "mysql", "SELECT get_lock('a', 9)"),
    ("user-variable", "mysql", "SELECT @a := 1"),
    ("handler", "mysql", "HANDLER users OPEN"),
    ("external-access-on", "duckdb", "SET enable_external_access = true"),
    # what no deadline stops inside one step
    ("wide-format", "sqlite", "SELECT format('%.*c', 1000000000, 'x')"),
    ("wide-pad", "duckdb", "SELECT length(lpad('x', 2000000000, 'y'))"),
    ("deep-brackets", "duckdb", "SELECT " + "(" * 9000 + "1" + ")" * 9000),
    ("sleep", "mysql", "SELECT sleep(9)"),
]
IDS = [case[0] for case in CASES]
# Text that looks like one of them and is harmless: a denial would be for the wrong reason.
HARMLESS = [
    ("sqlite", "SELECT '; DELETE FROM users' AS x FROM users -- ; DROP TABLE users"),
    ("postgres", "SELECT 'COMMIT; DROP TABLE users', $$ DO $$ FROM users"),
    ("mysql", "SELECT 'a\\'b; DROP TABLE users' FROM users # INTO OUTFILE"),
    ("duckdb", "SELECT 'COPY users TO x' FROM users WHERE name LIKE '%query(%'"),
]


@pytest.mark.parametrize(("dialect", "sql"), [case[1:] for case in CASES], ids=IDS)
def test_bypass(dialect: str, sql: str) -> None:
    """The guard refuses it, whatever the engine would have done."""
    verdict = judge(sql, dialect=dialect, tables=READABLE)
    assert not verdict.allowed
    assert verdict.reason


@pytest.mark.parametrize(("dialect", "sql"), HARMLESS)
def test_what_only_looks_like_one_is_allowed(dialect: str, sql: str) -> None:
    verdict = judge(sql, dialect=dialect, tables=READABLE)
    assert verdict.allowed, verdict.reason


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def opened(request: pytest.FixtureRequest, files: dict[str, Path]) -> Iterator[Any]:
    """The shop's file with its engine, as `ask` opens it."""
    path = files[request.param]
    with open_engine(path) as engine:  # type: ignore[attr-defined]
        yield engine


def test_engines_alone_let_none_have_an_effect(
    opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the guard: an error or rows, but the same bytes and no new file."""
    monkeypatch.chdir(tmp_path)
    before = _files(opened.path.parent)
    for _, dialect, sql in CASES:
        if dialect in ("postgres", "mysql") or dialect == opened.dialect:
            try:
                opened.run(sql, timeout=0.5)
            except PlainsqlError:
                continue
    assert _files(opened.path.parent) == before
    assert not list(tmp_path.iterdir())
    assert opened.run("SELECT count(*) FROM users").rows == ((5,),)


def test_both_together(opened: Any) -> None:
    for _, dialect, sql in CASES:
        if dialect == opened.dialect:
            with pytest.raises(DeniedError):
                run_guarded(opened, sql, tables=READABLE)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_documentation_lists_each() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"test_bypass\[([\w-]+)\]", text))
    assert listed == set(IDS)


def test_the_tests_that_the_documentation_names_exist() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(tests/\w+\.py)::(test_\w+)", text))
    assert named
    for file, function in named:
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), function


def test_the_policy_of_the_documentation_can_be_loaded() -> None:
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    found = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    base = Access.from_settings(found["policy"])
    support = Access.from_settings(found["policy"], found["role"])
    admin = Access.from_settings(found["policy"], "admin")
    assert base.rows == {"orders": "status <> 'draft'"}
    assert support.rows == {"orders": "region = 'EU' AND status <> 'draft'"}
    assert support.columns_denied == {"users": frozenset({"password"})}
    assert support.masked == {"users": {"birthday": None, "email": "***", "age": 0}}
    assert not admin.columns_denied
    assert not admin.masked
