"""What a model writes: every strategy on every architecture, and the probability it gives."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from plainsql.errors import ModelError, UsageError
from plainsql.translators.language_model import generation
from plainsql.translators.language_model.decoding import end_tokens
from plainsql.translators.language_model.generation import (
    GenerationSettings,
    generate,
    stream,
)
from plainsql.translators.language_model.loading import Loaded, load
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.streaming import _until_stop
from tiny_models import ARCHITECTURES, tiny_model

PROMPTS = ["How many singers are there?", "SELECT name", "Question: names of singers from France"]
LENGTH = 12
SETTINGS = {
    "greedy": GenerationSettings(max_new_tokens=LENGTH),
    "beam": GenerationSettings("beam", candidates=3, beams=4, max_new_tokens=LENGTH),
    "sample": GenerationSettings("sample", candidates=3, temperature=1.3, max_new_tokens=LENGTH),
}
GREEDY, BEAM, SAMPLE = SETTINGS.values()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """All six, by name."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    return {name: load(tiny_model(name, root / name)) for name in ARCHITECTURES}


@pytest.fixture
def llama(models: dict[str, Loaded]) -> Loaded:
    """One that a test may spoil."""
    found = models["llama"]
    return Loaded(copy.deepcopy(found.model), copy.deepcopy(found.tokenizer), found.info)


class Writes:
    """A processor that makes the model write given texts, one for each row."""

    def __init__(self, loaded: Loaded, *texts: str, end: str = "</s>") -> None:
        encode = loaded.tokenizer
        self.rows = [encode(text + end, add_special_tokens=False)["input_ids"] for text in texts]
        self.step = 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        forced = torch.full_like(scores, -torch.inf)
        for i, row in enumerate(self.rows):
            token = row[min(self.step, len(row) - 1)]
            forced[i, token] = scores[i, token]
        self.step += 1
        return forced


