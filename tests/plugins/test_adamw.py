"""The three forms of AdamW."""

import torch
from torch import nn

from alignkit import TrainedParameter
from alignkit_adamw import AdamW, AdamW8bit


def given(weight, rate=0.1, decay=0.0):
    return [TrainedParameter("policy", "w", "A", weight, rate, decay)]


def test_the_first_step_is_the_rate_times_the_sign_after_the_decay_of_the_weight():
    """After one step m̂ = g and v̂ = g², so that m̂ ÷ (√v̂ + ε) = sign(g) but for ε (arXiv:1711.05101)."""
    for cls in (AdamW, AdamW8bit):
        weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = cls().make(given(weight, decay=0.5))
        weight.grad = torch.tensor([3.0, -0.2])
        optimizer.step()
        # w·(1 − 0.1·0.5) − 0.1·sign(g)
        torch.testing.assert_close(weight.detach(), torch.tensor([0.95 - 0.1, -1.9 + 0.1]), atol=1e-6, rtol=0)


def test_the_betas_are_options():
    """With β1 = 0 the second step's mean is its own gradient; with β2 = 0 so is the mean of squares."""
    weight = nn.Parameter(torch.tensor([0.0]))
    optimizer = AdamW(beta1=0.0, beta2=0.0).make(given(weight))
    for gradient in (5.0, -1.0):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.1 + 0.1]), atol=1e-6, rtol=0)
