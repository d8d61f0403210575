"""The tokenizer inside a GGUF file, as prompts and chat templates ask for one.

It answers to what `tokenizer_facts`, `prompts.prompt_ids` and `chat_template` use of a
tokenizer of Hugging Face, so that a prompt is made by the same functions for both.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

from plainsql.translators.language_model.chat_template import Message
from plainsql.translators.language_model.gguf_library import Header, library

_NONE = -1  # LLAMA_TOKEN_NULL


class GGUFTokenizer:
    """Tokens of the model that `llama` (a `llama_cpp.Llama`) holds; it doesn't keep it alive."""

    def __init__(self, llama: Any, header: Header) -> None:
        self._llama = weakref.ref(llama)  # facts of tokenizers are remembered for long
        lib, vocabulary = library(), self._vocabulary
        self._size = int(lib.llama_vocab_n_tokens(vocabulary))
        self.chat_template = header.template
        self.bos_token_id = _token(lib.llama_vocab_bos(vocabulary))
        self.eos_token_id = _token(lib.llama_vocab_eos(vocabulary))
        self.bos_token = self._name(self.bos_token_id)
        self.eos_token = self._name(self.eos_token_id)
        acting, added = self._marked()
        self.all_special_tokens = acting
        self.added_tokens_decoder = dict(enumerate(added))

    @property
    def _vocabulary(self) -> Any:
        llama = self._llama()
        if llama is None:
            raise RuntimeError("the model of this tokenizer is gone")
        return library().llama_model_get_vocab(llama.model)

    def _name(self, token: int | None) -> str:
        if token is None:
            return ""
        text = library().llama_vocab_get_text(self._vocabulary, token)
        return str((text or b"").decode("utf-8", "replace"))

    def _marked(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Tokens that act, and those that a user added and that may act."""
        lib, vocabulary = library(), self._vocabulary
        control = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        kinds = [int(lib.llama_vocab_get_attr(vocabulary, at)) for at in range(self._size)]
        acting = [self._name(at) for at, kind in enumerate(kinds) if kind & control]
        defined = lib.LLAMA_TOKEN_ATTR_USER_DEFINED
        added = [self._name(at) for at, kind in enumerate(kinds) if kind & defined]
        return tuple(filter(None, acting)), tuple(filter(None, added))

    def __len__(self) -> int:
        return self._size

    def __call__(self, text: str) -> dict[str, list[int]]:
        """`{"input_ids": [...]}`, with a BOS or an EOS where the file says so."""
        llama = self._llama()
        if llama is None:
            raise RuntimeError("the model of this tokenizer is gone")
        return {"input_ids": llama.tokenize(text.encode(), add_bos=True, special=True)}

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens as text, without those that act."""
        vocabulary, length = self._vocabulary, len(tokens)
        row = (ctypes.c_int32 * length)(*tokens)
        size = 16 * length + 16
        while True:
            buffer = ctypes.create_string_buffer(size)
            written = library().llama_detokenize(
                vocabulary, row, length, buffer, size, False, False
            )
            if written >= 0:
                return buffer.raw[:written].decode("utf-8", "replace")
            size = -written

    def is_end(self, token: int) -> bool:
        """Whether `token` ends an answer: the end of a text, or of a turn."""
        return bool(library().llama_vocab_is_eog(self._vocabulary, token))

    def apply_chat_template(
        self, messages: Sequence[Message], *, chat_template: str = "", **values: Any
    ) -> str:
        """The messages through the file's template, in a sandbox: it comes from a stranger.

        Raises jinja2's `TemplateError` where the template refuses them.
        """
        from jinja2 import TemplateError
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        template = chat_template or self.chat_template
        known = {"tokenize", "add_generation_prompt"}  # the formatter always means these
        more = {name: value for name, value in values.items() if name not in known}
        try:
            made = Jinja2ChatFormatter(template, self.eos_token, self.bos_token)
            return str(made(messages=list(messages), **more).prompt)
        except (ValueError, TypeError) as error:  # how the formatter lets a template refuse
            raise TemplateError(str(error)) from error


def _token(found: int) -> int | None:
    return None if found == _NONE else int(found)
