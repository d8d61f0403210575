"""Text that is data and must stay data, wherever in a prompt it stands.

What comes from a database (names, comments, cells, messages of an engine) or was written
before (examples, a model's own SQL) is put on one line, without control characters and
those that turn the direction of writing, cut at a length, and the marks that prompts are
made of are broken in it: so no cell can end its section, open another one, or speak as
somebody else. This is the first half of a fence; the second are the quotes or the `--` that
it is written behind, and `TokenizerFacts.safe`, which breaks what one tokenizer obeys.
"""

from __future__ import annotations

import re
import unicodedata

_HASHES = re.compile(r"[#＃]{2,}|[`｀]{3,}|~{3,}")
_TAG = re.compile(
    r"[<＜](?=[|｜/!<]|\w+[>|＞])|\[(?=/?[A-Z_]+\])|(?<=[|｜])[>＞]",
)
_SECTION = re.compile(r"#{3,}|`{3,}")
_BREAKS = frozenset({"Cc", "Cs", "Zl", "Zp", "Zs"})


def defused(text: str, limit: int) -> str:
    """Text from a database as one harmless line of at most `limit` characters.

    Control and invisible characters become spaces; fences, section marks and chat
    tags ("### Response", "</s>", "<|im_start|>", "[INST]") are broken up.
    """
    line = one_line(text)
    line = _TAG.sub(lambda mark: f" {mark[0]}" if mark[0] in ">＞" else f"{mark[0]} ", line)
    line = _HASHES.sub(lambda mark: mark[0][0], line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Text without line breaks, control characters and runs of spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def one_paragraph(text: str) -> str:
    """Text on one line, without control characters and lone surrogates.

    Other than in data, invisible characters that scripts are written with stay.
    """
    return "".join(" " if unicodedata.category(c) in _BREAKS else c for c in text).strip()


def plain(text: str) -> str:
    """Text on one line that can't be taken for the heading of a section, or for a fence."""
    return _SECTION.sub(lambda mark: mark[0][0], one_paragraph(text))


def literal(text: str, limit: int) -> str:
    """Data as an SQL string on one line, which it can't end."""
    return "'" + defused(text, limit).replace("'", "''") + "'"


def remark(text: str, limit: int) -> str:
    """Data as an SQL comment: the line ends it, and nothing in it does."""
    return f"-- {defused(text, limit)}"
