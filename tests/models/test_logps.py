"""The chunked log-probability and entropy, values and gradients, against plain log_softmax."""

import pytest
import torch

from alignkit.models import logps
from alignkit.models.logps import token_logps


@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_values_and_gradients_equal_those_of_log_softmax(chunk_rows, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(31, 8, generator=generator, dtype=torch.float64)
    hidden = torch.randn(10, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(31, (10,), generator=generator)
    upstream = torch.randn(2, 10, generator=generator)
    monkeypatch.setitem(logps.CHUNK_BYTES, "cpu", chunk_rows * 4 * 31)

    found = token_logps(hidden, weight, targets, entropy=True)
    (found_grad,) = torch.autograd.grad((upstream[0] * found[0] + upstream[1] * found[1]).sum(), hidden)

    log_p = (hidden @ weight.T).log_softmax(-1)
    expected = log_p.gather(1, targets[:, None]).squeeze(1), -(log_p.exp() * log_p).sum(-1)
    (expected_grad,) = torch.autograd.grad((upstream[0] * expected[0] + upstream[1] * expected[1]).sum(), hidden)

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found_grad, expected_grad, atol=1e-5, rtol=1e-5)


def test_a_certain_token_has_log_probability_zero_and_a_finite_gradient():
    weight = torch.tensor([[100.0], [-100.0]])
    hidden = torch.tensor([[5.0]], requires_grad=True)
    value, _ = token_logps(hidden, weight, torch.tensor([0]))
    value.sum().backward()
    assert value.item() == 0.0
    assert hidden.grad.item() == 0.0
