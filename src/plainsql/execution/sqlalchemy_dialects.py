"""What plainsql knows of the databases behind SQLAlchemy, by SQLAlchemy's names."""

from __future__ import annotations

from plainsql.errors import MissingExtra, UsageError
from plainsql.execution.limits import Deadline

# SQLAlchemy's name of a dialect -> sqlglot's, for the guard.
_DIALECTS = {
    "awsathena": "athena", "bigquery": "bigquery", "clickhouse": "clickhouse",
    "clickhousedb": "clickhouse", "cockroachdb": "postgres", "databricks": "databricks",
    "doris": "doris", "drill": "drill", "druid": "druid", "duckdb": "duckdb", "exa": "exasol",
    "exasol": "exasol", "hive": "hive", "mariadb": "mysql", "materialize": "materialize",
    "mssql": "tsql", "mysql": "mysql", "oracle": "oracle", "postgresql": "postgres",
    "presto": "presto", "redshift": "redshift", "risingwave": "risingwave",
    "singlestoredb": "singlestore", "snowflake": "snowflake", "spark": "spark",
    "sqlite": "sqlite", "starrocks": "starrocks", "teradatasql": "teradata", "trino": "trino",
}  # fmt: skip

# Where the import's name doesn't tell the package.
_PACKAGES = {
    "awsathena": "PyAthena[SQLAlchemy]", "bigquery": "sqlalchemy-bigquery",
    "clickhouse": "clickhouse-sqlalchemy", "clickhousedb": "clickhouse-connect",
    "cockroachdb": "sqlalchemy-cockroachdb", "databricks": "databricks-sqlalchemy",
    "db2": "ibm_db_sa", "exa": "sqlalchemy-exasol", "hive": "PyHive", "mssql": "pyodbc",
    "mssql+pymssql": "pymssql", "mysql+mysqlconnector": "mysql-connector-python",
    "mysql+mysqldb": "mysqlclient", "oracle": "oracledb", "postgresql+pg8000": "pg8000",
    "postgresql+psycopg2": "psycopg2-binary", "presto": "PyHive", "redshift":
    "sqlalchemy-redshift", "snowflake": "snowflake-sqlalchemy", "starrocks": "starrocks",
    "teradatasql": "teradatasqlalchemy", "trino": "trino[sqlalchemy]",
}  # fmt: skip

# Run in a query's transaction before it. {ms} and {s} are its time, {most} its rows.
_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "cockroachdb": "SET TRANSACTION READ ONLY",
    "redshift": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only=1",
}
_MYSQL = (
    "SET sql_mode='', time_zone='+00:00', lock_wait_timeout=1, sql_select_limit={most}",
    "START TRANSACTION READ ONLY",
)
_BEFORE: dict[str, tuple[str, ...]] = {
    "postgresql": (
        "SET LOCAL statement_timeout = {ms}",
        "SET LOCAL lock_timeout = 1000",
        "SET LOCAL standard_conforming_strings = on",
    ),
    "cockroachdb": ("SET LOCAL statement_timeout = {ms}",),
    "redshift": ("SET statement_timeout TO {ms}",),
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": ("PRAGMA trusted_schema=0", "PRAGMA cell_size_check=1"),
    "mssql": ("SET LOCK_TIMEOUT 1000", "SET QUOTED_IDENTIFIER ON"),
    "snowflake": ("ALTER SESSION SET STATEMENT_TIMEOUT_IN_SECONDS = {s}",),
}
# How another connection ends a query: who am I, and what to say.
_KILL = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_cancel_backend({number})"),
    "mysql": ("SELECT CONNECTION_ID()", "KILL QUERY {number}"),
    "mariadb": ("SELECT CONNECTION_ID()", "KILL QUERY {number}"),
}
# They bill by what is read, whatever the LIMIT.
_COSTLY = frozenset({"bigquery", "awsathena", "snowflake", "databricks", "redshift"})
_NO_EXPLAIN = frozenset({"mssql", "oracle", "bigquery", "teradatasql", "exa", "exasol"})
_ALL_ROWS = 18_446_744_073_709_551_615


def sqlglot_name(backend: str) -> str:
    """The dialect by which the guard judges. Raises UsageError where there is none."""
    if backend not in _DIALECTS:
        raise UsageError(
            f"Databases of the kind {backend} are not supported: the guard can't judge their SQL.",
            hint=f"Supported through SQLAlchemy: {', '.join(sorted(_DIALECTS))}.",
        )
    return _DIALECTS[backend]


def missing_driver(scheme: str, module: str | None = None) -> MissingExtra:
    """The error that names the package to install for URLs of `scheme`."""
    base = scheme.partition("+")[0]
    package = _PACKAGES.get(scheme) or _PACKAGES.get(base) or module
    hint = f"SQLAlchemy knows no {scheme}: install the package of its dialect."
    if package:
        hint = f"pip install {package!r}"
    return MissingExtra(f"A database of the kind {scheme}", "sqlalchemy", hint=hint)


def is_read_only(backend: str) -> bool:
    """Whether queries run in read-only transactions."""
    return backend in _READ_ONLY


def before(backend: str, deadline: Deadline, most: int | None) -> list[str]:
    """The statements that make a transaction ready for one query."""
    seconds = deadline.remaining()
    facts = {
        "ms": int(seconds * 1000) + 1,
        "s": int(seconds) + 1,
        "most": _ALL_ROWS if most is None else most,
    }
    first = [_READ_ONLY[backend]] if backend in _READ_ONLY else []
    return [text.format(**facts) for text in (*first, *_BEFORE.get(backend, ()))]


def kill(backend: str) -> tuple[str, str] | None:
    """The statements that give a connection's number, and end what it runs."""
    return _KILL.get(backend)


def may_sample(backend: str) -> bool:
    """Whether looking at a few rows of each table costs next to nothing."""
    return backend not in _COSTLY


def explain_prefix(backend: str) -> str:
    """What makes a query its own plan; "" where that takes more than a prefix."""
    if backend == "sqlite":
        return "EXPLAIN QUERY PLAN"
    return "" if backend in _NO_EXPLAIN else "EXPLAIN"
