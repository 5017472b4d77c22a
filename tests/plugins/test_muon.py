"""Muon: the step is the orthogonal part of the momentum."""

import math

import pytest
import torch
from torch import nn

from alignkit import TrainedParameter
from alignkit_muon import Muon


def given(part, shape):
    torch.manual_seed(0)
    return TrainedParameter("policy", part, part, nn.Parameter(torch.zeros(shape)), 0.5, 0.0)


@pytest.mark.parametrize(
    ("scale", "factor"),
    [("adamw", 0.2 * math.sqrt(8)), ("original", math.sqrt(8 / 2))],
)
def test_the_first_step_is_minus_the_rate_times_u_v_transposed_of_the_gradient(scale, factor):
    """U·Vᵀ comes here from torch's singular value decomposition. Muon's five iterations stop short of it:
    they bring each singular value only into [0.7, 1.2], and compute in 16 bits.
    """
    one = given("B", (8, 2))
    (optimizer,) = Muon(scale=scale).make([one])
    gradient = torch.randn(8, 2)
    one.parameter.grad = gradient.clone()
    optimizer.step()
    u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
    step = -one.parameter.detach() / (0.5 * factor)
    inner = u.T @ step @ vh.T  # the singular values, if U and V are those of the gradient
    torch.testing.assert_close(step, u @ inner @ vh, atol=0.05, rtol=0)
    assert inner.diagonal().min() > 0.65
    assert inner.diagonal().max() < 1.25
    torch.testing.assert_close(inner - inner.diagonal().diag(), torch.zeros(2, 2), atol=0.05, rtol=0)


def test_what_is_no_lora_matrix_learns_by_adamw():
    """The first step of Adam is the learning rate times the sign of the gradient."""
    matrix, head, vector = given("A", (2, 8)), given("head", (1, 8)), given("other", (8,))
    muon, adamw = Muon().make([matrix, head, vector])
    assert [group["params"] for group in muon.param_groups] == [[matrix.parameter]]
    for one in (head, vector):
        one.parameter.grad = torch.ones_like(one.parameter)
    adamw.step()
    for one in (head, vector):
        torch.testing.assert_close(one.parameter.detach(), torch.full_like(one.parameter, -0.5))


def test_without_a_head_one_optimizer_is_enough():
    assert len(Muon().make([given("A", (2, 8)), given("B", (8, 2))])) == 1
