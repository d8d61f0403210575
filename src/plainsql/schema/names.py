"""Names in words: "StuID" -> "student id", "tbl_orders" -> "orders".

People ask about "the student id", databases say `stuid`. An identifier is cut
at underscores, other punctuation and changes of case; what still runs together
is cut where all its parts are known words; known abbreviations are spelled out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from plainsql.schema.model import Column, Schema, Table


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ABBREVIATIONS = {
    "abbr": "abbreviation",
    "acc": "account",
    "acct": "account",
    "addr": "address",
    "admin": "administrator",
    "amt": "amount",
    "apmt": "appointment",
    "appt": "appointment",
    "apt": "apartment",
    "arr": "arrival",
    "assoc": "association",
    "attr": "attribute",
    "auth": "author",
    "avg": "average",
    "bal": "balance",
    "bday": "birthday",
    "bdate": "birth date",
    "bldg": "building",
    "cat": "category",
    "catg": "category",
    "char": "characteristic",
    "cnt": "count",
    "co": "company",
    "coord": "coordinate",
    "crs": "course",
    "ctry": "country",
    "curr": "currency",
    "cust": "customer",
    "dep": "department",
    "dept": "department",
    "dest": "destination",
    "descr": "description",
    "desc": "description",
    "dist": "district",
    "dname": "department name",
    "dno": "department number",
    "dob": "date of birth",
    "doc": "document",
    "dst": "destination",
    "dt": "date",
    "dttm": "date time",
    "emp": "employee",
    "eng": "english",
    "enr": "enrollment",
    "env": "environment",
    "fac": "faculty",
    "flno": "flight number",
    "fname": "first name",
    "freq": "frequency",
    "fy": "fiscal year",
    "gov": "government",
    "govt": "government",
    "grp": "group",
    "hr": "hour",
    "hrs": "hours",
    "img": "image",
    "ins": "insurance",
    "inst": "institution",
    "intl": "international",
    "inv": "invoice",
    "lang": "language",
    "lat": "latitude",
    "lname": "last name",
    "lng": "longitude",
    "loc": "location",
    "lon": "longitude",
    "mfr": "manufacturer",
    "mgr": "manager",
    "mname": "middle name",
    "mngr": "manager",
    "msg": "message",
    "mth": "month",
    "nbr": "number",
    "nm": "name",
    "num": "number",
    "obj": "object",
    "org": "organization",
    "orig": "original",
    "pct": "percent",
    "perc": "percent",
    "pop": "population",
    "pos": "position",
    "pref": "preference",
    "prereq": "prerequisite",
    "prev": "previous",
    "prod": "product",
    "prof": "professor",
    "proj": "project",
    "pts": "points",
    "pwd": "password",
    "qty": "quantity",
    "qtr": "quarter",
    "rec": "record",
    "ref": "reference",
    "reg": "region",
    "rel": "relation",
    "rep": "representative",
    "res": "restaurant",
    "resp": "response",
    "sal": "salary",
    "sch": "school",
    "seq": "sequence",
    "sk": "key",
    "src": "source",
    "stats": "statistics",
    "std": "standard",
    "stu": "student",
    "subj": "subject",
    "svc": "service",
    "tel": "telephone",
    "tot": "total",
    "trans": "transaction",
    "txn": "transaction",
    "univ": "university",
    "usr": "user",
    "val": "value",
    "veh": "vehicle",
    "wt": "weight",
    "yn": "yes or no",
    "yr": "year",
    "yrs": "years",
    "zip": "zip",
}
# Ambiguous as whole words in longer names, so spelled out only within a
# run-together name or in the places given in `_expand`.
_UNSAFE_ALONE = _words("arr cat char co dep dist env ins rec reg rel res resp sk trans")

COMMON_WORDS = _words(
    """
    account active actor address age airline airport album amount area artist author average
    balance bank bed begin birth birthday block board body book branch brand budget building bus
    business capacity car card category channel city claim class client club code color colour
    company contact copy cost count country county course create created credit customer data date
    day degree delivery department description detail device district document email employee end
    event faculty family file film finish first flag flight full game gender genre grade group head
    height high home host hotel hour house id image index invoice item job journal key keyword
    kind language last law length letter level line list loan local location log long low mail
    main manager market match member message middle minute model money month movie music name
    nation new news next nickname note number office old open order owner page paper parent park
    part party pay payment people percent person phone photo place plan play player point
    policy position post price product professor profile program project publication quantity
    question rank rate rating reason record region result review role room route salary sale sales
    school score season seat second section semester series service ship shop side size song sport
    stadium staff start state station status stock stop store street student subject supplier table
    task tax teacher team text ticket time title to total town track trade train transaction trip
    type unit update updated user value vehicle version video view visit voter wage ward week weight
    winner word work year zip
    """
)
# English words that would fall apart into known parts.
_WHOLE_WORDS = _words(
    """
    android asteroid avoid bid covid fluid grid hybrid invalid kid liquid maid mid paid raid
    rapid said solid squid valid void casino piano volcano inferno domino wifi online email
    username nickname payroll today towards together tomato tonight stock reservation
    timestamp feedback household newspaper website bedroom classroom datetime filename homepage
    hometown playlist postcode postseason workshop workplace weekday weekend
    """
)
_PREFIXES = frozenset(("tbl", "tb", "t", "dim", "fact", "vw", "fk", "pk"))
_GENERIC = frozenset(("id", "name", "code", "key", "type", "date", "number", "no", "num"))
_SUFFIXES = frozenset(("age", "ship", "ward"))  # "percentage", "membership"
_SHORT_ENDINGS = frozenset(("id", "no", "yn"))  # two-letter words that end run-together names

_SHORT_KEY = re.compile(r"([A-Za-z]{1,5})_?(id|name|no|num|code|type|phone)", re.IGNORECASE)
# On the shape of a name: A for capitals, s for itself, a for other letters, 0 for digits.
_CAMEL = re.compile(r"A{2,}s(?![as])|A+(?=A[as])|A?[as]+|A+|0\w*")
_NUMBERED = re.compile(r"([^\W\d_]{3,})(\d+)")


def natural_name(identifier: str, known: Collection[str] = ()) -> str:
    """An identifier as lower-case words separated by single spaces.

    `known` holds further words (see `vocabulary`) at which run-together names
    may be cut. Digits are kept. Never empty: a name without any letter or digit
    comes back as it is, and an empty one as "unnamed".
    """
    return _natural_name(identifier, frozenset(known))


@lru_cache(maxsize=65536)  # large schemas repeat their columns' names
def _natural_name(identifier: str, known: frozenset[str]) -> str:
    whole = identifier.lower()
    if whole in ABBREVIATIONS and whole not in _UNSAFE_ALONE:
        return ABBREVIATIONS[whole]
    words = [part for token in split_identifier(identifier) for part in _cut(token, known)]
    words = _without_prefix(words)
    text = " ".join(_expand(words, at) for at in range(len(words)))
    return text or whole.strip() or "unnamed"


def column_name(identifier: str, table: str, known: Collection[str] = ()) -> str:
    """`natural_name` of a column of the table with natural name `table`.

    What stands before "id" or "name" may be short for the table: `pid` of
    "people" -> "person id", `actid` of "activity" -> "activity id".
    """
    short = _SHORT_KEY.fullmatch(identifier)
    if not short or identifier.lower() in ABBREVIATIONS:
        return natural_name(identifier, known)
    start, ending = short[1].lower(), natural_name(short[2])
    words = table.split()
    if len(start) == 1 and (len(words) > 1 or not table.startswith(start)):
        return natural_name(identifier, known)
    named = [word for word in words if _shortens(start, word)]
    if not named or start in COMMON_WORDS or start in known:
        return natural_name(identifier, known)
    return f"{singular(named[-1])} {ending}"


def _shortens(short: str, word: str) -> bool:
    """True for an initial or for letters in the word's order: "ap" for "airport"."""
    letters = iter(word)
    return word[0] == short[0] and short != word and all(letter in letters for letter in short)


