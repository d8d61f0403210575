"""Taking secrets out of texts before anybody reads them.

Two ways, because neither is enough: by form (URLs with a password, password=…,
keys, bearer tokens), and by value (every password that `parse_target` has seen
in this process, or that the environment holds, wherever it stands in a text).
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 4  # characters of a secret that is looked for by value; "a" is in every text

# Variables that drivers read passwords from.
_ENVIRONMENT = ("PGPASSWORD", "MYSQL_PWD", "PLAINSQL_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")
_seen: set[str] = set()

# Repetitions are bounded: texts are long, and nothing here may take time that grows
# with the square of their length.
_LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://[^:/\s]{0,200}:")
_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?"
    r"|(?:api|access|private|account)[_-]?key)\w{0,20}"
)
_VALUE = r"""(?:"(?:\\.|""|[^"\\])*"|'(?:\\.|''|[^'\\])*'|\{[^}\n]*\}|(?:\\.|\S)+)"""
_PAIR = re.compile(rf"(?i)({_NAMES}[\"']?\s{{0,9}}[=:]\s{{0,9}}){_VALUE}")
_KEYS = re.compile(r"\b(?:sk|pk|hf|ghp|gho|glpat|xox[a-z])[-_][\w-]{8,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{4,}")


def remember_secret(secret: str) -> None:
    """Hide `secret` from now on in whatever `redact` is given, wherever it stands."""
    if len(secret) >= SHORTEST:
        _seen.add(secret)


def redact(text: str) -> str:
    """`text` without passwords, keys and tokens. Hides rather too much than too little."""
    for secret in _known():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    text = "\n".join(map(_without_login, text.split("\n")))
    text = _PAIR.sub(rf"\1{HIDDEN}", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    return _KEYS.sub(HIDDEN, text)


def _without_login(line: str) -> str:
    """`line` with *** from the first URL's user to its last @.

    A password may hold any character unescaped: too much is hidden, never too little.
    """
    end = line.rfind("@")
    login = _LOGIN.search(line, 0, end) if end >= 0 else None
    return line[: login.end()] + HIDDEN + line[end:] if login else line


def _known() -> list[str]:
    """Secrets known by value in all spellings, longest first: one may hold another."""
    given = (os.environ.get(name, "") for name in _ENVIRONMENT)
    secrets = _seen | {value for value in given if len(value) >= SHORTEST}
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    return sorted(spellings, key=lambda spelling: (-len(spelling), spelling))


def _spellings(secret: str) -> set[str]:
    """As it is, percent-encoded in the usual ways, and inside a Python or JSON string."""
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="/:")}
    lower = {re.sub("%[0-9A-F]{2}", lambda hit: hit[0].lower(), text) for text in encoded}
    escaped = {repr(secret)[1:-1], secret.replace("\\", "\\\\"), ascii(secret)[1:-1]}
    return {secret} | encoded | lower | escaped
