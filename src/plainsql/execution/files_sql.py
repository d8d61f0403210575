"""Names, texts and paths as DuckDB's SQL has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def identifier(name: str) -> str:
    """A name in double quotes, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def path_list(paths: Iterable[Path]) -> str:
    """Files as a list in SQL."""
    return "[" + ", ".join(literal(plain_path(path)) for path in paths) + "]"


def plain_path(path: Path) -> str:
    """A path in which nothing is a wildcard to DuckDB."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))
