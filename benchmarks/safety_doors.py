"""The same statements through every way into plainsql: Python, `check`, `ask`."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from safety_databases import Place
from safety_runs import Case

from plainsql.errors import DeniedError
from plainsql.execution.base import open_engine, run_guarded

# A translator that says what a file says, registered as users register theirs.
MODULE = """
import os, pathlib
from plainsql.translators.fake import ScriptedTranslator

def make():
    return ScriptedTranslator({}, [pathlib.Path(os.environ["SAFETY_SQL"]).read_text("utf-8")])
"""
ENTRY = "[plainsql.translators]\nsafety-script = safety_script:make\n"
METADATA = "Metadata-Version: 2.1\nName: safety-script\nVersion: 0\n"
QUESTION = "How many {}?"


def sample(cases: list[Case], count: int) -> list[Case]:
    """`count` cases of one engine, as many to be denied as to be allowed, always the same.

    Without the contained ones, which take until the deadline.
    """
    chance = random.Random("doors")
    chosen = []
    for allowed in (False, True):
        kind = [c for c in cases if c.allowed is allowed and "contain" not in c.category]
        # What can't be written to a file as UTF-8 can't be an argument either.
        kind = [case for case in kind if _is_text(case.sql)]
        chosen += chance.sample(kind, min(count // 2, len(kind)))
    return chosen


def _is_text(sql: str) -> bool:
    try:
        return "\r" not in sql and bool(sql.encode())
    except UnicodeEncodeError:
        return False


class Doors:
    """Asks through each front end whether a statement is refused. Exit code 5 is a refusal."""

    def __init__(self, place: Place, tables: frozenset[str], folder: Path) -> None:
        self._place = place
        self._tables = tables
        self._sql = folder / "statement.sql"
        site = folder / "site"
        info = site / "safety_script-0.dist-info"
        info.mkdir(parents=True)
        (site / "safety_script.py").write_text(MODULE)
        (info / "entry_points.txt").write_text(ENTRY)
        (info / "METADATA").write_text(METADATA)
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        self._environ = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "SAFETY_SQL": str(self._sql),
            # Not on the command line, where everybody would see the password of a server.
            "PLAINSQL_DB": place.target,
        }

    def verdicts(self, case: Case) -> dict[str, str]:
        """For each front end: "denied", or what else happened."""
        return {
            "Python": self._python(case.sql),
            "plainsql check": self._check(case.sql),
            "plainsql ask": self._ask(case.sql),
        }

    def _python(self, sql: str) -> str:
        with open_engine(self._place.target) as engine:  # type: ignore[attr-defined]
            try:
                run_guarded(engine, sql, tables=self._tables, timeout=5.0)
            except DeniedError:
                return "denied"
            except Exception as error:
                return type(error).__name__
        return "allowed"

    def _check(self, sql: str) -> str:
        return _word(self._run("check", "-", stdin=sql.encode()))

    def _ask(self, sql: str) -> str:
        self._sql.write_bytes(sql.encode())
        question = QUESTION.format(" and ".join(sorted(self._tables)[:2]))
        return _word(self._run("ask", question, "--translator", "safety-script"))

    def _run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "plainsql", *arguments, "--json"]
        command += ["--tables", ",".join(sorted(self._tables))]
        return subprocess.run(
            command, input=stdin, capture_output=True, env=self._environ, check=False
        )


def _word(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode == 5:
        return "denied"
    if done.returncode == 0:
        return "allowed"
    try:
        return str(json.loads(done.stdout)["error"]["type"])
    except (ValueError, KeyError):
        return f"exit code {done.returncode}"
