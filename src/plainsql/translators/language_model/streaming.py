"""Text as it is written, piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from plainsql.errors import UsageError
from plainsql.translators.language_model.decoding import (
    GREEDY,
    GenerationSettings,
    deciding,
    encoded,
    run_model,
    stop_texts,
)

if TYPE_CHECKING:
    from plainsql.translators.language_model.loading import Loaded


def stream(loaded: Loaded, prompt: str, settings: GenerationSettings = GREEDY) -> Iterator[str]:
    """The pieces of one text as the model writes them; together they are `generate`'s text.

    The model runs in a thread of its own. Closing the iterator stops it at the
    next token; its errors are raised here. Raises `UsageError` for beam search,
    which knows its text only at the end, and for several candidates.
    """
    if settings.strategy == "beam" or settings.candidates > 1:
        raise UsageError(
            "Only one text can be streamed, and not from beam search.",
            hint="Use --strategy greedy or sample, and --candidates 1.",
        )
    return _stream(loaded, prompt, settings)


def _stream(loaded: Loaded, prompt: str, settings: GenerationSettings) -> Iterator[str]:
    from transformers import TextIteratorStreamer

    pieces = TextIteratorStreamer(
        loaded.tokenizer,
        skip_prompt=True,
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    writer = _Writer(loaded, prompt, settings, pieces)
    writer.start()
    try:
        yield from _until_stop(pieces, stop_texts(loaded, settings))
    finally:
        writer.stop()
    if writer.error is not None:
        raise writer.error


class _Writer(threading.Thread):
    """Runs the model; keeps its error and ends the stream whatever happens."""

    def __init__(
        self, loaded: Loaded, prompt: str, settings: GenerationSettings, pieces: Any
    ) -> None:
        super().__init__(name="plainsql-stream", daemon=True)
        self._arguments = (loaded, prompt, settings)
        self._pieces = pieces
        self._unwanted = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        loaded, prompt, settings = self._arguments
        try:
            with deciding(loaded.model, settings):
                run_model(
                    loaded,
                    [encoded(loaded, prompt)],
                    settings,
                    streamer=self._pieces,
                    stopping_criteria=[self._stops],
                )
        except BaseException as error:  # raised again where the pieces are read
            self.error = error
            self._pieces.on_finalized_text("", stream_end=True)

    def _stops(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        return torch.full((input_ids.shape[0],), self._unwanted.is_set(), device=input_ids.device)

    def stop(self) -> None:
        """Ask the model to stop, and wait until it has."""
        self._unwanted.set()
        self.join()


def _until_stop(pieces: Iterator[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first stop text; what may begin one is held back."""
    held = ""
    for piece in pieces:
        held += piece
        places = [place for stop in stops if (place := held.find(stop)) >= 0]
        if places:
            if before := held[: min(places)]:
                yield before
            return
        keep = max((_overlap(held, stop) for stop in stops), default=0)
        if ready := held[: len(held) - keep]:
            yield ready
            held = held[len(ready) :]
    if held:
        yield held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in lengths if text.endswith(stop[:n])), 0)
