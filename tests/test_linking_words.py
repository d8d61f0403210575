from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainsql.linking.words import lemma, stem, text_key, tokenize_question

TOKENS = [
    ("How many singers?", "How|many|singers|?"),
    ("over 1,000.5 or -3", "over|1,000.5|or|-3"),
    ("5-10 and 3.5.", "5|-|10|and|3.5|."),
    ("(-3) and .5", "(|-3|)|and|.5"),
    ("on 2013-05-01 at 10:30", "on|2013-05-01|at|10:30"),
    ("before 03/01/2013", "before|03/01/2013"),
    ("10% of it", "10|%|of|it"),
    ("the city's mayor", "the|city|'s|mayor"),
    ("the city’s mayor", "the|city|’s|mayor"),
    ("O'Brien doesn't", "O'Brien|doesn't"),
    ('named "Joe"', 'named|"|Joe|"'),
    ("named “Joe Sharp”", "named|“|Joe|Sharp|”"),
    ("in the U.S. or U.S.A.", "in|the|U.S.|or|U.S.A."),
    ("student_id of a@b.com", "student_id|of|a@b.com"),
    ("see https://a.org/b?c=1", "see|https://a.org/b?c=1"),
    ("part-time", "part|-|time"),
    ("", ""),
    ("  \n ", ""),
]


@pytest.mark.parametrize(("text", "expected"), TOKENS)
def test_tokens(text: str, expected: str) -> None:
    words = tokenize_question(text).words
    assert "|".join(word.text for word in words) == expected


@given(st.text(max_size=200))
def test_offsets_give_the_text_back(text: str) -> None:
    question = tokenize_question(text)
    assert all(text[word.start : word.end] == word.text for word in question.words)
    spaces = "".join(word.text for word in question.words)
    assert "".join(text.split()) == "".join(spaces.split())


LEMMAS = """
people person|children child|men man|women woman|mice mouse|criteria criterion
cities city|countries country|movies movie|series series|species species|ties tie
buses bus|statuses status|bonuses bonus|houses house|courses course|clauses clause|cases case
classes class|addresses address|matches match|dishes dish|boxes box|quizzes quiz|sizes size
prizes prize|heroes hero|shoes shoe|wolves wolf|knives knife|caves cave|lives life|goalies goalie
students student|dogs dog|bus bus|status status|news news|analysis analysis|process process
is is|was was|his his|Students student|IDs id|running running|named named
""".replace("\n", "|").strip("|")


@pytest.mark.parametrize("pair", LEMMAS.split("|"))
def test_lemma(pair: str) -> None:
    word, expected = pair.split()
    assert lemma(word) == expected


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("enrolled", "enrollment", True),
        ("teaches", "teacher", True),
        ("complete", "Completed", True),
        ("nomination", "nominated", True),
        ("failure", "fail", True),
        ("state", "station", False),
        ("rate", "rating", False),
    ],
)
def test_stem(left: str, right: str, same: bool) -> None:
    assert (stem(left) == stem(right)) is same


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("St. Louis", "st louis"),
        ("São Paulo", "Sao Paulo"),
        ("U.S.A.", "USA"),
        ("CIS-220", "CIS 220"),
        ("Comic Books", "comic book"),
        ("O'Brien", "OBrien"),
        ("1,000", "1000"),
        (" Hiram ,  Georgia ", "Hiram, Georgia"),
    ],
)
def test_equal_keys(left: str, right: str) -> None:
    assert text_key(left) == text_key(right)


def test_key_of_symbols_is_the_text() -> None:
    assert text_key(" + ") == "+"
