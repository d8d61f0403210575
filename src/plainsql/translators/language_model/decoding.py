"""One call of `transformers`' generate, made the same way for every use.

Notation: B prompts of a batch, K texts wanted of each, P prompt tokens (padded),
N new tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from plainsql.budget import current
from plainsql.errors import ModelError, UsageError
from plainsql.translators.language_model.prompts import prompt_ids

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded

Strategy = Literal["greedy", "beam", "sample"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

# A base model that never learned to end goes on with the next section of its prompt.
# Not so in chat: its models end their turn, and may well write headings before the SQL.
STOPS = {"instruct": ("\n### ",), "minimal": ("\nQuestion: ", "\nDatabase: ")}
MOST_NEW = 1 << 20  # tokens, where a model has no limit of its own
MOST = 64  # beams or samples: each holds its own keys and values in memory

# Takes the new tokens' ids (B, P + N) and scores (B, V), returns scores (B, V).
Processor = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How to search for text. Raises `UsageError` for values out of range.

    `greedy` takes the likeliest token each time. `beam` keeps the `beams`
    likeliest texts and returns the best `candidates` of them; texts are compared
    by their whole probability, without a bonus for length. `sample` draws
    `candidates` texts, from the `top_k` likeliest tokens (0: all) that together
    hold `top_p` of the probability; the same `seed` draws the same. A text ends
    before one of `stop`; None takes those that go with the model's style of prompt.
    """

    strategy: Strategy = "greedy"
    candidates: int = 1
    beams: int = 4
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 50
    max_new_tokens: int = 128
    seed: int = 0
    batch_size: int = 8  # prompts at a time
    stop: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _require(self.strategy in STRATEGIES, "strategy", "greedy, beam or sample")
        _require(1 <= self.candidates <= MOST, "candidates", f"between 1 and {MOST}")
        _require(2 <= self.beams <= MOST, "beams", f"between 2 and {MOST}")
        _require(0 < self.temperature <= 10, "temperature", "more than 0 and at most 10")
        _require(0 < self.top_p <= 1, "top-p", "more than 0 and at most 1")
        _require(self.top_k >= 0, "top-k", "0 (no limit) or more")
        _require(self.max_new_tokens >= 1, "max-new-tokens", "at least 1")
        _require(self.batch_size >= 1, "batch-size", "at least 1")
        _require(0 <= self.seed < 2**63, "seed", "between 0 and 2^63 - 1")
        _require("" not in (self.stop or ()), "stop", "text that is not empty")
        if self.strategy == "greedy":
            _require(self.candidates == 1, "candidates", "1 with greedy search: use beam or sample")
        if self.strategy == "beam":
            _require(self.candidates <= self.beams, "candidates", f"at most beams ({self.beams})")


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise UsageError(f"For generating, {name} must be {wanted}.", hint=f"Change --{name}.")


GREEDY = GenerationSettings()


def stop_texts(loaded: Loaded, settings: GenerationSettings) -> tuple[str, ...]:
    """The texts before which an answer ends."""
    if settings.stop is not None:
        return settings.stop
    return STOPS.get(loaded.info.prompt.style, ())


@dataclass(frozen=True, slots=True)
class Generated:
    """One text. `score` is the sum of the log-probabilities of its `tokens` tokens.

    The token that ends a text counts; `finished` says whether there was one, or
    a stop text, before the limit of tokens.
    """

    text: str
    score: float
    tokens: int
    finished: bool


def encoded(loaded: Loaded, prompt: str) -> list[int]:
    """The tokens of a prompt, those of training. Raises `UsageError` where there are none."""
    ids = prompt_ids(loaded.tokenizer, prompt, loaded.info.family)
    if not ids:
        raise UsageError("The prompt is empty.", hint="Give a question, or text in --prompt-file.")
    return ids


@contextmanager
def deciding(model: Any, settings: GenerationSettings) -> Iterator[None]:
    """The model in evaluation mode and, for sampling, a random state of its own."""
    import torch

    was_training = model.training
    model.eval()
    devices = list(range(torch.cuda.device_count()))  # named, since torch warns at several
    try:
        with torch.random.fork_rng(devices, enabled=settings.strategy == "sample"):
            if settings.strategy == "sample":
                torch.manual_seed(settings.seed)
            yield
    finally:
        model.train(was_training)


