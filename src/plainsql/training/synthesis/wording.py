"""Surface forms of names: singular, plural, articles, and the registers people write in."""

from __future__ import annotations

import random
import re

from plainsql.linking.words import lemma

_PLURALS = {
    "person": "people", "child": "children", "man": "men", "woman": "women", "foot": "feet",
    "mouse": "mice", "index": "indices", "criterion": "criteria", "leaf": "leaves",
    "wife": "wives", "life": "lives", "half": "halves", "shelf": "shelves", "quiz": "quizzes",
    "datum": "data", "bus": "buses", "gas": "gases", "status": "statuses",
    "campus": "campuses", "address": "addresses",
}  # fmt: skip
_NO_PLURAL = frozenset(
    "staff information data news series species equipment details media sports faculty furniture "
    "weather feedback gender wealth research software hardware music aircraft police statistics "
    "points laps goals wins losses".split()
)
_HEAD_ENDS = re.compile(r" (?:of|in|from|for|to|by|with|on|at|per|that|where)\b|[(/,%]")
_PAIR = re.compile(r" (?:and|or) ")  # "yes or no", "city or town": left as they are
_PARTICIPLE = re.compile(r"(?<![eb])ed$")  # "amount requested" has no plural of its own
_ARTICLE = re.compile(r"\b([Aa])(n?)( )(?=[A-Za-z])")
_VOWEL_SOUND = re.compile(r"(?!uni|use|user|one|euro)[aeiou]|hour|honor", re.IGNORECASE)


def plural(phrase: str) -> str:
    """The phrase with its head noun in the plural: "date of birth" -> "dates of birth"."""
    if _PAIR.search(phrase):
        return phrase
    head, rest = _head(phrase)
    return _replace_last(head, _plural_word) + rest


def singular(phrase: str) -> str:
    """The phrase with its head noun in the singular."""
    head, rest = _head(phrase)
    return _replace_last(head, _singular_word) + rest


def _head(phrase: str) -> tuple[str, str]:
    found = _HEAD_ENDS.search(phrase, 1)
    return (phrase[: found.start()], phrase[found.start() :]) if found else (phrase, "")


def _replace_last(head: str, change: object) -> str:
    start, blank, last = head.rpartition(" ")
    return start + blank + (change(last) if callable(change) else last)


def _singular_word(word: str) -> str:
    return word if word.lower() in _NO_PLURAL or not word.isalpha() else _like(word, lemma(word))


def _plural_word(word: str) -> str:
    low = word.lower()
    if not word.isalpha() or low in _NO_PLURAL or lemma(low) != low or _PARTICIPLE.search(low):
        return word
    if low in _PLURALS:
        return _like(word, _PLURALS[low])
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if low.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _like(word: str, new: str) -> str:
    return new if word.islower() else new.upper() if word.isupper() else new


def with_articles(text: str) -> str:
    """The text with each "a" or "an" as the next word wants it."""

    def fixed(match: re.Match[str]) -> str:
        vowel = _VOWEL_SOUND.match(text, match.end())
        return match[1] + ("n" if vowel else "") + match[3]

    return _ARTICLE.sub(fixed, text)


_CHOICE = re.compile(r"\[([^\[\]]*)\]")


def expand(text: str, rng: random.Random) -> str:
    """One of the texts that "[Show|List] all [the|] rows" stands for."""
    while found := _CHOICE.search(text):
        picked = rng.choice(found[1].split("|"))
        text = text[: found.start()] + picked + text[found.end() :]
    return re.sub(r" {2,}", " ", text).strip()


def in_register(text: str, rng: random.Random, keep: tuple[str, ...] = ()) -> str:
    """The text as people type it: sometimes in lower case, unpunctuated, with a typo.

    What is in `keep` (values) gets no typo.
    """
    if rng.random() < 0.25:
        text = text[:1].lower() + text[1:].rstrip("?.")
    elif not text.endswith(("?", ".", "!")):
        text = text[:1].upper() + text[1:]
    if rng.random() < 0.12:
        text = text.lower()
    return _with_typo(text, rng, keep) if rng.random() < 0.05 else text


def _with_typo(text: str, rng: random.Random, keep: tuple[str, ...]) -> str:
    words = text.split(" ")
    held = {part.lower() for value in keep for part in value.split()}
    places = [
        i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and w.lower() not in held
    ]
    if not places:
        return text
    place = rng.choice(places)
    word = words[place]
    at = rng.randrange(1, len(word) - 1)
    words[place] = rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at] + word[at:],
        )
    )
    return " ".join(words)


NUMBER_WORDS = "zero one two three four five six seven eight nine ten".split()
