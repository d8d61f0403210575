"""Other words for names: mined from Spider-Syn's paraphrases, completed from WordNet."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path

from plainsql.linking.words import lemma
from plainsql.training.synthesis import wordnet
from plainsql.training.synthesis.generic_words import GENERIC

_MAX_WORDS = 3
_MOST = 8  # synonyms kept of a name
# Senses that schemas don't mean, and words nobody would put into a schema.
_UNLIKELY = frozenset(
    "gens soul mortal someone somebody folk epithet moniker cognomen denotation call "
    "id est gent cat gal daughter sire piddle piss micturate".split()
)


# What people say for common names of columns and tables, where WordNet knows little.
BY_HAND = {
    "age": ["years of age"],
    "name": ["label", "designation"],
    "first name": ["given name", "forename"],
    "last name": ["surname", "family name"],
    "birthday": ["date of birth", "dob"],
    "date of birth": ["birthday", "birth date"],
    "phone": ["telephone", "contact number"],
    "phone number": ["telephone number", "contact number"],
    "email": ["mail address", "e mail"],
    "gender": ["sex"],
    "sex": ["gender"],
    "movie": ["film", "picture"],
    "film": ["movie"],
    "car": ["vehicle", "automobile"],
    "vehicle": ["car"],
    "employee": ["worker", "staff member"],
    "worker": ["employee"],
    "boss": ["manager", "supervisor"],
    "manager": ["supervisor", "head"],
    "client": ["customer"],
    "customer": ["client", "buyer", "shopper"],
    "order": ["purchase"],
    "purchase": ["order"],
    "invoice": ["bill"],
    "quantity": ["amount", "number of units"],
    "amount": ["sum", "quantity"],
    "revenue": ["income", "turnover"],
    "sale": ["revenue", "sold"],
    "hometown": ["home town", "birthplace"],
    "home town": ["place of origin", "birthplace"],
    "nationality": ["country of origin", "citizenship"],
    "location": ["place", "site"],
    "venue": ["place", "location"],
    "weight": ["mass"],
    "height": ["tallness", "stature"],
    "length": ["duration", "extent"],
    "duration": ["length", "running time"],
    "rating": ["score", "grade"],
    "rank": ["position", "place"],
    "position": ["rank", "place"],
    "point": ["score"],
    "major": ["field of study", "subject"],
    "course": ["class", "lecture"],
    "class": ["course"],
    "teacher": ["instructor", "lecturer"],
    "instructor": ["teacher"],
    "student": ["pupil", "learner"],
    "doctor": ["physician"],
    "physician": ["doctor"],
    "flight": ["plane trip"],
    "airport": ["airfield", "aerodrome"],
    "shop": ["store"],
    "store": ["shop"],
    "hotel": ["lodging", "inn"],
    "song": ["track", "tune"],
    "track": ["song"],
    "singer": ["vocalist", "performer"],
    "description": ["details", "explanation"],
    "detail": ["description", "particulars"],
    "type": ["kind", "category"],
    "category": ["type", "kind"],
    "status": ["state", "condition"],
    "start date": ["beginning date", "date from"],
    "end date": ["finish date", "date to"],
    "population": ["inhabitants", "number of people"],
    "area": ["size", "surface"],
    "budget": ["funds", "allotted money"],
    "salary": ["pay", "wage", "earnings"],
    "capacity": ["size", "number of seats"],
    "attendance": ["visitors", "spectators"],
    "team": ["squad", "club"],
    "club": ["society", "team"],
    "game": ["match"],
    "match": ["game"],
    "title": ["name", "heading"],
    "comment": ["remark", "note"],
    "note": ["remark", "comment"],
    "zip code": ["postal code", "postcode"],
    "zip": ["postal code"],
    "id": ["identifier", "key"],
    "code": ["symbol", "id"],
    "year": ["yr"],
    "result": ["outcome"],
    "opponent": ["rival", "opposing team"],
    "winner": ["champion", "victor"],
    "party": ["political party"],
    "director": ["filmmaker", "directed by"],
    "author": ["writer"],
    "writer": ["author"],
}


def mined(pairs: Iterable[tuple[str, str]], names: frozenset[str]) -> dict[str, list[str]]:
    """Replacements between two wordings of a question, by the name replaced.

    `pairs` holds (original, reworded); only replacements of a phrase in `names`
    (lemmas) count. The most frequent replacement comes first.
    """
    # A replacement seen once is as often a slip of the alignment as a synonym.
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for original, reworded in pairs:
        for old, new in _replacements(_words(original), _words(reworded)):
            if old in names and old != new:
                counts[old][new] += 1
    return {old: [new for new, _ in found.most_common()] for old, found in counts.items()}


def _words(text: str) -> list[str]:
    return [lemma(word) for word in re.findall(r"[a-z]+", text.lower())]


def _replacements(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "replace" and j - i <= _MAX_WORDS and m - k <= _MAX_WORDS:
            before, after = old[i:j], new[k:m]
            if not (set(before) | set(after)) & GENERIC:
                yield " ".join(before), " ".join(after)


def training_rewordings(spider: Path) -> list[tuple[str, str]]:
    """(Spider's question, Spider-Syn's), paired by position; both files keep one order."""
    original = json.loads((spider / "train_spider.json").read_text(encoding="utf-8"))
    path = spider.parent / "spider_syn" / "train_spider_flat.json"
    reworded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [
        (old["question"], new["question"])
        for old, new in zip(original, reworded, strict=False)
        if old["db_id"] == new["db_id"]
    ]


def dictionary(
    names: Iterable[str], rewordings: Iterable[tuple[str, str]], folder: Path = wordnet.FOLDER
) -> dict[str, list[str]]:
    """{name or word of a name: synonyms}, mined ones first, then WordNet's."""
    known = {" ".join(lemma(w) for w in name.split()) for name in names if len(name) > 2}
    words = {word for name in known for word in name.split() if word.isalpha() and len(word) > 2}
    found = mined(rewordings, frozenset(known | words))
    more = wordnet.synonyms(words | known, folder) if folder.exists() else {}
    for name, others in BY_HAND.items():
        own = found.setdefault(name, [])
        own += [other for other in others if other not in own]
    for name, others in more.items():
        own = found.setdefault(name, [])
        fresh = [other for other in others if other not in own and _likely(other)]
        own += fresh[: 2 if own else 4]
    return {name: others[:_MOST] for name, others in sorted(found.items()) if others}


def _likely(word: str) -> bool:
    return word not in _UNLIKELY and len(word) > 2 and len(word.split()) <= 2