def run_model(
    loaded: Loaded,
    rows: Sequence[Sequence[int]],
    settings: GenerationSettings,
    processors: Sequence[Processor] = (),
    **more: Any,
) -> Any:
    """`transformers`' own output for tokenized prompts; `more` goes to its `generate`."""
    import torch

    config = _config(loaded, settings, max(map(len, rows)))
    criteria = [Ends(loaded, settings), *more.pop("stopping_criteria", ())]
    try:
        with torch.no_grad(), _sole(loaded.model, config):
            return loaded.model.generate(
                **_padded(loaded, rows),
                generation_config=config,
                logits_processor=list(processors),
                stopping_criteria=criteria,
                **more,
            )
    except RuntimeError as error:
        raise _understood(error) from error


def not_numbers() -> ModelError:
    """The error of a model whose outputs overflowed."""
    return ModelError(
        "The model's outputs are not numbers.",
        hint="Half precision may overflow: try --dtype float32 or --dtype bfloat16.",
    )


def _understood(error: RuntimeError) -> Exception:
    """torch's error as one that says what to do, where it is of a known kind."""
    if "out of memory" in str(error) or "allocate memory" in str(error):
        return ModelError(
            "Memory ran out while generating.",
            hint="Use a smaller --batch-size, fewer --beams, or --quantization nf4.",
        )
    if "probability tensor contains" in str(error):
        return not_numbers()
    return error


def _config(loaded: Loaded, settings: GenerationSettings, longest: int) -> Any:
    from transformers import GenerationConfig

    own = inner(loaded.model).generation_config
    kept = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
    return GenerationConfig(
        **_searched(settings),
        **{name: getattr(own, name, None) for name in kept},
        max_new_tokens=min(settings.max_new_tokens, _room(loaded, longest)),
        num_return_sequences=settings.candidates,
        eos_token_id=end_tokens(loaded),
        pad_token_id=loaded.tokenizer.pad_token_id,
        use_cache=True,  # training with gradient checkpoints turns it off in the model
        return_dict_in_generate=True,
        output_scores=settings.strategy == "beam",
        max_time=_seconds(),
    )


def _seconds() -> float | None:
    """How long the model may write: until the question's deadline, at the next token."""
    left = current().left()
    return left if math.isfinite(left) else None


def _searched(settings: GenerationSettings) -> dict[str, Any]:
    """What `generate` calls the strategy and its parameters."""
    if settings.strategy == "beam":
        # Without a penalty the score of a beam is its log-probability.
        return {"do_sample": False, "num_beams": settings.beams, "length_penalty": 0.0}
    if settings.strategy == "sample":
        warping = {"temperature": settings.temperature, "top_p": settings.top_p}
        return {"do_sample": True, "top_k": settings.top_k, **warping}
    return {"do_sample": False}


def _room(loaded: Loaded, longest: int) -> int:
    """How many tokens may follow. Raises `UsageError` where the prompt itself is too long."""
    positions = getattr(loaded.model.config, "max_position_embeddings", None)
    if loaded.info.family != "causal" or not positions:
        return MOST_NEW
    if longest >= positions:
        raise UsageError(
            f"The prompt has {longest:,} tokens, the model reads {positions:,}.",
            hint="Ask about fewer tables, or lower max_input_tokens in its plainsql.json.",
        )
    return int(positions) - longest


def end_tokens(loaded: Loaded) -> list[int]:
    """Every token that ends an answer: chat models end a turn with one that the
    tokenizer may not call its end, and models tuned here end with the tokenizer's.
    """
    own = inner(loaded.model).generation_config.eos_token_id
    listed = own if isinstance(own, list | tuple) else [own]
    ids = {*listed, loaded.tokenizer.eos_token_id} - {None}
    return sorted(int(token) for token in ids)


