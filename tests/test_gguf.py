"""GGUF files: read by plainsql, by `gguf` and by transformers, they hold the same model."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from tokenizers import Regex, pre_tokenizers

from plainsql.errors import ModelError, UsageError
from plainsql.quantization.gguf_tokenizer import SPLITS, read_vocabulary
from plainsql.quantization.gguf_writer import write_gguf
from plainsql.quantization.quantize import differences
from plainsql.translators.language_model.gguf_file import LAYOUTS, TensorMap, find_gguf, load_gguf
from plainsql.translators.language_model.libraries import quiet
from plainsql.translators.language_model.loading import Loaded, load
from tiny_models import TEXT, tiny_model, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WIDTH = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
IDS = torch.arange(10, 60)[None]
ARCHITECTURES = ("llama", "mistral", "qwen2", "gemma")
QUESTIONS = (
    "How many singers are there?",
    "SELECT name FROM singer WHERE country = 'France'  AND age >= 30",
    "Ünïcode 日本 12345\n\n\tend",
)


def loud(model: Any) -> Any:
    """Fresh weights say nearly the same for all tokens; larger ones don't, and norms differ."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    """A model of each architecture, made when it is first asked for."""
    root = tmp_path_factory.mktemp("models")

    @cache
    def make(architecture: str) -> Loaded:
        loaded = load(tiny_model(architecture, root / architecture, chat=True))
        loud(loaded.model)
        return loaded

    return make


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits[0].float()


def written(loaded: Loaded, folder: Path, form: str) -> Path:
    folder.mkdir()
    return write_gguf(loaded.model, loaded.tokenizer, folder, form, "Tiny model")


KINDS = {"q8_0": Type.Q8_0, "q4_0": Type.Q4_0, "f16": Type.F16, "f32": Type.F32}


def rounded(model: Any, form: str) -> torch.Tensor:
    """What the model says with its matrices rounded by the package `gguf`, in their own layout."""
    kept = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():
        for name, values in model.named_parameters():  # tied weights come once
            if values.dim() > 1:
                kind = kind_of(model, name, values, form)
                packed = gguf.quantize(values.numpy(), kind)
                values.copy_(torch.from_numpy(gguf.dequantize(packed, kind).copy()))
    found = logits(model)
    model.load_state_dict(kept)
    return found


def kind_of(model: Any, name: str, values: torch.Tensor, form: str) -> Type:
    head = "model.embed_tokens.weight" if model.config.tie_word_embeddings else "lm_head.weight"
    if form == "q4_0" and name == head:
        return Type.Q8_0
    return Type.F16 if form[0] == "q" and values.shape[1] % 32 else KINDS[form]


