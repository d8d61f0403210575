"""A Hugging Face tokenizer in the words of a GGUF file.

Two kinds are known to llama.cpp among those of Llama-like models: byte-level BPE ("gpt2":
tokens, merges, and the name of the rule that splits text first) and BPE of the
SentencePiece kind ("llama": tokens, scores, bytes as a way out).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf import TokenType

from plainsql.errors import ModelError

Json = Mapping[str, Any]
Types = tuple[TokenType, ...]

# The rule that splits text before BPE, by the pattern in tokenizer.json: llama.cpp
# has each of them built in under a name.
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD = r"[^\r\n\p{L}\p{N}]?"
SPLITS = {
    (): "gpt-2",
    ("digits",): "smollm",
    (rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}|{_REST}",): "llama-bpe",
    (rf"{_CONTRACTIONS}|{_WORD}\p{{L}}+|\p{{N}}|{_REST}",): "qwen2",
    (
        rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*|\p{{N}}|{_REST_SLASH}",
    ): "tekken",
    (
        rf"{_WORD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_WORD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
        rf"|\p{{N}}{{1,3}}|{_REST_SLASH}",
    ): "gpt-4o",
}  # fmt: skip
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the file holds of a tokenizer; three sequences by token id."""

    model: str  # "gpt2" or "llama"
    tokens: tuple[str, ...]
    types: Types
    scores: tuple[float, ...] = ()  # "llama" only
    merges: tuple[str, ...] = ()  # "gpt2" only
    split: str = ""  # "gpt2" only
    space_before: bool = False  # "llama" only: a blank is put before the text


def add_tokenizer(writer: Any, tokenizer: Any, rows: int) -> None:
    """Write the tokenizer; `rows` is the number of embeddings, which may be greater.

    Raises `ModelError` for a tokenizer that llama.cpp has no counterpart of.
    """
    vocabulary = read_vocabulary(tokenizer, rows)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.model == "gpt2":
        writer.add_tokenizer_pre(vocabulary.split)
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.space_before)
    _add_special(writer, tokenizer)


def _add_special(writer: Any, tokenizer: Any) -> None:
    adders = {
        "bos_token_id": writer.add_bos_token_id,
        "eos_token_id": writer.add_eos_token_id,
        "unk_token_id": writer.add_unk_token_id,
        "pad_token_id": writer.add_pad_token_id,
    }
    for name, add in adders.items():
        if (found := getattr(tokenizer, name)) is not None:
            add(found)
    # What it does, not what its settings say: only the former is the same for all classes.
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def read_vocabulary(tokenizer: Any, rows: int) -> Vocabulary:
    """What of `tokenizer` goes into the file. Raises `ModelError`."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        raise _unknown("it has no tokenizer.json")
    form = json.loads(backend.to_str())
    known = backend.get_vocab(with_added_tokens=True)
    if known and max(known.values()) >= rows:
        raise ModelError(
            f"The tokenizer has tokens up to {max(known.values())}, the model {rows} embeddings.",
            hint="Resize the embeddings, or use the tokenizer the model was trained with.",
        )
    if form["model"]["type"] != "BPE":
        raise _unknown(f"it is of type {form['model']['type']}")
    tokens = ["" for _ in range(rows)]
    for token, number in known.items():
        tokens[number] = token
    if _is_byte_level(form):
        return _byte_level(form, tokens, _types(form, tokens))
    return _sentencepiece(form, tokens, _types(form, tokens, tokenizer.unk_token))


def _unknown(reason: str) -> ModelError:
    return ModelError(
        f"llama.cpp has no counterpart of this tokenizer: {reason}.",
        hint="Quantize with nf4, int8 or torchao-int8 instead.",
    )


def _is_byte_level(form: Json) -> bool:
    return any(part["type"] == "ByteLevel" for part in _parts(form["pre_tokenizer"]))


def _parts(node: Json | None) -> Iterator[Json]:
    """The steps of a normalizer or pre-tokenizer, sequences opened."""
    if node is None:
        return
    if node["type"] != "Sequence":
        yield node
        return
    for name in ("pretokenizers", "normalizers", "decoders"):
        for part in node.get(name, ()):
            yield from _parts(part)


def _byte_level(form: Json, tokens: Sequence[str], types: Types) -> Vocabulary:
    return Vocabulary(
        model="gpt2",
        tokens=_filled(tokens),
        types=types,
        merges=tuple(" ".join(pair) for pair in _merges(form)),
        split=_split_name(form),
    )


def _split_name(form: Json) -> str:
    """llama.cpp's name of the rule that splits text, found by its pattern."""
    found = []
    for part in _parts(form["pre_tokenizer"]):
        if part["type"] == "Split":
            found.append(part["pattern"].get("Regex", ""))
        elif part["type"] == "Digits" and part["individual_digits"]:
            found.append("digits")
        elif part["type"] != "ByteLevel" or part.get("add_prefix_space"):
            raise _unknown(f"it splits text by {part['type']}")
    if tuple(found) not in SPLITS:
        raise _unknown("it splits text by a pattern of its own")
    return SPLITS[tuple(found)]


