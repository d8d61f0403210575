"""What holding a language model to the grammar of a schema gives, and what it costs.

    python benchmarks/constrained_decoding.py random --statements 10000
    python benchmarks/constrained_decoding.py coverage --spider DIR --model DIR
    python benchmarks/constrained_decoding.py cost --spider DIR --model DIR
    python benchmarks/constrained_decoding.py accuracy --model DIR --data DIR

`random`: texts by chance through the masks, over seven schemas. Each must end, pass the
guard, and be compiled by the engine without a complaint about names. `coverage`: the
share of Spider's development queries that the grammar of their schema permits, and
those that it does not. `cost`: compiling, and the time of the masks beside that of a
model's own tokens, for the model in DIR and for one of Qwen2-0.5B's shape with random
weights and a vocabulary of 16,000 made of Spider's text. `accuracy`: a tuned model with
and without the masks, on questions of the data that
benchmarks/fine_tuning/language_model.py prepared: exact logical form (WikiSQL comes
without cells), queries that the guard permits, and time.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent / "fine_tuning"))

import grammar_schemas
import random_queries
from plainsql.execution.guard import judge
from plainsql.schema.model import Schema
from plainsql.schema.spider import load_tables_json
from plainsql.translators.language_model.constrained import grammar_of, processor
from plainsql.translators.language_model.constrained.masks import (
    Machine,
    Masks,
    Vocabulary,
    machine_of,
)
from plainsql.translators.language_model.decoding import Processor
from plainsql.translators.language_model.extract import extract_sql
from plainsql.translators.language_model.generation import GenerationSettings, generate
from plainsql.translators.language_model.loading import Loaded, load
from plainsql.translators.language_model.model_info import ModelInfo

WRONG_NAMES = re.compile(r"no such|ambiguous|not found|does not exist|Referenced|syntax", re.I)
# Types that don't fit are no matter of names: DuckDB has no 'x' || 3.
OPERATOR = re.compile(r"Function with name \W+ does not exist|No function matches")
_DOUBLE = re.compile(r'"([^"]*)"')
QWEN = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def main() -> None:
    """Do one part and print it."""
    options = _options()
    PARTS[options.part](options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--statements", type=int, default=10_000, help="random texts in all")
    parser.add_argument("--spider", type=Path, help="the folder of Spider")
    parser.add_argument("--model", type=Path, help="the folder of a model")
    parser.add_argument("--data", type=Path, help="the folder data/ of language_model.py")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


# --- texts by chance -------------------------------------------------------------------


def random_texts(options: argparse.Namespace) -> None:
    """10,000 texts by chance: do they end, may they run, do they name what there is?"""
    from tiny_models import tiny_tokenizer

    schemas = {**grammar_schemas.SCHEMAS, "demo": _demo, "concerts": _concerts}
    words = random_queries.vocabulary(tiny_tokenizer(2000))
    each = -(-options.statements // len(schemas))
    for name, make in schemas.items():
        found, problems = _random(make(), words, each, options.seed)
        print(f"{name}: {found}", flush=True)
        for problem in problems[:5]:
            print(f"    {problem}")


def _random(
    schema: Schema, words: Vocabulary, many: int, seed: int
) -> tuple[dict[str, float], list[str]]:
    writer = random_queries.Writer(schema, words, seed)
    complaint_of = grammar_schemas.compiler(schema)
    counts: Counter[str] = Counter()
    problems, started = [], time.process_time()
    for _ in range(many):
        try:
            sql = random_queries.bare(writer.text())
        except AssertionError as error:
            problems.append(f"left the grammar: {error}")
            continue
        verdict = judge(sql, schema=schema, dialect=schema.dialect)
        complaint = complaint_of(sql)
        misnamed = WRONG_NAMES.search(complaint) and not OPERATOR.search(complaint)
        counts += Counter(finished=1, allowed=int(verdict.allowed), compiled=int(not complaint))
        counts["misnamed"] += bool(misnamed)
        if not verdict.allowed or misnamed:
            problems.append(f"{verdict.reason or complaint}: {sql!r}"[:600])
    seconds = time.process_time() - started
    return {**counts, "tokens": writer.tokens, "seconds": round(seconds, 1)}, problems


def _demo() -> Schema:
    from tempfile import TemporaryDirectory

    from plainsql import connect
    from plainsql.demo import make_demo

    with TemporaryDirectory() as folder, connect(make_demo(Path(folder) / "demo.sqlite")) as made:
        return made.schema


def _concerts() -> Schema:
    return grammar_schemas.schema_of(
        {"singer": ["singer_id", "name", "age"], "concert": ["title", "year", "singer_id"]},
        ["concert.singer_id=singer.singer_id"],
    )


# --- gold queries ------------------------------------------------------------------------


def coverage(options: argparse.Namespace) -> None:
    """How many of Spider's development queries, tidied as for training, can be written."""
    from plainsql.training.data.checks import tidy

    loaded = load(options.model)
    words = machine_of(grammar_of(_concerts()), loaded).vocabulary
    schemas = load_tables_json(options.spider / "tables.json")
    rows = json.loads((options.spider / "dev.json").read_text(encoding="utf-8"))
    machine: Machine | None = None
    left: dict[tuple[str, str], str] = {}
    accepted = 0
    for row in rows:
        name = row["db_id"]
        if machine is None or machine.grammar.schema is not schemas[name]:
            machine = Machine(grammar_of(schemas[name]), words)
        # SQLite takes "x" for a text where no column is called so; the grammar does not.
        sql = _DOUBLE.sub(lambda text: "'" + text[1].replace("'", "''") + "'", tidy(row["query"]))
        end = _accepted(machine, loaded.tokenizer, sql)
        accepted += end is None
        if end is not None:
            left[name, sql] = end
    print(f"{accepted} of {len(rows)} queries ({accepted / len(rows):.1%}); left out:")
    for (name, sql), end in left.items():
        print(f"    {name}: {end} >>> {sql[len(end) :]}")


