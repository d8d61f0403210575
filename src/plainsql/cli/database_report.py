"""plainsql doctor -d: one database, what protects it, and the rights of who connects."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from plainsql.cli.opening import prepare
from plainsql.cli.options import table_list
from plainsql.cli.output import emit, print_json
from plainsql.errors import PlainsqlError, UsageError
from plainsql.execution.redaction import redact
from plainsql.records import SCHEMA_VERSION
from plainsql.settings import load_settings

if TYPE_CHECKING:
    from plainsql.execution.base import Engine

# The program's own question; an engine that refuses even that has no version to show.
_VERSIONS = {
    "duckdb": "SELECT version()",
    "postgres": "SELECT current_setting('server_version')",
    "mysql": "SELECT version()",
}
_VERSION_SECONDS = 5.0


def examine_database(db: str, *, grant_sql: bool, tables: str | None, as_json: bool) -> int:
    """What is to be said of the database `db`, printed. Raises ConnectError, UsageError."""
    from plainsql.execution.base import open_engine

    if tables is not None and not grant_sql:
        raise UsageError("--tables is for --grant-sql.")
    settings = load_settings({"db": db})
    prepare(settings)
    engine = open_engine(db, cache_dir=settings.cache_dir)
    try:
        if grant_sql:
            emit(_grants(engine, table_list(tables)).rstrip())
            return 0
        report = _report(engine, db)
    finally:
        engine.close()
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "status": "ok", "database": report})
    else:
        _show(report)
    return 0


def _grants(engine: Engine, tables: frozenset[str] | None) -> str:
    make = getattr(engine, "grant_sql", None)
    if make is None:
        raise UsageError(
            f"{engine.name} has no roles that SQL could make.",
            hint="Files are opened read-only; give the process no right to write them.",
        )
    return str(make(None if tables is None else _known(tables, engine)))


def _known(tables: frozenset[str], engine: Engine) -> frozenset[str]:
    """`tables` as the database spells them. Raises UsageError for one it lacks."""
    there = {table.name.lower(): table.name for table in engine.introspect().tables}
    if missing := sorted(name for name in tables if name.lower() not in there):
        raise UsageError(
            f"The database has no table {missing[0]!r}.",
            hint=f"Tables: {', '.join(sorted(there.values())[:8])}.",
        )
    return frozenset(there[name.lower()] for name in tables)


def _report(engine: Engine, db: str) -> dict[str, Any]:
    """The object that `doctor -d --json` prints."""
    from plainsql.execution.targets import parse_target

    schema = engine.introspect()
    return {
        "name": redact(engine.name),
        "kind": parse_target(db).kind,
        "dialect": engine.dialect,
        "version": _version(engine),
        "tables": len(schema.tables),
        "columns": len(schema.columns),
        "protections": [asdict(protection) for protection in engine.protections()],
        "notes": list(getattr(engine, "notes", ())),
    }


def _version(engine: Engine) -> str:
    if engine.dialect == "sqlite":  # a library here, whose function the engine doesn't allow
        return sqlite3.sqlite_version
    sql = _VERSIONS.get(engine.dialect)
    if sql is None:
        return ""
    try:
        return str(engine.run(sql, limit=1, timeout=_VERSION_SECONDS).rows[0][0])
    except PlainsqlError:
        return ""


def _show(report: dict[str, Any]) -> None:
    about = " ".join(filter(None, (report["kind"], report["version"])))
    emit(f"{report['name']}: {about}, {report['tables']:,} tables, {report['columns']:,} columns")
    for protection in report["protections"]:
        state = "on " if protection["active"] else "OFF"
        detail = f": {protection['detail']}" if protection["detail"] else ""
        emit(f"  {state}  {protection['name']}{detail}")
    for remark in report["notes"]:
        emit(f"  note: {remark}")
    if not all(protection["active"] for protection in report["protections"]):
        emit("Where a protection is off, the others hold; docs/safety.md says what that means.")
