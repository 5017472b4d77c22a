"""What the machine has, as torch says it and as it is found without torch."""

import subprocess

import psutil
import pytest
import torch

from alignkit.models import memory
from alignkit.models.memory import Machine, machine_of, machine_without_torch


def test_a_cpu_has_the_memory_and_the_dtype_that_torch_finds(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = machine_without_torch()
    assert found == machine_of(torch.device("cpu"))
    assert found.memory == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [("fpu avx512_bf16", "bfloat16"), ("amx_tile", "bfloat16"), ("avx2 avx512f", "float32"), ("", "float32")],
)
def test_bfloat16_is_the_dtype_of_cpus_that_multiply_it(monkeypatch, tmp_path, flags, dtype):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "cpuinfo").write_text(f"model name\t: a\nflags\t\t: {flags}\n")
    monkeypatch.setattr(memory, "CPU_INFO", tmp_path / "cpuinfo")
    assert machine_without_torch().dtype == dtype
    monkeypatch.setattr(memory, "CPU_INFO", tmp_path / "missing")
    assert machine_without_torch().dtype == "float32"


@pytest.fixture
def driver(monkeypatch):
    """A machine with GPUs; returns the commands that were run."""
    asked = []

    def answer(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="81559, 9.0\n")

    monkeypatch.setattr(memory, "version", lambda package: "2.13.0+cu130")
    monkeypatch.setattr(memory.subprocess, "run", answer)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    return asked


def test_the_first_visible_gpu_is_asked_of_the_driver(driver):
    assert machine_without_torch() == Machine(81559 * 2**20, "bfloat16")
    assert driver[0][:3] == ["nvidia-smi", "-i", "2"]


def test_a_torch_without_cuda_computes_on_the_cpu(driver, monkeypatch):
    monkeypatch.setattr(memory, "version", lambda package: "2.13.0+cpu")
    assert machine_without_torch().memory == psutil.virtual_memory().total
    assert not driver


def test_without_a_driver_the_cpu_is_meant(driver, monkeypatch):
    def missing(command, **options):
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(memory.subprocess, "run", missing)
    assert machine_without_torch().memory == psutil.virtual_memory().total
