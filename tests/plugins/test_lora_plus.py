"""LoRA+: B learns `ratio` times faster than A."""

import torch
from torch import nn

from alignkit import TrainedParameter
from alignkit_lora_plus import LoraPlus


def test_the_first_step_of_b_is_ratio_times_that_of_a_and_heads_learn_like_a():
    """The first step of Adam is the learning rate times the sign of the gradient."""
    parts = {"A": 0.1, "B": 0.1 * 4, "head": 0.1}
    given = [TrainedParameter("policy", part, part, nn.Parameter(torch.zeros(2)), 0.1, 0.0) for part in parts]
    optimizer = LoraPlus(ratio=4.0).make(given)
    for one in given:
        one.parameter.grad = torch.tensor([2.0, -3.0])
    optimizer.step()
    for one, size in zip(given, parts.values(), strict=True):
        torch.testing.assert_close(one.parameter.detach(), torch.tensor([-size, size]), atol=1e-6, rtol=0)


def test_the_papers_ratio_is_the_default():
    assert LoraPlus().ratio == 2**4