def vocabulary(identifiers: Iterable[str]) -> frozenset[str]:
    """The words that stand on their own in some identifier, with their singulars."""
    words = {word for identifier in identifiers for word in split_identifier(identifier)}
    words = {word for word in words if len(word) >= 3 and word.isalpha()}
    return frozenset(words | {singular(word) for word in words})


@lru_cache(maxsize=65536)
def split_identifier(identifier: str) -> tuple[str, ...]:
    """Lower-case words by punctuation, case and trailing digits: no look-up."""
    words: list[str] = []
    for chunk in re.findall(r"[^\W_]+", identifier):
        for word in _split_case(chunk):
            numbered = _NUMBERED.fullmatch(word)
            words += numbered.groups() if numbered else (word,)
    return tuple(words)


def _split_case(chunk: str) -> list[str]:
    # "MiB", "PhD", "WiFi" are words; "mID", "stID" are not.
    short = len(chunk) <= 4 and not re.search(r"I[Dd]$", chunk)
    if short and re.fullmatch(r"[A-Z][a-z][A-Z][a-z]?", chunk):
        return [chunk.lower()]
    if chunk.isupper() or chunk.islower():
        return [chunk.lower()]
    return [chunk[m.start() : m.end()].lower() for m in _CAMEL.finditer(_shape(chunk))]


def _shape(chunk: str) -> str:
    return "".join(
        "s" if c == "s" else "A" if c.isupper() else "0" if c.isdigit() else "a" for c in chunk
    )


