"""The settings of one tuning run: every field once, with what it costs.

A TOML file mirrors the fields, a flag of `plainsql train` overrides each of them
(`learning_rate` is `--learning-rate`), and the run's folder keeps the result as
`config.toml`. No heavy package is imported here: `plainsql train --help` reads it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from plainsql.errors import UsageError

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = CONFIGS / "tuning"
LAUNCHERS = CONFIGS / "accelerate"
PARSER = "parser"  # the base that is plainsql's own parser, not a language model
FULL_WEIGHTS = ("full", "qat")  # methods that train every weight


def _setting(
    default: Any, group: str, doc: str, *, choices: tuple[str, ...] = (), resumable: bool = False
) -> Any:
    """A field with its documentation. `resumable`: may differ when a run is resumed."""
    metadata = {"group": group, "doc": doc, "choices": choices, "resumable": resumable}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One tuning run. Raises `UsageError`, naming the flag, for values out of range."""

    base: str = _setting(
        "", "What", "The model to tune: a folder, a Hub id, or `parser` for plainsql's own."
    )
    data: str = _setting("", "What", "The folder that `plainsql data prepare` wrote.")
    out: str = _setting(
        "",
        "What",
        "Where the run goes: best/, checkpoints/, metrics, curves, report.",
        resumable=True,
    )
    method: str = _setting(
        "lora",
        "Method",
        "lora: small matrices beside frozen weights. qlora: the same on 4-bit weights, least"
        " memory, a sixth slower. full: all weights, about 16 bytes each. qat, qat-lora: as full"
        " and lora, with rounding simulated for later quantization.",
        choices=("lora", "qlora", "full", "qat", "qat-lora"),
    )
    rank: int = _setting(
        16, "Method", "Rank of the adapter: memory and capacity grow in proportion."
    )
    alpha: int = _setting(32, "Method", "The adapter is scaled by alpha / rank. Costs nothing.")
    dropout: float = _setting(0.05, "Method", "Dropout before the adapter; 0 is a little faster.")
    target_modules: str = _setting(
        "all-linear",
        "Method",
        "Layers with an adapter: all-linear, or names such as q_proj,v_proj.",
    )
    double_quantization: bool = _setting(
        True, "Method", "qlora: quantize the scales too: 0.37 bits less a weight, no slower."
    )
    compute_dtype: str = _setting(
        "auto",
        "Method",
        "qlora: the type in which 4-bit weights are multiplied. auto: as --precision.",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    quantization: str = _setting(
        "",
        "Method",
        "int8: lora on a base of 8 bits a weight, half the memory.",
        choices=("", "int8"),
    )
    qat_target: str = _setting(
        "int4", "Method", "qat: what the weights are rounded to.", choices=("int4", "int8")
    )
    dtype: str = _setting(
        "auto",
        "Method",
        "The type of frozen weights that are not quantized; 16 bits halve their memory.",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    revision: str = _setting("", "Method", "Branch, tag or commit of a base on the Hub.")
    trust_remote_code: bool = _setting(
        False, "Method", "Run Python files that the base brings along: only those you have read."
    )
    epochs: float = _setting(3.0, "Steps", "Passes over the training examples.")
    max_steps: int = _setting(0, "Steps", "Updates of the weights; 0: as many as --epochs makes.")
    batch_size: int = _setting(
        1, "Steps", "Examples at once on each device: memory of activations grows in proportion."
    )
    accumulation: int = _setting(
        16, "Steps", "Batches added up before an update: a larger batch at no memory, but slower."
    )
    learning_rate: float = _setting(
        0.0,
        "Steps",
        "Peak learning rate; 0: 2e-4 for adapters, 2e-5 where all weights learn; for the parser"
        " 1e-3 and 1e-4.",
    )
    schedule: str = _setting(
        "cosine",
        "Steps",
        "How the learning rate falls after the warm-up.",
        choices=("cosine", "linear", "constant"),
    )
    warmup: float = _setting(
        0.03, "Steps", "Steps in which the learning rate rises; below 1: a share of all steps."
    )
    weight_decay: float = _setting(0.0, "Steps", "Decay of the weights, but of no bias or norm.")
    max_grad_norm: float = _setting(1.0, "Steps", "Gradients are scaled down to this norm; 0: not.")
    optimizer: str = _setting(
        "adamw",
        "Steps",
        "adamw: 8 bytes a trainable weight; adamw-8bit: 2; paged-adamw-8bit: also moves to the"
        " CPU when the GPU is full; adafactor: under 1, slower to converge.",
        choices=("adamw", "adamw-8bit", "paged-adamw-8bit", "adafactor"),
    )
    precision: str = _setting(
        "auto",
        "Memory and speed",
        "Arithmetic of the forward pass. auto: bf16 where the hardware has it, else fp16 on a GPU"
        " (T4, V100) and fp32 on a CPU. 16 bits halve the activations and are 2-4 times as fast.",
        choices=("auto", "fp32", "fp16", "bf16"),
    )
    gradient_checkpointing: bool = _setting(
        False,
        "Memory and speed",
        "Compute activations again in the backward pass: far less memory, about 30 % slower.",
    )
    padding: str = _setting(
        "longest",
        "Memory and speed",
        "longest: pad to the longest example of a batch. max_length: all to the same length,"
        " slower, with a memory that doesn't vary.",
        choices=("longest", "max_length"),
    )
    device: str = _setting(
        "auto",
        "Memory and speed",
        "Where to train. auto: a GPU if there is one.",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    threads: int = _setting(
        0,
        "Memory and speed",
        "CPU threads; 0: torch's choice. Fewer are faster while other programs use the cores.",
        resumable=True,
    )
    eval_steps: int = _setting(0, "Evaluation", "Steps between evaluations; 0: after each epoch.")
    eval_examples: int = _setting(
        64,
        "Evaluation",
        "Validation examples, drawn once, whose SQL is generated, run and compared, and whose loss"
        " is taken. Each costs one generation; 0: no evaluation.",
    )
    patience: int = _setting(
        0, "Evaluation", "Stop after so many evaluations without a better model; 0: never."
    )
    log_steps: int = _setting(10, "Evaluation", "Steps between two lines of metrics.jsonl.")
    save_steps: int = _setting(
        0, "Saving", "Steps between checkpoints; 0: at each evaluation, or after each epoch."
    )
    save_total_limit: int = _setting(
        2, "Saving", "Checkpoints kept. Each holds the trained weights thrice.", resumable=True
    )
    seed: int = _setting(0, "Saving", "The same seed and settings give the same run.")
    style: str = _setting("", "Prompt", "The prompt's style; empty: as the data was prepared.")
    max_input_tokens: int = _setting(
        0, "Prompt", "Longest prompt; schemas are cut to it. 0: as the data was prepared."
    )
    max_output_tokens: int = _setting(
        0, "Prompt", "Longest SQL in tokens; longer examples are dropped. 0: as prepared."
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            choices, value = item.metadata["choices"], getattr(self, item.name)
            shown = " or ".join(choice or '""' for choice in choices)
            _require(not choices or value in choices, item.name, f"one of {shown}", value)
        for name, (holds, wanted) in _RANGES.items():
            _require(holds(getattr(self, name)), name, wanted, getattr(self, name))
        self._check_together()

    def _check_together(self) -> None:
        if self.max_steps == 0 and self.epochs == 0:
            raise UsageError("The run would have no steps.", hint="Set --epochs or --max-steps.")
        if self.quantization and self.method != "lora":
            raise UsageError(
                f"--quantization {self.quantization} goes with --method lora, not {self.method}.",
                hint="For a 4-bit base use --method qlora.",
            )

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the warm-up, with the default by method."""
        return self.learning_rate or (2e-5 if self.method in FULL_WEIGHTS else 2e-4)

    def to_toml(self, header: str = "") -> str:
        """All settings as TOML text, in groups; `load_train_config` reads it back."""
        lines = [f"# {line}" if line else "#" for line in header.splitlines()]
        group = ""
        for item in fields(self):
            if item.metadata["group"] != group:
                group = item.metadata["group"]
                lines += ["", f"# {group}"]
            # JSON's strings, numbers and booleans are TOML's too
            lines.append(f"{item.name} = {json.dumps(getattr(self, item.name))}")
        return "\n".join(lines).lstrip("\n") + "\n"

    def changes(self, earlier: Mapping[str, Any]) -> list[str]:
        """What a resumed run may not change: `--rank 16 -> 8`, one text a field."""
        return [
            f"{flag(item.name)} {earlier[item.name]!r} -> {value!r}"
            for item, value in zip(fields(self), asdict(self).values(), strict=True)
            if not item.metadata["resumable"]
            and item.name in earlier
            and earlier[item.name] != value
        ]


_AT_LEAST_0 = (lambda value: value >= 0, "0 or more")
_AT_LEAST_1 = (lambda value: value >= 1, "1 or more")
_RANGES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("rank", "batch_size", "accumulation", "log_steps"), _AT_LEAST_1),
    **dict.fromkeys(("save_total_limit", "alpha"), _AT_LEAST_1),
    **dict.fromkeys(("max_steps", "threads", "eval_steps", "eval_examples"), _AT_LEAST_0),
    **dict.fromkeys(("patience", "save_steps", "seed", "warmup"), _AT_LEAST_0),
    **dict.fromkeys(("max_input_tokens", "max_output_tokens", "weight_decay"), _AT_LEAST_0),
    **dict.fromkeys(("epochs", "max_grad_norm"), _AT_LEAST_0),
    "dropout": (lambda value: 0 <= value < 1, "from 0 to below 1"),
    "learning_rate": (lambda value: 0 <= value < 1, "from 0 to below 1"),
}


def flag(name: str) -> str:
    """The flag of `plainsql train` that sets the field `name`."""
    return "--" + name.replace("_", "-")


def _require(holds: bool, name: str, wanted: str, value: object) -> None:
    if not holds:
        raise UsageError(
            f"{flag(name)} must be {wanted}, not {value!r}.",
            hint=f"Change {flag(name)}, or {name} in the configuration file.",
        )


def settings() -> Iterator[Field[Any]]:
    """The fields in order, each with group, doc and choices in its metadata."""
    yield from fields(TrainConfig)


def load_train_config(
    path: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainConfig:
    """The settings of a TOML file, or of a shipped recipe's name, and of the flags.

    An override that is None was not given. Raises `UsageError` for a file that
    can't be read, unknown settings, and values of the wrong type or range.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    from_file = {} if path is None else _read(config_path(str(path)))
    return TrainConfig(**_typed({**from_file, **given}, str(path or "the command line")))


def config_path(name: str) -> Path:
    """A file, or the shipped recipe or launcher configuration of that name.

    Raises `UsageError` listing what is shipped when it is none of these.
    """
    places = (Path(name), RECIPES / f"{name}.toml", LAUNCHERS / f"{name}.yaml")
    for place in places:
        if place.is_file():
            return place
    raise UsageError(
        f"There is no configuration {name!r}.",
        hint=f"Give a file, or one of: {', '.join(sorted(shipped()))}.",
    )


def shipped() -> dict[str, Path]:
    """The recipes and launcher configurations that come with plainsql, by name."""
    paths = (*sorted(RECIPES.glob("*.toml")), *sorted(LAUNCHERS.glob("*.yaml")))
    return {path.stem: path for path in paths}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _typed(values: Mapping[str, Any], place: str) -> dict[str, Any]:
    defaults = {item.name: item.default for item in fields(TrainConfig)}
    for name in values:
        if name not in defaults:
            raise UsageError(
                f"There is no setting {name!r} (in {place}), so no flag {flag(name)}.",
                hint="plainsql train --help lists them all.",
            )
    return {name: _convert(name, value, defaults[name]) for name, value in values.items()}


def _convert(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`: whole numbers may stand for decimal ones."""
    wanted = type(default)
    if wanted is float and type(value) is int:
        return float(value)
    if isinstance(value, Path) and wanted is str:
        return str(value)
    kinds = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    _require(type(value) is wanted, name, kinds[wanted], value)
    return value
