"""Which device, and which type of number, a model computes with."""

from __future__ import annotations

import os
from typing import Any

from plainsql.errors import UsageError

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}


def choose_device(wanted: str = "auto") -> str:
    """A device by its torch name: CUDA before Apple's MPS before the CPU.

    Under `accelerate launch` each process takes the GPU of its LOCAL_RANK. Raises
    `UsageError` for a device this machine lacks.
    """
    import torch

    if wanted not in ("auto", "cuda"):
        return _checked(wanted)
    if torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
    if wanted == "cuda":
        return _checked(wanted)
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _checked(wanted: str) -> str:
    import torch

    kind = wanted.partition(":")[0]
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available(),
    }
    if not there.get(kind, False):
        found = ", ".join(name for name, available in there.items() if available)
        raise UsageError(f"There is no device {wanted!r} here.", hint=f"Devices: auto, {found}.")
    return wanted


def parse_dtype(name: str) -> Any:
    """The torch dtype called `name`, such as "bfloat16" or "bf16". Raises `UsageError`."""
    import torch

    if name not in DTYPES:
        known = ", ".join(sorted(DTYPES))
        raise UsageError(f"There is no number type {name!r}.", hint=f"Types: auto, {known}.")
    return getattr(torch, DTYPES[name])


def dtype_name(dtype: Any) -> str:
    """`torch.bfloat16` as "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def compute_dtype(wanted: str, device: str) -> Any:
    """What matrices are multiplied in: `wanted`, or for "auto" the fastest safe type.

    bfloat16 where the hardware multiplies it (Ampere GPUs and later, CPUs with
    AVX512-BF16: 4.7 times float32 there), float16 on older GPUs and on MPS, else float32.
    """
    import torch

    if wanted != "auto":
        return parse_dtype(wanted)
    if device.startswith("cuda"):
        # Turing and older only emulate bfloat16, at the speed of float32.
        real = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if real else torch.float16
    if device == "mps":
        return torch.float16
    return torch.bfloat16 if _cpu_multiplies_bf16() else torch.float32


def weight_dtype(wanted: str, device: str, saved: Any) -> Any:
    """What weights are kept in: `wanted`, or for "auto" as they were saved.

    Two exceptions, since the hardware can't do well with them: float16 becomes float32
    on a CPU, bfloat16 becomes float16 on a GPU that only emulates it.
    """
    import torch

    if wanted != "auto":
        return parse_dtype(wanted)
    saved = parse_dtype(dtype_name(saved)) if saved is not None else torch.float32
    if device == "cpu":
        return torch.float32 if saved == torch.float16 else saved
    if saved == torch.bfloat16:
        return compute_dtype("auto", device)
    return saved


def _cpu_multiplies_bf16() -> bool:
    import torch

    for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        if getattr(torch.cpu, test, bool)():
            return True
    return False
