"""What counts as a question: cleaned of what can't be read, or refused.

Refused are the empty, the over-long, SQL itself and other languages. Emoji and control
characters carry nothing a database holds, and are dropped.
"""

from __future__ import annotations

import re
import unicodedata

from plainsql.errors import QuestionError
from plainsql.schema.model import Schema

# A long question is a page of 2,000 characters; Spider's longest has 230.
MAX_CHARACTERS = 2000

# Categories of characters that are dropped: control, format, surrogate, private
# use, unassigned, and symbols that are pictures (Latin-1's © and ° are kept).
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_PICTURES = frozenset({"So", "Sk"})
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)

# Words that open a question in the languages most often tried, and no English one.
_FOREIGN_OPENINGS = frozenset(
    """wie wieviel wieviele welche welcher welches welchen wer zeige zeig nenne gib liste
    combien quel quelle quels quelles qui quoi où montre montrez donnez lister affiche
    cuánto cuánta cuántos cuántas cuantos cuantas cuál cuáles cual cuales qué quién quiénes quien
    muestra muéstrame enumera dónde cuándo
    quanti quante quanto quale quali mostra elenca dammi
    quantos quantas quais qual quem mostre liste
    hoeveel welke toon geef ile jaki jakie jaka które kto pokaż kaç hangi göster""".split()
)

# Statements that no English sentence looks like.
_STATEMENT = re.compile(
    r"""(insert\s+(or\s+\w+\s+)?into | replace\s+into | delete\s+from | update\s+\S+\s+set
       | (create|drop|alter)\s+(temp\s+|unique\s+|virtual\s+)?(table|view|index|trigger|database)
       | with\s+(recursive\s+)?\S+\s*(\([^)]*\))?\s+as\s*(not\s+)?(materialized\s*)?\(
       | pragma\s+\w+\s*(=|\(|;|$) | attach\s+(database\s+)?['"] | truncate\s+table
       | explain\s+(query\s+plan\s+)?(select|with)\b | vacuum\s*;?$)""",
    re.IGNORECASE | re.VERBOSE,
)
_SELECT = re.compile(r"\(?\s*select\b(?P<items>.*?)(\bfrom\s+(?P<table>\S+).*)?$", re.I | re.S)
_SYMBOLS = re.compile(r"\*|[;(=<>|`\[]|\w\.\w|\bcount\b\s*\(", re.I)
_ENGLISH = re.compile(r"\b(the|a|an|all|each|every|of|with|whose|who|that|which|me|their)\b", re.I)


def clean_question(text: str) -> str:
    """`text` on one line, without emoji and control characters.

    Raises `QuestionError` when nothing is left or more than `MAX_CHARACTERS` are.
    """
    readable = "".join(map(_readable, unicodedata.normalize("NFC", text)))
    question = " ".join(readable.split())
    if not any(character.isalnum() for character in question):
        raise QuestionError("The question is empty.", hint='Example: "How many orders are there?"')
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(
            f"The question has {len(question):,} characters; {MAX_CHARACTERS:,} is the most.",
            hint="Ask for one thing at a time, in a sentence or two.",
        )
    return question


def refuse_foreign(question: str) -> None:
    """Raises `QuestionError` when `question` is in another language than English.

    Told by its script, or by its first word; others pass as a word of no meaning.
    """
    if _is_foreign(question):
        raise QuestionError("The question is not in English.", hint="Only English is understood.")


def _is_foreign(question: str) -> bool:
    letters = [character for character in question if character.isalpha()]
    if letters and not any("LATIN" in unicodedata.name(letter, "") for letter in letters):
        return True
    opening = re.search(r"\w+", question)
    return question.startswith("¿") or bool(opening and opening[0].lower() in _FOREIGN_OPENINGS)


def _readable(character: str) -> str:
    """`character`, a blank in the place of white space, or nothing."""
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    picture = category in _PICTURES and ord(character) > 0xFF
    selector = ord(character) in _VARIATION_SELECTORS
    return "" if category in _DROPPED or picture or selector else character


def refuse_sql(question: str, schema: Schema) -> None:
    """Raises `QuestionError` when `question` is an SQL statement."""
    if looks_like_sql(question, schema):
        raise QuestionError(
            "This is SQL, not a question.",
            hint=f"To have it judged: plainsql check {_shell_quoted(question)}",
        )


def looks_like_sql(question: str, schema: Schema) -> bool:
    """Whether `question` is SQL rather than English that starts like it.

    "Select the names of all singers from France" is English: it has function
    words before FROM and no symbols, and France is no table.
    """
    if _STATEMENT.match(question):
        return True
    match = _SELECT.match(question)
    if match is None:
        return False
    items, table = match["items"], match["table"]
    if table is None:
        return bool(re.fullmatch(r"[\s\d.,+\-*/()';]+", items)) or bool(re.match(r"\s*\*", items))
    if _SYMBOLS.search(items) or (_SYMBOLS.search(question) and not _ENGLISH.search(items)):
        return True
    return _names_table(table, schema) and not _ENGLISH.search(items)


def _names_table(word: str, schema: Schema) -> bool:
    name = word.strip("\"'`[](),;").lower()
    return any(table.name.lower() == name for table in schema.tables)


def _shell_quoted(text: str) -> str:
    """`text` in quotes for a shell, cut where it would be too long for a hint."""
    shown = text if len(text) <= 80 else text[:79] + "…"
    return "'" + shown.replace("'", "'\\''") + "'"