def inner(model: Any) -> Any:
    """The transformers model inside an adapter's wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def _sole(model: Any, config: Any) -> Iterator[None]:
    """`config` in place of the model's own.

    `generate` fills what a given configuration leaves open from the model's:
    Llama's and Qwen's sampling and repetition penalty would change a greedy answer.
    """
    holder = inner(model)
    before = holder.generation_config
    holder.generation_config = config
    try:
        yield
    finally:
        holder.generation_config = before


def _padded(loaded: Loaded, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Input ids and mask (B, P): padded on the left where the answer continues the row."""
    import torch

    longest = max(map(len, rows))
    pad = loaded.tokenizer.pad_token_id
    left = loaded.info.family == "causal"
    ids, mask = [], []
    for row in rows:
        gap = longest - len(row)
        ids.append([pad] * gap + [*row] if left else [*row] + [pad] * gap)
        mask.append([0] * gap + [1] * len(row) if left else [1] * len(row) + [0] * gap)
    device = inner(loaded.model).device
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }


class Recorder:
    """The log-probability of each token as it is chosen, (B) floats a step.

    A logits processor that changes nothing. The logits of all steps, as
    `generate` itself would keep them, are N times B x V floats: 0.5 GB for 128
    tokens of 8 texts with a vocabulary of 128,000.
    """

    def __init__(self) -> None:
        self._chosen: list[Any] = []
        self._last: Any = None  # (B, V)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self._take(input_ids[:, -1])
        self._last = scores.float().log_softmax(-1)
        return scores

    def _take(self, tokens: Any) -> None:
        if self._last is not None:
            self._chosen.append(self._last.gather(1, tokens[:, None])[:, 0])
            self._last = None

    def sums(self, new: Any, lengths: Sequence[int]) -> list[float]:
        """For each row of `new` (B, N) the sum over its first `lengths[i]` tokens."""
        import torch

        if len(self._chosen) < new.shape[1]:
            self._take(new[:, -1])
        steps = torch.stack(self._chosen, dim=1)  # (B, N)
        return [float(row[:n].sum()) for row, n in zip(steps, lengths, strict=True)]


class Ends:
    """Where a text ends: a stopping criterion, and the judge of what was written.

    The criterion decodes the last tokens of each row, about 30 µs each;
    `generate`'s own stop strings refuse those that a vocabulary can't spell, as
    T5's can't spell a line break.
    """

    def __init__(self, loaded: Loaded, settings: GenerationSettings) -> None:
        self._tokenizer = loaded.tokenizer
        self._ends = frozenset(end_tokens(loaded))
        self._stop = stop_texts(loaded, settings)
        self._window = max((len(text.encode()) for text in self._stop), default=0) + 1
        self._start: int | None = None

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """(B) booleans: which rows have just written a stop text."""
        import torch

        if self._start is None:
            self._start = input_ids.shape[1] - 1
        tails = input_ids[:, max(self._start, input_ids.shape[1] - self._window) :]
        rows = tails.tolist() if self._stop else []
        hits = [self._stopped(self.text(row)) is not None for row in rows]
        hits = hits or [False] * input_ids.shape[0]
        return torch.tensor(hits, device=input_ids.device)

    def text(self, row: Sequence[int]) -> str:
        """Tokens as text, exactly: tidying blanks would change what SQL means."""
        return str(
            self._tokenizer.decode(
                row, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _stopped(self, text: str) -> int | None:
        """Where the first stop text begins."""
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        return min(places, default=None)

    def length(self, row: Sequence[int]) -> int:
        """How many tokens the model wrote: up to its end token or a stop text, inclusive."""
        end = next((i for i, token in enumerate(row, 1) if token in self._ends), len(row))
        if self._stopped(self.text(row[:end])) is None:
            return end
        return next(i for i in range(1, end + 1) if self._stopped(self.text(row[:i])) is not None)

    def generated(self, row: Sequence[int], length: int, score: float) -> Generated:
        """The text of a row, cut before a stop text."""
        text = self.text(row[:length])
        cut = self._stopped(text)
        finished = cut is not None or (length > 0 and row[length - 1] in self._ends)
        return Generated(text[:cut], score, length, finished)
