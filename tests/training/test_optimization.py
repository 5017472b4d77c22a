"""The optimizer and its learning rate."""

import pytest
import torch
from torch import nn

from alignkit import UserError
from alignkit.recipe import Training
from alignkit.training.optimization import (
    learning_rate,
    load_optimizer_state,
    make_optimizer,
    optimizer_state,
)


def test_the_schedule_warms_up_then_falls_to_zero():
    settings = Training(learning_rate=1.0, warmup=0.2, schedule="cosine")
    rates = [learning_rate(settings, step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert learning_rate(settings, 10, 10) == pytest.approx(0)
    assert learning_rate(Training(learning_rate=1.0, warmup=0, schedule="linear"), 5, 10) == 0.5
    assert learning_rate(Training(learning_rate=1.0, warmup=3, schedule="constant"), 1, 10) == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-8bit"])
def test_the_state_is_restored_from_tensors_and_numbers_alone(optimizer):
    def parameter():
        # bitsandbytes keeps 8-bit state of parameters from 4,096 numbers on
        return nn.Parameter(torch.linspace(-1, 1, 8192))

    def take(one, weight, factor):
        weight.grad = factor * torch.sin(100 * torch.arange(8192.0))
        one.step()

    settings = Training(optimizer=optimizer, learning_rate=1e-2, weight_decay=0.1)
    whole, cut = parameter(), parameter()
    first = make_optimizer([whole], settings)
    take(first, whole, 1.0)
    cut.data.copy_(whole.data)
    tensors, numbers = optimizer_state(first)
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
    second = make_optimizer([cut], settings)
    load_optimizer_state(second, tensors, numbers)
    take(first, whole, 0.5)
    take(second, cut, 0.5)
    assert torch.equal(whole, cut)


def test_paged_state_needs_a_cuda_device():
    with pytest.raises(UserError, match="needs a CUDA device"):
        make_optimizer([nn.Parameter(torch.zeros(2))], Training(optimizer="paged-adamw-8bit"))
