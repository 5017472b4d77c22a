"""Tells what the machine has: memory, and the dtype in which it computes best.

Importing this module imports no torch: `alignkit check` asks the operating system and the driver instead.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

CPU_INFO = Path("/proc/cpuinfo")
NATIVE_BFLOAT16 = {"avx512_bf16", "amx_tile"}
"""What Linux calls the instructions with which torch multiplies bfloat16."""

BFLOAT16_FROM = 8.0
"""The compute capability of NVIDIA's first GPUs that multiply bfloat16."""


@dataclass(frozen=True)
class Machine:
    """Where a base is computed.

    memory: the device's total, in bytes. dtype: what `dtype: auto` means here.
    """

    memory: int
    dtype: str


def machine_of(device: torch.device) -> Machine:
    """Return what torch knows of a device."""
    import torch

    from alignkit.models.base import compute_dtype

    dtype = str(compute_dtype("auto", device)).removeprefix("torch.")
    if device.type == "cuda":
        return Machine(torch.cuda.get_device_properties(device).total_memory, dtype)
    return Machine(psutil.virtual_memory().total, dtype)


def machine_without_torch() -> Machine:
    """Return what the driver knows of the first GPU that torch may use, or else what the CPU has."""
    return _gpu() or Machine(psutil.virtual_memory().total, "bfloat16" if _native_bfloat16() else "float32")


def bytes_free(device: torch.device) -> int:
    """Return the free memory in bytes. Memory of a GPU that PyTorch holds without using it counts as free."""
    import torch

    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    return psutil.virtual_memory().available


def _gpu() -> Machine | None:
    """Return the first GPU that is visible, or None where there is none or torch was built without CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if "+cpu" in version("torch") or visible in ("", "-1"):
        return None
    query = ["nvidia-smi", "-i", visible, "--query-gpu=memory.total,compute_cap"]
    try:
        asked = subprocess.run(
            [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=20, check=True
        )
        mebibytes, capability = asked.stdout.splitlines()[0].split(",")
        dtype = "bfloat16" if float(capability) >= BFLOAT16_FROM else "float16"
        return Machine(int(mebibytes) * 2**20, dtype)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):  # no driver, or no such GPU
        return None


def _native_bfloat16() -> bool:
    try:
        text = CPU_INFO.read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return bool(NATIVE_BFLOAT16 & set(next(lines, "").split()))
