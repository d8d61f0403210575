"""Examples to padded batches: collation, and a deterministic, length-bucketed stream.

Notation: B examples, T wordpieces, N nodes, L actions, S grammar symbols,
F token features, R relations. Everything here is numpy, so that the process that
builds batches never starts torch's thread pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plainsql.translators.parser.arrays import ModelInput, ModelTarget
from plainsql.translators.parser.runtime import pool_matrix

Example = tuple[ModelInput, ModelTarget]
ROUND_TOKENS, ROUND_NODES, ROUND_STEPS = 8, 8, 4
RETRIES = 50  # draws from a source before an all-None source is reported


class ExampleSource(Protocol):
    """Something that training examples are drawn from.

    `weight` is the source's share of the draws, relative to the other sources.
    """

    name: str
    weight: float

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def example(self, i: int, rng: np.random.Generator, budget: int) -> Example | None:
        """Example i, augmented with `rng`, its schema cut to `budget` wordpieces.

        None when the example can't be expressed (another one is drawn instead).
        """
        ...


@dataclass(frozen=True, slots=True)
class InputBatch:
    """B inputs, padded. `pool` rows average the tokens of a node."""

    token_ids: NDArray[np.int64]  # (B, T), 0 where padded
    token_types: NDArray[np.int64]  # (B, T)
    token_mask: NDArray[np.bool_]  # (B, T) True at real tokens
    features: NDArray[np.uint8]  # (B, T, F)
    pool: NDArray[np.float32]  # (B, N, T), rows sum to 1 (to 0 where padded)
    kinds: NDArray[np.int64]  # (B, N)
    node_mask: NDArray[np.bool_]  # (B, N)


@dataclass(frozen=True, slots=True)
class TargetBatch:
    """B gold action sequences, padded; padded steps allow symbol 0 only."""

    previous: NDArray[np.int64]  # (B, L), -1 at the start
    states: NDArray[np.int64]  # (B, L)
    depths: NDArray[np.int64]  # (B, L)
    allowed: NDArray[np.bool_]  # (B, L, S + N)
    relations: NDArray[np.uint8]  # (B, L, N, R)
    actions: NDArray[np.int64]  # (B, L)
    step_mask: NDArray[np.bool_]  # (B, L)
    used: NDArray[np.bool_]  # (B, N)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one training step reads."""

    inputs: InputBatch
    targets: TargetBatch

    def __len__(self) -> int:
        return len(self.inputs.token_ids)


