"""What must be known of a tuned model to use it: the file `plainsql.json` beside its weights.

The prompt a model was trained with is saved here and rebuilt from here, since a
prompt that differs between training and use is the commonest bug of the field.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from plainsql.errors import ModelError

FILE = "plainsql.json"
FORMAT_VERSION = 1

Family = Literal["causal", "seq2seq", "parser"]
Kind = Literal["base", "adapter", "full", "merged", "quantized"]


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """How a question and its schema become the text a model reads."""

    style: str = "instruct"  # a name in prompts.STYLES
    schema_form: str = "ddl"  # one of schema_text.FORMS
    max_input_tokens: int = 384  # the schema is cut to make prompt and question fit
    max_output_tokens: int = 128
    dialect: str = "sqlite"

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """The format in JSON's form, as `asdict` gives it. Raises `ValueError`, `TypeError`."""
        known = {item.name for item in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown prompt settings {sorted(unknown)}")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One saved model: what it is, what it stands on, how it is asked."""

    kind: Kind
    family: Family = "causal"
    base: str = ""  # path or Hub id of the base model; "" where the folder is complete
    base_fingerprint: str = ""  # of the base's configuration; see loading.fingerprint
    method: str = ""  # how it was trained or quantized: "lora", "qlora", "nf4", …
    quantization: str = ""  # of the weights as loaded: "", "int8", "nf4" or "nf4-dq"
    dtype: str = "float32"  # of the weights that are not quantized
    prompt: PromptFormat = field(default_factory=PromptFormat)

    def write(self, folder: Path) -> None:
        """Save as `folder`/plainsql.json."""
        values = {"format_version": FORMAT_VERSION, **asdict(self)}
        (folder / FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The file in `folder`. Raises `ModelError` when it is missing or of another form."""
        try:
            values = json.loads((folder / FILE).read_text(encoding="utf-8"))
            found = values.pop("format_version")
            if found != FORMAT_VERSION:
                raise ValueError(f"format version {found}, expected {FORMAT_VERSION}")
            return cls(**{**values, "prompt": PromptFormat.of(values.get("prompt", {}))})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{folder / FILE} can't be used: {error}",
                hint="Train or quantize the model again; the file is written beside the weights.",
            ) from error
