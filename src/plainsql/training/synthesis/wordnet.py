"""Synonyms from WordNet's data files (https://wordnet.princeton.edu), read directly.

Debian's package `wordnet-base` puts them into /usr/share/wordnet. Formats: man
pages wndb(5WN), senseidx(5WN).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/usr/share/wordnet")
_SENSES = 2  # the most frequent ones
_PARTS = ("noun", "verb", "adj")


def synonyms(
    words: Collection[str], folder: Path = FOLDER, *, senses: int = _SENSES
) -> dict[str, list[str]]:
    """For each of the words the other common members of its most frequent senses.

    A word that is a noun is taken as one: schemas name things. Members count as
    common if they occur in WordNet's sense-tagged texts; those of several words
    have blanks. Words without any are left out.
    """
    found: dict[str, list[str]] = {}
    for part in _PARTS:
        index = _index(folder / f"index.{part}")
        with (folder / f"data.{part}").open("rb") as data:
            for word in sorted(words):
                if word in found or word not in index:
                    continue
                found[word] = []
                for offset in index[word].offsets[:senses]:
                    if found[word]:
                        break  # the second sense only where the first has no other word
                    data.seek(offset)
                    for member in _members(data.readline().decode("latin-1")):
                        common = member in index and index[member].tagged
                        if common and member != word and member not in found[word]:
                            found[word].append(member)
    return {word: others for word, others in found.items() if others}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Places of a word's senses in the data file, most frequent first."""

    offsets: tuple[int, ...]
    tagged: int  # how many of them occur in the tagged texts


def _index(path: Path) -> dict[str, _Entry]:
    found = {}
    with path.open(encoding="latin-1") as lines:
        for line in lines:
            if line.startswith(" "):
                continue
            fields = line.split()
            count, pointers = int(fields[2]), int(fields[3])
            tagged = int(fields[5 + pointers])
            offsets = tuple(map(int, fields[6 + pointers : 6 + pointers + count]))
            found[fields[0].replace("_", " ")] = _Entry(offsets[: max(1, tagged)], tagged)
    return found


def _members(line: str) -> list[str]:
    """The words of a synset, without names and markers such as "(p)"."""
    fields = line.split(" ")
    count = int(fields[3], 16)
    raw = [fields[4 + 2 * at].split("(")[0].replace("_", " ") for at in range(count)]
    return [word for word in raw if word.islower() and len(word) > 2]
