"""Beam search over a toy grammar with a scripted model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from plainsql.translators.parser.arrays import ModelInput
from plainsql.translators.parser.beam import Beam, Floats, Past, StepInput, beam_search

ACTIONS = 6  # symbols 0 … 3, nodes 4 and 5; symbol 0 ends
EMPTY = ModelInput(*(np.zeros(1, np.int64),) * 4, ())  # type: ignore[arg-type]


@dataclass(frozen=True)
class State:
    code: int = 0
    depth: int = 0
    done: bool = False


class Grammar:
    """Nodes only after symbols, symbols only after nodes; the end only after a node."""

    def start(self) -> State:
        return State()

    def allowed(self, state: State) -> NDArray[np.bool_]:
        after_node = [True, True, True, False, False, False]
        after_symbol = [False, False, False, False, True, True]
        return np.array(after_node if state.code else after_symbol)

    def step(self, state: State, action: int) -> State:
        assert self.allowed(state)[action]
        return State(code=int(action >= 4), done=action == 0)

    def relations(self, state: State) -> NDArray[np.uint8]:
        return np.zeros((2, 1), np.uint8)


class Scripted:
    """Logits drawn from the seed and the whole prefix, which the past carries."""

    def __init__(self, seed: int, flat: bool = False) -> None:
        self.seed, self.flat = seed, flat

    def encode(self, model_input: ModelInput) -> int:
        return self.seed

    def empty_past(self) -> Past:
        empty = np.zeros((1, 1, 1, 0, 1), np.float32)
        return Past(empty, empty)

    def step(self, memory: int, past: Past, inputs: StepInput) -> tuple[Floats, Past]:
        new = inputs.previous.astype(np.float32).reshape(1, -1, 1, 1, 1)
        longer = Past(np.concatenate((past.keys, new), 3), past.values)
        return np.stack([self._logits(memory, row) for row in longer.keys[0, :, 0, :, 0]]), Past(
            longer.keys, longer.keys
        )

    def _logits(self, seed: int, prefix: Floats) -> Floats:
        if self.flat:
            return np.zeros(ACTIONS, np.float32)
        rng = np.random.default_rng([seed, *(prefix.astype(int) + 1)])
        return (3 * rng.standard_normal(ACTIONS)).astype(np.float32)


def search(seed: int, width: int, **options: float) -> list[Beam[State]]:
    return beam_search(Scripted(seed), EMPTY, Grammar(), width, **options)  # type: ignore[arg-type]


def log_prob(seed: int, actions: tuple[int, ...]) -> float:
    """The probability of a sequence, computed without a beam."""
    grammar, model, total = Grammar(), Scripted(seed), 0.0
    state = grammar.start()
    for at, action in enumerate(actions):
        prefix = np.array([-1, *actions[:at]], np.float32)
        logits = model._logits(seed, prefix).astype(np.float64)
        allowed = grammar.allowed(state)
        total += logits[action] - np.log(np.exp(logits[allowed]).sum())
        state = grammar.step(state, action)
    return total


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_the_sequences_own(seed: int) -> None:
    for beam in search(seed, 4):
        assert beam.state.done
        assert beam.log_prob == pytest.approx(log_prob(seed, beam.actions))


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_beam_is_no_worse_than_greedy(seed: int) -> None:
    greedy, wide = search(seed, 1), search(seed, 16)
    assert wide[0].log_prob >= greedy[0].log_prob - 1e-9
    assert [beam.log_prob for beam in wide] == sorted((b.log_prob for b in wide), reverse=True)


def test_the_same_input_gives_the_same_beams() -> None:
    assert search(3, 5) == search(3, 5)


def test_ties_keep_the_order_of_actions() -> None:
    beams = beam_search(Scripted(0, flat=True), EMPTY, Grammar(), 4, max_steps=8)
    assert [beam.actions for beam in beams[:2]] == [(4, 0), (5, 0)]


def test_every_derivation_is_different() -> None:
    actions = [beam.actions for beam in search(5, 8)]
    assert len(set(actions)) == len(actions)


def test_nothing_finished_is_an_empty_answer() -> None:
    assert search(0, 3, max_steps=1) == []


def test_length_power_favours_longer_derivations() -> None:
    short, long = search(1, 8), search(1, 8, length_power=1.0)
    assert max(len(b.actions) for b in long) >= max(len(b.actions) for b in short)


def test_a_memory_computed_earlier_is_used() -> None:
    assert beam_search(Scripted(9), EMPTY, Grammar(), 2, memory=4) == search(4, 2)