def _accepted(machine: Machine, tokenizer: Any, sql: str) -> str | None:
    """None where the text can be written to its end, else how far."""
    masks = Masks(machine)
    state, written = masks.start(), b""
    for token in tokenizer(sql, add_special_tokens=False)["input_ids"]:
        if not masks.allowed(state)[token]:
            return written.decode(errors="replace")
        masks.advance(state, token)
        written += machine.vocabulary.pieces[token]
    return None if masks.allowed(state)[tokenizer.eos_token_id] else written.decode()


# --- time ----------------------------------------------------------------------------------


@dataclass
class Timed:
    """A processor that measures another one."""

    inner: Processor
    seconds: float = 0.0
    calls: int = 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        started = time.perf_counter()
        found = self.inner(input_ids, scores)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return found


def cost(options: argparse.Namespace) -> None:
    """What compiling takes, and the masks' share of a token's time."""
    import torch

    torch.set_num_threads(options.threads)
    schemas = load_tables_json(options.spider / "tables.json")
    chosen = [schemas[name] for name in ("concert_singer", "dog_kennels", "baseball_1")]
    chosen.append(_part(grammar_schemas.forty_tables(), 20))
    for loaded in (load(options.model), _qwen(options.spider)):
        size = loaded.model.num_parameters() / 1e6
        print(f"{size:.1f} million parameters, vocabulary {len(loaded.tokenizer):,}")
        for schema in chosen:
            for settings in (
                GenerationSettings(max_new_tokens=48),
                GenerationSettings("beam", candidates=4, beams=4, max_new_tokens=48),
            ):
                _time(loaded, schema, settings)


def _part(schema: Schema, many: int) -> Schema:
    return grammar_of(schema, range(many)).schema


