"""docs/fine_tuning.md and the shipped recipes say only what the commands understand."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from plainsql.cli.main import program
from plainsql.training.tuning.config import load_train_config, shipped
from plainsql.training.tuning.estimates import estimate_table

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "fine_tuning.md").read_text(encoding="utf-8")
BENCHMARKS = ROOT / "benchmarks" / "fine_tuning"

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(plainsql [^`\n]+)`")
COMMAND = re.compile(r"(?:^|-m |\$\()(plainsql [^\n]*?)(?=\)\"|$)", re.MULTILINE)


def _commands(text: str) -> Iterator[str]:
    """Every `plainsql …` in the blocks without a language, and within lines of prose."""
    for language, block in BLOCK.findall(text):
        if not language:
            # a command's first line ends in a backslash where it goes on
            yield from COMMAND.findall(block.replace("\\\n", " "))
    yield from INLINE.findall(BLOCK.sub("", text))


def _header(path: Path) -> str:
    """The comment that opens a shipped recipe, as text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


RECIPES = {name: _header(path) for name, path in shipped().items()}
FROM_RECIPES = [line for text in RECIPES.values() for line in COMMAND.findall(text)]
ALL = sorted({command.removesuffix("…").removesuffix("\\").strip()
              for command in (*_commands(GUIDE), *FROM_RECIPES)})  # fmt: skip


def _parse(command: click.Command, name: str, words: list[str]) -> dict[str, object]:
    """The values of the flags, by the command's own parser; nothing is run."""
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        if not words:
            return {}  # a verb that is only mentioned
        command.parse_args(context, words)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        verb, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"no command {rest}"
        return _parse(found, verb or "", rest)
    values, _, _ = command.make_parser(context).parse_args(words)
    for parameter in command.get_params(context):
        if isinstance(parameter.type, click.Choice) and parameter.name in values:
            parameter.type_cast_value(context, values[parameter.name])
    return dict(values)


def test_there_are_commands() -> None:
    verbs = {command.split()[1] for command in ALL}
    assert {"data", "train", "generate", "ask", "merge", "quantize", "export"} <= verbs


@pytest.mark.parametrize("line", ALL)
def test_command_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    values = _parse(program, "plainsql", words)
    if recipe := values.get("path_of"):
        assert recipe in shipped()
    config = str(values.get("config") or "")
    assert not config or config.endswith(".toml") or config in shipped()


def test_the_estimates_are_those_of_the_command() -> None:
    shown = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in GUIDE.splitlines()
        if line.startswith(("| 7b |", "| 13b |"))
    ]
    assert shown == estimate_table().rows()


def test_the_configuration_file_loads(tmp_path: Path) -> None:
    [block] = [block for language, block in BLOCK.findall(GUIDE) if language == "toml"]
    path = tmp_path / "shop.toml"
    path.write_text(block, encoding="utf-8")
    config = load_train_config(path)
    assert {name: getattr(config, name) for name in tomllib.loads(block)} == tomllib.loads(block)


@pytest.mark.parametrize("recipe", sorted(shipped()))
def test_every_recipe_is_named(recipe: str) -> None:
    assert recipe in GUIDE


def test_the_benchmarks_are_there() -> None:
    named = set(re.findall(r"benchmarks/fine_tuning/(\w+\.py)", GUIDE))
    assert named
    assert all((BENCHMARKS / name).is_file() for name in named)


@pytest.mark.parametrize(
    "paper", ["2106.09685", "2305.14314", "2208.07339", "1712.05877", "1308.3432"]
)
def test_sources_are_linked(paper: str) -> None:
    assert f"https://arxiv.org/abs/{paper}" in GUIDE
