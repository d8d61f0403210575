"""Text from a model in a GGUF file: greedy or drawn, free or by a grammar, and how probable it is.

The choice of tokens is made here, over the logits that llama.cpp computes, rather than by
its own samplers: they end the process when a grammar leaves no token over, and they don't
tell the probability of what they choose unless the logits of all tokens are kept.

Notation: V vocabulary.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plainsql.budget import current
from plainsql.errors import ModelError
from plainsql.translators.language_model.decoding import Generated
from plainsql.translators.language_model.gguf_library import Header, explained, library
from plainsql.translators.language_model.gguf_vocabulary import GGUFTokenizer
from plainsql.watching import written

Logits = NDArray[np.float32]  # (V)
CHUNK = 128  # tokens of a prompt between two looks at the clock
_ROOT = b"root"  # where a GBNF grammar begins
_WINDOW = 16  # last tokens in which a stop text is looked for
_NO_TOKEN = -np.inf


@dataclass(frozen=True, slots=True)
class GGUFOptions:
    """How a GGUF file is run."""

    context: int = 0  # tokens read and written at once; 0: as many as the prompt may need
    threads: int = 0  # 0: llama.cpp's own choice
    gpu_layers: int = -1  # on a GPU, where llama.cpp was compiled for one; -1: all


@dataclass(frozen=True, slots=True)
class Draw:
    """How one text is chosen. `temperature` 0 is greedy; `grammar` is GBNF, "" for none."""

    most: int  # tokens
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    seed: int = 0
    stops: tuple[str, ...] = ()
    grammar: str = ""


class Runtime:
    """A loaded model. One text at a time; safe to call from several threads."""

    def __init__(self, path: Path, header: Header, context: int, options: GGUFOptions) -> None:
        lib = library()
        self.path = path
        self.context = context
        with explained(path):
            self._llama = lib.Llama(
                str(path),
                n_ctx=context,
                n_batch=CHUNK,
                n_ubatch=CHUNK,
                n_threads=options.threads or None,
                n_threads_batch=options.threads or None,
                n_gpu_layers=options.gpu_layers,
                no_perf=True,
                verbose=False,
            )
        # Freed before Python takes its modules apart, when llama_cpp's own way would fail.
        weakref.finalize(self, self._llama.close)
        self.tokenizer = GGUFTokenizer(self._llama, header)
        # These keep a state that can't be cut back to a part of the text read before.
        model = self._llama.model
        self._forgetful = bool(
            lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model)
        )
        self._lock = threading.Lock()

    @property
    def description(self) -> str:
        """As "llama 7B Q4_0", in llama.cpp's words."""
        buffer = ctypes.create_string_buffer(256)
        library().llama_model_desc(self._llama.model, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return int(library().llama_model_n_params(self._llama.model))

    def write(self, tokens: Sequence[int], draw: Draw) -> Generated:
        """One text after the prompt `tokens`.

        The same in always gives the same out. Where the question's time is up the text is not
        finished. Raises `ModelError` (`OutOfBudget` where there was no time for the prompt),
        and `GrammarRefused`.
        """
        with self._lock, _allowed(self._llama, draw.grammar) as allowed:
            self._read(tokens)
            return self._written(draw, allowed)

    def _read(self, tokens: Sequence[int]) -> None:
        """Bring the model to the end of the prompt.

        What it has read before is not read again, in whole chunks: then the numbers are
        those that reading all of it gives, to the last bit.
        """
        llama = self._llama
        known = _common(llama.input_ids[: llama.n_tokens].tolist(), tokens)
        kept = 0 if self._forgetful else min(known, len(tokens) - 1) // CHUNK * CHUNK
        if kept:
            llama.n_tokens = kept
        else:
            llama.reset()
        for start in range(kept, len(tokens), CHUNK):
            current().check()
            self._eval(tokens[start : start + CHUNK])

    def _eval(self, tokens: Sequence[int]) -> None:
        try:
            self._llama.eval(tokens)
        except RuntimeError as error:
            raise ModelError(
                f"llama.cpp stopped: {error}.",
                hint="Memory may be short: use a smaller model, or one with fewer bits a weight.",
            ) from error

    def _written(self, draw: Draw, allowed: _Allowed) -> Generated:
        random = np.random.default_rng(draw.seed)
        tokens: list[int] = []
        score, finished = 0.0, False
        while not finished and len(tokens) < draw.most and current().left() > 0:
            logits = self._logits()
            token = allowed.choose(logits, draw, random)
            score += _log_probability(logits, token)
            tokens.append(token)
            written(len(tokens))
            finished = self._ends(tokens, draw.stops)
            if not finished:
                self._eval([token])
        text = self.tokenizer.decode(tokens)
        return Generated(text[: _stopped(text, draw.stops)], score, len(tokens), finished)

    def _logits(self) -> Logits:
        """(V), of the token to come; a copy."""
        pointer = library().llama_get_logits_ith(self._llama.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(len(self.tokenizer),)).copy()
        if np.isnan(logits).any():
            raise ModelError(
                f"What {self.path} computes are not numbers.",
                hint="The file may be damaged: write or download it again.",
            )
        return logits

    def _ends(self, tokens: Sequence[int], stops: tuple[str, ...]) -> bool:
        if self.tokenizer.is_end(tokens[-1]):
            return True
        return bool(stops) and _stopped(self.tokenizer.decode(tokens[-_WINDOW:]), stops) is not None


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _stopped(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places, default=None)


def _log_probability(logits: Logits, token: int) -> float:
    """Of one token, by the model's own distribution."""
    wide = logits.astype(np.float64)
    top = wide.max()
    return float(wide[token] - top - np.log(np.exp(wide - top).sum()))


# --- grammars ----------------------------------------------------------------


class GrammarRefused(Exception):
    """llama.cpp can't read the grammar, or the vocabulary can't go on with it."""


@contextmanager
def _allowed(llama: Any, grammar: str) -> Iterator[_Allowed]:
    """The chooser under a grammar of GBNF, "" for none. Raises `GrammarRefused`."""
    if not grammar:
        yield _Allowed(None)
        return
    lib = library()
    vocabulary = lib.llama_model_get_vocab(llama.model)
    rules = lib.llama_sampler_init_grammar(vocabulary, grammar.encode(), _ROOT)
    if not rules:
        raise GrammarRefused("llama.cpp can't read the grammar")
    try:
        yield _Allowed(rules)
    finally:
        lib.llama_sampler_free(rules)


class _Allowed:
    """Chooses tokens, those that a grammar allows where there is one."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def choose(self, logits: Logits, draw: Draw, random: np.random.Generator) -> int:
        """The next token. Raises `GrammarRefused` where none is allowed."""
        token = _pick(logits, draw, random)
        if self._rules is None:
            return token
        # To ask about one token is cheap, and it is allowed mostly. Drawing again among
        # the allowed ones after a miss gives each the probability it has among these.
        if self._masked(logits, np.array([token], dtype=np.int32))[0] == _NO_TOKEN:
            logits = self._masked(logits, np.arange(logits.size, dtype=np.int32))
            if logits.max() == _NO_TOKEN:
                raise GrammarRefused("no token of the vocabulary goes on with the grammar")
            token = _pick(logits, draw, random)
        library().llama_sampler_accept(self._rules, token)
        return token

    def _masked(self, logits: Logits, tokens: NDArray[np.int32]) -> Logits:
        """The logits of `tokens`, -inf for those that are not allowed."""
        lib = library()
        form = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        data = np.zeros(tokens.size, dtype=form)
        data["id"], data["logit"] = tokens, logits[tokens]
        first = data.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        array = lib.llama_token_data_array(first, tokens.size, -1, False)
        lib.llama_sampler_apply(self._rules, ctypes.byref(array))
        return data["logit"].copy()


def _pick(logits: Logits, draw: Draw, random: np.random.Generator) -> int:
    """The likeliest token, or one drawn from the likely ones."""
    if draw.temperature <= 0:
        return int(logits.argmax())
    order = _likeliest(logits, draw.top_k or logits.size)
    scaled = logits[order].astype(np.float64) / draw.temperature
    chances = np.exp(scaled - scaled[0])
    chances /= chances.sum()
    # As many as together hold `top_p` of the probability: Holtzman et al. 2020, arXiv 1904.09751.
    kept = int(np.searchsorted(np.cumsum(chances), draw.top_p)) + 1
    chances = chances[:kept] / chances[:kept].sum()
    return int(order[random.choice(len(chances), p=chances)])


def _likeliest(logits: Logits, count: int) -> NDArray[np.intp]:
    """The `count` likeliest tokens, the likeliest first."""
    first = np.argpartition(-logits, min(count, logits.size) - 1)[:count]
    return first[np.argsort(-logits[first], kind="stable")]