def _time(loaded: Loaded, schema: Schema, settings: GenerationSettings) -> None:
    started = time.perf_counter()
    made = Timed(processor(grammar_of(schema), loaded))
    compiling = time.perf_counter() - started
    prompt = "Translate the question into one SQLite SELECT statement." * 8
    generate(loaded, [prompt], replace(settings, max_new_tokens=2))
    started = time.perf_counter()
    generate(loaded, [prompt], settings, [made])
    whole = time.perf_counter() - started
    own = whole - made.seconds
    print(
        f"    {schema.name}, {len(schema.tables)} tables, {settings.strategy}: ready in"
        f" {compiling * 1000:.0f} ms; {made.seconds / made.calls * 1000:.2f} ms of masks a step,"
        f" {own / made.calls * 1000:.2f} ms of the model: {made.seconds / own:.1%}",
        flush=True,
    )


def _qwen(spider: Path) -> Loaded:
    """A Qwen2 of the shape of 0.5 billion parameters that knows nothing."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    rows = json.loads((spider / "train_spider.json").read_text(encoding="utf-8"))
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"{row['question']}\n{row['query']}" for row in rows)
    plain.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=len(tokenizer), **QWEN)
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = Qwen2ForCausalLM(config).to(torch.bfloat16).eval()
    return Loaded(model, tokenizer, ModelInfo(kind="base", base="random"))


# --- accuracy --------------------------------------------------------------------------------


def accuracy(options: argparse.Namespace) -> None:
    """Exact logical form of a tuned model, free and held to the grammar."""
    import torch
    from tasks import _instruct

    torch.set_num_threads(options.threads)
    loaded = load(options.model)
    asked = _instruct(str(options.data), options.questions, loaded)
    schemas = list(_schemas(options.data, options.questions))
    for settings in (
        GenerationSettings(max_new_tokens=96),
        GenerationSettings("beam", candidates=4, beams=4, max_new_tokens=96),
    ):
        for held in (False, True):
            _measure(loaded, asked, schemas, settings, held=held)


def _schemas(data: Path, many: int) -> Iterator[Schema]:
    """The one table of each question, of its prompt's DDL."""
    from plainsql.training.data.prepared import load_prepared, read_examples

    rows = list(read_examples(load_prepared(data / "prepared").validation))[:many]
    for row in rows:
        tables = {}
        for block in row["schema"]:
            lines = block["text"].splitlines()[1:-1]
            found = (re.match(r'  ("(?:[^"]|"")*"|\w+) [A-Z]', line) for line in lines)
            names = [one[1].strip('"').replace('""', '"') for one in found if one]
            tables[block["table"]] = [name for name in names if name not in ("PRIMARY", "FOREIGN")]
        yield grammar_schemas.schema_of(tables)


def _measure(
    loaded: Loaded,
    asked: list[tuple[str, str]],
    schemas: list[Schema],
    settings: GenerationSettings,
    *,
    held: bool,
) -> None:
    from logical_form import same

    right = valid = anywhere = 0
    started = time.perf_counter()
    for (prompt, gold), schema in zip(asked, schemas, strict=True):
        masks = [processor(grammar_of(schema), loaded)] if held else []
        texts = generate(loaded, [prompt], settings, masks)[0]
        queries = [extract_sql(text.text) for text in texts]
        right += bool(queries) and same(gold, queries[0])
        anywhere += any(same(gold, query) for query in queries)
        valid += bool(queries) and _compiles(schema, queries[0])
    seconds, many = time.perf_counter() - started, len(asked)
    print(
        f"{settings.strategy}, {'held' if held else 'free'}: {right} of {many} right"
        f" ({right / many:.1%}), {anywhere} among the candidates, {valid} valid,"
        f" {seconds / many * 1000:.0f} ms a question",
        flush=True,
    )


def _compiles(schema: Schema, sql: str) -> bool:
    return judge(sql, schema=schema).allowed and not grammar_schemas.compiler(schema)(sql)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "random": random_texts,
    "coverage": coverage,
    "cost": cost,
    "accuracy": accuracy,
}

if __name__ == "__main__":
    main()
