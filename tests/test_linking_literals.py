from __future__ import annotations

import pytest

from plainsql.linking.literals import find_literals
from plainsql.linking.spans import unknown_runs
from plainsql.linking.words import tokenize_question
from plainsql.records import Value

NUMBERS: list[tuple[str, list[Value]]] = [
    ("older than 56", [56]),
    ("over 1,000.5 or -3", [1000.5, -3]),
    ("5k or 2 million or 1.5m", [5000, 2000000, 1500000]),
    ("3 thousand", [3000]),
    ("at least 10%", [10, 0.1]),
    ("at least 10 percent", [10, 0.1]),
    ("180cm tall", [180]),
    ("the 3rd of them", [3]),
    ("in the 1990s", [1990]),
    ("twenty-one of them", [21]),
    ("two hundred and five", [205]),
    ("five thousand two hundred", [5200]),
    ("a dozen of them", [12]),
    ("two hundred thousand", [200000]),
    ("one or two and three", [1, 2, 3]),
    ("at least twice", [2]),
    ("the third one", [3, 1]),
    ("which one is it", []),
    ("in 2013", [2013]),
    ("9" * 60, []),
    ("between 5-10", [5, 10]),
]


@pytest.mark.parametrize(("text", "values"), NUMBERS)
def test_numbers(text: str, values: list[Value]) -> None:
    assert [v.value for v in find_literals(tokenize_question(text)) if v.kind == "number"] == values


DATES = [
    ("on 2013-05-01", ["2013-05-01"]),
    ("on 2013/5/1", ["2013-05-01"]),
    ("on 1 March 2013", ["2013-03-01"]),
    ("on March 1st, 2013", ["2013-03-01"]),
    ("on the 1st of March 2013", ["2013-03-01"]),
    ("on Mar. 1, 2013", ["2013-03-01"]),
    ("in March 2013", ["2013-03"]),
    ("on 03/01/2013", ["2013-01-03", "2013-03-01"]),
    ("on 25/12/2013", ["2013-12-25"]),
    ("on 2013-02-30", []),
    ("after 2005-08-23 02:06:01", ["2005-08-23 02:06:01"]),
    ("they may go", []),
]


@pytest.mark.parametrize(("text", "values"), DATES)
def test_dates(text: str, values: list[str]) -> None:
    found = find_literals(tokenize_question(text))
    assert [v.value for v in found if v.kind == "date"] == values
    if values and len(values[0]) > len("2013-03"):
        assert not [v for v in found if v.kind != "date"]


QUOTED = [
    ('named "Joe Sharp"', ["Joe Sharp"]),
    ("named “Joe Sharp”", ["Joe Sharp"]),
    ("named ‘Joe Sharp’", ["Joe Sharp"]),
    ("named 'Joe Sharp'", ["Joe Sharp"]),
    ("named `Joe Sharp`", ["Joe Sharp"]),
    ("named « Joe Sharp »", ["Joe Sharp"]),
    ("named 'O'Brien' or 'the rest'", ["O'Brien", "the rest"]),
    ("the students' and teachers' names", []),
    ("it's the city's", []),
    ('" New York "', ["New York"]),
    ('with "+"', ["+"]),
    ('""', []),
    ("contain the word you in them", ["you"]),
    ("have the letters D or S in it", ["D", "S"]),
    ("that starts with S", ["S"]),
    ("starting with the letter m", ["m"]),
]


@pytest.mark.parametrize(("text", "values"), QUOTED)
def test_quoted(text: str, values: list[str]) -> None:
    found = find_literals(tokenize_question(text))
    assert [v.value for v in found if v.kind == "quoted"] == values


CAPITALISED = [
    ("Which cities are in New York?", ["New York"]),
    ("Who lives in Paris or Rome?", ["Paris", "Rome"]),
    ("Peter Mertens wrote what", ["Peter Mertens"]),
    ("at the University of California", ["University of California"]),
    ("What papers has Noah A. Smith", ["Noah A. Smith"]),
    ("papers by Daniel A Reed", ["Daniel A Reed"]),
    ("flights by UAL", ["UAL"]),
    ("the course CIS-220", ["CIS-220"]),
    ("Show the names. Order them by age.", []),
    ("How many Students", ["Students"]),
    ('the film "Sense and Sensibility"', []),
]


@pytest.mark.parametrize(("text", "values"), CAPITALISED)
def test_capitalised(text: str, values: list[str]) -> None:
    found = find_literals(tokenize_question(text))
    assert [v.value for v in found if v.kind == "capitalised"] == values


def test_spans_are_those_of_the_words() -> None:
    question = tokenize_question('born in "New York" on March 1st, 2013')
    spans = {v.value: (v.start, v.end) for v in find_literals(question)}
    assert spans["New York"] == (3, 5)
    assert spans["2013-03-01"] == (7, 11)


def test_unknown_runs_are_words_that_mean_nothing_else() -> None:
    question = tokenize_question("how many papers are about syntactic parsing")
    runs = unknown_runs(question, frozenset({2}))
    assert [(r.value, r.start, r.end) for r in runs] == [("syntactic parsing", 5, 7)]


@pytest.mark.parametrize("text", [" 'a" * 3000, "“x " * 3000, "a." * 3000, "New York " * 2000])
def test_long_questions_take_linear_time(text: str) -> None:
    find_literals(tokenize_question(text))