@pytest.mark.parametrize("form", ["f32", "f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_file_holds_the_rounded_model(
    models: Callable[[str], Loaded], tmp_path: Path, architecture: str, form: str
) -> None:
    loaded = models(architecture)
    path = written(loaded, tmp_path / "gguf", form)
    assert path.name == f"Tiny-model-{form}.gguf"

    found = logits(load_gguf(path.parent))
    torch.testing.assert_close(found, rounded(loaded.model, form), rtol=1e-3, atol=1e-3)
    error, agreement = differences([logits(loaded.model)], [found])
    assert error < {"f32": 1e-5, "f16": 2e-3, "q8_0": 0.05, "q4_0": 0.6}[form]
    assert agreement > (0.4 if form == "q4_0" else 0.95)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2"])  # it reads no Gemma
def test_transformers_reads_the_same(
    models: Callable[[str], Loaded], tmp_path: Path, architecture: str
) -> None:
    loaded = models(architecture)
    path = written(loaded, tmp_path / "gguf", "q4_0")
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(path, alone)

    model = transformers.AutoModelForCausalLM.from_pretrained(alone, gguf_file=path.name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(alone, gguf_file=path.name)

    torch.testing.assert_close(logits(model.eval()), logits(load_gguf(path.parent)))
    for question in QUESTIONS:
        expected = loaded.tokenizer(question)["input_ids"]
        assert tokenizer(question)["input_ids"] == expected
        assert tokenizer.decode(expected) == question
    assert tokenizer.eos_token == loaded.tokenizer.eos_token
    assert tokenizer.chat_template == loaded.tokenizer.chat_template


def test_what_the_file_says(models: Callable[[str], Loaded], tmp_path: Path) -> None:
    loaded = models("qwen2")
    reader = gguf.GGUFReader(written(loaded, tmp_path / "gguf", "q4_0"))
    values = {name: field.contents() for name, field in reader.fields.items()}
    assert values["general.architecture"] == "qwen2"
    assert values["general.name"] == "Tiny model"
    assert values["general.file_type"] == 2
    assert values["qwen2.block_count"] == 2
    assert values["qwen2.attention.head_count_kv"] == 2
    assert values["tokenizer.ggml.model"] == "gpt2"
    assert values["tokenizer.ggml.pre"] == "qwen2"
    assert values["tokenizer.ggml.tokens"][:3] == ["<pad>", "<s>", "</s>"]
    assert values["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert len(values["tokenizer.ggml.tokens"]) == loaded.model.config.vocab_size
    assert values["tokenizer.ggml.eos_token_id"] == loaded.tokenizer.eos_token_id
    assert values["tokenizer.ggml.add_bos_token"] is False
    assert values["tokenizer.chat_template"] == loaded.tokenizer.chat_template

    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == Type.Q4_0
    assert kinds["blk.1.attn_q.bias"] == Type.F32
    assert kinds["output_norm.weight"] == Type.F32
    assert kinds["output.weight"] == Type.Q8_0  # as llama.cpp keeps it above 4 bits


def test_tied_weights_are_there_once(models: Callable[[str], Loaded], tmp_path: Path) -> None:
    reader = gguf.GGUFReader(written(models("gemma"), tmp_path / "gguf", "q4_0"))
    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert "output.weight" not in kinds
    assert kinds["token_embd.weight"] == Type.Q8_0


def test_rows_that_make_no_blocks_stay_float16(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(**{**WIDTH, **HEADS, "intermediate_size": 72}, vocab_size=512)
    model = loud(transformers.LlamaForCausalLM(config))
    reader = gguf.GGUFReader(write_gguf(model, tiny_tokenizer(), tmp_path, "q4_0"))
    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert kinds["blk.0.ffn_down.weight"] == Type.F16  # rows of 72
    assert kinds["blk.0.ffn_up.weight"] == Type.Q4_0  # rows of 64
    torch.testing.assert_close(logits(load_gguf(tmp_path)), rounded(model, "q4_0"))


def test_head_sizes_and_norms_of_qwen3(tmp_path: Path) -> None:
    config = transformers.Qwen3Config(**WIDTH, **HEADS, vocab_size=512)
    model = loud(transformers.Qwen3ForCausalLM(config))
    path = write_gguf(model, tiny_tokenizer(), tmp_path, "f32")
    values = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    assert values["qwen3.attention.key_length"] == 32
    torch.testing.assert_close(logits(load_gguf(tmp_path)), logits(model))


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_scaled_rotations(tmp_path: Path) -> None:
    """llama.cpp divides its own frequencies by `rope_freqs`: then they are transformers'."""
    config = transformers.LlamaConfig(**WIDTH, **HEADS, vocab_size=512, rope_parameters=LLAMA3)
    model = transformers.LlamaForCausalLM(config).eval()
    path = write_gguf(model, tiny_tokenizer(), tmp_path, "f16")
    factors = next(t.data for t in gguf.GGUFReader(path).tensors if t.name == "rope_freqs.weight")
    plain = 10000.0 ** -(np.arange(0, 32, 2) / 32)
    np.testing.assert_allclose(plain / factors, model.model.rotary_emb.inv_freq, rtol=1e-5)
    assert differences([logits(model)], [logits(load_gguf(tmp_path))])[0] < 1e-3


def test_linear_and_unknown_scaling(tmp_path: Path) -> None:
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    config = transformers.LlamaConfig(**WIDTH, **HEADS, vocab_size=512, rope_parameters=linear)
    model = transformers.LlamaForCausalLM(config)
    path = write_gguf(model, tiny_tokenizer(), tmp_path, "f16")
    values = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}
    assert values["llama.rope.scaling.type"] == "linear"
    assert values["llama.rope.scaling.factor"] == 2.0
    model.config.rope_parameters = {**linear, "rope_type": "dynamic"}
    with pytest.raises(ModelError, match="'dynamic'"):
        write_gguf(model, tiny_tokenizer(), tmp_path / "none", "f16")


# -- tokenizers -------------------------------------------------------------------------


def sentencepiece_tokenizer(kind: str, folder: Path) -> Any:
    """A tokenizer of the Llama or the Gemma kind, trained on the spot."""
    sentencepiece = pytest.importorskip("sentencepiece")
    quiet()
    folder.mkdir()
    found = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.strip().splitlines() * 3),
        model_writer=found,
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        user_defined_symbols=["▁▁", "<turn>"],
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(found.getvalue())
    maker = {"llama": transformers.LlamaTokenizer, "gemma": transformers.GemmaTokenizer}[kind]
    return maker.from_pretrained(folder)


@pytest.mark.filterwarnings("ignore:builtin type:DeprecationWarning")
@pytest.mark.parametrize(("kind", "space"), [("llama", True), ("gemma", False)])
def test_sentencepiece(tmp_path: Path, kind: str, space: bool) -> None:
    tokenizer = sentencepiece_tokenizer(kind, tmp_path / "tokenizer")
    vocabulary = read_vocabulary(tokenizer, 448)
    assert (vocabulary.model, vocabulary.space_before) == ("llama", space)
    assert len(vocabulary.tokens) == len(vocabulary.types) == len(vocabulary.scores) == 448
    types = map(int, vocabulary.types)
    by_type = dict(zip(types, vocabulary.tokens, strict=True))
    assert by_type[2] == "<unk>"
    assert by_type[4] == "<turn>"
    assert by_type[5] == "[PAD447]"
    assert by_type[6] == "<0xFF>"
    assert "  " in vocabulary.tokens  # what a user defined is matched before ▁ is written
    for question in QUESTIONS:
        assert by_scores(vocabulary, question) == tokenizer.tokenize(question)


def by_scores(vocabulary: Any, text: str) -> list[str]:
    """How llama.cpp reads a text: the two neighbours with the best score are joined first."""
    known = {token: i for i, token in enumerate(vocabulary.tokens)}
    text = text.replace("  ", "\0").replace(" ", "▁").replace("\0", "\n▁▁\n")
    pieces: list[str] = []
    for part in (("▁" * vocabulary.space_before) + text).split("\n▁▁\n"):
        pieces += [*_joined(list(part), known, vocabulary.scores), "▁▁"]
    return pieces[:-1]


def _joined(parts: list[str], known: dict[str, int], scores: Any) -> list[str]:
    while True:
        pairs = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
        ranked = [(scores[known[pair]], -i) for i, pair in enumerate(pairs) if pair in known]
        if not ranked:
            break
        at = -max(ranked)[1]
        parts[at : at + 2] = [pairs[at]]
    in_bytes = ([f"<0x{byte:02X}>" for byte in part.encode()] for part in parts)
    return [
        piece
        for part, spelled in zip(parts, in_bytes, strict=True)
        for piece in ([part] if part in known else spelled)
    ]


@pytest.mark.parametrize(("split", "name"), SPLITS.items(), ids=SPLITS.values())
def test_rules_that_split_text(split: tuple[str, ...], name: str) -> None:
    tokenizer = tiny_tokenizer()
    steps = {
        (): [],
        ("digits",): [pre_tokenizers.Digits(individual_digits=True)],
    }.get(split) or [pre_tokenizers.Split(Regex(rule), "isolated") for rule in split]
    steps = [] if not split else steps
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split in ((), ("digits",)))
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last])
    assert read_vocabulary(tokenizer, 512).split == name


