"""The role to ask questions with: SQL that makes one, and what a connected one lacks of it.

The guard and the engine hold without such a role; it is what stops what neither
saw. Everything here is text and findings: nothing is granted or changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from plainsql.execution.base import Protection

ROLE = "plainsql_reader"

# Runs one statement of the catalogue.
Rows = Callable[[str], list[tuple[Any, ...]]]


def postgresql_grants(
    database: str,
    tables: Mapping[str, Sequence[str]],
    *,
    role: str = ROLE,
    definers: Sequence[str] = (),
    seconds: int = 30,
) -> str:
    """SQL, to be run by the owner of a PostgreSQL database, for a role that may only read.

    `tables` are the names of tables and views by their schema; `definers` are
    functions, as `schema.name(types)` in SQL, that run with their owner's rights
    and that everybody may call. `seconds` is the longest a statement may run.
    """
    who, where = quoted(role), quoted(database)
    lines = [
        "-- Run as the owner of the database. Then set a password, in psql: \\password " + who,
        f"CREATE ROLE {who} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION",
        "  NOBYPASSRLS CONNECTION LIMIT 5;",
        f"GRANT CONNECT ON DATABASE {where} TO {who};",
        "-- Everybody may make temporary tables until this; programs that do need a GRANT then.",
        f"REVOKE TEMPORARY ON DATABASE {where} FROM PUBLIC;",
    ]
    for schema, names in tables.items():
        lines += _reading(quoted(schema), [quoted(name) for name in names], who)
    if definers:
        lines.append("-- These run with the rights of their owners; grant them to who needs them.")
    lines += [f"REVOKE EXECUTE ON ROUTINE {name} FROM PUBLIC;" for name in definers]
    lines += [f"ALTER ROLE {who} SET {name} = {value};" for name, value in _settings(seconds)]
    lines.append(f"-- As a superuser: ALTER ROLE {who} SET temp_file_limit = '1GB';")
    return "\n".join(lines) + "\n"


def _reading(schema: str, names: Sequence[str], who: str) -> list[str]:
    """The rights to read some tables of one schema, and nobody's to create more."""
    listed = ",\n  ".join(f"{schema}.{name}" for name in names)
    return [
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
        f"GRANT USAGE ON SCHEMA {schema} TO {who};",
        f"GRANT SELECT ON\n  {listed}\n  TO {who};",
    ]


def _settings(seconds: int) -> list[tuple[str, str]]:
    """Settings of the role. A session can change them: they only hold for honest mistakes."""
    return [
        ("default_transaction_read_only", "on"),
        ("statement_timeout", f"'{seconds}s'"),
        ("lock_timeout", "'1s'"),
        ("idle_in_transaction_session_timeout", "'10s'"),
        ("work_mem", "'16MB'"),
    ]


def quoted(name: str) -> str:
    """An identifier in double quotes, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


# Functions with their owner's rights that the connected role, or everybody, may call.
# dblink is one of them in effect: what it runs isn't part of our transaction.
_DEFINERS = """
    SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE (p.prosecdef OR p.proname LIKE 'dblink%') AND p.oid >= 16384
        AND has_schema_privilege(n.oid, 'USAGE') AND {who} ORDER BY 1 LIMIT 100
"""
MY_DEFINERS = _DEFINERS.format(who="has_function_privilege(p.oid, 'EXECUTE')")
PUBLIC_DEFINERS = _DEFINERS.format(who="has_function_privilege('public', p.oid, 'EXECUTE')")

_ROLE = """
    SELECT r.rolname, r.rolsuper, r.rolcreaterole OR r.rolcreatedb OR r.rolreplication,
        has_database_privilege(current_database(), 'TEMP'),
        has_database_privilege(current_database(), 'CREATE') OR EXISTS (
            SELECT FROM pg_catalog.pg_namespace AS n
            WHERE n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'CREATE')),
        ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_roles AS g WHERE g.rolname IN (
            'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program',
            'pg_write_all_data', 'pg_signal_backend') AND pg_has_role(g.oid, 'MEMBER')),
        EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS s
            WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d
                WHERE d.datname = current_database())) AND s.setrole IN (0, r.oid)
            AND s.setconfig && ARRAY['default_transaction_read_only=on',
                'default_transaction_read_only=true', 'default_transaction_read_only=1'])
    FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user
