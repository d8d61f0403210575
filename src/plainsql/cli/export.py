"""plainsql export: a model in the form that another runtime reads."""

from __future__ import annotations

from pathlib import Path

import click

from plainsql.cli.output import emit, print_json
from plainsql.cli.quantize import needs_extra
from plainsql.errors import UsageError

FORMATS = (
    "safetensors", "gguf-f16", "gguf-f32", "gguf-q8_0", "gguf-q4_0", "onnx-int8", "onnx-fp32",
)  # fmt: skip


@click.command("export")
@click.argument("model")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="[default: onnx-int8 for a parser, else safetensors]",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write.",
)
@click.option("--force", is_flag=True, help="Replace a model that lies in --out.")
@click.option("--push-to-hub", metavar="OWNER/NAME", help="Also upload it to the Hugging Face Hub.")
@click.option("--public", is_flag=True, help="Make a new model on the Hub public.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def command(
    model: str,
    form: str | None,
    out: Path,
    force: bool,
    push_to_hub: str | None,
    public: bool,
    as_json: bool,
) -> None:
    """Write MODEL in the form that another program reads. An adapter is merged first.

    \b
    safetensors  transformers, vLLM, TGI
    gguf-…       llama.cpp, Ollama, LM Studio (Llama, Mistral, Qwen, Gemma)
    onnx-…       the parser, for plainsql itself

    --push-to-hub is for safetensors; it needs a network and `hf auth login`.

    \b
    plainsql export runs/concerts --out merged
    plainsql export runs/concerts --format gguf-f16 --out concerts-gguf
    plainsql export runs/parser --format onnx-int8 --out my-parser
    plainsql export runs/concerts --out merged --push-to-hub me/concerts
    """
    with needs_extra("plainsql export"):
        from plainsql.quantization.export import export
        from plainsql.quantization.hub_upload import push
        from plainsql.quantization.parser import is_parser
    form = form or ("onnx-int8" if is_parser(model) else "safetensors")
    if push_to_hub and form != "safetensors":
        raise UsageError("--push-to-hub is for --format safetensors.", hint="Leave one out.")
    report = export(model, out, form, force=force)
    address = push(out, push_to_hub, private=not public) if push_to_hub else ""
    if as_json:
        values = {"source": report.source, "out": str(out), "format": report.form}
        print_json({**values, "file": str(report.file), "bytes": report.size, "hub": address})
        return
    emit(f"{report.file}: {report.source} as {report.form}, {report.size / 1e6:.1f} MB")
    if address:
        emit(f"uploaded to {address}")
