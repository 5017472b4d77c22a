"""Describes the machine on which a stage ran: what computed it, in which numbers, with how much memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Hardware:
    """What a stage ran on.

    processor: the GPU's name, or the CPU's. cores: those of the CPU that the process may use. memory_gb: the
    GPU's memory, or the machine's; None where it cannot be told. dtype: what the base computed in.
    """

    processor: str
    cores: int
    memory_gb: float | None
    dtype: str

    def __str__(self) -> str:
        """Return one line for people."""
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB of memory"
        return f"{self.processor}, {self.cores} CPU core{'s' * (self.cores != 1)}{memory}, {self.dtype}"


def find_hardware(device: torch.device, dtype: torch.dtype) -> Hardware:
    """Return what this process computes on."""
    import torch

    named = str(dtype).removeprefix("torch.")
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return Hardware(found.name, _cores(), found.total_memory / 1e9, named)
    return Hardware(_processor(), _cores(), _memory_gb(), named)


def _processor() -> str:
    """Return the CPU's name as Linux tells it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
