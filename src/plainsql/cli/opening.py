"""Opening a database for a verb: its engine, its schema, what may be read of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plainsql.cli.output import note
from plainsql.cli.progress import Progress

if TYPE_CHECKING:
    from plainsql.execution.access import Access
    from plainsql.execution.base import Engine
    from plainsql.schema.model import Schema
    from plainsql.settings import Settings

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database. `schema` is the whole one: the guard applies `access` to it."""

    engine: Engine
    schema: Schema
    access: Access


@contextmanager
def opened(settings: Settings, tables: frozenset[str] | None) -> Iterator[Opened]:
    """The database of the settings, under their policy. Raises as `plainsql.connect` does."""
    from plainsql.execution.access import Access
    from plainsql.execution.base import open_engine

    access = Access.from_settings(settings.policy, settings.role).narrowed(tables)
    prepare(settings)
    engine = open_engine(settings.db, tables=access.readable(None), cache_dir=settings.cache_dir)
    try:
        schema = engine.introspect()
        access.check(schema)
        for remark in getattr(engine, "notes", ()):
            note(f"({remark})")
        yield Opened(engine, schema, access)
    finally:
        engine.close()


def prepare(settings: Settings) -> None:
    """Convert large data files before they are opened, and show how far that is."""
    from plainsql.execution.targets import parse_target

    target = replace(parse_target(settings.db), cache_dir=settings.cache_dir)
    if target.kind != "files":
        return
    from plainsql.execution.files import prepare as convert
    from plainsql.execution.limits import Limits

    with Progress("MB read") as progress:
        convert(
            target,
            Limits(),
            lambda done, total, table: progress.update(done // _MB, total // _MB, table),
        )
