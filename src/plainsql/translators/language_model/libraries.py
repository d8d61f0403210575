"""The heavy libraries: imported where they are used, and kept from talking to the user."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from plainsql.errors import MissingExtra

# Loggers that speak of what a user can't act on: torchao lists every CUDA file that
# it can't load, torch remarks on torchao's enums, bitsandbytes on its casts to fp16.
_TALKATIVE = (
    "torchao",
    "torch.utils._pytree",
    "torch.distributed.elastic.multiprocessing.redirects",
    "bitsandbytes",
    "transformers",
    "peft",
    "accelerate",
    "huggingface_hub",
    "datasets",
    "httpx",
)

# Warnings of the libraries about themselves, by the start of their text.
_CHATTER = (
    "Merge lora module to 4-bit linear",
    "Merge lora module to 8-bit linear",
    "MatMul8bitLt: inputs will be cast",
    "Found missing adapter keys",  # loading checks that itself, and raises
    "`is_gradient_checkpointing` is deprecated",  # peft asks transformers for it
    "'pin_memory' argument is set as true",
)


def library(name: str, *, feature: str = "A language model") -> ModuleType:
    """The module `name`, imported now. Raises `MissingExtra` without its package."""
    if find_spec(name.partition(".")[0]) is None:
        raise MissingExtra(feature, "train")
    return import_module(name)


def quiet() -> AbstractContextManager[None]:
    """Silence the libraries' remarks and progress bars, for the rest of the process.

    Errors still come through. Called before the libraries are imported, since some
    speak while they are, and again after, since some can only be told then; it imports
    none itself. `with quiet():` reads well around a block, but the silence stays.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # warns at every fork otherwise
    for name in ("TRANSFORMERS", "HF_HUB", "DATASETS"):  # read while these are imported
        os.environ.setdefault(f"{name}_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for start in _CHATTER:
        warnings.filterwarnings("ignore", message=start)
    if "transformers" in sys.modules:
        from transformers.utils import logging as messages

        messages.set_verbosity_error()
        messages.disable_progress_bar()
    return nullcontext()


@contextmanager
def download_bars() -> Iterator[None]:
    """Show the Hub's progress bars inside the block, on a terminal: it can take minutes."""
    bars = import_module("huggingface_hub.utils")
    if sys.stderr.isatty():
        bars.enable_progress_bars()
    try:
        yield
    finally:
        bars.disable_progress_bars()
