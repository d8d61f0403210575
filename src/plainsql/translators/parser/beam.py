"""Beam search over a grammar automaton, driven by any model that predicts one step.

Notation: W live beams, P earlier steps, S grammar symbols, N nodes, R relations.
Numpy only: the shipped ONNX model and the torch model in training both fit `StepModel`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from plainsql.translators.parser.arrays import ModelInput

Floats = NDArray[np.float32]
MAX_STEPS = 80


class AutomatonState(Protocol):
    """Where a derivation stands; immutable."""

    @property
    def code(self) -> int:
        """Index of the automaton's state name."""
        ...

    @property
    def depth(self) -> int:
        """Nesting depth, 0 at the top."""
        ...

    @property
    def done(self) -> bool:
        """True when the query is complete."""
        ...


StateT = TypeVar("StateT", bound=AutomatonState)


class Automaton(Protocol[StateT]):
    """What may follow what, over the nodes of one question."""

    def start(self) -> StateT:
        """The state before the first action."""
        ...

    def allowed(self, state: StateT) -> NDArray[np.bool_]:
        """Which actions may come next, (S + N,)."""
        ...

    def step(self, state: StateT, action: int) -> StateT:
        """The state after an action."""
        ...

    def relations(self, state: StateT) -> NDArray[np.uint8]:
        """How each node relates to what stands already, (N, R)."""
        ...


@dataclass(frozen=True, slots=True)
class Past:
    """Self-attention keys and values of the earlier steps, (layers, W, H, P, d) each."""

    keys: Floats
    values: Floats

    def select(self, parents: Sequence[int]) -> Past:
        """The past of the beams that continue `parents`."""
        rows = np.asarray(parents, np.intp)
        return Past(self.keys[:, rows], self.values[:, rows])


@dataclass(frozen=True, slots=True)
class StepInput:
    """What the decoder reads to predict the next action of W beams."""

    previous: NDArray[np.int64]  # (W,) the last action, -1 at the start
    states: NDArray[np.int64]  # (W,)
    depths: NDArray[np.int64]  # (W,)
    relations: Floats  # (W, N, R)


class StepModel(Protocol):
    """A model that reads a question once and then predicts step by step."""

    def encode(self, model_input: ModelInput) -> Any:
        """The memory of one question, opaque to the search."""
        ...

    def empty_past(self) -> Past:
        """The past of one beam before its first step (W = 1, P = 0)."""
        ...

    def step(self, memory: Any, past: Past, inputs: StepInput) -> tuple[Floats, Past]:
        """Unmasked logits (W, S + N) and the past, one step longer."""
        ...


@dataclass(frozen=True, slots=True)
class Beam(Generic[StateT]):
    """A derivation: its actions, their summed log-probability, where it stands."""

    actions: tuple[int, ...]
    log_prob: float
    state: StateT

    def score(self, length_power: float) -> float:
        """What beams are ranked by: the log-probability over length to a power."""
        length = float(max(1, len(self.actions)))
        return self.log_prob / math.pow(length, length_power)


def beam_search(
    model: StepModel,
    model_input: ModelInput,
    automaton: Automaton[StateT],
    width: int,
    max_steps: int = MAX_STEPS,
    length_power: float = 0.0,
    memory: Any = None,
) -> list[Beam[StateT]]:
    """The at most `width` best complete derivations, best first.

    `length_power` 0 ranks by the plain sum of log-probabilities, 1 by their mean (on
    Spider the sum was better: 66.9 against 66.8). Equal scores keep the order of parent
    beam and action, so the result is deterministic. `memory` may hold what
    `model.encode(model_input)` returned earlier. Empty when nothing is complete after
    `max_steps` actions.
    """
    memory = model.encode(model_input) if memory is None else memory
    live, past = [Beam((), 0.0, automaton.start())], model.empty_past()
    finished: list[Beam[StateT]] = []
    for _ in range(max_steps):
        inputs = _step_input(live, automaton)
        logits, past = model.step(memory, past, inputs)
        parents, live, ended = _advance(live, logits, automaton, width)
        past = past.select(parents)
        finished = _best((*finished, *ended), width, length_power)
        if not live or _settled(live, finished, width, max_steps, length_power):
            break
    return finished


def _step_input(live: Sequence[Beam[StateT]], automaton: Automaton[StateT]) -> StepInput:
    return StepInput(
        previous=np.array([beam.actions[-1] if beam.actions else -1 for beam in live], np.int64),
        states=np.array([beam.state.code for beam in live], np.int64),
        depths=np.array([beam.state.depth for beam in live], np.int64),
        relations=np.stack([automaton.relations(beam.state) for beam in live]).astype(np.float32),
    )


def _advance(
    live: Sequence[Beam[StateT]], logits: Floats, automaton: Automaton[StateT], width: int
) -> tuple[list[int], list[Beam[StateT]], list[Beam[StateT]]]:
    """The next live beams with the rows of their parents, and the beams that ended.

    Twice `width` continuations are looked at: those that end make no room scarce.
    """
    allowed = np.stack([automaton.allowed(beam.state) for beam in live])
    totals = masked_log_softmax(logits, allowed) + np.array([[beam.log_prob] for beam in live])
    order = np.argsort(-totals, axis=None, kind="stable")[: 2 * width]
    parents: list[int] = []
    following: list[Beam[StateT]] = []
    ended: list[Beam[StateT]] = []
    for parent, action in zip(*np.unravel_index(order, totals.shape), strict=True):
        if len(following) == width or not np.isfinite(totals[parent, action]):
            break
        beam = _extend(live[parent], int(action), float(totals[parent, action]), automaton)
        if beam.state.done:
            ended.append(beam)
        else:
            parents.append(int(parent))
            following.append(beam)
    return parents, following, ended


def _extend(
    beam: Beam[StateT], action: int, log_prob: float, automaton: Automaton[StateT]
) -> Beam[StateT]:
    return Beam((*beam.actions, action), log_prob, automaton.step(beam.state, action))


def masked_log_softmax(logits: Floats, allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log-probabilities over the allowed actions of each row; -inf elsewhere."""
    scores = np.where(allowed, logits.astype(np.float64), -np.inf)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def _best(beams: Iterable[Beam[StateT]], width: int, length_power: float) -> list[Beam[StateT]]:
    return sorted(beams, key=lambda beam: -beam.score(length_power))[:width]


def _settled(
    live: Sequence[Beam[StateT]],
    finished: Sequence[Beam[StateT]],
    width: int,
    max_steps: int,
    length_power: float,
) -> bool:
    """Whether no live beam can still come among the `width` best finished ones.

    A log-probability only falls, so a live beam scores at most its present
    log-probability over the greatest possible length.
    """
    if len(finished) < width:
        return False
    bound = max(beam.log_prob for beam in live) / math.pow(max_steps, length_power)
    return bound <= finished[-1].score(length_power)
