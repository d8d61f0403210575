"""Text to the wordpieces of an uncased BERT, without a tokenizer library.

WordPiece as in Wu et al. 2016 (https://arxiv.org/abs/1609.08144, section 4.1) with the
normalisation of BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805): control
characters dropped, CJK characters apart, accents stripped, lower case. Gives the ids of
the package `tokenizers`, which is 41 MB with what it needs.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

# `tokenizers` knows the character categories of Unicode 8, and this Python's are newer:
# marks, punctuation and format characters of these code points are younger than that,
# so they are letters like any other. Ranges run up to the next older one.
_YOUNGER = (
    "61d 7fd 890-8e2 9fd-9fe a76 afa-aff b55 c04-c3c c77 c84 d00 d3b-d3c d81 eba ece 180f-1886 "
    "1abf-1aff 1b4e-1b4f 1b7d-1b7f 1df6-1dfb 2e43-2e7f a82c a8c5 a8ff a9bd 10b9d-11000 "
    "1104e-1107e 110c2-110ff 111ce-111da 1123e-112a8 11302-1133b 11375-114b2 11644-116aa "
    "116b8-1171c 1173f-1246f 12475-16a6d 16b45-16f8e 16f93-1bc9c 1bca4-1d166 1dab0-1e8cf "
    "1e8d7-1ffff"
)
_CHANGED = {"\u166d": "Po", "\u1734": "Mn", "\U000111c9": "Po"}  # categories in Unicode 8
_CJK = "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f"
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co"})


def _one_of(ranges: str) -> re.Pattern[str]:
    """A pattern of one character in `ranges` of hexadecimal code points."""
    bounds = (item.split("-") for item in ranges.split())
    return re.compile(f"[{''.join(f'{chr(int(b[0], 16))}-{chr(int(b[-1], 16))}' for b in bounds)}]")


_IS_YOUNGER, _IS_CJK = _one_of(_YOUNGER), _one_of(_CJK)


def _category(character: str) -> str:
    if _IS_YOUNGER.match(character):
        return "Lo"
    return _CHANGED.get(character) or unicodedata.category(character)


@lru_cache(maxsize=8192)
def _cleaned(character: str) -> str:
    """The character, a blank for white space, nothing for what can't be read."""
    if character in "\t\n\r":
        return " "
    if character in "\0\ufffd" or _category(character) in _DROPPED:
        return ""
    return f" {character} " if _IS_CJK.match(character) else character


@lru_cache(maxsize=8192)
def _folded(character: str) -> str:
    """In lower case, without accents; punctuation stands alone."""
    category = _category(character)
    if category == "Mn":
        return ""
    alone = category[0] == "P" or character in "$+<=>^`|~"
    return f" {character} " if alone else character.lower()


def words(text: str) -> list[str]:
    """The normalised words and punctuation marks of `text`."""
    cleaned = "".join(map(_cleaned, text))
    return "".join(map(_folded, unicodedata.normalize("NFD", cleaned))).split()


class WordPiece:
    """A vocabulary of wordpieces; those that continue a word begin with `prefix`."""

    def __init__(
        self,
        vocabulary: dict[str, int],
        *,
        prefix: str = "##",
        unknown: str = "[UNK]",
        longest_word: int = 100,
        special: Iterable[str] = (),
    ) -> None:
        self._vocabulary, self._prefix = vocabulary, prefix
        self._unknown, self._longest_word = vocabulary[unknown], longest_word
        self._longest_piece = max(map(len, vocabulary))
        # Written out in a text, "[SEP]" is that token, not a word in brackets.
        tokens = sorted(map(re.escape, special), key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(tokens) or '(?!)'})")

    @classmethod
    def from_file(cls, path: str | Path) -> WordPiece:
        """From a tokenizer.json with a WordPiece model.

        Raises OSError when it can't be read, ValueError or KeyError when it is not one.
        """
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        model = found["model"]
        return cls(
            model["vocab"],
            prefix=model["continuing_subword_prefix"],
            unknown=model["unk_token"],
            longest_word=model["max_input_chars_per_word"],
            special=[token["content"] for token in found["added_tokens"]],
        )

    def token_id(self, token: str) -> int | None:
        """The id of a whole token such as "[CLS]"; None when there is none."""
        return self._vocabulary.get(token)

    def ids(self, text: str) -> list[int]:
        """The wordpieces of `text`, without [CLS] and [SEP] around them."""
        found: list[int] = []
        for i, part in enumerate(self._special.split(text)):
            if i % 2:
                found.append(self._vocabulary[part])
            else:
                found += (piece for word in words(part) for piece in self._pieces(word))
        return found

    def _pieces(self, word: str) -> list[int]:
        """Greedily the longest pieces; [UNK] alone where they don't make up the word."""
        if len(word) > self._longest_word:
            return [self._unknown]
        pieces = list(self._longest_first(word))
        return [self._unknown] if None in pieces else [p for p in pieces if p is not None]

    def _longest_first(self, word: str) -> Iterator[int | None]:
        """The longest piece at each place; ends with None where nothing fits."""
        start, prefix = 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest_piece), start, -1):
                piece = self._vocabulary.get(prefix + word[start:end])
                if piece is not None:
                    yield piece
                    break
            else:
                yield None
                return
            start, prefix = end, self._prefix
