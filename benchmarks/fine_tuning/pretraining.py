"""A small Llama, pre-trained to answer WikiSQL's questions in a shorthand of its own.

What makes minutes on a CPU enough: the tokenizer gives a word the same tokens wherever
it stands (a space is a token, all text is lower-case), so that values can be copied from
question to SQL token by token; the heads that copy are there from the start (see
copying_heads.py); matrices are trained by Muon, which needs half the steps of AdamW
here; and the run begins with short examples, of which there are more a second.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import copying_heads
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from plainsql.translators.language_model.estimating import EstimatingTokenizer
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import build_prompt
from plainsql.translators.language_model.schema_text import Block

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BLANK = "▁"
PROMPTS_SEEN = 500  # by the tokenizer, not the model
IGNORED = -100  # labels that don't count
LONGEST = 200  # tokens of a pre-training example
ROUND = 8  # lengths are rounded up: each new shape costs oneDNN memory

Example = tuple[list[int], list[int]]  # prompt and answer
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The model and its training. The defaults are 6.1 M parameters."""

    vocabulary: int = 4096
    width: int = 320
    layers: int = 4
    heads: int = 5
    batch: int = 32
    steps: int = 6000
    minutes: float = 22.0  # at most; where they are short there are fewer steps
    short: int = 64  # tokens of the examples to begin with
    short_share: float = 0.25  # of the run, on those alone
    matrix_rate: float = 0.006  # of Muon, for the layers' matrices
    rate: float = 6e-4  # of AdamW, for the rest
    cooldown: float = 0.7  # the share of steps over which the rates fall to zero
    seed: int = 0


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A BPE in SentencePiece's form, as Llama's: bytes for what has no token, "▁" for spaces.

    It learns from texts in pieces, spaces, digits and punctuation apart. No merge crosses
    a piece, so that texts need not be split in use, which llama.cpp could not follow.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    first = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", BLANK)
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rf"[{BLANK}\s]"), "isolated"),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    size = vocabulary - len(first)
    trainer = trainers.BpeTrainer(vocab_size=size, limit_alphabet=256, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    tokens = [*first, *sorted(learned["vocab"], key=learned["vocab"].get)]
    numbers = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(pair) for pair in learned["merges"]]
    made = Tokenizer(models.BPE(numbers, merges, unk_token=SPECIAL[UNKNOWN], byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", BLANK)
    made.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    names = ("pad_token", "bos_token", "eos_token", "unk_token")
    return PreTrainedTokenizerFast(tokenizer_object=made, **dict(zip(names, SPECIAL, strict=True)))


def prompt_words() -> str:
    """What the prompts to be tuned on have in capitals, for the tokenizer to know."""
    block = Block("table", 'CREATE TABLE "table" (\n  "a b" TEXT,\n  c TEXT\n);', 0)
    return build_prompt(PromptFormat(), "?", (block,), EstimatingTokenizer()).text


def make_model(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model, in float32; it knows how to copy."""
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.width,
            intermediate_size=recipe.width * 8 // 3 // 32 * 32,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            # sequences are short: the fused kernel's backward pass takes a third longer on CPU
            attn_implementation="eager",
        )
    )
    copying_heads.put_in(model, recipe.seed)
    return model


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Example]:
    """Prompts and answers as tokens, without those too long to learn from."""
    prompts = tokenizer([prompt for prompt, _ in pairs])["input_ids"]
    answers = tokenizer([answer for _, answer in pairs])["input_ids"]
    made = [(prompt, [*answer, EOS]) for prompt, answer in zip(prompts, answers, strict=True)]
    return [example for example in made if len(example[0]) + len(example[1]) <= LONGEST]


# --- batches -----------------------------------------------------------------


def questions(
    examples: Sequence[Example], recipe: Recipe, chance: random.Random
) -> Iterator[list[Example]]:
    """Batches without end, of examples of like length, each example once before any twice."""
    size = recipe.batch
    while True:
        order = chance.sample(examples, len(examples))
        for start in range(0, len(order), 50 * size):
            near = sorted(order[start : start + 50 * size], key=lambda e: len(e[0]) + len(e[1]))
            groups = [near[at : at + size] for at in range(0, len(near), size)]
            yield from chance.sample(groups, len(groups))


def tensors(batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Token ids and labels, both (B, T), padded on the right."""
    longest = max(len(prompt) + len(answer) for prompt, answer in batch)
    length = -(-longest // ROUND) * ROUND
    ids = torch.full((len(batch), length), PAD)
    labels = torch.full((len(batch), length), IGNORED)
    for at, (prompt, answer) in enumerate(batch):
        end = len(prompt) + len(answer)
        ids[at, :end] = torch.tensor(prompt + answer)
        labels[at, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


# --- training ----------------------------------------------------------------


def loss_of(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the answers; logits are computed at their positions only.

    No mask is needed: padding is on the right, and attention looks back.
    """
    wanted = labels[:, 1:] != IGNORED
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[wanted])
    return nn.functional.cross_entropy(logits.float(), labels[:, 1:][wanted])


def optimizers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of layers (https://kellerjordan.github.io/posts/muon/), AdamW else."""
    layers = list(model.model.layers.parameters())
    matrices = [weight for weight in layers if weight.ndim == 2]
    taken = set(map(id, matrices))
    rest = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=recipe.rate, weight_decay=0.0, betas=(0.9, 0.95)),
    ]


@dataclass(slots=True)
class Clock:
    """How much of the run is done: by steps, or by time where that runs out first."""

    recipe: Recipe
    started: float
    step: int = 0

    @property
    def minutes(self) -> float:
        return (time.perf_counter() - self.started) / 60

    @property
    def done(self) -> float:
        """0 to 1, and more after the end."""
        return max(self.step / self.recipe.steps, self.minutes / self.recipe.minutes)

    @property
    def rate(self) -> float:
        """What the learning rates are multiplied by: a rise, a plateau, a fall."""
        rise = min(1.0, (self.step + 1) / 50)
        return rise * max(0.01, min(1.0, (1 - self.done) / self.recipe.cooldown))


def pretrain(
    pairs: Sequence[tuple[str, str]], folder: Path, recipe: Recipe, say: Say
) -> dict[str, Any]:
    """Train tokenizer and model on `pairs`, save both in `folder`, say what came of it."""
    texts = [prompt + answer for prompt, answer in pairs]
    tokenizer = train_tokenizer([*texts, *[prompt_words()] * PROMPTS_SEEN], recipe.vocabulary)
    model = make_model(recipe).train()
    examples = encode(tokenizer, pairs)
    curve, tokens, clock = _run(model, examples, recipe, say)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "examples": len(examples),
        "steps": clock.step,
        "tokens": tokens,
        "minutes": round(clock.minutes, 2),
        "curve": curve,
    }


def _run(
    model: Any, examples: Sequence[Example], recipe: Recipe, say: Say
) -> tuple[list[dict[str, float]], int, Clock]:
    chance = random.Random(recipe.seed)
    short = [example for example in examples if len(example[0]) + len(example[1]) <= recipe.short]
    easy, all_lengths = (
        questions(short or examples, recipe, chance),
        questions(examples, recipe, chance),
    )
    learning = optimizers(model, recipe)
    clock = Clock(recipe, time.perf_counter())
    curve: list[dict[str, float]] = []
    losses: list[float] = []
    tokens = 0
    while clock.done < 1:
        batch = next(easy if clock.done < recipe.short_share else all_lengths)
        losses.append(_step(model, batch, learning, clock.rate, recipe))
        tokens += sum(len(prompt) + len(answer) for prompt, answer in batch)
        clock.step += 1
        if clock.step % 50 == 0:
            curve.append(_point(clock, losses))
            say(f"pre-training: {curve[-1]}, {tokens / 60 / clock.minutes:.0f} tokens/s")
            losses.clear()
    return curve, tokens, clock


def _step(
    model: Any,
    batch: Sequence[Example],
    learning: Sequence[torch.optim.Optimizer],
    rate: float,
    recipe: Recipe,
) -> float:
    for optimizer, peak in zip(learning, (recipe.matrix_rate, recipe.rate), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = peak * rate
    loss = loss_of(model, *tensors(batch))
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in learning:
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.detach())


def _point(clock: Clock, losses: Sequence[float]) -> dict[str, float]:
    mean = math.fsum(losses) / len(losses)
    return {"step": clock.step, "minutes": round(clock.minutes, 2), "loss": round(mean, 4)}