def round_up(size: int, multiple: int) -> int:
    """The next multiple: fewer shapes, so that oneDNN's compiled kernels are reused."""
    return -(-size // multiple) * multiple


def collate_inputs(inputs: Sequence[ModelInput], *, rounded: bool = True) -> InputBatch:
    """Pad inputs to common T and N (`rounded`: to multiples that training reuses)."""
    size, features = len(inputs), inputs[0].features.shape[1]
    width = max(len(item.token_ids) for item in inputs)
    nodes = max(len(item.node_kinds) for item in inputs)
    if rounded:
        width, nodes = round_up(width, ROUND_TOKENS), round_up(nodes, ROUND_NODES)
    batch = InputBatch(
        token_ids=np.zeros((size, width), np.int64),
        token_types=np.zeros((size, width), np.int64),
        token_mask=np.zeros((size, width), np.bool_),
        features=np.zeros((size, width, features), np.uint8),
        pool=np.zeros((size, nodes, width), np.float32),
        kinds=np.zeros((size, nodes), np.int64),
        node_mask=np.zeros((size, nodes), np.bool_),
    )
    for row, item in enumerate(inputs):
        _fill_input(batch, row, item)
    return batch


def _fill_input(batch: InputBatch, row: int, item: ModelInput) -> None:
    tokens, nodes = len(item.token_ids), len(item.node_kinds)
    batch.token_ids[row, :tokens] = item.token_ids
    batch.token_types[row, :tokens] = item.token_types
    batch.token_mask[row, :tokens] = True
    batch.features[row, :tokens] = item.features
    batch.kinds[row, :nodes] = item.node_kinds
    batch.node_mask[row, :nodes] = True
    batch.pool[row, :nodes, :tokens] = pool_matrix(item)


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to common T, N and L."""
    inputs = collate_inputs([example[0] for example in examples])
    targets = [example[1] for example in examples]
    size, nodes = inputs.kinds.shape
    symbols = targets[0].allowed.shape[1] - len(examples[0][0].node_kinds)
    steps = round_up(max(len(target.actions) for target in targets), ROUND_STEPS)
    batch = TargetBatch(
        previous=np.full((size, steps), -1, np.int64),
        states=np.zeros((size, steps), np.int64),
        depths=np.zeros((size, steps), np.int64),
        allowed=np.zeros((size, steps, symbols + nodes), np.bool_),
        relations=np.zeros((size, steps, nodes, targets[0].relations.shape[2]), np.uint8),
        actions=np.zeros((size, steps), np.int64),
        step_mask=np.zeros((size, steps), np.bool_),
        used=np.zeros((size, nodes), np.bool_),
    )
    batch.allowed[:, :, 0] = True  # a padded step must allow something, or softmax gives NaN
    for row, target in enumerate(targets):
        _fill_target(batch, row, target)
    return Batch(inputs, batch)


def _fill_target(batch: TargetBatch, row: int, target: ModelTarget) -> None:
    steps, actions = target.allowed.shape
    nodes = len(target.used)
    batch.previous[row, :steps] = target.previous
    batch.states[row, :steps] = target.states
    batch.depths[row, :steps] = target.depths
    batch.allowed[row, :steps, :actions] = target.allowed
    batch.relations[row, :steps, :nodes] = target.relations
    batch.actions[row, :steps] = target.actions
    batch.step_mask[row, :steps] = True
    batch.used[row, :nodes] = target.used


def fixed_batches(examples: Sequence[Example], size: int) -> list[Batch]:
    """All examples once, sorted by length: what validation reads."""
    ordered = sorted(examples, key=_length)
    return [collate(ordered[at : at + size]) for at in range(0, len(ordered), size)]


def _length(example: Example) -> int:
    return len(example[0].token_ids)


BudgetLaw = Callable[[np.random.Generator], int]


def draw_budget(rng: np.random.Generator) -> int:
    """Wordpieces a schema may take: 50-125, and 260 for 15 % of the draws.

    The large ones keep the model used to whole schemas; the small ones keep the
    average step cheap.
    """
    return 260 if rng.random() < 0.15 else int(rng.integers(50, 126))


@dataclass(frozen=True, slots=True)
class Sampler:
    """An endless stream of batches, a pure function of (seed, batch number).

    Pools of `pool_batches` batches are drawn from the sources by weight, each source
    in shuffled epochs, sorted by token count, cut into batches and shuffled. Pool p
    depends on nothing before it, so a resumed run continues exactly where it stopped.
    """

    sources: Sequence[ExampleSource]
    batch_size: int = 16
    pool_batches: int = 100
    seed: int = 0
    budget: BudgetLaw = draw_budget

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches number `start`, `start + 1`, …"""
        number, skip = divmod(start, self.pool_batches)
        pool = list(self._pool(number))
        while True:
            number += 1
            upcoming = self._pool(number)
            following: list[Example] = []
            for batch in self._cut(pool, number - 1)[skip:]:
                yield collate(batch)
                # Building the next pool in step with this one spreads the work evenly.
                following += islice(upcoming, self.batch_size)
            pool, skip = following + list(upcoming), 0

    def _cut(self, pool: list[Example], number: int) -> list[list[Example]]:
        """The pool's batches: equal lengths together, in random order."""
        ordered = sorted(pool, key=_length)
        batches = [
            ordered[at : at + self.batch_size] for at in range(0, len(ordered), self.batch_size)
        ]
        order = np.random.default_rng((self.seed, 2, number)).permutation(len(batches))
        return [batches[at] for at in order]

    def _pool(self, number: int) -> Iterator[Example]:
        """The examples of pool `number`, in drawing order."""
        taken = np.zeros(len(self.sources), np.int64)
        for earlier in range(number):
            taken += np.bincount(self._choices(earlier), minlength=len(self.sources))
        rng = np.random.default_rng((self.seed, 1, number))
        for source in self._choices(number):
            yield self._draw(int(source), int(taken[source]), rng)
            taken[source] += 1

    def _choices(self, number: int) -> NDArray[np.int64]:
        """Which source each example of a pool comes from."""
        weights = np.array([source.weight for source in self.sources], np.float64)
        rng = np.random.default_rng((self.seed, 0, number))
        count = self.batch_size * self.pool_batches
        return rng.choice(len(weights), size=count, p=weights / weights.sum())

    def _draw(self, number: int, position: int, rng: np.random.Generator) -> Example:
        """The example at `position` of a source's shuffled epochs, or a random substitute."""
        source = self.sources[number]
        epoch, at = divmod(position, len(source))
        index = int(_permutation(self.seed, number, epoch, len(source))[at])
        for _ in range(RETRIES):
            example = source.example(index, rng, self.budget(rng))
            if example is not None:
                return example
            index = int(rng.integers(len(source)))
        raise ValueError(f"source {source.name!r} gave no example in {RETRIES} draws")


@lru_cache(maxsize=64)
def _permutation(seed: int, source: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order of one epoch of a source."""
    return np.random.default_rng((seed, 3, source, epoch)).permutation(size)
