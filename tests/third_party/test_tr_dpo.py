"""TR-DPO: a number by hand, the conformance suite, and two stages whose references move in two ways."""

import math

import pytest
import torch

from alignkit import Batch
from alignkit.testing import check_objective


def test_the_loss_is_that_of_the_paper_by_hand(installed):
    from alignkit_tr_dpo import TrustRegionDirectPreferenceOptimization

    # One pair of completions with one token: log-ratios 0.4 and −0.2.
    batch = Batch(
        torch.ones(2, 1, dtype=torch.long),
        torch.ones(2, 1, dtype=torch.bool),
        torch.zeros(2, dtype=torch.long),
        {"rank": torch.tensor([0.0, 1.0])},
        {
            "logps": torch.tensor([[-1.0], [-2.0]], requires_grad=True),
            "reference_logps": torch.tensor([[-1.4], [-1.8]]),
        },
    )
    loss = TrustRegionDirectPreferenceOptimization(beta=2.0).loss(batch)
    # The margin is 2·0.4 − 2·(−0.2) = 1.2.
    assert loss.terms.item() == pytest.approx(math.log(1 + math.exp(-1.2)))
    # d/d log π: ∓β·(1 − σ(1.2))
    (gradient,) = torch.autograd.grad(loss.terms.sum(), batch.logps)
    slope = 2 * (1 - 1 / (1 + math.exp(-1.2)))
    assert gradient.flatten().tolist() == pytest.approx([-slope, slope])


def test_it_conforms(installed):
    from alignkit_tr_dpo import TrustRegionDirectPreferenceOptimization

    check_objective(TrustRegionDirectPreferenceOptimization())
    check_objective(TrustRegionDirectPreferenceOptimization(beta=1.0))


def test_a_hard_update_makes_the_reference_the_policy(run):
    first, second, third = run.metrics("tr-dpo-hard")
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert second["rewards/margins"] > 0.01  # the reference has not moved yet
    assert third["rewards/margins"] == pytest.approx(0, abs=1e-4)  # after two steps it has
    assert third["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_a_soft_update_takes_the_reference_a_part_of_the_way(run):
    """Both stages see the same pairs. After a small step in the weights, half the way is half the margin."""
    _, unmoved, _ = run.metrics("tr-dpo-hard")
    first, moved = run.metrics("tr-dpo-soft")
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert 0.3 < moved["rewards/margins"] / unmoved["rewards/margins"] < 0.7