def _cut(word: str, known: Collection[str]) -> tuple[str, ...]:
    """Cut a run-together word into the fewest known parts; whole if there are none."""
    if len(word) < 4 or not word.isalpha() or word in ABBREVIATIONS or word in _WHOLE_WORDS:
        return (word,)
    if word in COMMON_WORDS or singular(word) in COMMON_WORDS:
        return (word,)
    best: list[tuple[str, ...] | None] = [(), *[None] * len(word)]
    for end in range(1, len(word) + 1):
        for start in range(end):
            head, part = best[start], word[start:end]
            if head is None or not _is_part(part, start, end == len(word), known):
                continue
            current = best[end]
            if current is None or len(head) + 1 < len(current):
                best[end] = (*head, part)
    parts = best[-1]
    return parts if parts else (word,)


def _is_part(part: str, start: int, last: bool, known: Collection[str]) -> bool:
    if (start == 0 and last) or (last and part in _SUFFIXES):
        return False
    if len(part) < 3:
        return last and part in _SHORT_ENDINGS
    if len(part) == 3 and part in known and part not in ABBREVIATIONS and part not in COMMON_WORDS:
        return False  # three-letter words of the schema cut too much apart
    return part in known or part in COMMON_WORDS or part in ABBREVIATIONS


def _without_prefix(words: list[str]) -> list[str]:
    """Drop what marks a kind of table ("tbl", "dim"), not a meaning."""
    rest = words[1:]
    if words and words[0] in _PREFIXES and rest and (len(rest) > 1 or rest[0] not in _GENERIC):
        return rest
    return words


def _expand(words: list[str], at: int) -> str:
    """The word at a position, spelled out if it is an abbreviation there."""
    word = words[at]
    last = at == len(words) - 1
    if word == "no":
        is_number = (last and words[max(at - 1, 0)] != "yes") or words[at + 1 : at + 2] == ["of"]
        return "number" if is_number else word
    if word == "long" and len(words) == 1:
        return "longitude"
    if word in _UNSAFE_ALONE and not (at == 0 and words[1:] and words[1] in _GENERIC):
        return word
    return ABBREVIATIONS.get(word, word)


_IRREGULAR = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "feet": "foot",
    "mice": "mouse",
    "indices": "index",
    "matrices": "matrix",
    "criteria": "criterion",
    "movies": "movie",
    "series": "series",
    "species": "species",
    "news": "news",
    "status": "status",
    "bus": "bus",
    "gas": "gas",
    "campus": "campus",
    "address": "address",
    "leaves": "leaf",
    "wives": "wife",
    "cookies": "cookie",
    "caches": "cache",
}


def singular(word: str) -> str:
    """The singular of an English noun by its ending: "cities" -> "city"."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    if word.endswith("uses") and not word.endswith(("ouses", "auses", "fuses")):
        return word[:-2]  # "campuses", but "houses", "causes"
    return word[:-1]


def singular_phrase(phrase: str) -> str:
    """The phrase with its last word in the singular: "sales orders" -> "sales order"."""
    head, space, last = phrase.rpartition(" ")
    return head + space + singular(last)


def with_natural_names(schema: Schema) -> Schema:
    """The schema with every `natural` name made anew from the identifiers.

    A namespace is part of it only where it tells two tables of one name apart.
    """
    bare = Counter(table.bare_name.lower() for table in schema.tables)
    identifiers = [n for t in schema.tables for n in (t.bare_name, *(c.name for c in t.columns))]
    known = vocabulary(identifiers)
    tables = (_named_table(t, known, bare[t.bare_name.lower()] > 1) for t in schema.tables)
    return replace(schema, tables=tuple(tables))


def _named_table(table: Table, known: Collection[str], with_namespace: bool) -> Table:
    natural = natural_name(table.bare_name, known)
    if with_namespace and table.namespace:
        natural = f"{natural_name(table.namespace, known)} {natural}"
    columns = tuple(_renamed(c, column_name(c.name, natural, known)) for c in table.columns)
    return replace(table, natural=natural, columns=columns)


def _renamed(column: Column, natural: str) -> Column:
    """`column` with another name in words: itself where it has that name."""
    return column if column.natural == natural else replace(column, natural=natural)


def with_names_of_keys(schema: Schema) -> Schema:
    """Give key columns the natural name of the column of the same name they refer to.

    `writes.aid` refers to `author.aid`, which is the "author id": so is the former.
    """
    taken: dict[int, str] = {}
    for key in schema.foreign_keys:
        for name, target in zip(key.columns, key.ref_columns, strict=False):
            if name.lower() == target.lower():
                of_target = schema.columns[schema.column_index(key.ref_table, target)].natural
                taken[schema.column_index(key.table, name)] = of_target
    changed = {schema.table_of[column] for column in taken}
    tables = list(schema.tables)
    for at in changed:
        columns = (_renamed(c, taken.get(i, c.natural)) for i, c in _numbered(schema, at))
        tables[at] = replace(tables[at], columns=tuple(columns))
    return replace(schema, tables=tuple(tables))


def _numbered(schema: Schema, table: int) -> Iterator[tuple[int, Column]]:
    """The columns of a table with their indexes."""
    return ((at, schema.columns[at]) for at in schema.columns_of(table))
