"""What a model writes after a prompt: greedy, beam search or sampling, and how probable it is.

A score is always the model's own log-probability of the tokens it wrote, at
temperature 1: sampling draws from a warped distribution, yet what it drew is
weighed by the true one, so that scores of all strategies can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plainsql.translators.language_model.decoding import (
    GREEDY,
    Ends,
    Generated,
    GenerationSettings,
    Processor,
    Recorder,
    deciding,
    encoded,
    not_numbers,
    run_model,
)
from plainsql.translators.language_model.streaming import stream

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded

__all__ = ["GREEDY", "Generated", "GenerationSettings", "Processor", "generate", "stream"]

_NEVER_FINISHED = -1e8  # transformers scores a beam that did not end with -1e9


def generate(
    loaded: Loaded,
    prompts: Sequence[str],
    settings: GenerationSettings = GREEDY,
    processors: Sequence[Processor] = (),
) -> list[list[Generated]]:
    """For each prompt at most `settings.candidates` texts, the likeliest first.

    `processors` may forbid tokens by lowering their scores to -inf, for decoding
    under constraints; reported scores are the model's without them. Prompts of
    like length share a batch. The model's own defaults for sampling, penalties
    and lengths don't count. Raises `UsageError` for a prompt that is longer than
    the model reads, `ModelError` when memory is short or the outputs are no numbers.
    """
    rows = [encoded(loaded, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(rows[i]))
    found: list[list[Generated]] = [[] for _ in prompts]
    with deciding(loaded.model, settings):
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            texts = _batch(loaded, [rows[i] for i in chosen], settings, processors)
            for i, of_prompt in zip(chosen, texts, strict=True):
                found[i] = of_prompt
    return found


def _batch(
    loaded: Loaded,
    rows: Sequence[Sequence[int]],
    settings: GenerationSettings,
    processors: Sequence[Processor],
) -> list[list[Generated]]:
    recorder = Recorder()
    beam = settings.strategy == "beam"
    output = run_model(
        loaded,
        rows,
        settings,
        # Recorded first: later processors and the warping of sampling change the logits.
        processors=[*processors] if beam else [recorder, *processors],
    )
    first = max(map(len, rows)) if loaded.info.family == "causal" else 1
    new = output.sequences[:, first:]  # (B * K, N)
    ends = Ends(loaded, settings)
    lengths = [ends.length(row) for row in new.tolist()]
    # In beam search a score is a plain sum, as no length penalty is asked for.
    sums = output.sequences_scores.tolist() if beam else recorder.sums(new, lengths)
    texts = [
        ends.generated(row, length, score)
        for row, length, score in zip(new.tolist(), lengths, sums, strict=True)
    ]
    each = settings.candidates
    groups = [texts[start : start + each] for start in range(0, len(texts), each)]
    return [_ranked(group) for group in groups]


def _ranked(texts: Sequence[Generated]) -> list[Generated]:
    if any(math.isnan(text.score) for text in texts):
        raise not_numbers()
    there = [text for text in texts if text.score > _NEVER_FINISHED]
    return sorted(there, key=lambda text: -text.score)
