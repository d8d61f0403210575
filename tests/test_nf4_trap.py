"""An evaluation must not change what a 4- or 8-bit layer computes afterwards.

On CPUs with AVX512-BF16 bitsandbytes repacks NF4 weights in the first forward pass in
evaluation mode; the pass after it reads them as if they were not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn.modules import has_avx512bf16

from plainsql.training.tuning.methods import prepare_model
from plainsql.translators.language_model.four_bit import dequantize, four_bit_layers, tame_nf4
from plainsql.translators.language_model.loading import LoadOptions, load_base
from tuned_models import Bases, batch, logits, options

# What torch says where an untamed layer takes the path that has no gradient.
pytestmark = pytest.mark.filterwarnings("ignore:bitsandbytes.*autograd kernel:UserWarning")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    return Bases(tmp_path_factory.mktemp("bases"))


def adapted(base: Path, case: str, **changed: Any) -> Any:
    """A model with an adapter that does something, and no dropout."""
    model = prepare_model(base, options(case, **changed), device="cpu").model
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.05, generator=torch.Generator().manual_seed(0))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):  # T5's attention
            module.dropout = 0.0
    return model


def gradient(model: Any) -> torch.Tensor:
    model.train()
    model.zero_grad()
    model(input_ids=batch(), labels=batch()).loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return torch.cosine_similarity(one.double(), other.double(), 0).item()


CASES = [
    ("llama", "qlora", {}),
    ("llama", "qlora-dq", {}),
    ("llama", "qlora-dq", {"compute_dtype": "bfloat16"}),
    ("gpt2", "qlora-dq", {}),
    ("t5", "qlora-dq", {}),
    ("llama", "lora-int8", {}),
]


@pytest.mark.parametrize(("architecture", "case", "changed"), CASES)
def test_gradients_after_an_evaluation_equal_those_before(
    architecture: str, case: str, changed: dict[str, str], bases: Bases
) -> None:
    model = adapted(bases(architecture), case, **changed)
    before = gradient(model)
    logits(model)
    after = gradient(model)
    assert before.norm() > 0
    assert cosine(before, after) > 0.999999
    assert torch.allclose(before, after, atol=1e-6)


@pytest.mark.skipif(not has_avx512bf16(), reason="this CPU does not repack")
def test_without_the_cure_they_do_not(bases: Bases) -> None:
    model = adapted(bases("llama"), "qlora-dq")
    for _, layer in four_bit_layers(model):
        layer.support_avx512bf16_for_cpu = True
    before = gradient(model)
    logits(model)
    assert cosine(before, gradient(model)) < 0.95


def test_weights_read_the_same_after_an_evaluation(bases: Bases) -> None:
    model = load_base(bases("gpt2"), LoadOptions("nf4-dq", device="cpu")).model
    fresh = load_base(bases("gpt2"), LoadOptions("nf4-dq", device="cpu")).model
    logits(model)
    one, other = (dequantize(item, torch.float32).state_dict() for item in (model, fresh))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_every_layer_is_tamed(bases: Bases) -> None:
    model = load_base(bases("llama"), LoadOptions("nf4", device="cpu")).model
    assert tame_nf4(model) == 14
    assert not any(layer.support_avx512bf16_for_cpu for _, layer in four_bit_layers(model))
