"""The steps of the benchmark, in order: what each needs, and what task it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Peak learning rates: high, since the model is small and sees its examples once.
LEARNING_RATES = {"full": 1e-3, "adapter": 4e-3}
RANK, ALPHA = 16, 32
PTQ = ("int8", "nf4", "nf4-dq", "torchao-int8", "torchao-int4", "gguf-q8_0", "gguf-q4_0")
QAT_PTQ = ("torchao-int4", "gguf-q4_0")  # what qat-lora is trained for, and its nearest kin


@dataclass(frozen=True, slots=True)
class Method:
    """One way to tune: how it is called here, and the settings that make it."""

    name: str
    settings: dict[str, Any]
    base: str  # the quantization of its frozen weights
    title: str


METHODS = (
    Method("full", {"method": "full"}, "", "full"),
    Method("lora", {"method": "lora"}, "", "LoRA"),
    Method("qlora", {"method": "qlora", "double_quantization": False}, "nf4", "QLoRA (NF4)"),
    Method(
        "qlora-dq",
        {"method": "qlora", "double_quantization": True},
        "nf4-dq",
        "QLoRA (NF4, double quantization)",
    ),
    Method("qat-lora", {"method": "qat-lora", "qat_target": "int4"}, "", "QAT-LoRA (int4)"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. The defaults take 60 minutes on two idle cores."""

    tuning: int = 4000  # examples to tune on
    test: int = 500  # questions over tables of neither part
    epochs: float = 1.0
    batch: int = 16
    threads: int = 0  # 0: torch's choice
    seed: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)  # changes to pretraining.Recipe

    def scaled(self, share: float) -> Sizes:
        """As much of it as fits `share` of the time."""
        recipe = {"minutes": 22.0 * share, **self.recipe}
        values = {**asdict(self), "tuning": max(64, int(self.tuning * share)), "recipe": recipe}
        return Sizes(**values)


SMOKE = Sizes(
    tuning=64,
    test=16,
    recipe={"width": 64, "heads": 4, "layers": 2, "vocabulary": 1024, "steps": 50, "minutes": 2.0},
)


@dataclass(frozen=True, slots=True)
class Step:
    """One process. Its result is kept under `name`."""

    name: str
    task: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: the data, the folder of the run, and the base model."""

    rows: Path
    out: Path
    base: Path

    @property
    def data(self) -> Path:
        """The divided and prepared data."""
        return self.out / "data"

    def model(self, name: str) -> str:
        """The folder of a model that the benchmark makes."""
        return str(self.out / "models" / name)


def steps(places: Places, sizes: Sizes, *, pretrained: bool) -> Iterator[Step]:
    """All steps; without the pre-training where a base is given (`pretrained`)."""
    parts = {"rows": str(places.rows), "tuning": sizes.tuning, "test": sizes.test}
    parts["seed"] = sizes.seed
    if not pretrained:
        out = str(places.base)
        yield Step("base", {"do": "pretrain", **parts, "out": out, "recipe": sizes.recipe})
    tokenizer = str(places.base)
    yield Step("data", {"do": "prepare", **parts, "out": str(places.data), "tokenizer": tokenizer})
    yield _evaluation("base in its own form", places, sizes, str(places.base), style="bare")
    for quantization in ("", "nf4", "nf4-dq"):
        yield _evaluation(
            before(quantization), places, sizes, str(places.base), quantization=quantization
        )
    for method in METHODS:
        yield _training(method, places, sizes)
        yield _evaluation(f"{method.name} after", places, sizes, places.model(method.name))
    for name, methods in (("lora", PTQ), ("qat-lora", QAT_PTQ)):
        yield from _quantizing(name, methods, places, sizes)


def before(quantization: str) -> str:
    """The step that evaluates the base as a method finds it."""
    return f"base before {quantization}".strip()


def _evaluation(name: str, places: Places, sizes: Sizes, source: str, **more: Any) -> Step:
    task = {"do": "evaluate", "source": source, "data": str(places.data), "questions": sizes.test}
    return Step(name, {**task, **more})


def _training(method: Method, places: Places, sizes: Sizes) -> Step:
    whole = method.name == "full"
    config = {
        "base": str(places.base.absolute()),
        "data": str(places.data / "prepared"),
        "out": places.model(method.name),
        "rank": RANK,
        "alpha": ALPHA,
        "dropout": 0.0,
        "epochs": float(sizes.epochs),
        "batch_size": sizes.batch,
        "accumulation": 1,
        "learning_rate": LEARNING_RATES["full" if whole else "adapter"],
        "eval_examples": 0,
        "seed": sizes.seed,
        "threads": sizes.threads,
        "device": "cpu",
        **method.settings,
    }
    return Step(f"{method.name} training", {"do": "train", "config": config})


def _quantizing(
    name: str, methods: tuple[str, ...], places: Places, sizes: Sizes
) -> Iterator[Step]:
    merged = places.model(f"{name}-merged")
    yield Step(f"{name} merging", {"do": "merge", "source": places.model(name), "out": merged})
    yield _evaluation(f"{name} merged", places, sizes, merged)
    for method in methods:
        out = places.model(f"{name}-{method}")
        yield Step(
            f"{name} to {method}",
            {"do": "quantize", "source": merged, "out": out, "method": method},
        )
        yield _evaluation(f"{name} as {method}", places, sizes, out)
