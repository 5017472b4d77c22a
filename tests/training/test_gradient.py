"""The gradient of a whole optimizer step."""

import pytest
import torch
from torch import nn

from alignkit.training.gradient import StepGradient


def test_terms_are_divided_by_their_weight_and_added():
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight})
    (3 * weight).sum().backward()
    (5 * weight).sum().backward()
    gradient.close_term(0.5, 4.0)
    weight.square().sum().backward()
    gradient.close_term(1.0, 1.0)
    # ½ · (3 + 5) / 4 + 2·2
    assert gradient.finish(100.0) == pytest.approx(5.0)
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(5.0)


def test_a_term_without_weight_adds_nothing():
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight})
    (3 * weight).sum().backward()
    gradient.close_term(1.0, 0.0)
    assert gradient.finish(1.0) == 0.0


def test_the_gradient_is_clipped_and_its_norm_before_that_returned():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    gradient = StepGradient({"w": weight})
    (weight.square().sum() / 2).backward()
    gradient.close_term(1.0, 1.0)
    assert gradient.finish(1.0) == pytest.approx(5.0)
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)
