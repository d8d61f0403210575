"""The grammar as masks: which tokens may follow, for `transformers`' generate.

Each text that is being written has a state of its own (a matcher of llguidance and
what was read of names), found by the tokens written so far: beams are reordered and
copied at every step, and any of them may be gone the next time.

llguidance: https://github.com/guidance-ai/llguidance
"""

from __future__ import annotations

import logging
import re
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plainsql.errors import MissingExtra
from plainsql.translators.language_model.constrained.grammar import Frame, Grammar
from plainsql.translators.language_model.constrained.reading import Index, Reading
from plainsql.translators.language_model.decoding import Processor, end_tokens

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded

_log = logging.getLogger(__name__)
_MATCHERS = 32  # kept of one schema, about 2 MB each; a question needs about six
_MACHINES = 4  # schemas kept
# A token that ends one name and begins another one: between them the grammar changes.
_TWO_NAMES = re.compile(rb"[^\w\s.(\"`']\s*[\w\"`]|\w\s+\w|\w\s*\(\s*\w")


class NotCovered(Exception):
    """The grammar can't be used with this vocabulary or schema; the message says why."""


@dataclass(slots=True)
class Vocabulary:
    """The tokens of a model as llguidance sees them."""

    tokens: Any  # llguidance.LLTokenizer
    pieces: list[bytes]
    two_names: NDArray[np.bool_]  # (V)
    ends: frozenset[int]
    thinks: tuple[int, int] | None = None  # the tokens <think> and </think>

    @property
    def size(self) -> int:
        """V, the width of the model's scores."""
        return len(self.pieces)

    def only_ends(self) -> NDArray[np.bool_]:
        """(V) booleans: the tokens that end a text."""
        mask = np.zeros(self.size, dtype=bool)
        mask[list(self.ends)] = True
        return mask


def vocabulary_of(tokenizer: Any, width: int, ends: Sequence[int]) -> Vocabulary:
    """The vocabulary of a Hugging Face tokenizer; `width` is that of the scores.

    Raises `NotCovered` for a tokenizer that can't be read or can't spell SQL,
    `MissingExtra` without llguidance.
    """
    try:
        from llguidance.hf import from_tokenizer
    except ImportError as error:
        raise MissingExtra("Constrained decoding", "constrained") from error
    try:
        tokens = from_tokenizer(tokenizer, n_vocab=max(width, len(tokenizer)), eos_token=list(ends))
        pieces = [tokens.decode_bytes([at]) for at in range(width)]
    except Exception as error:  # llguidance raises ValueError, RuntimeError and its own panics
        reason = str(error).partition("\n")[0][:200]
        raise NotCovered(f"the tokenizer can't be used: {reason}") from error
    single = {piece for piece in pieces if len(piece) == 1}
    missing = [chr(byte) for byte in range(32, 127) if bytes([byte]) not in single]
    missing = [sign for sign in missing if sign in _NEEDED]
    if missing:
        raise NotCovered(f"the vocabulary has no token for {' '.join(missing)}")
    two = np.array([bool(_TWO_NAMES.search(piece)) for piece in pieces])
    two[list(ends)] = False
    return Vocabulary(tokens, pieces, two, frozenset(ends), _thoughts(tokenizer))


_NEEDED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_'\"().,=<>*+-/ "


def _thoughts(tokenizer: Any) -> tuple[int, int] | None:
    """The tokens around a thought, where each is one token."""
    vocabulary = tokenizer.get_vocab()
    begin, end = vocabulary.get("<think>"), vocabulary.get("</think>")
    return None if begin is None or end is None else (begin, end)


class Machine:
    """Matchers of one grammar over one vocabulary, each made when it is first needed."""

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary) -> None:
        if not grammar.scopes:
            raise NotCovered("no table of the schema can be named")
        self.vocabulary = vocabulary
        self.index = Index(grammar)
        self.grammar = grammar
        self._made: OrderedDict[tuple[Frame, ...], Any] = OrderedDict()
        self.fresh(Reading(self.index))  # so that a grammar that can't be used is known at once

    def fresh(self, reading: Reading) -> Any:
        """A matcher that has read the text of `reading`. Raises `NotCovered`."""
        from llguidance import LLMatcher

        frames = reading.frames()
        if frames not in self._made:
            text = LLMatcher.grammar_from_lark(self.grammar.lark(frames))
            matcher = LLMatcher(self.vocabulary.tokens, text, log_level=0)
            if matcher.is_error():
                reason = matcher.get_error().partition("\n")[0][:200]
                raise NotCovered(f"the grammar is not accepted: {reason}")
            self._made[frames] = matcher
            if len(self._made) > _MATCHERS:
                self._made.popitem(last=False)
        self._made.move_to_end(frames)
        matcher = self._made[frames].deep_copy()
        if reading.text and not matcher.consume_tokens(
            self.vocabulary.tokens.tokenize_bytes(reading.text)
        ):
            raise NotCovered("the grammar contradicts itself")
        return matcher


@dataclass(slots=True)
class _State:
    """One text: its matcher, what was read. `matcher` None: not bound to the grammar."""

    matcher: Any
    reading: Reading | None
    frames: tuple[Frame, ...] = ()
    done: bool = False

    def copy(self) -> _State:
        matcher = None if self.matcher is None else self.matcher.deep_copy()
        reading = None if self.reading is None else self.reading.copy()
        return _State(matcher, reading, self.frames, self.done)

    def become(self, other: _State) -> None:
        """Take over what the other one is."""
        self.matcher, self.reading = other.matcher, other.reading
        self.frames, self.done = other.frames, other.done