def true_score(loaded: Loaded, prompt: str, tokens: Sequence[int]) -> float:
    """The log-probability of `tokens` after `prompt`, by one pass over both."""
    before = loaded.tokenizer(prompt)["input_ids"]
    with torch.no_grad():
        if loaded.info.family == "seq2seq":
            start = loaded.model.config.decoder_start_token_id
            decoder = torch.tensor([[start, *tokens[:-1]]])
            logits = loaded.model(torch.tensor([before]), decoder_input_ids=decoder).logits[0]
        else:
            logits = loaded.model(torch.tensor([[*before, *tokens]])).logits[0, len(before) - 1 :]
    probabilities = logits[: len(tokens)].log_softmax(-1)
    return float(probabilities[range(len(tokens)), list(tokens)].sum())


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What transformers returned for each batch."""
    outputs: list[Any] = []
    real = generation.run_model

    def recording(*arguments: Any, **keywords: Any) -> Any:
        outputs.append(real(*arguments, **keywords))
        return outputs[-1]

    monkeypatch.setattr(generation, "run_model", recording)
    return outputs


@pytest.mark.parametrize("strategy", SETTINGS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_strategy_on_each_architecture(
    models: dict[str, Loaded], written: list[Any], name: str, strategy: str
) -> None:
    loaded, settings = models[name], SETTINGS[strategy]
    found = generate(loaded, PROMPTS[:1], settings)
    assert found == generate(loaded, PROMPTS[:1], settings)  # the same again
    (texts,) = found
    assert len(texts) == settings.candidates
    assert [t.score for t in texts] == sorted((t.score for t in texts), reverse=True)
    assert all(0 < text.tokens <= LENGTH for text in texts)
    prompt = loaded.tokenizer(PROMPTS[0])["input_ids"]
    start = 1 if name == "t5" else len(prompt)
    rows = [row[start:].tolist() for row in written[0].sequences]
    ends = set(end_tokens(loaded))
    rows = [row[: next((i for i, t in enumerate(row, 1) if t in ends), len(row))] for row in rows]
    true = sorted((true_score(loaded, PROMPTS[0], row) for row in rows), reverse=True)
    assert [text.score for text in texts] == pytest.approx(true, abs=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_gives_what_single_prompts_give(models: dict[str, Loaded], name: str) -> None:
    alone = [generate(models[name], [prompt], GREEDY)[0][0] for prompt in PROMPTS]
    together = [texts[0] for texts in generate(models[name], PROMPTS, GREEDY)]
    in_twos = generate(models[name], PROMPTS, replace(GREEDY, batch_size=2))
    for one, other, third in zip(alone, together, in_twos, strict=True):
        assert one.text == other.text == third[0].text
        assert other.score == pytest.approx(one.score, abs=1e-3)


def test_beams_differ_and_the_best_is_no_worse_than_greedy(models: dict[str, Loaded]) -> None:
    for name in ("gpt2", "llama", "qwen2"):
        wide = replace(BEAM, beams=8, candidates=8)
        beams = generate(models[name], PROMPTS[:1], wide)[0]
        assert len({(text.text, text.score) for text in beams}) == 8
        greedy = generate(models[name], PROMPTS[:1], GREEDY)[0][0]
        assert beams[0].score >= greedy.score - 1e-4


def test_sampling_depends_on_its_seed_and_on_nothing_else(models: dict[str, Loaded]) -> None:
    before = torch.get_rng_state()
    first = generate(models["llama"], PROMPTS, SAMPLE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert generate(models["llama"], PROMPTS, SAMPLE) == first
    assert generate(models["llama"], PROMPTS, replace(SAMPLE, seed=1)) != first


def test_the_likeliest_token_alone_is_greedy(models: dict[str, Loaded]) -> None:
    narrow = replace(SAMPLE, candidates=1, top_k=1)
    assert generate(models["llama"], PROMPTS, narrow) == generate(models["llama"], PROMPTS, GREEDY)


@pytest.mark.parametrize("strategy", SETTINGS)
def test_the_models_own_defaults_do_not_count(
    llama: Loaded, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = generate(llama, PROMPTS, SETTINGS[strategy])
    own = llama.model.generation_config
    own.do_sample, own.temperature, own.top_p, own.top_k = True, 0.1, 0.2, 2
    own.repetition_penalty, own.max_length, own.num_beams = 5.0, 3, 2
    own.no_repeat_ngram_size = 1
    with caplog.at_level(logging.WARNING):
        assert generate(llama, PROMPTS, SETTINGS[strategy]) == expected
    assert not caplog.records
    assert llama.model.generation_config is own
    assert own.repetition_penalty == 5.0


def test_a_model_in_training_is_asked_without_dropout_and_goes_on(llama: Loaded) -> None:
    expected = generate(llama, PROMPTS, GREEDY)
    llama.model.config.use_cache = False  # as gradient checkpointing sets it
    for module in llama.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.9
    llama.model.train()
    assert generate(llama, PROMPTS, GREEDY) == expected
    assert llama.model.training


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_is_asked_like_its_base(llama: Loaded) -> None:
    from peft import LoraConfig, get_peft_model

    expected = generate(llama, PROMPTS, BEAM)
    own = llama.model.generation_config
    adapted = get_peft_model(llama.model, LoraConfig(target_modules=["q_proj"]))
    llama.model = adapted  # its B matrix is zero: it changes nothing yet
    assert generate(llama, PROMPTS, BEAM) == expected
    assert adapted.get_base_model().generation_config is own


# --- where a text ends -------------------------------------------------------

SQL = "SELECT name FROM singer"
ENDINGS = {  # what the model writes, its style, the text found, whether it is finished
    "end token": (SQL + "</s>", "instruct", SQL, True),
    "next section": (SQL + "\n### Question\nHow", "instruct", SQL, True),
    "blank line, then section": (SQL + ";\n\n### Schema", "instruct", SQL + ";\n", True),
    "next question": (SQL + "\nQuestion: How many", "minimal", SQL, True),
    "next database": (SQL + "\nDatabase: x", "minimal", SQL, True),
    "heading of a chat": ("Sure.\n### SQL\n" + SQL, "chat", "Sure.\n### SQL\n" + SQL, False),
    "nothing": (SQL, "instruct", SQL, False),
    "end token at once": ("</s>", "instruct", "", True),
}


@pytest.mark.parametrize(("text", "style", "found", "finished"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("name", ["llama", "t5"])
def test_where_a_text_ends(
    models: dict[str, Loaded], name: str, text: str, style: str, found: str, finished: bool
) -> None:
    loaded = replace(models[name], info=replace(models[name].info, prompt=PromptFormat(style)))
    writes = Writes(loaded, text, end="")
    tokens = len(writes.rows[0])
    settings = GenerationSettings(max_new_tokens=tokens)
    ((one,),) = generate(loaded, PROMPTS[:1], settings, [writes])
    assert (one.text, one.finished) == (found, finished)
    assert one.tokens <= tokens
    row = writes.rows[0][: one.tokens]
    assert one.score == pytest.approx(true_score(loaded, PROMPTS[0], row), abs=1e-3)


def test_rows_of_a_batch_end_by_themselves(llama: Loaded) -> None:
    llama.tokenizer.pad_token = llama.tokenizer.eos_token  # what ends is also what pads
    writes = Writes(llama, SQL + "\n### Que", "SELECT 1", SQL + " WHERE age = 29", end="</s>")
    settings = GenerationSettings(max_new_tokens=40)
    prompts = sorted(PROMPTS, key=len, reverse=True)  # the order in which a batch takes them
    found = [texts[0] for texts in generate(llama, prompts, settings, [writes])]
    assert [text.text for text in found] == [SQL, "SELECT 1", SQL + " WHERE age = 29"]
    assert all(text.finished for text in found)
    for prompt, text, row in zip(prompts, found, writes.rows, strict=True):
        assert text.score == pytest.approx(true_score(llama, prompt, row[: text.tokens]), abs=1e-3)


def test_a_model_may_have_several_ends(llama: Loaded) -> None:
    turn = llama.tokenizer(" ORDER", add_special_tokens=False)["input_ids"][0]
    llama.model.generation_config.eos_token_id = [turn, llama.tokenizer.eos_token_id]
    ((one,),) = generate(llama, PROMPTS[:1], GREEDY, [Writes(llama, "SELECT 1 ORDER BY")])
    assert one.finished
    assert "BY" not in one.text


def test_stop_texts_of_ones_own(models: dict[str, Loaded]) -> None:
    settings = GenerationSettings(max_new_tokens=30, stop=(";",))
    writes = Writes(models["llama"], "SELECT 1; SELECT 2;")
    assert generate(models["llama"], PROMPTS[:1], settings, [writes])[0][0].text == "SELECT 1"


@pytest.mark.parametrize("strategy", ["beam", "sample"])
def test_stop_texts_in_beams_and_samples(
    models: dict[str, Loaded], written: list[Any], strategy: str
) -> None:
    loaded = models["llama"]
    settings = replace(SETTINGS[strategy], stop=("e", "s"), max_new_tokens=30)
    texts = generate(loaded, PROMPTS[:1], settings)[0]
    start, end = len(loaded.tokenizer(PROMPTS[0])["input_ids"]), loaded.tokenizer.eos_token_id
    true = []
    for row in written[0].sequences[:, start:].tolist():
        said = enumerate((loaded.tokenizer.decode(row[:n]) for n in range(1, len(row) + 1)), 1)
        stops = (n for n, part in said if "e" in part or "s" in part or row[n - 1] == end)
        true.append(true_score(loaded, PROMPTS[0], row[: next(stops, len(row))]))
    assert [text.score for text in texts] == pytest.approx(sorted(true, reverse=True), abs=1e-3)
    assert any(text.finished for text in texts)
    assert not any("e" in text.text or "s" in text.text for text in texts)


def test_a_forbidden_token_is_not_written_and_scores_stay_the_models(
    models: dict[str, Loaded], written: list[Any]
) -> None:
    loaded = models["llama"]
    ((free,),) = generate(loaded, PROMPTS[:1], GREEDY)
    start = len(loaded.tokenizer(PROMPTS[0])["input_ids"])
    taboo = written[0].sequences[0, start]

    def forbid(input_ids: Any, scores: Any) -> Any:
        scores = scores.clone()
        scores[:, taboo] = -torch.inf
        return scores

    for settings in SETTINGS.values():
        texts = generate(loaded, PROMPTS[:1], settings, [forbid])[0]
        rows = written[-1].sequences[:, start:]
        assert not (rows == taboo).any()
        true = sorted((true_score(loaded, PROMPTS[0], r.tolist()) for r in rows), reverse=True)
        assert [t.score for t in texts] == pytest.approx(true, abs=1e-3)
        assert texts[0] != free


# --- limits and errors -------------------------------------------------------


def test_no_prompts_no_texts(models: dict[str, Loaded]) -> None:
    assert generate(models["llama"], []) == []


def test_an_empty_prompt_is_refused(models: dict[str, Loaded]) -> None:
    with pytest.raises(UsageError, match="empty"):
        generate(models["gpt2"], [""])


def test_a_prompt_longer_than_the_model_reads(models: dict[str, Loaded]) -> None:
    with pytest.raises(UsageError, match="reads 1,024"):
        generate(models["gpt2"], ["singer " * 3000], GREEDY)


def test_near_its_limit_a_model_writes_less(models: dict[str, Loaded]) -> None:
    loaded = models["gpt2"]
    prompt = " singers" * 2000
    token = loaded.tokenizer(prompt)["input_ids"]
    prompt = loaded.tokenizer.decode(token[:1020])
    assert len(loaded.tokenizer(prompt)["input_ids"]) == 1020
    assert generate(loaded, [prompt], GREEDY)[0][0].tokens <= 4


@pytest.mark.parametrize("strategy", SETTINGS)
def test_outputs_that_are_no_numbers(llama: Loaded, strategy: str) -> None:
    torch.nn.init.constant_(llama.model.lm_head.weight, float("nan"))
    with pytest.raises(ModelError, match="not numbers") as caught:
        generate(llama, PROMPTS, SETTINGS[strategy])
    assert "--dtype" in caught.value.hint


WRONG: list[dict[str, Any]] = [
    {"strategy": "best"},
    {"candidates": 0},
    {"candidates": 2},  # greedy finds one
    {"strategy": "beam", "candidates": 5},
    {"strategy": "beam", "beams": 1},
    {"strategy": "beam", "beams": 1000},
    {"temperature": 0.0},
    {"temperature": -1.0},
    {"temperature": float("nan")},
    {"top_p": 0.0},
    {"top_p": 1.5},
    {"top_k": -1},
    {"max_new_tokens": 0},
    {"batch_size": 0},
    {"seed": -1},
    {"stop": ("",)},
]


@pytest.mark.parametrize("values", WRONG, ids=str)
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        GenerationSettings(**values)
    assert caught.value.hint.startswith("Change --")


# --- streaming ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "t5"])
@pytest.mark.parametrize("strategy", ["greedy", "sample"])
def test_a_stream_is_the_text_in_pieces(
    models: dict[str, Loaded], name: str, strategy: str
) -> None:
    settings = replace(SETTINGS[strategy], candidates=1, max_new_tokens=30)
    ((one,),) = generate(models[name], PROMPTS[:1], settings)
    assert "".join(stream(models[name], PROMPTS[0], settings)) == one.text


def test_closing_a_stream_stops_the_model(models: dict[str, Loaded]) -> None:
    pieces = stream(models["llama"], PROMPTS[0], GenerationSettings(max_new_tokens=900))
    next(pieces)
    assert _writers()
    pieces.close()  # type: ignore[attr-defined]
    assert not _writers()


def _writers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "plainsql-stream"]


def test_errors_of_a_stream_are_raised_where_it_is_read(models: dict[str, Loaded]) -> None:
    with pytest.raises(UsageError, match="reads 1,024"):
        list(stream(models["gpt2"], "singer " * 3000))
    assert not _writers()


@pytest.mark.parametrize("strategy", ["beam", "sample"])
def test_only_one_text_is_streamed(models: dict[str, Loaded], strategy: str) -> None:
    with pytest.raises(UsageError, match="streamed"):
        stream(models["llama"], PROMPTS[0], SETTINGS[strategy])


HELD: list[tuple[list[str], list[str]]] = [
    (["SELECT 1"], ["SELECT 1"]),
    (["SELECT ", "1"], ["SELECT ", "1"]),
    (["a\n", "b"], ["a", "\nb"]),
    (["a\n", "##", "# b"], ["a"]),
    (["a\n##", "x"], ["a", "\n##x"]),
    (["a\n### b"], ["a"]),
    (["a\n#"], ["a", "\n#"]),
    (["\n### "], []),
    ([], []),
]


@pytest.mark.parametrize(("pieces", "shown"), HELD)
def test_what_may_begin_a_stop_text_is_held_back(pieces: list[str], shown: list[str]) -> None:
    assert list(_until_stop(iter(pieces), ("\n### ",))) == shown
