"""The chunked log-probability and entropy, values and gradients, against plain log_softmax, for every kind of
output head.
"""

import pytest
import torch

from alignkit.models import logps
from alignkit.models.logps import Head, token_logps

GENERATOR = torch.Generator().manual_seed(2)
BIAS = torch.randn(31, generator=GENERATOR, dtype=torch.float64)
HEADS = {
    "plain": {},
    "biased": {"bias": BIAS},
    "scaled": {"scale": 0.3},
    "capped": {"cap": 3.0},
    "all": {"bias": BIAS, "scale": 0.3, "cap": 2.0},
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("chunk_rows", [1, 3, 100])
def test_values_and_gradients_equal_those_of_log_softmax(chunk_rows, kind, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(31, 8, generator=generator, dtype=torch.float64), **HEADS[kind])
    hidden = torch.randn(10, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(31, (10,), generator=generator)
    upstream = torch.randn(2, 10, generator=generator)
    monkeypatch.setitem(logps.CHUNK_BYTES, "cpu", chunk_rows * 4 * 31)

    found = token_logps(hidden, head, targets, entropy=True)
    (found_grad,) = torch.autograd.grad((upstream[0] * found[0] + upstream[1] * found[1]).sum(), hidden)

    logits = head.scale * (hidden @ head.weight.T + (0 if head.bias is None else head.bias))
    if head.cap is not None:
        logits = head.cap * (logits / head.cap).tanh()
    log_p = logits.log_softmax(-1)
    expected = log_p.gather(1, targets[:, None]).squeeze(1), -(log_p.exp() * log_p).sum(-1)
    (expected_grad,) = torch.autograd.grad(
        (upstream[0] * expected[0] + upstream[1] * expected[1]).sum(), hidden
    )

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found_grad, expected_grad, atol=1e-5, rtol=1e-5)


def test_a_certain_token_has_log_probability_zero_and_a_finite_gradient():
    weight = torch.tensor([[100.0], [-100.0]])
    hidden = torch.tensor([[5.0]], requires_grad=True)
    value, _ = token_logps(hidden, Head(weight), torch.tensor([0]))
    value.sum().backward()
    assert value.item() == 0.0
    assert hidden.grad.item() == 0.0


def test_hidden_states_come_in_the_heads_dtype_and_get_their_gradient_in_their_own():
    hidden = torch.ones(2, 4, requires_grad=True)
    values, _ = token_logps(hidden, Head(torch.ones(3, 4, dtype=torch.bfloat16)), torch.tensor([0, 2]))
    values.sum().backward()
    assert values.dtype == hidden.grad.dtype == torch.float32
