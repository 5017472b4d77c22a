"""The gradient of a whole optimizer step."""

import pytest
import torch
from torch import nn

from alignkit import Loss, UserError
from alignkit.training.gradient import StepGradient, signal_gradients


def test_terms_are_divided_by_their_weight_and_added():
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight})
    gradient.add([Loss(3 * weight, torch.tensor([1.0]))])
    gradient.add([Loss(5 / 3 * weight, torch.tensor([3.0]))])
    assert gradient.close_term(0.5) == 4.0
    gradient.add([Loss(weight.square())])
    assert gradient.close_term(1.0) == 1.0
    # ½ · (3 + 5) / 4 + 2·2
    assert gradient.finish(100.0) == pytest.approx(5.0)
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(5.0)


def test_a_term_without_weight_adds_nothing():
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight})
    gradient.add([Loss(3 * weight, torch.tensor([0.0]))])
    assert gradient.close_term(1.0) == 0.0
    assert gradient.finish(1.0) == 0.0


def test_the_gradient_is_clipped_and_its_norm_before_that_returned():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    gradient = StepGradient({"w": weight})
    gradient.add([Loss((weight.square() / 2).sum())])
    gradient.close_term(1.0)
    assert gradient.finish(1.0) == pytest.approx(5.0)
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_of_several_losses_each_is_divided_by_its_own_weight(scale):
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight}, scale)
    for slope in (3.0, 5.0):
        gradient.add(
            [
                Loss(slope * weight),
                Loss(weight.square(), torch.tensor([4.0]), factor=0.5),
                Loss(torch.zeros(0)),
            ]
        )
    assert gradient.close_term(0.25) == 2 + 8
    # ¼ · ((3 + 5)/2 + ½ · (4·4 + 4·4)/8)
    assert gradient.finish(100.0) == pytest.approx(0.25 * (4 + 0.5 * 4))


def test_losses_that_depend_on_nothing_that_is_trained_are_refused():
    gradient = StepGradient({"w": nn.Parameter(torch.tensor([2.0]))})
    with pytest.raises(UserError, match="has no gradient"):
        gradient.add([Loss(torch.ones(2))])
    gradient.add([Loss(torch.ones(2), torch.zeros(2))])


def test_another_number_of_losses_in_another_micro_batch_is_refused():
    weight = nn.Parameter(torch.tensor([2.0]))
    gradient = StepGradient({"w": weight})
    gradient.add([Loss(weight), Loss(2 * weight)])
    with pytest.raises(UserError, match="1 losses for one micro-batch, 2 for another"):
        gradient.add([Loss(weight)])


def test_the_gradient_through_signals_is_that_of_the_loss():
    weight = nn.Parameter(torch.tensor([2.0]))
    parts = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    leaf = (weight * torch.cat(parts)).detach().requires_grad_()
    losses = [Loss(leaf.square(), torch.tensor([1.0, 0.0, 2.0])), Loss(leaf, factor=0.5)]
    (found,), counted = signal_gradients(losses, [leaf])
    assert counted == 3 + 3
    gradient = StepGradient({"w": weight}, 8.0)
    for part, piece in zip(parts, found.split([2, 1]), strict=True):
        gradient.backward([weight * part], [piece])
    gradient.close_term(3.0)
    # d/dw of (w² + 2·9·w²)/3 + ½ · 6·w/3 at w = 2
    assert gradient.finish(1e9) == pytest.approx(3 * (2 * 2 * (1 + 18) / 3 + 1))
