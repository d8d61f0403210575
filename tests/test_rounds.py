"""Questions that take more than one round: repair, a second translator, a deadline."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import plainsql
from model_servers import ONCE, Script, Scripted, always, answer
from plainsql.cli.main import run
from plainsql.cli.reference import KEYS
from plainsql.errors import DeniedError, ExecutionError, ModelError, UsageError
from plainsql.evaluation.asking import Asking
from plainsql.records import MODEL_FAILED, Answer, Candidate, Links, Status, Step
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.translators.auto import AutoTranslator
from plainsql.translators.base import ModelOptions, Translator, translator
from plainsql.translators.fake import ScriptedTranslator
from plainsql.translators.language_model.server_translator import ServerTranslator
from plainsql.translators.parser.translator import ParserTranslator

QUESTION = "How many singers are from France?"
RIGHT = "SELECT count(*) FROM singer WHERE country = 'France'"
ALSO_RIGHT = "SELECT count(singer_id) FROM singer WHERE country = 'France'"
LACKING = "SELECT count(*) FROM singer WHERE country = 'Frence'"
NO_COLUMN = "SELECT count(*) FROM singer WHERE contry = 'France'"
NO_TABLE = "SELECT count(*) FROM singers"
OTHER = "SELECT count(*) FROM concert"
NO_CACHE = ModelOptions(cache=False)


def ask(path: Path, by: Translator, question: str = QUESTION, **changes: Any) -> Answer:
    settings = replace(Settings(), **changes)
    with plainsql.connect(path, translator=by, settings=settings) as database:
        return database.ask(question)


def stages(answer: Answer) -> list[str]:
    return [step.stage for step in answer.trace]


# --- repair ---------------------------------------------------------------------


BACK = [
    # proposed, why it goes back, what is said of it, a name that is offered
    ([NO_COLUMN], "no query could be used", "no such column: contry", "singer.country"),
    ([NO_TABLE], "no query could be used", "does not have", "singer"),
    (["DROP TABLE singer"], "no query could be used", "must begin with SELECT", ""),
    (["SELEC"], "no query could be used", "refused", ""),
    ([LACKING], "no cell is 'Frence'", "singer.country has no cell 'Frence'", "'France'"),
    (
        ["SELECT max(age) FROM singer WHERE country = 'Frence'"],
        "no cell is 'Frence'",
        "It gave NULL and nothing else. singer.country has no cell 'Frence'.",
        "singer.country = 'France'",
    ),
]


@pytest.mark.parametrize(("proposed", "why", "problem", "name"), BACK)
def test_what_goes_back_and_what_is_said(
    concerts: Path, proposed: list[str], why: str, problem: str, name: str
) -> None:
    by = ScriptedTranslator({}, proposed, [[RIGHT]])
    found = ask(concerts, by)
    assert (found.sql, found.rows) == (RIGHT, ((4,),))
    (attempts,) = by.told
    assert [attempt.candidate.sql for attempt in attempts] == proposed
    assert problem in attempts[0].problem
    assert any(name in near for near in attempts[0].names) or not name
    (repair,) = [step for step in found.trace if step.stage == "repair"]
    assert why in repair.why
    assert stages(found)[-3:] == ["propose", "try", "choose"]


class Unsure(ScriptedTranslator):
    """Gives its first query the probability 0.7, and the others next to none."""

    def _candidates(self, statements: Sequence[str]) -> list[Candidate]:
        return [Candidate(s, -0.36 - 3.0 * i, self.name) for i, s in enumerate(statements)]


CONTENT = [
    # neither suspicious nor without an answer: nothing goes back
    ScriptedTranslator({}, [RIGHT], [[OTHER]]),
    ScriptedTranslator({}, ["SELECT name FROM singer WHERE age > 99"], [[OTHER]]),  # may be so
    ScriptedTranslator({}, ["SELECT name FROM singer WHERE country LIKE '%x%'"], [[OTHER]]),
    ScriptedTranslator({}, [NO_COLUMN, RIGHT], [[OTHER]]),  # what is left is likely enough
    Unsure({}, ["DROP TABLE singer", RIGHT], [[OTHER]]),  # it names nothing that isn't there
]


@pytest.mark.parametrize("by", CONTENT)
def test_what_does_not_go_back(concerts: Path, by: ScriptedTranslator) -> None:
    found = ask(concerts, by)
    assert by.told == []
    assert "repair" not in stages(found)


def test_the_likeliest_failed_and_little_is_left(concerts: Path) -> None:
    by = Unsure({}, [NO_COLUMN, OTHER], [[RIGHT]])
    found = ask(concerts, by)
    assert found.sql == RIGHT
    assert [attempt.candidate.sql for attempt in by.told[0]] == [NO_COLUMN]


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_no_more_rounds_than_wanted(concerts: Path, rounds: int) -> None:
    bad = [[f"SELECT x{i} FROM singer"] for i in range(5)]
    by = ScriptedTranslator({}, ["SELECT x FROM singer"], bad)
    with pytest.raises(ExecutionError, match="no such column: x"):
        ask(concerts, by, repair_rounds=rounds)
    assert len(by.told) == rounds


def test_nothing_new_ends_it(concerts: Path) -> None:
    by = ScriptedTranslator({}, [LACKING], [[LACKING], [RIGHT]])
    found = ask(concerts, by, repair_rounds=3)
    assert found.sql == LACKING
    assert len(by.told) == 1
    assert found.trace[-1] == Step("propose", "0 new candidates of scripted")


def test_at_most_three_attempts_the_likeliest_last(concerts: Path) -> None:
    by = ScriptedTranslator({}, [f"SELECT x{i} FROM singer" for i in range(5)], [[RIGHT]])
    assert ask(concerts, by).sql == RIGHT
    assert [attempt.candidate.sql[7:9] for attempt in by.told[0]] == ["x2", "x1", "x0"]


def test_the_better_of_old_and_new_is_chosen(concerts: Path) -> None:
    by = ScriptedTranslator({}, [LACKING], [["SELECT nothing FROM singer"]])
    assert ask(concerts, by).sql == LACKING


def test_the_parser_is_not_asked_to_mend(concerts: Path, parser: ParserTranslator) -> None:
    assert "repair" not in stages(ask(concerts, parser, repair_rounds=3))


class NoMender(ScriptedTranslator):
    """Proposes, and fails when it is asked to mend."""

    def repair(self, *_: object) -> list[Candidate]:
        raise ModelError("The server is down.", hint="Start it.")


def test_a_mender_that_fails_leaves_what_there_is(concerts: Path) -> None:
    found = ask(concerts, NoMender({}, [LACKING]))
    assert found.sql == LACKING
    assert found.trace[-1] == Step(MODEL_FAILED, "scripted", "The server is down.")
    with pytest.raises(ExecutionError, match="no such column"):
        ask(concerts, NoMender({}, [NO_COLUMN]))


# --- what the policy denies -------------------------------------------------------


POLICY = {"columns": {"singer": {"deny": ["age"]}}, "deny_tables": ["concert"]}
SECRET = [
    "SELECT age FROM singer",
    "SELECT s.AGE FROM singer s",
    "SELECT agee FROM singer",
    "SELECT count(*) FROM concert",
    "SELECT count(*) FROM concerts",
    "SELECT yaer FROM singer",
    "SELECT name FROM singer WHERE country = 'Auditions'",
    "SELECT rowid FROM singer JOIN concert",
]


@pytest.mark.parametrize("sql", SECRET)
def test_denied_names_are_told_to_nobody(concerts: Path, sql: str) -> None:
    by = ScriptedTranslator({}, [sql], [["SELECT name FROM singer"]])
    found = ask(concerts, by, policy=POLICY)
    assert found.rows
    said = " ".join([by.told[0][0].problem, *by.told[0][0].names]).lower().replace(sql.lower(), "")
    for name in ("age", "concert", "year", "title", "auditions"):
        quoted = name in sql.lower() and f"'{name}'" in said  # the query's own text
        assert quoted or name not in said.replace("message", "").split()
        assert f"singer.{name}" not in said
        assert f"concert.{name}" not in said


# --- auto ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parser() -> ParserTranslator:
    return ParserTranslator()


class Guessing(ScriptedTranslator):
    """Stands for a parser: its candidates carry signals, and a probability of 0.4 at most."""

    name = "guessing"

    def _candidates(self, statements: Sequence[str]) -> list[Candidate]:
        return [
            Candidate(sql, -0.92 - i, self.name, features=(1.0,))
            for i, sql in enumerate(statements)
        ]


def test_a_sure_parser_is_not_helped(concerts: Path, parser: ParserTranslator) -> None:
    model = ScriptedTranslator({}, [OTHER])
    found = ask(concerts, AutoTranslator(parser, model), auto_threshold=0.3)
    assert (found.rows, found.translator) == (((4,),), "parser")
    assert "ask model" not in stages(found)
    assert ">= 0.30" in found.trace[-1].why


def test_agreement_makes_surer(concerts: Path, parser: ParserTranslator) -> None:
    alone = ask(concerts, parser)
    found = ask(concerts, AutoTranslator(parser, ScriptedTranslator({}, [RIGHT])), auto_threshold=1)
    assert found.rows == alone.rows == ((4,),)
    assert found.confidence > alone.confidence
    assert Step(
        "ask model", "scripted", f"the parser's confidence {alone.confidence:.2f} < 1.00"
    ) in (found.trace)
    assert "(parser and scripted)" in found.trace[-1].why


AUTO = [
    # the first's, the model's, the SQL chosen, why the model is asked
    ([OTHER], [RIGHT], RIGHT, "the parser's confidence 0.40 < 0.70"),
    ([OTHER], [OTHER, RIGHT], OTHER, "the parser's confidence 0.40 < 0.70"),
    ([OTHER, RIGHT], [ALSO_RIGHT], ALSO_RIGHT, "the parser's confidence"),
    ([], [RIGHT], RIGHT, "the parser found no query"),
    ([NO_COLUMN], [RIGHT], RIGHT, "the parser found no query"),
    ([OTHER], [NO_COLUMN], OTHER, "the parser's confidence 0.40 < 0.70"),
    ([OTHER], [], OTHER, "the parser's confidence 0.40 < 0.70"),
]


@pytest.mark.parametrize(("first", "second", "chosen", "why"), AUTO)
def test_an_unsure_parser_is_helped(
    concerts: Path, first: list[str], second: list[str], chosen: str, why: str
) -> None:
    auto = AutoTranslator(Guessing({}, first), ScriptedTranslator({}, second))
    found = ask(concerts, auto, repair_rounds=0)
    assert found.sql == chosen
    (asked,) = [step for step in found.trace if step.stage == "ask model"]
    assert why in asked.why


def test_the_model_behind_mends_its_own_queries(concerts: Path) -> None:
    model = ScriptedTranslator({}, [NO_COLUMN], [[RIGHT]])
    found = ask(concerts, AutoTranslator(Guessing({}, ["SELECT x FROM singer"]), model))
    assert found.sql == RIGHT
    assert [attempt.candidate.sql for attempt in model.told[0]] == [NO_COLUMN]


def test_nothing_of_the_database_in_the_question_asks_nobody(concerts: Path) -> None:
    model = ScriptedTranslator({}, [RIGHT])
    found = ask(concerts, AutoTranslator(Guessing({}, []), model), "qwrtz plmk?")
    assert found.status == "unanswerable"
    assert stages(found) == ["propose"]


def test_auto_by_name() -> None:
    made = translator("auto", language_model="openai:m@http://127.0.0.1:1/v1")
    assert isinstance(made, AutoTranslator)
    assert isinstance(made.second, ServerTranslator)
    assert made.folder
    for model in ("", "auto"):
        with pytest.raises(UsageError, match="needs a language model") as caught:
            translator("auto", language_model=model)
        assert "--language-model" in caught.value.hint


# --- a model on a server --------------------------------------------------------------


def broken(body: dict[str, Any]) -> tuple[int, bytes]:
    return 500, b"{}"


def mending(body: dict[str, Any]) -> tuple[int, bytes]:
    """A wrong query first; the right one when it is told of the error."""
    told = "no such column" in json.dumps(body["messages"])
    return 200, answer(*[RIGHT if told else NO_COLUMN] * int(body.get("n", 1)))


def served(server: Scripted, **options: Any) -> ServerTranslator:
    return ServerTranslator(server.name, options=replace(NO_CACHE, **options), timing=ONCE)


def test_a_query_is_mended_over_the_wire(concerts: Path) -> None:
    with Scripted(mending) as server:
        by = served(server)
        first, again = ask(concerts, by), ask(concerts, by)
        messages = server.requests[2]["messages"]
    assert (first.sql, first.rows) == (RIGHT, ((4,),))
    assert [turn["role"] for turn in messages][-3:] == ["user", "assistant", "user"]
    assert "singer.country" in messages[-1]["content"]
    assert first.to_dict() | {"timing_ms": 0} == again.to_dict() | {"timing_ms": 0}
    assert first.origins == again.origins


@pytest.mark.parametrize(("privacy", "shown"), [("schema", False), ("samples", True)])
def test_cells_go_to_a_server_where_they_may(concerts: Path, privacy: str, shown: bool) -> None:
    """Netherlands is a cell that neither the question nor the query has."""
    query = "SELECT name FROM singer WHERE country = 'Netherland'"

    def script(body: dict[str, Any]) -> tuple[int, bytes]:
        return 200, answer(*[query] * int(body.get("n", 1)))

    with Scripted(script) as server:
        ask(concerts, served(server, privacy=privacy), "Which singers are Dutch?")
        sent = json.dumps([turn for r in server.requests for turn in r["messages"][-1:]])
    assert ("Netherlands" in sent) is shown


def test_a_model_that_fails_leaves_the_parsers_answer(
    concerts: Path, parser: ParserTranslator
) -> None:
    with Scripted(broken) as server:
        auto = AutoTranslator(parser, served(server))
        found = ask(concerts, auto, auto_threshold=1)
        with pytest.raises(ModelError, match="status 500"):
            ask(concerts, AutoTranslator(ScriptedTranslator({}), served(server)))
    assert found.rows == ((4,),)
    (failed,) = [step for step in found.trace if step.stage == MODEL_FAILED]
    assert "status 500" in failed.why


def test_what_was_sent_is_told_whoever_is_right(concerts: Path, parser: ParserTranslator) -> None:
    with Scripted(always(OTHER)) as server:
        found = ask(concerts, AutoTranslator(parser, served(server)), auto_threshold=1)
    assert found.translator == "parser"
    assert any(origin.role == "sent" for origin in found.origins)


# --- time and tokens -------------------------------------------------------------------


class Slow(ScriptedTranslator):
    """Takes longer than the deadline of the tests below."""

    def propose(self, question: str, schema: Schema, links: Links, n: int) -> list[Candidate]:
        time.sleep(0.06)
        return super().propose(question, schema, links, n)


def test_no_round_is_begun_when_the_time_is_up(concerts: Path) -> None:
    by = Slow({}, [LACKING], [[RIGHT]])
    found = ask(concerts, by, deadline=0.05)
    assert (found.sql, found.rows) == (LACKING, ((0,),))  # what there is is tried and answered
    assert by.told == []
    assert found.trace[-1] == Step("stop", "no repair", "the time for the question is up")


def test_the_model_is_not_asked_when_the_time_is_up(concerts: Path) -> None:
    model = ScriptedTranslator({}, [RIGHT])
    found = ask(concerts, AutoTranslator(Slow({}, [OTHER]), model), deadline=0.05, auto_threshold=1)
    assert found.sql == OTHER
    assert found.trace[-1].stage == "stop"
    assert found.trace[-1].why == "the time for the question is up"


def hanging(seconds: float) -> Script:
    def script(body: dict[str, Any]) -> tuple[int, bytes]:
        time.sleep(seconds)
        return 200, answer(RIGHT)

    return script


def test_a_model_that_takes_too_long(concerts: Path, parser: ParserTranslator) -> None:
    parser.warm_up()
    with Scripted(hanging(3.0)) as server:
        begin = time.monotonic()
        found = ask(concerts, AutoTranslator(parser, served(server)), auto_threshold=1, deadline=1)
        took = time.monotonic() - begin
        with pytest.raises(ModelError) as caught:
            ask(concerts, served(server), deadline=0.2)
    assert found.translator == "parser"
    assert MODEL_FAILED in stages(found)
    assert took < 2.5
    assert caught.value.hint


def test_the_tokens_of_a_question_are_counted(concerts: Path) -> None:
    dear = answer(LACKING).replace(b'"prompt_tokens": 7', b'"prompt_tokens": 990')
    with Scripted(lambda body: (200, dear)) as server:
        found = ask(concerts, served(server), token_budget=900)
    assert found.sql == LACKING
    assert found.trace[-1].stage == "stop"
    assert found.trace[-1].why == "the 900 tokens for the question are used up"
    assert len(server.requests) == 1


# --- what is told ----------------------------------------------------------------------


def test_the_same_input_gives_the_same_trace(concerts: Path, parser: ParserTranslator) -> None:
    def once() -> Answer:
        model = ScriptedTranslator({}, [NO_COLUMN], [[LACKING], [RIGHT]])
        return ask(concerts, AutoTranslator(parser, model), auto_threshold=1, repair_rounds=2)

    first, again = once(), once()
    assert first.trace == again.trace
    assert first.to_dict() | {"timing_ms": 0} == again.to_dict() | {"timing_ms": 0}


def test_the_trace_of_a_plain_question(concerts: Path) -> None:
    found = ask(concerts, ScriptedTranslator({}, [RIGHT, NO_COLUMN, ALSO_RIGHT, OTHER]))
    assert found.trace == (
        Step("propose", "4 candidates of scripted"),
        Step(
            "try", "3 with rows, 1 refused or failed", "The query failed: no such column: contry."
        ),
        Step(
            "choose",
            "candidate 1 of 4, by scripted",
            f"confidence {found.confidence:.2f} in its rows, which 2 of 4 candidates gave",
        ),
    )
    assert found.to_dict()["trace"][0] == {
        "stage": "propose", "what": "4 candidates of scripted", "why": "",
    }  # fmt: skip


def test_a_refusal_is_raised_when_nothing_helps(concerts: Path) -> None:
    with pytest.raises(DeniedError):
        ask(concerts, ScriptedTranslator({}, ["DROP TABLE singer"]))


# --- the command line -------------------------------------------------------------------


def test_auto_needs_a_model(concerts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", QUESTION, "-d", str(concerts), "--translator", "auto"]) == 2
    assert "--language-model" in capsys.readouterr().err


def test_explain_shows_the_steps(
    concerts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAINSQL_AUTO_THRESHOLD", "1")
    with Scripted(broken) as server:
        flags = ["-d", str(concerts), "--translator", "auto", "--language-model", server.name]
        assert run(["ask", QUESTION, *flags, "--explain"]) == 0
        shown = capsys.readouterr()
        assert run(["ask", QUESTION, *flags, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
    assert "propose: 8 candidates of parser\n" in shown.out
    assert f"ask model: {server.name} (the parser's confidence" in shown.out
    assert f"({server.name} could not help: " in shown.err
    assert [step["stage"] for step in printed["trace"]][:3] == ["propose", "try", "choose"]


def test_a_question_too_dear_is_one_wrong_answer(concerts: Path) -> None:
    with Scripted(always(RIGHT)) as server:
        with Asking(served(server), Settings(token_budget=5)) as asking:
            found = asking.ask_one(concerts, QUESTION, None)
        assert server.requests == []
    assert (found.sql, found.error[:10]) == ("", "The prompt")


def test_every_key_of_an_answer_is_documented() -> None:
    assert list(KEYS) == list(Answer(Status.ANSWERED, "?").to_dict())


@pytest.mark.parametrize("kind", ["openai", "auto"])
def test_eval_asks_every_kind(
    concerts: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAINSQL_AUTO_THRESHOLD", "1")
    cases = tmp_path / "cases.jsonl"
    row = {"question": QUESTION, "sql": RIGHT, "db": "concerts"}
    cases.write_text(json.dumps(row) + "\n", "utf-8")
    report = tmp_path / "report.json"
    with Scripted(mending) as server:
        by = ["--translator", "auto", "--language-model", server.name]
        if kind == "openai":
            by = ["--translator", server.name]
        flags = ["--databases", str(tmp_path), "--json", str(report), *by]
        assert run(["eval", str(cases), *flags]) == 0
        assert server.requests
    (outcome,) = json.loads(report.read_text("utf-8"))["outcomes"]
    assert outcome["same"]
