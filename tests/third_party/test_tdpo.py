"""TDPO: a number by hand, the conformance suite, and two steps on the bundled model."""

import math

import pytest
import torch

from alignkit import Batch
from alignkit.testing import check_objective


def test_the_loss_is_that_of_the_paper_by_hand(installed):
    from alignkit_tdpo import TokenDirectPreferenceOptimization, kl

    # One pair of completions with one token: log-ratios 0.4 and −0.2, divergences 0.3 and 0.1.
    batch = Batch(
        torch.ones(2, 1, dtype=torch.long),
        torch.ones(2, 1, dtype=torch.bool),
        torch.zeros(2, dtype=torch.long),
        {"rank": torch.tensor([0.0, 1.0])},
        {
            "logps": torch.tensor([[-1.0], [-2.0]], requires_grad=True),
            "reference_logps": torch.tensor([[-1.4], [-1.8]]),
            "divergence": torch.tensor([[0.3], [0.1]], requires_grad=True),
        },
    )
    loss = TokenDirectPreferenceOptimization(beta=2.0, alpha=0.5).loss(batch)
    # u = 2·0.4 − 2·(−0.2) = 1.2; δ = 2·0.1 − 2·0.3 = −0.4; u − 0.5·δ = 1.4
    assert loss.terms.item() == pytest.approx(math.log(1 + math.exp(-1.4)))
    # d/dδ: the winner's divergence has no gradient; the loser's is α·β·(1 − σ(1.4))
    (gradient,) = torch.autograd.grad(loss.terms.sum(), batch.divergence)
    assert gradient.flatten().tolist() == pytest.approx([0.0, 0.5 * 2 * (1 - 1 / (1 + math.exp(-1.4)))])
    # KL((½, ½) ‖ (¼, ¾)) = ½·log 2 + ½·log ⅔
    half, quarter = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert kl(half, quarter).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


def test_it_conforms(installed):
    from alignkit_tdpo import TokenDirectPreferenceOptimization

    check_objective(TokenDirectPreferenceOptimization())


def test_two_steps_on_the_bundled_model(run):
    first, second = run.metrics("tdpo")
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert second["rewards/margins"] != 0
