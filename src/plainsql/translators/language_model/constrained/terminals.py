"""What a token of the grammar is made of, and its two spellings: a regular expression, and GBNF.

llguidance reads terminals as regular expressions
(https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md), llama.cpp
as rules over characters (https://github.com/ggml-org/llama.cpp/tree/master/grammars).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exact:
    """This text."""

    text: str


@dataclass(frozen=True, slots=True)
class Folded:
    """This text, its ASCII letters in either case."""

    text: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character of a class, written as both languages write it: `[a-z0-9_]`."""

    characters: str


@dataclass(frozen=True, slots=True)
class Row:
    """Pieces one after another."""

    pieces: tuple[Terminal, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of the pieces."""

    pieces: tuple[Terminal, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """The piece from `least` to `most` times."""

    piece: Terminal
    least: int
    most: int


Terminal = Exact | Folded | OneOf | Row | Either | Times


def row(*pieces: Terminal) -> Row:
    """Pieces one after another."""
    return Row(pieces)


def either(*pieces: Terminal) -> Terminal:
    """One of the pieces."""
    return pieces[0] if len(pieces) == 1 else Either(pieces)


def maybe(piece: Terminal) -> Times:
    """The piece or nothing."""
    return Times(piece, 0, 1)


def as_regex(terminal: Terminal) -> str:
    """The terminal as a regular expression between slashes, for a Lark grammar."""
    return f"/{_regex(terminal)}/"


def _regex(terminal: Terminal) -> str:
    match terminal:
        case Exact(text):
            return "".join(map(_escaped, text))
        case Folded(text):
            return "".join(map(_either_case, text))
        case OneOf(characters):
            return characters.replace("/", "\\/")
        case Row(pieces):
            return "".join(map(_regex, pieces))
        case Either(pieces):
            return f"({'|'.join(map(_regex, pieces))})"
        case Times(piece, least, most):
            return f"({_regex(piece)}){{{least},{most}}}"


def _escaped(character: str) -> str:
    plain = character.isalnum() or character == "_" or not character.isascii()
    return character if plain else f"\\x{ord(character):02x}"


def _either_case(character: str) -> str:
    """note: (?i) would take U+212A (Kelvin sign) for a k."""
    if character.isascii() and character.isalpha():
        return f"[{character.lower()}{character.upper()}]"
    return _escaped(character)


def as_gbnf(terminal: Terminal) -> str:
    """The terminal as the body of a rule of GBNF."""
    match terminal:
        case Exact(text):
            return _quoted(text)
        case Folded(text):
            return _folded(text)
        case OneOf(characters):
            return characters
        case Row(pieces):
            return " ".join(map(as_gbnf, pieces))
        case Either(pieces):
            return f"({' | '.join(map(as_gbnf, pieces))})"
        case Times(piece, least, most):
            inside = as_gbnf(piece)
            return f"({inside})?" if (least, most) == (0, 1) else f"({inside}){{{least},{most}}}"


def _folded(text: str) -> str:
    """Classes of two for letters, quoted runs for what has no case."""
    parts: list[str] = []
    run = ""
    for character in text:
        if character.isascii() and character.isalpha():
            parts += [_quoted(run)] if run else []
            parts.append(f"[{character.lower()}{character.upper()}]")
            run = ""
        else:
            run += character
    return " ".join([*parts, *([_quoted(run)] if run else [])])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
