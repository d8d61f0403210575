"""GGUF files asked through llama.cpp in this process: `--translator gguf:PATH`."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plainsql
from plainsql.budget import Budget, OutOfBudget, within
from plainsql.cli.main import run
from plainsql.errors import MissingExtra, ModelError, PlainsqlError, QuestionError
from plainsql.records import Attempt, Candidate, Links, Question
from plainsql.schema.introspect import sqlite_schema
from plainsql.schema.model import Schema
from plainsql.translators.base import ModelOptions, translator
from plainsql.translators.language_model import gguf_library
from plainsql.translators.language_model.gguf_translator import GGUFTranslator
from plainsql.translators.language_model.gguf_writing import (
    CHUNK,
    Draw,
    GGUFOptions,
    GrammarRefused,
    _pick,
)
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.server_records import ContextTooSmall
from plainsql.translators.language_model.translator import LanguageModelTranslator
from plainsql.watching import watching

FREE = ModelOptions(constrained=False, cache=False)
HELD = ModelOptions(constrained=True, cache=False)
THREADS = GGUFOptions(threads=1)


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    gguf_library.library.cache_clear()
    with pytest.raises(MissingExtra) as caught:
        GGUFTranslator(f"gguf:{tmp_path}").warm_up()
    assert "pip install 'plainsql[gguf]'" in caught.value.hint
    assert "compiles" in caught.value.hint
    gguf_library.library.cache_clear()


@pytest.fixture(scope="module")
def llama_cpp() -> Any:
    return pytest.importorskip("llama_cpp", reason="it is compiled for minutes: pip install it")


@pytest.fixture(scope="module")
def taught(llama_cpp: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of a model that knows answers, and its database."""
    from taught_model import concerts_model

    return concerts_model(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def exported(
    taught: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The model as a GGUF file of a form, alone in its folder."""
    from plainsql.quantization.export import export

    root, made = tmp_path_factory.mktemp("gguf"), dict[str, Path]()

    def make(form: str) -> Path:
        if form not in made:
            file = export(taught[0], root / form, f"gguf-{form}").file
            alone = root / f"{form}-alone"
            alone.mkdir()
            made[form] = Path(shutil.copy(file, alone / "taught.gguf"))
        return made[form]

    return make


def opened(path: Path, options: ModelOptions = FREE, **more: Any) -> GGUFTranslator:
    return GGUFTranslator(f"gguf:{path}", options=options, **{"runtime": THREADS} | more)


def asked(made: LanguageModelTranslator, database: Path, question: str, n: int = 1) -> list[str]:
    with plainsql.connect(database, translator=made) as connection:
        found = made.propose(question, connection.schema, connection.link(question), n)
    return [candidate.sql for candidate in found]


# --- the whole flow ----------------------------------------------------------


@pytest.mark.parametrize("form", ["f32", "f16", "q8_0"])
def test_it_writes_what_the_model_behind_it_writes(
    taught: tuple[Path, Path], exported: Callable[[str], Path], form: str
) -> None:
    """The texts of transformers' greedy search, and their probabilities."""
    from plainsql.translators.language_model.generation import GREEDY, generate
    from taught_model import ANSWERS

    made = opened(exported(form), samples=0)
    other = LanguageModelTranslator(taught[0], asking=FREE)
    with plainsql.connect(taught[1], translator=made) as connection:
        for question in ANSWERS:
            links = connection.link(question)
            prompt = other.prompt(question, connection.schema, links)
            assert made.prompt(question, connection.schema, links) == prompt
            ((expected,),) = generate(other.loaded, [prompt.text], GREEDY)
            (found,) = made._search(prompt, connection.schema, made.settings)
            assert (found.text, found.tokens, found.finished) == (
                expected.text, expected.tokens, expected.finished,
            )  # fmt: skip
            close = 1e-3 if form[0] == "f" else 0.05
            assert found.score == pytest.approx(expected.score, abs=close)


def test_ask_on_the_command_line(
    taught: tuple[Path, Path], exported: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    from taught_model import ANSWERS, FRENCH

    command = ["ask", FRENCH, "-d", str(taught[1]), "--json"]
    name = f"gguf:{exported('f16')}"
    assert run([*command, "--translator", name]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["sql"] == ANSWERS[FRENCH]
    assert found["row_count"] == 4
    assert found["translator"] == name
    assert "llama" not in err.replace(name, "")  # llama.cpp itself says nothing


def test_a_process_of_its_own_ends_in_silence(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import HOW_MANY

    command = [sys.executable, "-m", "plainsql", "ask", HOW_MANY, "-d", str(taught[1])]
    done = subprocess.run(
        [*command, "--translator", f"gguf:{exported('f16').parent}", "--sql-only"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "SELECT count(*) FROM singer\n"), done.stderr
    assert done.stderr.count("\n") == 1  # confidence and time


def test_it_is_evaluated(
    taught: tuple[Path, Path], exported: Callable[[str], Path], tmp_path: Path
) -> None:
    from taught_model import ANSWERS, FRENCH, HOW_MANY

    cases = [{"question": q, "query": ANSWERS[q], "db_id": "concerts"} for q in (HOW_MANY, FRENCH)]
    dataset, report = tmp_path / "cases.json", tmp_path / "report.json"
    dataset.write_text(json.dumps(cases))
    flags = ["--databases", str(taught[1].parent), "--json", str(report)]
    assert run(["eval", str(dataset), "--translator", f"gguf:{exported('q8_0')}", *flags]) == 0
    assert all(outcome["same"] for outcome in json.loads(report.read_text())["outcomes"])


def test_the_doctor_examines_it(
    exported: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLAINSQL_TRANSLATOR", f"gguf:{exported('f16')}")
    assert run(["doctor"]) == 0
    assert "0.1 million parameters, GGUF" in capsys.readouterr().out


def test_a_failed_query_is_mended_by_the_model(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import ANSWERS, SHOES

    made = opened(exported("f32"))
    attempt = Attempt(Candidate(ANSWERS[SHOES], -1.0, made.name), "no such column: shoe_size")
    with plainsql.connect(taught[1], translator=made) as connection:
        links = connection.link(SHOES)
        found = made.repair(SHOES, connection.schema, links, [attempt], 2)
    assert len(found) <= 2
    assert all(candidate.translator == made.name for candidate in found)


# --- what is the same each time ----------------------------------------------


def test_answers_do_not_depend_on_what_was_asked_before(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import FRENCH, HOW_MANY

    made = opened(exported("f32"))
    schema = sqlite_schema(taught[1])
    prompt = made.prompt(HOW_MANY, schema, None)
    tokens = made.loaded.tokenizer(prompt.text)["input_ids"]
    assert len(tokens) > CHUNK  # so that some of it is read once
    draw = Draw(20, temperature=1.5, top_p=1.0, seed=3)
    model = made.loaded.model
    first = model.write(tokens, draw)
    made.propose(FRENCH, schema, Links(Question(FRENCH, ())), 3)
    assert model.write(tokens, draw) == first
    assert model.write(tokens, replace(draw, seed=4)).text != first.text
    assert opened(exported("f32")).loaded.model.write(tokens, draw) == first


def test_drawing() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))
    random = np.random.default_rng(0)

    def shares(draw: Draw) -> list[float]:
        drawn = [_pick(logits, draw, random) for _ in range(2000)]
        return [drawn.count(token) / 2000 for token in range(4)]

    assert shares(Draw(1)) == [1, 0, 0, 0]
    assert shares(Draw(1, temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.05)
    assert shares(Draw(1, temperature=1.0, top_k=2)) == pytest.approx([0.62, 0.38, 0, 0], abs=0.05)
    assert shares(Draw(1, temperature=1.0, top_p=0.7)) == pytest.approx(
        [0.62, 0.38, 0, 0], abs=0.05
    )


def test_threads_share_one_model(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import ANSWERS, FRENCH, HOW_MANY

    made, schema = opened(exported("f32")), sqlite_schema(taught[1])
    made.warm_up()
    found: dict[str, str] = {}

    def ask(question: str) -> None:
        links = Links(Question(question, ()))
        found[question] = made.propose(question, schema, links, 1)[0].sql

    threads = [threading.Thread(target=ask, args=(q,)) for q in (HOW_MANY, FRENCH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[HOW_MANY] == ANSWERS[HOW_MANY]


# --- grammars ----------------------------------------------------------------


def test_under_a_grammar_it_names_only_what_there_is(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from plainsql.execution.guard import judge
    from taught_model import ANSWERS, DROP, FRENCH, SHOES

    made = opened(exported("f32"), HELD)
    schema = sqlite_schema(taught[1])
    assert asked(made, taught[1], FRENCH) == [ANSWERS[FRENCH]]
    for question in (DROP, SHOES):  # free, it answers with a DROP and with a column that isn't
        for sql in asked(made, taught[1], question, 5):
            assert judge(sql, schema=schema).allowed, sql
    assert made.remark == ""


def test_a_grammar_that_llama_cpp_can_not_read(
    taught: tuple[Path, Path], exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from taught_model import ANSWERS, FRENCH

    made = opened(exported("f32"), HELD)
    monkeypatch.setattr(made, "_grammar", lambda schema, shown: 'root ::= "SELECT" nowhere')
    assert asked(made, taught[1], FRENCH) == [ANSWERS[FRENCH]]
    assert "can't read" in made.remark


@pytest.mark.parametrize(("grammar", "text"), [
    ('root ::= "SELECT 1"', "SELECT 1"),
    ('root ::= "日本" | "☃"', None),
    ('root ::= [0-9] [0-9] [0-9]', None),
])  # fmt: skip
def test_texts_of_a_grammar(
    exported: Callable[[str], Path], grammar: str, text: str | None
) -> None:
    made = opened(exported("f32"))
    tokens = made.loaded.tokenizer("How many?")["input_ids"]
    for temperature in (0.0, 1.0):
        found = made.loaded.model.write(tokens, Draw(20, temperature, grammar=grammar))
        assert found.finished
        assert text is None or found.text == text
        assert text is not None or found.text in ("日本", "☃") or found.text.isdigit()


def test_a_vocabulary_that_can_not_follow_the_grammar(exported: Callable[[str], Path]) -> None:
    """llama.cpp's own samplers would end the process here."""
    made = opened(exported("f32"))
    tokens = made.loaded.tokenizer("How many?")["input_ids"]
    with pytest.raises(GrammarRefused):
        made.loaded.model.write(tokens, Draw(20, grammar=r'root ::= "a" "\x00"'))


# --- prompts -----------------------------------------------------------------


def test_a_stranger_is_asked_through_its_own_template(llama_cpp: Any, tmp_path: Path) -> None:
    from plainsql.quantization.gguf_writer import write_gguf
    from plainsql.translators.language_model.loading import load
    from tiny_models import tiny_model

    loaded = load(tiny_model("qwen2", tmp_path / "base", chat=True))
    path = write_gguf(loaded.model, loaded.tokenizer, tmp_path, "f16", "Stranger")
    made = opened(path)
    assert made.info.kind == "base"
    assert made.info.prompt.style == "chat"
    tokenizer = made.loaded.tokenizer
    for text in ("How many?", "<s>user\nÜnïcode 日本 12345</s>\n", "", "  two  blanks\n\n"):
        expected = loaded.tokenizer(text)["input_ids"]
        assert tokenizer(text)["input_ids"] == expected
        assert tokenizer.decode(expected) == loaded.tokenizer.decode(
            expected, skip_special_tokens=True
        )
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm?"}]
    assert tokenizer.apply_chat_template(turns) == loaded.tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    assert set(loaded.tokenizer.all_special_tokens) <= set(tokenizer.all_special_tokens)


def test_a_template_can_not_reach_out_of_its_sandbox(llama_cpp: Any, tmp_path: Path) -> None:
    from plainsql.quantization.gguf_writer import write_gguf
    from plainsql.translators.language_model.loading import load
    from tiny_models import tiny_model

    loaded = load(tiny_model("llama", tmp_path / "base", chat=True))
    loaded.tokenizer.chat_template = (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages[0]['content'] }}"
    )
    path = write_gguf(loaded.model, loaded.tokenizer, tmp_path, "f16", "Evil")
    made = opened(path)
    with pytest.raises(PlainsqlError, match="chat template"):
        made.prompt("How many?", Schema("empty", ()), None)


def test_the_prompt_travels_in_the_file(exported: Callable[[str], Path]) -> None:
    from taught_model import PROMPT

    made = opened(exported("f16"))
    assert not list(exported("f16").parent.glob("*.json"))
    assert made.info.prompt == replace(PROMPT, dialect=made.info.prompt.dialect)


# --- limits ------------------------------------------------------------------


def test_a_small_context_narrows_the_schema(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import HOW_MANY

    made = opened(exported("f32"), runtime=GGUFOptions(context=200, threads=1))
    prompt = made.prompt(HOW_MANY, sqlite_schema(taught[1]), None)
    assert prompt.schema_cut
    assert not prompt.too_long
    assert made.loaded.model.context == 200


def test_a_context_too_small_names_both_sizes(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    from taught_model import HOW_MANY

    made = opened(exported("f32"), runtime=GGUFOptions(context=48, threads=1))
    with pytest.raises(ContextTooSmall, match=r"takes \d+ tokens .* 48 that") as caught:
        asked(made, taught[1], HOW_MANY)
    assert caught.value.hint


def test_a_question_too_long_for_its_prompt(
    taught: tuple[Path, Path], exported: Callable[[str], Path]
) -> None:
    made = opened(exported("f32"))
    with pytest.raises(QuestionError, match="too long"):
        made.propose("who " * 400, sqlite_schema(taught[1]), Links(Question("who", ())), 1)


def test_the_deadline_ends_it(taught: tuple[Path, Path], exported: Callable[[str], Path]) -> None:
    from taught_model import HOW_MANY

    made, schema = opened(exported("f32")), sqlite_schema(taught[1])
    made.warm_up()
    links = Links(Question(HOW_MANY, ()))
    with within(Budget.lasting(0)), pytest.raises(OutOfBudget):
        made.propose(HOW_MANY, schema, links, 1)
    budget = Budget.lasting(60)
    seen: list[int] = []

    def run_out(tokens: int) -> None:
        seen.append(tokens)
        budget.deadline = -math.inf

    with within(budget), watching(run_out), pytest.raises(OutOfBudget):
        made.propose(HOW_MANY, schema, links, 1)
    assert seen == [1]


def test_tokens_are_counted(taught: tuple[Path, Path], exported: Callable[[str], Path]) -> None:
    from taught_model import HOW_MANY

    made = opened(exported("f32"))
    with within(Budget()) as budget:
        asked(made, taught[1], HOW_MANY)
    assert budget.spent > 100


# --- files that won't do -----------------------------------------------------


def wrong_architecture(data: bytes) -> bytes:
    return data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lamma", 1)


def ruined_weights(data: bytes) -> bytes:
    return data[:-40_000] + b"\xff" * 40_000


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda data: b"no weights at all", "no GGUF file"),
    "empty": (lambda data: b"", "no GGUF file"),
    "weights cut": (lambda data: data[:-2000], "cut short"),
    "header cut": (lambda data: data[:3000], "cut short"),
    "almost nothing": (lambda data: data[:6], "cut short"),
    "header damaged": (lambda data: data[:8] + b"\xff" * 60 + data[68:], "can't be used"),
    "version": (lambda data: data[:4] + b"\xff\0\0\0" + data[8:], "newer"),
    "architecture": (wrong_architecture, "does not know its architecture"),
    "weights ruined": (ruined_weights, "not numbers"),
    "prompt broken": (lambda data: data.replace(b'{"style"', b'["style"'), "its prompt is broken"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(
    taught: tuple[Path, Path], exported: Callable[[str], Path], tmp_path: Path, damage: str
) -> None:
    from taught_model import HOW_MANY

    change, message = DAMAGE[damage]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(change(exported("f32").read_bytes()))
    with pytest.raises(ModelError, match=message) as caught:
        asked(opened(path), taught[1], HOW_MANY)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_no_file(llama_cpp: Any, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ModelError, match="There is no") as caught:
            translator(f"gguf:{path}").warm_up()  # type: ignore[attr-defined]
        assert "plainsql export" in caught.value.hint


def written(path: Path, architecture: str, *, tokens: bool, **values: Any) -> Path:
    """A GGUF file of a header alone."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in values.items():
        getattr(writer, name)(value)
    if tokens:
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁how", "▁many"]
        writer.add_tokenizer_model("bert")
        writer.add_token_list(words)
        writer.add_token_types([3, 3, 3, 3, 3, 1, 1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_files_of_something_else(llama_cpp: Any, tmp_path: Path) -> None:
    adapter = written(tmp_path / "lora.gguf", "llama", tokens=False, add_type="adapter")
    with pytest.raises(ModelError, match="no complete model") as caught:
        opened(adapter).warm_up()
    assert "merge" in caught.value.hint
    vectors = written(
        tmp_path / "bert.gguf", "bert", tokens=True, add_causal_attention=False,
        add_context_length=512,
    )  # fmt: skip
    with pytest.raises(ModelError, match="make vectors"):
        opened(vectors).warm_up()


def test_too_little_memory(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = exported("f32").stat().st_size
    monkeypatch.setattr(gguf_library, "_memory", lambda: size - 1)
    with pytest.raises(ModelError, match="GB of memory") as caught:
        opened(exported("f32")).warm_up()
    assert "q4_0" in caught.value.hint


def test_prompt_formats_of_json() -> None:
    with pytest.raises(ValueError, match="unknown prompt settings"):
        PromptFormat.of({"nonsense": 1})
