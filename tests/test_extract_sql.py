"""The SQL in what a model said: one case a line pair, as models really answer."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plainsql.translators.language_model.extract import extract_sql, whole_sql

ONE = "SELECT name FROM singer"
WHERE = "SELECT name FROM singer WHERE country = 'France'"
COUNT = "SELECT count(*) FROM singer"
CTE = "WITH old AS (SELECT * FROM singer WHERE age > 40) SELECT count(*) FROM old"
LINES = "SELECT country, count(*)\nFROM singer\nWHERE age > 30\nGROUP BY country\nORDER BY 2 DESC"

PLAIN = [
    (ONE, ONE),
    (COUNT, COUNT),
    ("SELECT 1", "SELECT 1"),
    ("SELECT 'a' || 'b'", "SELECT 'a' || 'b'"),
    ("SELECT date('now')", "SELECT date('now')"),
    ("select name from singer", "select name from singer"),
    (f"\n  {ONE}  \n", ONE),
    (f"{ONE};", ONE),
    (f"{ONE} ;;; ", ONE),
    (LINES + ";", LINES),
    (CTE, CTE),
    (f"{ONE}; SELECT 2;", ONE),
    (f"{ONE}\n\n{COUNT}", ONE),
    (f"{CTE}\n{COUNT}", CTE),
    (
        "WITH RECURSIVE t(n) AS (\n  SELECT 1 UNION ALL SELECT n + 1 FROM t\n)\nSELECT n FROM t",
        "WITH RECURSIVE t(n) AS (\n  SELECT 1 UNION ALL SELECT n + 1 FROM t\n)\nSELECT n FROM t",
    ),
    (f"{ONE}\nUNION\n{ONE}", f"{ONE}\nUNION\n{ONE}"),
    (f"{ONE} UNION ALL {ONE} LIMIT 3;", f"{ONE} UNION ALL {ONE} LIMIT 3"),
    (f"({ONE}) UNION ({COUNT})", f"({ONE}) UNION ({COUNT})"),
    (f"({ONE});", ONE),
    (f"(({ONE}))", ONE),
    ("SELECT name\n\nFROM singer", "SELECT name\n\nFROM singer"),
    ("SELECT T1.name FROM singer AS T1 JOIN concert AS T2 ON T1.id = T2.singer_id",) * 2,
    ("SELECT `name` FROM `singer` WHERE `age` > 3;", "SELECT `name` FROM `singer` WHERE `age` > 3"),
    ("SELECT [First Name] FROM [singer]", "SELECT [First Name] FROM [singer]"),
    ('SELECT "the column name" FROM "a table"', 'SELECT "the column name" FROM "a table"'),
    ("SELECT x AT TIME ZONE 'UTC', CAST(a AS double precision) FROM t",) * 2,
    ("SELECT TOP 5 name FROM singer", "SELECT TOP 5 name FROM singer"),
    ("SELECT a.b::text FROM a", "SELECT a.b::text FROM a"),
    ("SELECT DATE'2020-01-01', x'00ff' FROM t", "SELECT DATE'2020-01-01', x'00ff' FROM t"),
]

STRINGS = [
    ("SELECT 'a;b' FROM t; SELECT 2", "SELECT 'a;b' FROM t"),
    ('SELECT "a;b" FROM t; x', 'SELECT "a;b" FROM t'),
    ("SELECT a FROM t WHERE b = 'it''s; so';", "SELECT a FROM t WHERE b = 'it''s; so'"),
    ("SELECT a FROM t WHERE b = 'it\\'s; so'; yes", "SELECT a FROM t WHERE b = 'it\\'s; so'"),
    ("SELECT a FROM t WHERE b = 'C:\\';", "SELECT a FROM t WHERE b = 'C:\\'"),
    (
        "SELECT a FROM t WHERE b = '```' AND c = '</s>';",
        "SELECT a FROM t WHERE b = '```' AND c = '</s>'",
    ),
    (
        "SELECT a FROM t WHERE b = '<think>x</think>'",
        "SELECT a FROM t WHERE b = '<think>x</think>'",
    ),
    ("SELECT a FROM t WHERE b = '“quoted” text'", "SELECT a FROM t WHERE b = '“quoted” text'"),
    ("SELECT a FROM t WHERE b = 'the men who left the big house'",) * 2,
    ("SELECT a FROM t WHERE b = 'Fra", "SELECT a FROM t WHERE b = 'Fra"),
    ("SELECT a FROM t WHERE b = ''", "SELECT a FROM t WHERE b = ''"),
]

FENCES = [
    (f"```sql\n{ONE}\n```", ONE),
    (f"```SQL\n{ONE};\n```", ONE),
    (f"```\n{ONE}\n```", ONE),
    (f"```sqlite\n{LINES}\n```\nThis counts the singers of each country.", LINES),
    (f"```postgresql\n{ONE}\n```", ONE),
    (f"Here is the query:\n\n```sql\n{ONE};\n```\n\nIt lists names; nothing else.", ONE),
    (f"```sql\n{WHERE}", WHERE),
    (f"```sql {ONE}```", ONE),
    (f"```{ONE}```", ONE),
    (f"~~~sql\n{ONE}\n~~~", ONE),
    (f"First:\n```sql\n{ONE}\n```\nor\n```sql\n{COUNT}\n```", ONE),
    (f"{ONE}\n```\n\nAnother way:\n```sql\n{COUNT}\n```", ONE),
    (f"The tables:\n```sql\nCREATE TABLE singer (id INTEGER);\n```\n```sql\n{ONE}\n```", ONE),
    (f'```python\nquery = "{ONE}"\ncursor.execute(query)\n```', ONE),
    (f"```sql\n-- Select names of singers\n{ONE} -- all of them\n```", ONE),
    (f"````sql\n{ONE}\n````", ONE),
    (f"```sql\r\n{ONE};\r\n```\r\n", ONE),
    (f"{ONE}\nGO\n", ONE),
    (f"sqlite> {ONE};", ONE),
    (f"1. Find them.\n2. Count.\n\n{ONE};\n\nThis query selects from singer.", ONE),
    ("To select the names, use\n```sql\nselect name from singer\n```", "select name from singer"),
    (f"```\nHere you are\n```\n{ONE}", ONE),
]  # fmt: skip

PROSE = [
    (f"Here is the query: {ONE}", ONE),
    (f"SQL: {ONE}", ONE),
    (f"sql\n{ONE}", ONE),
    (f"SQLQuery: {ONE}\nSQLResult: 3", ONE),
    (f"Sure! {ONE}.", ONE),
    (f"Here's the query you've asked for:\n{WHERE};\nIt's simple.", WHERE),
    (f"You can use `{ONE}` to do that.", ONE),
    (f"You can use `{ONE}`, `{COUNT}` or `name`.", ONE),
    (f"**{ONE}**", ONE),
    (f"**Answer:** {COUNT}", COUNT),
    (f'The query is "{WHERE}".', WHERE),
    (f"The query is '{ONE}'.", ONE),
    (f"The query is “{ONE}”.", ONE),
    (f"The query ({ONE}) returns names.", ONE),
    (f"- {ONE}\n- {COUNT}", ONE),
    (f"> {ONE}", ONE),
    (f"1. {ONE}\n2. {COUNT}", ONE),
    (f"{ONE}\n\nThis query returns the names of all singers.", ONE),
    (f"{ONE}\nThis query returns names.", ONE),
    (f"{ONE}\nExplanation: we take the names.", ONE),
    (f"{ONE}\nIn this query we look at singers.", ONE),
    (f"{ONE}\nWhere the name is asked for.", ONE),
    (f"{ONE}\nAs you can see, it's short.", ONE),
    (f"{WHERE}\n\nNote: 'France' is case-sensitive.", WHERE),
    (f"{ONE} which gives all names", ONE),
    ("SELECT s.name FROM singer s which gives all names", "SELECT s.name FROM singer s"),
    (f"{WHERE} which gives all names", WHERE),
    (f"{ONE}, which gives all names", ONE),
    (f"{ONE} — all names", ONE),
    (f"{ONE}... and so on", ONE),
    (f"I will select the column name from the table singer.\n{ONE}", ONE),
    (f"We select names with a filter, then delete from the list.\n\n{WHERE}", WHERE),
    (f"With this schema, I would select it:\n{CTE}", CTE),
    (f"A SELECT statement does it. {ONE}", ONE),
    (f"Select the names of all singers\n{ONE}", ONE),
    (f"-- Select names from singers\n{ONE}", ONE),
    (f"/* select a from b */ {ONE}", ONE),
    ("the query is select a from t where b > 2", "select a from t where b > 2"),
    (f"EXPLAIN QUERY PLAN {ONE};", ONE),
    ("explain select name from singer", "select name from singer"),
]  # fmt: skip

TAGS = [
    (f"{ONE}<|im_end|>", ONE),
    (f"{ONE}</s>", ONE),
    (f"{ONE}<|eot_id|><|start_header_id|>user", ONE),
    (f"{ONE}<end_of_turn>\n<start_of_turn>user\n", ONE),
    (f"{ONE} [/INST] {COUNT}", ONE),
    (f"<|im_start|>assistant\n{ONE}<|im_end|>\n<|im_start|>user", ONE),
    (f"<sql>{ONE}</sql>", ONE),
    (f"<answer>\n{ONE}\n</answer>", ONE),
    (f"{ONE}\n\n### Question\nHow many?\n\n### Response\n{COUNT}", ONE),
    (f"### Response\n{ONE}\n### Response\n{COUNT}", ONE),
    (f"### Question\nSelect what?\n\n### Response:\n{ONE}", ONE),
    (f"{ONE}\n# the end", ONE),
    (f"<think>Maybe {COUNT};</think>\n{ONE}", ONE),
    (f"<think>\nI select from singer.\n</think>\n\n```sql\n{ONE}\n```", ONE),
    (f"the user wants {COUNT}\n</think>\n{ONE}", ONE),
    (f"<think>The user wants {COUNT}", ""),
    (f"{ONE}\n<think>was that right?", ONE),
    (f"<THINKING>{COUNT}</THINKING>{ONE}", ONE),
    (f"[THINK]\n{COUNT};\n[/THINK]{ONE}", ONE),
    (f"◁think▷\n{COUNT};\n◁/think▷{ONE}", ONE),
    (f"<|channel|>analysis<|message|>\n{COUNT}<|end|><|channel|>final<|message|>{ONE}", ONE),
    (f"<|channel|>analysis<|message|>\n{COUNT}", ""),
    (f"<think>{COUNT}</think><think></think>\n{ONE}", ONE),
    (f"<tool_call>\n{ONE}\n</tool_call>", ONE),
]  # fmt: skip

JSON = [
    (f'{{"sql": "{ONE}"}}', ONE),
    (f'```json\n{{"sql": "{WHERE};", "why": "asked"}}\n```', WHERE),
    ('{"query": "SELECT \\"a b\\"\\nFROM t"}', 'SELECT "a b"\nFROM t'),
    (f'Answer: {{"thought": "I select it", "sql": "{ONE}"}}', ONE),
    (f'{{"sql": "{WHERE}', WHERE),
    ('{"sql": ""}', ""),
    (f'{{"name": "run_sql", "arguments": {{"query": "{WHERE}"}}}}', WHERE),
    (f'<tool_call>\n{{"name": "run", "arguments": {{"sql": "{ONE}"}}}}\n</tool_call>', ONE),
]

TYPOGRAPHY = [
    ("SELECT name FROM singer WHERE country = ‘France’", WHERE),
    ("SELECT name FROM singer WHERE country = ’France’;", WHERE),
    ("SELECT a FROM t WHERE b = ‘O’Brien’", "SELECT a FROM t WHERE b = 'O’Brien'"),
    ("SELECT “first name” FROM t", 'SELECT "first name" FROM t'),
    ("SELECT\u00a0name\u00a0FROM\u00a0singer", ONE),
    ("\ufeffSELECT name FROM\u2009singer\u200b", ONE),
    ("SELECT a FROM t WHERE b = 'x\u00a0y'", "SELECT a FROM t WHERE b = 'x\u00a0y'"),
    ("SELECT singer\\_id FROM singer\\_list", "SELECT singer_id FROM singer_list"),
    ("SELECT count(\\*) FROM singer", COUNT),
    (f"{ONE}\r\nWHERE age > 3\r\n\r\nDone.", f"{ONE}\r\nWHERE age > 3"),
]

# Whether a statement may run is the guard's business.
CHANGES = [
    ("DELETE FROM singer WHERE age > 3;", "DELETE FROM singer WHERE age > 3"),
    ("DROP TABLE singer; SELECT 1", "DROP TABLE singer"),
    ("```sql\nUPDATE singer SET age = 3\n```", "UPDATE singer SET age = 3"),
    ("Sure: INSERT INTO singer SELECT * FROM old;", "INSERT INTO singer SELECT * FROM old"),
    (f"CREATE TABLE copy AS {ONE}", f"CREATE TABLE copy AS {ONE}"),
    ("PRAGMA table_info(singer);", "PRAGMA table_info(singer)"),
]

NOTHING = [
    "",
    " \n ",
    "I'm sorry, I cannot answer that from this database.",
    "I cannot select data from this database.",
    "I can't select anything from it.",
    "I won't run DROP TABLE singer.",
    "Please delete from the list what you don't need.",
    "The schema has no table to select names from.",
    "Please select one of the options.",
    "You need a SELECT statement.",
    "With this question, there is nothing to select.",
    "SELECT",
    "SELECT FROM singer",
    "SELECT ... FROM ...",
    "SELECT name",
    "VALUES (1), (2)",
    "EXPLAIN",
    "```sql\n```",
    "### Response",
    "</s>",
    "42",
    '{"answer": "none"}',
]

CASES = [*PLAIN, *STRINGS, *FENCES, *PROSE, *TAGS, *JSON, *TYPOGRAPHY, *CHANGES]
CASES += [(said, "") for said in NOTHING]


def test_there_are_many_cases() -> None:
    assert len({said for said, _ in CASES}) >= 60


@pytest.mark.parametrize(("said", "sql"), CASES)
def test_extracts(said: str, sql: str) -> None:
    assert extract_sql(said) == sql


@pytest.mark.parametrize(("said", "sql"), CASES)
def test_extracting_again_changes_nothing(said: str, sql: str) -> None:
    assert extract_sql(sql) == sql


CUT = {  # a text that was not finished, and what of it is a whole statement
    ONE: "",
    f"{ONE};": ONE,
    f"{ONE} ; \n": ONE,
    f"```sql\n{WHERE}": "",
    f"```sql\n{WHERE}\n```": WHERE,
    f"```sql\n{WHERE}\n```\nThis que": WHERE,
    f"```sql\n{WHERE[:-2]}": "",
    f"```sql\n{WHERE} AND": "",
    f"{ONE}\n\nIt lists the na": ONE,
    f"{ONE}; {COUNT[:12]}": ONE,
    f'{{"sql": "{ONE}': "",
    f'{{"sql": "{ONE}", "why": "as': ONE,
    f"<think>{ONE}; but th": "",
    f"<think>so</think>{ONE} WHERE age > ": "",
    "Here is the qu": "",
    "": "",
}


@pytest.mark.parametrize(("said", "sql"), CUT.items())
def test_half_a_statement_is_none(said: str, sql: str) -> None:
    assert whole_sql(said, finished=False) == sql
    assert whole_sql(said, finished=True) == extract_sql(said)


# Left out: a schema said first, whose statement is whole too, and quotes that not all escape.
LONG = [said for said, _ in CASES if "CREATE" not in said and "\\'" not in said]


@pytest.mark.parametrize("said", LONG)
def test_a_text_may_break_off_anywhere(said: str) -> None:
    """However little of it came: what counts as whole is the statement of the whole text."""
    found = {whole_sql(said[:end], finished=False) for end in range(len(said) + 1)}
    assert found <= {"", extract_sql(said)}


PIECES = st.sampled_from(
    """SELECT select WITH FROM name singer , ; ( ) ' " ` ``` ```sql <think> </think> -- /* */ * = .
    1 the this UNION AS \\n \\\\ {"sql": "} # ### DELETE DROP TABLE ‘ ’ “ ” \\u00a0 [ ] : </s> <|
    """.split(" ")
)
SAID = st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("\n".join))


@settings(max_examples=300, deadline=None)
@given(SAID)
@example("<thi<think></think>nk> SELECT 1")
@example("(" * 500 + "SELECT 1")
def test_any_text_gives_a_statement_that_stays(said: str) -> None:
    sql = extract_sql(said)
    assert extract_sql(sql) == sql


REPEATED = [
    "SELECT ",
    "(",
    "'",
    "select a from ",
    "/*",
    "with a as (",
    '"sql": "',
    "```",
    "<think>",
]


@pytest.mark.parametrize("piece", REPEATED)
def test_long_answers_take_no_long_time(piece: str) -> None:
    assert isinstance(extract_sql(piece * 20_000), str)
