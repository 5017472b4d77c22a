"""Distillation: numbers by hand, the conformance suite, and two teachers of the bundled model."""

import math

import pytest
import torch

from alignkit import Batch
from alignkit.testing import check_objective


def test_the_divergence_is_that_of_the_paper_by_hand(installed):
    from alignkit_distil import divergence

    teacher, policy = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log().requires_grad_()
    # β = ½: M = (⅜, ⅝). KL(P ‖ M) = ½·log(4/3) + ½·log(4/5), KL(Q ‖ M) = ¼·log(2/3) + ¾·log(6/5)
    of_teacher = 0.5 * math.log(4 / 3) + 0.5 * math.log(4 / 5)
    of_policy = 0.25 * math.log(2 / 3) + 0.75 * math.log(6 / 5)
    assert divergence(teacher, policy, 0.5).item() == pytest.approx((of_teacher + of_policy) / 2)
    # β = ¼: M = (5/16, 11/16), and the weights are ¼ and ¾.
    of_teacher = 0.5 * math.log(8 / 5) + 0.5 * math.log(8 / 11)
    of_policy = 0.25 * math.log(4 / 5) + 0.75 * math.log(12 / 11)
    assert divergence(teacher, policy, 0.25).item() == pytest.approx(of_teacher / 4 + of_policy * 3 / 4)
    # In the limit β → 0, JSD ÷ β is KL(P ‖ Q) = ½·log 2 + ½·log ⅔.
    forward = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    double = divergence(teacher.double(), policy.double(), 1e-6)
    assert double.item() / 1e-6 == pytest.approx(forward, rel=1e-4)


def test_a_policy_that_is_its_teacher_has_no_gradient(installed):
    from alignkit_distil import divergence

    logits = torch.tensor([[0.3, -1.0, 2.0]], requires_grad=True)
    found = divergence(logits.detach().log_softmax(-1), logits.log_softmax(-1), 0.3)
    assert found.item() == pytest.approx(0, abs=1e-7)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.abs().max() < 1e-6


def test_each_completion_counts_once(installed):
    from alignkit_distil import Distillation

    # Two completions, of two tokens and of one: the means over their tokens are 0.3 and 0.6.
    mask = torch.tensor([[True, True], [True, False]])
    signals = {"divergence": torch.tensor([[0.2, 0.4], [0.6, 0.0]], requires_grad=True)}
    loss = Distillation().loss(Batch(mask.long(), mask, torch.arange(2), {}, signals))
    assert loss.terms.tolist() == pytest.approx([0.3, 0.6])
    assert loss.total()[1] == 2


@pytest.mark.parametrize("options", [{}, {"beta": 0.1, "samples_per_prompt": 1}, {"beta": 0.9, "epochs": 2}])
def test_it_conforms(installed, options):
    from alignkit_distil import Distillation

    check_objective(Distillation(**options))


def test_the_divergence_from_a_stage_falls(run):
    first, second = run.metrics("distil")
    assert 0 < second["distil/divergence"] < first["distil/divergence"] <= math.log(2)
    assert "rollouts/length" in first
    assert "rollouts/reward" not in first


def test_the_start_teaches_itself_by_a_prompt_with_a_hint(run):
    """The teacher has the policy's weights, so that only the hint makes it another one."""
    first, second = run.metrics("distil-self")
    assert first["distil/divergence"] > 0.001
    assert second["distil/divergence"] < first["distil/divergence"]
