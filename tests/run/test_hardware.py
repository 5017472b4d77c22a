"""What a stage ran on."""

import os

import torch

from alignkit.run.hardware import Hardware, find_hardware


def test_a_processor_has_its_cores_its_memory_and_what_it_computes_in():
    found = find_hardware(torch.device("cpu"), torch.bfloat16)
    assert found.processor
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_gb is None or found.memory_gb > 0.1
    assert found.dtype == "bfloat16"


def test_it_is_one_line_for_people_without_what_is_not_known():
    assert str(Hardware("CPU", 1, None, "float32")) == "CPU, 1 CPU core, float32"
    assert str(Hardware("GPU", 16, 79.6, "bfloat16")) == "GPU, 16 CPU cores, 80 GB of memory, bfloat16"
