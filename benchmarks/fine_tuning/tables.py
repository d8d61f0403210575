"""The results of the benchmark as Markdown, ready for docs/fine_tuning.md."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import plan

Results = dict[str, dict[str, Any]]
NONE = "–"


def markdown(results: Results, sizes: plan.Sizes, command: str) -> str:
    """The section: how it was measured, tuning, quantization, and int4 by two ways."""
    parts = [
        _heading(results, sizes, command),
        "#### Tuning",
        _table(TUNING, [_tuning_row(results, method) for method in plan.METHODS]),
        "#### Quantized after LoRA",
        _table(QUANTIZED, list(_quantized_rows(results))),
        "#### Four bits: quantized after training, or trained for it",
        _table(FOUR_BITS, list(_four_bit_rows(results))),
    ]
    return "\n\n".join(parts) + "\n"


TUNING = (
    "method", "trainable parameters", "weights saved", "base in use", "peak memory, training",
    "tokens/s", "accuracy before", "accuracy after",
)  # fmt: skip
QUANTIZED = (
    "weights",
    "on disk",
    "peak memory, use",
    "ms a question",
    "accuracy",
    "answers changed",
)
FOUR_BITS = ("trained by", "float", "int4, group 32", "GGUF Q4_0")


def _heading(results: Results, sizes: plan.Sizes, command: str) -> str:
    base = results.get("base", {})
    made = (
        f"The base, a Llama of {base['parameters']:,} parameters, was pre-trained for"
        f" {base['minutes']:.0f} minutes ({base['tokens'] / 1e6:.1f} M tokens). "
        if base
        else ""
    )
    own = _accuracy(results["base in its own form"])
    examples = results["full training"]["examples"]
    paragraphs = (
        f"`{command}`, seed {sizes.seed}, {os.cpu_count()} CPU cores.",
        f"{made}In the shorthand of its pre-training it writes the gold query for {own} of"
        f" {sizes.test:,} test questions. It is tuned on {examples:,} examples of plainsql's"
        f" `instruct` prompt with DDL, {sizes.epochs:g} epoch, rank {plan.RANK}. No table is in"
        " two of pre-training, tuning and test. Accuracy: exact logical form, with a 95 %"
        " interval. Memory: peak of the process, and in brackets what came after the libraries"
        " were loaded.",
    )
    return "\n\n".join(paragraphs)


def _tuning_row(results: Results, method: plan.Method) -> list[str]:
    training = results[f"{method.name} training"]
    base = results[plan.before(method.base)]
    whole = training["trainable"] == training["total"]
    return [
        method.title,
        f"{training['trainable']:,} ({100 * training['trainable'] / training['total']:.1f} %)",
        _megabytes(training["bytes"]),
        NONE if whole else method.base or "float32",
        _memory(training["training_peak_mb"], training),
        f"{training['tokens_per_second']:,.0f}",
        _accuracy(base),
        _accuracy(results[f"{method.name} after"]),
    ]


def _quantized_rows(results: Results) -> Iterable[list[str]]:
    whole = results["lora merged"]
    yield _quantized_row("float32, merged", whole, whole)
    for method in plan.PTQ:
        yield _quantized_row(method, results[f"lora as {method}"], whole)


def _quantized_row(name: str, result: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    changed = sum(a != b for a, b in zip(result["marks"], whole["marks"], strict=True))
    return [
        name,
        _megabytes(result["bytes"]),
        _memory(result["peak_mb"], result),
        f"{result['ms_per_question']:.0f}",
        _accuracy(result),
        NONE if result is whole else f"{changed} of {result['questions']}",
    ]


def _four_bit_rows(results: Results) -> Iterable[list[str]]:
    for name, title in (("lora", "LoRA, then PTQ"), ("qat-lora", "QAT-LoRA")):
        found = [results[f"{name} merged"]]
        found += [results[f"{name} as {method}"] for method in plan.QAT_PTQ]
        yield [title, *map(_accuracy, found)]


def _accuracy(result: dict[str, Any]) -> str:
    """A share in percent with half the width of its 95 % interval (Agresti and Coull 1998)."""
    number, right = result["questions"] + 4, result["right"] + 2
    share = right / number
    width = 1.96 * math.sqrt(share * (1 - share) / number)
    return f"{100 * result['right'] / result['questions']:.1f} ± {100 * width:.1f} %"


def _memory(peak: float, result: dict[str, Any]) -> str:
    """The peak, and how much of it came after the libraries were loaded."""
    return f"{peak:,.0f} MB (+{peak - result['program_mb']:,.0f})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
