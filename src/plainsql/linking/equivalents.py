"""Cells that mean the same as a word of the question, but are written otherwise.

A small closed list: sexes, the states of the USA, countries and their people.
`equivalents(key)` gives the other spellings; whether the database has them is
for the look-up to find out.
"""

from __future__ import annotations

from functools import lru_cache

from plainsql.linking.words import text_key

PAIRED_CODES = {"f": "m", "m": "f", "w": "m"}
"""A one-letter code for a sex counts only where the column has the other too."""

_GROUPS = """
female women woman girl lady lady's > female, f, woman, girl, w
male men man boy gentleman > male, m, man, boy
alabama al|alaska ak|arizona az|arkansas ar|california ca calif|colorado co|connecticut ct
delaware de|florida fl|georgia ga|hawaii hi|idaho id|illinois il|indiana in|iowa ia|kansas ks
kentucky ky|louisiana la|maine me|maryland md|massachusetts ma|michigan mi|minnesota mn
mississippi ms|missouri mo|montana mt|nebraska ne|nevada nv|new_hampshire nh|new_jersey nj
new_mexico nm|new_york ny|north_carolina nc|north_dakota nd|ohio oh|oklahoma ok|oregon or
pennsylvania pa|rhode_island ri|south_carolina sc|south_dakota sd|tennessee tn|texas tx|utah ut
vermont vt|virginia va|washington wa|west_virginia wv|wisconsin wi|wyoming wy
los_angeles la|new_york_city nyc new_york|san_francisco sf|district_of_columbia dc washington_dc
united_states usa us united_states_of_america america american|soviet_union ussr soviet
united_kingdom uk great_britain britain british gbr|england english|scotland scottish
wales welsh|ireland irish|france french|germany german|spain spanish|portugal portuguese
italy italian|greece greek|netherlands dutch holland the_netherlands|belgium belgian
switzerland swiss|austria austrian|sweden swedish|norway norwegian|denmark danish
finland finnish|iceland icelandic|poland polish|hungary hungarian|romania romanian
bulgaria bulgarian|russia russian russian_federation|ukraine ukrainian|turkey turkish
czech_republic czech czechia|slovakia slovak|croatia croatian|serbia serbian|slovenia slovenian
canada canadian|mexico mexican|brazil brazilian|argentina argentine argentinian argentinean
chile chilean|colombia colombian|peru peruvian|venezuela venezuelan|cuba cuban
australia australian|new_zealand nz|japan japanese|china chinese|india indian
south_korea korean korea republic_of_korea|north_korea dprk|thailand thai|vietnam vietnamese
indonesia indonesian|malaysia malaysian|philippines filipino philippine|singapore singaporean
pakistan pakistani|bangladesh bangladeshi|iran iranian|iraq iraqi|israel israeli
saudi_arabia saudi|egypt egyptian|morocco moroccan|nigeria nigerian|kenya kenyan
ethiopia ethiopian|south_africa south_african|ghana ghanaian|algeria algerian
united_arab_emirates uae emirati|monday mon|tuesday tue tues|wednesday wed|thursday thu thurs
friday fri|saturday sat|sunday sun|january jan|february feb|march mar|april apr|june jun
july jul|august aug|september sep sept|october oct|november nov|december dec
"""


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[str, ...]]:
    table: dict[str, list[str]] = {}
    for group in _GROUPS.strip().replace("\n", "|").split("|"):
        if ">" in group:
            left, right = group.split(">")
            words, cells = left.split(), right.split(",")
        else:
            words = cells = [word.replace("_", " ") for word in group.split()]
        for word in words:
            key = text_key(word)
            others = [text_key(cell) for cell in cells if text_key(cell) != key]
            table[key] = list(dict.fromkeys(table.get(key, []) + others))
    return {key: tuple(others) for key, others in table.items()}


def equivalents(key: str) -> tuple[str, ...]:
    """Keys of other spellings of the text with comparison key `key`."""
    return _table().get(key, ())


YES = frozenset({"yes", "y", "true", "t"})
NO = frozenset({"no", "n", "false", "f"})
