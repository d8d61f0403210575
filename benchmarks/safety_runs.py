"""Running one statement with all layers, or with one of them switched off."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safety_databases import Place, connection_to, files_named, network_use

from plainsql.errors import DeniedError, ExecutionError, PlainsqlError, QueryTimeout, ResourceLimit
from plainsql.execution.base import in_process_engine, open_engine, run_guarded
from plainsql.execution.guard import judge
from plainsql.execution.limits import Limits
from plainsql.execution.targets import parse_target

LIMIT = 1000
NO_LIMITS = Limits(
    result_bytes=10**12, cell_chars=10**12, cell_bytes=10**9, heap_bytes=0, memory_bytes=0
)
GRACE = 1.0  # seconds past the deadline by which every statement must have ended


@dataclass(frozen=True, slots=True)
class Case:
    """One statement, for one engine."""

    id: str
    engine: str
    category: str
    sql: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: denied, stopped, failed, ran or hung; and its effects."""

    case: Case
    ended: str
    detail: str = ""
    seconds: float = 0.0
    effects: tuple[str, ...] = field(default=())

    @property
    def right(self) -> bool:
        """As expected, in time and without effect.

        A statement to be denied may also fail or be stopped by a limit: what
        counts is an error and no effect. One to be allowed must give rows, or be
        stopped where it is there to test the limits ("contained").
        """
        if self.effects:
            return False
        if not self.case.allowed:
            return self.ended in ("denied", "stopped", "failed")
        return self.ended == "ran" or (self.ended == "stopped" and "contain" in self.case.category)


def read_cases(path: Path, engines: tuple[str, ...]) -> list[Case]:
    """The strings of a file, those for "any" engine once for each."""
    cases = []
    for entry in json.loads(path.read_text(encoding="utf-8")):
        sql = entry.get("sql")
        if sql is None:
            sql = "".join(text * count for text, count in entry["sql_parts"])
        own = engines if entry["engine"] == "any" else (entry["engine"],)
        for engine in own:
            if engine in engines and engine not in (entry.get("not_engines") or ()):
                allowed = entry["expected"] == "allow"
                cases.append(Case(entry["id"], engine, entry["category"], sql, allowed))
    return cases


class Runner:
    """Runs cases on one database. `without` names the layer to leave out, or none."""

    def __init__(
        self, place: Place, tables: frozenset[str], scratch: Path, without: str, seconds: float
    ) -> None:
        self.place = place
        self._tables = tables
        self._scratch = scratch
        self._without = without
        self._seconds = seconds
        self._engine: Any = None
        if without in ("", "guard"):
            self._engine = open_engine(place.target, tables=tables)
        self._state = place.state()

    def close(self) -> None:
        """Give the engine back."""
        if self._engine is not None:
            self._engine.close()

    def run(self, case: Case) -> Outcome:
        """One case, and every effect it had."""
        named, network = files_named(case.sql), network_use()
        started = time.perf_counter()
        ended, detail = self._ended(case)
        seconds = time.perf_counter() - started
        effects = list(self._effects(case, named))
        # A server is spoken to by the network; its own connections can't be told apart.
        if self.place.folder is not None and network_use() != network:
            effects.append("network")
        return Outcome(case, ended, detail, seconds, tuple(effects))

    def _effects(self, case: Case, named: dict[str, Any]) -> Any:
        state = self.place.state()
        if state != self._state:
            self._state = state
            yield "database"
        for path in self._scratch.iterdir():
            yield f"file {path.name}"
            path.unlink()
        for path, before in named.items():
            if files_named(path).get(path) != before:
                yield f"file {path}"

    def _ended(self, case: Case) -> tuple[str, str]:
        if self._without == "":
            return _told(lambda: self._guarded(case.sql))
        if self._without == "guard":
            return _told(lambda: self._engine.run(case.sql, limit=LIMIT, timeout=self._seconds))
        verdict = judge(case.sql, dialect=self.place.dialect, tables=self._tables)
        if not verdict.allowed:
            return "denied", verdict.reason
        run = _without_engine if self._without == "engine" else _without_limits
        return _in_child(run, self.place, verdict.sql, self._seconds)

    def _guarded(self, sql: str) -> Any:
        return run_guarded(
            self._engine, sql, tables=self._tables, limit=LIMIT, timeout=self._seconds
        )


def _told(run: Callable[[], Any]) -> tuple[str, str]:
    """How a run ended, in a word, and the message of its error."""
    try:
        run()
    except DeniedError as error:
        return "denied", error.message
    except (QueryTimeout, ResourceLimit) as error:
        return "stopped", error.message
    except (ExecutionError, PlainsqlError) as error:
        return "failed", error.message
    return "ran", ""


# Without a layer: in a process of its own that is killed some time after the deadline.


def _in_child(
    run: Callable[[Place, str], Any], place: Place, sql: str, seconds: float
) -> tuple[str, str]:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            sender.send(_told(lambda: run(place, sql)))
        except BaseException as error:  # a driver's own error: the statement failed
            sender.send(("failed", f"{type(error).__name__}: {error}"[:200]))
        os._exit(0)
    sender.close()
    try:
        if receiver.poll(seconds):
            told: tuple[str, str] = receiver.recv()
            return told
        return "stopped", "killed at the deadline"
    except EOFError:
        return "stopped", "the process died"
    finally:
        os.killpg(child, signal.SIGKILL) if _leads(child) else os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        receiver.close()


def _leads(pid: int) -> bool:
    return os.getpgid(pid) == pid


def _without_engine(place: Place, sql: str) -> None:
    """A bare driver with all rights: what the guard accepts meets no other protection."""
    if place.dialect == "sqlite":
        with closing(sqlite3.connect(place.owner, isolation_level=None)) as connection:
            connection.execute(sql).fetchmany(LIMIT)
    elif place.dialect == "duckdb":
        import duckdb

        with duckdb.connect(place.owner) as connection:
            connection.execute(sql).fetchmany(LIMIT)
    else:
        opened = connection_to(place.dialect, place.owner)
        with closing(opened) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchmany(LIMIT)


def _without_limits(place: Place, sql: str) -> None:
    """Our engine in this process, with a deadline of an hour and no cap that matters."""
    engine = in_process_engine(parse_target(place.target), limits=NO_LIMITS)
    with closing(engine):
        engine.run(sql, limit=10**9, timeout=3600.0)
