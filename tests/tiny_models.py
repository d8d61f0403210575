"""Tiny, random models of the true architectures, with tokenizers trained on the spot.

    folder = tiny_model("llama", tmp_path / "base")

writes what `from_pretrained` reads: configuration, safetensors, tokenizer. The
same name gives the same weights. Widths are multiples of 32, as NF4 wants on CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CAUSAL = ("gpt2", "llama", "gemma", "qwen2", "mistral")
ARCHITECTURES = (*CAUSAL, "t5")

TEXT = """
CREATE TABLE singer (singer_id INTEGER, name TEXT, country TEXT, age INTEGER)
CREATE TABLE concert (concert_id INTEGER, title TEXT, year INTEGER, singer_id INTEGER)
How many singers are there? SELECT count(*) FROM singer
What are the names of singers from France? SELECT name FROM singer WHERE country = 'France'
Which year had the most concerts? SELECT year FROM concert GROUP BY year ORDER BY count(*) DESC
Translate the question into SQL. Answer with one SELECT statement. Question: Schema: SQL:
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)

# Hidden size, layers, heads; the vocabulary comes from the tokenizer.
WIDTH, LAYERS, HEADS = 64, 2, 4


def tiny_model(
    architecture: str, folder: Path, *, seed: int = 0, chat: bool = False, vocabulary: int = 512
) -> Path:
    """Write a model of `architecture` and its tokenizer into `folder`; return the folder."""
    import torch

    tokenizer = tiny_tokenizer(vocabulary, chat=chat)
    torch.manual_seed(seed)
    model = _model(architecture, _common(tokenizer))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer(vocabulary: int = 512, *, chat: bool = False) -> Any:
    """A byte-level BPE tokenizer with <pad>, <s> and </s>; it can write any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _common(tokenizer: Any) -> dict[str, Any]:
    # The vocabulary is rounded up: its size is lm_head's number of outputs.
    return {
        "vocab_size": -(-len(tokenizer) // 32) * 32,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _model(architecture: str, common: dict[str, Any]) -> Any:
    import transformers as hf

    if architecture == "gpt2":
        sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 1024}
        return hf.GPT2LMHeadModel(hf.GPT2Config(**common, **sizes))
    if architecture == "t5":
        sizes = {"d_model": WIDTH, "d_ff": 2 * WIDTH, "d_kv": WIDTH // HEADS}
        depth = {"num_layers": LAYERS, "num_heads": HEADS}
        start = {"decoder_start_token_id": common["pad_token_id"]}
        return hf.T5ForConditionalGeneration(hf.T5Config(**common, **sizes, **depth, **start))
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS // 2,
        "max_position_embeddings": 1024,
    }
    if architecture == "gemma":
        sizes["head_dim"] = WIDTH // HEADS
    kinds = {
        "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        "gemma": (hf.GemmaConfig, hf.GemmaForCausalLM),
        "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM),
        "mistral": (hf.MistralConfig, hf.MistralForCausalLM),
    }
    config, model = kinds[architecture]
    return model(config(**common, **sizes))