class Masks:
    """A logits processor. One object serves one call of `generate`, or several in turn."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._vocabulary = machine.vocabulary
        self._start = 0  # tokens of the prompt
        self._seen = -1  # tokens at the last step
        self._states: dict[tuple[int, ...], _State] = {}

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """`scores` (B, V) with -inf for tokens that may not follow; `input_ids` are (B, P + N)."""
        import torch

        rows = input_ids.tolist()
        if input_ids.shape[1] != self._seen + 1 or self._start == 0:
            self._start, self._states = input_ids.shape[1], {}
        self._seen = input_ids.shape[1]
        known, self._states = self._states, {}
        masks = np.stack([self._row(row, known) for row in rows])
        forbidden = torch.from_numpy(~masks).to(scores.device)
        width = scores.shape[1]
        return scores.masked_fill(forbidden[:, :width], float("-inf"))

    def _row(self, row: list[int], known: dict[tuple[int, ...], _State]) -> NDArray[np.bool_]:
        written = tuple(row[self._start :])
        if written not in self._states:
            before = known.get(written[:-1])
            if before is None:
                state = self._first(row)
            else:
                state = before.copy()
                self._step(state, written[-1])
            self._states[written] = state
        return self.allowed(self._states[written], first=not written)

    def _first(self, row: Sequence[int]) -> _State:
        """The state before the first token: within a thought that the prompt began, unbound."""
        if self._vocabulary.thinks is not None:
            begin, end = self._vocabulary.thinks
            marks = [token for token in row if token in (begin, end)]
            if marks and marks[-1] == begin:
                return _State(None, None)
        return self._bound()

    def _bound(self) -> _State:
        reading = Reading(self._machine.index)
        return _State(self._machine.fresh(reading), reading, reading.frames())

    def start(self) -> _State:
        """The state of an empty text, for driving the masks without a model."""
        return self._bound()

    def _step(self, state: _State, token: int) -> None:
        thinks = self._vocabulary.thinks
        if state.done:
            return
        if state.reading is None:
            if thinks is not None and token == thinks[1]:
                state.become(self._bound())
        elif token in self._vocabulary.ends:
            state.done = True
        elif thinks is not None and token == thinks[0] and not state.reading.text:
            state.matcher = state.reading = None
        else:
            self.advance(state, token)

    def advance(self, state: _State, token: int) -> None:
        """Write one more token. A token that was forbidden ends the text."""
        if state.reading is None or token >= self._vocabulary.size:
            state.done = True
            return
        if not state.matcher.try_consume_tokens([token]):
            state.done = True  # a beam of no probability, or padding
            return
        state.reading.add(self._vocabulary.pieces[token])
        frames = state.reading.frames()
        if frames == state.frames:
            return
        state.frames = frames
        try:
            state.matcher = self._machine.fresh(state.reading)
        except NotCovered as error:  # the guard judges what is written then
            _log.warning("A query is written without the grammar: %s", error)
            state.matcher = state.reading = None

    def allowed(self, state: _State, *, first: bool = False) -> NDArray[np.bool_]:
        """(V) booleans: the tokens that may follow."""
        vocabulary = self._vocabulary
        if state.done or (state.matcher is not None and state.matcher.is_stopped()):
            return vocabulary.only_ends()
        if state.matcher is None or state.reading is None:
            return np.ones(vocabulary.size, dtype=bool)
        bits = np.frombuffer(state.matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: vocabulary.size].astype(bool)
        if state.reading.is_open:
            mask &= ~vocabulary.two_names
        if first and vocabulary.thinks is not None:
            mask[vocabulary.thinks[0]] = True
        # No token spells what must follow, as a name in another script.
        return mask if mask.any() else vocabulary.only_ends()


_vocabularies: weakref.WeakKeyDictionary[Any, dict[tuple[int, ...], Vocabulary]] = (
    weakref.WeakKeyDictionary()
)


def processor(grammar: Grammar, loaded: Loaded) -> Processor:
    """A processor for `generate` that lets only texts of `grammar` be written.

    The vocabulary is read once for each tokenizer. Raises `NotCovered` where the
    tokenizer or the schema can't be used, `MissingExtra` without llguidance.
    """
    return Masks(machine_of(grammar, loaded))


def machine_of(grammar: Grammar, loaded: Loaded) -> Machine:
    """The matchers of `grammar` for a model; the last ones are kept with its tokenizer."""
    width = int(loaded.model.get_output_embeddings().weight.shape[0])
    ends = tuple(end_tokens(loaded))
    kept = _vocabularies.setdefault(loaded.tokenizer, {})
    if (width, *ends) not in kept:
        kept[width, *ends] = vocabulary_of(loaded.tokenizer, width, ends)
    return _machine(grammar, kept[width, *ends])


_machines: OrderedDict[tuple[Grammar, int], Machine] = OrderedDict()


def _machine(grammar: Grammar, vocabulary: Vocabulary) -> Machine:
    key = (grammar, id(vocabulary))
    found = _machines.get(key)
    if found is None or found.vocabulary is not vocabulary:
        found = _machines[key] = Machine(grammar, vocabulary)
        if len(_machines) > _MACHINES:
            _machines.popitem(last=False)
    _machines.move_to_end(key)
    return found
