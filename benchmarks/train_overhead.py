"""What `plainsql train` costs a step over a bare `transformers.Trainer`.

    python benchmarks/train_overhead.py [--steps 30] [--repetitions 7] [--method lora]

Both train the same model (a Llama of a few million weights) on the same tokens with
the same arguments, in turns, so that other work on the machine hits both alike. Each
repetition gives one time a step for either; printed are the medians and the median of
the ratios within a repetition. Evaluation and checkpoints are left out of both: they
are no part of a step, and a bare Trainer has nothing like them.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from plainsql.training.data.tokenizing import collator, tokenize
from plainsql.training.tuning.checkpoints import RunFolder
from plainsql.training.tuning.config import TrainConfig
from plainsql.training.tuning.loop import arguments
from plainsql.training.tuning.methods import prepare_model
from plainsql.training.tuning.recipe import setup, train
from plainsql.training.tuning.run_setup import method_options
from plainsql.translators.language_model.loading import quiet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tiny_models import tiny_tokenizer

EXAMPLES = 400
NEVER = 10**9


class Clock(TrainerCallback):
    """Times from the end of the first step to the end of the last: no warming up."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))

    def a_step(self) -> Cost:
        """The mean of a step."""
        (wall, cpu), (last_wall, last_cpu), count = self.ends[0], self.ends[-1], len(self.ends) - 1
        return Cost((last_wall - wall) / count, (last_cpu - cpu) / count)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds a step: on the clock, and of the processor, which other work hardly changes."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Result:
    """One repetition."""

    bare: Cost
    ours: Cost


def write_base(folder: Path) -> None:
    """A Llama of 5 million weights and its tokenizer."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_data(folder: Path) -> None:
    """Prepared pairs of differing lengths, as `plainsql data prepare` would write them."""
    folder.mkdir()
    words, draw = "name age country title year concert singer".split(), random.Random(0)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(EXAMPLES):
            columns = ", ".join(draw.choices(words, k=draw.randint(2, 12)))
            block = {"table": "singer", "text": f"singer ({columns})", "rank": 0}
            row = {
                "instruction": "",
                "schema": [block],
                "question": f"What is the {draw.choice(words)} of number {number}?",
                "response": f"SELECT {draw.choice(words)} FROM singer WHERE id = {number}",
                "db": "",
                "evidence": "",
            }
            file.write(json.dumps(row) + "\n")
    (folder / "validation.jsonl").touch()
    prompt = {"style": "instruct", "max_input_tokens": 256, "max_output_tokens": 64}
    manifest = {"format_version": 1, "prompt": prompt, "databases": ""}
    (folder / "prepare.json").write_text(json.dumps(manifest), encoding="utf-8")


def ours(config: TrainConfig) -> Cost:
    """A step of `plainsql train`."""
    clock = Clock()
    train(config, force=True, callbacks=[clock])
    return clock.a_step()


def bare(config: TrainConfig) -> Cost:
    """A step of transformers' own Trainer."""
    run = setup(config, force=True)
    options = method_options(config, run.device)
    loaded = prepare_model(config.base, options, device=run.device, seed=config.seed)
    made = tokenize(run.prepared.train, loaded.tokenizer, run.prompt, loaded.info.family)
    clock = Clock()
    trainer = Trainer(
        model=loaded.model,
        args=arguments(config, RunFolder(Path(config.out)), run.device, NEVER),
        train_dataset=made.dataset,
        data_collator=collator(loaded.tokenizer, loaded.info.family),
        callbacks=[clock],
    )
    trainer.args.save_strategy = "no"
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.a_step()


def measure(config: TrainConfig, repetitions: int) -> list[Result]:
    """Both in turns; which goes first alternates."""
    found = []
    for number in range(repetitions):
        if number % 2:
            first = ours(config)
            found.append(Result(bare=bare(config), ours=first))
        else:
            first = bare(config)
            found.append(Result(bare=first, ours=ours(config)))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_base(folder / "base")
        write_data(folder / "data")
        config = TrainConfig(
            base=str(folder / "base"), data=str(folder / "data"), out=str(folder / "run"),
            method=given.method, max_steps=given.steps, batch_size=4, accumulation=1,
            precision="fp32", device="cpu", threads=given.threads, eval_examples=0,
            save_steps=NEVER,
        )  # fmt: skip
        measure(replace(config, max_steps=5), 1)  # warm: imports, allocator, page cache
        found = measure(config, given.repetitions)
    print_results(found, given)


def print_results(found: list[Result], given: argparse.Namespace) -> None:
    """One line for people on stderr, one JSON object on stdout."""
    values: dict[str, Any] = dict(vars(given))
    for clock in ("wall", "cpu"):
        pairs = [(getattr(item.bare, clock), getattr(item.ours, clock)) for item in found]
        values[f"bare_{clock}_ms"] = round(1000 * statistics.median(bare for bare, _ in pairs), 2)
        values[f"ours_{clock}_ms"] = round(1000 * statistics.median(ours for _, ours in pairs), 2)
        values[f"{clock}_ratio"] = round(statistics.median(o / b for b, o in pairs), 4)
    text = (
        f"a step: bare Trainer {values['bare_wall_ms']} ms, plainsql train"
        f" {values['ours_wall_ms']} ms, ratio {values['wall_ratio']} (by processor time"
        f" {values['cpu_ratio']})"
    )
    print(text, file=sys.stderr)
    print(json.dumps(values))


if __name__ == "__main__":
    main()
