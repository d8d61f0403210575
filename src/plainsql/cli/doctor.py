"""plainsql doctor: is everything here that answering a question needs?"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import click

from plainsql import __version__
from plainsql.cli.database_report import examine_database
from plainsql.cli.options import db_option
from plainsql.cli.output import emit, print_json
from plainsql.errors import (
    DeniedError,
    ExecutionError,
    ModelError,
    PlainsqlError,
    UsageError,
)
from plainsql.records import SCHEMA_VERSION, Status
from plainsql.settings import Settings, load_settings

CORE_PACKAGES = ("numpy", "onnxruntime", "sqlglot", "click", "rich")
# One telling package of each extra in pyproject.toml.
EXTRAS = {
    "train": "torch",
    "duckdb": "duckdb",
    "postgresql": "psycopg",
    "mysql": "pymysql",
    "sqlalchemy": "sqlalchemy",
    "parquet": "pyarrow",
    "openai": "openai",
    "serve": "starlette",
    "mcp": "mcp",
}
ENOUGH_DISK = 200_000_000  # bytes: room for the value index of a large database


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, in words."""

    name: str
    ok: bool
    detail: str


@click.command("doctor")
@db_option
@click.option(
    "--grant-sql",
    is_flag=True,
    help="Print the SQL that makes a role which may only read this database.",
)
@click.option("--tables", metavar="A,B", help="With --grant-sql: only these tables.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(db: str | None, grant_sql: bool, tables: str | None, as_json: bool) -> int:
    """Check the installation, piece by piece. Exit code 7 when something is broken.

    With -d, look at that database instead: what protects it here whatever the
    guard lets through, and which rights the user of the URL has and doesn't need.

    \b
    plainsql doctor -d postgresql://ann@db/shop
    plainsql doctor -d mysql://ann@db/shop --grant-sql --tables users,orders
    """
    if db is not None:
        return examine_database(db, grant_sql=grant_sql, tables=tables, as_json=as_json)
    if grant_sql or tables:
        raise UsageError("--grant-sql is about one database.", hint="Name it with -d DB.")
    findings = examine(load_settings())
    healthy = all(finding.ok for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        status = "ok" if healthy else "broken"
        print_json({"schema_version": SCHEMA_VERSION, "status": status, "checks": checks})
    else:
        for finding in findings:
            emit(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<9}  {finding.detail}")
    return 0 if healthy else ModelError.exit_code


def examine(settings: Settings) -> list[Finding]:
    """All checks, in the order of what stands on what."""
    checks: dict[str, Callable[[Settings], Finding]] = {
        "plainsql": _versions,
        "packages": _packages,
        "sqlite": _sqlite,
        "model": _model,
        "cache": _cache,
        "extras": _extras,
        "self-test": _self_test,
    }
    return [_guarded(name, check, settings) for name, check in checks.items()]


def _guarded(name: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    """The finding of `check`; its error is a finding too."""
    try:
        return check(settings)
    except PlainsqlError as error:
        return Finding(name, False, " ".join(filter(None, (error.message, error.hint))))
    except Exception as error:  # a broken package can raise anything at import
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _versions(settings: Settings) -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    detail = f"{__version__}, Python {python}, {platform.system()} {platform.machine()}"
    return Finding("plainsql", sys.version_info >= (3, 11), detail)


def _packages(settings: Settings) -> Finding:
    found, missing = [], []
    for name in CORE_PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    detail = ", ".join(found) + (f"; missing: {', '.join(missing)}" if missing else "")
    return Finding("packages", not missing, detail)


def _sqlite(settings: Settings) -> Finding:
    """The value index needs SQLite's full-text search, which a build may lack."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
    return Finding("sqlite", True, f"{sqlite3.sqlite_version}, with full-text search")


def _model(settings: Settings) -> Finding:
    """The translator loads; where it keeps weights in a folder, each has its checksum."""
    from plainsql.ask import translator_of

    found = translator_of(settings)
    if describe := getattr(found, "describe", None):  # a language model, which loads for it
        return Finding("model", True, f"{found.name}: {describe()}")
    folder = getattr(found, "folder", None)
    if folder is None:
        return Finding("model", True, f"{found.name} loads")
    from plainsql.translators.parser.runtime import Manifest

    manifest = Manifest.read(Path(folder))
    manifest.check(Path(folder))
    size = sum((Path(folder) / name).stat().st_size for name in manifest.files)
    detail = (
        f"{found.name} loads; {len(manifest.files)} files, {size / 1e6:.1f} MB, checksums right"
    )
    return Finding("model", True, detail)


def _cache(settings: Settings) -> Finding:
    from plainsql.cache_folder import default_cache_dir

    folder = Path(settings.cache_dir) if settings.cache_dir else default_cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    detail = f"{folder}, {free / 1e9:.1f} GB free"
    return Finding("cache", free >= ENOUGH_DISK, detail)


def _extras(settings: Settings) -> Finding:
    there = [name for name, package in EXTRAS.items() if find_spec(package)]
    absent = [name for name in EXTRAS if name not in there]
    detail = (
        f"installed: {', '.join(there) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    )
    return Finding("extras", True, detail)


def _self_test(settings: Settings) -> Finding:
    """A question on a fresh demo database, through the whole flow.

    What a language model that was tuned for another database writes about this one
    may be refused, fail or be no SQL, and nothing is broken then.
    """
    from plainsql.ask import connect
    from plainsql.demo import DEMO_QUESTIONS, make_demo

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.sqlite"
        make_demo(path)
        with connect(path, settings=settings) as database:
            must_answer = not hasattr(database.translator, "describe")
            try:
                answer = database.ask(DEMO_QUESTIONS[0])
            except (DeniedError, ExecutionError) as error:
                return Finding("self-test", not must_answer, f"the SQL written: {error.message}")
    detail = f"{DEMO_QUESTIONS[0]} {answer.answer} ({answer.timing_ms['total']:.0f} ms)"
    answered = answer.status is Status.ANSWERED
    return Finding("self-test", answered or not must_answer, detail)
