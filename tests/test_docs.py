"""Documentation that can't drift: every command, flag, setting and room is in it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from plainsql import __version__
from plainsql.cli.main import VERBS, program
from plainsql.cli.reference import reference
from plainsql.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[1]
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_cli_reference_is_what_the_commands_say() -> None:
    assert reference() == CLI, "run make docs"


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_and_flag_is_documented(verb: str) -> None:
    command = program.get_command(click.Context(program), verb)
    assert command is not None
    assert command.name == verb
    assert f"## plainsql {verb}\n" in CLI
    assert f"plainsql {verb}" in README
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", "")
        assert all(name in CLI for name in parameter.opts if name.startswith("-"))


def test_every_setting_is_documented() -> None:
    for setting in fields(Settings):
        assert f"| `{setting.name}` | `{ENV_PREFIX}{setting.name.upper()}` |" in CLI
        assert setting.metadata["doc"].endswith((".", "answers."))


def test_every_room_is_in_the_architecture() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "plainsql").glob("*/__init__.py")}
    missing = {room for room in rooms if f"`{room}/`" not in ARCHITECTURE}
    assert not missing


FILE = re.compile(r"`((?:src/plainsql/|docs/|tests/)[\w./]+\.\w+)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_and_links_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(FILE.findall(text))
    linked = {t for t in re.findall(r"\]\(([^)#:]+)\)", text) if not t.startswith("http")}
    missing = {n for n in named if not (ROOT / n).exists()}
    missing |= {t for t in linked if not (document.parent / t).exists()}
    assert not missing


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
