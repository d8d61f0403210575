"""llama.cpp inside this process, through llama-cpp-python, and what it says when it fails.

https://github.com/abetlen/llama-cpp-python (bindings), https://github.com/ggml-org/llama.cpp

llama.cpp speaks on stderr, a hundred lines for each model it loads. Here its errors are kept
to be told in one sentence, and all else is dropped.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from plainsql.errors import MissingExtra, ModelError
from plainsql.translators.language_model.gguf_file import SUFFIX, find_gguf

PREFIX = "gguf:"
_MAGIC = b"GGUF"
_LOUD = (3, 4)  # GGML_LOG_LEVEL_ERROR: its number has changed
_MOST_LINES = 20
_LONGEST_VALUE = 1 << 20  # bytes of one value of the file's header

# What llama.cpp says (its words, lower case), what that means, and what to do.
_AGAIN = "Write or download it again."
_SMALLER = "Use a file with fewer bits a weight, as q4_0, or a smaller model."
_REASONS = (
    ("unknown model architecture", "llama.cpp does not know its architecture",
     "A newer llama-cpp-python may know it."),
    ("this gguf file is version", "its version is newer than llama.cpp knows",
     "A newer llama-cpp-python may know it."),
    ("tokenizer.ggml", "it holds no tokenizer, so that it is no complete model",
     "Merge an adapter into its model first: plainsql merge."),
    ("within the file bounds", "it is cut short", _AGAIN),
    ("exceeds maximum", "its header is damaged", _AGAIN),
    ("invalid gguf type", "its header is damaged", _AGAIN),
    ("failed to read", "it is cut short", _AGAIN),
    ("missing tensor", "it lacks weights", _AGAIN),
    ("alloc", "there is too little memory for it", _SMALLER),
    ("mmap failed", "there is too little memory for it", _SMALLER),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a file says of its model."""

    values: dict[str, str]

    @property
    def architecture(self) -> str:
        """As "llama" or "qwen2"."""
        return self.values.get("general.architecture", "")

    @property
    def template(self) -> str:
        """Its chat template, "" where it has none."""
        return self.values.get("tokenizer.chat_template", "")

    @property
    def context(self) -> int:
        """The tokens it was trained to read and write at once, 0 where the file doesn't say."""
        return int(self.values.get(f"{self.architecture}.context_length", 0))


@cache
def library() -> Any:
    """The module llama_cpp, its talk collected in `_said`. Raises `MissingExtra`, `ModelError`."""
    try:
        import llama_cpp
    except ImportError as error:
        missing = MissingExtra("A GGUF file", "gguf")
        missing.hint += " (it compiles llama.cpp: that takes a C++ compiler and some ten minutes)"
        raise missing from error
    except (OSError, RuntimeError) as error:  # its own library can't be loaded
        raise ModelError(
            f"llama.cpp can't be used: {error}",
            hint="pip install --force-reinstall --no-binary :all: llama-cpp-python",
        ) from error
    llama_cpp.llama_log_set(_listener(llama_cpp), ctypes.c_void_p(0))
    return llama_cpp


_said: deque[str] = deque(maxlen=_MOST_LINES)  # the last errors of llama.cpp


@cache  # llama.cpp keeps the address: the function must not go
def _listener(llama_cpp: Any) -> Any:
    def listen(level: int, text: bytes, _: Any) -> None:
        if level in _LOUD:
            _said.append(text.decode("utf-8", "replace").strip())

    return llama_cpp.llama_log_callback(listen)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """What goes wrong while the file is loaded as `ModelError`, with llama.cpp's reason."""
    from jinja2 import TemplateError

    _said.clear()
    try:
        yield
    except TemplateError as error:
        raise _unusable(path, "its chat template is no template", "Use another file.") from error
    except (ValueError, RuntimeError, AssertionError, MemoryError, OSError) as error:
        heard = "\n".join([*_said, str(error)]).lower()
        for words, reason, hint in _REASONS:
            if words in heard:
                raise _unusable(path, reason, hint) from error
        first = _said[0] if _said else str(error)
        raise _unusable(path, first, "Is it a GGUF file of a language model?") from error


def _unusable(path: Path, reason: str, hint: str) -> ModelError:
    return ModelError(f"{path} can't be used: {reason}.", hint=hint)


def file_of(name: str) -> Path:
    """The file that `gguf:PATH` names; PATH may be the folder it is in. Raises `ModelError`."""
    path = Path(name.removeprefix(PREFIX)).expanduser()
    found = find_gguf(path) if path.is_dir() else path
    if found is None or not found.is_file():
        raise ModelError(
            f"There is no {SUFFIX} file at {path}.",
            hint="plainsql export MODEL --format gguf-q8_0 --out FOLDER writes one.",
        )
    with found.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _unusable(
                found, "it is no GGUF file", "plainsql export writes one; others are on the Hub."
            )
    return found


def read_header(path: Path) -> Header:
    """What the file says of itself, read by llama.cpp without the weights.

    Raises `ModelError` for a file that is damaged, holds something else than a model
    that writes text, or is larger than this machine's memory.
    """
    lib = library()
    size, memory = path.stat().st_size, _memory()
    if size > memory and not lib.llama_supports_gpu_offload():
        # llama.cpp would begin, and read the weights from the disk again for each token.
        reason = f"it takes {size / 1e9:,.1f} GB, and {memory / 1e9:,.1f} GB of memory are there"
        raise _unusable(path, reason, _SMALLER)
    settings = lib.llama_model_default_params()
    settings.vocab_only = True
    with explained(path):
        model = lib.llama_model_load_from_file(str(path).encode(), settings)
        if not model:
            raise ValueError("it can't be read")
    try:
        header = Header(_values(lib, model))
    finally:
        lib.llama_model_free(model)
    _check(path, header)
    return header


def _memory() -> float:
    """Bytes that this process may have, infinite where the system doesn't say."""
    try:
        import resource

        (limit, _), unlimited = resource.getrlimit(resource.RLIMIT_AS), resource.RLIM_INFINITY
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ImportError, ValueError, OSError):  # Windows
        return math.inf
    return there if limit == unlimited else min(there, limit)


def _values(lib: Any, model: Any) -> dict[str, str]:
    """Keys and values of the header; those that are lists have none."""
    found = {}
    for at in range(lib.llama_model_meta_count(model)):
        key = _text(lambda *room, at=at: lib.llama_model_meta_key_by_index(model, at, *room))
        value = _text(lambda *room, at=at: lib.llama_model_meta_val_str_by_index(model, at, *room))
        found[key] = value
    return found


def _text(write: Any, size: int = 512) -> str:
    """What a function of C writes into a buffer, made as large as it says it must be."""
    buffer = ctypes.create_string_buffer(size)
    length = int(write(buffer, size))
    if size <= length < _LONGEST_VALUE:
        return _text(write, length + 1)
    return buffer.value.decode("utf-8", "replace")


def _check(path: Path, header: Header) -> None:
    if header.values.get(f"{header.architecture}.attention.causal") == "false":
        raise _unusable(
            path,
            f"{header.architecture} models make vectors of text, they don't write any",
            "Name a model that writes text.",
        )
