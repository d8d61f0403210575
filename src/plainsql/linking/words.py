"""Words of a question: tokens with character offsets, lemmas, comparison keys.

No dictionary is shipped: the lemmatiser undoes English plurals by rule with a
list of exceptions, and leaves verbs alone (`stem` strips more, for partial
matches only). Both sides of every comparison go through the same function, so
a wrong lemma costs nothing as long as it is wrong on both sides.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from plainsql.linking.vocabulary import listed
from plainsql.records import Question, Word

_TOKEN = re.compile(
    r"""
      https?://\S+[\w/]                                   # web address
    | [\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}     # e-mail address
    | \d{4}-\d{1,2}-\d{1,2}(?![\d-])                      # 2013-05-01
    | \d{1,4}/\d{1,2}/\d{1,4}(?![\d/])                    # 03/01/2013
    | \d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?!\d)            # 10:30:00
    | (?<![\w.)\]])[-\u2212](?=\.?\d)(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d+)?(?!\w)   # -3
    | \d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w,])               # 1,000.5
    | \d+\.\d+[^\W\d_]{1,3}(?!\w)                         # 1.5m
    | \d+(?:\.\d+)+                                       # 3.5, 1.2.3
    | (?<!\w)\.\d+(?!\w)                                  # .5
    | (?:[^\W\d_]\.){2,}(?:[^\W\d_](?!\w))?               # U.S.A.
    | (?<=\w)['\u2019][sS](?!\w)                          # the possessive, a word apart
    | \w+(?:['\u2019](?![sS](?!\w))\w+)*                     # words, O'Brien, student_id
    | \S
    """,
    re.VERBOSE,
)
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d{3})")
_KEEP_S = ("ss", "us", "is", "'s")

_IRREGULAR = {
    "people": "person", "persons": "person", "men": "man", "women": "woman",
    "children": "child", "mice": "mouse", "feet": "foot", "teeth": "tooth", "geese": "goose",
    "oxen": "ox", "lice": "louse", "dice": "die", "indices": "index", "matrices": "matrix",
    "vertices": "vertex", "appendices": "appendix", "criteria": "criterion",
    "phenomena": "phenomenon", "bacteria": "bacterium", "curricula": "curriculum",
    "alumni": "alumnus", "analyses": "analysis", "theses": "thesis", "crises": "crisis",
    "diagnoses": "diagnosis", "hypotheses": "hypothesis", "bases": "base", "axes": "axis",
    "prognoses": "prognosis", "syntheses": "synthesis", "emphases": "emphasis",
    "wolves": "wolf", "knives": "knife", "lives": "life", "leaves": "leaf", "shelves": "shelf",
    "halves": "half", "wives": "wife", "thieves": "thief", "loaves": "loaf", "calves": "calf",
    "selves": "self", "scarves": "scarf", "hooves": "hoof", "elves": "elf",
    "movies": "movie", "cookies": "cookie", "zombies": "zombie", "ties": "tie", "pies": "pie",
    "lies": "lie", "dies": "die", "rookies": "rookie", "calories": "calorie",
    "selfies": "selfie", "hoodies": "hoodie", "smoothies": "smoothie", "species": "species",
    "goalies": "goalie", "prairies": "prairie", "brownies": "brownie", "genies": "genie",
    "sorties": "sortie", "pixies": "pixie", "hippies": "hippie", "birdies": "birdie",
    "magpies": "magpie", "neckties": "necktie", "lingeries": "lingerie", "foodies": "foodie",
    "techies": "techie", "indies": "indie", "groupies": "groupie", "cuties": "cutie",
    "newbies": "newbie", "menageries": "menagerie", "talkies": "talkie", "eyries": "eyrie",
    "series": "series", "quizzes": "quiz", "caches": "cache", "niches": "niche", "aches": "ache",
    "headaches": "headache", "moustaches": "moustache", "avalanches": "avalanche",
    "gases": "gas", "aliases": "alias", "atlases": "atlas", "biases": "bias",
    "canvases": "canvas", "buses": "bus", "lenses": "lens", "irises": "iris",
    "shoes": "shoe", "toes": "toe", "foes": "foe", "canoes": "canoe", "oboes": "oboe",
    "uses": "use", "fuses": "fuse", "muses": "muse", "excuses": "excuse", "abuses": "abuse",
    "refuses": "refuse", "recluses": "recluse", "ids": "id", "passersby": "passerby",
    "mothers-in-law": "mother-in-law",
}  # fmt: skip
_UNCHANGED = frozenset(
    listed("""always as gas has was his its does this us yes thus plus minus less news physics
    mathematics economics statistics politics athletics gymnastics electronics logistics
    lens bus alias atlas bias canvas christmas diabetes rabies mars venus texas kansas
    arkansas dallas las los perhaps whereas besides sometimes afterwards towards means
    gps dvds cds sms os ios aws""")
)


def tokenize_question(text: str) -> Question:
    """Split `text` into words, numbers, quotes and punctuation, with offsets.

    Numbers stay whole with sign, thousands separators and decimals ("1,000.5",
    "-3"), so do ISO and slashed dates, times, e-mail and web addresses;
    "10%" gives "10" and "%", "city's" gives "city" and "'s".
    """
    matches = _TOKEN.finditer(text)
    return Question(
        text, tuple(Word(m[0], lemma(m[0].lower()), m.start(), m.end()) for m in matches)
    )


@lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """The lower-case dictionary form of a noun: "cities" -> "city".

    Other words come back in lower case, verbs with their endings.
    """
    word = word.lower().replace("\u2019", "'")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(_KEEP_S) or word in _UNCHANGED:
        return word
    return _singular(word)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y" if len(word) > 4 else word[:-1]
    if word.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return word[:-2]
    if word.endswith("uses") and not word.endswith(("ouses", "auses")):
        return word[:-2]  # statuses, bonuses; but houses, causes lose one letter
    if any(character.isdigit() for character in word):
        return word
    return word[:-1]


_SUFFIXES = sorted(
    listed("""ations ation ments ment ings ing ions ion ers er ors or ees ee ed es e ly al ance
    ence ity ful ure ated ates ate ating"""),
    key=len,
    reverse=True,
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A light stem for partial matches: "enrolled", "enrollment" -> "enrol".

    Never shorter than four letters; doubled last consonants are made single.
    """
    word = lemma(word)
    for suffix in _SUFFIXES:
        shortest = 5 if suffix in ("ion", "ions") else 4  # a station is no state
        if word.endswith(suffix) and len(word) - len(suffix) >= shortest:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiou" else word


def is_word(token: str) -> bool:
    """Whether a token has a letter or a digit, that is, is not punctuation."""
    return token.isalnum() or any(character.isalnum() for character in token)


def fold(text: str) -> str:
    """`text` in lower case without accents, quotes made straight."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def token_key(token: str) -> str:
    """The form in which a token of a cell or a question is compared."""
    folded = fold(token)
    if folded.isalpha():
        return lemma(folded)
    if folded[0].isdigit() or folded[0] in "-.":
        return _DIGIT_COMMA.sub("", folded)
    return folded.replace("'", "").replace(".", "") or folded


def text_key(text: str) -> str:
    """The comparison key of a cell: its words' keys with blanks between them.

    Punctuation is dropped ("St. Louis" equals "St Louis"), unless there is
    nothing else ("+").
    """
    key = " ".join(token_key(token) for token in _TOKEN.findall(text) if is_word(token))
    return key or text.strip()
