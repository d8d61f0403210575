"""The guard's own time: whatever the text, it is judged in 0.2 seconds of one core."""

from __future__ import annotations

import statistics
import time

import pytest

from plainsql.execution.guard import judge
from plainsql.execution.policies import base as caps

DIALECTS = ["sqlite", "duckdb", "postgres", "mysql", "snowflake"]
# A busy or slow machine may take some times as long; without the caps it is minutes.
WORST_SECONDS = 0.6

REPEATED = [
    *("(", ")", "SELECT ", "NOT ", "CASE ", ",", "/* ", "*/", "'", '"', "`", "[", "]", "{", "é"),
    *("\u4e2d ", "1,", "a.", "a.b,", "1+", "a OR ", "a||", "- ", "~", "!", "@", "$$", "$a$", "\\"),
    *("''", "E'", "::int", "INTERVAL ", "DATE ", "DESCRIBE ", "FROM ", "FROM a,", "WITH a AS ("),
    *("LATERAL ", "EXISTS ", "JOIN a ", "a JOIN b ON 1 ", "UNION SELECT 1 ", "x -> ", "ARRAY<"),
    *("a <", "* ", "AS ", "IN ", "IS NOT ", "BETWEEN 1 AND ", "OVER ", "LIMIT 1 ", "1e", "0x", "#"),
    *("-- \n", "/**/", "? ", "f(),", "(1),", "(SELECT 1),", "[1]", "[1],", "a[1]", ".f()", "'a' "),
    *("CASE WHEN 1 THEN 1 END,", "INTERVAL 1 DAY + ", "DATE '2020-01-01' - ", "x.y.z.w.v,"),
]
NESTED = [
    *(("(", ")"), ("abs(", ")"), ("(SELECT ", ")"), ("(SELECT * FROM ", ")"), ("[", "]")),
    *(("CASE WHEN ", " THEN 1 END"), ("{'a': ", "}"), ("CAST(", " AS INT)"), ("ARRAY[", "]")),
    *(("DATE(", ")"), ("decimal(1, ", ")"), ("ROW(", ")"), ("json(", ")"), ("if(1, 2, ", ")")),
    *(("f(x -> ", ")"), ("count(DISTINCT ", ")"), ("x::a[", "]"), ("(a JOIN ", ")")),
    *(("substring(", ", 1)"), ("(1, ", ")"), ("MAP {'a': ", "}"), ("sum(1) OVER (ORDER BY ", ")")),
]


HEADS = ("SELECT ", "SELECT 1 FROM a WHERE ", "SELECT * FROM ")


def _texts(turn: int) -> list[str]:
    """Each piece as often as fits, after a beginning that `turn` chooses; nested ones in pairs."""
    texts = []
    for at, piece in enumerate(REPEATED):
        head = HEADS[(at + turn) % 3]
        times = (caps.MAX_CHARS - len(head) - 2) // len(piece)
        texts += [head + piece * times + " 1", head + piece * (times // 14) + " 1"]
    for at, (opening, closing) in enumerate(NESTED):
        for depth in (12, 31, 900):
            one = opening * depth + "1" + closing * depth
            texts += ["SELECT " + one, "SELECT " + opening * depth]
        texts.append("SELECT " + ",".join([opening * 9 + "1" + closing * 9] * 99))
        for other, end in NESTED[(at + turn) % 5 :: 5]:
            texts.append("SELECT " + (opening + other) * 12 + "1" + (end + closing) * 12)
    return texts


@pytest.mark.parametrize("dialect", DIALECTS)
def test_hostile_texts_are_judged_in_time(dialect: str) -> None:
    judge("SELECT 1", dialect=dialect)  # imports the parser
    slow = []
    for text in _texts(DIALECTS.index(dialect)):
        if _seconds(text, dialect) > WORST_SECONDS < _seconds(text, dialect):
            slow.append(text[:60])
    assert not slow


def _seconds(text: str, dialect: str) -> float:
    """Processor time of one judgement."""
    started = time.thread_time()
    judge(text, dialect=dialect)
    return time.thread_time() - started


def test_usual_queries_take_about_half_a_millisecond() -> None:
    query = "SELECT b.name, count(*) FROM boat b JOIN port p ON b.id = p.id GROUP BY b.name"
    for dialect in DIALECTS[:4]:
        times = [_seconds(query, dialect) for _ in range(50)]
        assert statistics.median(times) < 0.005


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 30 + "1" + ")" * 30,
        "SELECT " + " + ".join(["1"] * 1_000),
        "SELECT 1 WHERE " + " OR ".join(["1 = 1"] * 700),
        "SELECT " + ", ".join(["1"] * 2_000),
        "SELECT 1 WHERE 1 IN (" + ", ".join(["1"] * 2_000) + ")",
        " UNION ALL ".join(["SELECT 1"] * 150),
        "SELECT " + "CASE WHEN 1 = 1 THEN 1 END + " * 150 + "1",
        "SELECT '" + "x" * 19_000 + "'",
    ],
)
def test_large_queries_pass(dialect: str, sql: str) -> None:
    verdict = judge(sql, dialect=dialect)
    assert verdict.allowed, verdict.reason