"""
# Tables of users that the role owns, or may change.
_TABLES = """
    SELECT count(*) FILTER (WHERE pg_has_role(c.relowner, 'USAGE')),
        count(*) FILTER (WHERE has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'
        AND n.nspname <> 'information_schema'
"""


def examine_role(rows: Rows) -> tuple[Protection, ...]:
    """What the connected PostgreSQL role has and lacks of the least rights. Raises as `rows`.

    A finding that isn't active is a right it has and doesn't need; `postgresql_grants`
    makes a role without.
    """
    ((name, superuser, administers, temporary, creates, groups, read_only),) = rows(_ROLE)
    ((owned, writable),) = rows(_TABLES)
    definers = [function for (function,) in rows(MY_DEFINERS)]
    return (
        _finding("role is no superuser", not superuser, f"{name} may do anything on the server"),
        _finding(
            "role administers nothing", not administers, f"{name} may make roles or databases"
        ),
        _finding("role owns no tables", not owned, f"{name} owns {owned:,} tables"),
        _finding("role can't write", not writable, f"{name} may change {writable:,} tables"),
        _finding("role can't create", not creates, f"{name} may create tables or functions"),
        _finding("no temporary tables", not temporary, "everybody may make them here"),
        _finding("no server groups", not groups, f"{name} is a member of {', '.join(groups)}"),
        _finding(
            "no functions with other rights",
            not definers,
            f"{name} may call {', '.join(definers[:5])}{', …' if len(definers) > 5 else ''}",
        ),
        _finding(
            "role is read-only by default",
            read_only,
            f"default_transaction_read_only is not set for {name}; plainsql sets it itself",
        ),
    )


def _finding(name: str, holds: bool, otherwise: str) -> Protection:
    return Protection(name, bool(holds), "" if holds else otherwise)


# MySQL and MariaDB


def mysql_grants(
    database: str,
    tables: Sequence[str],
    *,
    mariadb: bool,
    user: str = ROLE,
    host: str = "%",
    seconds: int = 30,
) -> str:
    """SQL, to be run by an administrator, for a MySQL or MariaDB user who may only read.

    `tables` are tables and views of `database`; a view shows what its definer may
    read. The account is locked until a password is set. `seconds` is the longest
    a statement may run, where the server can tell users apart (MariaDB).
    """
    who = f"{_text(user)}@{_text(host)}"
    limits = "MAX_USER_CONNECTIONS 5" + (f" MAX_STATEMENT_TIME {seconds}" if mariadb else "")
    lines = [f"CREATE USER {who} WITH {limits} ACCOUNT LOCK;"]
    lines += [f"GRANT SELECT ON {_name(database)}.{_name(table)} TO {who};" for table in tables]
    lines.append(f"-- Then: ALTER USER {who} IDENTIFIED BY '...' ACCOUNT UNLOCK;")
    lines.append("-- Over a network also: REQUIRE SSL")
    return "\n".join(lines) + "\n"


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


_GRANT = re.compile(
    r"GRANT (?P<rights>.+?) ON (?:(?P<kind>[A-Z ]+) )?"
    r"(?P<place>(?:\*|`(?:[^`]|``)*`|'[^']*'@'[^']*')(?:\.(?:\*|`(?:[^`]|``)*`))?) TO ",
    re.DOTALL,
)
_COLUMNS = re.compile(r" ?\([^)]*\)")
_READING = frozenset({"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "SHOW_ROUTINE"})
_WRITING = frozenset(
    {"INSERT", "UPDATE", "DELETE", "DELETE HISTORY", "DELETE VERSIONING ROWS", "CREATE", "DROP",
     "ALTER", "INDEX", "TRIGGER", "EVENT", "REFERENCES", "LOCK TABLES", "CREATE VIEW",
     "CREATE TEMPORARY TABLES", "CREATE ROUTINE", "CREATE TABLESPACE"}
)  # fmt: skip
_CALLING = frozenset({"EXECUTE", "ALTER ROUTINE"})


def examine_mysql_user(grants: Iterable[str]) -> tuple[Protection, ...]:
    """What a user has and lacks of the least rights, by the lines of SHOW GRANTS.

    The lines may hold a hash of the password, which isn't repeated.
    """
    rights = {(right, place) for line in grants for right, place in _rights(line)}
    everywhere = frozenset(right for right, place in rights if place == "*.*")
    names = frozenset(right for right, _ in rights)
    return (*_beyond_data(names, everywhere), *_in_databases(names, everywhere))


def _beyond_data(names: frozenset[str], everywhere: frozenset[str]) -> tuple[Protection, ...]:
    """Rights over the server itself: of those named at all, and of those for all databases."""
    other = sorted(names - _READING - _WRITING - _CALLING - {"ALL PRIVILEGES", "FILE"})
    rules_all = "ALL PRIVILEGES" in everywhere
    return (
        _finding(
            "user has no FILE right",
            "FILE" not in names and not rules_all,
            "it may read and write files of the server",
        ),
        _finding(
            "user administers nothing",
            not other and not rules_all,
            f"it has {_listed(other) or 'all rights'}",
        ),
    )


def _in_databases(names: frozenset[str], everywhere: frozenset[str]) -> tuple[Protection, ...]:
    """Rights over tables and routines."""
    writes = sorted(names & _WRITING)
    all_rights = "ALL PRIVILEGES" in names
    return (
        _finding(
            "user can't write",
            not writes and not all_rights,
            f"it has {_listed(writes) or 'all rights'}",
        ),
        _finding(
            "user calls no routines",
            not names & _CALLING and not all_rights,
            "it may call procedures and functions, which may have others' rights",
        ),
        _finding(
            "user reads no other databases",
            not everywhere & {"SELECT", "ALL PRIVILEGES"},
            "it may read every database of the server",
        ),
    )


def _rights(line: str) -> Iterator[tuple[str, str]]:
    """(right, place) of one line; a role that is granted counts by its own lines."""
    found = _GRANT.match(line)
    if found is None:
        return
    place = found["place"]
    for right in _COLUMNS.sub("", found["rights"]).split(","):
        yield right.strip().upper(), place
    if "WITH GRANT OPTION" in line[found.end() :]:
        yield "GRANT OPTION", place


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
