"""Rooms import only what stands to their right; heavy packages stay in the workshops."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "plainsql"

BELOW_ASK = {
    "errors", "records", "settings", "schema", "logical_form", "linking", "execution",
    "translators", "questions", "answer_text", "choosing", "ranking", "demo", "demo_words",
    "trying", "stopwatch", "wordpiece", "value_source", "budget", "cache_folder", "entries",
    "scoring", "evidence", "mending", "rounds", "watching",
}  # fmt: skip
BELOW_TRANSLATORS = {"errors", "records", "schema", "logical_form", "wordpiece"}

# A room, and what it may import of plainsql beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "budget": {"errors"},
    "cache_folder": set(),
    "entries": {"errors"},
    "stopwatch": set(),
    "watching": set(),
    "wordpiece": set(),
    "records": {"errors"},
    "settings": {"errors"},
    "schema": {"errors", "records"},
    "logical_form": {"errors", "records", "schema"},
    "linking": BELOW_TRANSLATORS | {"cache_folder"},
    "writing": {"errors", "records"},
    "execution": {"cache_folder", "errors", "records", "schema", "logical_form"},
    "translators": BELOW_TRANSLATORS | {"budget", "cache_folder", "entries", "watching"},
    "questions": {"errors", "schema"},
    "demo": {"demo_words", "errors"},
    "demo_words": set(),
    "answer_text": {"records", "schema"},
    "choosing": {"errors", "ranking", "records", "scoring"},
    "scoring": {"ranking", "records"},
    "evidence": {"execution", "linking", "logical_form", "records", "schema", "scoring"},
    "mending": {
        "choosing",
        "errors",
        "evidence",
        "execution",
        "records",
        "schema",
        "scoring",
    },
    "rounds": {
        "budget",
        "choosing",
        "errors",
        "evidence",
        "execution",
        "linking",
        "mending",
        "ranking",
        "records",
        "schema",
        "scoring",
        "settings",
        "stopwatch",
        "translators",
        "trying",
    },
    "ranking": {"errors", "records"},
    "trying": {"budget", "choosing", "errors", "execution", "records", "schema"},
    "value_source": {"errors", "execution", "linking", "logical_form", "schema", "settings"},
    "ask": BELOW_ASK,
    "evaluation": BELOW_ASK | {"ask"},
    "cli": BELOW_ASK | {"ask", "evaluation", "writing"},
    "training": BELOW_ASK | {"ask", "evaluation"},
    "quantization": BELOW_ASK | {"ask", "evaluation", "training"},
    "__init__": BELOW_ASK | {"ask"},
    "__main__": {"cli"},
}

HEAVY = {
    "torch", "transformers", "peft", "bitsandbytes", "torchao", "datasets", "accelerate",
    "onnx", "onnxscript", "sklearn", "safetensors", "pandas", "scipy", "tokenizers",
}  # fmt: skip
WORKSHOPS = {"training", "quantization"}
MAY_USE_SQLGLOT = (
    "logical_form/", "execution/guard", "execution/transpile", "evaluation/", "training/",
)  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Dotted names that a file imports, at module level or anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else _module_level(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "plainsql":
                yield from (f"plainsql.{alias.name}" for alias in node.names)


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import: not those in functions or under TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_rooms_import_only_what_stands_to_their_right(path: Path) -> None:
    room = room_of(path)
    used = {dotted.split(".")[1] for dotted in imported(path) if dotted.startswith("plainsql.")}
    used &= set(MAY_IMPORT) | {item.name for item in ROOT.iterdir() if item.is_dir()}
    allowed = MAY_IMPORT[room] | {room}
    if room == "cli":
        assert not used & WORKSHOPS & {d.split(".")[1] for d in _eager(path)}
        used -= WORKSHOPS
    assert used <= allowed, f"{room} may not import {sorted(used - allowed)}"


def _eager(path: Path) -> list[str]:
    names = imported(path, everywhere=False)
    return [dotted for dotted in names if dotted.startswith("plainsql.")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_heavy_packages_are_imported_in_the_workshops_only(path: Path) -> None:
    if room_of(path) in WORKSHOPS:
        return
    tops = {dotted.split(".")[0] for dotted in imported(path, everywhere=False)}
    assert not tops & HEAVY


@pytest.mark.parametrize("path", FILES, ids=name)
def test_sqlglot_has_few_users(path: Path) -> None:
    uses = any(dotted.split(".")[0] == "sqlglot" for dotted in imported(path))
    assert not uses or name(path).startswith(MAY_USE_SQLGLOT)


ASK = """
import sys
import plainsql
from plainsql.translators.fake import ScriptedTranslator

scripted = ScriptedTranslator({}, ["SELECT count(*) FROM singer"])
with plainsql.connect(sys.argv[1], translator=scripted) as database:
    assert database.ask("How many singers are there?").rows == ((6,),)
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & set(sys.argv[2:])))
"""


def fresh_python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_asking_loads_no_heavy_module(concerts: Path) -> None:
    assert fresh_python(ASK, str(concerts), *HEAVY) == ""


def test_import_and_help_load_next_to_nothing() -> None:
    light = {"numpy", "onnxruntime", "sqlglot", "rich", "sqlite3"} | HEAVY
    code = (
        "import sys, plainsql; from plainsql.cli.main import run; run(['--help']);"
        f"print('loaded:', *sorted(set(sys.modules) & {light!r}))"
    )
    assert fresh_python(code).endswith("loaded:")


NO_NETWORK = """
import sys

def forbid(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"the network was used: {event}")

sys.addaudithook(forbid)
"""


def test_asking_opens_no_socket(concerts: Path) -> None:
    assert fresh_python(NO_NETWORK + ASK, str(concerts), *HEAVY) == ""