def _merges(form: Json) -> list[tuple[str, str]]:
    """Pairs of tokens, first rule first; older files have them joined by a blank."""
    pairs = form["model"]["merges"]
    return [tuple(pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in pairs]


def _sentencepiece(form: Json, tokens: Sequence[str], types: Types) -> Vocabulary:
    if not form["model"].get("byte_fallback"):
        raise _unknown("it is neither byte-level nor does it fall back to bytes")
    # Tokens a user defined are matched in the text before blanks are replaced.
    shown = [
        token.replace("▁", " ") if kind == TokenType.USER_DEFINED else token
        for token, kind in zip(tokens, types, strict=True)
    ]
    return Vocabulary(
        model="llama",
        tokens=_filled(shown),
        types=types,
        scores=_scores(form, tokens),
        space_before=_space_before(form),
    )


def _scores(form: Json, tokens: Sequence[str]) -> tuple[float, ...]:
    """Minus the rank of the merge that makes a token: greater scores are merged first.

    SentencePiece's BPE numbers its tokens this way too; a token that no merge makes is
    never asked for its score.
    """
    first: dict[str, int] = {}
    for rank, (left, right) in enumerate(_merges(form)):
        first.setdefault(left + right, rank)
    return tuple(-float(first.get(token, 0)) for token in tokens)


def _space_before(form: Json) -> bool:
    """Whether the tokenizer puts a blank before the first word."""
    steps = [*_parts(form["normalizer"]), *_parts(form["pre_tokenizer"])]
    return any(
        step["type"] == "Prepend"
        or (step["type"] == "Metaspace" and step.get("prepend_scheme") in ("first", "always"))
        for step in steps
    )


def _types(form: Json, tokens: Sequence[str], unknown: str | None = None) -> Types:
    """What each token is for. `unknown` stands for what has no token; byte-level has none."""
    added = {item["id"]: item["special"] for item in form["added_tokens"]}
    falls_back = bool(form["model"].get("byte_fallback"))

    def kind(number: int, token: str) -> TokenType:
        if token == "":
            return TokenType.UNUSED
        if token == unknown:
            return TokenType.UNKNOWN
        if number in added:
            return TokenType.CONTROL if added[number] else TokenType.USER_DEFINED
        return TokenType.BYTE if falls_back and _BYTE.fullmatch(token) else TokenType.NORMAL

    return tuple(kind(number, token) for number, token in enumerate(tokens))


def _filled(tokens: Sequence[str]) -> tuple[str, ...]:
    """Every row of the embeddings needs a token, and every token needs to differ."""
    return tuple(token or f"[PAD{number}]" for number, token in enumerate(tokens))
