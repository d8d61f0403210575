"""A language model as a translator: found by its path, asked, judged and run like any other."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import plainsql
from plainsql.choosing import Trial, choose
from plainsql.cli.main import run
from plainsql.errors import (
    DeniedError,
    ExecutionError,
    MissingExtra,
    ModelError,
    QuestionError,
    UsageError,
)
from plainsql.records import Candidate, Links, Question, Rows, Status
from plainsql.schema.model import Schema
from plainsql.settings import Settings
from plainsql.translators import base
from plainsql.translators.base import ModelOptions, Translator, translator
from plainsql.translators.language_model import libraries
from plainsql.translators.language_model.decoding import Generated, GenerationSettings
from plainsql.translators.language_model.model_info import ModelInfo, PromptFormat
from plainsql.translators.language_model.translator import LanguageModelTranslator, candidates
from plainsql.translators.parser.translator import ParserTranslator
from plainsql.translators.parser.weights import SHIPPED
from taught_model import ANSWERS, DROP, FRENCH, HOW_MANY, PROSE, SHOES, concerts_model
from tiny_models import tiny_model, tiny_tokenizer

FRENCH_ROWS = {("Justin Brown",), ("Rose White",), ("John Nizinik",), ("Tribal King",)}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a model that knows `ANSWERS`, and its database."""
    return concerts_model(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def greedy(taught: tuple[Path, Path]) -> LanguageModelTranslator:
    """It says one thing to a question, and may say anything, so that a test knows what is tried."""
    free = ModelOptions(constrained=False)
    return LanguageModelTranslator(taught[0], GenerationSettings(max_new_tokens=60), asking=free)


# --- the whole flow ----------------------------------------------------------


def test_it_answers_with_the_right_rows(taught: tuple[Path, Path]) -> None:
    model, database = taught
    with plainsql.connect(database, translator=str(model)) as opened:
        answer = opened.ask(FRENCH)
        assert answer.status is Status.ANSWERED
        assert answer.sql == ANSWERS[FRENCH]
        assert set(answer.rows) == FRENCH_ROWS
        assert answer.translator == str(model)
        assert 0.8 < answer.confidence < 1
        assert opened.ask(FRENCH).to_dict() | {"timing_ms": 0} == answer.to_dict() | {
            "timing_ms": 0
        }
        assert opened.ask(HOW_MANY).rows == ((6,),)


def test_what_it_writes_is_guarded_and_may_fail(
    greedy: LanguageModelTranslator, taught: tuple[Path, Path]
) -> None:
    before = taught[1].read_bytes()
    once = Settings(repair_rounds=0)
    with plainsql.connect(taught[1], translator=greedy, settings=once) as opened:
        with pytest.raises(DeniedError, match="must begin with SELECT"):
            opened.ask(DROP)
        with pytest.raises(ExecutionError, match="shoe_size"):
            opened.ask(SHOES)
        nothing = opened.ask(PROSE)
    assert (nothing.status, nothing.sql) == (Status.UNANSWERABLE, "")
    assert nothing.answer == "No query was found for the question."
    assert taught[1].read_bytes() == before


def test_linking_has_its_word_vectors_and_no_ranker_is_borrowed(
    greedy: LanguageModelTranslator, taught: tuple[Path, Path]
) -> None:
    with plainsql.connect(taught[1], translator=greedy) as opened:
        assert (opened._vectors is not None) == (SHIPPED / base.PARSER_FILE).is_file()
        assert opened._ranker is None


def test_it_is_evaluated(taught: tuple[Path, Path], tmp_path: Path) -> None:
    model, database = taught
    cases = [{"question": q, "query": ANSWERS[q], "db_id": "concerts"} for q in (HOW_MANY, FRENCH)]
    dataset, report = tmp_path / "cases.json", tmp_path / "report.json"
    dataset.write_text(json.dumps(cases))
    flags = ["--databases", str(database.parent), "--json", str(report)]
    assert run(["eval", str(dataset), "--translator", str(model), *flags]) == 0
    found = json.loads(report.read_text())
    assert [outcome["predicted"] for outcome in found["outcomes"]] == [
        ANSWERS[HOW_MANY],
        ANSWERS[FRENCH],
    ]
    assert all(outcome["same"] for outcome in found["outcomes"])


def test_the_doctor_examines_it(
    taught: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAINSQL_TRANSLATOR", str(taught[0]))
    code = run(["doctor"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "llama, 0.1 million parameters" in out


# --- candidates --------------------------------------------------------------


def text(said: str, score: float) -> Generated:
    return Generated(said, score, 5, True)


CANDIDATES: list[tuple[list[Generated], list[tuple[str, float]]]] = [
    ([], []),
    ([text("I do not know.", -1)], []),
    ([text("SELECT 1", -1)], [("SELECT 1", -1)]),
    ([text("SELECT 1", -2), text("SELECT 2", -1)], [("SELECT 2", -1), ("SELECT 1", -2)]),
    ([text("SELECT 1", -1), text("```sql\nSELECT 1;\n```", -2)], [("SELECT 1", -1)]),
    ([text("SELECT 1;", -2), text("SELECT 1", -1)], [("SELECT 1", -1)]),
    ([text("no", -1), text("Here: SELECT 1", -2)], [("SELECT 1", -2)]),
    ([text("DROP TABLE singer", -1)], [("DROP TABLE singer", -1)]),  # the guard's to refuse
]


@pytest.mark.parametrize(("texts", "found"), CANDIDATES)
def test_texts_become_candidates(texts: list[Generated], found: list[tuple[str, float]]) -> None:
    expected = [Candidate(sql, score, "model") for sql, score in found]
    assert candidates(texts, "model") == expected


def test_proposals_are_few_different_and_sorted(taught: tuple[Path, Path]) -> None:
    model = LanguageModelTranslator(taught[0])
    assert isinstance(model, Translator)
    with plainsql.connect(taught[1], translator=model) as opened:
        links = opened.link(HOW_MANY)
        for n in (1, 2, 8):
            found = model.propose(HOW_MANY, opened.schema, links, n)
            assert 1 <= len(found) <= min(n, model.settings.beams)
            assert found[0].sql == ANSWERS[HOW_MANY]
            assert found == sorted(found, key=lambda one: -one.score)
            assert len({one.sql for one in found}) == len(found)
            assert found == model.propose(HOW_MANY, opened.schema, links, n)


def test_a_question_longer_than_the_model_reads(
    greedy: LanguageModelTranslator, taught: tuple[Path, Path]
) -> None:
    long = "How many singers are there " + "who sing and sing and sing again " * 40
    with (
        plainsql.connect(taught[1], translator=greedy) as opened,
        pytest.raises(QuestionError, match="too long for this model"),
    ):
        opened.ask(long)


def trial(score: float, *, possible: bool = True) -> Trial:
    candidate = Candidate("SELECT 1", score, "model")
    if possible:
        return Trial(candidate, Rows(("a",), ((score,),)))
    return Trial(candidate, error=DeniedError("no"))


CONFIDENCES = {  # log-probabilities, which are possible, the confidences
    "sure": ([math.log(0.9)], [True], [0.9]),
    "two": ([math.log(0.6), math.log(0.3)], [True, True], [0.6, 0.3]),
    "the likeliest is refused": ([math.log(0.9), math.log(0.05)], [False, True], [0, 0.5]),
    "all proposed": ([math.log(0.9), math.log(0.1)], [False, True], [0, 1]),
    "no probabilities": ([0.0, -1.0], [True, True], [0.731, 0.269]),
    "very unlikely": ([-900.0, -901.0], [True, True], [0, 0]),
}


@pytest.mark.parametrize(("scores", "possible", "shares"), CONFIDENCES.values(), ids=CONFIDENCES)
def test_confidence_leaves_room_for_what_was_not_proposed(
    scores: list[float], possible: list[bool], shares: list[float]
) -> None:
    choice = choose([trial(s, possible=p) for s, p in zip(scores, possible, strict=True)])
    assert choice is not None
    assert choice.confidences == pytest.approx(tuple(shares), abs=1e-3)
    assert choice.index == possible.index(True)


# --- the prompt --------------------------------------------------------------


def prompt_of(folder: Path, schema: Schema) -> tuple[str, PromptFormat]:
    model = LanguageModelTranslator(folder)
    links = Links(Question("How old?", ()))
    return model.prompt("How old?", schema, links, "in years").text, model.info.prompt


def test_the_prompt_is_the_one_of_training(tmp_path: Path, concerts: Path) -> None:
    tuned = tiny_model("gpt2", tmp_path / "tuned")
    form = PromptFormat("minimal", "text", max_input_tokens=99, max_output_tokens=17)
    ModelInfo("full", prompt=form).write(tuned)
    plain = tiny_model("gpt2", tmp_path / "plain")
    chat = shutil.copytree(plain, tmp_path / "chat")
    tiny_tokenizer(chat=True).save_pretrained(chat)
    with plainsql.connect(concerts) as opened:
        schema = opened.schema
    text, found = prompt_of(tuned, schema)
    assert found == form
    assert text == "Database: concerts\nQuestion: How old?\nNote: in years\nSQL:\n"
    assert LanguageModelTranslator(tuned).settings.max_new_tokens == 17
    text, found = prompt_of(plain, schema)
    assert text.startswith("### Instruction\n")
    assert (found.style, found.max_input_tokens) == ("instruct", 1024 - found.max_output_tokens)
    text, found = prompt_of(chat, schema)
    assert text.startswith("<s>system\n")
    assert found.style == "chat"


# --- finding a translator ----------------------------------------------------


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders as users have them, and the working directory among them."""
    monkeypatch.chdir(tmp_path)
    for name in ("adapter", "trained/best", "tuned/best", "unexported", "parser"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("adapter", "trained/best"):
        ModelInfo("adapter", base="base").write(tmp_path / name)
    for name in ("tuned/best", "unexported"):
        ModelInfo("full", "parser").write(tmp_path / name)
    (tmp_path / "exported").symlink_to(SHIPPED)
    (tmp_path / "tuned/best/manifest.json").symlink_to(SHIPPED / "manifest.json")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/config.json").write_text("{}")
    return tmp_path


FOUND: list[tuple[str, type]] = [
    ("parser", ParserTranslator),  # the name goes before a folder of that name
    ("adapter", LanguageModelTranslator),
    ("./adapter", LanguageModelTranslator),
    ("trained", LanguageModelTranslator),
    ("trained/best/", LanguageModelTranslator),
    ("plain", LanguageModelTranslator),
    ("exported", ParserTranslator),
    ("tuned", ParserTranslator),
    ("tuned/best", ParserTranslator),
    ("owner/name-7B.v2", LanguageModelTranslator),
]


@pytest.mark.parametrize(("name", "kind"), FOUND)
def test_what_a_name_finds(places: Path, name: str, kind: type) -> None:
    assert type(translator(name)) is kind


def test_a_tuned_parser_is_read_from_its_folder(places: Path) -> None:
    found = translator("tuned")
    assert isinstance(found, ParserTranslator)
    assert found.folder == Path("tuned/best")


NOT_FOUND = ["", "nobody", "./owner/name", "/no/where", "a/b/c", "~/none", "owner/name/", "a//b"]


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_finds_nothing(places: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no translator") as caught:
        translator(name)
    assert "parser" in caught.value.hint
    assert "OWNER/NAME" in caught.value.hint


def test_a_folder_without_a_model(places: Path) -> None:
    with pytest.raises(ModelError, match="not the folder of a model"):
        translator(".").propose("?", Schema("s", ()), Links(Question("", ())), 1)


def test_a_parser_without_graphs_must_be_exported(places: Path) -> None:
    with pytest.raises(ModelError, match="can't be asked yet") as caught:
        translator("unexported")
    assert "plainsql export" in caught.value.hint


def test_a_hub_model_without_the_hub(
    concerts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    code = run(["ask", HOW_MANY, "-d", str(concerts), "--translator", "owner/name"])
    assert code == ModelError.exit_code
    assert "There is no folder 'owner/name' here" in capsys.readouterr().err


def test_without_the_libraries_it_says_what_to_install(
    taught: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    with plainsql.connect(taught[1], translator=str(taught[0])) as opened:
        with pytest.raises(MissingExtra) as caught:
            opened.ask(HOW_MANY)
        assert caught.value.hint == "pip install 'plainsql[train]'"


def test_settings_are_kept(taught: tuple[Path, Path]) -> None:
    wanted = GenerationSettings("sample", candidates=2)
    model = LanguageModelTranslator(taught[0], wanted)
    assert model.settings == wanted
    default = LanguageModelTranslator(taught[0]).settings
    assert (default.strategy, default.candidates) == ("beam", 4)
    assert replace(default, candidates=1).beams == 4