def test_tokenizers_llama_cpp_does_not_know(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    own = pre_tokenizers.Split(Regex("[aeiou]"), "isolated")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([own, last])
    with pytest.raises(ModelError, match="a pattern of its own"):
        read_vocabulary(tokenizer, 512)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="neither byte-level"):
        read_vocabulary(tokenizer, 512)
    with pytest.raises(ModelError, match="embeddings"):
        read_vocabulary(tiny_tokenizer(), 100)


# -- damage -----------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
def test_a_damaged_file_is_named(
    models: Callable[[str], Loaded], tmp_path: Path, damage: str
) -> None:
    path = written(models("llama"), tmp_path / "gguf", "f16")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif damage == "text":
        path.write_text("no weights at all")
    else:
        path.unlink()
    with pytest.raises(ModelError) as caught:
        load(path.parent) if damage != "missing" else load_gguf(path.parent)
    assert caught.value.hint


def test_a_file_of_another_model(models: Callable[[str], Loaded], tmp_path: Path) -> None:
    folder = tmp_path / "gguf"
    written(models("llama"), folder, "f16")
    config = transformers.LlamaConfig(**{**WIDTH, "num_hidden_layers": 3}, **HEADS, vocab_size=512)
    config.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"lacks model\.layers\.2"):
        load_gguf(folder)


def test_names_and_layouts_are_inverse() -> None:
    for name in LAYOUTS:
        config = transformers.AutoConfig.for_model(name, **WIDTH, **HEADS)
        tensors = TensorMap.of(config)
        values = np.arange(128 * 3, dtype=np.float32).reshape(128, 3)
        for parameter in ("self_attn.q_proj.weight", "mlp.up_proj.weight"):
            place = tensors.name(f"model.layers.1.{parameter}")
            back = tensors.from_file(place, tensors.to_file(place, values))
            np.testing.assert_array_equal(back, values)
    with pytest.raises(UsageError, match="gpt2"):
        TensorMap.of(transformers.GPT2Config())
    assert find_gguf(Path(__file__).parent) is None
